"""A made tree of ISIC 2020: the training folder, both versions of the table, the duplicates."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults, write_table

V1 = ("image_name", "patient_id", "sex", "age_approx", "anatom_site_general_challenge")
V1 += ("diagnosis", "benign_malignant", "target")
V2 = (*V1[:2], "lesion_id", *V1[2:])
SITES = ("torso", "lower extremity", "head/neck", "palms/soles")


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Each patient has two images, every fourth image is malignant, one row has neither sex, age nor
    site, and one pair of duplicates is of two patients: its second image is left out.

    Args:
        root: folder to write into; made if absent.
        n: number of good images, beside the duplicate.
        seed: of the images.
        with_faults: also list an image that is not there, and write broken ones and an image that
            no row lists.
    """
    truth = new_truth(("Malignant", "Benign"), ["ISIC challenge, JPEG"])
    rows = []
    for number in range(n):
        name, bad = f"ISIC_{2637011 + number}", number % 4 == 1
        data = encoded(picture([seed, number]), "JPEG", quality=90, progressive=number % 2 == 1)
        sha1 = write(root / "train" / f"{name}.jpg", data)
        known = number != 2
        sex, age = ("male", 40.0 + number) if known else (None, None)
        rows.append(_row(number, name, bad, sex, age, SITES[number % 4] if known else None))
        truth["records"][name] = {
            "labels": ["Malignant" if bad else "Benign"],
            "native": ["malignant" if bad else "benign"],
            "patient_id": rows[-1][1],
            "age": age,
            "sex": sex,
            "image_sha1": sha1,
        }
    copied = rows[0][0]
    twin = "ISIC_7777777"
    write(root / "train" / f"{twin}.jpg", (root / "train" / f"{copied}.jpg").read_bytes())
    rows.append(_row(1400, twin, False, "female", 60.0, "torso"))
    pairs = [[copied, twin]]
    write_table(root / "ISIC_2020_Training_Duplicates.csv", ("image_name_1", "image_name_2"), pairs)
    truth["faults"] = {twin: {"kind": "left out"}}
    if with_faults:
        names = [f"ISIC_900000{i}" for i in range(5)]
        rows += [_row(1800 + i, name, False, "male", 50, "torso") for i, name in enumerate(names)]
        files = [f"{name}.jpg" for name in names[1:]]
        truth["faults"] |= write_faults(root / "train", files, data, "JPEG")
        truth["faults"][names[0]] = {"kind": "missing"}
        truth["faults"]["ISIC_0099999"] = {"kind": "left out"}
        write(root / "train" / "ISIC_0099999.jpg", encoded(picture([seed, 999]), "JPEG"))
    write_table(root / "ISIC_2020_Training_GroundTruth_v2.csv", V2, rows)
    old = [[*row[:2], *row[3:]] for row in rows]
    write_table(root / "ISIC_2020_Training_GroundTruth.csv", V1, old)
    return truth


def _row(
    number: int, name: str, bad: bool, sex: str | None, age: float | None, site: str | None
) -> list[Any]:
    ids = [name, f"IP_{number // 2:07d}", f"IL_{number:07d}"]
    words = ["melanoma", "malignant", 1] if bad else ["unknown", "benign", 0]
    return [*ids, sex, age, site, *words]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
