"""A made tree of CMMD: a folder a patient as NBIA names it, and the workbook of breasts."""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import numpy as np
import openpyxl
from graph_truth import new_truth
from made_dicoms import dicom, film, jpeg, sha1, write_broken
from made_images import write, write_table
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

CLASSES = ("Benign", "Malignant")
COLUMNS = ("ID1", "LeftRight", "Age", "number", "abnormality", "classification", "subtype")
CODES = {"CC": ("399162004", "cranio-caudal"), "MLO": ("399368009", "medio-lateral oblique")}
NAME = "CMMD_clinicaldata_revision"
UID = "1.3.6.1.4.1.14519.5.2.1.1239.1759"


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree as NBIA's retriever does and returns what a reader must find in it.

    By turns a patient has both breasts in the table, with different classes, or one of two that
    are shown, or one with a folder of two images. Views are told by their code or in words.

    Args:
        root: folder to write into; made if absent.
        n: number of good breasts.
        seed: of the images.
        with_faults: also list breasts without images, of the other side, or with broken ones.
    """
    truth = new_truth(CLASSES, ["NBIA, descriptive names"])
    rows, faults = _breasts(root / "manifest-1616439774456" / "CMMD", n, seed, truth)
    truth["faults"] |= faults
    if with_faults:
        rows += _add_faults(root / "manifest-1616439774456" / "CMMD", seed, truth)
    book = openpyxl.Workbook()
    for row in (COLUMNS, *rows):
        book.active.append(row)
    book.save(root / f"{NAME}.xlsx")
    series = [["CMMD", "", f"./CMMD/{row[0]}"] for row in rows]
    nbia = ("Collection", "Series UID", "File Location")
    write_table(root / "manifest-1616439774456" / "metadata.csv", nbia, series)
    return truth


def make_by_uid(root: Path, n: int = 6, seed: int = 0) -> dict[str, Any]:
    """Writes a tree without names of patients in it, and the table as somebody exported it."""
    truth = new_truth(CLASSES, ["NBIA, names of studies"])
    rows, _ = _breasts(root, n, seed, truth)
    for number, folder in enumerate(sorted(root.glob("D*/*/*"))):
        folder.rename(root / f"{UID}.{number}")
    for patient in root.glob("D*"):
        next(patient.iterdir()).rmdir()
        patient.rmdir()
    text = io.StringIO()
    csv.writer(text, delimiter=";").writerows([COLUMNS, *rows])
    write(root / f"{NAME}.csv", text.getvalue().encode("utf-8-sig"))
    return truth


def _breasts(
    root: Path, n: int, seed: int, truth: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    rows: list[Any] = []
    faults: dict[str, Any] = {}
    patient = 0
    while len(rows) < n:
        cohort, number = ("D1", patient + 1) if patient < 8 else ("D2", patient - 7)
        name, kind = f"{cohort}-{number:04d}", patient % 3
        listed = {0: "LR", 1: "L", 2: "R"}[kind][: n - len(rows)]
        shown = "R" if kind == 2 else "LR"
        digests = _write(root, name, seed, patient, shown)
        for side in listed:
            malignant = cohort == "D2" or side == "R"
            label = "Malignant" if malignant else "Benign"
            rows.append(_row(name, side, label, 40 + patient, cohort))
            truth["records"][f"{name}_{side}"] = {
                "labels": [label],
                "native": [label],
                "patient_id": name,
                "age": 40.0 + patient,
                "sex": "female",
                "pixel_sha1": digests[side],
            }
        faults |= {f"{name}_{s}": {"kind": "left out"} for s in shown if s not in listed}
        patient += 1
    return rows, faults


def _row(name: str, side: str, label: str, age: int, cohort: str) -> list[Any]:
    subtype = "Luminal A" if cohort == "D2" else None
    return [name, side, age, 2, " Mass" if age % 2 else "calcification", label, subtype]


def _folder(root: Path, name: str, patient: int) -> Path:
    return root / name / f"07-18-2010-NA-NA-{49231 + patient}" / f"1.000000-NA-{70244 + patient}"


def _write(root: Path, name: str, seed: int, patient: int, sides: str) -> dict[str, str]:
    """Writes both views of some breasts; returns side -> digest of what its first view shows."""
    digests, file = {}, 0
    for side in sides:
        for view in ("CC", "MLO"):
            file += 1
            values = film(seed * 1000 + patient * 4 + file, 48, 40, bits=8)
            syntax = {1: RLELossless, 2: JPEGBaseline8Bit}.get(patient % 4, ExplicitVRLittleEndian)
            data = dicom(values, syntax=syntax, **_tags(name, side, view, patient))
            write(_folder(root, name, patient) / f"1-{file}.dcm", data)
            if syntax == JPEGBaseline8Bit:
                values = np.asarray(Image.open(io.BytesIO(jpeg(values))))
            digests.setdefault(side, sha1(values))
    return digests


def _tags(name: str, side: str | None, view: str, patient: int) -> dict[str, Any]:
    code = Dataset()
    value, meaning = CODES[view]
    if patient % 2:
        code.CodeMeaning = f"{meaning.capitalize()} "
    else:
        code.CodeValue = value
    told = {"PatientID": name, "PatientSex": "F", "Manufacturer": "GE MEDICAL SYSTEMS"}
    told |= {"ViewCodeSequence": [code]}
    return told | ({"ImageLaterality": side} if side else {})


def _add_faults(root: Path, seed: int, truth: dict[str, Any]) -> list[Any]:
    """A folder that is absent, a side that no image has, no side at all, and broken files."""
    rows = [_row(f"D1-09{i:02d}", "L", "Benign", 50, "D1") for i in range(8)]
    faults: dict[str, Any] = {"D1-0900_L": {"kind": "missing"}}
    _write(root, "D1-0901", seed, 901, "R")
    faults |= {"D1-0901_L": {"kind": "missing"}, "D1-0901_R": {"kind": "left out"}}
    data = dicom(film(1, 48, 40, bits=8), **_tags("D1-0902", None, "CC", 902))
    write(_folder(root, "D1-0902", 902) / "1-1.dcm", data)
    faults |= {"D1-0902_L": {"kind": "missing"}, "D1-0902_1-1": {"kind": "left out"}}
    good = dicom(film(2, 48, 40, bits=8), **_tags("D1-0903", "L", "CC", 903))
    write_broken(root, [f"{i}.dcm" for i in range(5)], good)
    for i in range(5):
        name = f"D1-09{3 + i:02d}"
        target = _folder(root, name, 903 + i) / "1-1.dcm"
        target.parent.mkdir(parents=True)
        (root / f"{i}.dcm").rename(target)
        if i == 0:  # cut short behind its header
            faults[f"{name}_L"] = {"kind": "damaged"}
        else:
            faults |= {f"{name}_L": {"kind": "missing"}, f"{name}_1-1": {"kind": "damaged"}}
    # Without pixels, but with a header that tells its side.
    target.write_bytes(dicom(None, **_tags(name, "L", "CC", 907)))
    del faults[f"{name}_1-1"]
    faults[f"{name}_L"] = {"kind": "damaged"}
    truth["faults"] |= faults
    return rows


if __name__ == "__main__":
    make(Path(sys.argv[1]))
