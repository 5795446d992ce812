"""`load_dataset`: slices, tasks, configs, roots, real data, and that old rows are never served."""

import os
import re
import shutil
from pathlib import Path

import datasets
import numpy as np
import pytest

import climb_hf
from climb_hf import builder
from climb_hf.errors import DataNotFoundError, OptionError

pytest.importorskip("wfdb")


@pytest.fixture(scope="module")
def root(ecg_tree):
    return str(ecg_tree.root)


@pytest.fixture(scope="module")
def georgia(root):
    return datasets.load_dataset("climb", "georgia", data_dir=root)


@pytest.fixture
def own_georgia(ecg_tree, tmp_path):
    """A copy of Georgia's tree that a test may change."""
    return shutil.copytree(ecg_tree.root / "georgia", tmp_path / "georgia")


def ids(found):
    parts = found.values() if isinstance(found, dict) else [found]
    return {row["id"] for part in parts for row in part}


def by_id(found):
    return {row["id"]: row for part in found.values() for row in part}


def test_both_roads_give_the_same_table(georgia, root):
    found = climb_hf.load_dataset("climb", "georgia", data_dir=root)
    for name, part in found.items():
        assert part.data.table.equals(georgia[name].data.table)
        assert part.features == georgia[name].features


def test_a_stream_has_the_features_and_rows_of_the_table(georgia, root):
    found = climb_hf.load_dataset("climb", "georgia", data_dir=root, streaming=True)
    assert found["train"].features == georgia["train"].features
    assert ids(found) == ids(georgia)


def test_a_stream_takes_a_split(georgia, root):
    found = datasets.load_dataset("climb", "georgia", data_dir=root, streaming=True, split="test")
    assert ids(found) == ids(georgia["test"])


def test_a_slice_is_the_first_rows_of_its_split(georgia, root):
    found = datasets.load_dataset("climb", "georgia", data_dir=root, split="train[:3]")
    assert found["id"] == georgia["train"]["id"][:3]


def test_two_splits_can_be_joined(georgia, root):
    found = datasets.load_dataset("climb", "georgia", data_dir=root, split="train+test")
    assert found["id"] == [*georgia["train"]["id"], *georgia["test"]["id"]]
    assert found[0]["series"][0].values.shape == (12, 5000)


def test_undecoded_series_are_what_is_stored(georgia, root):
    found = datasets.load_dataset("climb", "georgia", data_dir=root, decode=False, split="train")
    stored = found[0]["series"][0]
    assert (stored["dtype"], stored["shape"], len(stored["data"])) == ("<i2", [12, 5000], 120_000)
    assert found.data.table.equals(georgia["train"].data.table)


def test_classes_are_named(georgia):
    names = georgia["train"].features["labels"].feature.names
    assert names == ["normal", "cd", "mi", "sttc", "other", "afib", "hyp"]


def test_the_qa_view_has_only_questions(root):
    found = datasets.load_dataset("climb", "ecg", data_dir=root, task="qa")
    for part in found.values():
        assert "labels" not in part.column_names
        assert all(part["prompt"])
        assert all(part["answer"])


def test_a_group_holds_the_rows_of_its_sources(georgia, root):
    group = datasets.load_dataset("climb", "ecg", data_dir=root)
    for name, part in georgia.items():
        chosen = {i for i in group[name]["id"] if i.startswith("georgia/")}
        assert chosen == set(part["id"])
        assert group[name].features == part.features


def test_a_group_takes_what_is_there(ecg_tree, tmp_path, georgia):
    (tmp_path / "georgia").symlink_to(ecg_tree.root / "georgia")
    assert ids(datasets.load_dataset("climb", "ecg", data_dir=str(tmp_path))) == ids(georgia)


def test_the_folder_of_a_source_can_be_named_itself(ecg_tree, georgia):
    found = datasets.load_dataset("climb", "georgia", data_dir=str(ecg_tree.root / "georgia"))
    assert ids(found) == ids(georgia)


def test_a_relative_folder_serves(root, georgia, monkeypatch):
    monkeypatch.chdir(Path(root).parent)
    found = datasets.load_dataset("climb", "georgia", data_dir=Path(root).name)
    assert ids(found) == ids(georgia)


def test_the_environment_variable_names_the_root(root, georgia, monkeypatch):
    monkeypatch.setenv("CLIMB_DATA_DIR", root)
    assert ids(datasets.load_dataset("climb", "georgia")) == ids(georgia)


def test_another_root_by_the_variable_serves_other_rows(root, own_georgia, georgia, monkeypatch):
    monkeypatch.setenv("CLIMB_DATA_DIR", root)
    datasets.load_dataset("climb", "georgia")
    next(own_georgia.rglob("E00002.hea")).unlink()
    next(own_georgia.rglob("E00002.mat")).unlink()
    monkeypatch.setenv("CLIMB_DATA_DIR", str(own_georgia))
    assert ids(datasets.load_dataset("climb", "georgia")) == ids(georgia) - {"georgia/E00002"}


def test_data_dir_goes_before_the_variable(root, georgia, monkeypatch, tmp_path):
    monkeypatch.setenv("CLIMB_DATA_DIR", str(tmp_path))
    assert ids(datasets.load_dataset("climb", "georgia", data_dir=root)) == ids(georgia)


def test_no_root_at_all_says_what_to_do(monkeypatch):
    monkeypatch.delenv("CLIMB_DATA_DIR", raising=False)
    with pytest.raises(DataNotFoundError, match=r"data_dir=.*CLIMB_DATA_DIR.*physionet"):
        datasets.load_dataset("climb", "georgia")


@pytest.mark.parametrize("load", [datasets.load_dataset, climb_hf.load_dataset])
def test_an_unknown_option_names_the_nearest(root, load):
    with pytest.raises(OptionError, match=r"no option 'taks'.*Did you mean 'task'\?"):
        load("climb", "georgia", data_dir=root, taks="qa")


WRONG = {
    "task": {"task": "segmentation"},
    "length": {"length": "10"},
    "rate-0": {"rate_hz": 0},
    "rate-nan": {"rate_hz": float("nan")},
    "rate-text": {"rate_hz": "500"},
    "on_error": {"on_error": "ignore"},
    "split_rule": {"split_rule": "random"},
    "label_set": {"label_set": "ptbxl_super5"},
    "options-of-another-source": {"options": {"cpsc": {"windows": "all"}}},
    "options-value": {"options": {"georgia": {"question": "yes/no"}}},
    "csv-without-file": {"split_rule": "csv"},
    "official-without-lists": {"split_rule": "official"},
}


@pytest.mark.parametrize("more", WRONG.values(), ids=WRONG)
def test_a_wrong_value_is_refused(root, more):
    with pytest.raises(OptionError):
        datasets.load_dataset("climb", "georgia", data_dir=root, **more)


# --- never old rows --------------------------------------------------------------------------


def test_an_equal_call_is_served_from_the_cache(georgia, root):
    found = datasets.load_dataset("climb", "georgia", data_dir=root)
    assert found.cache_files == georgia.cache_files


def test_a_changed_header_of_the_same_size_serves_new_labels(own_georgia):
    before = by_id(datasets.load_dataset("climb", "georgia", data_dir=str(own_georgia)))
    header = next(own_georgia.rglob("E00002.hea"))
    text = header.read_text()
    header.write_text(text.replace("164889003", "164873001"))  # fibrillation to hypertrophy
    assert header.stat().st_size == len(text)
    after = by_id(datasets.load_dataset("climb", "georgia", data_dir=str(own_georgia)))
    assert [before["georgia/E00002"]["labels"], after["georgia/E00002"]["labels"]] == [[5], [6]]


def test_a_changed_signal_serves_new_samples(own_georgia):
    before = by_id(datasets.load_dataset("climb", "georgia", data_dir=str(own_georgia)))
    signal = next(own_georgia.rglob("E00002.mat"))
    content = bytearray(signal.read_bytes())
    content[24:26] = (1234).to_bytes(2, "little")
    signal.write_bytes(content)
    after = by_id(datasets.load_dataset("climb", "georgia", data_dir=str(own_georgia)))
    first = [rows["georgia/E00002"]["series"][0].values[0, 0] for rows in (before, after)]
    assert first[0] != first[1] == np.float32(1.234)


def test_a_new_file_serves_a_new_row(own_georgia):
    where = str(own_georgia)
    before = ids(datasets.load_dataset("climb", "georgia", data_dir=where))
    header = next(own_georgia.rglob("E00002.hea"))
    new = header.with_name("E00777.hea")
    new.write_text(header.read_text().replace("E00002", "E00777"))
    shutil.copy(header.with_suffix(".mat"), new.with_suffix(".mat"))
    after = ids(datasets.load_dataset("climb", "georgia", data_dir=where))
    assert after - before == {"georgia/E00777"}


def test_an_unrelated_file_changes_no_cache(own_georgia):
    where = str(own_georgia)
    before = datasets.load_dataset("climb", "georgia", data_dir=where)
    (own_georgia / "notes.txt").write_text("not ours")
    assert datasets.load_dataset("climb", "georgia", data_dir=where).cache_files == (
        before.cache_files
    )


def test_a_changed_reader_gets_another_cache(georgia, root, monkeypatch):
    monkeypatch.setattr(builder, "code_digest", lambda: "0" * 32)
    found = climb_hf.load_dataset("climb", "georgia", data_dir=root)
    folders = {Path(f["filename"]).parent for part in found.values() for f in part.cache_files}
    used = {Path(f["filename"]).parent for part in georgia.values() for f in part.cache_files}
    assert not folders & used


def test_the_digest_of_the_code_follows_what_makes_a_row(monkeypatch, tmp_path):
    package = tmp_path / "climb_hf"
    shutil.copytree(Path(climb_hf.__file__).parent, package)
    monkeypatch.setattr(climb_hf, "__file__", str(package / "__init__.py"))
    seen = {builder.code_digest()}
    for name in ("labels.py", "io/signal.py", "vocabularies/snomed_ecg.csv"):
        with (package / name).open("a") as file:
            file.write("\n")
        seen.add(builder.code_digest())
    assert len(seen) == 4


def test_an_option_gives_another_cache(root):
    whole = datasets.load_dataset("climb", "cpsc", data_dir=root)
    cut = datasets.load_dataset(
        "climb", "cpsc", data_dir=root, options={"cpsc": {"windows": "all"}}
    )
    assert len(ids(cut)) > len(ids(whole))


# --- report ----------------------------------------------------------------------------------


def test_the_report_comes_back_from_the_cache(root, ecg_tree):
    for _ in range(2):
        found = datasets.load_dataset("climb", "ecg", data_dir=root)
        reports = {report.source: report for report in climb_hf.load_report(found)}
        assert set(reports) == set(ecg_tree.manifests)
        assert reports["georgia"].count("damaged") == 5


def test_the_report_of_one_split_is_that_of_the_whole(georgia):
    assert climb_hf.load_report(georgia["test"]) == climb_hf.load_report(georgia)


def test_another_data_set_has_no_report():
    assert climb_hf.load_report(datasets.Dataset.from_dict({"x": [1]})) == []


# --- real recordings -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real_ecg(real_data):
    return real_data / "ecg"


@pytest.fixture(scope="module")
def real(real_ecg):
    return datasets.load_dataset("climb", "ecg", data_dir=str(real_ecg))


def names_on_disk(folder):
    """Ids by the files alone: E = georgia, HR = ptb_xl, JS = chapman_shaoxing, A = cpsc."""
    sources = {"E": "georgia", "HR": "ptb_xl", "JS": "chapman_shaoxing", "A": "cpsc"}
    stems = [p.stem for p in folder.rglob("*.mat")]
    return {f"{sources[re.match('[A-Z]+', stem)[0]]}/{stem}" for stem in stems}


def test_the_real_records_are_these_40_and_no_other(real, real_ecg):
    assert len(names_on_disk(real_ecg)) == 40
    assert ids(real) == names_on_disk(real_ecg)


def test_the_patients_of_the_real_records_are_unknown(real):
    for row in by_id(real).values():
        assert row["patient_id"] is None
        assert "patient_unknown" in row["flags"]


def test_the_real_records_are_read_without_a_fault(real):
    assert not [fault for report in climb_hf.load_report(real) for fault in report.faults]


def test_the_real_pair_of_equal_signals_stays_together(real):
    # E07509.mat and E07510.mat are byte-identical (source card).
    pair = {"georgia/E07509", "georgia/E07510"}
    assert [len(pair & ids(part)) for part in real.values()].count(2) == 1


def test_what_lies_beside_the_real_records_changes_nothing(real, real_ecg, real_data, tmp_path):
    for folder in ("challenge-2021", "cpsc2018-original"):
        (tmp_path / folder).symlink_to(real_ecg / folder)
    for other in ("mitbih", "mimic-wave"):
        shutil.copytree(real_ecg / other, tmp_path / other)
    shutil.copy(real_ecg / "mitbih" / "100.hea", tmp_path / "challenge-2021.hea")
    found = by_id(datasets.load_dataset("climb", "ecg", data_dir=str(tmp_path)))
    for name, row in by_id(real).items():
        other = found.pop(name)
        assert other["labels"] == row["labels"]
        assert np.array_equal(other["series"][0].values, row["series"][0].values, equal_nan=True)
    assert found == {}


def test_real_questions_score_1(real_ecg):
    from climb_hf.answers import parse, set_f1, split_gold

    found = datasets.load_dataset("climb", "ecg", data_dir=str(real_ecg), task="qa")
    for row in by_id(found).values():
        gold = split_gold(row["answer"], row["options"])
        assert set_f1(parse(f"\\boxed{{{row['answer']}}}", row["options"]), gold) == 1.0


def test_the_caches_of_these_tests_are_their_own(georgia):
    used = {f["filename"] for part in georgia.values() for f in part.cache_files}
    assert all(path.startswith(os.environ["HF_HOME"]) for path in used)
