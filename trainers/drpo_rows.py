"""Batches in which some rows have images and others have none.

TRL 1.16 with transformers 5.23 fails on them in four places; each has its repair here:

1. rows whose `image` is absent while others have one, or all absent: `repair_rows`;
2. rows without an image reach the processor as None: `images_may_be_absent`;
3. a micro-batch without any image in a batch that has some: `WithoutEmptyImages`;
4. images are gathered for the log by those processes only that have some, and the others go on
   without them, so that all wait for ever: `images_may_be_absent` leaves them out of TRL's log, and
   the trainer puts them in.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from PIL import Image

from climb_hf.images import to_rgb

IMAGE_INPUTS = (
    "pixel_values",
    "image_grid_thw",
    "image_position_ids",
    "image_sizes",
    "pixel_attention_mask",
    "spatial_shapes",
)


def images_of(row: Mapping[str, Any]) -> list[Any]:
    """Returns the images of a row: those of `images`, else that of `image`, else none.

    Decoded ones are in RGB: processors turn 16-bit grey into white, as Pillow does.
    """
    several = row.get("images")
    found = [row.get("image")] if several is None else several
    return [
        to_rgb(image) if isinstance(image, Image.Image) else image
        for image in found
        if image is not None
    ]


def repair_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns copies of the rows in which `images` is always a list, empty where there is none.

    TRL looks at the first row's columns only, and knows "no images" as an empty list only. Batches
    without an image column stay as they are.
    """
    if not any("images" in row or "image" in row for row in rows):
        return [dict(row) for row in rows]
    return [{**row, "images": images_of(row)} for row in rows]


@contextmanager
def images_may_be_absent(owner: Any) -> Iterator[None]:
    """Lets rows, and whole processes, be without images while this is open.

    A shallow copy stands in for the processor, so that what is saved stays the user's own class.

    Args:
        owner: a trainer. Its `processing_class` takes None among the images of a batch, and it
            gathers no images.
    """
    processor, logs_images = owner.processing_class, owner.log_multimodal
    if hasattr(processor, "image_processor"):
        owner.processing_class = _tolerant_copy(processor)
    owner.log_multimodal = False
    try:
        yield
    finally:
        owner.processing_class, owner.log_multimodal = processor, logs_images


def _tolerant_copy(processor: Any) -> Any:
    kind = type(processor)

    def call(self: Any, images: Any = None, *args: Any, **kwargs: Any) -> Any:
        if isinstance(images, (list, tuple)):
            images = [[] if one is None else one for one in images]
        return kind.__call__(self, images, *args, **kwargs)

    tolerant = copy.copy(processor)
    tolerant.__class__ = type(kind.__name__, (kind,), {"__call__": call})
    return tolerant


class WithoutEmptyImages:
    """A model that is called without image inputs where a slice of the batch holds no image.

    Args:
        model: any callable model; all its attributes stay reachable.
    """

    def __init__(self, model: Any) -> None:
        self._model = model

    def __call__(self, **inputs: Any) -> Any:
        pixels = inputs.get("pixel_values")
        if pixels is not None and len(pixels) == 0:
            inputs = {name: value for name, value in inputs.items() if name not in IMAGE_INPUTS}
        return self._model(**inputs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)
