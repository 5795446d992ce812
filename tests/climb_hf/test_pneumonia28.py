"""A user's own source of images in one `.npz` file: real labelled chest X-rays."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import climb_hf
from climb_hf import catalog
from climb_hf.errors import CorruptFileError
from climb_hf.io import image
from climb_hf.io.arrays import open_npz
from climb_hf.schema import ImageFile
from climb_hf.testing import CHECKS, NotApplicable, Subject

SOURCE = Path(__file__).parents[1] / "strangers" / "pneumonia28.py"


@pytest.fixture(scope="module")
def folder(real_data):
    return real_data / "image" / "xray-classification"


@pytest.fixture(scope="module")
def subject(folder):
    name = catalog.add_file(SOURCE)
    subject = Subject(catalog.get(name), folder, limit=30)
    yield subject
    subject.close()
    catalog.forget(name)


@pytest.mark.parametrize("check", CHECKS)
def test_real_radiographs_pass_the_battery(subject, check):
    try:
        CHECKS[check](subject)
    except NotApplicable as reason:
        pytest.skip(str(reason))


def test_every_radiograph_has_the_pixels_and_label_of_its_array(subject, folder):
    loaded = climb_hf.load_dataset("climb", "pneumonia28", data_dir=str(folder))
    for split, part in (("train", "train"), ("validation", "val")):
        with np.load(folder / "pneumoniamnist.npz", allow_pickle=False) as file:
            images, labels = file[f"{part}_images"], file[f"{part}_labels"].ravel()
        rows = {row["id"].rpartition("/")[2]: row for row in loaded[split].select(range(0, 300, 7))}
        assert len(loaded[split]) == len(images)
        assert [sum(np.array(loaded[split]["label"]) == i) for i in (0, 1)] == [
            sum(labels == i) for i in (0, 1)
        ]
        for place, row in rows.items():
            assert np.array_equal(np.asarray(row["images"][0]), images[int(place)])
            assert row["label"] == labels[int(place)]


# --- arrays of images, made ----------------------------------------------------------------------


def shown(path, **where):
    return image.load(ImageFile(path, **where))


@pytest.mark.parametrize(
    ("array", "mode"),
    [
        (np.arange(24, dtype=np.uint8).reshape(2, 3, 4), "L"),
        (np.arange(24, dtype=np.uint16).reshape(2, 3, 4) * 999, "I;16"),
        (np.arange(72, dtype=np.uint8).reshape(2, 3, 4, 3), "RGB"),
    ],
    ids=["grey", "16-bit", "colour"],
)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_an_entry_of_an_array_is_stored_pixel_by_pixel(tmp_path, array, mode, kind):
    path = tmp_path / f"made.{kind}"
    np.save(path, array) if kind == "npy" else np.savez(path, films=array)
    found = shown(path, key=None if kind == "npy" else "films", frame=1)
    assert (found.height, found.width, found.mode, found.frame) == (3, 4, mode, 1)
    with Image.open(io.BytesIO(found.data)) as opened:
        assert np.array_equal(np.asarray(opened), array[1])


@pytest.mark.parametrize(
    ("array", "frame"),
    [
        (np.zeros((2, 3, 4), np.float32), 0),
        (np.zeros((3, 4), np.uint8), 0),
        (np.zeros((2, 3, 4), np.uint8), 2),
        (np.zeros((2, 3, 4), np.uint8), -1),
    ],
    ids=["floats", "one-image", "beyond", "before"],
)
def test_what_is_no_image_of_an_array_is_named(tmp_path, array, frame):
    np.save(tmp_path / "made.npy", array)
    with pytest.raises(CorruptFileError, match=rf"made.npy has .*image {frame} is asked for"):
        shown(tmp_path / "made.npy", frame=frame)


def test_objects_are_never_unpickled(tmp_path):
    np.savez(tmp_path / "made.npz", films=np.array([{"a": 1}], object))
    with pytest.raises(CorruptFileError, match="an array 'films': Object arrays"):
        open_npz(tmp_path / "made.npz", name="films")


def test_a_file_cut_short_or_without_the_array_is_named(tmp_path):
    path = tmp_path / "made.npz"
    np.savez(path, films=np.zeros((2, 30, 40), np.uint8))
    with pytest.raises(CorruptFileError, match="an array 'labels'"):
        open_npz(path, name="labels")
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(CorruptFileError, match="an array 'films'"):
        open_npz(path, name="films")
