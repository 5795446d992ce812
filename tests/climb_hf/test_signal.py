"""Signals: physical values, leads by name, rates, lengths, flags; real files against wfdb."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError, OptionError
from climb_hf.io import signal
from climb_hf.schema import SeriesFile

wfdb = pytest.importorskip("wfdb")
loadmat = pytest.importorskip("scipy.io").loadmat
STANDARD = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
LFS = "version https://git-lfs.github.com/spec/v1\n"


def made(data, rate_hz=500.0, channels=None, unit="mV", invalid=-32768):
    data = np.asarray(data)
    names = channels or STANDARD[: len(data)]
    return signal.RawSeries(
        data=data,
        rate_hz=rate_hz,
        channels=tuple(names),
        units=(unit,) * len(data),
        gain=np.full(len(data), 1000.0),
        offset=np.zeros(len(data)),
        invalid=invalid,
        n_valid=data.shape[1],
    )


def sine(rate_hz, seconds=10, hz=5.0):
    return np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)


# --- files -----------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    """A function that writes one 12-lead WFDB record and gives its `SeriesFile`."""
    codes = np.arange(12 * 50, dtype="<i2").reshape(50, 12)

    def make(line="X.dat 16 1000(0)/mV 16 0 0 0 0 {lead}", leads=STANDARD):
        lines = [f"X {len(leads)} 500 50", *(line.format(lead=lead) for lead in leads)]
        (tmp_path / "X.hea").write_text("\n".join(lines) + "\n")
        (tmp_path / "X.dat").write_bytes(codes.tobytes())
        return SeriesFile(tmp_path / "X.hea", "wfdb")

    make.codes = codes.T
    return make


def test_codes_are_kept_and_gain_makes_millivolt(pair):
    found = signal.load(pair())
    assert found.data.dtype == np.int16
    assert np.array_equal(found.data, pair.codes)
    assert np.array_equal(found.physical(), (pair.codes / 1000).astype("f4"))


def test_gain_0_is_200_for_the_samples_too(pair):
    found = signal.load(pair("X.dat 16 0/mV 16 0 0 0 0 {lead}"))
    assert np.allclose(found.physical(), pair.codes / 200)


def test_a_baseline_is_taken_off(pair):
    found = signal.load(pair("X.dat 16 1000(100)/mV 16 0 0 0 0 {lead}"))
    assert np.allclose(found.physical(), (pair.codes - 100) / 1000)


@pytest.mark.parametrize(("unit", "per_mv"), [("uV", 1000), ("mv", 1), ("V", 0.001)])
def test_other_voltages_become_millivolt(pair, unit, per_mv):
    series = signal.load(pair(f"X.dat 16 2(0)/{unit} 16 0 0 0 0 {{lead}}"))
    found = signal.to_units(series, ["mV"] * 12)
    assert found.units == ("mV",) * 12
    assert np.allclose(found.physical(), pair.codes / 2 / per_mv)


def test_what_is_no_voltage_is_refused(pair):
    with pytest.raises(CorruptFileError, match="unit 'mmHg' is no voltage"):
        signal.to_units(signal.load(pair("X.dat 16 2(0)/mmHg 16 0 0 0 0 {lead}")), ["mV"] * 12)


def test_a_given_gain_replaces_the_headers(pair):
    found = signal.load(replace(pair("X.dat 16 4880/mV 16 0 0 0 0 {lead}"), gain=1000.0))
    assert np.allclose(found.physical(), pair.codes / 1000)


def test_a_part_of_a_recording(pair):
    found = signal.load(replace(pair(), start_s=0.02, stop_s=0.06))
    assert (found.data.shape, found.start_s, found.n_valid) == ((12, 20), 0.02, 20)
    assert np.array_equal(found.data, pair.codes[:, 10:30])


def test_an_unknown_reader_is_refused(pair):
    with pytest.raises(OptionError, match="reader='wfbd'"):
        signal.load(replace(pair(), reader="wfbd"))


def test_an_absent_signal_file_is_named(pair, tmp_path):
    source = pair()
    (tmp_path / "X.dat").unlink()
    with pytest.raises(CorruptFileError, match=r"X\.dat"):
        signal.load(source)


@pytest.mark.parametrize("content", [b"", b"\0" * 1199, b"\0" * 1201, LFS.encode()])
def test_a_damaged_signal_file_is_refused(pair, tmp_path, content):
    source = pair()
    (tmp_path / "X.dat").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"X\.dat"):
        signal.load(source)


@pytest.mark.parametrize("name", ["../X.dat", "../secret/X.dat"])
def test_a_file_name_in_a_header_never_leaves_the_folder(pair, tmp_path, name):
    source = pair()
    inner = tmp_path / "inner"
    inner.mkdir()
    (tmp_path / "secret").mkdir()
    for outside in (tmp_path / "X.dat", tmp_path / "secret" / "X.dat"):
        outside.write_bytes(np.full(600, 77, "<i2").tobytes())
    text = source.path.read_text().replace("X.dat", name)
    (inner / "X.hea").write_text(text)
    (inner / "X.dat").write_bytes(np.zeros(600, "<i2").tobytes())
    try:
        found = signal.load(SeriesFile(inner / "X.hea", "wfdb"))
    except CorruptFileError:
        return
    assert not (found.data == 77).any()


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file" + b"\0" * 200, b"x" * 500])
def test_a_struct_that_does_not_open_is_refused(tmp_path, content):
    (tmp_path / "A0001.mat").write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"A0001\.mat"):
        signal.load(SeriesFile(tmp_path / "A0001.mat", "ecg_struct"))


def test_a_struct_cut_short_is_refused(ecg_tree, tmp_path):
    whole = next((ecg_tree.root / "cpsc").rglob("A0032.mat")).read_bytes()
    (tmp_path / "A0032.mat").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptFileError, match=r"A0032\.mat"):
        signal.load(SeriesFile(tmp_path / "A0032.mat", "ecg_struct"))


# --- operations ------------------------------------------------------------------------------


def test_channels_are_ordered_by_name_whatever_the_case():
    names = [name.upper() for name in STANDARD[::-1]]
    data = np.arange(12)[:, None] * np.ones((1, 3), int)
    found = signal.order_channels(made(data, channels=names), STANDARD)
    assert found.channels == STANDARD
    assert found.data[:, 0].tolist() == list(range(11, -1, -1))


def test_gain_and_offset_move_with_their_channel():
    one = replace(made(np.zeros((2, 3))), gain=np.array([1.0, 2.0]), offset=np.array([3.0, 4.0]))
    found = signal.order_channels(one, ("II", "I"))
    assert (found.gain.tolist(), found.offset.tolist()) == ([2.0, 1.0], [4.0, 3.0])


def test_channels_beyond_the_wanted_are_left_out():
    found = signal.order_channels(made(np.zeros((3, 3)), channels=("I", "PPG", "II")), ("I", "II"))
    assert found.data.shape == (2, 3)


@pytest.mark.parametrize("names", [("I", "V1"), ("I", "I")], ids=["absent", "twice"])
def test_a_lead_that_is_absent_or_named_twice_is_refused(names):
    with pytest.raises(CorruptFileError, match="II"):
        signal.order_channels(made(np.zeros((2, 3)), channels=names), ("I", "II"))


def test_a_lead_named_twice_is_refused():
    with pytest.raises(CorruptFileError, match="named twice"):
        signal.order_channels(made(np.zeros((2, 3)), channels=("I", "i")), ("I",))


def test_an_invalid_code_becomes_nan():
    values = made(np.array([[1, -32768, 3]], "i2")).physical()
    assert np.array_equal(values, np.array([[0.001, np.nan, 0.003]], "f4"), equal_nan=True)


@pytest.mark.parametrize("rate_hz", [250.0, 100.0, 360.0, 1000.0])
def test_a_slow_sine_survives_resampling(rate_hz):
    found = signal.resample(made((sine(500) * 1000)[None].round().astype("i2")), rate_hz)
    inner = slice(int(rate_hz), -int(rate_hz))  # filters ring at the ends
    assert found.data.shape == (1, int(rate_hz * 10))
    assert np.abs(found.physical()[0] - sine(rate_hz))[inner].max() < 0.01
    assert found.rate_hz == rate_hz
    assert "resampled" in found.flags


def test_the_own_rate_changes_nothing():
    one = made(np.ones((1, 10), "i2"))
    assert signal.resample(one, 500.0) is one


def test_samples_above_the_new_nyquist_are_filtered_out():
    fast = (sine(500, hz=200.0) * 1000)[None].round().astype("i2")
    found = signal.resample(made(fast), 250.0).physical()[0]
    assert np.abs(found[250:-250]).max() < 0.05


def test_lost_samples_stay_lost_after_resampling_and_spread_no_further():
    codes = (sine(500) * 1000)[None].round().astype("i2")
    codes[0, 1000:1010] = -32768
    lost = np.isnan(signal.resample(made(codes), 250.0).physical()[0])
    assert lost[500:505].all()
    assert lost.sum() <= 6
    assert not lost[:499].any()
    assert not lost[506:].any()


def test_a_wholly_lost_lead_stays_lost():
    codes = np.full((1, 100), -32768, "i2")
    assert np.isnan(signal.resample(made(codes), 250.0).physical()).all()


def test_a_long_series_is_cropped():
    found = signal.crop_or_pad(made(np.arange(6000)[None] % 100), 10.0)
    assert (found.data.shape, found.n_valid, found.flags) == ((1, 5000), 5000, ("cropped",))


def test_a_short_series_is_padded_with_zero_volt():
    one = replace(made(np.ones((1, 2500), "i2")), offset=np.array([7.0]))
    found = signal.crop_or_pad(one, 10.0)
    assert (found.data.shape, found.n_valid, found.flags) == ((1, 5000), 2500, ("padded",))
    assert (found.physical()[0, 2500:] == 0).all()


def test_a_series_of_the_wanted_length_is_left_alone():
    one = made(np.ones((1, 5000), "i2"))
    assert signal.crop_or_pad(one, 10.0) is one


def test_flags_of_a_good_series_are_none():
    assert signal.quality_flags(made(np.arange(10)[None])) == ()


def test_a_flat_lead_is_flagged():
    codes = np.array([[1, 2, 3], [5, 5, 5]])
    assert signal.quality_flags(made(codes)) == ("flat_channel",)


@pytest.mark.parametrize("invalid", [-32768, None], ids=["code", "nan"])
def test_lost_samples_are_flagged(invalid):
    lost = -32768 if invalid else np.nan
    assert signal.quality_flags(made([[1, lost, 3]], invalid=invalid)) == ("invalid_samples",)


def test_padding_makes_no_lead_flat_and_none_alive():
    padded = signal.crop_or_pad(made(np.array([[1] * 10, [1, 2] * 5])), 0.1)
    assert signal.quality_flags(padded) == ("flat_channel",)


# --- real recordings -------------------------------------------------------------------------


def stored(path, reader="wfdb"):
    found = signal.load(SeriesFile(path, reader))
    return signal.to_units(signal.order_channels(found, STANDARD), ["mV"] * 12)


def test_every_real_record_reads_as_wfdb_reads_it(real_data):
    headers = sorted(Path(real_data, "ecg", "challenge-2021").rglob("*.hea"))
    assert len(headers) == 35
    for header in headers:
        wanted = wfdb.rdrecord(str(header.with_suffix("")))
        names = [name.lower() for name in wanted.sig_name]
        rows = [names.index(name.lower()) for name in STANDARD]
        expected = wanted.p_signal.T[rows].astype("f4")
        assert np.array_equal(stored(header).physical(), expected, equal_nan=True), header.name


def test_every_real_struct_reads_as_scipy_reads_it(real_data):
    files = sorted(Path(real_data, "ecg", "cpsc2018-original").glob("*.mat"))
    assert len(files) == 5
    for file in files:
        expected = loadmat(file)["ECG"]["data"][0, 0].astype("f4")
        assert np.array_equal(stored(file, "ecg_struct").physical(), expected), file.name
