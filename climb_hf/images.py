"""Images as models and people see them: upright, in 8 bits of colour, in any size."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, ClassVar

import numpy as np
from PIL import ExifTags, Image, ImageOps

from climb_hf.check import check_type
from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.io.image import png_of

_TURNED = ExifTags.Base.Orientation
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N", "I", "F")  # grey of more than 8 bits


def opened(value: Any) -> Image.Image:
    """Returns an image of a row, decoded or as it is stored, upright.

    Raises:
        CorruptFileError: if what is stored does not decode.
    """
    if isinstance(value, Mapping):
        try:
            value = Image.open(io.BytesIO(value["bytes"]) if value["bytes"] else value["path"])
            value.load()
        except (OSError, SyntaxError, ValueError) as error:
            raise CorruptFileError(
                f"a stored image does not decode: {error}. Build the data set again."
            ) from error
    return ImageOps.exif_transpose(value) if value.getexif().get(_TURNED, 1) != 1 else value


def to_rgb(value: Any, window: tuple[float, float] | None = None) -> Image.Image:
    """Returns an image in RGB of 8 bits, upright, whatever its mode.

    Grey of more than 8 bits is scaled, where Pillow's own conversion cuts at 255; a constant image
    becomes black. Palettes and CMYK are converted, transparency is dropped.

    Args:
        value: a PIL image, or the stored struct.
        window: values of deep grey that become black and white; None takes the image's range.

    Raises:
        CorruptFileError: if what is stored does not decode.
        OptionError: if the window is empty.
    """
    image = opened(value)
    if image.mode == "RGB":
        return image
    if image.mode not in _DEEP:
        return image.convert("RGBA").convert("RGB") if image.mode == "P" else image.convert("RGB")
    values = np.asarray(image).astype(np.float64)
    low, high = window or (float(values.min()), float(values.max()))
    if window and not low < high:
        raise OptionError(f"window={window!r} should be (low, high) with low < high.")
    shades = (values - low) / max(high - low, np.finfo(float).tiny) * 255
    return Image.fromarray(np.rint(shades.clip(0, 255)).astype(np.uint8)).convert("RGB")


@dataclass
class RgbImages:
    """Feature of the column `images` that yields them as `to_rgb` does, for models.

    It is laid over the whole column, as `climb_hf.views.Series` is, and changes no data.
    """

    decode: bool = True
    dtype: ClassVar[str] = "list"
    pa_type: ClassVar[Any] = None
    _type: str = field(default="RgbImages", init=False, repr=False)

    def __post_init__(self) -> None:
        _register()

    def __setstate__(self, state: dict[str, Any]) -> None:
        _register()
        self.__dict__.update(state)

    def __call__(self) -> Any:
        from climb_hf.schema import disk_features

        return disk_features().arrow_schema.field("images").type

    def encode_example(self, value: Sequence[Any] | None) -> list[Any]:
        """Takes decoded images as well as stored structs, so that `map` can write a row back."""
        from datasets import Image as Stored

        return [Stored().encode_example(one) for one in value or ()]

    def decode_example(
        self, value: Sequence[Mapping[str, Any]] | None, token_per_repo_id: Any = None
    ) -> list[Image.Image]:
        """Returns the images of a row."""
        return [to_rgb(one) for one in value or ()]


@cache
def _register() -> None:
    """Makes the feature known to `datasets` by its class name, once a process."""
    from datasets.features import features

    with warnings.catch_warnings():  # that the function is experimental; nothing stored needs it
        warnings.simplefilter("ignore")
        features.register_feature(RgbImages, RgbImages.__name__)


@dataclass(frozen=True)
class _Fit:
    """Where an image of one size comes to lie in a canvas of another, in px."""

    canvas: tuple[int, int]  # width, height, as Pillow has them
    size: tuple[int, int]
    left: int
    top: int

    def image(self, value: Image.Image, resample: Image.Resampling) -> Image.Image:
        """Returns an image of any size brought to its place, black around it."""
        made = value.resize(self.size, resample)
        if self.size == self.canvas:
            return made
        whole = Image.new(made.mode, self.canvas)
        whole.paste(made, (self.left, self.top))
        return whole

    def box(self, xyxy: Sequence[float], size: tuple[int, int]) -> list[float]:
        """Returns a box of an image of `size` (width, height) in px of the canvas."""
        wide, high = self.size[0] / size[0], self.size[1] / size[1]
        x1, y1, x2, y2 = xyxy
        return [
            *(x1 * wide + self.left, y1 * high + self.top),
            *(x2 * wide + self.left, y2 * high + self.top),
        ]


def resize(
    row: Mapping[str, Any],
    *,
    height: int | None = None,
    width: int | None = None,
    letterbox: bool = False,
) -> dict[str, Any]:
    """Returns a row with its images, masks and boxes brought to another size, all alike.

    Images are interpolated (bicubic); masks take the nearest pixel, so that codes stay codes; boxes
    are moved as real numbers. What is stored as bytes comes back as PNG, what is decoded as PIL
    images. A palette and CMYK become RGB.

    Args:
        row: of a data set of this package, with `images` and any of `masks`, `boxes` and
            `image_info`, decoded or as stored.
        height, width: in px; where one is None it follows from the image's shape.
        letterbox: whether an image keeps its shape where both are given, centred on black.

    Raises:
        OptionError: if neither is given, or one is no positive number.
        CorruptFileError: if what is stored does not decode.
    """
    if height is None and width is None:
        raise OptionError("resize needs height=, width= or both, in px.")
    for name, value in (("height", height), ("width", width)):
        if value is not None and check_type(name, value, int) < 1:
            raise OptionError(f"{name}={value!r} should be a positive number of px.")
    images = [_plain(opened(one)) for one in row["images"]]
    fits = [_fit(one.size, height, width, letterbox) for one in images]
    shown = [
        fit.image(one, Image.Resampling.BICUBIC) for one, fit in zip(images, fits, strict=True)
    ]
    made = {**row, "images": [*map(_like, row["images"], shown)]}
    if row.get("masks"):
        made["masks"] = [_with_mask(one, fits[one["image"]]) for one in row["masks"]]
    if row.get("boxes"):
        made["boxes"] = [
            {**one, "xyxy": fits[one["image"]].box(one["xyxy"], images[one["image"]].size)}
            for one in row["boxes"]
        ]
    if row.get("image_info"):
        made["image_info"] = [
            {**info, "height": new.height, "width": new.width, "mode": new.mode}
            for info, new in zip(row["image_info"], shown, strict=True)
        ]
    return made


def _fit(size: tuple[int, int], height: int | None, width: int | None, letterbox: bool) -> _Fit:
    """The place of an image of `size` (width, height) in what is asked for."""
    high = height or max(round(size[1] * (width or 0) / size[0]), 1)
    wide = width or max(round(size[0] * high / size[1]), 1)
    if not letterbox:
        return _Fit((wide, high), (wide, high), 0, 0)
    scale = min(wide / size[0], high / size[1])
    inner = max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)
    return _Fit((wide, high), inner, (wide - inner[0]) // 2, (high - inner[1]) // 2)


def _plain(image: Image.Image) -> Image.Image:
    """An image whose values can be interpolated, and whose zero is black."""
    if image.mode in ("L", "LA", "RGB", "RGBA", *_DEEP):
        return image
    return image.convert("L") if image.mode == "1" else to_rgb(image)


def _with_mask(entry: Mapping[str, Any], fit: _Fit) -> dict[str, Any]:
    mask = entry["mask"]
    return {**entry, "mask": _like(mask, fit.image(opened(mask), Image.Resampling.NEAREST))}


def _like(old: Any, image: Image.Image) -> Any:
    """An image in the form of another one: decoded, or as it is stored."""
    return {"bytes": png_of(image), "path": None} if isinstance(old, Mapping) else image
