"""A made tree of BCSS: regions in flat colours, masks of codes, tables beside them."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import numpy as np
from graph_truth import new_truth
from made_images import encoded, write, write_table
from PIL import Image

CLASSES = ("Tumor", "Stroma", "Lymphocytic infiltrate", "Necrosis/debris")
TEST_SITES = ("OL", "LL", "E2", "EW", "GM", "S3")
SITES = ("A1", "OL", "BH", "AR", "S3", "E2")
BOUNDS = ("", "xmin", "ymin", "xmax", "ymax", "mask_link")
CODES = {0: "outside_roi", 1: "tumor", 2: "stroma", 3: "lymphocytic_infiltrate", 20: "dcis"}


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Each region is 230 px high and has tumour on the left and another tissue on the right, each a
    patch, between them an area that is too small, and rims of other codes. The first region is
    1,300 x 300 px of tumour, which makes two patches, and has more tumour within a hole; the mask
    of the second lacks a column.

    Args:
        root: folder to write into; made if absent.
        n: number of good patches, two a region.
        seed: of the colours.
        with_faults: also write a damaged mask and a damaged image, a mask of nothing, an image
            without its mask and the other way round; and list a slide that is not there.
    """
    truth = new_truth(CLASSES, ["images and masks"])
    rows = []
    for number in range(max(n // 2, 1)):
        slide = _slide(number)
        tail = "MAG-0" if number == 2 else "MPP-0.2500"
        name = f"{slide}_xmin{100 + number}_ymin200_{tail}.png"
        codes = _wide() if number == 0 else _narrow(number)
        pixels = _stained(codes, seed + number)
        write(root / "images" / name, encoded(Image.fromarray(pixels), "PNG"))
        drawn = codes[:, :-1] if number == 1 else codes
        write(root / "masks" / name, encoded(Image.fromarray(drawn), "PNG"))
        rows.append([slide, 100 + number, 200, 100, 200, "https://example.org/1"])
        for code, (x1, y1, x2, y2) in _patches(number, codes):
            part = np.ascontiguousarray(pixels[y1:y2, x1:x2])
            truth["records"][f"{slide}/{code}_{x1}_{y1}_{x2}_{y2}"] = {
                "labels": [CLASSES[code - 1]],
                "native": [str(code)],
                "patient_id": slide[:12],
                "split": "test" if slide[5:7] in TEST_SITES else "train",
                "pixel_sha1": hashlib.sha1(part.tobytes()).hexdigest(),
            }
    if with_faults:
        _add_faults(root, truth, rows)
    write_table(root / "meta" / "roiBounds.csv", BOUNDS, rows)
    table = [[label, code] for code, label in CODES.items()]
    write_table(root / "meta" / "gtruth_codes.tsv", ("label", "GT_code"), table, delimiter="\t")
    return truth


def _slide(number: int) -> str:
    return f"TCGA-{SITES[number % len(SITES)]}-{number:04d}-DX1"


def _wide() -> np.ndarray:
    """Tumour all over, but for a hole with another area of tumour in it, and a rim."""
    codes = np.ones((300, 1300), np.uint8)
    codes[30:270, 300:600] = 7
    codes[32:266, 310:560] = 1
    codes[:, -1] = 1
    codes[0, 5:9] = 20
    return codes


def _narrow(number: int) -> np.ndarray:
    codes = np.zeros((230, 620), np.uint8)
    codes[2:228, 3:240] = 1
    codes[0:100, 260:300] = 3  # too small for a patch
    codes[2:228, 240:246] = 20
    codes[1:229, 330:600] = 2 + number % 3
    codes[20:40, 400:420] = 7  # a hole
    return codes


def _patches(number: int, codes: np.ndarray) -> list[tuple[int, tuple[int, int, int, int]]]:
    if number == 0:
        return [(1, (0, 0, 1024, 300)), (1, (276, 0, 1300, 300))]
    # Column x of a mask brought from 619 to 620 px is its column floor((x + 0.5) * 619 / 620).
    shift = int(number == 1)
    second = int(codes[1, 330]), (330 + shift, 1, 600 + shift, 229)
    return [(1, (3, 2, 240, 228)), second]


def _stained(codes: np.ndarray, seed: int) -> np.ndarray:
    """A colour a code, and a column of its own, so that each part differs from others."""
    colours = np.random.default_rng(seed).integers(60, 250, (256, 3), dtype=np.uint8)
    pixels = colours[codes]
    pixels[..., 0] = np.arange(codes.shape[1]) % 251
    return pixels


def _add_faults(root: Path, truth: dict[str, Any], rows: list[Any]) -> None:
    codes = _narrow(1)
    mask = encoded(Image.fromarray(codes), "PNG")
    shown = encoded(Image.fromarray(_stained(codes, 9)), "PNG")
    empty = encoded(Image.fromarray(np.zeros_like(codes)), "PNG")
    pairs = {
        "9001": (shown, mask[: len(mask) // 2], "damaged"),
        "9002": (b"<html>", mask, "damaged"),
        "9003": (shown, empty, "left out"),
        "9004": (shown, None, "missing"),
        "9005": (None, mask, "missing"),
        "9006": (None, None, "missing"),
    }
    for number, (image, drawn, kind) in pairs.items():
        slide = f"TCGA-A2-{number}-DX1"
        for folder, data in (("images", image), ("masks", drawn)):
            if data is not None:
                write(root / folder / f"{slide}_xmin1_ymin1_MPP-0.2500.png", data)
        rows.append([slide, 1, 1, 2, 2, "https://example.org/2"])
        truth["faults"][slide] = {"kind": kind}


if __name__ == "__main__":
    make(Path(sys.argv[1]))
