"""A made tree of INSPECT: volumes called by image, tables called by impression."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import numpy as np
from graph_truth import new_truth
from made_images import write_table
from made_volumes import body, damaged_nifti, volume_sha1, write_nifti

CLASSES = (
    *("No PE", "Acute Subsegmental-only PE", "Acute PE"),
    *("Subsegmental-only PE", "Chronic PE"),
)
# positive, acute, subsegmental only, in the spellings of several releases
FLAGS = (
    ("FALSE", "", ""),
    ("TRUE", "TRUE", "TRUE"),
    ("1", "1", "0"),
    ("TRUE", "FALSE", "TRUE"),
    ("1.0", "0.0", "Censored"),
)
LABELS = (
    *("impression_id", "pe_positive_nlp", "pe_acute", "pe_subsegmentalonly"),
    *("1_month_mortality", "12_month_PH"),
)
AXES = (np.diag([0.7, 0.7, 1.25, 1.0]), np.diag([-0.7, -0.7, 1.25, 1.0]))  # RAS and LPS
SHAPE = (32, 32, 20)


def make(root: Path, n: int = 12, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Axes are RAS and LPS in turn; the first image's id is written with its ending in the mapping;
    the last study has several moments; the second and third are of one person.

    Args:
        root: folder to write into; made if absent.
        n: number of good studies.
        seed: of the voxels.
        with_faults: also list an impression twice and one without a volume, and write a volume
            that is cut short.
    """
    truth = new_truth(CLASSES, ["2025"])
    labels, splits, mapping, texts = [], [], [], []
    for number in range(n):
        impression, image = f"{1000 + number}", f"PE{number:x}ab"
        affine = AXES[number % 2]
        values = body([seed, number], SHAPE[::-1]).T.astype(np.int16)
        if number == n - 1:
            values = np.stack([values, values + 1], axis=3)
        write_nifti(root / "CTPA" / f"{image}.nii.gz", values, affine)
        split = ("train", "train", "valid", "test")[number // 2 % 4]
        person = f"{500 + max(number, 1) // 2}"
        labels.append((impression, *FLAGS[number % 5], ("TRUE", "Censored")[number % 2], "0"))
        splits.append((impression, split))
        mapping.append((impression, image + ".nii.gz" * (number == 0), person, "2020-01-02"))
        texts.append((impression, f"1. Finding {number}. No other."))
        truth["records"][impression] = {
            "labels": [CLASSES[number % 5]],
            "native": [CLASSES[number % 5]],
            "patient_id": person,
            "split": "validation" if split == "valid" else split,
        }
        if values.ndim == 3:
            truth["records"][impression]["volume_sha1"] = volume_sha1(values, affine)
    if with_faults:
        labels += [labels[0], ("9001", *FLAGS[0], "", ""), ("9002", *FLAGS[0], "", "")]
        mapping += [("9001", "PEgone", "900", ""), ("9002", "PEcut", "901", "")]
        splits += [("9001", "train"), ("9002", "train")]
        cut = damaged_nifti(root / "CTPA" / "PEcut.nii.gz", values)
        truth["faults"] = {"1000": {"kind": "copy"}, "9001": {"kind": "missing"}, "9002": cut}
    tab = {"delimiter": "\t"}
    write_table(root / "labels_20250611.tsv", LABELS, labels, **tab)
    write_table(root / "splits_20250611.tsv", ("impression_id", "split"), splits, **tab)
    columns = ("impression_id", "image_id", "person_id", "procedure_DATETIME")
    write_table(root / "study_mapping_20250611.tsv", columns, mapping, **tab)
    write_table(root / "impressions_20250611.tsv", ("impression_id", "impressions"), texts, **tab)
    return truth


if __name__ == "__main__":
    make(Path(sys.argv[1]))
