"""Small images as Pillow writes them, for makers of image sources, and what they tell of them."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def picture(seed: Sequence[int], width: int = 48, height: int = 36, mode: str = "RGB") -> Any:
    """A Pillow image: a dark spot on skin, with noise that its seed decides."""
    rng = np.random.default_rng(list(seed))
    y, x = np.mgrid[:height, :width]
    spot = np.hypot(x - width * rng.uniform(0.3, 0.7), y - height * rng.uniform(0.3, 0.7))
    shade = np.where(spot < height * rng.uniform(0.2, 0.4), 90, 200)[..., None]
    pixels = shade + rng.normal(0, 6, (height, width, 3)) + [20, 0, -10]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGB").convert(mode)


def encoded(image: Any, kind: str, **how: Any) -> bytes:
    """The bytes of a JPEG or PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **how)
    return buffer.getvalue()


def write(path: Path, data: bytes) -> str:
    """Writes a file, its folder too; returns the SHA-1 of the bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return hashlib.sha1(data).hexdigest()


def write_table(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]], **how: Any
) -> None:
    """Writes a CSV file; None becomes a blank."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, **how)
        writer.writerow(columns)
        writer.writerows(rows)


def write_faults(folder: Path, names: Sequence[str], good: bytes, kind: str) -> dict[str, Any]:
    """Writes the broken images of `names`, as many as there are: cut short, empty, another kind.

    Returns:
        Name -> the fault that a reader must report.
    """
    other = "PNG" if kind == "JPEG" else "JPEG"
    cut = good[: len(good) * 3 // 4]
    broken = (cut, b"", encoded(picture([9]), other), b"<html>404</html>")
    for name, data in zip(names, broken, strict=True):
        write(folder / name, data)
    return {Path(name).stem: {"kind": "damaged"} for name in names}
