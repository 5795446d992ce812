"""What the four ECG sources do beyond the battery: lengths, rates, label sets, special records."""

import hashlib
import shutil
from collections import Counter, defaultdict

import numpy as np
import pytest

import climb_hf
from climb_hf.answers import parse, set_f1, split_gold
from climb_hf.schema import features_for

pytest.importorskip("wfdb")
SOURCES = ("ptb_xl", "chapman_shaoxing", "georgia", "cpsc")
CLASSES = ("normal", "cd", "mi", "sttc", "other", "afib", "hyp")
STANDARD = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
LABEL_LISTS = ("labels", "labels_negative", "labels_uncertain")


def digest(values):
    return hashlib.sha1(np.ascontiguousarray(values)).hexdigest()


class Loaded:
    """The rows of one load by record, with their splits and the report."""

    def __init__(self, root, source, **more):
        self.dataset = climb_hf.load_dataset("climb", source, data_dir=str(root), **more)
        (self.report,) = climb_hf.load_report(self.dataset)
        self.rows, self.split = {}, {}
        for name, part in self.dataset.items():
            names = part.features["label"].names if "label" in part.features else ()
            for row in part:
                record = row["id"].removeprefix(f"{source}/")
                for column in LABEL_LISTS if names else ():
                    row[column] = [names[index] for index in row[column]]
                self.rows[record], self.split[record] = row, name

    def column(self, name):
        return {record: row[name] for record, row in self.rows.items()}


@pytest.fixture(scope="module")
def load(ecg_tree):
    """A function that loads a source of the made trees; equal calls are answered from memory."""
    memory = {}

    def get(source, **more):
        key = source, repr(sorted(more.items()))
        if key not in memory:
            memory[key] = Loaded(ecg_tree.root, source, **more)
        return memory[key]

    return get


@pytest.fixture(params=SOURCES)
def source(request):
    return request.param


@pytest.fixture
def raw(load, source):
    return load(source, length="raw")


@pytest.fixture
def ten_seconds(load, source):
    return load(source)


@pytest.fixture
def manifest(ecg_tree, source):
    return ecg_tree.manifests[source]


def facts(manifest, name):
    return {record: entry[name] for record, entry in manifest["records"].items()}


def labelled_rows(raw, manifest):
    return {record: raw.rows[record] for record in manifest["records"]}


# --- what the manifests say ------------------------------------------------------------------


def test_capped_ages_are_flagged(raw, manifest):
    rows = labelled_rows(raw, manifest)
    found = {record: "age_capped" in row["flags"] for record, row in rows.items()}
    assert found == facts(manifest, "age_capped")


def test_lengths(raw, manifest):
    found = {
        record: (row["series"][0].values.shape, row["series"][0].n_valid)
        for record, row in labelled_rows(raw, manifest).items()
    }
    assert found == {r: ((12, n), n) for r, n in facts(manifest, "n_samples").items()}


def test_lost_samples_are_nan_and_flagged(raw, manifest):
    for record, n_invalid in facts(manifest, "n_invalid").items():
        row = raw.rows[record]
        assert np.isnan(row["series"][0].values).sum() == n_invalid
        assert ("invalid_samples" in row["flags"]) == (n_invalid > 0)


def test_flat_leads_are_flagged(raw, manifest):
    for record, n_flat in facts(manifest, "n_flat_leads").items():
        assert ("flat_channel" in raw.rows[record]["flags"]) == (n_flat > 0), record


def test_the_report_counts_the_good_records(raw):
    assert raw.report.good == len(raw.rows)


def test_unlabelled_records_are_in_no_list(raw, manifest, source):
    tables = {"251238007", "6180003"}  # codes in neither table of the Challenge
    for record in manifest["unlabelled"]:
        row = raw.rows[record]
        assert not set(row["native_labels"]) - tables - {"axis:MID"}
        assert [row[name] for name in LABEL_LISTS] == [[], [], []], record
        assert row["label"] is None


# --- rows ------------------------------------------------------------------------------------


def test_the_schema_is_that_of_every_ecg_source(raw):
    part = raw.dataset["train"]
    wanted = features_for(["ecg"], CLASSES)
    assert part.data.schema.types == wanted.arrow_schema.types
    assert part.column_names == list(wanted)


def test_leads_are_in_standard_order_in_millivolt(raw):
    for row in raw.rows.values():
        one = row["series"][0]
        assert (one.channels, one.units, one.rate_hz) == (STANDARD, ("mV",) * 12, 500.0)


# --- length and rate -------------------------------------------------------------------------


def test_ten_seconds_are_12_by_5000(ten_seconds, manifest):
    for record, n in facts(manifest, "n_samples").items():
        one = ten_seconds.rows[record]["series"][0]
        assert one.values.shape == (12, 5000)
        assert one.n_valid == min(n, 5000)


def test_ten_seconds_are_the_first_and_padding_is_zero(ten_seconds, raw):
    for record, row in ten_seconds.rows.items():
        one, whole = row["series"][0], raw.rows[record]["series"][0].values[:, :5000]
        assert np.array_equal(one.values[:, : one.n_valid], whole, equal_nan=True)
        assert (one.values[:, one.n_valid :] == 0).all()


def test_cropping_and_padding_are_flagged(ten_seconds, manifest):
    for record, n in facts(manifest, "n_samples").items():
        flags = ten_seconds.rows[record]["flags"]
        assert ("cropped" in flags, "padded" in flags) == (n > 5000, n < 5000)


def test_another_rate(load, source):
    found = load(source, rate_hz=250)
    for row in found.rows.values():
        assert (row["series"][0].values.shape, row["series"][0].rate_hz) == ((12, 2500), 250.0)
        assert "resampled" in row["flags"]


def test_at_100_hz_ptb_xl_reads_its_own_slow_recordings(load, ecg_tree):
    found = load("ptb_xl", rate_hz=100, length="raw")
    wanted = facts(ecg_tree.manifests["ptb_xl"], "signal_sha1_100")
    assert {r: digest(found.rows[r]["series"][0].values) for r in wanted} == wanted
    assert not [r for r, row in found.rows.items() if "resampled" in row["flags"]]


# --- splits ----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES[1:])
def test_sources_without_official_split_derive_one(raw):
    assert {row["split_origin"] for row in raw.rows.values()} == {"derived"}
    assert set(raw.dataset) == {"train", "test"}


@pytest.mark.parametrize("source", SOURCES[1:])
def test_a_fifth_is_held_out_within_one_group(raw):
    n_test = sum(name == "test" for name in raw.split.values())
    assert abs(n_test - len(raw.rows) / 5) <= 2  # a pair of equal signals is one group


def test_equal_signals_of_georgia_stay_together(load, ecg_tree):
    pair = ecg_tree.manifests["georgia"]["specials"]["duplicate"]
    for rule in (None, "hash"):
        found = load("georgia", split_rule=rule)
        assert len({found.split[record] for record in pair}) == 1


def test_equal_signals_are_flagged_and_counted(load, ecg_tree):
    found = load("georgia")
    flagged = {r for r, row in found.rows.items() if "duplicate_signal" in row["flags"]}
    assert flagged == set(ecg_tree.manifests["georgia"]["specials"]["duplicate"])
    assert found.report.duplicate_signals == 2


def test_by_hash_half_a_download_splits_as_the_whole(load, ecg_tree, tmp_path):
    whole = load("ptb_xl", split_rule="hash")
    of_person = defaultdict(list)
    for record, row in sorted(whole.rows.items()):
        of_person[row["patient_id"]].append(record)
    tree = shutil.copytree(ecg_tree.root / "ptb_xl", tmp_path / "ptb_xl")
    for first, *others in of_person.values():
        for file in tree.rglob(f"{first}_*") if others else ():
            file.unlink()
    half = Loaded(tmp_path, "ptb_xl", split_rule="hash")
    assert len(half.rows) < len(whole.rows)
    assert half.split == {record: whole.split[record] for record in half.rows}


@pytest.fixture
def split_csv(tmp_path):
    """CLIMB's own list: its `val` is the held-out part, which its paper calls test."""

    def write(*rows):
        path = tmp_path / "splits.csv"
        path.write_text("file_name,split\n" + "".join(f"{a},{b}\n" for a, b in rows))
        return {"georgia": {"split_csv": str(path)}}

    return write


def test_a_csv_decides_the_split(ecg_tree, split_csv):
    options = split_csv(("E00001.mat", "val"), ("E00002", "train"), ("E00005", "validation"))
    found = Loaded(ecg_tree.root, "georgia", split_rule="csv", options=options)
    chosen = ("E00001", "E00002", "E00005")
    assert [found.split[record] for record in chosen] == ["test", "train", "validation"]
    assert {found.rows[record]["split_origin"] for record in chosen} == {"user"}
    assert found.rows["E00007"]["split_origin"] == "derived"


def test_a_changed_csv_gives_the_new_split(ecg_tree, split_csv):
    before = Loaded(
        ecg_tree.root, "georgia", split_rule="csv", options=split_csv(("E00001", "train"))
    )
    after = Loaded(ecg_tree.root, "georgia", split_rule="csv", options=split_csv(("E00001", "val")))
    assert (before.split["E00001"], after.split["E00001"]) == ("train", "test")


# --- the place of files does not matter ------------------------------------------------------


@pytest.mark.parametrize("source", SOURCES[1:])
def test_folders_and_their_order_do_not_matter(load, source, ecg_tree, tmp_path):
    files = sorted(p for p in (ecg_tree.root / source).rglob("*") if p.is_file())
    for file in files:
        folder = hashlib.sha1(str(file.parent).encode()).hexdigest()
        place = tmp_path / "my disk" / folder[:2] / "ä" / folder[2:6] / file.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    here, there = load(source), Loaded(tmp_path, source)
    assert there.split == here.split
    assert there.column("labels") == here.column("labels")


def test_ptb_xl_is_found_under_any_name(load, ecg_tree, tmp_path):
    shutil.copytree(ecg_tree.root / "ptb_xl" / "ptb-xl" / "1.0.3", tmp_path / "x" / "long name")
    assert Loaded(tmp_path, "ptb_xl").split == load("ptb_xl").split


# --- label sets and options ------------------------------------------------------------------


def test_superclasses_of_ptb_xl(load, ecg_tree):
    found = load("ptb_xl", label_set="ptbxl_super5")
    wanted = facts(ecg_tree.manifests["ptb_xl"], "superclasses")
    assert {record: found.rows[record]["labels"] for record in wanted} == wanted
    assert found.dataset["train"].features["label"].names == ["NORM", "MI", "STTC", "CD", "HYP"]


def test_native_label_set(load, source):
    unknown = {"251238007", "6180003"}
    for row in load(source, label_set="native").rows.values():
        codes = {code for code in row["native_labels"] if not code.startswith("axis:")}
        assert set(row["labels"]) == codes - unknown


def test_georgias_case_fault_is_only_upstreams(load, ecg_tree):
    (record,) = ecg_tree.manifests["georgia"]["specials"]["atrial_fibrillation"]
    assert load("georgia").rows[record]["labels"] == ["afib"]
    assert load("georgia", label_set="climb7_upstream").rows[record]["labels"] == []


@pytest.mark.parametrize("source", SOURCES)
def test_normal_exclusive(load, source):
    found = load(source, options={source: {"normal_exclusive": True}})
    for record, labels in load(source).column("labels").items():
        others = [name for name in labels if name != "normal"]
        assert found.rows[record]["labels"] == (others or labels)


def test_axis_deviation_can_be_other(load, ecg_tree):
    found = load("ptb_xl", options={"ptb_xl": {"axis_as_hyp": False}})
    (record,) = ecg_tree.manifests["ptb_xl"]["specials"]["axis_lad"]
    assert "hyp" in load("ptb_xl").rows[record]["labels"]
    assert {"hyp", "other"} & set(found.rows[record]["labels"]) == {"other"}


@pytest.mark.parametrize("subset", ["chapman", "ningbo"])
def test_the_hospitals_of_chapman(load, subset):
    options = {"chapman_shaoxing": {"subset": subset}}
    chosen = load("chapman_shaoxing", options=options).rows
    every = load("chapman_shaoxing").rows
    # JS00001 to JS10646 are Chapman's (source card).
    assert set(chosen) == {r for r in every if (int(r[2:]) <= 10646) == (subset == "chapman")}


def test_cpsc_proper_says_nothing_of_mi_and_hyp(load):
    for record, row in load("cpsc").rows.items():
        told = {*row["labels"], *row["labels_negative"]}
        if record.startswith("A"):
            assert not told & {"mi", "hyp"}
        else:
            assert told == set(CLASSES)


def test_all_windows_of_cpsc(load, ecg_tree):
    found = load("cpsc", options={"cpsc": {"windows": "all"}})
    counted = Counter(record.split("/")[0] for record in found.rows)
    wanted = facts(ecg_tree.manifests["cpsc"], "n_samples")
    assert counted == {record: max(n // 5000, 1) for record, n in wanted.items()}


def test_windows_of_one_recording_share_label_split_and_signal(load):
    found = load("cpsc", options={"cpsc": {"windows": "all"}})
    whole = load("cpsc", length="raw").rows["A0004"]
    for index in range(6):
        row = found.rows[f"A0004/{index}"]
        part = whole["series"][0].values[:, index * 5000 : (index + 1) * 5000]
        assert np.array_equal(row["series"][0].values, part)
        assert row["series"][0].start_s == index * 10
        assert row["labels"] == whole["labels"]
    assert len({found.split[f"A0004/{index}"] for index in range(6)}) == 1


@pytest.mark.parametrize("rule", ["stratified", "hash"])
def test_cutting_windows_moves_no_recording_to_another_split(load, rule):
    found = load("cpsc", split_rule=rule, options={"cpsc": {"windows": "all"}})
    plain = load("cpsc", split_rule=rule).split
    assert {record.split("/")[0]: name for record, name in found.split.items()} == plain


@pytest.mark.parametrize(
    "choice", [{"label_set": "native"}, {"label_set": "climb7_upstream"}, {"rate_hz": 250}], ids=str
)
@pytest.mark.parametrize("source", SOURCES)
def test_how_a_record_is_shown_does_not_move_it_to_another_split(load, source, choice):
    assert load(source, **choice).split == load(source).split


# --- special cases of the cards --------------------------------------------------------------


def test_the_early_gain_of_georgia_is_corrected_and_told(load, ecg_tree):
    (record,) = ecg_tree.manifests["georgia"]["specials"]["gain_4880"]
    row = load("georgia").rows[record]
    assert "gain_corrected" in row["flags"]
    assert row["meta"]["header_variant"] == "2020-early"


def test_the_report_names_unknown_codes(load):
    assert load("georgia").report.unknown_codes == {"251238007": 1}
    assert load("chapman_shaoxing").report.unknown_codes == {"6180003": 1}


def test_likelihoods_of_ptb_xl_are_kept(load):
    meta = load("ptb_xl").rows["00001"]["meta"]
    assert meta["scp_codes"] == {"NORM": 100.0, "LVOLT": 0.0, "SR": 0.0}


@pytest.fixture
def challenge_copy(load_fake, tmp_path):
    """PTB-XL as the Challenge released it, without patients and folds."""
    manifest = load_fake("ptb_xl").make_challenge_copy(tmp_path)
    return manifest, Loaded(tmp_path, "ptb_xl", length="raw")


def test_the_challenge_copy_of_ptb_xl_has_its_labels(challenge_copy):
    manifest, found = challenge_copy
    assert found.column("labels") == facts(manifest, "labels")


def test_the_challenge_copy_of_ptb_xl_has_its_signals(challenge_copy):
    # HR00002 carries the gain of 200 of headers from before August 2020; 1000 is right.
    manifest, found = challenge_copy
    signals = {record: digest(row["series"][0].values) for record, row in found.rows.items()}
    assert signals == facts(manifest, "signal_sha1")


def test_the_challenge_copy_of_ptb_xl_has_unknown_patients(challenge_copy):
    _, found = challenge_copy
    for row in found.rows.values():
        assert row["patient_id"] is None
        assert "patient_unknown" in row["flags"]
        assert row["split_origin"] == "derived"


def test_a_row_whose_files_are_only_in_the_challenge_copy_has_their_signal(
    ecg_tree, load_fake, tmp_path
):
    copy = load_fake("ptb_xl").make_challenge_copy(tmp_path)
    shutil.copytree(ecg_tree.root / "ptb_xl" / "ptb-xl", tmp_path / "ptb-xl")
    for file in (tmp_path / "ptb-xl").rglob("00002_*"):
        file.unlink()
    row = Loaded(tmp_path, "ptb_xl", length="raw").rows["00002"]
    assert digest(row["series"][0].values) == copy["records"]["HR00002"]["signal_sha1"]
    assert row["patient_id"] == "15002"


# --- questions -------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["set", "choice"])
def test_gold_answers_score_1(load, source, style):
    asked = load(source, task="qa", options={source: {"question": style}}).rows
    assert asked
    for row in asked.values():
        gold = split_gold(row["answer"], row["options"])
        assert set_f1(parse(f"\\boxed{{{row['answer']}}}", row["options"]), gold) == 1.0
        assert row["answer_type"] == style
        assert style == "set" or len(gold) == 1


def test_every_labelled_record_is_asked_about_and_no_other(load, source, manifest):
    found = load(source, task="qa")
    assert set(found.rows) == {r for r, labels in facts(manifest, "labels").items() if labels}
    assert found.report.not_questions == found.report.good - len(found.rows)


def test_answers_are_the_classes_without_a_normal_beside_disease(load, source, manifest):
    texts = dict(zip(CLASSES, load(source, task="qa").dataset["train"][0]["options"], strict=True))
    for record, row in load(source, task="qa").rows.items():
        labels = manifest["records"][record]["labels"]
        wanted = [name for name in labels if name != "normal"] or labels
        assert split_gold(row["answer"], row["options"]) == tuple(texts[n] for n in wanted)


def test_a_question_keeps_the_split_of_its_record(load, source):
    asked, plain = load(source, task="qa").split, load(source).split
    assert asked == {record: plain[record] for record in asked}
