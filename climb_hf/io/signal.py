"""Signals of any file kind as `RawSeries`, and the few operations that a stored series needs."""

from __future__ import annotations

import math
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.check import check_option
from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.io.header import (
    PLAIN_BITS,
    STANDARD_LEADS,
    Header,
    Storage,
    check_signal_file,
    check_size,
    read_header,
    remembered,
)
from climb_hf.io.wfdb_samples import frames_in, read_samples
from climb_hf.optional import need
from climb_hf.schema import SeriesFile

# Codes that a WFDB format reserves for a missing sample (WFDB signal(5), "invalid samples").
INVALID_CODES = {"16": -32768, "61": -32768, "212": -2048, "310": -512, "311": -512, "80": -128}
_MOST_STEPS = 10_000  # between two rates, in whole numbers of samples
# Both signs that Unicode has for micro; units are compared in lower case.
_PER_VOLT = {"v": 1.0, "mv": 1e3, "uv": 1e6, "\u00b5v": 1e6, "\u03bcv": 1e6, "nv": 1e9}


@dataclass(frozen=True)
class RawSeries:
    """Samples as they were stored, and what turns them into physical values.

    Attributes:
        data: shape (channels, time), integer codes or float32, in any order in memory.
        rate_hz: samples per second.
        channels, units: one entry per channel.
        gain, offset: float64 per channel; physical = (data - offset) / gain.
        invalid: code of a missing sample, or None.
        n_valid: samples that were recorded; the rest is padding.
        start_s: where the series begins in its recording.
        flags: what was done to it, words of `climb_hf.schema.FLAGS`.
        facts: what the file itself says of the record (age, sex).
    """

    data: np.ndarray
    rate_hz: float
    channels: tuple[str, ...]
    units: tuple[str, ...]
    gain: np.ndarray
    offset: np.ndarray
    invalid: int | None
    n_valid: int
    start_s: float = 0.0
    flags: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

    def physical(self) -> np.ndarray:
        """Returns float32 values, shape (channels, time), NaN where a sample is invalid."""
        values = (self.data - self.offset[:, None]) / self.gain[:, None]
        if self.invalid is not None:
            values[self.data == self.invalid] = np.nan
        return values.astype(np.float32)


def from_values(
    values: Any,
    *,
    rate_hz: float,
    channels: Sequence[str],
    units: str | Sequence[str],
    start_s: float = 0.0,
) -> RawSeries:
    """Returns a series of physical values; whole numbers of 16 or 32 bits stay what they are.

    Args:
        values: shape (channels, time).
        units: one for all channels, or one for each.

    Raises:
        CorruptFileError: if there is not a row of values for each channel.
    """
    data = np.asarray(values)
    if data.ndim != 2 or len(data) != len(channels) or not data.shape[1]:
        raise CorruptFileError(
            f"values have shape {data.shape}, expected ({len(channels)} channels, samples)."
        )
    whole = data.dtype.kind == "i" and data.dtype.itemsize in (2, 4)
    return RawSeries(
        data=data if whole else data.astype(np.float32),
        rate_hz=float(rate_hz),
        channels=tuple(channels),
        units=(units,) * len(channels) if isinstance(units, str) else tuple(units),
        gain=np.ones(len(channels)),
        offset=np.zeros(len(channels)),
        invalid=None,
        n_valid=data.shape[1],
        start_s=start_s,
    )


def load(source: SeriesFile) -> RawSeries:
    """Opens what a reader pointed at.

    Raises:
        CorruptFileError: if the file is not what its name or header says.
        DependencyError: if the package that reads it is not installed.
    """
    check_option("reader", source.reader, tuple(_READERS))
    series = _READERS[source.reader](source)
    if source.gain is not None:
        series = replace(series, gain=np.full(len(series.channels), source.gain))
    return series


def _part(series: RawSeries, source: SeriesFile) -> RawSeries:
    """The part of a recording that a source file means."""
    if not source.start_s and source.stop_s is None:
        return series
    return cut(series, source.start_s, source.stop_s)


def _wfdb(source: SeriesFile) -> RawSeries:
    known = remembered(source.path) if source.signal else None
    if known is not None and source.signal is not None:
        return _plain(source, known, source.signal, _size_of(source.signal))
    header = read_header(source.path)
    signal = source.signal or _named_signal(header)
    n_bytes = _size_of(signal)
    one_file = source.mend or len(header.file_names) == 1
    if one_file and header.storage is not None:
        return _plain(source, header.storage, signal, n_bytes)
    if one_file:
        check_signal_file(header, signal, n_bytes)
    return _part(_from_wfdb(source, header, signal), source)


def _named_signal(header: Header) -> Path:
    """The signal file that the first lead names; one that would lie elsewhere is not opened."""
    name = header.leads[0].file
    if Path(name).name != name:
        raise CorruptFileError(f"{header.path.name} names {name}, which is not beside it.")
    return header.path.with_name(name)


def _size_of(signal: Path) -> int:
    if not signal.is_file():
        raise CorruptFileError(f"the signal file {signal.name} is not beside its header.")
    return signal.stat().st_size


def _plain(source: SeriesFile, known: Storage, signal: Path, n_bytes: int) -> RawSeries:
    code, n_leads, held = known.code, len(known.channels), known.n_samples
    check_size(signal, n_bytes, code, known.skip, n_leads, held)
    if held is None:
        held = frames_in(n_bytes - known.skip, code, n_leads)
    if held < 1:
        raise CorruptFileError(f"{signal.name} holds no samples. Fetch the file again.")
    # What a wide format is narrowed to depends on the whole recording.
    wide = PLAIN_BITS[code] > 16
    wanted = range(held) if wide else _frames(known.rate_hz, held, source)
    codes = read_samples(signal, code, skip=known.skip, n_leads=n_leads, frames=wanted)
    series = RawSeries(
        data=narrow(codes) if wide else codes,
        rate_hz=known.rate_hz,
        channels=known.channels,
        units=known.units,
        gain=np.array(known.gain, dtype=np.float64),
        offset=np.array(known.baseline, dtype=np.float64),
        invalid=INVALID_CODES.get(code),
        n_valid=len(wanted),
        start_s=wanted.start / known.rate_hz,
    )
    return _part(series, source) if wide else series


def _frames(rate_hz: float, held: int, source: SeriesFile) -> range:
    """The samples of a lead that a source file means."""
    first = max(round(source.start_s * rate_hz), 0)
    last = held if source.stop_s is None else min(round(source.stop_s * rate_hz), held)
    return range(first, max(first, last))


def _from_wfdb(source: SeriesFile, header: Header, signal: Path) -> RawSeries:
    """A record in a format that is not plain; what it means is told by the header all the same."""
    codes = narrow(_codes_by_wfdb(source, header, signal))
    leads = header.leads
    formats = {lead.code for lead in leads}
    return RawSeries(
        data=codes,
        rate_hz=header.rate_hz,
        channels=tuple(lead.name for lead in leads),
        units=tuple(lead.unit for lead in leads),
        gain=np.array([lead.gain for lead in leads], dtype=np.float64),
        offset=np.array([lead.baseline for lead in leads], dtype=np.float64),
        invalid=INVALID_CODES.get(formats.pop()) if len(formats) == 1 else None,
        n_valid=codes.shape[1],
    )


def _codes_by_wfdb(source: SeriesFile, header: Header, signal: Path) -> np.ndarray:
    """Samples of the formats that are not plain, shape (leads, time)."""
    wfdb = need("wfdb", extra="ecg")
    try:
        if source.mend:
            record = _mended_record(wfdb, source.path, signal)
        else:
            record = wfdb.rdrecord(str(source.path.with_suffix("")), physical=False)
    except (OSError, ValueError, IndexError, KeyError, TypeError) as error:
        raise CorruptFileError(f"wfdb cannot read {source.path.name}: {error}") from error
    if record.d_signal is None or len(header.leads) != record.d_signal.shape[1]:
        raise CorruptFileError(f"{source.path.name} does not name each of its leads.")
    return np.ascontiguousarray(record.d_signal.T)


def _mended_record(wfdb: Any, header: Path, signal: Path) -> Any:
    """Reads a record whose header wfdb refuses or whose signal file has another name.

    A corrected header is written into a folder of its own beside a link to the signal; the
    user's folder is never written to.
    """
    lines = [line.strip() for line in header.read_text("utf-8", "replace").splitlines()]
    first, *leads = [line for line in lines if line and not line.startswith("#")]
    mended = [" ".join(["record", *first.split()[1:4]])]
    mended += [" ".join([signal.name, *line.split(maxsplit=1)[1:]]) for line in leads]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "record.hea").write_text("\n".join(mended) + "\n")
        (Path(folder) / signal.name).symlink_to(signal.absolute())
        return wfdb.rdrecord(str(Path(folder) / "record"), physical=False)


def _ecg_struct(source: SeriesFile) -> RawSeries:
    """MATLAB v5 struct `ECG` {sex, age, data (12, time) in mV} as CPSC 2018 was first released."""
    matlab = need("scipy.io", extra="ecg")
    from scipy.io.matlab import MatReadError

    try:
        ecg = matlab.loadmat(source.path, variable_names=["ECG"])["ECG"][0, 0]
        values = np.asarray(ecg["data"], dtype=np.float32)
        age = float(np.ravel(ecg["age"])[0]) if np.size(ecg["age"]) else math.nan
        sex = str(np.ravel(ecg["sex"])[0]) if np.size(ecg["sex"]) else ""
    except (OSError, ValueError, KeyError, TypeError, IndexError, zlib.error, MatReadError) as e:
        raise CorruptFileError(f"{source.path.name} holds no readable ECG struct: {e}") from e
    if values.ndim != 2 or values.shape[0] != 12:
        raise CorruptFileError(
            f"{source.path.name}: ECG.data has shape {values.shape}, expected (12, samples)."
        )
    series = RawSeries(
        data=values,
        rate_hz=500.0,
        channels=STANDARD_LEADS,
        units=("mV",) * 12,
        gain=np.ones(12),
        offset=np.zeros(12),
        invalid=None,
        n_valid=values.shape[1],
        facts={"age": age, "sex": sex},
    )
    return _part(series, source)


def _of(module: str, function: str) -> Callable[[SeriesFile], RawSeries]:
    """A reader of another module of this package, imported when a file is opened by it."""

    def read(source: SeriesFile) -> RawSeries:
        found: RawSeries = getattr(import_module(f"climb_hf.io.{module}"), function)(source)
        return found

    return read


_READERS: dict[str, Callable[[SeriesFile], RawSeries]] = {
    "wfdb": _wfdb,
    "ecg_struct": _ecg_struct,
    "edf": _of("edf", "read_edf"),
    "mne": _of("edf", "read_with_mne"),
    "array": _of("arrays", "read_array"),
    "number_table": _of("arrays", "read_number_table"),
    "ts": _of("arrays", "read_ts"),
}


def narrow(codes: np.ndarray) -> np.ndarray:
    """The smallest of int16 and int32 that holds the codes."""
    low, high = (int(codes.min()), int(codes.max())) if codes.size else (0, 0)
    fits = np.iinfo(np.int16).min <= low and high <= np.iinfo(np.int16).max
    return codes.astype(np.int16 if fits else np.int32)


def order_channels(series: RawSeries, wanted: Sequence[str]) -> RawSeries:
    """Returns the series with exactly the `wanted` channels, in that order, found by name.

    Names are compared without regard to case (PTB-XL writes AVR). Channels beyond the wanted
    ones are left out.

    Raises:
        CorruptFileError: if a wanted channel is absent or named twice.
    """
    named = tuple(wanted)
    rows = _rows(tuple(series.channels), named)
    if series.channels == named:
        return series
    in_order = rows == tuple(range(len(series.channels)))
    return replace(
        series,
        data=series.data if in_order else series.data[list(rows)],
        channels=named,
        units=tuple(series.units[row] for row in rows),
        gain=series.gain[list(rows)],
        offset=series.offset[list(rows)],
    )


@lru_cache(maxsize=256)
def _rows(channels: tuple[str, ...], wanted: tuple[str, ...]) -> tuple[int, ...]:
    """Where each wanted channel stands; the records of a release name theirs alike."""
    names = [name.strip().lower() for name in channels]
    missing = [name for name in wanted if names.count(name.lower()) != 1]
    if missing:
        raise CorruptFileError(
            f"leads {', '.join(missing)} are absent or named twice; "
            f"the file names {', '.join(channels)}."
        )
    return tuple(names.index(name.lower()) for name in wanted)


def to_units(series: RawSeries, units: Sequence[str]) -> RawSeries:
    """Returns the series with its gains in the wanted units; the samples stay as they are.

    Args:
        units: one for each channel. Voltages become each other; any other unit has to be the
            channel's own.

    Raises:
        CorruptFileError: if a channel is in another unit that does not become the wanted one.
    """
    wanted = tuple(units)
    if series.units == wanted:
        return series
    factors = [_factor(*pair) for pair in zip(series.units, wanted, strict=True)]
    return replace(series, gain=series.gain * np.array(factors), units=wanted)


def _factor(unit: str, wanted: str) -> float:
    """How many of the unit are one of the wanted unit."""
    if unit == wanted:
        return 1.0
    if wanted.lower() not in _PER_VOLT:
        raise CorruptFileError(f"a channel is in {unit!r}, where {wanted!r} was expected.")
    if unit.lower() not in _PER_VOLT:
        raise CorruptFileError(f"unit {unit!r} is no voltage (mV, uV or V).")
    return _PER_VOLT[unit.lower()] / _PER_VOLT[wanted.lower()]


def cut(series: RawSeries, start_s: float, stop_s: float | None) -> RawSeries:
    """Returns the part of a series from `start_s` to `stop_s` (None: its end)."""
    first = min(max(round(start_s * series.rate_hz), 0), series.n_valid)
    last = series.n_valid if stop_s is None else min(round(stop_s * series.rate_hz), series.n_valid)
    part = series.data[:, first:last]
    return replace(
        series, data=part, n_valid=part.shape[1], start_s=series.start_s + first / series.rate_hz
    )


def resample(series: RawSeries, rate_hz: float) -> RawSeries:
    """Returns the series at another rate, by polyphase filtering (scipy.signal.resample_poly).

    Values become float32 with gain 1. Invalid samples are bridged for the filter and are
    invalid again where the nearest original sample was.
    """
    if rate_hz == series.rate_hz:
        return series
    scipy_signal = need("scipy.signal", extra="ecg")
    ratio = Fraction(rate_hz / series.rate_hz).limit_denominator(_MOST_STEPS)
    if not 1 / _MOST_STEPS <= ratio <= _MOST_STEPS:
        raise OptionError(
            f"rate_hz={rate_hz!r} is out of reach from the {series.rate_hz:g} Hz of the recording. "
            "Ask for another rate, in Hz."
        )
    values, lost = bridged(series)
    moved = scipy_signal.resample_poly(values, ratio.numerator, ratio.denominator, axis=1)
    nearest = np.clip(
        np.round(np.arange(moved.shape[1]) / float(ratio)).astype(int), 0, values.shape[1] - 1
    )
    moved[lost[:, nearest]] = np.nan
    n_valid = min(round(series.n_valid * float(ratio)), moved.shape[1])
    return replace(
        series,
        data=moved.astype(np.float32),
        rate_hz=float(rate_hz),
        gain=np.ones(len(series.channels)),
        offset=np.zeros(len(series.channels)),
        invalid=None,
        n_valid=n_valid,
        flags=(*series.flags, "resampled"),
    )


def bridged(series: RawSeries) -> tuple[np.ndarray, np.ndarray]:
    """Returns float64 values with invalid samples bridged by a line, and where those are."""
    values = series.physical().astype(np.float64)
    lost = np.isnan(values)
    for channel, gaps in zip(values, lost, strict=True):
        if gaps.any():
            known = np.flatnonzero(~gaps)
            filler = np.interp(np.flatnonzero(gaps), known, channel[known]) if known.size else 0.0
            channel[gaps] = filler
    return values, lost


def crop_or_pad(series: RawSeries, duration_s: float) -> RawSeries:
    """Returns the first `duration_s` seconds; a shorter series is padded with 0 physical.

    `n_valid` tells the recorded samples from the padding.
    """
    wanted = round(duration_s * series.rate_hz)
    held = series.data.shape[1]
    if held > wanted:
        data, flags = series.data[:, :wanted], (*series.flags, "cropped")
        return replace(series, data=data, n_valid=min(series.n_valid, wanted), flags=flags)
    if held == wanted:
        return series
    zero = np.round(series.offset).astype(series.data.dtype)
    padding = np.repeat(zero[:, None], wanted - held, axis=1)
    data = np.concatenate([series.data, padding], axis=1)
    return replace(series, data=data, flags=(*series.flags, "padded"))


def quality_flags(series: RawSeries) -> tuple[str, ...]:
    """Returns `invalid_samples` and `flat_channel` where they hold for the recorded part."""
    recorded = series.data[:, : series.n_valid]
    if not recorded.size:
        return ()
    lost, flat = _any_lost(recorded, series.invalid), _any_flat(recorded)
    return ("invalid_samples",) * lost + ("flat_channel",) * flat


def _any_lost(recorded: np.ndarray, invalid: int | None) -> bool:
    if invalid is None:
        return recorded.dtype.kind == "f" and not np.isfinite(recorded).all()
    # The code is the lowest of its format, so that the minimum alone tells of most records.
    return not recorded.min() > invalid and bool((recorded == invalid).any())


def _any_flat(recorded: np.ndarray) -> bool:
    maybe = recorded[recorded[:, 0] == recorded[:, -1]]
    return bool((maybe == maybe[:, :1]).all(axis=1).any())


def as_struct(series: RawSeries) -> dict[str, Any]:
    """Returns the series as the struct that is stored: little-endian bytes in C order."""
    data = series.data.astype(series.data.dtype.newbyteorder("<"), copy=False)
    return {
        "data": data.tobytes(),
        "dtype": data.dtype.str if data.dtype.itemsize > 1 else f"|i{data.dtype.itemsize}",
        "shape": list(data.shape),
        "rate_hz": series.rate_hz,
        "channels": list(series.channels),
        "units": list(series.units),
        "gain": series.gain.tolist(),
        "offset": series.offset.tolist(),
        "invalid": series.invalid,
        "start_s": series.start_s,
        "n_valid": series.n_valid,
    }
