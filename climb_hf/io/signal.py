"""Signals of any file kind as `RawSeries`, and the few operations that a stored series needs."""

from __future__ import annotations

import math
import tempfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.check import check_option
from climb_hf.errors import CorruptFileError
from climb_hf.io.header import STANDARD_LEADS, check_signal_file, read_header
from climb_hf.optional import need
from climb_hf.schema import SeriesFile

# Codes that a WFDB format reserves for a missing sample (WFDB signal(5), "invalid samples").
INVALID_CODES = {"16": -32768, "61": -32768, "212": -2048, "310": -512, "311": -512, "80": -128}
_PER_MILLIVOLT = {"mv": 1.0, "uv": 1000.0, "µv": 1000.0, "v": 0.001}


@dataclass(frozen=True)
class RawSeries:
    """Samples as they were stored, and what turns them into physical values.

    Attributes:
        data: shape (channels, time), integer codes or float32.
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
    if source.start_s or source.stop_s is not None:
        series = cut(series, source.start_s, source.stop_s)
    return series


def _wfdb(source: SeriesFile) -> RawSeries:
    wfdb = need("wfdb", extra="ecg")
    header = read_header(source.path)
    signal = source.signal or source.path.with_name(Path(header.leads[0].file).name)
    if not signal.is_file():
        raise CorruptFileError(f"the signal file {signal.name} is not beside its header.")
    check_signal_file(header, signal, signal.stat().st_size)
    try:
        if source.mend:
            record = _mended_record(wfdb, source.path, signal)
        else:
            record = wfdb.rdrecord(str(source.path.with_suffix("")), physical=False)
    except (OSError, ValueError, IndexError, KeyError, TypeError) as error:
        raise CorruptFileError(f"wfdb cannot read {source.path.name}: {error}") from error
    if record.d_signal is None or len(record.sig_name or ()) != record.d_signal.shape[1]:
        raise CorruptFileError(f"{source.path.name} does not name each of its leads.")
    codes = np.ascontiguousarray(record.d_signal.T)
    formats = {str(code) for code in record.fmt}
    return RawSeries(
        data=_narrow(codes),
        rate_hz=float(record.fs),
        channels=tuple(record.sig_name),
        units=tuple(record.units),
        gain=np.asarray(record.adc_gain, dtype=np.float64),
        offset=np.asarray(record.baseline, dtype=np.float64),
        invalid=INVALID_CODES.get(formats.pop()) if len(formats) == 1 else None,
        n_valid=codes.shape[1],
    )


def _mended_record(wfdb: Any, header: Path, signal: Path) -> Any:
    """Reads a record whose header wfdb refuses or whose signal file has another name.

    A corrected header is written into a folder of its own beside a link to the signal; the
    user's folder is never written to.
    """
    lines = header.read_text("utf-8", "replace").splitlines()
    fields = lines[0].split()
    with tempfile.TemporaryDirectory() as folder:
        mended = [" ".join(["record", *fields[1:4]])]
        for line in lines[1:]:
            if line.strip() and not line.startswith("#"):
                mended.append(" ".join([signal.name, *line.split(maxsplit=1)[1:]]))
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
    return RawSeries(
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


_READERS: dict[str, Callable[[SeriesFile], RawSeries]] = {
    "wfdb": _wfdb,
    "ecg_struct": _ecg_struct,
}


def _narrow(codes: np.ndarray) -> np.ndarray:
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
    names = [name.strip().lower() for name in series.channels]
    missing = [name for name in wanted if names.count(name.lower()) != 1]
    if missing:
        raise CorruptFileError(
            f"leads {', '.join(missing)} are absent or named twice; "
            f"the file names {', '.join(series.channels)}."
        )
    rows = [names.index(name.lower()) for name in wanted]
    return replace(
        series,
        data=np.ascontiguousarray(series.data[rows]),
        channels=tuple(wanted),
        units=tuple(series.units[row] for row in rows),
        gain=series.gain[rows],
        offset=series.offset[rows],
    )


def to_millivolts(series: RawSeries) -> RawSeries:
    """Returns the series with gains in adu per mV; the samples stay as they are.

    Raises:
        CorruptFileError: if a unit is no voltage.
    """
    unknown = [unit for unit in series.units if unit.lower() not in _PER_MILLIVOLT]
    if unknown:
        raise CorruptFileError(f"unit {unknown[0]!r} is no voltage (mV, uV or V).")
    factor = np.array([_PER_MILLIVOLT[unit.lower()] for unit in series.units])
    return replace(series, gain=series.gain * factor, units=("mV",) * len(series.units))


def cut(series: RawSeries, start_s: float, stop_s: float | None) -> RawSeries:
    """Returns the part of a series from `start_s` to `stop_s` (None: its end)."""
    first = round(start_s * series.rate_hz)
    last = series.n_valid if stop_s is None else min(round(stop_s * series.rate_hz), series.n_valid)
    part = np.ascontiguousarray(series.data[:, first:last])
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
    ratio = Fraction(rate_hz / series.rate_hz).limit_denominator(10_000)
    values = series.physical().astype(np.float64)
    lost = np.isnan(values)
    for channel, gaps in zip(values, lost, strict=True):
        if gaps.any():
            known = np.flatnonzero(~gaps)
            filler = np.interp(np.flatnonzero(gaps), known, channel[known]) if known.size else 0.0
            channel[gaps] = filler
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


def crop_or_pad(series: RawSeries, duration_s: float) -> RawSeries:
    """Returns the first `duration_s` seconds; a shorter series is padded with 0 physical.

    `n_valid` tells the recorded samples from the padding.
    """
    wanted = round(duration_s * series.rate_hz)
    held = series.data.shape[1]
    if held > wanted:
        data, flags = np.ascontiguousarray(series.data[:, :wanted]), (*series.flags, "cropped")
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
    flags = []
    lost = recorded == series.invalid if series.invalid is not None else ~np.isfinite(recorded)
    if lost.any():
        flags.append("invalid_samples")
    if recorded.shape[1] and (recorded == recorded[:, :1]).all(axis=1).any():
        flags.append("flat_channel")
    return tuple(flags)


def as_struct(series: RawSeries) -> dict[str, Any]:
    """Returns the series as the struct that is stored: little-endian bytes in C order."""
    data = series.data.astype(series.data.dtype.newbyteorder("<"), copy=False)
    return {
        "data": np.ascontiguousarray(data).tobytes(),
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
