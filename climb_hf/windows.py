"""Windows of long recordings: several records that point into one file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from climb_hf.errors import CorruptFileError
from climb_hf.io.edf_header import read_edf_header
from climb_hf.io.header import read_header
from climb_hf.schema import Example, Fault, SeriesFile


def _wfdb_seconds(series: SeriesFile) -> float | None:
    header = read_header(series.path)
    return None if header.n_samples is None else header.n_samples / header.rate_hz


_SECONDS: Mapping[str, Callable[[SeriesFile], float | None]] = {
    "wfdb": _wfdb_seconds,
    "edf": lambda series: read_edf_header(series.path).duration_s,
}


def told_s(series: SeriesFile) -> float | None:
    """Returns how long a recording is by its header, in seconds, or None where that says nothing.

    Raises:
        CorruptFileError: if the header is none.
    """
    return _SECONDS[series.reader](series) if series.reader in _SECONDS else None


def duration_s(series: SeriesFile) -> float:
    """Returns how long a recording is, in seconds; opens the samples only if no header says so.

    Raises:
        CorruptFileError: if the file is not what its name says.
    """
    told = told_s(series)
    if told is not None:
        return told
    # Not above: sources import this module, and listing them needs no numpy.
    from climb_hf.io.signal import load

    whole = load(series)
    return whole.n_valid / whole.rate_hz


def whole_windows(
    found: Example | Fault, window_s: float, hop_s: float | None = None
) -> Iterator[Example | Fault]:
    """Yields the whole windows of a recording, one after the other; a fault passes unchanged.

    Window i is the record `<record>/<i>`; all windows of a recording stay in one split. A recording
    shorter than `window_s` seconds is one window, and what is left over at the end is not used. One
    whose length cannot be read becomes a fault.

    Args:
        hop_s: seconds from the start of a window to that of the next; None: `window_s`.
    """
    if isinstance(found, Fault):
        yield found
        return
    hop_s = hop_s or window_s
    file = found.series[0]
    try:
        left_s = duration_s(file) - window_s
    except CorruptFileError as error:
        yield Fault(found.record, "damaged", str(error), str(file.path))
        return
    # A window that ends with the last sample is whole, whatever the last digit of a product.
    for index in range(max(int(left_s / hop_s + 1e-6), 0) + 1):
        start_s = index * hop_s
        part = replace(file, start_s=start_s, stop_s=start_s + window_s)
        record = f"{found.record}/{index}"
        yield replace(found, record=record, recording=found.record, series=(part,))


@dataclass(frozen=True)
class Event:
    """Something annotated in a recording.

    Attributes:
        name: of its window, after the recording's: `<record>/<name>`.
        start_s, stop_s: where it lies.
        native: the release's own codes of it.
        meta: what else the release says of it.
    """

    name: str
    start_s: float
    stop_s: float
    native: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)


def around(
    found: Example | Fault, events: Iterable[Event], window_s: float, *, pad: bool = True
) -> Iterator[Example | Fault]:
    """Yields a window of `window_s` seconds with each event in its middle; a fault passes.

    An event that does not lie in the recording is damaged.

    Args:
        pad: whether a window that reaches beyond the recording is padded there, or left out.
    """
    if isinstance(found, Fault):
        yield found
        return
    file = found.series[0]
    held_s = duration_s(file)
    for event in events:
        record = f"{found.record}/{event.name}"
        start_s = (event.start_s + event.stop_s - window_s) / 2
        if not 0 <= event.start_s <= event.stop_s <= held_s:
            where = f"{event.start_s:g} to {event.stop_s:g} s of a recording of {held_s:g} s"
            yield Fault(record, "damaged", f"its event is annotated at {where}", str(file.path))
        elif not pad and not 0 <= start_s <= held_s - window_s:
            why = "its window reaches beyond the recording"
            yield Fault(record, "left out", why, str(file.path))
        else:
            yield replace(
                found,
                record=record,
                recording=found.record,
                native=event.native,
                meta={**found.meta, **event.meta},
                series=(replace(file, start_s=start_s, stop_s=start_s + window_s),),
            )
