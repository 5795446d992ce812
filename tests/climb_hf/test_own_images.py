"""Real images as a user's own source: tissue, fundus and chest X-rays, one file of theirs each."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from datasets import Image, List
from PIL import Image as Pillow

import climb_hf
from climb_hf import catalog
from climb_hf.testing import Subject, run_check

STRANGERS = Path(__file__).parents[1] / "strangers"


def added(name):
    """The module of a stranger's file, known to the catalogue."""
    catalog.add_file(STRANGERS / f"{name}.py")
    spec = importlib.util.spec_from_file_location(f"stranger_{name}", STRANGERS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(autouse=True)
def forget_strangers():
    yield
    for name in ("pneumonia_mnist", "own_images"):
        catalog.forget(name)


@pytest.fixture(scope="module")
def scans(tmp_path_factory, real_data):
    """A folder for each kind of image, the slide converted as its owner would."""
    found = {file.suffix: file for file in (real_data / "image").rglob("*.*")}
    if not {".svs", ".jpg", ".png"} <= set(found):
        pytest.skip("no slide, JPEG or PNG among the real images")
    root = tmp_path_factory.mktemp("scans")
    own = importlib.util.spec_from_file_location("own_images", STRANGERS / "own_images.py")
    module = importlib.util.module_from_spec(own)
    own.loader.exec_module(module)
    module.convert(found[".svs"], root / "histology" / "slide.png")
    for kind, file in (("fundus", found[".jpg"]), ("ihc", found[".png"])):
        (root / kind).mkdir()
        (root / kind / file.name).symlink_to(file)
    return root, found


@pytest.fixture(scope="module")
def xrays(tmp_path_factory, real_data):
    archive = real_data / "image" / "xray-classification" / "pneumoniamnist.npz"
    if not archive.is_file():
        pytest.skip("no labelled chest X-rays among the real images")
    return archive, tmp_path_factory.mktemp("xrays")


def test_tissue_and_fundus_are_read_as_a_users_own(scans):
    root, files = scans
    added("own_images")
    table = climb_hf.load_dataset("climb", "own_images", data_dir=str(root), split="train")
    plain = table.cast_column("images", List(Image(decode=False)))
    stored = {row["id"].split("/", 1)[1]: row["images"][0]["bytes"] for row in plain}
    for kind, ending in (("fundus", ".jpg"), ("ihc", ".png")):
        (name,) = [name for name in stored if name.startswith(kind)]
        assert stored[name] == files[ending].read_bytes()
    assert len(stored) == 2 + 2 * 2  # 2,220 x 2,967 px in tiles of 2,048


def test_tiles_of_a_slide_are_its_pixels(scans):
    root, files = scans
    added("own_images")
    table = climb_hf.load_dataset("climb", "own_images", data_dir=str(root), split="train")
    with Pillow.open(files[".svs"]) as pages:
        slide = np.asarray(pages.convert("RGB"))
    seen = np.zeros(slide.shape[:2], bool)
    for row in table:
        if row["id"].startswith("own_images/slide/"):
            x, y = map(int, row["id"].rpartition("/")[2].split("_"))
            tile = np.asarray(row["images"][0])
            assert np.array_equal(tile, slide[y : y + 2048, x : x + 2048])
            seen[y : y + 2048, x : x + 2048] = True
    assert seen.all()


def test_chest_x_rays_with_labels_are_read_as_a_users_own(xrays):
    archive, root = xrays
    added("pneumonia").unpack(archive, root / "some", every=40)
    splits = climb_hf.load_dataset("climb", "pneumonia_mnist", data_dir=str(root / "some"))
    names = {"train": "train", "val": "validation"}
    with np.load(archive) as arrays:
        for theirs, ours in names.items():
            rows = {row["id"].rpartition("_")[2]: row for row in splits[ours]}
            assert len(rows) == len(range(0, len(arrays[f"{theirs}_labels"]), 40))
            for number, row in rows.items():
                assert row["label"] == arrays[f"{theirs}_labels"][int(number), 0]
                image = np.asarray(row["images"][0])
                assert np.array_equal(image, arrays[f"{theirs}_images"][int(number)])


LOOKED_AT = (
    "images_open_as_described",
    "images_keep_their_bytes",
    "questions_can_be_answered",
    "a_stream_equals_the_table",
    "a_prepared_folder_equals_the_table",
)


@pytest.mark.parametrize("name", ["pneumonia", "own_images"])
def test_real_images_pass_what_the_battery_asks_of_images(name, request, tmp_path):
    module = added(name)
    if name == "pneumonia":
        archive, _ = request.getfixturevalue("xrays")
        module.unpack(archive, tmp_path / "raw", every=200)
        root = tmp_path / "raw"
    else:
        root, _ = request.getfixturevalue("scans")
    subject = Subject(catalog.get(module.CARD.name), root, limit=20 if name == "pneumonia" else 3)
    outcomes = {check: run_check(check, subject) for check in LOOKED_AT}
    subject.close()
    assert {found.outcome for found in outcomes.values()} == {"passed"}, outcomes
