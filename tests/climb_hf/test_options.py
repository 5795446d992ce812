"""Options: right words do what they say; a wrong one is refused with its name and the nearest.

What has to be covered is taken from `ClimbConfig` and from the cards, so that no option can be
forgotten. `test_load_dataset`, `test_card` and `test_ecg_sources` hold single cases beside these.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections import Counter
from dataclasses import fields, replace
from enum import StrEnum
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import climb_hf
from climb_hf import catalog, collect
from climb_hf.builder import ClimbBuilder
from climb_hf.card import Access, Modality, Option, Proof
from climb_hf.config import ON_ERROR, ClimbConfig
from climb_hf.errors import (
    CardError,
    ClimbError,
    ConfigNameError,
    CorruptFileError,
    DataNotFoundError,
    OptionError,
    TooManyBadRecordsError,
)
from climb_hf.rows import LENGTHS
from climb_hf.schema import SPLITS, TASKS
from climb_hf.splits import SPLIT_RULES

pytest.importorskip("wfdb")

FAKES = Path(__file__).parents[1] / "fake"
SOURCES = tuple(catalog.sources())
ROADS = {"datasets": datasets.load_dataset, "climb_hf": climb_hf.load_dataset}
# Fields of every BuilderConfig, and what the builder itself fills in.
NOT_ASKED = {"name", "version", "description", "data_files", "sources", "fingerprint"}
OPTIONS = sorted({field.name for field in fields(ClimbConfig)} - NOT_ASKED | {"decode"})
WORDS = {"task": TASKS, "length": LENGTHS, "split_rule": SPLIT_RULES, "on_error": ON_ERROR}
DOCUMENTED = {  # as the decisions list them, and those of the builder
    *("task", "split_rule", "variant", "label_set", "length", "rate_hz", "data_dir"),
    *("on_error", "max_error_rate", "options", "decode"),
}


@pytest.fixture(scope="module")
def root(made):
    return str(made("georgia").root)


@pytest.fixture(params=ROADS)
def road(request):
    return ROADS[request.param]


@pytest.fixture(params=[False, True], ids=["eager", "stream"])
def streaming(request):
    return request.param


@pytest.fixture(scope="module")
def rows_by_split(root):
    """A function that loads Georgia and gives split -> rows."""

    def load(**more):
        found = datasets.load_dataset("climb", "georgia", data_dir=root, **more)
        return {str(name): list(part) for name, part in found.items()}

    return load


def ids(rows_by_split):
    return {name: {row["id"] for row in rows} for name, rows in rows_by_split.items()}


def all_rows(rows_by_split):
    return {row["id"]: row for rows in rows_by_split.values() for row in rows}


# --- misspellings ------------------------------------------------------------------------------


def typos(word, allowed):
    """Every way to drop, swap or double one letter that gives no allowed word."""
    made = set()
    for i in range(len(word)):
        made |= {word[:i] + word[i + 1 :], word[:i] + word[i] + word[i:]}
        made.add(word[:i] + word[i + 1 : i + 2] + word[i] + word[i + 2 :])
    return sorted(made - {"", *allowed})


def letters_apart(one, other):
    """Letters that one word has and the other has not; 2 for one put in place of another."""
    return (Counter(one) - Counter(other)).total() + (Counter(other) - Counter(one)).total()


def refused(load, name, value, allowed, word, kind=OptionError):
    """Loads with a misspelt word; the message has to name all that the reader needs."""
    with pytest.raises(kind) as caught:
        load()
    said = str(caught.value)
    assert name in said
    assert repr(value) in said
    assert all(str(choice) in said for choice in allowed)
    offered = re.search(r"Did you mean (?:\w+=)?'(.+?)'\?", said)
    # Two valid words can be equally near ("eg" is ecg or eeg); one further off is an error.
    assert offered, said
    assert offered[1] == word or letters_apart(offered[1], value) <= 2, said


def asked(root, name="georgia", **more):
    return partial(ClimbBuilder, config_name=name, data_dir=str(root), **more)


@pytest.mark.parametrize("word", OPTIONS)
def test_every_misspelling_of_an_option_is_refused(tmp_path, word):
    for typo in typos(word, OPTIONS):
        refused(asked(tmp_path, **{typo: 1}), typo, typo, OPTIONS, word)


VALUES = [(name, word) for name, allowed in WORDS.items() for word in allowed]


@pytest.mark.parametrize(("name", "word"), VALUES)
def test_every_misspelling_of_a_value_is_refused(tmp_path, name, word):
    for typo in typos(word, WORDS[name]):
        refused(asked(tmp_path, **{name: typo}), name, typo, WORDS[name], word)


LABEL_SETS = [(source, name) for source in SOURCES for name in catalog.get(source).card.label_sets]


@pytest.mark.parametrize(("source", "word"), LABEL_SETS)
def test_every_misspelling_of_a_label_set_is_refused(tmp_path, source, word):
    allowed = tuple(catalog.get(source).card.label_sets)
    for typo in typos(word, allowed):
        load = asked(tmp_path, source, label_set=typo)
        refused(load, "label_set", typo, allowed, word)


OWN = [(source, name) for source in SOURCES for name in catalog.get(source).card.options]


@pytest.mark.parametrize(("source", "word"), OWN)
def test_every_misspelling_of_a_sources_own_option_is_refused(tmp_path, source, word):
    known = catalog.get(source).card.options
    for typo in typos(word, known):
        load = asked(tmp_path, source, options={source: {typo: known[word].default}})
        refused(load, source, typo, known, word)


CHOICES = [
    (source, name, choice)
    for source, name in OWN
    for choice in catalog.get(source).card.options[name].choices
]


@pytest.mark.parametrize(("source", "name", "word"), CHOICES)
def test_every_misspelling_of_a_choice_is_refused(tmp_path, source, name, word):
    allowed = catalog.get(source).card.options[name].choices
    for typo in typos(str(word), allowed):
        load = asked(tmp_path, source, options={source: {name: typo}})
        refused(load, name, typo, allowed, word)


@pytest.mark.parametrize("word", SOURCES)
def test_every_misspelling_of_a_source_among_the_options_is_refused(tmp_path, word):
    group = str(catalog.get(word).card.modality)
    allowed = catalog.configs()[group]
    for typo in typos(word, allowed):
        load = asked(tmp_path, group, options={typo: {}})
        refused(load, "options", typo, allowed, word)


@pytest.mark.parametrize("word", catalog.configs())
def test_every_misspelling_of_a_config_is_refused(word):
    allowed = catalog.configs()
    for typo in typos(word, allowed):
        load = partial(ClimbBuilder, config_name=typo)
        refused(load, "config", typo, allowed, word, ConfigNameError)


@pytest.mark.parametrize("word", SPLITS)
def test_every_misspelling_of_a_split_is_refused(root, word):
    for typo in typos(word, (*SPLITS, "all")):
        load = partial(
            climb_hf.load_dataset, "climb", "georgia", data_dir=root, split=typo, streaming=True
        )
        refused(load, "split", typo, SPLITS, word)


# One of each sort by both roads, eager and as a stream; above, all of them by the builder.
ONE_OF_EACH = {
    "option": ({"taks": "qa"}, "'taks'", "'task'"),
    "option-of-datasets": ({"num_porc": 2}, "'num_porc'", "'num_proc'"),
    "decode": ({"decod": False}, "'decod'", "'decode'"),
    "capitals": ({"task": "QA"}, "task='QA'", "'qa'"),
    "task": ({"task": "aq"}, "task='aq'", "'qa'"),
    "split_rule": ({"split_rule": "stratifed"}, "split_rule='stratifed'", "'stratified'"),
    "label_set": ({"label_set": "climb"}, "label_set of 'georgia'='climb'", "'climb7'"),
    "length": ({"length": 10}, "length=10", "'10s'"),
    "on_error": ({"on_error": "rais"}, "on_error='rais'", "'raise'"),
    "options-source": ({"options": {"gorgia": {}}}, "'gorgia'", "'georgia'"),
    "options-name": ({"options": {"georgia": {"axis": True}}}, "'axis'", "'axis_as_hyp'"),
    "options-value": (
        {"options": {"georgia": {"question": "choose"}}},
        "options['georgia']['question']='choose'",
        "'choice'",
    ),
    "split-beginning": ({"split": "val"}, "'val'", "'validation'"),
    "split-slice": ({"split": "train[:2]+tset[2:]"}, "'tset'", "'test'"),
    "split-for-split_rule": ({"split": "official"}, "'official'", "split_rule='official'"),
    "split-for-split_rule-misspelt": ({"split": "stratifed"}, "'strat", "split_rule='stratified'"),
}


@pytest.mark.parametrize(("more", "given_word", "meant"), ONE_OF_EACH.values(), ids=ONE_OF_EACH)
def test_a_wrong_word_is_refused_by_every_road(root, road, streaming, more, given_word, meant):
    with pytest.raises(OptionError) as caught:
        road("climb", "georgia", data_dir=root, streaming=streaming, **more)
    assert given_word in str(caught.value)
    assert f"Did you mean {meant}?" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "meant"), [("gergia", "georgia"), ("ECG", "ecg"), ("PTB-XL", "ptb_xl"), ("al", "all")]
)
def test_a_wrong_config_is_refused_by_every_road(root, road, streaming, name, meant):
    with pytest.raises(ConfigNameError, match=rf"'{name}' is not one of.*Did you mean '{meant}'\?"):
        road("climb", name, data_dir=root, streaming=streaming)


def test_a_modality_without_a_source_is_no_config(road, root):
    absent = sorted(set(map(str, Modality)) - set(catalog.configs()))
    for name in absent:
        with pytest.raises(ConfigNameError, match=f"'{name}' is not one of: .*'ecg'"):
            road("climb", name, data_dir=root)


def test_an_option_of_another_source_says_what_this_one_has(root, road, streaming):
    for other in ("cpsc", "chapman_shaoxing"):
        only = set(catalog.get(other).card.options) - set(catalog.get("georgia").card.options)
        assert only
        for name in only:
            with pytest.raises(
                OptionError, match=rf"'georgia' has no option '{name}'.*: question,"
            ):
                road(
                    "climb",
                    "georgia",
                    data_dir=root,
                    streaming=streaming,
                    options={"georgia": {name: "all"}},
                )


def test_an_option_for_a_source_outside_the_config_is_refused(root, road):
    with pytest.raises(OptionError, match=r"'cpsc' is not one of: 'georgia'"):
        road("climb", "georgia", data_dir=root, options={"cpsc": {"windows": "all"}})


def test_a_label_set_that_a_group_member_lacks_names_the_member(tmp_path):
    with pytest.raises(OptionError, match=r"label_set of '(chapman_shaoxing|cpsc|georgia)'"):
        ClimbBuilder(config_name="ecg", data_dir=str(tmp_path), label_set="ptbxl_super5")


# --- wrong types -------------------------------------------------------------------------------

WRONG_TYPES = {
    "task-bool": {"task": True},
    "task-list": {"task": ["qa"]},
    "length-number": {"length": 10.0},
    "length-bool": {"length": False},
    "rate-bool": {"rate_hz": True},
    "rate-text": {"rate_hz": "100"},
    "rate-list": {"rate_hz": [100]},
    "rate-negative": {"rate_hz": -1},
    "rate-zero": {"rate_hz": 0.0},
    "rate-infinite": {"rate_hz": float("inf")},
    "rate-absurdly-low": {"rate_hz": 1e-9},
    "rate-absurdly-high": {"rate_hz": 1e9},
    "split_rule-bool": {"split_rule": True},
    "split_rule-mapping": {"split_rule": {"georgia": "hash"}},
    "label_set-number": {"label_set": 7},
    "label_set-list": {"label_set": ["climb7"]},
    "variant-of-a-source-without": {"variant": "dicom"},
    "variant-number": {"variant": 1},
    "on_error-bool": {"on_error": True},
    "max_error_rate-bool": {"max_error_rate": True},
    "max_error_rate-text": {"max_error_rate": "5%"},
    "max_error_rate-percent": {"max_error_rate": 5},
    "max_error_rate-negative": {"max_error_rate": -0.1},
    "max_error_rate-nan": {"max_error_rate": float("nan")},
    "options-text": {"options": "georgia"},
    "options-number": {"options": 5},
    "options-empty-list": {"options": []},
    "options-pairs": {"options": [("georgia", {})]},
    "options-of-no-mapping": {"options": {"georgia": "set"}},
    "options-of-pairs": {"options": {"georgia": [("question", "set")]}},
    "options-of-none": {"options": {"georgia": None}},
    "options-number-for-source": {"options": {5: {}}},
    "options-number-for-name": {"options": {"georgia": {5: True}}},
    "data_dir-number": {"data_dir": 5},
    "data_dir-bool": {"data_dir": True},
    "data_dir-list": {"data_dir": ["raw"]},
    "data_dir-bytes": {"data_dir": b"raw"},
    "decode-text": {"decode": "no"},
    "decode-number": {"decode": 0},
}


def test_every_option_is_given_a_wrong_type():
    assert {name for more in WRONG_TYPES.values() for name in more} == set(OPTIONS)


@pytest.mark.parametrize("more", WRONG_TYPES.values(), ids=WRONG_TYPES)
def test_a_wrong_type_is_refused_by_every_road(root, road, streaming, more):
    ((name, value),) = more.items()
    with pytest.raises(OptionError) as caught:
        road("climb", "georgia", **{"data_dir": root, "streaming": streaming, **more})
    inner = next(iter(value.values())) if isinstance(value, dict) and "options" in more else value
    assert name.removesuffix("s") in str(caught.value)
    assert any(repr(one) in str(caught.value) for one in (value, inner, 5))


WRONG_FOR_KIND = {
    str: (5, True, ["x"]),
    bool: (1, "yes", 0.0),
    int: (1.5, True, "1"),
    float: ("50", True, [50.0]),
}


@pytest.mark.parametrize(("source", "name"), OWN)
def test_a_wrong_type_of_a_sources_own_option_is_refused(tmp_path, source, name):
    option = catalog.get(source).card.options[name]
    wrong = (-5, object, ["x"]) if option.choices else WRONG_FOR_KIND[option.kind]
    for value in (*wrong, *([] if option.default is None else [None])):
        with pytest.raises(OptionError) as caught:
            asked(tmp_path, source, options={source: {name: value}})()
        assert f"options[{source!r}][{name!r}]={value!r}" in str(caught.value)


@pytest.mark.parametrize("name", [5, True, ["ecg"], 2.5], ids=str)
def test_a_config_name_of_a_wrong_type_is_refused(root, road, name):
    with pytest.raises(ConfigNameError, match="is not one of"):
        road("climb", name, data_dir=root)


@pytest.mark.parametrize("name", [None, ""], ids=repr)
def test_no_config_name_lists_the_configs(root, road, name):
    with pytest.raises(ConfigNameError, match=r"'ecg'.*'all'"):
        road("climb", name, data_dir=root)


NOT_OURS = {
    "data_files": {"data_files": "rows.csv"},
    "features": {"features": datasets.Features({"id": datasets.Value("string")})},
}


@pytest.mark.parametrize("more", NOT_OURS.values(), ids=NOT_OURS)
def test_what_would_be_ignored_is_refused(root, road, streaming, more):
    with pytest.raises(OptionError, match="does not go with climb"):
        road("climb", "georgia", data_dir=root, streaming=streaming, **more)


@pytest.mark.parametrize("name", [*sorted(NOT_ASKED - {"name", "data_files"}), "config_kwargs"])
def test_what_only_the_builder_fills_in_is_refused(root, name):
    with pytest.raises(OptionError, match=f"no option '{name}'"):
        ClimbBuilder(config_name="georgia", data_dir=root, **{name: "x"})


def test_a_split_that_the_source_lacks_is_named_by_datasets(root, road, streaming):
    # The word is right, the source has no validation split: `datasets` lists what there is.
    with pytest.raises(ValueError, match=r"validation.*\['train', 'test'\]"):
        road("climb", "georgia", data_dir=root, streaming=streaming, split="validation")


def test_a_wrong_split_is_found_before_anything_is_read(root, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("the index was read")

    monkeypatch.setattr(collect, "collect", never)
    with pytest.raises(OptionError, match=r"Did you mean split_rule='hash'\?"):
        climb_hf.load_dataset("climb", "georgia", data_dir=root, split="hash")


def test_a_wrong_option_is_found_before_a_file_is_looked_at(root, monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("the folder was walked")

    monkeypatch.setattr(collect, "locate", never)
    with pytest.raises(OptionError, match="on_error='ignore'"):
        datasets.load_dataset("climb", "georgia", data_dir=root, on_error="ignore")


@given(
    name=st.sampled_from([name for name in OPTIONS if name != "data_dir"]),
    value=st.one_of(
        st.text(max_size=8),
        st.integers(),
        st.floats(),
        st.booleans(),
        st.lists(st.integers(), max_size=2),
        st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
        st.binary(max_size=4),
    ),
)
@settings(max_examples=150, deadline=None)
def test_any_value_is_taken_or_refused_in_our_words(name, value):
    folder = Path(__file__).parent  # no raw data there
    try:
        builder = ClimbBuilder(config_name="georgia", data_dir=str(folder), **{name: value})
    except ClimbError as error:
        assert isinstance(error, OptionError)
        assert name in str(error)
    else:
        if name != "decode":
            assert getattr(builder.config, name) == value


# --- right values ------------------------------------------------------------------------------


def test_the_options_are_the_documented_ones():
    assert set(OPTIONS) == DOCUMENTED


def test_every_option_is_described():
    from climb_hf import builder

    described = f"{ClimbConfig.__doc__} {builder.ClimbBuilder.__doc__} data_dir: "
    assert all(re.search(rf"\b{name}: ", described) for name in OPTIONS)


@pytest.mark.parametrize("name", [name for name in OPTIONS if name not in ("data_dir", "decode")])
def test_none_is_the_default(root, road, name):
    found = road("climb", "georgia", data_dir=root, split="train", **{name: None})
    plain = datasets.load_dataset("climb", "georgia", data_dir=root, split="train")
    assert found.data.table.equals(plain.data.table)


def test_tasks_choose_the_columns(rows_by_split):
    classes = all_rows(rows_by_split(task="classification"))
    asked_rows = all_rows(rows_by_split(task="qa"))
    assert {"label", "labels", "vocabulary"} <= next(iter(classes.values())).keys()
    assert {"prompt", "options", "answer"} <= next(iter(asked_rows.values())).keys()
    labelled = {name for name, row in classes.items() if row["labels"]}
    assert asked_rows.keys() == labelled


@pytest.mark.parametrize("rate_hz", [100, 250.0, 500, 1000])
@pytest.mark.parametrize("length", LENGTHS)
def test_length_and_rate_decide_the_shape(rows_by_split, made, length, rate_hz):
    records = made("georgia").manifests["georgia"]["records"]
    for name, row in all_rows(rows_by_split(length=length, rate_hz=rate_hz)).items():
        (signal,) = row["series"]
        recorded_s = records[name.partition("/")[2]]["n_samples"] / 500
        seconds = 10 if length == "10s" else recorded_s
        assert signal.rate_hz == rate_hz
        assert signal.values.shape == (12, round(seconds * rate_hz))
        assert signal.n_valid == round(min(seconds, recorded_s) * rate_hz)


@pytest.mark.parametrize("rate_hz", [100, 250, 1000])
def test_another_rate_is_the_same_curve(rows_by_split, rate_hz):
    # Where both rates have a sample the band-limited curve is the same, but for the filter's ends.
    plain, moved = (all_rows(rows_by_split(rate_hz=rate)) for rate in (500, rate_hz))
    step = 500 / rate_hz
    for name in plain:
        before, after = (rows[name]["series"][0].values[1] for rows in (plain, moved))
        if np.isnan(before).any() or "padded" in plain[name]["flags"]:
            continue
        shared = after[:: max(1, round(1 / step))] if step < 1 else after
        wanted = before[:: max(1, round(step))]
        inner = slice(len(wanted) // 10, -len(wanted) // 10)
        assert np.corrcoef(shared[inner], wanted[inner])[0, 1] > 0.9


def test_a_rate_is_the_same_as_a_whole_or_a_real_number(rows_by_split):
    whole, real = (all_rows(rows_by_split(rate_hz=rate)) for rate in (250, 250.0))
    for name, row in whole.items():
        np.testing.assert_array_equal(row["series"][0].values, real[name]["series"][0].values)


@pytest.mark.parametrize("label_set", catalog.get("georgia").card.label_sets)
def test_a_label_set_decides_the_classes(root, rows_by_split, label_set):
    found = datasets.load_dataset("climb", "georgia", data_dir=root, label_set=label_set)
    names = found["train"].features["labels"].feature.names
    default = all_rows(rows_by_split())
    assert len(set(names)) == len(names)
    for name, row in {row["id"]: row for part in found.values() for row in part}.items():
        assert row["native_labels"] == default[name]["native_labels"]
        lists = [row[word] for word in ("labels", "labels_negative", "labels_uncertain")]
        assert sum(map(len, lists)) == len({one for several in lists for one in several})
        assert row["label"] == (row["labels"][0] if len(row["labels"]) == 1 else None)
        if label_set == "native" and row["labels"]:
            assert {names[one] for one in row["labels"]} <= set(row["native_labels"])


@pytest.mark.parametrize("rule", SPLIT_RULES)
def test_a_split_rule_places_every_record_once(made, tmp_path, rule):
    # ptb_xl publishes folds and patients, so that every rule has something to go by.
    tree = made("ptb_xl")
    records = tree.manifests["ptb_xl"]["records"]
    patients = sorted({facts["patient_id"] for facts in records.values()})
    listed = {
        name: ("train", "val", "validation")[patients.index(facts["patient_id"]) % 3]
        for name, facts in records.items()
    }
    file = tmp_path / "splits.csv"
    rows = "".join(f"{name}.mat,{split}\n" for name, split in listed.items())
    file.write_text(f"file_name,split\n{rows}")
    options = {"ptb_xl": {"split_csv": file}} if rule == "csv" else {}  # a Path serves too
    found = datasets.load_dataset(
        "climb", "ptb_xl", data_dir=str(tree.root), split_rule=rule, options=options
    )
    placed = [(row["id"], str(name)) for name, part in found.items() for row in part]
    origins = {origin for part in found.values() for origin in part["split_origin"]}
    wanted = {"official": "official", "csv": "user"}.get(rule, "derived")
    assert len(dict(placed)) == len(placed)
    assert {f"ptb_xl/{name}" for name in records} <= dict(placed).keys()
    assert wanted in origins
    assert origins <= {wanted, "derived"}
    if rule == "csv":
        words = {"val": "test"}  # as CLIMB writes it
        for name, split in listed.items():
            assert dict(placed)[f"ptb_xl/{name}"] == words.get(split, split)


def test_a_split_whose_every_record_is_damaged_is_left_out(made, tmp_path):
    shutil.copytree(Path(made("georgia").root, "georgia"), tmp_path / "georgia")
    header = next(tmp_path.rglob("E00002.hea"))
    header.write_text(header.read_text().replace("mV", "mmHg"))  # seen when samples are read
    (tmp_path / "splits.csv").write_text("file_name,split\nE00002,validation\n")
    options = {"georgia": {"split_csv": str(tmp_path / "splits.csv")}}
    more = {"data_dir": str(tmp_path), "split_rule": "csv", "options": options}
    found = datasets.load_dataset("climb", "georgia", **more)
    assert set(found) == {"train", "test"}
    assert "E00002" in {fault.record for r in climb_hf.load_report(found) for fault in r.faults}


def test_no_split_rule_is_the_cards(made):
    root = str(made("ptb_xl").root)
    plain = datasets.load_dataset("climb", "ptb_xl", data_dir=root)
    named = datasets.load_dataset("climb", "ptb_xl", data_dir=root, split_rule="official")
    for name, part in plain.items():
        assert part["id"][:] == named[name]["id"][:]


def test_a_split_csv_that_is_not_there_is_named(root, road, streaming):
    with pytest.raises(OptionError, match=r"split_csv.*there is no file nowhere\.csv"):
        road(
            "climb",
            "georgia",
            data_dir=root,
            streaming=streaming,
            split_rule="csv",
            options={"georgia": {"split_csv": "nowhere.csv"}},
        )


def test_on_error_skip_goes_on_and_raise_stops(root, made, streaming, rows_by_split):
    manifest = made("georgia").manifests["georgia"]
    n_damaged = sum(fault["kind"] == "damaged" for fault in manifest["faults"].values())
    assert n_damaged
    assert len(all_rows(rows_by_split(on_error="skip"))) == len(manifest["records"])
    with pytest.raises(CorruptFileError, match=r"on_error='skip'"):
        found = datasets.load_dataset(
            "climb", "georgia", data_dir=root, on_error="raise", streaming=streaming
        )
        [row for part in found.values() for row in part]


def test_max_error_rate_is_a_share_of_the_records_seen(root, made, monkeypatch, caplog):
    manifest = made("georgia").manifests["georgia"]
    damaged = sum(fault["kind"] == "damaged" for fault in manifest["faults"].values())
    share = damaged / (damaged + len(manifest["records"]))
    monkeypatch.setattr(collect, "MIN_SEEN", 10)  # the made tree is small
    caplog.set_level(logging.CRITICAL)
    assert datasets.load_dataset("climb", "georgia", data_dir=root, max_error_rate=share + 0.01)
    with pytest.raises(TooManyBadRecordsError, match=f"{damaged} of"):
        datasets.load_dataset("climb", "georgia", data_dir=root, max_error_rate=share - 0.01)


@pytest.mark.parametrize("value", [0, 0.0, 1, 1.0])
def test_max_error_rate_may_be_nothing_or_all(root, value):
    # Below 200 records seen the share is not judged.
    assert datasets.load_dataset("climb", "georgia", data_dir=root, max_error_rate=value)


def loadable(cases):
    """Those of sources that have a made tree; all but one source are slow."""
    return [
        pytest.param(*case, marks=() if case[0] == "georgia" else pytest.mark.slow)
        for case in cases
        if (FAKES / f"{case[0]}.py").is_file()
    ]


@pytest.mark.parametrize(("source", "name", "value"), loadable(CHOICES))
def test_every_choice_of_a_source_loads(made, source, name, value):
    root = str(made(source).root)
    task = "qa" if name == "question" else "classification"
    found = datasets.load_dataset(
        "climb", source, data_dir=root, task=task, options={source: {name: value}}
    )
    assert sum(map(len, found.values()))
    if name == "question":
        assert {row["answer_type"] for part in found.values() for row in part} == {value}


SWITCHES = [
    (source, name) for source, name in OWN if catalog.get(source).card.options[name].kind is bool
]
OF_LABELS = [(s, n) for s, n in SWITCHES if n in ("normal_exclusive", "axis_as_hyp")]


@pytest.mark.parametrize(("source", "name"), loadable(SWITCHES))
@pytest.mark.parametrize("value", [False, True])
def test_every_switch_loads_either_way(made, source, name, value):
    found = datasets.load_dataset(
        "climb", source, data_dir=str(made(source).root), options={source: {name: value}}
    )
    assert sum(map(len, found.values()))


@pytest.mark.parametrize(("source", "name"), loadable(OF_LABELS))
def test_a_switch_of_labels_changes_nothing_else(made, source, name):
    root = str(made(source).root)
    off, on = (
        {
            row["id"]: row
            for part in datasets.load_dataset(
                "climb", source, data_dir=root, decode=False, options={source: {name: value}}
            ).values()
            for row in part
        }
        for value in (False, True)
    )
    assert off.keys() == on.keys()
    changed = {column for key in off for column in off[key] if off[key][column] != on[key][column]}
    assert changed <= {"label", "labels", "labels_negative"}


def test_options_of_several_sources_go_to_each(ecg_tree):
    found = datasets.load_dataset(
        "climb",
        "ecg",
        data_dir=str(ecg_tree.root),
        task="qa",
        options={"georgia": {"question": "choice"}, "cpsc": {"windows": "all"}},
    )
    rows = [row for part in found.values() for row in part]
    asked_by = {(row["source"], row["answer_type"]) for row in rows}
    assert asked_by == {
        *(("georgia", "choice"), ("cpsc", "set")),
        *(("ptb_xl", "set"), ("chapman_shaoxing", "set")),
    }
    assert any(row["id"].count("/") == 2 for row in rows if row["source"] == "cpsc")


PLACES = {
    "text": str,
    "path": Path,
    "slash-at-the-end": lambda root: f"{root}/",
    "with-dots": lambda root: f"{root}/../{Path(root).name}",
}


@pytest.mark.parametrize("spell", PLACES.values(), ids=PLACES)
def test_a_folder_can_be_spelt_in_ways(root, road, spell, rows_by_split):
    found = road("climb", "georgia", data_dir=spell(root))
    assert ids({str(name): list(part) for name, part in found.items()}) == ids(rows_by_split())


def test_a_folder_at_home_can_be_spelt_by_a_tilde(root, road, monkeypatch, rows_by_split):
    monkeypatch.setenv("HOME", str(Path(root).parent))
    found = road("climb", "georgia", data_dir=f"~/{Path(root).name}")
    assert ids({str(name): list(part) for name, part in found.items()}) == ids(rows_by_split())


# --- variants ----------------------------------------------------------------------------------


@pytest.fixture
def with_variants():
    """Georgia's card with two forms of it."""
    source = catalog.get("georgia")
    forms = {"plain": "as released", "filtered": "made up for this test"}
    with catalog.standing_in(replace(source, card=replace(source.card, variants=forms))):
        yield forms


@pytest.mark.parametrize("word", ["plain", "filtered"])
def test_every_misspelling_of_a_variant_is_refused(tmp_path, with_variants, word):
    for typo in typos(word, with_variants):
        load = asked(tmp_path, variant=typo)
        refused(load, "variant of source 'georgia'", typo, with_variants, word)


def test_a_reader_is_told_the_variant(root, with_variants):
    source, told = catalog.get("georgia"), []

    def read(tree, options):
        told.append(options["variant"])
        yield from source.read(tree, options)

    with catalog.standing_in(replace(source, read=read)):
        for more in ({}, {"variant": "plain"}, {"variant": "filtered"}):
            next(
                iter(
                    climb_hf.load_dataset(
                        "climb", "georgia", data_dir=root, streaming=True, split="train", **more
                    )
                )
            )
    assert told == ["plain", "plain", "filtered"]


# --- cards and sources -------------------------------------------------------------------------

ENUMS = {"modality": Modality, "access": Access, "proof": Proof}


@pytest.mark.parametrize("name", ENUMS)
def test_a_wrong_enum_word_of_a_card_names_the_nearest(name):
    assert issubclass(ENUMS[name], StrEnum)
    card, words = catalog.get("georgia").card, list(map(str, ENUMS[name]))
    for word in words:
        for typo in typos(word, words)[:6]:
            with pytest.raises(CardError) as caught:
                replace(card, **{name: typo})
            said = str(caught.value)
            assert f"{name}={typo!r} is not a {ENUMS[name].__name__}, one of: " in said
            offered = re.search(r"Did you mean '(.+)'\?", said)
            assert offered
            assert offered[1] == word or letters_apart(offered[1], typo) <= 2


@pytest.mark.parametrize("name", ["all", "ecg", "ultrasound"])
def test_a_source_that_is_called_as_a_group_is_refused(name):
    with pytest.raises(CardError, match="neither a modality nor 'all'"):
        replace(catalog.get("georgia").card, name=name)


def test_a_choice_that_is_no_text_is_refused_and_taken_by_value():
    card = replace(catalog.get("georgia").card, options={"n": Option(1, "how many", (1, 2), int)})
    assert card.check_options({"n": 2}) == {"n": 2}
    for wrong in ("2", 3, 2.5):
        with pytest.raises(OptionError, match=r"\['n'\]=.* is not one of: 1, 2"):
            card.check_options({"n": wrong})


A_SOURCE = """
from dataclasses import replace
from climb_hf.builders import georgia
from climb_hf.lazy import builder_of

CARD = replace(georgia.CARD, name={name!r}, title={title!r})
read = georgia.read
__getattr__ = builder_of(__name__)
"""


@pytest.fixture
def add(tmp_path):
    """A function that writes a source file and makes it known; all are gone after the test."""
    added = []

    def write(path, name, title="A source of one's own"):
        file = tmp_path / path
        file.parent.mkdir(exist_ok=True)
        file.write_text(A_SOURCE.format(name=name, title=title))
        added.append(catalog.add_file(file))
        return file

    yield write
    for name in added:
        catalog.forget(name)


def test_a_file_is_added_once_however_often_it_is_named(add, monkeypatch):
    file = add("mine.py", "mine")
    monkeypatch.chdir(file.parent)
    for spelt in (str(file), file, "mine.py", f"{file.parent}/../{file.parent.name}/mine.py"):
        assert catalog.add_file(spelt) == "mine"
    assert list(catalog.sources()).count("mine") == 1


def test_a_name_that_is_shipped_is_refused_and_both_places_are_named(add, tmp_path):
    with pytest.raises(CardError, match=r"'georgia' is known already, from .*georgia\.py.*theirs"):
        add("theirs.py", "georgia")
    assert catalog.get("georgia").module.__name__ == "climb_hf.builders.georgia"


def test_two_files_of_one_name_are_refused_and_both_are_named(add):
    first = add("one.py", "mine")
    with pytest.raises(CardError, match=rf"'mine' is known already, from {re.escape(str(first))}"):
        add("two.py", "mine")
    assert Path(catalog.get("mine").module.__file__) == first


def test_a_module_added_twice_is_refused(add):
    add("mine.py", "mine")
    with pytest.raises(CardError, match="known already"):
        catalog.add(catalog.get("mine").module)


def test_two_files_of_one_stem_are_two_sources(add, root):
    add("a/source.py", "first", title="The first")
    add("b/source.py", "second", title="The second")
    for name in ("first", "second"):
        builder = catalog.get(name).module.Builder(data_dir=root)
        assert builder.config.name == name
        assert list(builder.config.sources) == [name]


def test_a_file_that_is_refused_leaves_nothing_behind(tmp_path):
    import sys

    before = set(sys.modules)
    file = tmp_path / "half.py"
    for content in ("CARD = None\n", "raise RuntimeError('not ready')\n"):
        file.write_text(content)
        with pytest.raises((CardError, RuntimeError)):
            catalog.add_file(file)
        assert not [name for name in set(sys.modules) - before if "half" in name]
    file.write_text(A_SOURCE.format(name="half", title="Whole"))
    try:
        assert catalog.add_file(file) == "half"
    finally:
        catalog.forget("half")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"no source file at .*nowhere\.py"):
        catalog.add_file(tmp_path / "nowhere.py")
