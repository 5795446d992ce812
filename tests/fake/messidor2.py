"""A made tree of Messidor-2: PNG and JPG images, adjudicated grades, pairs of eyes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults, write_table

GRADES = ("No DR", "Mild DR", "Moderate DR", "Severe DR", "Proliferative DR")
COLUMNS = ("image_id", "adjudicated_dr_grade", "adjudicated_dme", "adjudicated_gradable")


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Two images are one exam. Every other exam has JPEG files that end in .JPG and are called .jpg
    in the table of grades; the last one's images could not be graded.

    Args:
        root: folder to write into; made if absent.
        n: number of graded images.
        seed: of the images.
        with_faults: also list images that are not there, write broken ones, and one that no row
            lists.
    """
    truth = new_truth(GRADES, ["ADCIS images with grades"])
    rows: list[list[Any]] = []
    pairs: list[list[str]] = []
    for number in range(n + 2):
        name, ending, data = _image(seed, number)
        sha1 = write(root / "IMAGES" / f"{name}{ending}", data)
        if number % 2:
            pairs[-1].append(f"{name}{ending}")
        else:
            pairs.append([f"{name}{ending}"])
        grade = number % len(GRADES)
        if number >= n:
            rows.append([f"{name}{ending.lower()}", None, None, 0])
            truth["faults"][name] = {"kind": "left out"}
            continue
        rows.append([f"{name}{ending.lower()}", f"{grade}.0", f"{grade // 4}.0", 1])
        truth["records"][name] = {
            "labels": [GRADES[grade]],
            "native": [str(grade)],
            "patient_id": None,
            "image_sha1": sha1,
        }
    if with_faults:
        names = [f"20060101_{90000 + i}_0100_PP" for i in range(5)]
        rows += [[f"{name}.png", "0.0", "0.0", 1] for name in names]
        files = [f"{name}.png" for name in names[1:]]
        good = encoded(picture([seed, 0]), "PNG")
        truth["faults"] |= write_faults(root / "IMAGES", files, good, "PNG")
        truth["faults"][names[0]] = {"kind": "missing"}
        truth["faults"]["IM009999"] = {"kind": "left out"}
        write(root / "IMAGES" / "IM009999.JPG", encoded(picture([seed, 999]), "JPEG"))
    write_table(root / "messidor_data.csv", COLUMNS, rows)
    write_table(root / "messidor-2.csv", ("left", " right"), pairs, delimiter=";")
    (root / "messidor_readme.txt").write_text("made\n")
    return truth


def _image(seed: int, number: int) -> tuple[str, str, bytes]:
    """Name, ending and bytes of an image."""
    drawn = picture([seed, number], 48, 32)
    if number // 2 % 2:
        return f"IM{number:06d}", ".JPG", encoded(drawn, "JPEG")
    return f"20051020_{43000 + number}_0100_PP", ".png", encoded(drawn, "PNG")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
