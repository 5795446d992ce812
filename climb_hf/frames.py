"""From a volume or a video to what a model sees: a few frames as images, with masks and boxes.

Nothing of this is stored; a row keeps its whole volume or clip, and frames are taken when they are
wanted. Axial slices are shown as radiologists look at them: the patient's right on the left, the
front at the top, from the feet to the head.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from climb_hf.card import SourceCard
from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.io import video
from climb_hf.optional import need

N_FRAMES = 4
PERCENTILES = (0.5, 99.5)  # of the values shown where no window is given
_LENGTHS = ("images", "image_info", "masks", "boxes")


def as_images(
    row: Mapping[str, Any],
    n_frames: int = N_FRAMES,
    *,
    card: SourceCard | None = None,
    window: tuple[float, float] | None = None,
) -> dict[str, Any]:
    """Returns a row with frames of its volumes and videos added to its images.

    Frames are spread evenly: each is the middle one of as many equal parts. Where a volume has
    masks, the slice with the largest lesion takes the place of the frame next to it and comes
    first. Masks are those of the slices shown, and each piece of them gets a box.

    Args:
        row: of the columns `volumes`, `volume_masks`, `videos`, `images`, `image_info`, `masks`
            and `boxes` those that it has; decoded or as stored.
        n_frames: of each volume and each video.
        card: of its source, which knows the window and the codes of lesions.
        window: centre and width in the volume's units (HU); None takes the card's, and without
            one the range between two percentiles of each slice is shown.

    Raises:
        OptionError: if `n_frames` is not at least 1 or a window has no width.
        CorruptFileError: if a volume or video cannot be decoded.
        DependencyError: if what decodes it is not installed.
    """
    if n_frames < 1:
        raise OptionError(f"n_frames={n_frames!r} must be at least 1.")
    shown = window or (card.window_hu if card else None)
    if shown is not None and shown[1] <= 0:
        raise OptionError(f"window={shown!r}: centre and width, and a width is above 0.")
    made: dict[str, Any] = {**row, **{name: [*(row.get(name) or ())] for name in _LENGTHS}}
    for at, stored in enumerate(row.get("volumes") or ()):
        drawn = [one for one in row.get("volume_masks") or () if one["volume"] == at]
        _add_volume(made, stored, drawn, n_frames, card, shown)
    for stored in row.get("videos") or ():
        _add_video(made, stored, n_frames)
    return made


def spread(n: int, n_frames: int) -> list[int]:
    """Returns the middles of `n_frames` equal parts of 0 to n - 1; each once where n is smaller."""
    return sorted({min(n - 1, (2 * part + 1) * n // (2 * n_frames)) for part in range(n_frames)})


def montage(images: Sequence[Image.Image], columns: int = 2) -> Image.Image:
    """Returns images beside and below each other, each of the size of the first.

    Raises:
        OptionError: if there is none.
    """
    if not images:
        raise OptionError("a montage needs at least one image.")
    width, height = images[0].size
    rows = -(-len(images) // columns)
    sheet = Image.new("RGB", (width * min(columns, len(images)), height * rows))
    for at, image in enumerate(images):
        shown = image.convert("RGB").resize((width, height))
        sheet.paste(shown, (at % columns * width, at // columns * height))
    return sheet


def _add_volume(
    row: dict[str, Any],
    stored: Any,
    drawn: Iterable[Mapping[str, Any]],
    n_frames: int,
    card: SourceCard | None,
    window: tuple[float, float] | None,
) -> None:
    volume = _Slices(opened(stored))
    codes = card.lesion_codes if card else ()
    named = ", ".join(card.mask_legend.get(code, f"code {code}") for code in codes) if card else ""
    masks = [(one, _Slices(opened(one["mask"]))) for one in drawn]
    chosen = spread(len(volume), n_frames)
    if masks and (key := _key_slice([slices for _, slices in masks], codes)) is not None:
        nearest = min(chosen, key=lambda at: abs(at - key))
        chosen = [key, *(at for at in chosen if at != nearest)]
    for at in chosen:
        _add(row, windowed(volume[at], window), frame=at)
        image = len(row["images"]) - 1
        for one, slices in masks:
            where = _lesion(slices[at], one["label"], codes)
            if where.any():
                label = one["label"] or named or None
                entry = {"image": image, "label": label, "reader": one["reader"]}
                mask = Image.fromarray(np.where(where, 255, 0).astype(np.uint8))
                row["masks"].append({**entry, "mask": mask})
                row["boxes"] += [{**entry, "xyxy": box} for box in boxes_of(where)]


def _add_video(row: dict[str, Any], stored: Any, n_frames: int) -> None:
    data = stored["bytes"] if isinstance(stored, Mapping) else stored
    at = video.times(data)
    if not at:
        raise CorruptFileError("a stored video holds no frame. Build the data set again.")
    chosen = spread(len(at), n_frames)
    seconds = [at[index] - at[0] for index in chosen]
    for index, second, picture in zip(chosen, seconds, video.frames(data, seconds), strict=True):
        _add(row, picture, frame=index, time_s=second)


def _add(
    row: dict[str, Any], picture: Image.Image, *, frame: int, time_s: float | None = None
) -> None:
    size = {"height": picture.height, "width": picture.width, "mode": picture.mode}
    row["images"].append(picture)
    row["image_info"].append({**size, "view": None, "frame": frame, "time_s": time_s})


def opened(stored: Any) -> Any:
    """Returns a stored or decoded volume as nibabel's image, its voxels not yet read."""
    if not isinstance(stored, Mapping):
        return stored
    data = stored["bytes"]
    data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
    return need("nibabel", extra="volume").Nifti1Image.from_bytes(data)


@dataclass(frozen=True)
class _Slices:
    """The axial slices of a volume, from the feet to the head, as they are looked at."""

    image: Any

    @cached_property
    def _axes(self) -> list[tuple[int, int]]:
        """For right, anterior and superior: which axis of the array, and its direction."""
        turned = need("nibabel", extra="volume").io_orientation(self.image.affine)
        return [
            next((at, int(way)) for at, (out, way) in enumerate(turned) if out == wanted)
            for wanted in range(3)
        ]

    def __len__(self) -> int:
        return int(self.image.shape[self._axes[2][0]])

    def __getitem__(self, at: int) -> np.ndarray:
        """Rows from front to back, columns from the patient's right to the left."""
        (x, to_right), (y, to_front), (z, to_head) = self._axes
        place = at if to_head > 0 else len(self) - 1 - at
        where = tuple(place if axis == z else slice(None) for axis in range(3))
        moment = (0,) * (len(self.image.shape) - 3)  # of a volume over time, the first
        plane = np.asarray(self.image.dataobj[(*where, *moment)])
        plane = plane if y < x else plane.T
        return plane[:: -1 if to_front > 0 else 1, :: -1 if to_right > 0 else 1]


def _key_slice(masks: Iterable[_Slices], codes: Sequence[int]) -> int | None:
    """The slice with the largest lesion, or None where nothing is drawn."""
    total: np.ndarray | None = None
    for slices in masks:
        areas = np.array([_lesion(slices[at], None, codes).sum() for at in range(len(slices))])
        total = areas if total is None else np.maximum(total, areas)
    return int(total.argmax()) if total is not None and total.any() else None


def _lesion(plane: np.ndarray, label: str | None, codes: Sequence[int]) -> np.ndarray:
    return plane > 0 if label is not None or not codes else np.isin(plane, codes)


def windowed(plane: np.ndarray, window: tuple[float, float] | None) -> Image.Image:
    """Returns a slice in 8 bits of grey.

    Args:
        plane: values, shape (rows, columns).
        window: centre and width; None shows the range between two percentiles.
    """
    if window is None:
        low, high = np.percentile(plane, PERCENTILES)
    else:
        low, high = window[0] - window[1] / 2, window[0] + window[1] / 2
    scaled = (plane.astype(np.float32) - low) / max(float(high - low), 1e-6)
    return Image.fromarray((scaled.clip(0, 1) * 255 + 0.5).astype(np.uint8))


def boxes_of(where: np.ndarray) -> list[list[float]]:
    """Returns the tight box of each piece of a mask: x1, y1, x2, y2 in px, pieces by 8 neighbours.

    Args:
        where: bool, shape (rows, columns).
    """
    measure = need("scipy.ndimage", extra="volume")
    pieces, _ = measure.label(where, structure=np.ones((3, 3)))
    found = measure.find_objects(pieces)
    return [[float(x.start), float(y.start), float(x.stop), float(y.stop)] for y, x in found]
