"""CT-ICH: head CT after trauma, bleeding told slice by slice, with masks of the lesions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from climb_hf.card import Access, Layout, Licence, Remote, SourceCard, SplitRule, Vocabulary
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.people import person_of
from climb_hf.scans import CT
from climb_hf.schema import Example, Fault, ImageFile, MaskFile, VolumeFile, VolumeMaskFile

SLICE = r"\d{3}/(brain|bone)/\d+(_HGE_Seg)?\.(?i:jpe?g)"
VOLUME = r"(ct_scans|masks)/\d{3}\.nii(\.gz)?"
SLICES, VOLUMES = "hemorrhage_diagnosis.csv", "hemorrhage_diagnosis_raw_ct.csv"
PEOPLE = "patient_demographics.csv"
TYPES = ("Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural", "Subdural")
WINDOWS, NONE, SOME = ("brain", "bone"), "No Hemorrhage", "Has Hemorrhage"
# CLIMB's test patients: scikit-learn's train_test_split of 49 to 130 at 0.2 with random_state 42.
CLIMB_TEST = {49, 53, 59, 61, 67, 71, 77, 79, 80, 82, 84, 94, 98, 102, 117, 118, 124}
CARD = SourceCard(
    name="hemorrhage",
    title="CT-ICH, Computed Tomography Images for Intracranial Hemorrhage",
    summary="slices of head CT after trauma, with or without bleeding, lesions outlined",
    licence=Licence("PhysioNet Restricted Health Data License 1.5.0", False, False),
    access=Access.ACCOUNT,
    homepage="https://physionet.org/content/ct-ich/",
    citation="Hssayeni et al. (2020), Data 5(1):14, doi:10.3390/data5010014",
    release="1.0.0 (slices as JPEG) and 1.3.1 (volumes as NIfTI)",
    remotes=(
        Remote("https://physionet.org/content/ct-ich/1.3.1/"),
        Remote(
            "https://www.kaggle.com/datasets/vbookshelf/computed-tomography-ct-images",
            again=True,
        ),
    ),
    layouts=(
        Layout(
            "1.0.0",
            marker=rf"{SLICE}|hemorrhage_diagnosis\.csv",
            files=rf"{SLICE}|hemorrhage_diagnosis\.csv|patient_demographics\.csv",
            example="Patients_CT/049/brain/1.jpg",
        ),
        Layout(
            "1.3.1",
            marker=rf"{VOLUME}|hemorrhage_diagnosis_raw_ct\.csv",
            files=rf"{VOLUME}|hemorrhage_diagnosis_raw_ct\.csv|patient_demographics\.csv",
            example="ct_scans/049.nii",
        ),
    ),
    vocabularies=(
        Vocabulary(
            "hemorrhage2",
            (NONE, SOME),
            codes={"No_Hemorrhage": NONE, "unspecified": SOME} | dict.fromkeys(TYPES, SOME),
        ),
    ),
    split=SplitRule(
        {"train": 0.8, "test": 0.2}, official=True, origin="CLIMB's 65 and 17 patients"
    ),
    n_records=2_501,
    n_patients=82,
    window_hu=(40.0, 120.0),
    variants={"slices": "slices as JPEG, of 1.0.0", "volumes": "a volume a patient, of 1.3.1"},
    question="hemorrhage",
    shown="A head CT is given; of a slice, its brain window, then its bone window. Does it bleed?",
    quirks=(
        "a slice has its brain window (level 40, width 120) first; a missing one is not replaced",
        "slices of 1.0.0 were under CC-BY-4.0, the copy on Kaggle still is",
        "masks are JPEG: shades above 127 are meant; they lie over the brain window",
        "kinds of bleeding stand in native_labels; a volume bleeds where one of its slices does",
    ),
    **CT,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a slice, or a volume where that variant is asked for."""
    volumes = options["variant"] == "volumes"
    name = VOLUMES if volumes else SLICES
    if not tree.named(name):
        yield Fault(name, "damaged", "it is not there: what lies here has no labels", name)
        return
    tables = [read_csv(tree.path(path), ()) for path in tree.named(PEOPLE)]
    people = {next(iter(row.values())): row for table in tables for row in table}
    lying = {_place(path): tree.path(path) for path in tree.find(f"{SLICE}|{VOLUME}")}
    columns = ("PatientNumber", "SliceNumber", "No_Hemorrhage")
    units: dict[tuple[int, str], list[Mapping[str, str]]] = {}
    for row in read_csv(tree.path(tree.named(name)[0]), columns):
        number = "" if volumes else row["SliceNumber"].strip()
        units.setdefault((int(row["PatientNumber"]), number), []).append(row)
    for (patient, number), rows in units.items():
        media = _volume(lying, patient) if volumes else _slice(lying, patient, number)
        record = f"{patient:03}-{number}".rstrip("-")
        if media is None:
            yield Fault(record, "missing", "listed, but nothing of it is there")
            continue
        yield Example(
            record=record,
            patient_id=f"{patient:03}",
            native=_kinds(rows),
            split="test" if patient in CLIMB_TEST else "train",
            meta={"fracture": any(row.get("Fracture_Yes_No") == "1" for row in rows)},
            **person_of(people.get(str(patient), {})),
            **media,
        )


def _slice(lying: Mapping[Any, Path], patient: int, number: str) -> dict[str, Any] | None:
    """Both windows of a slice, or that which is there, and the mask over it."""
    views = [view for view in WINDOWS if (patient, view, number) in lying]
    drawn = [(at, (patient, view, f"{number}_HGE_Seg")) for at, view in enumerate(views)]
    images = tuple(ImageFile(lying[patient, view, number], view) for view in views)
    masks = [MaskFile(lying[k], "hemorrhage", at, above=127) for at, k in drawn if k in lying]
    return {"images": images, "masks": tuple(masks)} if images else None


def _volume(lying: Mapping[Any, Path], patient: int) -> dict[str, Any] | None:
    scan, drawn = lying.get((patient, "ct_scans", "")), lying.get((patient, "masks", ""))
    masks = (VolumeMaskFile(drawn, "hemorrhage"),) if drawn else ()
    return {"volumes": (VolumeFile(scan),), "volume_masks": masks} if scan else None


def _place(path: str) -> tuple[int, str, str]:
    """Patient, folder and number of a slice: 49, brain, 14 for `049/brain/14.jpg`."""
    *_, first, second, name = ("", *path.split("/"))
    stem = name.partition(".")[0]
    return (
        (int(stem), second, "") if second in ("ct_scans", "masks") else (int(first), second, stem)
    )


def _kinds(rows: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    if all(row["No_Hemorrhage"] == "1" for row in rows):
        return ("No_Hemorrhage",)
    found = tuple(kind for kind in TYPES if any(row.get(kind) == "1" for row in rows))
    return found or ("unspecified",)


__getattr__ = builder_of(__name__)
