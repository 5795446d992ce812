"""Electrodes by any name that recordings give them, and the differences of two of them.

Names are those of the 10-20 system as the corpora write them, in capitals; its newer names for the
same places (T7, T8, P7, P8) become the older ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from climb_hf.errors import CorruptFileError

if TYPE_CHECKING:
    import numpy as np

    from climb_hf.io.signal import RawSeries

# The longitudinal bipolar montage in the order of BIOT (arXiv 2305.10351) and of IIIC's release:
# left and right temporal chains, then left and right parasagittal ones.
CHAINS = (
    *("FP1 F7 T3 T5 O1", "FP2 F8 T4 T6 O2"),
    *("FP1 F3 C3 P3 O1", "FP2 F4 C4 P4 O2"),
)
BIPOLAR_16 = tuple(
    pair for chain in CHAINS for pair in zip(chain.split(), chain.split()[1:], strict=False)
)
BIPOLAR_16_NAMES = tuple("-".join(pair) for pair in BIPOLAR_16)
_OLDER = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
_LABEL = re.compile(
    r"(?:EEG[ _:-]*)?"
    r"(?P<electrode>(?:FP|AF|F|FC|FT|C|CP|T|TP|P|PO|O|A|M)(?:\d{1,2}|Z))"
    r"(?P<reference>(?:[ _-]+(?:REF|LE|AR|AVG|AV|CAR))?)",
)


@lru_cache(maxsize=4096)
def electrode_of(label: str) -> tuple[str, str] | None:
    """Returns electrode and reference of a channel's label; None if it is no single electrode.

    `EEG FP1-REF` gives FP1 and REF, `T7` gives T3 and an empty text. A label of two electrodes,
    such as `FP1-F7`, is none of one.
    """
    fits = _LABEL.fullmatch(label.strip().rstrip(".").upper())
    if fits is None:
        return None
    name = fits["electrode"]
    return _OLDER.get(name, name), fits["reference"].strip(" _-")


def positions(
    channels: Sequence[str],
    electrodes: Iterable[str],
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, int]:
    """Returns where each electrode stands among the channels of a recording.

    Args:
        left_out: label -> why that channel of the file is not among them; told with the error.

    Raises:
        CorruptFileError: if one is absent or there twice, or if not all have one reference.
    """
    wanted = dict.fromkeys(electrodes)
    found: dict[str, list[int]] = {}
    references: dict[str, str] = {}
    for index, label in enumerate(channels):
        known = electrode_of(label)
        if known is not None and known[0] in wanted:
            found.setdefault(known[0], []).append(index)
            references.setdefault(known[1], label)
    absent = [name for name in wanted if name not in found]
    if absent:
        told = "".join(f" {label} was left out, {why}." for label, why in left_out.items())
        raise CorruptFileError(
            f"electrodes {', '.join(absent)} are absent; the file has {', '.join(channels)}.{told}"
        )
    for name, places in found.items():
        if len(places) > 1:
            labels = ", ".join(channels[place] for place in places)
            raise CorruptFileError(f"electrode {name} is there {len(places)} times: {labels}.")
    if len(references) > 1:
        raise CorruptFileError(
            "electrodes have different references, so that their difference means nothing: "
            f"{', '.join(references.values())}."
        )
    return {name: places[0] for name, places in found.items()}


def derive(
    series: RawSeries,
    pairs: Sequence[tuple[str, str]],
    names: Sequence[str],
    units: Sequence[str],
) -> RawSeries:
    """Returns the differences of pairs of electrodes as channels.

    Codes that all have one gain are subtracted as they are, and stay whole numbers; else the
    result is float32. A recording that holds the derivations already, by their names, is ordered.

    Args:
        pairs: electrodes; a channel is the first minus the second.
        names: of the channels.
        units: of the channels, all one voltage.

    Raises:
        CorruptFileError: if an electrode is absent or there twice, references differ, or a unit is
            no voltage.
    """
    from dataclasses import replace

    from climb_hf.io.signal import order_channels, to_units

    held = {name.strip().upper() for name in series.channels}
    if all(name.upper() in held for name in names):
        return to_units(order_channels(series, names), units)
    electrodes = [name for pair in pairs for name in pair]
    at = positions(series.channels, electrodes, series.facts.get("left_out", {}))
    rows = list(at.values())
    picked = replace(
        series,
        data=series.data[rows],
        channels=tuple(at),
        units=tuple(series.units[row] for row in rows),
        gain=series.gain[rows],
        offset=series.offset[rows],
    )
    picked = to_units(picked, (units[0],) * len(rows))
    first, second = ([list(at).index(pair[side]) for pair in pairs] for side in (0, 1))
    return _differences(picked, first, second, tuple(names), tuple(units))


def _differences(
    picked: RawSeries,
    first: list[int],
    second: list[int],
    names: tuple[str, ...],
    units: tuple[str, ...],
) -> RawSeries:
    from dataclasses import replace

    import numpy as np

    from climb_hf.io.signal import narrow

    data: np.ndarray
    codes = picked.data.dtype.kind == "i" and picked.invalid is None
    if codes and np.array_equal(picked.gain[first], picked.gain[second]):
        wide = picked.data.astype(np.int64)
        data, gain = narrow(wide[first] - wide[second]), picked.gain[first]
        offset = picked.offset[first] - picked.offset[second]
    else:
        values = picked.physical().astype(np.float64)
        data = (values[first] - values[second]).astype(np.float32)
        gain, offset = np.ones(len(names)), np.zeros(len(names))
    return replace(
        picked,
        data=data,
        channels=names,
        units=units,
        gain=gain,
        offset=offset,
        invalid=None,
    )
