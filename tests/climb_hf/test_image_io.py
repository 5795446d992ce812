"""Images as they were released: no byte changed, headers read right, broken files named."""

from __future__ import annotations

import io
import zipfile
from unittest import mock

import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from climb_hf.errors import CorruptFileError
from climb_hf.io import image
from climb_hf.schema import ImageFile as Where


def picture(mode="RGB", size=(40, 25)):
    values = np.random.default_rng(0).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    if mode == "I;16":
        return Image.fromarray(values[..., 0].astype(np.uint16) * 200)
    return Image.fromarray(values).convert(mode)


def encoded(picture, kind, **how):
    buffer = io.BytesIO()
    picture.save(buffer, format=kind, **how)
    return buffer.getvalue()


def with_orientation(number):
    exif = Image.Exif()
    exif[0x0112] = number
    return exif


@pytest.fixture
def load(tmp_path):
    """A function that writes a file and reads it as an image."""

    def of(data, name):
        (tmp_path / name).write_bytes(data)
        return image.load(Where(tmp_path / name, view="PA"))

    return of


KINDS = [("JPEG", mode) for mode in ("L", "RGB", "CMYK")]
KINDS += [("PNG", mode) for mode in ("1", "L", "P", "RGB", "RGBA", "I;16")]


@pytest.mark.parametrize(("kind", "mode"), KINDS)
def test_bytes_are_kept_and_the_header_is_told(load, kind, mode):
    data = encoded(picture(mode), kind)
    found = load(data, f"a.{kind.lower()}")
    assert found.as_struct() == {"bytes": data, "path": None}
    told = {"height": 25, "width": 40, "mode": mode, "view": "PA", "frame": None, "time_s": None}
    assert found.info() == told


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_no_pixel_is_decoded(load, kind):
    data = encoded(picture(), kind)
    with mock.patch.object(ImageFile.ImageFile, "load", side_effect=AssertionError):
        assert load(data, f"a.{kind.lower()}").width == 40


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("number", range(1, 9))
def test_sizes_are_those_of_the_upright_image(load, kind, number):
    data = encoded(picture(), kind, exif=with_orientation(number))
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    found = load(data, f"a.{kind.lower()}")
    assert (found.width, found.height) == upright.size
    assert (found.width == 25) == (number >= 5)


def with_thumbnail():
    """A JPEG that holds a whole smaller one, with an end mark of its own, in its EXIF."""
    small = encoded(picture(size=(8, 8)), "JPEG")
    segment = b"Exif\0\0" + small
    whole = encoded(picture(), "JPEG")
    return whole[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2) + segment + whole[2:]


CUT = {
    "baseline.jpg": encoded(picture(), "JPEG"),
    "progressive.jpg": encoded(picture(), "JPEG", progressive=True),
    "restarts.jpg": encoded(picture(), "JPEG", restart_marker_rows=1),
    "thumbnail.jpg": with_thumbnail(),
    "plain.png": encoded(picture(), "PNG"),
}


@pytest.mark.parametrize("name", CUT)
def test_an_image_cut_anywhere_is_refused(load, name):
    data = CUT[name]
    assert load(data, name).data == data
    for length in range(len(data)):
        with pytest.raises(CorruptFileError):
            load(data[:length], name)


def test_a_download_that_was_never_filled_is_refused(load):
    data = CUT["baseline.jpg"]
    with pytest.raises(CorruptFileError, match="cut short"):
        load(data[: len(data) - 100] + bytes(100), "a.jpg")


def test_what_a_camera_appends_is_kept(load):
    data = encoded(picture(), "JPEG") + b"trailer of a telephone"
    assert load(data, "a.jpg").data == data


def test_two_images_in_one_jpeg_are_a_jpeg(load):
    data = encoded(picture(), "MPO", save_all=True, append_images=[picture()])
    assert (load(data, "a.JPG").width, load(data, "a.JPG").mode) == (40, "RGB")


BROKEN = {
    "empty": (b"", "a.jpg", "empty"),
    "page": (b"<html>404 not found</html>", "a.jpg", "no image"),
    "png-as-jpg": (encoded(picture(), "PNG"), "a.jpg", "a PNG file by its content.*Rename"),
    "jpg-as-png": (encoded(picture(), "JPEG"), "a.png", "a JPEG file by its content.*Rename"),
    "no-ending": (encoded(picture(), "JPEG"), "a", "no image by its name"),
    "gif": (encoded(picture("P"), "GIF"), "a.gif", "a GIF file.*Convert"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid", "a.jpg", "git lfs pull"),
}


@pytest.mark.parametrize(("data", "name", "words"), BROKEN.values(), ids=BROKEN)
def test_what_is_wrong_is_named_with_what_to_do(load, data, name, words):
    with pytest.raises(CorruptFileError, match=words) as error:
        load(data, name)
    assert name in str(error.value)


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(CorruptFileError, match=r"cannot read gone\.jpg"):
        image.load(Where(tmp_path / "gone.jpg"))


def test_an_image_within_an_archive_is_read(tmp_path):
    data = encoded(picture(), "PNG")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("in/one.png", data)
    assert image.load(Where(tmp_path / "a.zip", key="in/one.png")).data == data
    with pytest.raises(CorruptFileError, match=r"other.png cannot be read from a.zip"):
        image.load(Where(tmp_path / "a.zip", key="other.png"))


def test_a_damaged_member_of_an_archive_is_named(tmp_path):
    data = encoded(picture(), "PNG")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("one.png", data)
    whole = bytearray((tmp_path / "a.zip").read_bytes())
    whole[200] ^= 255
    (tmp_path / "a.zip").write_bytes(whole)
    with pytest.raises(CorruptFileError, match=r"one\.png cannot be read"):
        image.load(Where(tmp_path / "a.zip", key="one.png"))


def test_real_images_are_read_as_pillow_reads_them(real_data):
    endings = {".jpg", ".jpeg", ".png"}
    files = [p for p in sorted((real_data / "image").rglob("*")) if p.suffix.lower() in endings]
    if not files:
        pytest.skip("no JPEG or PNG among the real images")
    for path in files:
        found = image.load(Where(path))
        decoded = Image.open(path)
        decoded.load()
        assert (found.width, found.height) == ImageOps.exif_transpose(decoded).size
        assert found.mode == decoded.mode
        assert found.data == path.read_bytes()
