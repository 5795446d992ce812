"""Images for models: any mode in RGB, and one size for image, masks and boxes together."""

from __future__ import annotations

import io

import numpy as np
import pytest
from datasets import Dataset, Features, Image, List
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

import climb_hf
from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.images import RgbImages

SIDE = st.integers(8, 90)


def stored(image, kind="PNG", **how):
    buffer = io.BytesIO()
    image.save(buffer, kind, **how)
    return {"bytes": buffer.getvalue(), "path": None}


def row_of(width, height, box, mask_scale=1):
    """A row with one white rectangle on black, as image, mask and box."""
    x1, y1, x2, y2 = box
    pixels = np.zeros((height, width), np.uint8)
    pixels[y1:y2, x1:x2] = 255
    mask = np.kron(pixels, np.ones((mask_scale, mask_scale), np.uint8))
    image = Pillow.fromarray(pixels)
    where = {"image": 0, "label": "lesion", "reader": None}
    return {
        "id": "a/1",
        "images": [image],
        "image_info": [{"height": height, "width": width, "mode": "L", "view": "PA"}],
        "boxes": [{**where, "xyxy": [float(edge) for edge in box]}],
        "masks": [{**where, "mask": Pillow.fromarray(mask)}],
    }


@st.composite
def rows(draw):
    width, height = draw(SIDE), draw(SIDE)
    x1, y1 = draw(st.integers(0, width - 4)), draw(st.integers(0, height - 4))
    x2, y2 = draw(st.integers(x1 + 4, width)), draw(st.integers(y1 + 4, height))
    return row_of(width, height, (x1, y1, x2, y2))


@settings(max_examples=80, deadline=None)
@given(rows(), st.integers(40, 120), st.integers(40, 120), st.booleans())
def test_box_and_mask_stay_together(row, height, width, letterbox):
    made = climb_hf.resize(row, height=height, width=width, letterbox=letterbox)
    (image,), (box,), (mask,) = made["images"], made["boxes"], made["masks"]
    assert image.size == mask["mask"].size == (width, height)
    told = made["image_info"][0]
    assert (told["height"], told["width"], told["view"]) == (height, width, "PA")
    around = np.array(mask["mask"].getbbox(), float)
    assert np.abs(around - box["xyxy"]).max() <= 0.5  # a pixel is taken by its centre
    shown = (np.asarray(image) > 127).nonzero()
    seen = np.array([shown[1].min(), shown[0].min(), shown[1].max() + 1, shown[0].max() + 1])
    assert np.abs(seen - box["xyxy"]).max() <= 1.5


@settings(max_examples=50, deadline=None)
@given(rows(), st.integers(16, 120))
def test_the_side_that_is_not_given_follows_from_the_shape(row, side):
    width, height = row["images"][0].size
    by_height = climb_hf.resize(row, height=side)["images"][0]
    by_width = climb_hf.resize(row, width=side)["images"][0]
    assert (by_height.height, by_width.width) == (side, side)
    assert by_height.width == max(1, round(width * side / height))
    assert by_width.height == max(1, round(height * side / width))


@settings(max_examples=50, deadline=None)
@given(rows(), st.integers(20, 120), st.integers(20, 120))
def test_a_letterbox_keeps_the_shape_and_is_centred(row, height, width):
    white = {**row, "images": [Pillow.new("L", row["images"][0].size, 255)]}
    found = np.asarray(
        climb_hf.resize(white, height=height, width=width, letterbox=True)["images"][0]
    )
    lines, columns = (found > 0).any(axis=1).nonzero()[0], (found > 0).any(axis=0).nonzero()[0]
    wide, high = len(columns), len(lines)
    assert (wide, high) == (width, high) or (wide, high) == (wide, height)
    scale = min(width / white["images"][0].width, height / white["images"][0].height)
    assert abs(wide - white["images"][0].width * scale) <= 1
    assert abs(high - white["images"][0].height * scale) <= 1
    assert abs(columns[0] - (width - 1 - columns[-1])) <= 1
    assert abs(lines[0] - (height - 1 - lines[-1])) <= 1


def test_what_is_stored_is_resized_as_what_is_decoded():
    row = row_of(40, 20, (10, 5, 30, 15))
    packed = {
        **row,
        "images": [stored(one) for one in row["images"]],
        "masks": [{**one, "mask": stored(one["mask"])} for one in row["masks"]],
    }
    plain, made = (climb_hf.resize(one, height=33, width=77) for one in (row, packed))
    assert made["boxes"] == plain["boxes"]
    pairs = [(made["images"][0], plain["images"][0])]
    pairs.append((made["masks"][0]["mask"], plain["masks"][0]["mask"]))
    for one, other in pairs:
        assert np.array_equal(Pillow.open(io.BytesIO(one["bytes"])), np.asarray(other))


def test_the_row_that_was_given_stays_as_it_is():
    row = row_of(40, 20, (10, 5, 30, 15))
    climb_hf.resize(row, height=10, width=10)
    assert row["images"][0].size == (40, 20)
    assert row["boxes"][0]["xyxy"] == [10, 5, 30, 15]


def test_each_mask_and_box_follows_its_own_image():
    first, second = row_of(40, 20, (10, 5, 30, 15)), row_of(100, 50, (50, 10, 60, 30))
    both = {
        "images": [*first["images"], *second["images"]],
        "boxes": [{**second["boxes"][0], "image": 1}, *first["boxes"]],
        "masks": [{**second["masks"][0], "image": 1}],
    }
    made = climb_hf.resize(both, height=20, width=40)
    assert [one["xyxy"] for one in made["boxes"]] == [[20, 4, 24, 12], [10, 5, 30, 15]]
    assert made["masks"][0]["mask"].getbbox() == (20, 4, 24, 12)


def test_a_mask_of_another_size_than_its_image_lands_on_it():
    made = climb_hf.resize(row_of(40, 20, (10, 5, 30, 15), mask_scale=3), height=40, width=80)
    assert made["masks"][0]["mask"].getbbox() == (20, 10, 60, 30)


def test_codes_stay_codes():
    row = row_of(40, 20, (10, 5, 30, 15))
    codes = Pillow.fromarray(np.arange(800, dtype=np.uint8).reshape(20, 40) % 7)
    made = climb_hf.resize({**row, "masks": [{**row["masks"][0], "mask": codes}]}, height=31)
    assert set(np.unique(made["masks"][0]["mask"])) <= set(range(7))


def test_a_turned_image_is_resized_upright():
    exif = Pillow.Exif()
    exif[0x0112] = 6
    row = {"images": [stored(Pillow.new("RGB", (40, 20)), "JPEG", exif=exif)]}
    made = climb_hf.resize(row, width=30)
    assert Pillow.open(io.BytesIO(made["images"][0]["bytes"])).size == (30, 60)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_every_mode_can_be_resized(mode):
    values = np.full((20, 40), 40_000 if mode == "I;16" else 200, "<u2" if mode == "I;16" else "u1")
    image = Pillow.fromarray(values)
    image = image if mode == "I;16" else image.convert(mode)
    (made,) = climb_hf.resize({"images": [image]}, height=10, width=40, letterbox=True)["images"]
    shades = np.asarray(made if mode == "I;16" else made.convert("L"), float)
    assert (made.size, shades[5, 20] > 150, shades[5, 1]) == ((40, 10), True, 0)


WRONG = {
    "neither": ({}, "height=, width= or both"),
    "zero": ({"height": 0}, "height=0 should be a positive"),
    "real": ({"width": 12.5}, "width=12.5 is float"),
}


@pytest.mark.parametrize(("how", "words"), WRONG.values(), ids=WRONG)
def test_a_size_that_is_none_is_refused(how, words):
    with pytest.raises(OptionError, match=words):
        climb_hf.resize(row_of(10, 10, (1, 1, 5, 5)), **how)


def test_an_image_that_does_not_decode_is_named():
    with pytest.raises(CorruptFileError, match="does not decode"):
        climb_hf.resize({"images": [{"bytes": b"no image", "path": None}]}, height=10)


# --- RGB -------------------------------------------------------------------------------------


def test_deep_grey_is_scaled_not_cut():
    values = np.arange(1000, 3000, dtype=np.uint16).reshape(40, 50)
    found = np.asarray(climb_hf.to_rgb(Pillow.fromarray(values)))
    wanted = np.rint((values - 1000.0) / 1999 * 255)
    assert np.array_equal(found, np.repeat(wanted[..., None], 3, axis=2))
    assert np.asarray(Pillow.fromarray(values).convert("RGB")).min() == 255  # as Pillow has it


def test_a_window_decides_what_is_black_and_white():
    values = np.array([[0, 100, 150, 200, 60_000]], np.uint16)
    found = climb_hf.to_rgb(Pillow.fromarray(values), window=(100, 200))
    assert np.asarray(found)[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    with pytest.raises(OptionError, match="low < high"):
        climb_hf.to_rgb(Pillow.fromarray(values), window=(200, 100))


def test_a_constant_deep_image_is_black():
    assert climb_hf.to_rgb(Pillow.fromarray(np.full((3, 3), 999, np.uint16))).getextrema() == (
        ((0, 0),) * 3
    )


def test_other_modes_show_the_colour_that_they_hold():
    colour = (200, 30, 90)
    plain = Pillow.new("RGB", (8, 8), colour)
    cases = {
        "P": plain.convert("P", palette=Pillow.Palette.ADAPTIVE),
        "RGBA": Pillow.new("RGBA", (8, 8), (*colour, 10)),
        "CMYK": plain.convert("CMYK"),
    }
    for mode, image in cases.items():
        assert image.mode == mode
        assert climb_hf.to_rgb(image).getpixel((3, 3)) == colour
    assert climb_hf.to_rgb(Pillow.new("1", (8, 8), 1)).getpixel((3, 3)) == (255, 255, 255)


def test_a_cmyk_jpeg_of_photoshop_is_not_inverted():
    """Adobe's JPEGs store ink inverted; Pillow reads the marker, and so do we through it."""
    colour = Pillow.new("RGB", (16, 16), (220, 40, 40)).convert("CMYK")
    red, green, blue = climb_hf.to_rgb(stored(colour, "JPEG", quality=95)).getpixel((8, 8))
    assert red > 200
    assert max(green, blue) < 60


def test_a_column_can_be_shown_in_rgb_without_changing_what_is_stored():
    deep = Pillow.fromarray(np.arange(0, 2000, dtype=np.uint16).reshape(40, 50))
    packed = [[stored(deep), stored(Pillow.new("P", (8, 4)))], []]
    table = Dataset.from_dict({"images": packed}, features=Features({"images": List(Image())}))
    shown = table.cast_column("images", RgbImages())
    assert [image.mode for image in shown[0]["images"]] == ["RGB", "RGB"]
    assert shown[1]["images"] == []
    assert np.asarray(shown[0]["images"][0]).max() == 255
    assert np.asarray(shown[0]["images"][0]).mean() == pytest.approx(127.5, abs=1)
    assert shown.data.column("images").to_pylist() == table.data.column("images").to_pylist()
    written = shown.map(lambda row: {"images": row["images"]})
    assert np.array_equal(written[0]["images"][0], np.asarray(shown[0]["images"][0]))
