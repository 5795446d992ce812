"""Masks as run lengths in the manner of COCO: how many pixels of 0, then of 1, and so on.

Runs go down the columns. They come as numbers, or packed into text: each as the difference from the
run two before it, in groups of five bits and from the character `0` on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import CorruptFileError
from climb_hf.io.files import keeps_last, refuse_pointer

if TYPE_CHECKING:
    import numpy as np  # else imported when used, so that sources are listed without it


@keeps_last
def read_runs(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Returns image -> what is drawn -> its runs, of a JSON file; the last one is kept.

    Raises:
        CorruptFileError: if it is no such file.
    """
    refuse_pointer(path)
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path.name} is no whole JSON file: {error}") from error
    if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
        raise CorruptFileError(f"{path.name} does not map images to what is drawn on them.")
    return found


def mask_of(path: Path, image: str, label: str) -> np.ndarray:
    """Returns a mask of such a file as uint8 (height, width), 0 and 255.

    Raises:
        CorruptFileError: if it is not there, or its runs do not fill its size.
    """
    import numpy as np

    stored: Any = read_runs(path).get(image, {}).get(label)
    try:
        height, width = stored["size"]
        runs = runs_of(stored["counts"])
        values = np.arange(len(runs)) % 2 * 255
        pixels = np.repeat(values.astype(np.uint8), runs)
        return pixels.reshape(width, height).T
    except (TypeError, KeyError, ValueError) as error:
        raise CorruptFileError(
            f"{path.name} holds no mask of {label!r} on {image}, or one that does not fit its size."
        ) from error


def is_empty(stored: Mapping[str, Any]) -> bool:
    """Whether a mask has no pixel: it is then one run of 0."""
    return len(runs_of(stored.get("counts", ""))) < 2


def runs_of(counts: str | list[int]) -> list[int]:
    """Returns the lengths of the runs, unpacked where they come as text."""
    if not isinstance(counts, str):
        return [int(one) for one in counts]
    runs: list[int] = []
    value = shift = 0
    for character in counts:
        bits = ord(character) - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:  # more of this number follows
            continue
        if bits & 0x10:  # its sign
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs
