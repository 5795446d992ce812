"""COVID-BLUES: clips of lung ultrasound at the BLUE points of people tested for COVID-19."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, Remote, SourceCard, SplitRule, Vocabulary
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.people import years_of
from climb_hf.photos import kept
from climb_hf.scans import ULTRASOUND
from climb_hf.schema import Example, Fault, VideoFile

VIDEO = r"patient_\d+_[LR][123](_\d+)?\.mp4"
PATIENTS, SCORES = "clinical_variables.csv", "severity.csv"
CLIMB_TRAIN = 0.75
SEXES = {"0.0": "female", "1.0": "male", "0": "female", "1": "male"}
UNKNOWN = ("-99", "-99.0")
CARD = SourceCard(
    name="covid_blues",
    title="COVID-BLUES, bluepoint-specific lung ultrasound",
    summary="clips of lung ultrasound of people suspected of COVID-19, with the result of PCR",
    licence=Licence("CC-BY-NC-ND-4.0", share_data=True, share_derived=False),
    access=Access.OPEN,
    homepage="https://github.com/NinaWie/COVID-BLUES",
    citation=(
        "Wiedemann et al. (2025), IEEE J Biomed Health Inform 29(9):6301-6310, "
        "doi:10.1109/JBHI.2025.3543686"
    ),
    release="GitHub, 63 patients",
    remotes=(
        Remote("https://github.com/NinaWie/COVID-BLUES"),
        Remote("https://huggingface.co/datasets/jannisborn/COVID-BLUES"),
    ),
    layouts=(
        Layout(
            "GitHub",
            marker=VIDEO,
            files=rf"{VIDEO}|clinical_variables\.csv|severity\.csv",
            example="lus_videos/patient_1_L1.mp4",
        ),
    ),
    vocabularies=(
        Vocabulary("covid2", ("No COVID", "Has COVID"), codes={"0": "No COVID", "1": "Has COVID"}),
    ),
    split=SplitRule({"train": CLIMB_TRAIN, "test": 1 - CLIMB_TRAIN}),
    n_records=362,
    n_patients=63,
    question="covid_ultrasound",
    shown="Frames of a clip of lung ultrasound are given. Does the patient have COVID-19?",
    quirks=(
        "the label is the patient's PCR, not what a clip shows: what it shows is scored from 0 "
        "to 3, as severity in targets",
        "split_rule='official' gives CLIMB's splits, the first three quarters of the patients by "
        "number: 47 % are positive in train, 74 % in test",
        "no derivatives may be shared, cut frames included",
        "a clip whose name ends in _2 is a second take of its point",
    ),
    **ULTRASOUND,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a clip."""
    patients = _by(tree, PATIENTS, ("patient_id", "cov_test"))
    scores = _by(tree, SCORES, ("video_file",))
    lying = {path.rpartition("/")[2].removesuffix(".mp4"): path for path in tree.find(VIDEO)}
    train = _climbs_train(patients)
    for record, path in lying.items():
        patient = record.split("_")[1]
        if patient not in patients:
            reason = f"{PATIENTS} does not list patient {patient}, so that it has no label"
            yield Fault(record, "damaged", reason, path)
            continue
        yield _example(tree, record, path, patients[patient], scores.get(record, {}), train)
    seen = {record.split("_")[1] for record in lying}
    for record in sorted(scores.keys() - lying.keys()):
        yield Fault(record, "missing", "listed, but its clip is not there")
    for patient in sorted(patients.keys() - seen):
        yield Fault(f"patient_{patient}", "missing", "listed, but none of the clips is there")


def _by(tree: RawTree, table: str, columns: tuple[str, ...]) -> dict[str, Mapping[str, str]]:
    """The rows of a table by the first of the columns that it must have."""
    rows = (row for path in tree.named(table) for row in read_csv(tree.path(path), columns))
    return {row[columns[0]].strip(): row for row in rows}


def _example(
    tree: RawTree,
    record: str,
    path: str,
    patient: Mapping[str, str],
    score: Mapping[str, str],
    train: set[str],
) -> Example:
    number = patient["patient_id"].strip()
    _, _, point, *take = record.split("_")
    severity = kept(score, ("Severity Score",))
    return Example(
        record=record,
        patient_id=number,
        native=(patient["cov_test"].strip(),),
        split="train" if number in train else "test",
        age_years=years_of(patient.get("pat_age")),
        sex=SEXES.get((patient.get("pat_sex") or "").strip()),
        targets=tuple(("severity", float(value), None) for value in severity.values()),
        meta={
            "blue_point": point,
            "take": int(take[0]) if take else 1,
            **kept(score, ("A-lines", "B-lines", "comments")),
            **{name: value for name, value in patient.items() if value not in ("", *UNKNOWN)},
        },
        videos=(VideoFile(tree.path(path)),),
    )


def _climbs_train(patients: Mapping[str, Any]) -> set[str]:
    """The first three quarters of the patients by number."""
    ordered = sorted((one for one in patients if one.isdigit()), key=int)
    return set(ordered[: int(CLIMB_TRAIN * len(ordered))])


__getattr__ = builder_of(__name__)
