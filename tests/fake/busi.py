"""A made tree of BUSI: images of three classes, outlines of each lesion in files of their own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import numpy as np
from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults
from PIL import Image

CLASSES = ("Normal", "Benign", "Malignant")
MODES = ("RGB", "RGBA", "L")  # of images, in turn
DRAWN = ("1", "L", "RGB")  # of masks
Lesion = tuple[int, int, int, int]


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it; `lesions` are boxes in px.

    The first benign image has two lesions in two files, another a mask of twice its size; the
    mask of a normal image is black. Image and mask vary in mode.

    Args:
        root: folder to write into; made if absent.
        n: number of good images.
        seed: of the images.
        with_faults: also write broken images, an image without a mask, a mask without an image,
            and a folder with a copy of the first image.
    """
    truth = new_truth(CLASSES, ["Kaggle"])
    top = root / "Dataset_BUSI_with_GT"
    for number in range(n):
        kind = CLASSES[number % 3].lower()
        name = f"{kind} ({1 + number // 3})"
        size = 60 + 2 * (number % 11), 50 + number % 31
        image = picture([seed, number], *size, mode=MODES[number % 2 + number // 3 % 2])
        sha1 = write(top / kind / f"{name}.png", encoded(image, "PNG"))
        lesions = _lesions(kind, number, size)
        scale = 2 if number == 4 else 1
        for place, lesion in enumerate(lesions or [None]):
            mask = _mask(lesion, size, scale, DRAWN[number // 3 % 3])
            tail = f"_mask_{place}" if place else "_mask"
            write(top / kind / f"{name}{tail}.png", encoded(mask, "PNG"))
        truth["records"][f"{kind}-{1 + number // 3}"] = {
            "labels": [CLASSES[number % 3]],
            "native": [kind],
            "patient_id": None,
            "image_sha1": sha1,
            "lesions": lesions,
        }
    if with_faults:
        _add_faults(top, truth, seed)
    return truth


def _add_faults(top: Path, truth: dict[str, Any], seed: int) -> None:
    names = [f"benign ({90 + i})" for i in range(4)]
    good = encoded(picture([seed, 0]), "PNG")
    found = write_faults(top / "benign", [f"{name}.png" for name in names], good, "PNG")
    for name, fault in found.items():
        truth["faults"][name.replace(" (", "-").rstrip(")")] = fault
        write(top / "benign" / f"{name}_mask.png", encoded(_mask(None, (48, 36), 1, "L"), "PNG"))
    write(top / "malignant" / "malignant (98)_mask.png", encoded(picture([seed, 98]), "PNG"))
    truth["faults"]["malignant-98"] = {"kind": "missing"}
    sha1 = write(top / "benign" / "benign (97).png", encoded(picture([seed, 97]), "PNG"))
    truth["faults"]["benign-97_mask"] = {"kind": "missing"}
    known = {"labels": ["Benign"], "native": ["benign"], "patient_id": None, "lesions": []}
    truth["records"]["benign-97"] = {**known, "image_sha1": sha1}
    again = top / "Dataset_BUSI_with_GT" / "benign"
    for name in ("benign (1).png", "benign (1)_mask.png"):
        write(again / name, (top / "benign" / name).read_bytes())
    truth["faults"]["benign-1"] = {"kind": "copy"}


def _lesions(kind: str, number: int, size: tuple[int, int]) -> list[Lesion]:
    """Boxes (x1, y1, x2, y2) of what is drawn, one each file."""
    if kind == "normal":
        return []
    first = (4 + number % 5, 6, 20 + number % 7, 18 + number % 3)
    second = (size[0] - 15, size[1] - 12, size[0] - 3, size[1] - 2)
    return [first, second] if number == 1 else [first]


def _mask(lesion: Lesion | None, size: tuple[int, int], scale: int, mode: str) -> Any:
    pixels = np.zeros((size[1] * scale, size[0] * scale), np.uint8)
    if lesion is not None:
        x1, y1, x2, y2 = (scale * edge for edge in lesion)
        pixels[y1:y2, x1:x2] = 255
    return Image.fromarray(pixels).convert(mode)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
