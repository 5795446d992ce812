"""The three EEG sources on their made trees: windows, votes, events, filters, what is left out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import climb_hf
from climb_hf import catalog, collect
from climb_hf.answers import parse, set_f1, split_gold
from climb_hf.builder import row_or_fault
from climb_hf.errors import CorruptFileError, OptionError, TooManyBadRecordsError
from climb_hf.io import signal
from climb_hf.io.filters import Band, filtered
from climb_hf.rows import build_row
from climb_hf.schema import Fault
from climb_hf.testing import Subject, run_check
from climb_hf.views import decode

scipy_signal = pytest.importorskip("scipy.signal")
pytest.importorskip("h5py")


@pytest.fixture(scope="module")
def eeg(load_fake):
    return load_fake("eeg_waves")


@pytest.fixture(scope="module")
def world(made):
    """A function: a source's index and rows on its made tree under some options."""

    class World:
        def __init__(self, name):
            self.tree = made(name)
            self.truth = self.tree.manifests[name]
            self.source = catalog.get(name)
            self.card = self.source.card

        def index(self, root=None, **options):
            subject = Subject(self.source, root or self.tree.root)
            request = subject.request()
            request = type(request)(
                label_set=options.pop("label_set", None),
                rate_hz=options.pop("rate_hz", None),
                length=options.pop("length", "10s"),
                task=options.pop("task", "classification"),
                options=self.card.check_options(options),
            )
            placed, report = collect.collect(
                self.source,
                subject.tree,
                request,
                split_rule=None,
                on_error="skip",
                max_error_rate=1.0,
            )
            subject.close()
            return {p.example.record: p for p in placed}, report, request

        def row(self, record, **options):
            placed, _, request = self.index(**options)
            return build_row(self.card, placed[record].example, request, "derived")

        def rows(self, **options):
            placed, _, request = self.index(**options)
            found = {name: row_or_fault(p, request, "skip") for name, p in placed.items()}
            return {name: row for name, row in found.items() if not isinstance(row, Fault)}

    return World


def values_of(row):
    return decode(row["series"][0]).values


def faults(report, kind):
    return {fault.record: fault.reason for fault in report.faults if fault.kind == kind}


# --- windows ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuab(world):
    return world("tuab")


def recorded(tuab, stem):
    """The electrodes of a recording as mne reads them, in microvolts, and their rate."""
    mne = pytest.importorskip("mne")
    (path,) = tuab.tree.root.rglob(f"{stem}.edf")
    found = mne.io.read_raw_edf(path, verbose="error")
    return {n: v * 1e6 for n, v in zip(found.ch_names, found.get_data(), strict=True)}, found


@pytest.mark.parametrize("special", ["at_512_hz", "newer_names", "extra_at_500_hz"])
def test_a_window_is_cut_from_the_resampled_recording(tuab, eeg, special):
    """scipy over the whole of what mne reads; both ends of every window are as in between."""
    stem = tuab.truth["specials"][special][0]
    electrodes, _ = recorded(tuab, stem)
    rate_hz = 512 if special == "at_512_hz" else 250
    older = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
    by_name = {}
    for label, values in electrodes.items():
        name = label.removeprefix("EEG ").removesuffix("-REF")
        by_name[older.get(name, name)] = values
    if special == "extra_at_500_hz":  # mne brought all channels to 500 Hz
        by_name = {name: values[::2] for name, values in by_name.items()}
    pairs = [pair.split("-") for pair in eeg.DERIVATIONS]
    whole = np.array([by_name[one] - by_name[other] for one, other in pairs])
    ratio = {512: (25, 64), 250: (4, 5)}[rate_hz]
    wanted = scipy_signal.resample_poly(whole, *ratio, axis=1)
    for window in range(2):
        row = tuab.row(f"{stem}/{window}")
        found = values_of(row)
        assert found.shape == (16, 2000)
        start = window * 2000
        assert found == pytest.approx(wanted[:, start : start + 2000], abs=2e-3)
        assert row["series"][0]["start_s"] == window * 10
        assert "resampled" in row["flags"]


def test_a_sine_keeps_its_amplitude_to_the_ends_of_a_window(eeg, tmp_path, tuab):
    """One electrode carries 7 Hz of 50 uV: so does each derivation with it, at 200 Hz."""
    time = np.arange(250 * 31) / 250
    flat = np.zeros(len(time), np.int16)
    codes = {eeg.label_of(name): flat for name in eeg.ELECTRODES}
    codes["EEG FP1-REF"] = np.rint(50 * eeg.GAIN * np.sin(2 * np.pi * 7 * time)).astype(np.int16)
    path = tmp_path / "edf" / "train" / "normal" / "01_tcp_ar" / "aaaaaaaa_s001_t000.edf"
    eeg.write_edf(path, codes, 250)
    placed, _, request = tuab.index(tmp_path)
    found = values_of(build_row(tuab.card, placed["aaaaaaaa_s001_t000/1"].example, request, "x"))
    wanted = 50 * np.sin(2 * np.pi * 7 * (10 + np.arange(2000) / 200))
    assert found[0] == pytest.approx(wanted, abs=0.3)  # quantised to an eighth, filter ripple
    assert np.abs(found[1]).max() == 0


def test_a_recording_gives_its_whole_windows_and_no_more(tuab):
    placed, _, _ = tuab.index()
    stems = [record.split("/")[0] for record in placed]
    lengths = {stem: 3 if stem.startswith("aaaaax") else 25 for stem in stems}  # in seconds
    assert {stems.count(stem) for stem in stems if lengths[stem] == 25} == {2}
    assert {stems.count(stem) for stem in stems if lengths[stem] == 3} == {1}  # it is padded


def test_level_recording_is_one_row_a_file_at_its_own_length(tuab):
    rows = tuab.rows(level="recording")
    stems = {record.split("/")[0] for record in tuab.truth["records"]}
    assert set(rows) == stems
    assert {values_of(row).shape for row in rows.values()} == {(16, 25 * 200)}
    assert not any({"cropped", "padded"} & set(row["flags"]) for row in rows.values())


def test_millivolts_become_microvolts(tuab, eeg):
    """A sample as it lies in the file: the header says mV, one code is 1/8 mV."""
    (stem,) = tuab.truth["specials"]["in_millivolts"]
    (path,) = tuab.tree.root.rglob(f"{stem}.edf")
    content = path.read_bytes()
    n_signals = len(eeg.ELECTRODES) + len(eeg.EXTRAS)
    record = np.frombuffer(content, "<i2", n_signals * 250, 256 * (n_signals + 1)).reshape(-1, 250)
    one, other = (record[eeg.ELECTRODES.index(name)] for name in ("FP1", "F7"))
    row = tuab.row(f"{stem}/0", rate_hz=250)
    wanted = (one.astype(int) - other) / 8 * 1000
    assert values_of(row)[0, :250] == pytest.approx(wanted, rel=1e-6)
    assert row["series"][0]["units"] == ["uV"] * 16


def test_codes_of_a_recording_that_needs_no_resampling_stay_whole(tuab):
    (stem,) = tuab.truth["specials"]["stored_at_200_hz"]
    stored = tuab.row(f"{stem}/0")["series"][0]
    assert (stored["dtype"], set(stored["gain"])) == ("<i2", {8.0})


def test_a_subject_under_both_labels_is_on_one_side(tuab):
    placed, _, _ = tuab.index()
    stems = tuab.truth["specials"]["subject_under_both_labels"]
    found = [placed[f"{stem}/{window}"] for stem in stems for window in (0, 1)]
    assert len({one.split for one in found}) == 1
    assert {one.example.native for one in found} == {("normal",), ("abnormal",)}


def test_the_deeper_folders_of_the_second_release_are_read(tuab, tmp_path):
    (path,) = tuab.tree.root.rglob(f"{tuab.truth['specials']['at_512_hz'][0]}.edf")
    deep = tmp_path / "v2.0.0/edf/eval/abnormal/01_tcp_ar/101/00010194/s001_2013_01_09"
    deep.mkdir(parents=True)
    shutil.copy(path, deep / "00010194_s001_t001.edf")
    (deep / "00010194_s001_t001.txt").write_text("CLINICAL HISTORY: made.\n")
    placed, report, _ = tuab.index(tmp_path)
    assert sorted(placed) == ["00010194_s001_t001/0", "00010194_s001_t001/1"]
    assert not report.faults
    example = placed["00010194_s001_t001/1"].example
    assert (example.patient_id, example.study_id, example.split) == ("00010194", "s001", "test")
    assert example.native == ("abnormal",)


def test_a_label_that_is_there_twice_is_refused(tuab, eeg, tmp_path):
    codes = eeg.waves(np.random.default_rng(0), 3 * 250, 250)
    path = tmp_path / "edf/train/normal/aaaaaaaa_s001_t000.edf"
    eeg.write_edf(path, [*codes.items(), ("EEG T4-REF", codes["EEG O1-REF"])], 250)
    with pytest.raises(TooManyBadRecordsError, match="electrode T4 is there 2 times"):
        tuab.index(tmp_path)


def test_every_damaged_recording_says_what_is_wrong_with_it(tuab):
    _, report, _ = tuab.index()
    told = faults(report, "damaged")
    wanted = {
        "no_class_folder": "no folder called normal or abnormal",
        "electrode_absent": "electrodes T6 are absent",
        "electrode_twice": "T4 is there 2 times: EEG T4-REF, EEG T8-REF",
        "two_references": "different references",
        "mixed_rates": "EEG F7-REF was left out, at 500 Hz where most signals have 250 Hz",
        "discontinuous": "data record 2 begins at 7 s",
        "no_records": "holds no data records",
        "last_record_cut_off": "it was cut off",
        "zero_bytes": "has 0 bytes",
        "lfs_pointer": "git lfs pull",
    }
    by_name = {fault["what"]: record for record, fault in tuab.truth["faults"].items()}
    assert wanted.keys() == by_name.keys() - {"no_voltage"}
    for name, words in wanted.items():
        assert words in told[by_name[name]], name


# --- filters ---------------------------------------------------------------------------------


def tone(hz, seconds=20, rate_hz=250, size=1.0):
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    values = size * np.sin(2 * np.pi * hz * time)
    return signal.from_values(values[None], rate_hz=rate_hz, channels=["x"], units="uV")


@pytest.mark.parametrize(
    ("band", "hz", "left"),
    [
        (Band(notch_hz=60), 60, 0.0),
        (Band(notch_hz=60), 10, 1.0),
        (Band(notch_hz=60), 50, 1.0),
        (Band(high_pass_hz=1), 0.1, 0.0),
        (Band(high_pass_hz=1), 10, 1.0),
        (Band(low_pass_hz=30), 60, 0.0),
        (Band(low_pass_hz=30), 10, 1.0),
        (Band(), 60, 1.0),
    ],
)
def test_a_filter_takes_what_it_says_and_nothing_else(band, hz, left):
    found = filtered(tone(hz), band).data[0, 1250:-1250]
    wanted = left * tone(hz).data[0, 1250:-1250]
    assert found == pytest.approx(wanted, abs=0.02)


def test_a_filter_shifts_nothing():
    found = filtered(tone(10), Band(high_pass_hz=0.5, low_pass_hz=40)).data[0, 1250:-1250]
    wanted = tone(10).data[0, 1250:-1250]
    assert np.argmax(np.correlate(found, wanted, "full")) == len(wanted) - 1


def test_invalid_samples_stay_invalid_and_spread_no_further():
    series = tone(10)
    series.data[0, 1000:1010] = np.nan
    lost = np.isnan(filtered(series, Band(notch_hz=60)).data[0])
    assert np.flatnonzero(lost).tolist() == list(range(1000, 1010))


@pytest.mark.parametrize("edge", [0, -1, 125, 200])
def test_an_edge_beyond_half_the_rate_is_refused(edge):
    with pytest.raises(OptionError, match=r"high_pass_hz=.* not between 0 and 125 Hz"):
        filtered(tone(10), Band(high_pass_hz=edge))


def test_a_filtered_window_is_a_piece_of_the_filtered_recording(tuab):
    """The margin is long enough: what the window's ends owe to its cut is under 1 % of it."""
    (stem,) = tuab.truth["specials"]["at_512_hz"]
    options = {"notch_hz": 60, "high_pass_hz": 0.5, "low_pass_hz": 40.0}
    whole = values_of(tuab.row(stem, level="recording", **options))
    plain = values_of(tuab.row(f"{stem}/1"))
    window = values_of(tuab.row(f"{stem}/1", **options))
    assert np.abs(window - plain).max() > 10  # the drift of 0.3 Hz is gone
    assert np.abs(window - whole[:, 2000:4000]).max() < 0.01 * np.abs(window).max()


def test_filters_are_off_by_default(tuab):
    for name in ("tuab", "tuev", "iiic"):
        options = catalog.get(name).card.check_options({})
        assert [options[edge] for edge in ("notch_hz", "high_pass_hz", "low_pass_hz")] == [None] * 3


# --- events ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tuev(world):
    return world("tuev")


def test_an_event_on_three_channels_is_one_window_that_names_them(tuev):
    row = tuev.row(tuev.truth["specials"]["three_channels"])
    assert row["meta"]["channels"] == [1, 2, 5]
    assert row["meta"]["other_codes"] == ["6"]
    assert row["label"] == "SPSW"


def test_numbers_for_subjects_of_the_older_release_are_read(tuev, tmp_path):
    for path in tuev.tree.root.rglob("aaaaaaas_00000001.*"):
        target = tmp_path / "edf/train/00002275" / path.name.replace("aaaaaaas", "00002275")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    placed, _, _ = tuev.index(tmp_path)
    assert {p.example.patient_id for p in placed.values()} == {"00002275"}
    assert sorted(placed) == ["00002275_00000001/0"]


def test_without_dedupe_every_line_is_a_window(tuev):
    placed, _, _ = tuev.index(dedupe=False)
    stem = tuev.truth["specials"]["three_channels"].split("/")[0]
    found = {name: p.example.native for name, p in placed.items() if name.startswith(stem)}
    assert found == {f"{stem}/{row}": (code,) for row, code in enumerate("1116")}


def test_conflicts_can_be_dropped_and_are_counted(tuev):
    placed, report, _ = tuev.index(conflicts="drop")
    stem = tuev.truth["specials"]["three_channels"].split("/")[0]
    assert not [name for name in placed if name.startswith(stem)]
    assert set(faults(report, "left out")) == {f"{stem}/0", f"{stem}/3"}
    assert "2 left out" in report.summary()


def test_a_window_before_the_start_is_padded_and_says_where(tuev):
    """The event lies at 0.5 to 1.5 s, so its window begins 1.5 s before the recording."""
    stem = tuev.truth["specials"]["edges"]
    row, bare = tuev.row(f"{stem}/0"), tuev.row(f"{stem}/0", length="raw")
    stored, values = row["series"][0], values_of(row)
    assert values.shape == (16, 1250)
    assert stored["start_s"] == -1.5
    assert stored["n_valid"] == 1250
    assert np.abs(values[:, :375]).max() == 0
    assert np.array_equal(values[:, 375:], values_of(bare))
    assert bare["series"][0]["start_s"] == 0
    assert "padded" in row["flags"]


def test_a_window_after_the_end_is_padded_and_says_where(tuev):
    """The event lies at 22.5 to 23.5 s of 24, so that 1.5 s of its window are missing."""
    stem = tuev.truth["specials"]["edges"]
    row = tuev.row(f"{stem}/2")
    stored, values = row["series"][0], values_of(row)
    assert (stored["start_s"], stored["n_valid"], values.shape) == (20.5, 875, (16, 1250))
    assert np.abs(values[:, 875:]).max() == 0
    assert np.abs(values[:, :875]).max() > 0
    assert np.array_equal(values[:, :875], values_of(tuev.row(f"{stem}/2", length="raw")))


def test_windows_at_the_edges_can_be_dropped_and_are_counted(tuev):
    placed, report, _ = tuev.index(edges="drop")
    stem = tuev.truth["specials"]["edges"]
    assert [name for name in placed if name.startswith(stem)] == [f"{stem}/1"]
    assert set(faults(report, "left out")) == {f"{stem}/0", f"{stem}/2"}


def test_a_window_is_kept_in_the_codes_of_the_recording(tuev):
    stored = tuev.row(tuev.truth["specials"]["one_line"])["series"][0]
    assert (stored["dtype"], stored["rate_hz"], stored["shape"]) == ("<i2", 250.0, [16, 1250])


def test_another_rate_leaves_the_ends_right(tuev, eeg):
    """At 200 Hz the windows are those of scipy over the whole of what mne reads."""
    stem = tuev.truth["specials"]["edges"]
    electrodes, _ = recorded(tuev, stem)
    pairs = [[eeg.label_of(name) for name in pair.split("-")] for pair in eeg.DERIVATIONS]
    derived = np.array([electrodes[one] - electrodes[other] for one, other in pairs])
    whole = scipy_signal.resample_poly(derived, 4, 5, axis=1)
    inside = values_of(tuev.row(f"{stem}/1", rate_hz=200))  # 10.3 to 15.3 s
    assert inside == pytest.approx(whole[:, 2060:3060], abs=2e-3)
    before = values_of(tuev.row(f"{stem}/0", rate_hz=200))  # -1.5 to 3.5 s
    assert np.abs(before[:, :300]).max() == 0
    assert before[:, 300:] == pytest.approx(whole[:, :700], abs=2e-3)
    after = values_of(tuev.row(f"{stem}/2", rate_hz=200))  # 20.5 to 25.5 s of 24 s
    assert np.abs(after[:, 700:]).max() == 0
    assert after[:, :700] == pytest.approx(whole[:, 4100:4800], abs=2e-3)


def test_every_bad_rec_says_what_is_wrong_with_it(tuev):
    _, report, _ = tuev.index()
    told = faults(report, "damaged")
    wanted = {
        "no_rec": "is not beside it",
        "empty_rec": "holds no row of numbers",
        "word_in_rec": "three",
        "short_row_in_rec": "column",
        "event_past_the_end": "annotated at 5.5 to 6.5 s of a recording of 6 s",
        "electrode_absent": "electrodes T6 are absent",
    }
    by_name = {fault["what"]: record for record, fault in tuev.truth["faults"].items()}
    assert wanted.keys() == by_name.keys()
    for name, words in wanted.items():
        assert words in told[by_name[name]], name


def test_the_label_file_of_another_recording_is_told_by_its_times(tuev, tmp_path):
    """Events of a longer recording beside a shorter one: those that fit cannot be told apart."""
    shutil.copytree(tuev.tree.root / "tuev", tmp_path / "tuev")
    (target,) = tmp_path.rglob("aaaaaaas_00000001.rec")
    target.write_text("1,100.0,101.0,6\n1,102.0,103.0,6\n")
    placed, report, _ = tuev.index(tmp_path)
    assert not [name for name in placed if name.startswith("aaaaaaas")]
    told = [reason for record, reason in faults(report, "damaged").items() if "aaaaaaas" in record]
    assert len(told) == 2
    assert all("of a recording of 24 s" in reason for reason in told)


# --- votes -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def iiic(world):
    return world("iiic")


def test_votes_stand_beside_the_class_by_name(iiic):
    rows = iiic.rows()
    for record, facts in iiic.truth["records"].items():
        weights = {one["label"]: one["weight"] for one in rows[record]["label_weights"]}
        assert weights == facts["weights"]
        assert rows[record]["meta"]["n_raters"] == sum(weights.values())
        assert rows[record]["meta"]["agreement"] == max(weights.values()) / sum(weights.values())


def test_ties_are_left_out_by_default_and_counted(iiic):
    _, report, _ = iiic.index()
    tied = {r for r, fault in iiic.truth["faults"].items() if fault["kind"] == "left out"}
    assert set(faults(report, "left out")) == tied
    assert len(tied) == 2
    assert "have 2 votes each" in faults(report, "left out")["abn10109_tied"]


def test_ties_can_go_to_the_lowest_code(iiic):
    row = iiic.row("abn10109_tied", ties="lowest")
    assert (row["native_labels"], row["label"]) == (["1"], "sz")


def test_ties_can_stay_with_both_classes_and_no_question(iiic):
    row = iiic.row("abn10109_tied", ties="keep")
    assert (row["label"], row["labels"]) == (None, ["sz", "lpd"])
    assert row["prompt"] == []
    assert {one["label"]: one["weight"] for one in row["label_weights"]} == {"sz": 2, "lpd": 2}


def test_a_record_with_few_raters_can_be_left_out(iiic):
    placed, report, _ = iiic.index(min_raters=6)
    facts = iiic.truth["records"]
    enough = {r for r, known in facts.items() if sum(known["weights"].values()) >= 6}
    assert 0 < len(enough) < len(facts)
    assert set(placed) == enough
    assert "raters voted on it" in next(iter(faults(report, "left out").values()))


def test_a_key_that_is_there_twice_counts_once(iiic):
    placed, report, _ = iiic.index()
    (repeated,) = faults(report, "copy")
    assert repeated in placed
    assert len([name for name in placed if name.startswith("abn")]) == 12


@pytest.mark.parametrize("form", ["mat", "transposed", "npy", "hdf5", "data"])
def test_the_middle_ten_seconds_of_a_segment_are_meant(iiic, form):
    row = iiic.row(iiic.truth["specials"][form])
    assert row["series"][0]["start_s"] == 20.0
    assert values_of(row).shape == (16, 2000)
    assert "cropped" not in row["flags"]


def test_the_middle_of_a_shorter_segment_is_flagged(iiic):
    row = iiic.row(iiic.truth["specials"]["40 s"])
    assert row["series"][0]["start_s"] == 15.0
    assert "cropped" in row["flags"]


def test_a_segment_at_another_rate_has_ends_that_are_right(iiic):
    """Filtered and resampled over its fifty seconds, and cut after that."""
    record = iiic.truth["specials"]["mat"]
    found = values_of(iiic.row(record, rate_hz=100))
    io = pytest.importorskip("scipy.io")
    (path,) = iiic.tree.root.rglob(f"{record}.mat")
    segment = io.loadmat(path)["seg"]
    whole = scipy_signal.resample_poly(segment[0] - segment[4], 1, 2)  # Fp1 and F7
    assert found[0] == pytest.approx(whole[2000:3000], abs=2e-3)


def test_sex_and_age_come_from_the_table_of_people(iiic):
    rows = iiic.rows()
    known = {r: f for r, f in iiic.truth["records"].items() if f.get("sex")}
    assert known
    assert all((rows[r]["sex"], rows[r]["age_years"]) == ("female", 61.0) for r in known)


@pytest.fixture
def copied(iiic, tmp_path):
    """A copy of the tree, to be changed."""
    shutil.copytree(iiic.tree.root / "iiic", tmp_path / "iiic")
    return tmp_path / "iiic"


def test_votes_of_another_number_of_rows_are_refused(iiic, copied):
    table = copied / "sparcnet_data" / "all_train_Y.npy"
    np.save(table, np.load(table)[:-1])
    placed, report, _ = iiic.index(copied.parent)
    assert not [name for name in placed if name.startswith("abn")]
    assert "all_train_Y.npy has shape (14, 6)" in faults(report, "damaged")["all_train"]


def test_signals_of_another_number_of_rows_are_refused_row_by_row(iiic, copied):
    signals = copied / "sparcnet_data" / "all_train_X.npy"
    np.save(signals, np.load(signals)[1:])
    placed, _, request = iiic.index(copied.parent)
    with pytest.raises(CorruptFileError, match="belongs to another table"):
        build_row(iiic.card, placed["abn10100_20140000"].example, request, "x")


def test_the_smaller_part_is_read_where_it_is_alone(iiic, copied):
    for path in copied.rglob("all_train_*.npy"):
        path.unlink()
    placed, _, _ = iiic.index(copied.parent)
    assert sorted(name for name in placed if name.startswith("abn")) == [
        "abn10100_20140000",
        "abn10101_20140001",
    ]


def test_pickled_keys_are_refused_with_a_way_out(iiic, copied):
    keys = copied / "sparcnet_data" / "all_train_key.npy"
    np.save(keys, np.load(keys).astype(object), allow_pickle=True)
    _, report, _ = iiic.index(copied.parent)
    assert "Save it again as numbers or text" in faults(report, "damaged")["all_train"]


def test_a_table_of_votes_without_its_columns_is_refused(iiic, copied):
    table = copied / "cut" / "labels.csv"
    table.write_text(table.read_text().replace("grda", "GRDA"))
    _, report, _ = iiic.index(copied.parent)
    assert "lacks the column 'grda'" in faults(report, "damaged")["labels.csv"]


def test_every_bad_segment_says_what_is_wrong_with_it(iiic):
    placed, report, request = iiic.index()
    told = {**faults(report, "damaged"), **faults(report, "missing"), **faults(report, "left out")}
    for name, p in placed.items():
        if "what" in iiic.truth["faults"].get(name, {}) and name not in told:
            with pytest.raises(CorruptFileError) as caught:
                build_row(iiic.card, p.example, request, "x")
            told[name] = str(caught.value)
    wanted = {
        "no_segment": "voted on, but its file is not there",
        "no_votes": "no table of votes has its key",
        "unrated": "nobody voted",
        "tied": "2 votes each",
        "nineteen_rows": "shape (19, 2400), expected numbers of shape (20, samples)",
        "no_matlab_file": "no whole MATLAB file",
        "other_variable": "holds none of seg, data",
        "text": "expected numbers",
    }
    by_name = {f["what"]: r for r, f in iiic.truth["faults"].items() if "what" in f}
    assert wanted.keys() == by_name.keys()
    for name, words in wanted.items():
        assert words in told[by_name[name]], name


# --- the Kaggle competition ------------------------------------------------------------------


@pytest.fixture(scope="module")
def hms(load_fake, tmp_path_factory):
    """A tree of the competition's files, and what is in it."""
    root = tmp_path_factory.mktemp("hms")
    return root, load_fake("iiic").make_hms(root / "iiic", with_faults=True)


# Those that look at files and rows; that roads are equal does not depend on the layout.
OF_A_LAYOUT = (
    *("layouts_are_found", "ids_are_unique", "the_order_of_files_changes_nothing"),
    *("counts_are_the_makers", "patients_never_cross_splits", "labels_are_the_makers"),
    *("series_are_as_the_card_says", "series_are_the_makers", "questions_can_be_answered"),
    *("a_damaged_file_costs_one_record", "a_missing_file_is_counted_apart", "a_build_grows_little"),
)


def test_files_of_the_competition_pass_the_battery(hms):
    subject = Subject(catalog.get("iiic"), *hms)
    for check in OF_A_LAYOUT:
        found = run_check(check, subject)
        assert found.outcome != "failed", found
    subject.close()


def test_every_bad_window_of_the_competition_says_what_is_wrong(iiic, hms):
    placed, report, request = iiic.index(hms[0])
    found = {name: row_or_fault(p, request, "skip") for name, p in placed.items()}
    told = {name: one.reason for name, one in found.items() if isinstance(one, Fault)}
    told |= faults(report, "missing")
    assert "9001.parquet is not there" in told["9001/0"]
    filtering = iiic.index(hms[0], notch_hz=60.0)[2]
    again = row_or_fault(placed["9002/0"], filtering, "skip")
    assert again.reason == told["9002/0"]
    assert "60 to 70 s lies outside the recording, which ends at 50 s" in told["9002/0"]
    assert "lacks the columns F4, C4" in told["9003/0"]
    assert "no whole Parquet file" in told["9004/0"]


def test_the_competition_is_read_where_the_arrays_are_not_there(iiic, hms, copied):
    shutil.copytree(hms[0] / "iiic", copied / "hms")
    assert not [name for name in iiic.index(copied.parent)[0] if "/" in name]
    for path in copied.rglob("*_key.npy"):
        path.unlink()
    assert [name for name in iiic.index(copied.parent)[0] if "/" in name]


def test_a_train_csv_of_another_source_is_passed_over(iiic, hms, tmp_path):
    shutil.copytree(hms[0] / "iiic", tmp_path / "hms")
    (tmp_path / "train.csv").write_text("id_code,diagnosis\n1,2\n")
    placed, report, _ = iiic.index(tmp_path)
    assert placed.keys() == iiic.index(hms[0])[0].keys()
    assert "train.csv" not in faults(report, "damaged")


# --- questions and configs -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "n_options", "words"),
    [
        ("tuab", 2, "routine clinical EEG"),
        ("tuev", 6, "middle second"),
        ("iiic", 6, "intensive care"),
    ],
)
def test_a_question_offers_every_class_and_its_gold_scores_1(world, name, n_options, words):
    source = world(name)
    record = next(r for r, facts in source.truth["records"].items() if facts["labels"])
    row = source.row(record, task="qa")
    asked = row["prompt"][0]["content"]
    assert words in asked
    assert "bounding box" not in asked
    assert len(row["options"]) == n_options
    gold = split_gold(row["answer"], row["options"])
    assert set_f1(parse(f"\\boxed{{{row['answer']}}}", row["options"]), gold) == 1
    assert row["answer_type"] == "choice"


def test_the_modality_config_joins_the_three(made, tmp_path):
    for name in ("iiic", "tuab", "tuev"):
        (tmp_path / name).symlink_to(made(name).root / name)
    found = climb_hf.load_dataset("climb", "eeg", data_dir=str(tmp_path), max_error_rate=1.0)
    rows = [row for part in found.values() for row in part.remove_columns("series")]
    sources = [row["source"] for row in rows]
    assert {name: sources.count(name) for name in set(sources)} == {
        name: len(made(name).manifests[name]["records"]) for name in ("iiic", "tuab", "tuev")
    }
    (first,) = found["train"].select([0])["series"][0]
    assert (len(first.channels), first.units[0]) == (16, "uV")


@pytest.mark.slow
@pytest.mark.parametrize("road", ["build", "load", "stream"])
def test_memory_does_not_grow_with_the_length_of_a_recording(road):
    """Two hours fill every buffer there is; six may not take a tenth more."""
    peaks = []
    for hours in (2, 6):
        words = ["--road", road, "--child", str(hours * 3600)]
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.eeg_memory", *words],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        )
        facts = json.loads(done.stdout.splitlines()[-1])["recording"]
        assert facts["windows"] == hours * 360
        peaks.append(facts["peak"])
    assert peaks[1] < 1.1 * peaks[0]
