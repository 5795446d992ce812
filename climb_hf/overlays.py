"""An image as a picture for people, with the boxes and the outlines of masks that lie over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from climb_hf.images import opened, to_rgb
from climb_hf.render import shortened

TEXT_PX = 14
_INK = (16, 16, 32)
_COLOURS = (
    *((230, 25, 75), (60, 180, 75), (255, 225, 25), (0, 130, 200)),
    *((245, 130, 48), (70, 240, 240), (240, 50, 230), (210, 245, 60)),
)


@dataclass(frozen=True)
class _Region:
    """A mask, or one code of it, in px of the picture: bool, shape (rows, columns)."""

    name: str
    where: np.ndarray


def image_picture(
    value: Any,
    *,
    width_px: int,
    title: str,
    boxes: Sequence[Mapping[str, Any]] = (),
    masks: Sequence[Mapping[str, Any]] = (),
) -> Image.Image:
    """Draws an image, boxes as rectangles and masks as outlines, a colour for each label.

    A mask without a label holds codes, and each code is outlined. Who drew a box stands beside it.

    Args:
        value: decoded or as stored, of any mode.
        width_px: of the picture; the height follows.
        title: a line above.
        boxes, masks: entries of a row's columns that belong to this image.
    """
    image = to_rgb(value)
    scale = width_px / image.width
    height_px = max(round(image.height * scale), 1)
    picture = image.resize((width_px, height_px), Image.Resampling.BICUBIC)
    regions = [region for one in masks for region in _regions(one, picture.size)]
    named = dict.fromkeys([*(one.name for one in regions), *(_name(one) for one in boxes)])
    colours = {name: _COLOURS[at % len(_COLOURS)] for at, name in enumerate(sorted(named))}
    line_px = max(width_px // 350, 1)
    for region in regions:
        picture.paste(colours[region.name], mask=_outline(region.where, line_px))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(TEXT_PX)
    for box in boxes:
        x1, y1, x2, y2 = (edge * scale for edge in box["xyxy"])
        colour = colours[_name(box)]
        draw.rectangle([x1, y1, max(x2 - 1, x1), max(y2 - 1, y1)], outline=colour, width=line_px)
        if box.get("reader"):
            draw.text((x1 + line_px + 2, y1 + line_px), str(box["reader"]), colour, font)
    return _under_its_names(picture, title, colours)


def _name(entry: Mapping[str, Any]) -> str:
    return str(entry.get("label") or "box")


def _regions(entry: Mapping[str, Any], size: tuple[int, int]) -> Iterator[_Region]:
    pixels = np.asarray(opened(entry["mask"]).resize(size, Image.Resampling.NEAREST))
    if entry.get("label"):
        yield _Region(entry["label"], pixels > 0)
        return
    for code in np.unique(pixels[pixels > 0]).tolist():
        yield _Region(f"code {code}", pixels == code)


def _outline(where: np.ndarray, line_px: int) -> Image.Image:
    """The pixels of a region that lie at its rim, as a mask of Pillow's."""
    around = Image.fromarray(np.pad(where, line_px).astype(np.uint8) * 255)
    inner = np.asarray(around.filter(ImageFilter.MinFilter(2 * line_px + 1)))
    rim = where & (inner[line_px:-line_px, line_px:-line_px] == 0)
    return Image.fromarray(rim.astype(np.uint8) * 255)


def _under_its_names(
    picture: Image.Image, title: str, colours: Mapping[str, tuple[int, int, int]]
) -> Image.Image:
    """The picture below its title and what the colours mean, on white."""
    font, line = ImageFont.load_default(TEXT_PX), TEXT_PX + 6
    top = line * (2 if colours else 1)
    whole = Image.new("RGB", (picture.width, picture.height + top), "white")
    draw = ImageDraw.Draw(whole)
    draw.text((4, 2), shortened(title, font, picture.width - 8), _INK, font)
    x = 4.0
    for name, colour in colours.items():
        draw.rectangle(
            [x, line + 3, x + TEXT_PX - 4, line + TEXT_PX - 1], fill=colour, outline=_INK
        )
        draw.text((x + TEXT_PX, line), name, _INK, font)
        x += TEXT_PX + font.getlength(name) + 14
    whole.paste(picture, (0, top))
    return whole
