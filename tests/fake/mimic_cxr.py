"""A made tree of MIMIC-CXR-JPG, and of MIMIC-CXR with DICOM files and reports."""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import numpy as np
from graph_truth import new_truth
from made_dicoms import dicom, film
from made_images import encoded, picture, write, write_faults, write_table

# The order of labels in CLIMB's Dataset_Info.md; that of the tables' columns is alphabetical.
CLASSES = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "Pleural Effusion",
    "Pneumonia",
    "Pneumothorax",
    "Pleural Other",
    "Support Devices",
    "No Finding",
)
COLUMNS = tuple(sorted(CLASSES))
# What the table says of a study, by turns; None is a study that it does not list.
STUDIES: tuple[dict[str, str] | None, ...] = (
    {"Cardiomegaly": "1.0", "Edema": "-1.0", "Fracture": "0.0"},
    {"No Finding": "1.0"},
    {},
    None,
    {"Pneumonia": "1.0", "Edema": "1.0", "Support Devices": "1.0", "Atelectasis": "0.0"},
    {"Pneumothorax": "0.0", "Pleural Effusion": "-1.0"},
)
VIEWS = ("PA", "LATERAL", "AP", "")
META = ("dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription")
META += ("ViewPosition", "Rows", "Columns", "StudyDate", "StudyTime")
META += ("ProcedureCodeSequence_CodeMeaning", "ViewCodeSequence_CodeMeaning")
META += ("PatientOrientationCodeSequence_CodeMeaning",)
PARTS = ("train", "train", "train", "train", "validate", "test")
SPLITS = {"train": "train", "validate": "validation", "test": "test"}


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree as MIMIC-CXR-JPG has it and returns what a reader must find in it.

    Each study has two images of one label row, each patient two studies. One study has blank cells
    only, one no row; one table is not gzipped, as some people unpack them.

    Args:
        root: folder to write into; made if absent.
        n: number of good images.
        seed: of the images.
        with_faults: also list an image that is not there, and write broken ones and an image that
            no table lists.
    """
    base = root / "mimic-cxr-jpg" / "2.1.0"
    truth = new_truth(CLASSES, ["MIMIC-CXR-JPG"])
    rows, labels, meta = [], {}, []
    for number in range(n):
        name, ids = dicom_id(seed, number), ids_of(number)
        image = picture([seed, number], 16, 16, "L")
        sha1 = write(folder(base, *ids) / f"{name}.jpg", encoded(image, "JPEG", quality=95))
        rows.append([name, ids[1], ids[0], part_of(number)])
        labels[ids] = STUDIES[number // 2 % len(STUDIES)]
        view, when = VIEWS[number % len(VIEWS)], ["21800506", "213014.531"]
        meta.append([name, *ids, "CHEST (PA AND LAT)", view, 16, 16, *when, None, None, None])
        truth["records"][name] = {**facts_of(number), "image_sha1": sha1}
    if with_faults:
        names, ids = [dicom_id(seed, 900 + i) for i in range(6)], ("19999999", "59999999")
        rows += [[name, ids[1], ids[0], "train"] for name in names[:5]]
        place = folder(base, *ids)
        files = [f"{name}.jpg" for name in names[1:5]]
        truth["faults"] = write_faults(place, files, encoded(image, "JPEG"), "JPEG")
        truth["faults"][names[0]] = {"kind": "missing"}
        truth["faults"][names[5]] = {"kind": "left out"}
        write(place / f"{names[5]}.jpg", encoded(image, "JPEG"))
    write_tables(base, rows, labels)
    write_table(base / "mimic-cxr-2.0.0-metadata.csv", META, meta)
    write(base / "README", b"made\n")
    return truth


def make_dicom(root: Path, n: int = 12, seed: int = 0) -> dict[str, Any]:
    """Writes the tree as MIMIC-CXR has it, with the tables of the JPG project beside it."""
    base = root / "mimic-cxr" / "2.1.0"
    truth = new_truth(CLASSES, ["MIMIC-CXR, DICOM"])
    rows, labels, listed = [], {}, []
    for number in range(n):
        name, ids = dicom_id(seed, number), ids_of(number)
        how = {"photometric": "MONOCHROME1"} if number % 2 else {}
        place = folder(base, *ids)
        write(place / f"{name}.dcm", dicom(film(number, 16, 16), bits=12, Modality="DX", **how))
        report = f"FINAL REPORT\n EXAMINATION:  CHEST of study {ids[1]}\n"
        write(place.parent / f"s{ids[1]}.txt", report.encode())
        rows.append([name, ids[1], ids[0], part_of(number)])
        listed.append([*ids, name, (place / f"{name}.dcm").relative_to(base)])
        labels[ids] = STUDIES[number // 2 % len(STUDIES)]
        truth["records"][name] = {**facts_of(number), "text": report.strip()}
    write_tables(root / "mimic-cxr-jpg" / "2.1.0", rows, labels)
    columns = ("subject_id", "study_id", "dicom_id", "path")
    write_gz(base / "cxr-record-list.csv.gz", columns, listed)
    return truth


def dicom_id(seed: int, number: int) -> str:
    words = np.random.default_rng([seed, number]).integers(0, 2**32, 5)
    return "-".join(f"{word:08x}" for word in words)


def ids_of(number: int) -> tuple[str, str]:
    """Patient and study of an image."""
    return f"{10000032 + number // 4}", f"{50414267 + number // 2}"


def part_of(number: int) -> str:
    return PARTS[number // 4 % len(PARTS)]


def folder(base: Path, patient: str, study: str) -> Path:
    return base / "files" / f"p{patient[:2]}" / f"p{patient}" / f"s{study}"


def facts_of(number: int) -> dict[str, Any]:
    cells = STUDIES[number // 2 % len(STUDIES)] or {}
    signs = {"1.0": "labels", "-1.0": "uncertain", "0.0": "negative"}
    lists = {
        kind: [name for name in CLASSES if cells.get(name) == cell] for cell, kind in signs.items()
    }
    native = [f"{name}={cells[name].removesuffix('.0')}" for name in COLUMNS if name in cells]
    split, patient = SPLITS[part_of(number)], ids_of(number)[0]
    return {**lists, "native": native, "patient_id": patient, "split": split, "age": None}


def write_tables(base: Path, rows: Sequence[Any], labels: dict[Any, Any]) -> None:
    columns = ("dicom_id", "study_id", "subject_id", "split")
    write_gz(base / "mimic-cxr-2.0.0-split.csv.gz", columns, rows)
    listed = [
        [*ids, *(cells.get(name) for name in COLUMNS)]
        for ids, cells in labels.items()
        if cells is not None
    ]
    head = ("subject_id", "study_id", *COLUMNS)
    write_gz(base / "mimic-cxr-2.0.0-chexpert.csv.gz", head, listed)
    other = [[*row[:2], *("1.0" if cell == "-1.0" else cell for cell in row[2:])] for row in listed]
    write_gz(base / "mimic-cxr-2.0.0-negbio.csv.gz", head, other)
    read = [name.replace("Lung Opacity", "Airspace Opacity") for name in COLUMNS]
    opaque = ["1.0" if name == "Airspace Opacity" else "0.0" for name in read]
    table = base / "mimic-cxr-2.1.0-test-set-labeled.csv"
    write_table(table, ("study_id", *read), [[ids[1], *opaque] for ids in list(labels)[:1]])


def write_gz(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerows([columns, *rows])
    write(path, gzip.compress(text.getvalue().encode(), mtime=0))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
