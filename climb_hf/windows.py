"""Windows of long recordings: several records that point into one file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from climb_hf.card import Option
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


def one_code_windows(
    found: Example, codes: Sequence[str], rate_hz: float, *, window: int, hop: int, share: float
) -> Iterator[Example | Fault]:
    """Yields the windows of a recording in which one code holds for a share of the samples.

    Args:
        codes: one for each sample of the recording.
        window, hop: samples of a window, and from its start to that of the next.
        share: what its commonest code has to have of a window; one without is not used.
    """
    for part in whole_windows(found, window / rate_hz, hop / rate_hz):
        if isinstance(part, Fault):
            yield part
            continue
        start = round(part.series[0].start_s * rate_hz)
        inside = codes[start : start + window]
        code, n_samples = Counter(inside).most_common(1)[0]
        if n_samples >= share * len(inside):
            yield replace(part, native=(code,))


# Options of a source that annotates single channels.
EVENT_OPTIONS = {
    "dedupe": Option(
        True, "one window for a time and code, whatever the number of channels", kind=bool
    ),
    "conflicts": Option(
        "keep",
        "a time with several codes: `keep` a window for each, or `drop` them all",
        ("keep", "drop"),
    ),
    "edges": Option(
        "pad", "a window that reaches beyond the recording: `pad` or `drop`", ("pad", "drop")
    ),
}


@dataclass(frozen=True)
class Event:
    """Something annotated in a recording.

    Attributes:
        name: of its window, after the recording's: `<record>/<name>`.
        start_s, stop_s: where it lies.
        native: the release's own codes of it.
        meta: what else the release says of it.
        left_out: why an option leaves it out, or an empty text.
    """

    name: str
    start_s: float
    stop_s: float
    native: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    left_out: str = ""


def merged(
    rows: Iterable[Sequence[float]], *, dedupe: bool = True, conflicts: str = "keep"
) -> list[Event]:
    """Returns the events of annotations that are each of one channel.

    Args:
        rows: channel, start and stop in seconds, and a whole number as code.
        dedupe: whether rows of one time and code are one event, which then goes by the first.
        conflicts: whether an event whose time has another code too is kept, or is to `drop`.

    Returns:
        Events called by the numbers of their rows, their `channels` and the `other_codes` of their
        time in `meta`.
    """
    codes: dict[tuple[float, float], set[str]] = {}
    groups: dict[tuple[Any, ...], list[tuple[int, int]]] = {}
    for row, (channel, start_s, stop_s, number) in enumerate(rows):
        code = f"{number:g}"
        codes.setdefault((start_s, stop_s), set()).add(code)
        key = (start_s, stop_s, code, None if dedupe else row)
        groups.setdefault(key, []).append((row, int(channel)))
    events = []
    for (start_s, stop_s, code, _), same in groups.items():
        others = sorted(codes[start_s, stop_s] - {code})
        events.append(
            Event(
                name=str(same[0][0]),
                start_s=start_s,
                stop_s=stop_s,
                native=(code,),
                meta={"channels": [channel for _, channel in same], "other_codes": others},
                left_out="its time has several codes" if others and conflicts == "drop" else "",
            )
        )
    return events


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
        elif event.left_out:
            yield Fault(record, "left out", event.left_out, str(file.path))
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
