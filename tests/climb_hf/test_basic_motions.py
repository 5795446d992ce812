"""The source in twenty lines that CONTRIBUTING.md shows: on made cases, and on the real ones where
another package has them (aeon 1.6.0, which is not imported)."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

import climb_hf
from climb_hf import catalog
from climb_hf.testing import CHECKS, NotApplicable, Subject

PAGE = Path(__file__).parents[2] / "CONTRIBUTING.md"
CLASSES = ("Standing", "Running", "Walking", "Badminton")


def case_line(values, label):
    return ":".join(",".join(f"{v:.6f}" for v in row) for row in values) + f":{label}"


@pytest.fixture(scope="module")
def made_cases(tmp_path_factory):
    """A folder with both files, and what is in them."""
    root = tmp_path_factory.mktemp("basic_motions")
    rng = np.random.default_rng(0)
    truth = {"classes": CLASSES, "layouts": ["cases"], "unknown_codes": [], "faults": {}}
    truth["records"] = {}
    for split in ("train", "test"):
        lines = ["@timeStamps false", "@classLabel true " + " ".join(CLASSES), "@data"]
        for case in range(8):
            values = rng.normal(size=(6, 100)).round(6)
            label = CLASSES[case % 4]
            lines.append(case_line(values, label))
            written = np.ascontiguousarray(values, "<f4").tobytes()
            truth["records"][f"{split}/{case}"] = {
                "labels": [label],
                "split": split,
                "signal_sha1": hashlib.sha1(written).hexdigest(),
            }
        (root / f"BasicMotions_{split.upper()}.ts").write_text("\n".join(lines) + "\n")
    return root, truth


@pytest.fixture(scope="module")
def name(tmp_path_factory):
    """The source of the page, made known."""
    section = PAGE.read_text("utf-8").split("## A source in twenty lines")[1].split("\n## ")[0]
    file = tmp_path_factory.mktemp("source") / "basic_motions.py"
    file.write_text(re.search(r"```python\n(.*?)```", section, re.DOTALL)[1])
    yield catalog.add_file(file)
    catalog.forget("basic_motions")


@pytest.fixture(scope="module")
def subject(name, made_cases):
    subject = Subject(catalog.get(name), *made_cases)
    yield subject
    subject.close()


@pytest.mark.parametrize("check", [c for c in CHECKS if c != "a_damaged_file_costs_one_record"])
def test_the_source_of_the_page_passes(subject, check):
    # A file that is cut off costs the page's source all cases: it is as short as it can be.
    try:
        CHECKS[check](subject)
    except NotApplicable as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
def real_folder():
    found = importlib.util.find_spec("aeon")
    places = list(found.submodule_search_locations) if found else []
    folders = [Path(place) / "datasets" / "data" / "BasicMotions" for place in places]
    if not folders or not folders[0].is_dir():
        pytest.skip("needs the files of: pip install --no-deps aeon==1.6.0")
    return folders[0]


def test_real_cases_have_the_values_of_their_lines(name, real_folder):
    found = climb_hf.load_dataset("climb", name, data_dir=str(real_folder))
    assert {split: len(rows) for split, rows in found.items()} == {"train": 40, "test": 40}
    text = (real_folder / "BasicMotions_TEST.ts").read_text("latin-1").split("@data\n")[1]
    names = found["test"].features["label"].names
    rows = {row["id"]: row for row in found["test"]}
    for case, line in enumerate(text.split()):
        *channels, label = line.split(":")
        row = rows[f"basic_motions/test/{case}"]
        values = np.array([one.split(",") for one in channels], np.float32)
        assert np.array_equal(row["series"][0].values, values)
        assert names[row["label"]] == label
