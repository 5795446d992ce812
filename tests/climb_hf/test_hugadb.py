"""HuGaDB on its made tree: units, activities, people, and tables of numbers that are wrong."""

from __future__ import annotations

import numpy as np
import pytest

import climb_hf
from climb_hf import catalog
from climb_hf.answers import parse, set_f1, split_gold
from climb_hf.errors import CorruptFileError
from climb_hf.io.table import read_numbers
from climb_hf.testing import Subject


@pytest.fixture(scope="module")
def tree(made):
    return made("hugadb")


@pytest.fixture(scope="module")
def loaded(tree):
    """A function: record -> (row, split) under some options."""

    def load(**options):
        options = {"data_dir": str(tree.root), "max_error_rate": 1.0, **options}
        found = climb_hf.load_dataset("climb", "hugadb", **options)
        rows = {}
        for split, part in found.items():
            for row in part:
                name = (
                    None if row["label"] is None else part.features["label"].int2str(row["label"])
                )
                rows[row["id"].removeprefix("hugadb/")] = {**row, "label": name, "split": split}
        return rows

    return load


@pytest.fixture(scope="module")
def rows(loaded):
    return loaded()


def table(tree, record):
    """The numbers of a file, as numpy alone reads them."""
    (path,) = tree.root.rglob(f"{record.split('/')[0]}.txt")
    return np.loadtxt(path, skiprows=4, dtype=int)


# --- signals ---------------------------------------------------------------------------------


def test_units_go_by_the_sensor(rows, tree):
    """+-2 g and +-2000 deg/s on 16 bits (the readme); EMG as it was recorded."""
    record = "HuGaDB_v2_sitting_01_00/0"
    (signal,) = rows[record]["series"]
    numbers = table(tree, record)[:256, :38].T
    assert signal.units[:7] == ("g", "g", "g", "deg/s", "deg/s", "deg/s", "g")
    assert signal.units[36:] == ("adu", "adu")
    assert signal.values[0] == pytest.approx(numbers[0] * 2 / 32768, rel=1e-6)
    assert signal.values[3] == pytest.approx(numbers[3] * 2000 / 32768, rel=1e-6)
    assert np.array_equal(signal.values[36:], numbers[36:])


def test_channels_go_right_foot_shin_thigh_then_left(rows):
    (signal,) = rows["HuGaDB_v2_sitting_01_00/0"]["series"]
    assert signal.channels[:6] == tuple(f"{kind}_rf_{a}" for kind in ("acc", "gyro") for a in "xyz")
    places = [name.split("_")[1] for name in signal.channels[:36:6]]
    assert " ".join(places) == "rf rs rt lf ls lt"
    assert signal.channels[36:] == ("EMG_r", "EMG_l")


def test_windows_are_256_rows_and_half_overlap(rows, tree):
    stem = "HuGaDB_v2_sitting_01_00"
    numbers = table(tree, stem)[:, 36]
    for window, start in ((0, 0), (2, 256)):
        (signal,) = rows[f"{stem}/{window}"]["series"]
        assert np.array_equal(signal.values[36], numbers[start : start + 256])
        assert signal.start_s == pytest.approx(start / 58.8)


def test_codes_are_stored_as_they_were_recorded(loaded):
    row = loaded(decode=False)["HuGaDB_v2_sitting_01_00/0"]
    assert row["series"][0]["dtype"] == "<i2"


# --- activities ------------------------------------------------------------------------------


def test_a_window_without_one_activity_in_four_fifths_is_not_used(rows):
    """The activity changes at row 300: rows 128 to 384 hold 67 % of the first."""
    stem = "HuGaDB_v2_sitting_01_00"
    assert {name for name in rows if name.startswith(stem)} == {f"{stem}/0", f"{stem}/2"}
    assert (rows[f"{stem}/0"]["label"], rows[f"{stem}/2"]["label"]) == ("sitting", "standing up")


def test_four_activities_leave_the_others_out(rows):
    stem = "HuGaDB_v2_standing_02_00"  # ends walking
    assert {name for name in rows if name.startswith(stem)} == {f"{stem}/0"}


def test_twelve_activities_have_them_all(loaded, rows):
    every = loaded(label_set="hugadb12")
    assert every["HuGaDB_v2_standing_02_00/2"]["label"] == "walking"
    assert set(rows) < set(every)
    assert every["HuGaDB_v2_sitting_01_00/0"]["label"] == "sitting"


def test_an_activity_beyond_twelve_is_reported_and_no_class(rows, tree):
    subject = Subject(catalog.get("hugadb"), tree.root)
    assert subject.index()[1].unknown_codes == {"13": 3}
    subject.close()
    unknown = [row for row in rows.values() if row["native_labels"] == ["13"]]
    assert len(unknown) == 3
    assert {row["label"] for row in unknown} == {None}


# --- people ----------------------------------------------------------------------------------


@pytest.mark.parametrize("split_rule", [None, "hash"])
def test_a_participant_is_in_one_split(loaded, split_rule):
    splits = {}
    for row in loaded(split_rule=split_rule).values():
        splits.setdefault(row["patient_id"], set()).add(row["split"])
    assert max(map(len, splits.values())) == 1
    assert split_rule or set.union(*splits.values()) == {"train", "test"}


def test_participant_and_tag_are_read_from_the_right(rows):
    row = rows["HuGaDB_v2_sitting_and_standing_01_01/0"]
    assert row["patient_id"] == "01"
    assert row["meta"]["tag"] == "sitting_and_standing"
    assert row["meta"]["Date"] == "2017-02-09 10-24-31"


def test_gold_answers_score_1(tree):
    found = climb_hf.load_dataset(
        "climb", "hugadb", data_dir=str(tree.root), task="qa", max_error_rate=1.0
    )
    for row in found["train"]:
        assert row["options"] == ["sitting", "standing", "sitting down", "standing up"]
        assert "What is the person doing?" in row["prompt"][0]["content"]
        gold = split_gold(row["answer"], row["options"])
        assert set_f1(parse(f"\\boxed{{{row['answer']}}}", row["options"]), gold) == 1


# --- files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("special", ["comma_separated", "no_notes", "no_final_newline"])
def test_other_forms_of_the_file_read_alike(rows, tree, special):
    stem = tree.manifests["hugadb"]["specials"][special]
    assert f"{stem}/0" in rows


def test_a_missing_value_is_an_invalid_sample(tree, tmp_path):
    (path,) = tree.root.rglob("HuGaDB_v2_sitting_01_00.txt")
    lines = path.read_text().splitlines()
    cells = lines[4 + 100].split("\t")
    cells[3] = "nan"
    lines[4 + 100] = "\t".join(cells)
    (tmp_path / path.name).write_text("\n".join(lines) + "\n")
    found = climb_hf.load_dataset("climb", "hugadb", data_dir=str(tmp_path))
    row = next(row for part in found.values() for row in part if row["id"].endswith("_00/0"))
    assert row["flags"] == ["invalid_samples"]
    values = row["series"][0].values
    assert np.argwhere(np.isnan(values)).tolist() == [[3, 100]]
    assert values[0, 100] == np.float32(float(cells[0]) * 2 / 32768)


def test_every_bad_file_says_what_is_wrong_with_it(tree):
    subject = Subject(catalog.get("hugadb"), tree.root)
    told = {fault.record: fault.reason for fault in subject.index()[1].faults}
    subject.close()
    wanted = {
        "short_row": "columns changed from 39 to 3",
        "word_in_a_row": "word",
        "short_rows_everywhere": "has 38 columns of numbers, expected 39",
        "no_rows": "holds no row of numbers",
        "zero_bytes": "holds no row of numbers",
    }
    by_name = {f["what"]: r for r, f in tree.manifests["hugadb"]["faults"].items()}
    assert wanted.keys() == by_name.keys()
    for name, words in wanted.items():
        assert words in told[by_name[name]], name


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1\t2\n3\t4\n", [[1, 2], [3, 4]]),
        ("1,2\n", [[1, 2]]),
        ("#note here\na\tb\n1\t2", [[1, 2]]),
        ("\ufeff1,2\r\n3,4\r\n", [[1, 2], [3, 4]]),
        ("1.5\t-2e3\t\n", [[1.5, -2000]]),
    ],
)
def test_a_table_of_numbers_is_read(tmp_path, text, values):
    path = tmp_path / "table.txt"
    path.write_text(text, encoding="utf-8", newline="")
    assert read_numbers(path, 2).values.tolist() == values


def test_notes_are_kept_by_their_first_word(tmp_path):
    path = tmp_path / "table.txt"
    path.write_text("#Activity\ta b \n#Empty\n#Date-Time 1 2\n1,2\n")
    assert read_numbers(path, 2).notes == {"Activity": "a b", "Date-Time": "1 2"}


@pytest.mark.parametrize("content", [b"", b"#only a note\n", b"a,b\n", b"\xff\xfe1,2", b"1,2\n3\n"])
def test_what_is_no_table_of_numbers_is_refused(tmp_path, content):
    path = tmp_path / "table.txt"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"table\.txt"):
        read_numbers(path, 2)
