"""Short videos as PyAV writes them, for makers of video sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np

PIXELS = {"mjpeg": "yuvj420p", "gif": "rgb8"}


def frame(seed: Sequence[int], at: int, size: tuple[int, int]) -> np.ndarray:
    """uint8 (rows, columns, 3): a bright spot that moves with `at` over what a seed decides."""
    width, height = size
    rng = np.random.default_rng(list(seed))
    y, x = np.mgrid[:height, :width]
    place = width * (0.2 + 0.6 * ((at / 25 + rng.uniform()) % 1))
    spot = np.hypot(x - place, y - height * rng.uniform(0.3, 0.7)) < height / 6
    grey = np.where(spot, 220, 40 + 10 * rng.integers(8))
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def write_video(
    path: Path,
    seed: Sequence[int],
    n_frames: int = 8,
    *,
    size: tuple[int, int] = (64, 64),
    fps: int = 25,
    codec: str = "libx264",
    group: int = 12,
    frames: Sequence[np.ndarray] | None = None,
) -> None:
    """Writes a video, its folder too.

    Args:
        size: width and height in px.
        group: frames from one key frame to the next.
        frames: what to show in place of the moving spot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    shown: Sequence[Any] = frames or [frame(seed, at, size) for at in range(n_frames)]
    with av.open(str(path), "w") as made:
        stream = made.add_stream(codec, rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = PIXELS.get(codec, "yuv420p")
        stream.codec_context.gop_size = group
        if codec == "libx264":
            stream.options = {"sc_threshold": "0"}
        for one in shown:
            made.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="rgb24")))
        made.mux(stream.encode())
