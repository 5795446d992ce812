"""Tables of lines drawn across a chamber of the heart, to outlines of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from climb_hf.errors import CorruptFileError
from climb_hf.io.table import read_csv

Point = tuple[float, float]
Outline = tuple[Point, ...]
_COLUMNS = ("FileName", "X1", "Y1", "X2", "Y2", "Frame")


def outlines(path: Path) -> dict[str, dict[int, Outline]]:
    """Reads lines by video and frame: down one of their ends and up the other is the outline.

    The first line of a frame is the long axis and no part of it.

    Returns:
        Name of the video without ending -> frame -> corners in px.

    Raises:
        CorruptFileError: if the table lacks a column, or holds a word for a number.
    """
    lines: dict[str, dict[int, list[tuple[Point, Point]]]] = {}
    for number, row in enumerate(read_csv(path, _COLUMNS), start=1):
        try:
            ends = (float(row["X1"]), float(row["Y1"])), (float(row["X2"]), float(row["Y2"]))
            frame = int(row["Frame"])
        except (TypeError, ValueError) as error:
            raise CorruptFileError(
                f"{path.name}, row {number}: {error}. Fetch the file again."
            ) from error
        video = row["FileName"].strip().rpartition(".")[0] or row["FileName"].strip()
        lines.setdefault(video, {}).setdefault(frame, []).append(ends)
    return {
        video: {frame: _around(across[1:]) for frame, across in frames.items() if len(across) > 2}
        for video, frames in lines.items()
    }


def _around(across: Sequence[tuple[Point, Point]]) -> Outline:
    return (*(one for one, _ in across), *(other for _, other in reversed(across)))


def area(outline: Outline) -> float:
    """Returns what a polygon encloses in px, by the shoelace formula."""
    around = zip(outline, (*outline[1:], *outline[:1]), strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in around)) / 2
