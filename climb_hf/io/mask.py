"""Masks and boxes, in the pixels of the image that a row holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from climb_hf.errors import CorruptFileError
from climb_hf.io import image as images_io
from climb_hf.io.image import RawImage
from climb_hf.schema import Box, ImageFile, MaskFile


@dataclass(frozen=True)
class RawMask:
    """One mask, as PNG in 8 bits of grey: 0 and 255, or codes where it has no label."""

    data: bytes
    image: int
    label: str | None
    reader: str | None
    flags: tuple[str, ...] = ()

    def as_struct(self) -> dict[str, Any]:
        """Returns the mask as the struct that is stored."""
        where = {"image": self.image, "label": self.label, "reader": self.reader}
        return {**where, "mask": {"bytes": self.data, "path": None}}


def load(file: MaskFile, images: Sequence[RawImage]) -> RawMask:
    """Opens a mask and brings it to the size of its image, by the nearest pixel.

    Args:
        images: of the record.

    Raises:
        CorruptFileError: if it is not there or no image, or its codes do not fit into 8 bits.
    """
    under = images[file.image]
    pixels = _pixels(file) if file.outline is None else _filled(file, under)
    flags: tuple[str, ...] = ()
    if pixels.shape != (under.height, under.width):
        size = (under.width, under.height)
        resized = Image.fromarray(pixels).resize(size, Image.Resampling.NEAREST)
        pixels, flags = np.asarray(resized), ("mask_resized",)
    data = images_io.png_of(Image.fromarray(pixels))
    return RawMask(data, file.image, file.label, file.reader, flags)


def _pixels(file: MaskFile) -> np.ndarray:
    """Codes, or 0 and 255, as uint8 (height, width)."""
    opened = images_io.upright(file, _decodable(file))
    if file.crop:
        opened = opened.crop(file.crop)
    if opened.mode in ("LA", "RGBA"):
        opened = opened.convert("L" if opened.mode == "LA" else "RGB")
    found = np.asarray(opened)
    found = found.max(axis=2) if found.ndim == 3 else found  # a colour stands for "here"
    if file.codes is not None:
        released, stored = list(file.codes), list(file.codes.values())
        found = np.select([found == code for code in released], stored, 0)
    if file.label is not None:
        found = np.where(found > file.above, 255, 0)
    elif found.max(initial=0) > 255:
        name = file.key or file.path.name
        raise CorruptFileError(
            f"{name} holds the code {found.max()}, and masks are kept in 8 bits. "
            "Fetch the file again, or say in its reader which codes are meant."
        )
    return found.astype(np.uint8)


def _filled(file: MaskFile, under: RawImage) -> np.ndarray:
    """0 and 255: what an outline encloses, itself included."""
    drawn = Image.new("L", (under.width, under.height))
    ImageDraw.Draw(drawn).polygon([*(file.outline or ())], fill=255, outline=255)
    return np.asarray(drawn)


def _decodable(file: MaskFile) -> bytes:
    """The bytes of a JPEG or PNG; of a DICOM file or of run lengths a PNG is made."""
    if file.path.suffix == ".json":
        from climb_hf.io import rle

        image, _, label = (file.key or "").partition("/")
        return images_io.png_of(Image.fromarray(rle.mask_of(file.path, image, label)))
    data, name = images_io.bytes_of(file), file.key or file.path.name
    if not images_io.is_dicom(name, data):
        return data
    from climb_hf.io import dicom

    return dicom.load(ImageFile(file.path, key=file.key, form="raw"), data).data


def placed(
    boxes: Iterable[Box], images: Sequence[RawImage]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Returns boxes clipped to their images, as they are stored, and flags.

    A box of which nothing lies in the image is left out, and `box_clipped` says so too.
    """
    kept, flags = [], []
    for box in boxes:
        under = images[box.image]
        x1, y1, x2, y2 = box.xyxy
        inside = (max(x1, 0.0), max(y1, 0.0), min(x2, under.width), min(y2, under.height))
        if inside != box.xyxy:
            flags.append("box_clipped")
        if inside[0] < inside[2] and inside[1] < inside[3]:
            where = {"image": box.image, "label": box.label, "reader": box.reader}
            kept.append({**where, "xyxy": [float(edge) for edge in inside]})
    return kept, tuple(dict.fromkeys(flags))
