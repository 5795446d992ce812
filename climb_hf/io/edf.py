"""EDF and BDF straight from their bytes, only the seconds that are wanted; all else through mne.

mne gives volts and brings every channel to the highest rate of the file, so that neither the
recorded codes nor a second rate could be told from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.io.edf_header import EdfHeader, read_edf_header
from climb_hf.io.signal import RawSeries, from_values
from climb_hf.optional import need
from climb_hf.schema import SeriesFile

_VOLT = 107  # FIFF_UNIT_V


def read_edf(source: SeriesFile) -> RawSeries:
    """Returns the wanted seconds of the signals that share the file's usual rate, as codes."""
    header = read_edf_header(source.path)
    per_record = header.signals[0].per_record
    first = max(round(source.start_s * header.rate_hz), 0)
    last = header.n_records * per_record
    if source.stop_s is not None:
        last = min(round(source.stop_s * header.rate_hz), last)
    first = min(first, last)
    records = range(first // per_record, -(-last // per_record))
    codes = _codes(source.path, header, records)
    skipped = records.start * per_record
    return RawSeries(
        data=codes[:, first - skipped : last - skipped],
        rate_hz=header.rate_hz,
        channels=header.channels,
        units=tuple(signal.unit for signal in header.signals),
        gain=np.array([signal.gain for signal in header.signals]),
        offset=np.array([signal.offset for signal in header.signals]),
        invalid=None,
        n_valid=last - first,
        start_s=first / header.rate_hz,
        facts={"left_out": header.left_out},
    )


def _codes(path: Path, header: EdfHeader, records: range) -> np.ndarray:
    """The samples of some data records, shape (signals, time); nothing else is read."""
    with path.open("rb") as file:
        file.seek(header.n_bytes + records.start * header.record_bytes)
        raw = file.read(len(records) * header.record_bytes)
    if len(raw) < len(records) * header.record_bytes:
        raise CorruptFileError(f"{path.name} was cut off while it was read.")
    if header.kind == "EDF":
        samples = np.frombuffer(raw, "<i2")
    else:
        thirds = np.frombuffer(raw, np.uint8).reshape(-1, 3)
        wide = np.zeros((len(thirds), 4), np.uint8)
        wide[:, 1:] = thirds
        samples = wide.view("<i4")[:, 0] >> 8  # the shift keeps the sign
    table = samples.reshape(len(records), header.record_samples)
    parts = (table[:, s.start : s.start + s.per_record].ravel() for s in header.signals)
    return np.stack(list(parts))


def read_with_mne(source: SeriesFile) -> RawSeries:
    """Returns the wanted seconds of what else `mne.io.read_raw` opens, such as BrainVision.

    Voltages are in V; whatever else a channel holds is in the file's own unit.

    Raises:
        CorruptFileError: if mne does not read the file.
        DependencyError: if mne is not installed.
    """
    mne = need("mne", extra="eeg")
    try:
        recording = mne.io.read_raw(source.path, preload=False, verbose="error")
        rate_hz = float(recording.info["sfreq"])
        first = max(round(source.start_s * rate_hz), 0)
        last = None if source.stop_s is None else max(round(source.stop_s * rate_hz), first)
        values = recording.get_data(start=first, stop=last, verbose="error")
    except (OSError, ValueError, RuntimeError, KeyError, IndexError, NotImplementedError) as error:
        raise CorruptFileError(f"mne cannot read {source.path.name}: {error}") from error
    kinds: list[Any] = recording.info["chs"]
    return from_values(
        values,
        rate_hz=rate_hz,
        channels=recording.ch_names,
        units=["V" if int(kind["unit"]) == _VOLT else "" for kind in kinds],
        start_s=first / rate_hz,
    )
