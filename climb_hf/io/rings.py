"""Which images are one original, turned, mirrored and cropped: by their colours along the radius.

Turning and mirroring about the centre move no colour from one ring around it to another, and the
crop that rids a turned image of its corners only makes rings larger. On a logarithmic radius that
is a shift, so two images are compared at every shift that a crop can make.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from climb_hf.errors import CorruptFileError
from climb_hf.io.memory import remember

if TYPE_CHECKING:
    import numpy as np

SIDE_PX = 128
N_RINGS = 24
LEAST_RADIUS = 0.12  # of half a side; a ring within it has too few pixels
MOST_TURN_DEG = 25.0  # after which a crop keeps 1 / (cos + sin) of a side
MOST_APART = 6.0  # shades, of 255
NEAREST = 6


@remember(files=1 << 15)
def rings_of(path: Path) -> np.ndarray:
    """Returns mean red, green and blue, and the spread of grey, of rings around the centre.

    Returns:
        float32, shape (24, 4), in shades of 255, from the innermost ring on.

    Raises:
        CorruptFileError: if the image cannot be decoded.
    """
    import numpy as np  # not above, so that sources are listed without it
    from PIL import Image

    try:
        with Image.open(path) as opened:
            opened.draft("RGB", (SIDE_PX, SIDE_PX))
            small = opened.convert("RGB").resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)
    except (OSError, ValueError, SyntaxError) as error:
        raise CorruptFileError(f"{path.name} cannot be decoded: {error}.") from error
    pixels = np.asarray(small, np.float64).reshape(-1, 3)
    ring, known = _rings()
    pixels = pixels[known]
    n_pixels = np.bincount(ring, minlength=N_RINGS)
    grey = pixels.mean(axis=1)
    values = [*pixels.T, grey, grey**2]
    red, green, blue, mean, square = (np.bincount(ring, one, N_RINGS) / n_pixels for one in values)
    spread = np.sqrt(np.maximum(square - mean**2, 0.0))
    return np.stack([red, green, blue, spread], axis=1).astype(np.float32)


def _rings() -> tuple[np.ndarray, np.ndarray]:
    """The ring of each pixel that is in one, and which pixels are."""
    import numpy as np

    along = (np.arange(SIDE_PX) - (SIDE_PX - 1) / 2) / (SIDE_PX / 2)
    radius = np.hypot(*np.meshgrid(along, along)).ravel()
    ring = np.digitize(radius, np.geomspace(LEAST_RADIUS, 1.0, N_RINGS + 1)) - 1
    known = (ring >= 0) & (ring < N_RINGS)
    return ring[known], known


def alike(rings: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Returns the pairs of images that seem to be one original.

    Each is paired with the six that are nearest to it, as far as they differ by less than 6 shades
    (root mean square, at the best shift). Pairs overlap: what hangs together by them is a group.

    Args:
        rings: of each image, as `rings_of` gives them.
    """
    import numpy as np

    n_images = len(rings)
    if n_images < 2:
        return []
    apart = _apart(np.stack(rings))
    np.fill_diagonal(apart, np.inf)
    n_nearest = min(NEAREST, n_images - 1)
    nearest = np.argpartition(apart, n_nearest - 1, axis=1)[:, :n_nearest]
    return [
        (one, int(other))
        for one, others in enumerate(nearest)
        for other in others
        if apart[one, other] < MOST_APART
    ]


def _apart(rings: np.ndarray) -> np.ndarray:
    """Root mean square differences at the best shift: float32, shape (images, images)."""
    import numpy as np

    turn = math.radians(MOST_TURN_DEG)
    crop = math.log(math.cos(turn) + math.sin(turn))
    most = math.ceil(crop / (math.log(1 / LEAST_RADIUS) / N_RINGS))
    best = np.full((len(rings), len(rings)), np.inf, np.float32)
    for shift in range(most + 1):
        inner = rings[:, : N_RINGS - shift].reshape(len(rings), -1)
        outer = rings[:, shift:].reshape(len(rings), -1)
        products = 2 * inner @ outer.T
        square = (inner**2).sum(axis=1)[:, None] + (outer**2).sum(axis=1)[None] - products
        found = np.sqrt(np.maximum(square, 0) / inner.shape[1])
        best = np.minimum(best, np.minimum(found, found.T))
    return best
