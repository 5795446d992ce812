"""Bad input: a clear error, or a counted skip with the good records beside it all there."""

import shutil

import numpy as np
import pytest

import climb_hf
from climb_hf.collect import MIN_SEEN, Report
from climb_hf.errors import CorruptFileError, DataNotFoundError, TooManyBadRecordsError
from climb_hf.schema import Fault

pytest.importorskip("wfdb")


class Tree:
    """A copy of one source's made tree that a test harms."""

    def __init__(self, root, source, manifest):
        self.root, self.source, self.good = root, source, set(manifest["records"])

    def file(self, name):
        (path,) = self.root.rglob(name)
        return path

    def edit(self, name, old, new, count=-1):
        path = self.file(name)
        text = path.read_bytes().decode()
        assert old in text
        path.write_bytes(text.replace(old, new, count).encode())

    def load(self, **more):
        found = climb_hf.load_dataset("climb", self.source, data_dir=str(self.root), **more)
        (report,) = climb_hf.load_report(found)
        rows = {row["id"].split("/", 1)[1]: row for part in found.values() for row in part}
        return rows, report


@pytest.fixture(scope="module")
def clean(tmp_path_factory, load_fake):
    """Trees without a fault, made once; never written to."""
    root = tmp_path_factory.mktemp("clean")
    return {
        name: (root / name, load_fake(name).make(root / name, n=24))
        for name in ("ptb_xl", "chapman_shaoxing", "georgia", "cpsc")
    }


@pytest.fixture
def tree(clean, tmp_path):
    """A function that copies a source's faultless tree."""

    def copy(source):
        where, manifest = clean[source]
        return Tree(shutil.copytree(where, tmp_path / source), source, manifest)

    return copy


@pytest.fixture
def georgia(tree):
    return tree("georgia")


def reason(report, record):
    (fault,) = [fault for fault in report.faults if fault.record == record]
    return fault.kind, fault.reason


# --- a record that is skipped and counted ----------------------------------------------------


def lose_signal(tree):
    tree.file("E00002.mat").unlink()


def lose_header(tree):
    tree.file("E00002.hea").unlink()


def cut_signal(tree):
    path = tree.file("E00002.mat")
    path.write_bytes(path.read_bytes()[:50_001])


def lengthen_signal(tree):
    with tree.file("E00002.mat").open("ab") as file:
        file.write(b"\0" * 24)


def empty_signal(tree):
    tree.file("E00002.mat").write_bytes(b"")


def empty_header(tree):
    tree.file("E00002.hea").write_bytes(b"")


def fuse_header(tree):
    tree.edit("E00002.hea", "5000\n", "5000", 1)


def lose_lead(tree):
    path = tree.file("E00002.hea")
    lines = [line for line in path.read_text().splitlines() if not line.endswith(" V6")]
    path.write_text("\n".join(lines).replace("E00002 12", "E00002 11") + "\n")


def rename_lead(tree):
    tree.edit("E00002.hea", " V6\n", " V7\n")


def name_lead_twice(tree):
    tree.edit("E00002.hea", " V6\n", " V5\n")


def point_to_lfs(tree):
    tree.file("E00002.mat").write_text("version https://git-lfs.github.com/spec/v1\nsize 1\n")


def measure_pressure(tree):
    tree.edit("E00002.hea", "/mV", "/mmHg")


def binary_header(tree):
    tree.file("E00002.hea").write_bytes(bytes(range(256)))


HARMS = {
    "header-without-signal": (lose_signal, r"E00002\.mat"),
    "signal-without-header": (lose_header, "no header"),
    "truncated-mat": (cut_signal, "promises 5000 samples"),
    "mat-too-long": (lengthen_signal, "promises 5000 samples"),
    "empty-mat": (empty_signal, "."),
    "empty-header": (empty_header, "no record line"),
    "fused-header": (fuse_header, "promises 12 leads and lists 11"),
    "lead-missing": (lose_lead, "V6"),
    "lead-renamed": (rename_lead, "V6"),
    "lead-twice": (name_lead_twice, "V6"),
    "lfs-pointer": (point_to_lfs, "git-lfs pointer"),
    "no-voltage": (measure_pressure, "no voltage"),
    "binary-header": (binary_header, r"E00002\.hea"),
}


@pytest.mark.parametrize(("harm", "said"), HARMS.values(), ids=HARMS)
def test_a_damaged_record_is_counted_and_the_others_are_there(georgia, harm, said):
    import re

    harm(georgia)
    rows, report = georgia.load()
    kind, why = reason(report, "E00002")
    assert kind == "damaged"
    assert re.search(said, why)
    assert set(rows) == georgia.good - {"E00002"}
    assert report.good == len(rows)


@pytest.mark.parametrize(("harm", "said"), HARMS.values(), ids=HARMS)
def test_a_damaged_record_stops_the_load_when_asked(georgia, harm, said):
    harm(georgia)
    with pytest.raises(CorruptFileError, match=r"E00002.*on_error='skip'"):
        georgia.load(on_error="raise")


def test_a_stream_skips_the_damaged_and_keeps_the_good(georgia, caplog):
    measure_pressure(georgia)  # seen only when the samples are read
    found = climb_hf.load_dataset("climb", "georgia", data_dir=str(georgia.root), streaming=True)
    rows = {row["id"].split("/")[1] for part in found.values() for row in part}
    assert rows == georgia.good - {"E00002"}
    assert "E00002" in caplog.text


def test_a_record_whose_files_are_all_absent_is_missing_not_damaged(tree):
    ptb_xl = tree("ptb_xl")
    for file in ptb_xl.root.rglob("00002_*"):
        file.unlink()
    rows, report = ptb_xl.load()
    assert reason(report, "00002")[0] == "missing"
    assert set(rows) == ptb_xl.good - {"00002"}


def test_a_missing_record_is_no_error_even_when_one_is_to_be_raised(tree):
    ptb_xl = tree("ptb_xl")
    for file in ptb_xl.root.rglob("00002_*"):
        file.unlink()
    rows, _ = ptb_xl.load(on_error="raise")
    assert set(rows) == ptb_xl.good - {"00002"}


# --- legal but odd ---------------------------------------------------------------------------


def test_lost_samples_are_kept_as_nan_and_flagged(georgia):
    path = georgia.file("E00002.mat")
    content = bytearray(path.read_bytes())
    content[24:26] = (-32768).to_bytes(2, "little", signed=True)  # lead I, first sample
    path.write_bytes(content)
    rows, report = georgia.load()
    values = rows["E00002"]["series"][0].values
    assert np.isnan(values[0, 0])
    assert np.isnan(values).sum() == 1
    assert "invalid_samples" in rows["E00002"]["flags"]
    assert report.faults == []


def test_an_unknown_code_is_counted_and_never_negative(georgia):
    georgia.edit("E00002.hea", "164889003", "999999999")
    rows, report = georgia.load()
    row = rows["E00002"]
    assert (row["labels"], row["labels_negative"], row["native_labels"]) == ([], [], ["999999999"])
    assert report.unknown_codes["999999999"] == 1
    assert set(rows) == georgia.good


@pytest.mark.parametrize("dx", ["", " ", ",", ",,", "Unknown", "NaN", "nan", "N/A"])
def test_an_empty_dx_is_an_unlabelled_record(georgia, dx):
    georgia.edit("E00002.hea", "Dx: 164889003", f"Dx: {dx}")
    rows, report = georgia.load()
    row = rows["E00002"]
    assert (row["label"], row["labels"], row["labels_negative"]) == (None, [], [])
    assert row["native_labels"] == []
    assert report.faults == []


def test_a_header_without_a_dx_line_is_an_unlabelled_record(georgia):
    georgia.edit("E00002.hea", "# Dx: 164889003\n", "")
    rows, _ = georgia.load()
    assert rows["E00002"]["labels"] == rows["E00002"]["labels_negative"] == []


@pytest.mark.parametrize("age", ["NaN", "Unknown", "", "-1", "old", "inf"])
def test_an_unknown_age_is_null(georgia, age):
    georgia.edit("E00002.hea", "Age: 71", f"Age: {age}")
    assert georgia.load()[0]["E00002"]["age_years"] is None


def test_a_signal_named_in_another_folder_is_not_followed(georgia):
    outside = georgia.root.parent / "secret.mat"
    shutil.copy(georgia.file("E00007.mat"), outside)
    georgia.edit("E00002.hea", "E00002.mat", f"../../../../{outside.name}")
    rows, report = georgia.load()
    if "E00002" in rows:  # read from the file beside the header, as the stem says
        own = rows["E00002"]["series"][0].values
        assert not np.array_equal(own, rows["E00007"]["series"][0].values)
    else:
        assert reason(report, "E00002")[0] == "damaged"


# --- tables ----------------------------------------------------------------------------------


def test_a_table_that_is_no_utf8_is_named(tree):
    ptb_xl = tree("ptb_xl")
    with ptb_xl.file("ptbxl_database.csv").open("ab") as file:
        file.write(b"\xff\xfe\x81\n")
    with pytest.raises(CorruptFileError, match=r"ptbxl_database\.csv cannot be read as CSV"):
        ptb_xl.load()


def test_a_table_without_its_column_names_it(tree):
    ptb_xl = tree("ptb_xl")
    ptb_xl.edit("ptbxl_database.csv", "scp_codes", "codes", 1)
    with pytest.raises(CorruptFileError, match="lacks the column 'scp_codes'"):
        ptb_xl.load()


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"<html>not found</html>"])
def test_a_table_that_is_something_else_is_an_error(tree, content):
    ptb_xl = tree("ptb_xl")
    ptb_xl.file("ptbxl_database.csv").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"ptbxl_database\.csv"):
        ptb_xl.load()


def test_a_reference_that_cannot_be_read_is_named(tree):
    cpsc = tree("cpsc")
    cpsc.file("REFERENCE.csv").write_bytes(b"\xff\xfe\x81")
    with pytest.raises(CorruptFileError, match=r"REFERENCE\.csv"):
        cpsc.load()


def test_a_row_that_breaks_off_is_one_damaged_record(tree):
    ptb_xl = tree("ptb_xl")
    path = ptb_xl.file("ptbxl_database.csv")
    path.write_text(path.read_text() + "777,1.0,60.0,0\n")
    rows, report = ptb_xl.load()
    assert reason(report, "00777")[0] == "damaged"
    assert set(rows) == ptb_xl.good


def test_a_table_with_an_order_mark_reads(tree):
    ptb_xl = tree("ptb_xl")
    path = ptb_xl.file("ptbxl_database.csv")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert set(ptb_xl.load()[0]) == ptb_xl.good


@pytest.mark.parametrize("axis", ["LAD", "MID", ""])
def test_codes_that_do_not_parse_leave_a_record_without_labels(tree, axis):
    ptb_xl = tree("ptb_xl")
    text = ptb_xl.file("ptbxl_database.csv").read_text()
    (line,) = [one for one in text.splitlines() if one.startswith("4,")]
    broken = line.replace("{'ASMI': 100.0, 'SR': 0.0}", "{'ASMI': 100.0, 'SR'")
    assert broken != line
    broken = broken.replace(",LAD,", f",{axis},")
    ptb_xl.file("ptbxl_database.csv").write_text(text.replace(line, broken))
    row = ptb_xl.load()[0]["00004"]
    assert (row["label"], row["labels"], row["labels_negative"]) == (None, [], [])
    assert row["meta"]["scp_codes_unparsed"] == "{'ASMI': 100.0, 'SR'"


def test_codes_are_never_run_as_code(tree, tmp_path):
    ptb_xl = tree("ptb_xl")
    text = ptb_xl.file("ptbxl_database.csv").read_text()
    harm = f"__import__('pathlib').Path('{tmp_path}/ran').touch()"
    ptb_xl.file("ptbxl_database.csv").write_text(text.replace("{'ASMI': 100.0, 'SR': 0.0}", harm))
    ptb_xl.load()
    assert not (tmp_path / "ran").exists()


def test_a_file_name_in_the_table_never_leaves_the_folder(tree):
    ptb_xl = tree("ptb_xl")
    outside = ptb_xl.root.parent / "outside"
    outside.mkdir()
    for file in ptb_xl.root.rglob("00004_hr.*"):
        shutil.move(file, outside / file.name)
    ptb_xl.edit("ptbxl_database.csv", "records500/00000/00004_hr", "../../../outside/00004_hr")
    rows, report = ptb_xl.load()
    assert "00004" not in rows
    assert reason(report, "00004")[0] in ("missing", "damaged")


# --- folders ---------------------------------------------------------------------------------


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        climb_hf.load_dataset("climb", "ecg", data_dir=str(tmp_path / "nowhere"))


def test_a_file_in_place_of_a_root_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataNotFoundError, match="file"):
        climb_hf.load_dataset("climb", "ecg", data_dir=str(tmp_path / "file"))


@pytest.mark.parametrize("config", ["georgia", "ecg", "all"])
def test_a_wrong_folder_says_what_was_looked_for(tmp_path, config):
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8")
    with pytest.raises(DataNotFoundError, match=r"Looked for .*E00001\.hea.*physionet"):
        climb_hf.load_dataset("climb", config, data_dir=str(tmp_path))


def test_the_folder_of_another_source_is_a_wrong_folder(georgia):
    with pytest.raises(DataNotFoundError, match="no record of cpsc"):
        climb_hf.load_dataset("climb", "cpsc", data_dir=str(georgia.root))


def test_an_empty_folder_is_a_wrong_folder(tmp_path):
    with pytest.raises(DataNotFoundError, match="no record of georgia"):
        climb_hf.load_dataset("climb", "georgia", data_dir=str(tmp_path))


def test_a_table_whose_signals_are_all_absent_says_so(tree):
    ptb_xl = tree("ptb_xl")
    for file in [*ptb_xl.root.rglob("*.hea"), *ptb_xl.root.rglob("*.dat")]:
        file.unlink()
    with pytest.raises(DataNotFoundError, match="records that its index lists are missing"):
        ptb_xl.load()


# --- too many --------------------------------------------------------------------------------


def test_a_source_without_a_good_record_fails(georgia):
    for file in georgia.root.rglob("*.mat"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(TooManyBadRecordsError, match="24 of 24 records are damaged"):
        georgia.load()


def test_a_source_whose_samples_are_all_unreadable_fails(tree):
    cpsc = tree("cpsc")
    for header in list(cpsc.root.rglob("*.hea")):
        header.with_suffix(".mat").unlink(missing_ok=True)
        header.unlink()
    for file in cpsc.root.rglob("*.mat"):
        file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(TooManyBadRecordsError, match="2 of 2 records are damaged"):
        cpsc.load()


def test_a_failed_load_leaves_no_rows_behind(georgia):
    kept = {file: file.read_bytes() for file in georgia.root.rglob("*.mat")}
    for file in kept:
        file.write_bytes(b"")
    with pytest.raises(TooManyBadRecordsError):
        georgia.load()
    for file, content in kept.items():
        file.write_bytes(content)
    assert set(georgia.load()[0]) == georgia.good


def report(good, damaged=0, missing=0):
    faults = [Fault(f"d{i}", "damaged", "cut") for i in range(damaged)]
    faults += [Fault(f"m{i}", "missing", "absent") for i in range(missing)]
    return Report("georgia", good=good, faults=faults)


def test_the_share_is_judged_from_200_records_on():
    assert MIN_SEEN == 200


# (good, damaged, missing) with a highest share of 0.05
PASSES = {
    "few-seen": (100, 99, 0),
    "just-below-200": (1, 198, 0),
    "exactly-5-percent": (190, 10, 0),
    "missing-is-not-damaged": (190, 10, 5000),
    "all-good": (200, 0, 0),
}


@pytest.mark.parametrize("counts", PASSES.values(), ids=PASSES)
def test_this_many_damaged_records_pass(counts):
    report(*counts).judge(0.05)


@pytest.mark.parametrize(("good", "damaged"), [(189, 11), (900, 100), (0, 1), (0, 0)])
def test_this_many_damaged_records_fail(good, damaged):
    with pytest.raises(TooManyBadRecordsError, match=f"{damaged} of {good + damaged}"):
        report(good, damaged).judge(0.05)


def test_the_error_shows_the_first_three():
    with pytest.raises(TooManyBadRecordsError, match=r"d0: cut; d1: cut; d2: cut$"):
        report(0, 5).judge(0.05)


def test_a_higher_share_can_be_allowed():
    report(100, 100).judge(0.5)


def test_nothing_but_missing_records_is_not_found():
    with pytest.raises(DataNotFoundError, match="all 7 records"):
        report(0, 0, 7).judge(0.05)


def test_questions_of_records_without_labels_are_an_error_that_says_so(tree):
    cpsc = tree("cpsc")
    for file in cpsc.root.rglob("*"):
        if file.is_file() and not (
            file.name.startswith("A") and file.parent.name == "TrainingSet1"
        ):
            file.unlink()
    assert cpsc.load()[0]
    with pytest.raises(DataNotFoundError, match=r"no question can be made.*carry no labels"):
        cpsc.load(task="qa")


def test_a_part_that_is_not_there_is_an_error_that_says_so(tree):
    chapman = tree("chapman_shaoxing")
    for file in chapman.root.rglob("*"):
        if file.is_file() and "ningbo" not in file.parts:
            file.unlink()
    with pytest.raises(TooManyBadRecordsError, match="no record that the options ask for"):
        chapman.load(options={"chapman_shaoxing": {"subset": "chapman"}})


def test_equal_signals_are_found_behind_a_header_of_another_name(tree):
    # S23074.hea names JS23074.mat; its twin has the same samples under an id of its own.
    chapman = tree("chapman_shaoxing")
    header = chapman.file("S23074.hea")
    twin = header.with_name("JS23075.hea")
    twin.write_text(header.read_text().replace("23074", "23075"))
    header.with_name("JS23075.mat").write_bytes(header.with_name("JS23074.mat").read_bytes())
    rows = chapman.load()[0]
    assert all("duplicate_signal" in rows[name]["flags"] for name in ("JS23074", "JS23075"))
