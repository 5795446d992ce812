"""A made tree of CoronaHack: the table of causes, and the folder that holds one of its name."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults, write_table

CLASSES = ("Normal", "Bacterial Pneumonia", "Viral Pneumonia")
# Name, label, first and second cause, class (None: of no class), by turns.
KINDS = (
    ("IM-{n:04d}-0001.jpeg", "Normal", None, None, "Normal"),
    ("person{n}_bacteria_{n}.jpeg", "Pnemonia", "bacteria", None, "Bacterial Pneumonia"),
    ("person{n}_virus_{n}.jpeg", "Pnemonia", "Virus", None, "Viral Pneumonia"),
    ("1-s2.0-S{n}-gr2 (a).png", "Pnemonia", "Virus", "COVID-19", "Viral Pneumonia"),
    ("strep{n}.jpg", "Pnemonia", "bacteria", "Streptococcus", "Bacterial Pneumonia"),
    ("NORMAL2-IM-{n:04d}-0001.jpeg", "Normal", None, None, "Normal"),
    ("SARS-10.1148rg.{n}.jpeg", "Pnemonia", "Virus", "SARS", "Viral Pneumonia"),
)
# In the order of the release: the second cause before the first, and a number without a name.
HEAD = ("", "X_ray_image_name", "Label", "Dataset_type", "Label_2_Virus_category")
HEAD += ("Label_1_Virus_category",)


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    One row is of a pneumonia by smoking, which is of no class.

    Args:
        root: folder to write into; made if absent.
        n: number of good images.
        seed: of the images.
        with_faults: also list an image that is not there, and write broken ones and an image that
            the table does not list.
    """
    truth = new_truth(CLASSES, ["Kaggle"])
    inside = root / "Coronahack-Chest-XRay-Dataset" / "Coronahack-Chest-XRay-Dataset"
    rows = []
    for number in range(n):
        pattern, label, first, second, name_of_class = KINDS[number % len(KINDS)]
        name, part = pattern.format(n=number), "test" if number % 5 == 4 else "train"
        form = "PNG" if name.endswith("png") else "JPEG"
        data = encoded(picture([seed, number], 16, 16, "RGB" if number % 2 else "L"), form)
        rows.append([number, name, label, part.upper(), second, first])
        truth["records"][record_of(name)] = {
            "labels": [name_of_class],
            "native": ["/".join(word for word in (label, first, second) if word)],
            "patient_id": None,
            "split": part,
            "image_sha1": write(inside / part / name, data),
        }
    write(inside / "train" / "smoke.jpeg", encoded(picture([seed, 700], 16, 16), "JPEG"))
    rows.append([n, "smoke.jpeg", "Pnemonia", "TRAIN", "ARDS", "Stress-Smoking"])
    truth["faults"] = {"smoke.jpeg": {"kind": "left out"}}
    if with_faults:
        names = [f"person90{i}_virus_1.jpeg" for i in range(6)]
        rows += [[900, name, "Pnemonia", "TRAIN", None, "Virus"] for name in names[:5]]
        good = encoded(picture([seed, 0], 16, 16), "JPEG")
        found = write_faults(inside / "train", names[1:5], good, "JPEG")
        truth["faults"] |= {f"{stem}.jpeg": kind for stem, kind in found.items()}
        truth["faults"] |= {names[0]: {"kind": "missing"}, names[5]: {"kind": "left out"}}
        write(inside / "train" / names[5], good)
    write_table(root / "Chest_xray_Corona_Metadata.csv", HEAD, rows)
    summary = ("", "Label", "Label_1_Virus_category", "Label_2_Virus_category", "Image_Count")
    write_table(root / "Chest_xray_Corona_dataset_Summary.csv", summary, [[0, "Normal", "", "", n]])
    return truth


def record_of(name: str) -> str:
    return "".join(one if one.isalnum() or one in "_.+-" else "_" for one in name)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
