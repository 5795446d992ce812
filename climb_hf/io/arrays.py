"""Arrays in files of their own: NumPy, MATLAB, tables of numbers and the UEA archive's `.ts`.

Nothing is unpickled. What such files do not say (channels, rate, unit) their reader's index does,
in `SeriesFile.facts`.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.io.files import keeps_last
from climb_hf.io.memory import remember
from climb_hf.io.signal import RawSeries, cut, from_values, narrow
from climb_hf.io.table import read_numbers
from climb_hf.optional import need
from climb_hf.schema import SeriesFile


def open_npy(path: Path) -> np.ndarray:
    """Returns the array of a .npy file, mapped: what is not looked at is not read.

    Raises:
        CorruptFileError: if it is no whole array of numbers or text.
    """
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        objects = "bject" in str(error)
        more = " Save it again as numbers or text (dtype float or str)." if objects else ""
        raise CorruptFileError(f"{path.name} is no whole .npy array: {error}{more}") from error


@keeps_last
def open_npz(path: Path, *, name: str) -> np.ndarray:
    """Returns an array of a .npz file, by its name there; the last one is kept.

    Raises:
        CorruptFileError: if the file is none, or cut short, or has no such array of numbers or
            text.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return file[name]
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise CorruptFileError(
            f"{path.name} is no whole .npz file with an array {name!r}: {error}"
        ) from error


def pixels_of(path: Path, name: str | None, place: int) -> np.ndarray:
    """Returns an image out of an array of images: uint8 or uint16 (height, width), or uint8 RGB.

    Args:
        path: a .npy file, or a .npz with `name` for the array.
        place: which image, counted from 0.

    Raises:
        CorruptFileError: if there is no such array, or it holds no such image.
    """
    array = open_npy(path) if name is None else open_npz(path, name=name)
    shape = (*array.shape, str(array.dtype))
    grey = array.ndim == 3 and array.dtype in (np.uint8, np.uint16)
    colour = array.ndim == 4 and array.shape[3] == 3 and array.dtype == np.uint8
    if not (grey or colour) or not 0 <= place < len(array):
        raise CorruptFileError(
            f"{name or path.name} has {shape}, and image {place} is asked for of an array of uint8 "
            "or uint16 (images, height, width), or of uint8 (images, height, width, 3)."
        )
    return np.asarray(array[place])


def read_mat(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns those variables of a MATLAB file that are there, of version 4 to 7.3.

    Raises:
        CorruptFileError: if the file is no whole MATLAB file.
    """
    matlab = need("scipy.io", extra="eeg")
    from scipy.io.matlab import MatReadError

    try:
        found: Mapping[str, Any] = matlab.loadmat(path, variable_names=list(names))
    except NotImplementedError:
        return _read_hdf5(path, names)
    except (OSError, ValueError, TypeError, KeyError, IndexError, zlib.error, MatReadError) as e:
        raise CorruptFileError(f"{path.name} is no whole MATLAB file: {e}") from e
    return {name: found[name] for name in names if name in found}


def _read_hdf5(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Version 7.3 is HDF5, with the axes the other way round."""
    hdf5 = need("h5py", extra="eeg")
    try:
        with hdf5.File(path, "r") as file:
            sets = {name: file[name] for name in names if isinstance(file.get(name), hdf5.Dataset)}
            return {name: np.asarray(found[()]).T for name, found in sets.items()}
    except (OSError, RuntimeError, KeyError) as error:
        raise CorruptFileError(f"{path.name} is no whole MATLAB 7.3 file: {error}") from error


def texts(array: np.ndarray) -> list[str]:
    """Returns the texts of an array: of characters, of bytes, or of MATLAB cells."""
    found = []
    for one in np.ravel(array):
        while isinstance(one, np.ndarray):
            one = one.ravel()[0] if one.size else ""
        found.append(one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one))
    return found


# ---- readers of series --------------------------------------------------------------------------


def read_array(source: SeriesFile) -> RawSeries:
    """Returns the series in an array of shape (channels, time), or (time, channels).

    With `part` it is that entry of an array of several series. A Parquet file has a column a
    channel. Facts: `channels`, `rate_hz`, `unit`; for an array of several, `entries` that it has to
    have; for MATLAB files `names` of variables, the first that is there; and where only the middle
    of what is stored is meant, `middle_s` seconds of `stored_s`.
    """
    path, facts = source.path, source.facts
    if path.suffix == ".mat":
        found = read_mat(path, facts["names"])
        if not found:
            raise CorruptFileError(f"{path.name} holds none of {', '.join(facts['names'])}.")
        array = next(iter(found.values()))
    elif path.suffix == ".parquet":
        array = _parquet(path, tuple(facts["channels"]))
    else:
        array = open_npy(path)
    if source.part is not None:
        if not 0 <= source.part < len(array) == facts.get("entries", len(array)):
            raise CorruptFileError(
                f"{path.name} has {len(array)} entries, where entry {source.part} of "
                f"{facts.get('entries', 'some')} is meant: it belongs to another table."
            )
        array = array[source.part]
    values = _upright(path, array, len(facts["channels"]))
    series = from_values(
        values, rate_hz=facts["rate_hz"], channels=facts["channels"], units=facts["unit"]
    )
    if "middle_s" in facts:
        return _middle(series, facts["middle_s"], facts["stored_s"])
    return cut(series, source.start_s, source.stop_s)


@remember(files=1)
def _parquet(path: Path, channels: tuple[str, ...]) -> np.ndarray:
    """A table with a column a channel; float32, shape (channels, time), NaN where one is empty."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            lost = [name for name in channels if name not in file.schema_arrow.names]
            if lost:
                raise CorruptFileError(f"{path.name} lacks the columns {', '.join(lost)}.")
            table = file.read(columns=list(channels))
        return np.array([table[name].to_numpy().astype(np.float32) for name in channels])
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise CorruptFileError(f"{path.name} is no whole Parquet file: {error}") from error


def _upright(path: Path, array: np.ndarray, n_channels: int) -> np.ndarray:
    """The values with channels first; an axis of the right length tells which they are."""
    if array.ndim != 2 or array.dtype.kind not in "iuf" or n_channels not in array.shape:
        raise CorruptFileError(
            f"{path.name} holds {array.dtype} of shape {array.shape}, expected numbers of shape "
            f"({n_channels}, samples)."
        )
    return array if len(array) == n_channels else array.T


def _middle(series: RawSeries, middle_s: float, stored_s: float) -> RawSeries:
    """Says which part is meant, and whether something else was stored than usual."""
    start_s = max((series.n_valid / series.rate_hz - middle_s) / 2, 0.0)
    usual = series.n_valid == round(stored_s * series.rate_hz)
    facts = {**series.facts, "part_s": (start_s, start_s + middle_s)}
    return replace(series, facts=facts, flags=series.flags if usual else ("cropped",))


def read_number_table(source: SeriesFile) -> RawSeries:
    """Returns the first columns of a table of numbers, one row a sample; `nan` is a missing one.

    Facts: `columns` (how many the table has), `channels`, `rate_hz`, and for each channel `units`
    and `gain`, in codes per unit.
    """
    facts = source.facts
    table = read_numbers(source.path, facts["columns"])
    codes = table.values[:, : len(facts["channels"])].T
    whole = np.all((codes == np.rint(codes)) & (np.abs(codes) < 2**31))  # not where one is NaN
    series = from_values(
        narrow(codes) if whole else codes,
        rate_hz=facts["rate_hz"],
        channels=facts["channels"],
        units=facts["units"],
    )
    series = replace(series, gain=np.asarray(facts["gain"], dtype=np.float64))
    return cut(series, source.start_s, source.stop_s)


# ---- .ts ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TsCases:
    """The cases of a `.ts` file of the UEA and UCR archive.

    Attributes:
        values: of each case, float32, shape (channels, time); NaN where a value is missing.
        labels: the class of each case, as it is written.
    """

    values: tuple[np.ndarray, ...]
    labels: tuple[str, ...]


@remember(files=1)
def read_ts_cases(path: Path) -> TsCases:
    """Reads a `.ts` file: lines of `channel:channel:...:class`, values separated by commas.

    Raises:
        CorruptFileError: if a line is cut off, or the file has time stamps or no classes.
    """
    values: list[np.ndarray] = []
    labels: list[str] = []
    known: dict[str, list[str]] = {}
    with path.open(encoding="latin-1") as file:
        for line in file:
            words = line.split()
            if line.startswith("@") and words[0].lower() != "@data":
                known[words[0].lower()] = words[1:]
            elif words and not line.startswith(("@", "#")):
                *series, label = line.strip().split(":")
                values.append(_ts_case(path, series, len(values)))
                labels.append(label)
    told = known.get("@classlabel", [])
    if "true" in (word.lower() for word in known.get("@timestamps", [])):
        raise CorruptFileError(f"{path.name} has time stamps, which are not read.")
    wrong = sorted(set(labels) - set(told[1:]))
    if not values or not told[1:] or wrong:
        said = f"a case of class {wrong[0][:40]!r}" if wrong else "no cases with classes"
        raise CorruptFileError(f"{path.name} has {said}: it was cut off, or is of another kind.")
    return TsCases(tuple(values), tuple(labels))


def _ts_case(path: Path, series: Sequence[str], case: int) -> np.ndarray:
    try:
        rows = [one.replace("?", "nan").split(",") for one in series]
        return np.array(rows, dtype=np.float32)
    except ValueError as error:
        raise CorruptFileError(f"{path.name}, case {case}: {error}.") from error


def read_ts(source: SeriesFile) -> RawSeries:
    """Returns the case `part` of a `.ts` file. Facts: `channels`, `rate_hz`, `unit`."""
    cases, facts = read_ts_cases(source.path), source.facts
    if not 0 <= source.part < len(cases.values):
        raise CorruptFileError(f"{source.path.name} has no case {source.part}.")
    series = from_values(
        cases.values[source.part],
        rate_hz=facts["rate_hz"],
        channels=facts["channels"],
        units=facts["unit"],
    )
    return cut(series, source.start_s, source.stop_s)
