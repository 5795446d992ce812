"""Small CT volumes as nibabel writes them, for makers, and what they tell of them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

# From an array's axes (slice, row, column) to mm, slices towards the feet: I, P, L.
SPACING = (2.5, 0.8, 0.7)
IPL = np.array(
    [
        [0, 0, -SPACING[2], 40],
        [0, -SPACING[1], 0, 30],
        [-SPACING[0], 0, 0, 500],
        [0, 0, 0, 1],
    ],
    dtype=float,
)


def body(seed: Sequence[int], shape: Sequence[int]) -> np.ndarray:
    """float32 HU (slices, rows, columns): air around a body, an organ in it, smooth noise."""
    rng = np.random.default_rng(list(seed))
    z, y, x = np.indices(shape)
    middle = [(size - 1) / 2 for size in shape]
    inside = np.hypot((y - middle[1]) / shape[1], (x - middle[2]) / shape[2]) < 0.45
    values = np.where(inside, 40.0, -1000.0) + rng.normal(0, 3, shape)
    return np.rint(values + z).astype(np.float32)


def ball(shape: Sequence[int], centre: Sequence[float], radius: float) -> np.ndarray:
    """bool: the voxels within `radius` of a place, in voxels."""
    apart = [(axis - at) ** 2 for axis, at in zip(np.indices(shape), centre, strict=True)]
    return sum(apart) <= radius**2


def write_nifti(path: Path, values: np.ndarray, affine: np.ndarray = IPL) -> None:
    """Writes a volume, its folder too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def volume_sha1(values: np.ndarray, affine: np.ndarray = IPL) -> str:
    """SHA-1 over a line with the size along right, anterior and superior, then the values.

    Values are float32, C order, axes and their directions brought to RAS by nibabel.
    """
    ras = nibabel.as_closest_canonical(nibabel.Nifti1Image(np.asarray(values, "<f4"), affine))
    told = "x".join(map(str, ras.shape)).encode() + b"\n"
    return hashlib.sha1(told + np.asarray(ras.dataobj).astype("<f4").tobytes()).hexdigest()


def damaged_nifti(path: Path, values: np.ndarray) -> dict[str, Any]:
    """Writes a volume whose second half is lost; returns the fault that must be reported."""
    write_nifti(path, values)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return {"kind": "damaged"}
