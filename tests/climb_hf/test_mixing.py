"""Mixtures of configs: columns brought together, names kept, every row there once."""

from __future__ import annotations

import importlib.util
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest

import climb_hf
from climb_hf import catalog
from climb_hf.errors import OptionError
from climb_hf.schema import features_for

pytest.importorskip("wfdb")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def load(ecg_tree, tmp_path_factory):
    """A function that loads the train split of Georgia, or of the template's source."""
    spec = importlib.util.spec_from_file_location(
        "fake_template", REPOSITORY / "tests" / "fake" / "_template.py"
    )
    maker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(maker)
    root = tmp_path_factory.mktemp("other")
    maker.make(root)
    catalog.add_file(REPOSITORY / "builders" / "_template.py")
    roots = {"georgia": ecg_tree.root, "my_source": root}

    def get(name, **options):
        found = climb_hf.load_dataset("climb", name, data_dir=str(roots[name]), **options)
        return found["train"]

    yield get
    catalog.forget("my_source")


def empty_graphs(n):
    features = features_for(["molecule_graph"], ["enzyme", "other"])
    lists = {name for name, kind in features.items() if type(kind).__name__ == "List"}
    row = {name: [] if name in lists else None for name in features}
    rows = [{**row, "id": f"graphs/{i}", "label": i % 2, "labels": [i % 2]} for i in range(n)]
    return datasets.Dataset.from_list(rows, features=features)


def names_of(part):
    names = part.features["label"].names
    return {row["id"]: [names[i] for i in row["labels"]] for row in part}


@pytest.mark.parametrize("streaming", [False, True])
def test_every_row_is_there_once_and_its_classes_keep_their_names(load, streaming):
    parts = [load(name, streaming=streaming) for name in ("georgia", "my_source")]
    mixed = climb_hf.mixture(parts)
    wanted = {**names_of(parts[0]), **names_of(parts[1])}
    assert Counter(row["id"] for row in mixed) == Counter(wanted.keys())
    assert names_of(mixed) == wanted


@pytest.mark.parametrize("streaming", [False, True])
def test_signals_stay_what_they_were(load, streaming):
    parts = [load(name, streaming=streaming) for name in ("georgia", "my_source")]
    wanted = {row["id"]: row["series"][0].values for part in parts for row in part}
    for row in climb_hf.mixture(parts):
        assert np.array_equal(row["series"][0].values, wanted[row["id"]], equal_nan=True)


def test_the_classes_are_the_union_in_order(load):
    mixed = climb_hf.mixture([load("georgia"), load("my_source")])
    # `normal` and `other` and `afib` stand in both lists, so nothing is added.
    assert mixed.features["label"].names == load("georgia").features["label"].names
    turned = climb_hf.mixture([load("my_source"), load("georgia")])
    assert turned.features["label"].names[:3] == ["normal", "afib", "other"]
    assert set(turned.features["label"].names) == set(mixed.features["label"].names)


@pytest.mark.parametrize("streamed", [False, True])
def test_another_modality_fills_what_it_lacks(load, streamed):
    graphs = empty_graphs(5)
    georgia = load("georgia", streaming=streamed)
    mixed = climb_hf.mixture([georgia, graphs.to_iterable_dataset() if streamed else graphs])
    rows = {row["id"]: row for row in mixed}
    assert rows["graphs/0"]["series"] == []
    assert all(row["graphs"] == [] for name, row in rows.items() if name.startswith("georgia"))
    names = mixed.features["label"].names
    assert names[rows["graphs/1"]["label"]] == "other"
    assert "enzyme" in names


def test_questions_mix(load):
    parts = [load(name, task="qa") for name in ("georgia", "my_source")]
    mixed = climb_hf.mixture(parts)
    assert len(mixed) == len(parts[0]) + len(parts[1])
    assert all(mixed["prompt"])


def test_probabilities_are_kept(load):
    parts = [load("georgia"), load("my_source")]
    options = {"probabilities": [0.9, 0.1], "stopping_strategy": "all_exhausted"}
    mixed = climb_hf.mixture(parts, seed=1, **options)
    share = sum(name.startswith("georgia") for name in mixed["id"]) / len(mixed)
    assert share == pytest.approx(0.9, abs=0.08)
    again = climb_hf.mixture(parts, seed=1, **options)
    assert again["id"] == mixed["id"]


def test_a_part_alone_is_itself(load):
    georgia = load("georgia")
    assert climb_hf.mixture([georgia])["id"] == georgia["id"]


WRONG = {
    "nothing": ([], {}, "one data set or more"),
    "a-dict": ([{"train": 1}], {}, r"is a dict, but should be one split"),
    "one-probability": (["georgia", "my_source"], {"probabilities": [1.0]}, "2 positive numbers"),
    "negative": (["georgia", "my_source"], {"probabilities": [1.5, -0.5]}, "2 positive numbers"),
    "strategy": (["georgia"], {"stopping_strategy": "first_exhaust"}, "Did you mean 'first_ex"),
}


@pytest.mark.parametrize(("names", "options", "said"), WRONG.values(), ids=WRONG)
def test_bad_input_is_named(load, names, options, said):
    parts = [load(name) if isinstance(name, str) else name for name in names]
    with pytest.raises(OptionError, match=said):
        climb_hf.mixture(parts, **options)


def test_streamed_and_map_style_parts_do_not_mix(load):
    with pytest.raises(OptionError, match="streaming=True"):
        climb_hf.mixture([load("georgia"), load("my_source", streaming=True)])


def test_a_column_of_another_type_is_named(load):
    other = (
        load("my_source").remove_columns("site").add_column("site", [1] * len(load("my_source")))
    )
    with pytest.raises(OptionError, match="column 'site'"):
        climb_hf.mixture([load("georgia"), other])
