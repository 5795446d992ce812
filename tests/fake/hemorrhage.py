"""A made tree of CT-ICH: slices as JPEG in two windows (1.0.0), and volumes as NIfTI (1.3.1)."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import numpy as np
from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults, write_table
from made_volumes import body, damaged_nifti, volume_sha1, write_nifti
from PIL import Image

CLASSES = ("No Hemorrhage", "Has Hemorrhage")
TYPES = ("Intraventricular", "Intraparenchymal", "Subarachnoid", "Epidural", "Subdural")
COLUMNS = ("PatientNumber", "SliceNumber", *TYPES, "No_Hemorrhage", "Fracture_Yes_No")
AGE = "Age\n(years)"
TEST = (49, 53, 59, 61)
RAS = np.diag([0.5, 0.5, 5.0, 1.0])
N_SLICES = 5


def make(root: Path, n: int = 30, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes slices as JPEG and returns what a reader must find in them.

    Each third patient bleeds in the upper slices, of one or two kinds, with a mask; the second
    slice of the first patient lacks its bone window, the third ends in .JPG.

    Args:
        root: folder to write into; made if absent.
        n: number of good slices, five a patient.
        seed: of the pixels.
        with_faults: also write broken slices, and list one that is not there.
    """
    truth = new_truth(CLASSES, ["1.0.0"])
    top = root / "Patients_CT"
    rows = []
    for number in range(n):
        patient, at = 49 + number // N_SLICES, 1 + number % N_SLICES
        record = f"{patient:03}-{at}"
        kinds = _kinds(patient, at)
        rows.append(_row(patient, at, kinds))
        ending = "JPG" if number == 2 else "jpg"
        data = encoded(picture([seed, number], 48, 40, mode="L"), "JPEG")
        sha1 = write(top / f"{patient:03}" / "brain" / f"{at}.{ending}", data)
        if number != 1:
            bone = encoded(picture([seed, number, 1], 48, 40, mode="L"), "JPEG")
            write(top / f"{patient:03}" / "bone" / f"{at}.{ending}", bone)
        if kinds:
            write(top / f"{patient:03}" / "brain" / f"{at}_HGE_Seg.jpg", _mask(number))
        truth["records"][record] = _truth(patient, kinds) | {"image_sha1": sha1}
    if with_faults:
        good = encoded(picture([seed, 0], mode="L"), "JPEG")
        names = [f"{90 + i}.jpg" for i in range(4)]
        found = write_faults(top / "049" / "brain", names, good, "JPEG")
        truth["faults"] |= {f"049-{name}": fault for name, fault in found.items()}
        truth["faults"]["049-99"] = {"kind": "missing"}
        rows += [_row(49, at, ()) for at in (90, 91, 92, 93, 99)]
    write_table(root / "hemorrhage_diagnosis.csv", COLUMNS, rows)
    _write_people(root, {row[0] for row in rows})
    return truth


def make_volumes(
    root: Path, n: int = 8, seed: int = 0, with_faults: bool = False
) -> dict[str, Any]:
    """Writes volumes of release 1.3.1, masks on the same grid; see `make`."""
    truth = new_truth(CLASSES, ["1.3.1"])
    rows = []
    for patient in range(49, 49 + n):
        shape = (24, 20, N_SLICES)
        values = body([seed, patient], shape).astype(np.int16)
        kinds = [_kinds(patient, at) for at in range(1, N_SLICES + 1)]
        rows += [_row(patient, 1 + at, one) for at, one in enumerate(kinds)]
        mask = np.zeros(shape, np.uint8)
        mask[6:10, 5:9, [bool(one) for one in kinds]] = 1
        write_nifti(root / "ct_scans" / f"{patient:03}.nii", values, RAS)
        write_nifti(root / "masks" / f"{patient:03}.nii", mask, RAS)
        told = tuple(kind for kind in TYPES if any(kind in one for one in kinds))
        truth["records"][f"{patient:03}"] = _truth(patient, told) | {
            "volume_sha1": volume_sha1(values, RAS),
            "volume_mask_sha1": volume_sha1(mask, RAS),
        }
    if with_faults:
        rows += [_row(patient, 1, ()) for patient in (128, 129)]
        values = body([9], (24, 20, N_SLICES)).astype(np.int16)
        truth["faults"]["128"] = damaged_nifti(root / "ct_scans" / "128.nii", values)
        truth["faults"]["129"] = {"kind": "missing"}
    write_table(root / "hemorrhage_diagnosis_raw_ct.csv", COLUMNS, rows)
    _write_people(root, {row[0] for row in rows})
    return truth


def _kinds(patient: int, at: int) -> tuple[str, ...]:
    if patient % 3 or at < 3:
        return ()
    return (TYPES[patient % 5], TYPES[4]) if at == 4 and patient % 5 != 4 else (TYPES[patient % 5],)


def _row(patient: int, at: int, kinds: tuple[str, ...]) -> tuple[Any, ...]:
    return (patient, at, *(int(kind in kinds) for kind in TYPES), int(not kinds), int(at == 2))


def _truth(patient: int, kinds: tuple[str, ...]) -> dict[str, Any]:
    return {
        "labels": [CLASSES[bool(kinds)]],
        "native": list(kinds) or ["No_Hemorrhage"],
        "patient_id": f"{patient:03}",
        "age": 20 + patient % 50,
        "sex": ("female", "male")[patient % 2],
        "split": "test" if patient in TEST else "train",
    }


def _mask(number: int) -> bytes:
    pixels = np.zeros((40, 48), np.uint8)
    pixels[10:20, 8 : 24 + number % 4] = 255
    return encoded(Image.fromarray(pixels), "JPEG", quality=95)


def _write_people(root: Path, patients: set[int]) -> None:
    header = ("Patient Number", AGE, "Gender", "Hemorrhage type", "", "Note")
    rows = [
        (patient, 20 + patient % 50, ("Female", "Male")[patient % 2], "", "", "fell, twice")
        for patient in sorted(patients)
    ]
    write_table(root / "patient_demographics.csv", header, rows)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
