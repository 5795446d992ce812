"""Masks as run lengths, against what pycocotools 2.0.11 packs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError
from climb_hf.io.rle import is_empty, mask_of, runs_of

# Packed by pycocotools: a disc, a rectangle with a pixel beside it, all and nothing.
DISC = (
    "bT<Q1T8>D:G8I6I8I6K4K6K4L4L4L4L4L4L4M2M4M2M4M2N2N2N2M4M2N2N2N2O0O2N2N2N2O0O2N2O0O2O0O2O0O2"
    "O0O2O000O2O00000O2O00000000000000000000000000000001N1000001N10001N101N101N101N101N2N101N2N2"
    "N2N101N2N2N2N3L3N2N2N2N3L3N3L3N3L4L4L4L4L4L4L5J5L5J7H7J7H9F<BQc;"
)


def written(tmp_path, **entry):
    path = tmp_path / "gt.json"
    path.write_text(json.dumps({"one": {"Edema": entry}}))
    return path


def test_a_disc_is_unpacked_pixel_by_pixel(tmp_path):
    y, x = np.mgrid[:300, :200]
    disc = (y - 150) ** 2 / 90**2 + (x - 100) ** 2 / 60**2 < 1
    found = mask_of(written(tmp_path, size=[300, 200], counts=DISC), "one", "Edema")
    assert np.array_equal(found, disc * 255)
    assert found.dtype == np.uint8


def test_runs_go_down_the_columns(tmp_path):
    wanted = np.zeros((6, 5), int)
    wanted[1:4, 2:4] = 255
    wanted[5, 0] = 255
    path = written(tmp_path, size=[6, 5], counts="5172L05")
    assert mask_of(path, "one", "Edema").tolist() == wanted.tolist()


def test_runs_may_come_as_numbers(tmp_path):
    path = written(tmp_path, size=[2, 3], counts=[1, 2, 3])
    assert mask_of(path, "one", "Edema").tolist() == [[0, 255, 0], [255, 0, 0]]


@pytest.mark.parametrize(("counts", "empty"), [("<", True), ("0<", False), ("5172L05", False)])
def test_a_mask_without_a_pixel_is_empty(counts, empty):
    assert is_empty({"counts": counts}) == empty


def test_differences_may_be_negative():
    assert runs_of("5172L05") == [5, 1, 7, 3, 3, 3, 8]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"one": {"Edema": {"size": [6, 5], "counts": "517"}}}', "does not fit its size"),
        ('{"one": {"Edema": {"counts": "5172L05"}}}', "does not fit its size"),
        ('{"other": {}}', "holds no mask of 'Edema' on one"),
        ('{"one": {"Ede', "no whole JSON file"),
        ("[1, 2]", "does not map images"),
    ],
    ids=["runs", "size", "image", "cut", "list"],
)
def test_a_mask_that_is_not_there_or_does_not_fit_is_named(tmp_path, text, reason):
    path = tmp_path / "gt.json"
    path.write_text(text)
    with pytest.raises(CorruptFileError, match=reason):
        mask_of(path, "one", "Edema")
