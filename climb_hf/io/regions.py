"""Regions of a mask of codes, and the windows that they are cut into."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from climb_hf.errors import CorruptFileError
from climb_hf.io.memory import remember
from climb_hf.optional import need
from climb_hf.schema import MaskFile

if TYPE_CHECKING:
    import numpy as np

Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class Window:
    """A rectangle of a region.

    Attributes:
        kind: which of the groups of codes the region is of.
        xyxy: x1, y1, x2, y2 in px of the image.
        share: of its pixels that have one of the codes, in [0, 1].
    """

    kind: int
    xyxy: Box
    share: float


@dataclass(frozen=True)
class Cut:
    """How regions are cut: sides in px.

    Attributes:
        least: a region with a side under this is left out.
        most: a region with a side above this is parted into windows of this side.
        overlap: of such windows, at least.
    """

    least: int
    most: int
    overlap: int

    def along(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Returns the windows along one axis, evenly spaced, the first and last at its ends."""
        side = stop - start
        if side <= self.most:
            return [(start, stop)]
        n = math.ceil((side - self.overlap) / (self.most - self.overlap))
        first = [start + round(place * (side - self.most) / (n - 1)) for place in range(n)]
        return [(one, one + self.most) for one in first]


def scaled(box: Box, size: tuple[int, int], to: tuple[int, int]) -> Box:
    """Returns the smallest box of whole px that covers `box` in an image of another size."""
    (x1, y1, x2, y2), (wide, high) = box, (to[0] / size[0], to[1] / size[1])
    last = min(math.ceil(x2 * wide), to[0]), min(math.ceil(y2 * high), to[1])
    return math.floor(x1 * wide), math.floor(y1 * high), *last


def size_of(path: Path) -> tuple[int, int]:
    """Returns width and height of an image as it lies in its file, by its header.

    Raises:
        CorruptFileError: if it is no image.
    """
    from PIL import Image  # not above, so that sources are listed without it

    try:
        with Image.open(path) as header:
            return header.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise CorruptFileError(f"{path.name} cannot be opened as an image: {error}.") from error


@remember(files=512)
def windows_of(
    path: Path, size: tuple[int, int], groups: tuple[tuple[int, ...], ...], cut: Cut
) -> tuple[Window, ...]:
    """Returns the windows of a mask's regions, by group, then from the top.

    A region is what hangs together, corners included, with the holes in it; what lies within a
    hole of another region of its group is no region of its own.

    Args:
        size: width and height of its image in px; a mask of another size is brought to it.
        groups: codes that are one kind of region.

    Raises:
        CorruptFileError: if the mask cannot be read.
    """
    import numpy as np
    from PIL import Image

    from climb_hf.io import image

    file = MaskFile(path)
    drawn = image.upright(file, image.bytes_of(file))
    if drawn.size != size:
        drawn = drawn.resize(size, Image.Resampling.NEAREST)
    codes = np.asarray(drawn)
    if codes.ndim != 2:
        raise CorruptFileError(f"{path.name} is in colour, where a mask holds a code a pixel.")
    return tuple(
        window for kind, group in enumerate(groups) for window in _of_kind(codes, kind, group, cut)
    )


def _of_kind(codes: np.ndarray, kind: int, group: tuple[int, ...], cut: Cut) -> Iterator[Window]:
    import numpy as np

    where = np.isin(codes, group)
    for x1, y1, x2, y2 in _large(where, cut.least):
        rows, columns = cut.along(y1, y2), cut.along(x1, x2)
        for (top, bottom), (left, right) in itertools.product(rows, columns):
            share = float(where[top:bottom, left:right].mean())
            yield Window(kind, (left, top, right, bottom), share)


def _large(where: np.ndarray, least: int) -> list[Box]:
    """Boxes of the regions whose sides are at least so many px."""
    import numpy as np

    measure = need("scipy.ndimage", extra="volume")
    pieces, _ = measure.label(where, structure=np.ones((3, 3)))
    found = [(number, *place) for number, place in enumerate(measure.find_objects(pieces), 1)]
    large = [
        (number, rows, columns)
        for number, rows, columns in found
        if rows.stop - rows.start >= least and columns.stop - columns.start >= least
    ]
    return [
        (columns.start, rows.start, columns.stop, rows.stop)
        for number, rows, columns in large
        if not any(_within(pieces, number, (rows, columns), outer) for outer in large)
    ]


def _within(
    pieces: np.ndarray, number: int, place: tuple[slice, slice], outer: tuple[int, slice, slice]
) -> bool:
    """Whether a piece lies in a hole of another."""
    around = outer[1:]
    if not all(o.start < p.start and p.stop < o.stop for o, p in zip(around, place, strict=True)):
        return False
    filled = need("scipy.ndimage", extra="volume").binary_fill_holes(pieces[around] == outer[0])
    return bool(filled[pieces[around] == number].any())
