"""What a config gives beside its options: rows as they are stored, and sources of other packages in
processes that were spawned."""

from __future__ import annotations

import importlib
import pickle
import sys
from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import climb_hf
from climb_hf import catalog
from climb_hf.builder import ClimbBuilder
from climb_hf.errors import CardError, OptionError
from climb_hf.io import signal

pytest.importorskip("wfdb")


# --- decode=False --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def skin(made):
    """A function that loads images."""
    root = made("ham10000").root

    def load(**more):
        return climb_hf.load_dataset("climb", "ham10000", data_dir=str(root), split="train", **more)

    return load


def opened(row):
    return [type(one).__name__ for one in row["images"]]


@pytest.mark.parametrize("streaming", [False, True])
def test_undecoded_images_are_their_bytes(skin, made, streaming):
    row = next(iter(skin(decode=False, streaming=streaming)))
    (path,) = made("ham10000").root.rglob(row["id"].split("/")[1] + ".jpg")
    assert row["images"][0]["bytes"] == path.read_bytes()
    decoded = next(iter(skin(streaming=streaming)))
    assert decoded["id"] == row["id"]
    assert isinstance(decoded["images"][0], Image.Image)


def test_undecoded_images_are_in_the_same_table(skin):
    decoded, stored = skin(), skin(decode=False)
    assert stored.cache_files == decoded.cache_files
    assert stored.data.nbytes == decoded.data.nbytes


def test_a_map_of_the_one_is_not_served_to_the_other(skin):
    def kind(row):
        return {"kind": type(row["images"][0]).__name__}

    decoded, stored = skin().map(kind), skin(decode=False).map(kind)
    assert set(stored["kind"]) == {"dict"}
    assert "dict" not in set(decoded["kind"])


# --- rates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [1e-9, 1e9])
def test_a_rate_out_of_reach_of_a_recording_is_refused(rate_hz):
    series = signal.from_values(np.zeros((1, 10)), rate_hz=1.0, channels=("a",), units="V")
    with pytest.raises(OptionError, match="out of reach from the 1 Hz of the recording"):
        signal.resample(series, rate_hz)


# --- sources of other packages -------------------------------------------------------------------

THEIRS = """
from dataclasses import replace
from climb_hf.builders import georgia

CARD = replace(georgia.CARD, name="their_source")
read = georgia.read
"""


def sent(builder):
    """The builder as a process that was spawned gets it: one that knows no source but ours."""
    data = pickle.dumps(builder)
    catalog.forget("their_source")
    return pickle.loads(data)  # noqa: S301 (of this test)


def test_a_source_of_a_package_reaches_a_spawned_process(tmp_path, monkeypatch, made):
    (tmp_path / "their_package.py").write_text(THEIRS)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        catalog.add(importlib.import_module("their_package"))
        root = str(made("georgia").root / "georgia")
        builder = ClimbBuilder(config_name="their_source", data_dir=root)
        assert sent(builder).config.name == "their_source"
        assert "their_source" in catalog.sources()
    finally:
        catalog.forget("their_source")


def test_a_source_that_cannot_be_imported_there_says_what_to_do(made):
    module = ModuleType("made_here_and_nowhere_else")
    module.CARD = replace(catalog.get("georgia").card, name="their_source")
    module.read = catalog.get("georgia").read
    module.__file__ = catalog.get("georgia").module.__file__
    try:
        catalog.add(module)
        root = str(made("georgia").root / "georgia")
        builder = ClimbBuilder(config_name="their_source", data_dir=root)
        with pytest.raises(CardError, match=r"cannot import made_here_and.*catalog\.add_file"):
            sent(builder)
    finally:
        catalog.forget("their_source")
    assert module.__name__ not in sys.modules
