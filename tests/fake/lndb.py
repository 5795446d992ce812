"""A made tree of LNDb: scans and masks in MetaImage as SimpleITK writes them, and four tables."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import numpy as np
import SimpleITK as sitk
from graph_truth import new_truth
from made_images import write_table
from made_volumes import ball, body, volume_sha1

SHAPE = (50, 40, 40)  # slices from the feet to the head, rows, columns
SHORT = 20  # slices of one scan
SPACING = (0.7, 0.7, 1.0)  # x, y, z
UP = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])  # axes of (x, y, z) arrays to RAS
RADIUS = 3
LARGE, SMALL, OTHER = "nodule >= 3 mm", "nodule < 3 mm", "non-nodule"
NONE = "no nodule >= 3 mm"
SMALL_MM3 = 14.137  # a ball of 3 mm, as the tables have it
POINT = ("x", "y", "z")
SINGLE = ("LNDbID", "RadID", "FindingID", *POINT, "Nodule", "Volume", "Text")
MERGED = (
    *("LNDbID", "RadID", "RadFindingID", "FindingID"),
    *(*POINT, "AgrLevel", "Nodule", "Volume", "Text"),
)


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Of six scans the first has a large and a small nodule; the second runs from the head to the
    feet; the third is short, its header names its voxels in another case; the fourth has no
    finding; of the fifth, the mask of the second reader is not there; of the sixth, no mask is.

    Args:
        root: folder to write into; made if absent.
        n: number of good scans, of one or three windows each.
        seed: of the voxels.
        with_faults: also list a scan that is not there, and write one that is cut short, one with
            a mask of another size, one that no table lists, and files that are none of LNDb's.
    """
    truth = new_truth(("No nodule", "Has nodule"), ["Zenodo"])
    tables: dict[str, list[Any]] = {"single": [], "merged": [], "scans": [], "grades": []}
    numbers = [2 * at + 1 for at in range(n)]  # ids have gaps
    counted = [number for at, number in enumerate(numbers) if at % 6 != 3]
    for at, number in enumerate(numbers):
        split = "train" if number < counted[int(0.75 * len(counted))] else "test"
        _write_scan(root, truth, tables, at, number, seed, split)
    tables["scans"] += [(number, 1 + at % 2) for at, number in enumerate(numbers)]
    tables["grades"] += [(number, at % 4) for at, number in enumerate(numbers)]
    folds = [numbers[part::4] for part in range(4)]
    if with_faults:
        _add_faults(root, truth, tables, 2 * n + 1)
    csv = root / "trainset_csv"
    write_table(csv / "trainNodules.csv", SINGLE, tables["single"])
    write_table(csv / "trainNodules_gt.csv", MERGED, tables["merged"])
    write_table(csv / "trainCTs.csv", ("LNDbID", "RadN"), tables["scans"])
    write_table(csv / "trainFleischner.csv", ("LNDbID", "Fleischner"), tables["grades"])
    columns = [f"Fold{part}" for part in range(4)]
    write_table(csv / "trainFolds.csv", columns, zip(*folds, strict=False))
    return truth


def _write_scan(
    root: Path,
    truth: dict[str, Any],
    tables: dict[str, list[Any]],
    at: int,
    number: int,
    seed: int,
    split: str,
) -> None:
    kind, name = at % 6, f"LNDb-{number:04}"
    shape = (SHORT, *SHAPE[1:]) if kind == 2 else SHAPE
    values = body([seed, number], shape)
    image = write_metaimage(root / f"data{at % 6}" / f"{name}.mhd", values, down=kind == 1)
    if kind == 2:
        (root / "data2" / f"{name}.raw").rename(root / "data2" / f"{name}.RAW")
    large, small = (10 + at % 5, 20, 12), (shape[0] - 6, 25, 25)  # slice, row, column
    masks = {1: np.zeros(shape, np.uint8), 2: np.zeros(shape, np.uint8)}
    masks[1][ball(shape, large, RADIUS)] = 7  # the readers number findings each in their own way
    masks[2][ball(shape, large, RADIUS - 1)] = 2
    drawn = {0: (1, 2), 1: (1, 2), 2: (1,), 4: (1,), 5: ()}.get(kind, ())
    for reader in drawn:
        path = root / "masks" / f"{name}_rad{reader}.mhd"
        write_metaimage(path, masks[reader], down=kind == 1)
    extent = (large[0] - RADIUS, large[0] + RADIUS + 1) if drawn else _beside(large)
    lies = {LARGE: extent, (OTHER if kind == 5 else SMALL): _beside(small)}
    if kind == 3:
        lies = {}
    for found, place in zip(lies, (large, small), strict=False):
        tables["merged"].append(_merged(image, number, found, place, kind == 1))
        tables["single"] += _single(image, number, found, place, kind == 1)
    for index, first in enumerate(range(0, max(shape[0] - 24, 0) + 1, 12)):
        last = min(first + 24, shape[0])
        native = [one for one, lie in lies.items() if min(lie[1], last) - max(lie[0], first) >= 2]
        shown = values[first:last]
        truth["records"][f"{name}/{index:03}"] = {
            "labels": ["Has nodule" if LARGE in native else "No nodule"],
            "native": [*native, *([] if LARGE in native else [NONE])],
            "patient_id": None,
            "split": split,
            "volume_sha1": volume_sha1(shown.transpose(2, 1, 0), UP),
        }
        if 1 in drawn and masks[1][first:last].any():
            written = volume_sha1(masks[1][first:last].transpose(2, 1, 0), UP)
            truth["records"][f"{name}/{index:03}"]["volume_mask_sha1"] = written


def _beside(centre: Sequence[int]) -> tuple[int, int]:
    """Two slices on both sides of a centre that nobody drew around."""
    return centre[0] - 2, centre[0] + 3


def write_metaimage(path: Path, values: np.ndarray, *, down: bool = False) -> sitk.Image:
    """Writes a volume given from the feet to the head; `down` stores it the other way round."""
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = np.uint8 if values.dtype == np.uint8 else np.int16
    image = sitk.GetImageFromArray(np.ascontiguousarray(values[:: -1 if down else 1], kind))
    image.SetSpacing(SPACING)
    if down:
        image.SetDirection((1, 0, 0, 0, 1, 0, 0, 0, -1))
    image.SetOrigin((-14.0, 11.0, -200.0 + (len(values) - 1) * SPACING[2] * down))
    sitk.WriteImage(image, str(path))
    return image


def _point(image: sitk.Image, place: Sequence[int], down: bool) -> tuple[float, ...]:
    """Where a voxel lies in mm, by SimpleITK."""
    z, y, x = place
    stored = image.GetSize()[2] - 1 - z if down else z
    return image.TransformIndexToPhysicalPoint((x, y, stored))


def _volume(found: str) -> float:
    return SMALL_MM3 if found != LARGE else round(4 / 3 * math.pi * 2.5**3, 3)


def _merged(
    image: sitk.Image, number: int, found: str, place: Sequence[int], down: bool
) -> tuple[Any, ...]:
    finding = 1 if found == LARGE else 2
    own = "7,2" if found == LARGE else "3,4"
    nodule = 0 if found == OTHER else 1
    said = (2 * nodule, nodule, _volume(found), 4.33 if nodule else 0.0)
    return (number, "1,2", own, finding, *_point(image, place, down), *said)


def _single(
    image: sitk.Image, number: int, found: str, place: Sequence[int], down: bool
) -> list[tuple[Any, ...]]:
    own = (7, 2) if found == LARGE else (3, 4)
    point, nodule = _point(image, place, down), 0 if found == OTHER else 1
    said = (nodule, _volume(found), 4 if nodule else 0)
    return [(number, reader, own[reader - 1], *point, *said) for reader in (1, 2)]


def _add_faults(root: Path, truth: dict[str, Any], tables: dict[str, Any], number: int) -> None:
    missing, cut, other, loose = (f"LNDb-{number + at:04}" for at in range(4))
    tables["scans"] += [(number + at, 1) for at in range(3)]
    truth["faults"][missing] = {"kind": "missing"}
    write_metaimage(root / "data0" / f"{cut}.mhd", body([9], SHAPE))
    raw = root / "data0" / f"{cut}.raw"
    raw.write_bytes(raw.read_bytes()[: raw.stat().st_size // 2])
    truth["faults"][cut] = {"kind": "damaged"}
    one_window = (24, *SHAPE[1:])
    write_metaimage(root / "data0" / f"{other}.mhd", body([8], one_window))
    mask = np.full((*one_window[:2], one_window[2] - 1), 1, np.uint8)
    write_metaimage(root / "masks" / f"{other}_rad1.mhd", mask)
    truth["faults"][f"{other}/000"] = {"kind": "damaged"}
    write_metaimage(root / "data5" / f"{loose}.mhd", body([7], one_window))
    truth["faults"][loose] = {"kind": "left out"}
    (root / "masks" / "LNDb-0001_rad1-checkpoint.mhd").write_text("ObjectType = Image\n")
    (root / ".partial.LNDb-0001.mhd").write_text("half of it")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
