"""HuGaDB, the Human Gait Database."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from climb_hf.card import Access, Layout, Licence, Modality, SourceCard, SplitRule, Vocabulary
from climb_hf.errors import CorruptFileError
from climb_hf.io.table import NumberTable, read_numbers
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, SeriesFile
from climb_hf.windows import whole_windows

FILE = r"HuGaDB_v(?P<version>\d)_(?P<tag>\w+)_(?P<person>\d\d)_(?P<counter>\d\d)\.(txt|csv)"
# No rate is stated anywhere: this is what the published totals give, 2,111,962 rows in 35,903 s.
RATE_HZ = 58.8
WINDOW, HOP, SHARE = 256, 128, 0.8  # rows; the share of a window that its activity has to have
PARTS = ("rf", "rs", "rt", "lf", "ls", "lt")  # right foot, shin and thigh, then left
# By their places in the file, as the readme's names for them have an error.
SENSORS = {"acc": ("g", 32768 / 2), "gyro": ("deg/s", 32768 / 2000)}
CHANNELS = (*(f"{s}_{p}_{a}" for p in PARTS for s in SENSORS for a in "xyz"), "EMG_r", "EMG_l")
SCALES = (*(SENSORS[name.split("_")[0]] for name in CHANNELS[:-2]), ("adu", 1.0), ("adu", 1.0))
ACTIVITIES = (
    *("walking", "running", "going up", "going down", "sitting", "sitting down"),
    *("standing up", "standing", "bicycling", "up by elevator", "down by elevator"),
    "sitting in car",
)
NAMES = tuple(text.replace(" ", "_") for text in ACTIVITIES)
FOUR = {"5": "sitting", "8": "standing", "6": "sitting_down", "7": "standing_up"}
CARD = SourceCard(
    name="hugadb",
    title="HuGaDB, Human Gait Database",
    summary="about 4 s of six inertial sensors on the legs and two EMG sensors, one activity each",
    modality=Modality.GAIT,
    licence=Licence("none stated", share_data=False, share_derived=False),
    access=Access.OPEN,
    homepage="https://github.com/romanchereshnev/HuGaDB",
    citation=(
        "Chereshnev and Kertesz-Farkas (2018), AIST 2017, LNCS 10716:131-141, "
        "doi:10.1007/978-3-319-73013-4_12"
    ),
    release="v2",
    remotes=(),
    layouts=(
        Layout(
            "one folder of text files",
            marker=FILE,
            files=FILE,
            example="HuGaDB_v2_various_01_00.txt",
        ),
    ),
    vocabularies=(
        Vocabulary(
            "hugadb4",
            tuple(FOUR.values()),
            ("sitting", "standing", "sitting down", "standing up"),
            codes=FOUR,
        ),
        Vocabulary(
            "hugadb12", NAMES, ACTIVITIES, codes={str(n): name for n, name in enumerate(NAMES, 1)}
        ),
    ),
    split=SplitRule(fractions={"train": 0.8, "test": 0.2}),
    n_records=2_111_962 // HOP,  # windows of any activity, at most
    n_patients=18,
    channels=CHANNELS,
    rate_hz=RATE_HZ,
    unit=tuple(unit for unit, _ in SCALES),
    duration_s=WINDOW / RATE_HZ,
    question="hugadb",
    shown=(
        "These are signals of six inertial sensors on the legs and two EMG sensors on the thighs, "
        "over about 4 seconds. What is the person doing?"
    ),
    asked="choice",
    quirks=(
        "no rate is stated: 58.8 Hz is what the published totals give",
        "windows of 256 rows, half overlapping; those without one activity in 80 % are not used",
        "by default the four activities that CLIMB names; label_set=hugadb12 has all",
        "many gyroscopes of v1 are clipped; the readme lists them by names of v1 files only, and "
        "that list is not applied",
    ),
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields the windows with one activity; where only four are asked for, no other known one."""
    words = next(w for w in CARD.vocabularies if w.id == (options.get("label_set") or "hugadb4"))
    others = CARD.vocabularies[1].codes.keys() - words.codes.keys()
    for path in tree.find(FILE):
        record = path.rpartition("/")[2].rpartition(".")[0]
        found = re.fullmatch(FILE, path.rpartition("/")[2])
        try:
            table = read_numbers(tree.path(path), len(CHANNELS) + 1)
        except CorruptFileError as error:
            yield Fault(record, "damaged", str(error), path)
            continue
        facts = {
            "columns": len(CHANNELS) + 1,
            "channels": CHANNELS,
            "rate_hz": RATE_HZ,
            "units": CARD.units,
            "gain": tuple(gain for _, gain in SCALES),
        }
        whole = Example(
            record=record,
            patient_id=found["person"] if found else None,
            meta={**({"tag": found["tag"]} if found else {}), **_date(table)},
            series=(SeriesFile(tree.path(path), "number_table", facts=facts),),
        )
        activities = [f"{number:g}" for number in table.values[:, -1]]
        for window in whole_windows(whole, WINDOW / RATE_HZ, HOP / RATE_HZ):
            code = _activity(window, activities)
            if isinstance(window, Fault):
                yield window
            elif code is not None and code not in others:
                yield replace(window, native=(code,))


def _activity(window: Example | Fault, activities: list[str]) -> str | None:
    """The activity that has the wanted share of a window's rows, or None."""
    if isinstance(window, Fault):
        return None
    start = round(window.series[0].start_s * RATE_HZ)
    rows = activities[start : start + WINDOW]
    code, n_rows = Counter(rows).most_common(1)[0]
    return code if n_rows >= SHARE * len(rows) else None


def _date(table: NumberTable) -> dict[str, str]:
    words = (note.split(maxsplit=1) for note in table.notes)
    found = next((rest for key, *rest in words if key.startswith("Date") and rest), None)
    return {"date": found[0]} if found else {}


__getattr__ = builder_of(__name__)
