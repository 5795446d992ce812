"""A made tree of Brain Tumor Classification (MRI): a folder for each split and class."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults

CLASSES = ("No Tumor", "Glioma Tumor", "Meningioma Tumor", "Pituitary Tumor")
FOLDERS = ("no_tumor", "glioma_tumor", "meningioma_tumor", "pituitary_tumor")
NAMES = ("image ({}).jpg", "gg ({}).jpg", "m2 ({}).jpg", "p ({}).jpg")


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Images are grey or RGB, one ends in .JPG, one is a PNG; in Testing all are called `image(n)`,
    as in the release, so that names repeat. An image of the first split lies in the second too.

    Args:
        root: folder to write into; made if absent.
        n: number of good images.
        seed: of the images.
        with_faults: also write broken images, and the archive's second level with one copy.
    """
    truth = new_truth(CLASSES, ["Kaggle"])
    for number in range(n):
        split = ("Training", "Training", "Testing")[number // 4 % 3]
        place, count = number % 4, 1 + number // 4
        name = NAMES[place].format(count) if split == "Training" else f"image({count}).jpg"
        kind = "PNG" if number == 1 else "JPEG"
        name = name.replace(".jpg", {1: ".png", 2: ".JPG"}.get(number, ".jpg"))
        data = encoded(picture([seed, number], mode="L" if number % 5 == 0 else "RGB"), kind)
        sha1 = write(root / split / FOLDERS[place] / name, data)
        words = name.rpartition(".")[0].replace(" (", "-").replace("(", "-").rstrip(")")
        record = f"{split.lower()}-{FOLDERS[place].removesuffix('_tumor')}-{words}"
        truth["records"][record] = {
            "labels": [CLASSES[place]],
            "native": [FOLDERS[place]],
            "patient_id": None,
            "split": "train" if split == "Training" else "test",
            "image_sha1": sha1,
        }
    if with_faults:
        good = encoded(picture([seed, 0]), "JPEG")
        names = [f"gg ({90 + i}).jpg" for i in range(4)]
        found = write_faults(root / "Training" / "glioma_tumor", names, good, "JPEG")
        for name, fault in found.items():
            truth["faults"][f"training-glioma-{name.replace(' (', '-').rstrip(')')}"] = fault
        first = root / "Training" / "no_tumor" / "image (1).jpg"
        write(root / "Kaggle" / first.relative_to(root), first.read_bytes())
        truth["faults"]["training-no-image-1"] = {"kind": "copy"}
    return truth


if __name__ == "__main__":
    make(Path(sys.argv[1]))
