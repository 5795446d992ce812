"""Windows of long recordings: several records that point into one file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from climb_hf.errors import CorruptFileError
from climb_hf.io.header import read_header
from climb_hf.io.signal import load
from climb_hf.schema import Example, Fault, SeriesFile


def duration_s(series: SeriesFile) -> float:
    """Returns how long a recording is, in seconds; opens the samples only if no header says so.

    Raises:
        CorruptFileError: if the file is not what its name says.
    """
    if series.reader == "wfdb":
        header = read_header(series.path)
        if header.n_samples is not None:
            return header.n_samples / header.rate_hz
    whole = load(series)
    return whole.n_valid / whole.rate_hz


def whole_windows(found: Example | Fault, window_s: float) -> Iterator[Example | Fault]:
    """Yields the whole windows of a recording, one after the other; a fault passes unchanged.

    Window i is the record `<record>/<i>`; all windows of a recording stay in one split. A recording
    shorter than `window_s` seconds is one window, and what is left over at the end is not used. One
    whose length cannot be read becomes a fault.
    """
    if isinstance(found, Fault):
        yield found
        return
    file = found.series[0]
    try:
        n_windows = max(int(duration_s(file) // window_s), 1)
    except CorruptFileError as error:
        yield Fault(found.record, "damaged", str(error), str(file.path))
        return
    for index in range(n_windows):
        start_s = index * window_s
        part = replace(file, start_s=start_s, stop_s=start_s + window_s)
        record = f"{found.record}/{index}"
        yield replace(found, record=record, recording=found.record, series=(part,))
