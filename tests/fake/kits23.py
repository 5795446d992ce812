"""A made tree of KiTS23: `kits23.json`, and a folder a case with imaging and segmentation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import numpy as np
from graph_truth import new_truth
from made_volumes import IPL, ball, body, damaged_nifti, volume_sha1, write_nifti

SHAPE = (20, 48, 48)
WIDE = (20, 48, 64)  # as one case of the release is
GENDERS = ("male", "female", "transgender_male_to_female")
SEXES = ("male", "female", "other")


def make(root: Path, n: int = 12, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    The second case is wider than the others, the third has no finding of pathology, the fourth an
    affine of its segmentation that differs by rounding, the fifth no tumour in its segmentation.

    Args:
        root: folder to write into; made if absent.
        n: number of good cases.
        seed: of the voxels.
        with_faults: also write a case without imaging, one that is cut short, one whose
            segmentation is of another size, an unlisted one and a partial download.
    """
    truth = new_truth(("Benign", "Malignant"), ["GitHub, with imaging downloaded"])
    top = root / "dataset"
    cases = []
    for number in range(n):
        record = f"case_{number:05}"
        shape = WIDE if number == 1 else SHAPE
        values, codes = body([seed, number], shape), _codes(shape, number)
        moved = IPL + (1e-4 if number == 3 else 0.0)
        moved[3] = IPL[3]
        write_nifti(top / record / "imaging.nii.gz", values)
        write_nifti(top / record / "segmentation.nii.gz", codes, moved)
        _write_instances(top / record / "instances", codes)
        malignant = None if number == 2 else number % 3 > 0
        cases.append(_case(record, number, malignant))
        truth["records"][record] = {
            "labels": [] if malignant is None else ["Malignant" if malignant else "Benign"],
            "native": [] if malignant is None else [str(malignant).lower()],
            "patient_id": record,
            "age": 40 + number,
            "sex": SEXES[number % 3],
            "volume_sha1": volume_sha1(values),
            "volume_mask_sha1": volume_sha1(codes),
        }
    if with_faults:
        _add_faults(top, truth, cases, n)
    (top / "kits23.json").write_text(json.dumps(cases))
    return truth


def _add_faults(top: Path, truth: dict[str, Any], cases: list[dict[str, Any]], n: int) -> None:
    missing, cut, other, loose = (f"case_{n + i:05}" for i in range(4))
    values, codes = body([9], SHAPE), _codes(SHAPE, 0)
    cases += [_case(record, 0, True) for record in (missing, cut, other)]
    write_nifti(top / missing / "segmentation.nii.gz", codes)
    (top / missing / ".partial.imaging.nii.gz").write_bytes(b"half of it")
    truth["faults"][missing] = {"kind": "missing"}
    truth["faults"][cut] = damaged_nifti(top / cut / "imaging.nii.gz", values)
    write_nifti(top / other / "imaging.nii.gz", values)
    write_nifti(top / other / "segmentation.nii.gz", codes[:-1])
    truth["faults"][other] = {"kind": "damaged"}
    write_nifti(top / loose / "imaging.nii.gz", values)
    truth["faults"][loose] = {"kind": "left out"}


def _codes(shape: tuple[int, ...], number: int) -> np.ndarray:
    """0 background, 1 kidney, 2 tumour, 3 cyst."""
    codes = np.zeros(shape, np.uint8)
    codes[ball(shape, (10, 24, 14), 8)] = 1
    codes[ball(shape, (5, 20, 10), 2)] = 3
    if number != 4:
        codes[ball(shape, (8 + number % 5, 26, 16), 4)] = 2
    return codes


def _write_instances(folder: Path, codes: np.ndarray) -> None:
    """Three annotators draw the kidney, the third a little less than the others."""
    for annotation in (1, 2, 3):
        drawn = (codes > 0).astype(np.uint8)
        drawn[:annotation] = 0
        write_nifti(folder / f"kidney_instance-1_annotation-{annotation}.nii.gz", drawn)


def _case(record: str, number: int, malignant: bool | None) -> dict[str, Any]:
    return {
        "case_id": record,
        "gender": GENDERS[number % 3],
        "age_at_nephrectomy": 40 + number,
        "bmi": 25.5,
        "comorbidities": {"copd": False},
        "radiographic_size": None if number == 5 else 3.0 + number / 10,
        "malignant": malignant,
        "tumor_isup_grade": "na",
    }


if __name__ == "__main__":
    make(Path(sys.argv[1]))
