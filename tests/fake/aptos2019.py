"""A made tree of APTOS 2019: graded training images, and test images without grades."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults, write_table

GRADES = ("No DR", "Mild DR", "Moderate DR", "Severe DR", "Proliferative DR")


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    The first two images are equal, byte for byte, and have different grades.

    Args:
        root: folder to write into; made if absent.
        n: number of good images.
        seed: of the images.
        with_faults: also list an image that is not there, and write broken ones and an image that
            no row lists.
    """
    truth = new_truth(GRADES, ["Kaggle competition"])
    rows = []
    for number in range(n):
        name, diagnosis = _code(seed, number), number % len(GRADES)
        drawn = max(number, 1)
        data = encoded(picture([seed, drawn], 40 + drawn % 3, 32), "PNG")
        sha1 = write(root / "train_images" / f"{name}.png", data)
        rows.append([name, diagnosis])
        truth["records"][name] = {
            "labels": [GRADES[diagnosis]],
            "native": [str(diagnosis)],
            "patient_id": None,
            "image_sha1": sha1,
        }
    tests = [_code(seed, 500 + number) for number in range(3)]
    for number, name in enumerate(tests):
        write(root / "test_images" / f"{name}.png", encoded(picture([seed, 500 + number]), "PNG"))
    if with_faults:
        names = [_code(seed, 900 + number) for number in range(5)]
        rows += [[name, 0] for name in names]
        files = [f"{name}.png" for name in names[1:]]
        truth["faults"] = write_faults(root / "train_images", files, data, "PNG")
        truth["faults"][names[0]] = {"kind": "missing"}
        orphan = _code(seed, 999)
        truth["faults"][orphan] = {"kind": "left out"}
        write(root / "train_images" / f"{orphan}.png", encoded(picture([seed, 999]), "PNG"))
    write_table(root / "train.csv", ("id_code", "diagnosis"), rows)
    write_table(root / "test.csv", ("id_code",), [[name] for name in tests])
    write_table(
        root / "sample_submission.csv", ("id_code", "diagnosis"), [[name, 0] for name in tests]
    )
    return truth


def _code(seed: int, number: int) -> str:
    return hashlib.sha1(f"{seed} {number}".encode()).hexdigest()[:12]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
