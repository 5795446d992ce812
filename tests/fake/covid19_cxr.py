"""A made tree of the COVID-19 Detection X-Ray Dataset: folders by part and by diagnosis."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import encoded, picture, write

CLASS_OF = {
    "Normal": "Normal",
    "BacterialPneumonia": "Bacterial Pneumonia",
    "COVID-19": "COVID-19",
    "ViralPneumonia": "Viral Pneumonia",
}
# Name of an image and what it is encoded as, by turns.
NAMES = (
    ("IM-{n:04d}-0001.jpeg", "JPEG", "L"),
    ("person{n}_bacteria_{n}.JPG", "JPEG", "RGB"),
    ("case ({n}), day 2.png", "PNG", "RGBA"),
)


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Endings are of mixed case, every third image has an alpha channel, Thumbs.db lies among them,
    one image of test lies in train too, and the two folders that are not to be read are there.

    Args:
        root: folder to write into; made if absent.
        n: number of good images.
        seed: of the images.
        with_faults: also write an image that is cut short, and an empty one.
    """
    truth = new_truth(tuple(CLASS_OF.values()), ["Kaggle"])
    for number in range(n):
        folder = "ValData" if number % 3 == 2 else "TrainData"
        kind = tuple(CLASS_OF)[number // 3 % 4]
        name, form, mode = NAMES[(number + number // 4) % len(NAMES)]
        name = name.format(n=number)
        data = encoded(picture([seed, number], 16, 16, "RGB").convert(mode), form)
        truth["records"][record_of(folder, kind, name)] = {
            "labels": [CLASS_OF[kind]],
            "native": [kind],
            "patient_id": None,
            "split": "test" if folder == "ValData" else "train",
            "image_sha1": write(root / folder / kind / name, data),
        }
        if folder == "TrainData":
            write(root / "NonAugmentedTrain" / kind / name, data)
    extra = encoded(picture([seed, 5000], 16, 16, "L"), "JPEG")
    write(root / "TrainData/OversampledAugmentedCOVID-19/COVID-19/0_1.jpg", extra)
    write(root / "TrainData/Normal/Thumbs.db", b"made\n")
    test = next(path for path in sorted((root / "ValData").rglob("*")) if path.is_file())
    twin = f"copy of{test.suffix}"
    write(root / "TrainData" / test.parent.name / twin, test.read_bytes())
    truth["faults"] = {record_of("TrainData", test.parent.name, twin): {"kind": "left out"}}
    if with_faults:
        folder = root / "TrainData" / "ViralPneumonia"
        good = encoded(picture([seed, 0], 16, 16), "JPEG")
        for name, data in {"cut.jpg": good[: len(good) * 3 // 4], "empty.jpg": b""}.items():
            write(folder / name, data)
            record = record_of("TrainData", "ViralPneumonia", name)
            truth["faults"][record] = {"kind": "damaged"}
    return truth


def record_of(folder: str, kind: str, name: str) -> str:
    plain = "".join(one if one.isalnum() or one in "_.+-" else "_" for one in name)
    return f"{folder}/{kind}_{plain}"


if __name__ == "__main__":
    make(Path(sys.argv[1]))
