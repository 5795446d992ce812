"""Parts of images, masks and boxes: pixel by pixel, over the image that a row holds."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from climb_hf.card import Vocabulary
from climb_hf.errors import CorruptFileError
from climb_hf.io import image, mask
from climb_hf.labels import classify
from climb_hf.schema import Box, Example, ImageFile, MaskFile

PIXELS = np.random.default_rng(0).integers(0, 255, (30, 50, 3), dtype=np.uint8)
CODES = np.zeros((30, 50), dtype=np.uint8)
CODES[5:12, 20:40], CODES[20:25, 1:4] = 1, 7


@pytest.fixture
def shown(tmp_path):
    Image.fromarray(PIXELS).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.fixture
def drawn(tmp_path):
    """A function that writes a mask and gives its pixels as a row holds them."""

    def of(values, under, **how):
        Image.fromarray(values).save(tmp_path / "mask.png")
        found = mask.load(MaskFile(tmp_path / "mask.png", **how), [under])
        return np.asarray(Image.open(io.BytesIO(found.data))), found

    return of


def test_a_part_of_an_image_keeps_its_pixels(shown):
    part = image.load(ImageFile(shown, crop=(10, 3, 42, 21)))
    assert (part.height, part.width) == (18, 32)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(part.data))), PIXELS[3:21, 10:42])


def test_a_part_is_taken_of_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter
    Image.fromarray(PIXELS).save(tmp_path / "turned.png", exif=exif)
    part = image.load(ImageFile(tmp_path / "turned.png", crop=(0, 0, 30, 40)))
    upright = np.rot90(PIXELS, -1)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(part.data))), upright[:40, :30])


def test_a_part_outside_the_image_is_refused(shown):
    with pytest.raises(CorruptFileError, match="50 x 30 px"):
        image.load(ImageFile(shown, crop=(10, 3, 51, 21)))


def test_a_mask_with_a_label_becomes_0_and_255(shown, drawn):
    pixels, found = drawn(CODES, image.load(ImageFile(shown)), label="tumour", reader="R1")
    assert np.array_equal(pixels, np.where(CODES > 0, 255, 0))
    assert (found.as_struct()["label"], found.as_struct()["reader"]) == ("tumour", "R1")


def test_one_code_can_be_picked(shown, drawn):
    pixels, _ = drawn(CODES, image.load(ImageFile(shown)), label="tumour", codes={7: 1})
    assert np.array_equal(pixels > 0, CODES == 7)


def test_codes_are_kept_where_no_label_is_given(shown, drawn):
    pixels, _ = drawn(CODES, image.load(ImageFile(shown)))
    assert np.array_equal(pixels, CODES)


def test_a_mask_is_cut_like_its_image(shown, drawn):
    where = (10, 3, 42, 21)
    pixels, found = drawn(CODES, image.load(ImageFile(shown, crop=where)), crop=where)
    assert np.array_equal(pixels, CODES[3:21, 10:42])
    assert found.flags == ()


def test_a_mask_of_another_size_is_brought_to_its_image_and_flagged(shown, drawn):
    larger = CODES.repeat(2, axis=0).repeat(2, axis=1)
    pixels, found = drawn(larger, image.load(ImageFile(shown)))
    assert np.array_equal(pixels, CODES)
    assert found.flags == ("mask_resized",)


def test_codes_beyond_8_bits_are_refused(shown, drawn):
    with pytest.raises(CorruptFileError, match="the code 300"):
        drawn(np.full((30, 50), 300, dtype=np.uint16), image.load(ImageFile(shown)))


def test_an_outline_is_filled_in_the_pixels_of_its_image(shown, tmp_path):
    corners = ((10, 5), (20, 5), (20, 15), (10, 15))
    file = MaskFile(tmp_path / "table.csv", "ventricle", outline=corners)
    found = mask.load(file, [image.load(ImageFile(shown))])
    pixels = np.asarray(Image.open(io.BytesIO(found.data)))
    rows, columns = np.nonzero(pixels)
    assert pixels.shape == (30, 50)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 15, 10, 20)
    assert len(rows) == 11 * 11


def test_a_mask_that_was_compressed_counts_from_its_middle_shade(shown, drawn):
    blurred = np.where(CODES == 1, 240, 15).astype(np.uint8)
    pixels, _ = drawn(blurred, image.load(ImageFile(shown)), label="lesion", above=127)
    assert np.array_equal(pixels > 0, CODES == 1)


def test_a_mask_that_is_not_there_is_damage(shown, tmp_path):
    with pytest.raises(CorruptFileError, match=r"gone\.png"):
        mask.load(MaskFile(tmp_path / "gone.png", "x"), [image.load(ImageFile(shown))])


def test_boxes_are_clipped_and_those_outside_left_out(shown):
    under = [image.load(ImageFile(shown))]
    within, over = Box("a", (1.0, 2.0, 10.0, 20.0), reader="R8"), Box("b", (-4.0, 5.0, 60.0, 12.0))
    kept, flags = mask.placed([within], under)
    assert (kept[0]["xyxy"], kept[0]["reader"], flags) == ([1, 2, 10, 20], "R8", ())
    kept, flags = mask.placed([over, Box("c", (70.0, 1.0, 80.0, 2.0))], under)
    assert ([box["xyxy"] for box in kept], flags) == ([[0, 5, 50, 12]], ("box_clipped",))


def test_undecided_classes_are_neither_positive_nor_negative(chest):
    found = classify(chest, ("edema",), label_set="two", examined=("edema", "mass"))
    assert (found.positive, found.negative, found.single) == (("Edema",), ("Mass",), "Edema")
    found = classify(chest, (), label_set="two", examined=("edema", "mass"), uncertain=("edema",))
    assert (found.positive, found.negative, found.uncertain) == ((), ("Mass",), ("Edema",))
    found = classify(chest, ("mass",), label_set="two", examined=(), uncertain=("edema",))
    assert (found.positive, found.uncertain, found.single) == (("Mass",), ("Edema",), None)


@pytest.fixture
def chest():
    """A card whose two findings may be undecided."""
    from dataclasses import replace

    from climb_hf import catalog

    codes = {"edema": "Edema", "mass": "Mass"}
    words = Vocabulary("two", ("Edema", "Mass", "Fracture"), codes=codes)
    known = catalog.get("isic2020").card
    return replace(known, vocabularies=(words,), label_sets={"two": ("two",)})


def test_the_files_of_masks_are_among_those_of_a_record(tmp_path):
    example = Example(
        "1",
        images=(ImageFile(tmp_path / "a.png"),),
        masks=(MaskFile(tmp_path / "m.png"), MaskFile(tmp_path / "m.png")),
    )
    assert [path.name for path in example.paths] == ["a.png", "m.png"]
