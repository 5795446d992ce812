"""HuGaDB, the Human Gait Database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, Modality, SourceCard, SplitRule, Vocabulary
from climb_hf.errors import CorruptFileError
from climb_hf.io.table import read_numbers
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, SeriesFile
from climb_hf.windows import one_code_windows

FILE = r"HuGaDB_v\d_\w+_\d\d_\d\d\.(txt|csv)"
# No rate is stated anywhere: this is what the published totals give, 2,111,962 rows in 35,903 s.
RATE_HZ = 58.8
WINDOW, HOP, SHARE = 256, 128, 0.8  # rows; the share of a window that its activity has to have
# By their places in the file, as the readme's names have an error: right foot, shin, thigh, left.
SENSORS = {"acc": ("g", 32768 / 2), "gyro": ("deg/s", 32768 / 2000), "EMG": ("adu", 1.0)}
PLACES = [side + part for side in "rl" for part in "fst"]
INERTIAL = (f"{s}_{place}_{a}" for place in PLACES for s in ("acc", "gyro") for a in "xyz")
CHANNELS = (*INERTIAL, "EMG_r", "EMG_l")
UNITS, GAINS = zip(*(SENSORS[name.split("_")[0]] for name in CHANNELS), strict=True)
ACTIVITIES = (
    *("walking", "running", "going up", "going down", "sitting", "sitting down", "standing up"),
    *("standing", "bicycling", "up by elevator", "down by elevator", "sitting in car"),
)
TWELVE = {str(number): name for number, name in enumerate(ACTIVITIES, start=1)}
FOUR = {code: TWELVE[code] for code in "5867"}
FACTS = {"columns": 39, "channels": CHANNELS, "rate_hz": RATE_HZ, "units": UNITS, "gain": GAINS}
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
        Layout("one folder of text files", FILE, FILE, example="HuGaDB_v2_various_01_00.txt"),
    ),
    vocabularies=(
        Vocabulary("hugadb4", tuple(FOUR.values()), codes=FOUR),
        Vocabulary("hugadb12", ACTIVITIES, codes=TWELVE),
    ),
    split=SplitRule(fractions={"train": 0.8, "test": 0.2}),
    n_records=2_111_962 // HOP,  # windows of any activity, at most
    n_patients=18,
    channels=CHANNELS,
    rate_hz=RATE_HZ,
    unit=UNITS,
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
    others = () if options.get("label_set") == "hugadb12" else TWELVE.keys() - FOUR.keys()
    for path in tree.find(FILE):
        record = path.rpartition("/")[2].rpartition(".")[0]
        try:
            table = read_numbers(tree.path(path), FACTS["columns"])
        except CorruptFileError as error:
            yield Fault(record, "damaged", str(error), path)
            continue
        _, version, *tag, person, _ = record.split("_")
        whole = Example(
            record=record,
            patient_id=person,
            meta={"version": version, "tag": "_".join(tag), **table.notes},
            series=(SeriesFile(tree.path(path), "number_table", facts=FACTS),),
        )
        codes = [f"{number:g}" for number in table.values[:, -1]]
        for part in one_code_windows(whole, codes, RATE_HZ, window=WINDOW, hop=HOP, share=SHARE):
            if isinstance(part, Fault) or part.native[0] not in others:
                yield part


__getattr__ = builder_of(__name__)
