"""EDF and BDF by their bytes against mne and edfio; what else mne opens; headers that are wrong."""

from __future__ import annotations

import os
import tracemalloc
from datetime import date

import numpy as np
import pytest

from climb_hf.errors import CorruptFileError
from climb_hf.io import signal
from climb_hf.io.edf_header import read_edf_header
from climb_hf.schema import SeriesFile
from climb_hf.windows import duration_s

mne = pytest.importorskip("mne")
edfio = pytest.importorskip("edfio")
LABELS = ("EEG C3-REF", "EEG C4-REF", "EEG CZ-REF")


@pytest.fixture(scope="module")
def eeg(load_fake):
    """The writer of the made trees: EDF byte by byte."""
    return load_fake("eeg_waves")


def load(path, reader="edf", **part):
    return signal.load(SeriesFile(path, reader, **part))


def codes_of(seconds=6, rate_hz=100, labels=LABELS):
    rng = np.random.default_rng(0)
    shape = (len(labels), seconds * rate_hz)
    return dict(zip(labels, rng.integers(-32768, 32768, shape).astype("<i2"), strict=True))


@pytest.fixture
def written(tmp_path, eeg):
    """A function that writes three channels of six seconds, and gives the file and its codes."""

    def write(codes=None, rate_hz=100, **options):
        codes = codes_of() if codes is None else codes
        eeg.write_edf(tmp_path / "made.edf", codes, rate_hz, **options)
        return tmp_path / "made.edf", codes

    return write


# --- against others --------------------------------------------------------------------------


def test_a_real_edf_has_the_shape_and_rate_of_the_manifest(real_data):
    found = load(real_data / "eeg" / "edf" / "test.edf")
    assert found.data.shape == (139, 3072)
    assert found.rate_hz == 512.0
    assert found.data.dtype == np.int16


def test_a_real_edf_has_the_values_that_mne_reads(real_data):
    path = real_data / "eeg" / "edf" / "test.edf"
    found, theirs = load(path), mne.io.read_raw_edf(path, verbose="error")
    assert found.channels == tuple(theirs.ch_names)
    # mne takes the last channel, Status, for a trigger, and does not bring it to volts.
    volts = [row for row, unit in enumerate(found.units[:-1]) if unit == "uV"]
    assert len(volts) > 100
    assert found.physical()[volts] / 1e6 == pytest.approx(theirs.get_data()[volts], rel=1e-6)


def test_a_real_brainvision_has_the_shape_and_rate_of_the_manifest(real_data):
    found = load(real_data / "eeg" / "brainvision" / "test.vhdr", "mne")
    assert (found.data.shape, found.rate_hz) == ((32, 7900), 1000.0)
    assert found.channels[:3] == ("FP1", "FP2", "F3")
    assert found.units[0] == "V"


def test_a_real_brainvision_holds_half_a_microvolt_a_code(real_data):
    # Its header: BINARY, MULTIPLEXED, INT_16, resolution 0.5 uV.
    folder = real_data / "eeg" / "brainvision"
    codes = np.fromfile(folder / "test.eeg", "<i2").reshape(-1, 32).T
    found = load(folder / "test.vhdr", "mne", start_s=1.0, stop_s=2.5)
    assert (found.start_s, found.n_valid) == (1.0, 1500)
    assert found.physical()[0] * 1e6 == pytest.approx(codes[0, 1000:2500] * 0.5, rel=1e-6)


@pytest.mark.parametrize("record_s", [1, 0.25, 2, 6])
def test_edfio_writes_what_is_read(tmp_path, record_s):
    rng = np.random.default_rng(1)
    signals = [
        edfio.EdfSignal(rng.uniform(-200, 200, 1536), 256, label=label, physical_dimension="uV")
        for label in LABELS
    ]
    notes = [edfio.EdfAnnotation(0.5, None, "spike"), edfio.EdfAnnotation(99, None, "past the end")]
    day = date(2000, 1, 1)
    made = edfio.Edf(
        signals,
        recording=edfio.Recording(startdate=day),
        annotations=notes,
        data_record_duration=record_s,
    )
    made.write(tmp_path / "theirs.edf")
    found = load(tmp_path / "theirs.edf")
    assert found.channels == LABELS  # annotations, whatever they say, are no channel
    assert np.array_equal(found.data, [one.digital for one in made.signals])
    assert found.physical() == pytest.approx(np.array([one.data for one in made.signals]), rel=1e-6)


def test_bdf_has_24_bits(tmp_path, written):
    path, codes = written()
    wide = {label: values.astype(int) * 200 for label, values in codes.items()}
    text = path.read_bytes()[: 256 * 4].decode("latin-1")
    head = text.replace("-32768  ", "-8388608").replace("32767   ", "8388607 ")
    thirds = b"".join(
        int(value).to_bytes(3, "little", signed=True)
        for second in range(6)
        for values in wide.values()
        for value in values[second * 100 : (second + 1) * 100]
    )
    bdf = tmp_path / "made.bdf"
    bdf.write_bytes(b"\xffBIOSEMI" + head.encode("latin-1")[8:] + thirds)
    found = load(bdf, start_s=1.0, stop_s=4.0)
    assert np.array_equal(found.data, [values[100:400] for values in wide.values()])
    theirs = mne.io.read_raw_bdf(bdf, verbose="error").get_data()[:, 100:400]
    assert found.physical() / 1e6 == pytest.approx(theirs, rel=1e-5)


# --- parts -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("start_s", "stop_s"), [(0, 1), (0.5, 2.25), (3.99, 4.01), (5, None)])
@pytest.mark.parametrize("record_s", [1, 0.25, 3])
def test_a_part_is_a_slice_of_the_whole(written, start_s, stop_s, record_s):
    path, codes = written(record_s=record_s)
    found = load(path, start_s=start_s, stop_s=stop_s)
    last = None if stop_s is None else round(stop_s * 100)
    wanted = np.array(list(codes.values()))[:, round(start_s * 100) : last]
    assert np.array_equal(found.data, wanted)
    assert (found.start_s, found.n_valid) == (start_s, wanted.shape[1])


def test_a_part_that_reaches_beyond_ends_with_the_recording(written):
    path, codes = written()
    found = load(path, start_s=-1.0, stop_s=9.0)
    assert np.array_equal(found.data, list(codes.values()))
    assert found.start_s == 0


def test_a_part_past_the_end_is_empty(written):
    assert load(written()[0], start_s=7.0, stop_s=9.0).data.shape == (3, 0)


def test_ten_seconds_of_a_day_are_read_without_the_day(tmp_path, written):
    """A sparse file of 24 hours; its last ten seconds cost what ten seconds cost."""
    path, _ = written({label: np.zeros(100, "<i2") for label in LABELS})
    head = path.read_bytes()[:1024]
    long = tmp_path / "day.edf"
    long.write_bytes(head[:236] + b"86400   " + head[244:])
    os.truncate(long, 1024 + 86400 * 600)
    with long.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(b"\x07\x00")
    tracemalloc.start()
    found = load(long, start_s=86390.0, stop_s=86400.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.data.shape == (3, 1000)
    assert found.data[2, -1] == 7
    assert peak < 500_000


def test_the_header_tells_how_long_a_recording_is(written):
    assert duration_s(SeriesFile(written(record_s=0.5)[0], "edf")) == 6.0


# --- what headers say ------------------------------------------------------------------------


def test_an_unknown_number_of_records_is_told_by_the_size(written):
    assert read_edf_header(written(n_records=-1)[0]).n_records == 6


def test_a_header_that_changed_is_read_again(written):
    path, codes = written()
    assert read_edf_header(path).n_records == 6
    written({label: values[:300] for label, values in codes.items()})
    assert read_edf_header(path).n_records == 3


def test_letters_beyond_ascii_do_no_harm(written):
    path, codes = written(patient="X X X Ren\xe9e", units=dict.fromkeys(LABELS, "\xb5V"))
    found = signal.to_units(load(path), ["mV"] * 3)
    assert found.physical()[0] == pytest.approx(codes[LABELS[0]] / 8 / 1000, rel=1e-6)


def test_a_signal_of_another_rate_is_left_out_and_told(written):
    codes = codes_of()
    codes[LABELS[2]] = np.repeat(codes[LABELS[2]], 2)
    found = load(written(codes, rates={LABELS[2]: 200})[0])
    assert found.channels == LABELS[:2]
    assert np.array_equal(found.data, [codes[label] for label in LABELS[:2]])
    assert found.facts["left_out"] == {LABELS[2]: "at 200 Hz where most signals have 100 Hz"}


def test_a_signal_without_a_range_is_left_out_and_told(written):
    path, _ = written()
    content = bytearray(path.read_bytes())
    at = 256 + 3 * (16 + 80 + 8)  # the physical minima
    content[at + 8 : at + 16] = b"4095.875"  # that of the second signal equals its maximum
    path.write_bytes(content)
    found = load(path)
    assert found.channels == (LABELS[0], LABELS[2])
    assert "range" in found.facts["left_out"][LABELS[1]]


def test_records_that_follow_each_other_are_no_gap(written):
    path, codes = written(starts_s=range(6))
    assert np.array_equal(load(path).data, list(codes.values()))


def test_a_gap_is_refused_and_located(written):
    path, _ = written(starts_s=(0, 1, 2, 10, 11, 12))
    with pytest.raises(CorruptFileError, match="data record 3 begins at 10 s, where 3 s"):
        load(path)


# --- files that are none ---------------------------------------------------------------------


def cut(size):
    return lambda content: content[:size]


def put(at, text):
    return lambda content: content[:at] + text + content[at + len(text) :]


WRONG = {
    "empty": (cut(0), "has 0 bytes"),
    "ends in the first header": (cut(100), "has 100 bytes"),
    "ends in the signals' header": (cut(700), "ends within its header"),
    "ends in the data": (cut(-100), "holds 5.8 of the 6 data records"),
    "holds a header only": (cut(1024), "holds 0.0 of the 6"),
    "another kind": (put(0, b"RIFF    "), "is no EDF or BDF file"),
    "a git-lfs pointer": (put(0, b"version https://git-lfs.github.com"), "git-lfs pointer"),
    "no signals": (put(252, b"0   "), "holds no signals"),
    "a word for the signals": (put(252, b"many"), "number of signals reads"),
    "a word for the records": (put(236, b"many    "), "number of data records reads"),
    "no records": (put(236, b"0       "), "holds no data records"),
    "records without duration": (put(244, b"0       "), "without samples"),
    "infinite records": (put(244, b"inf     "), "no finite number"),
    "a negative number of samples": (put(256 + 3 * 216, b"-1      "), "without samples"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_file_is_refused_with_the_reason(written, case):
    path, _ = written()
    change, words = WRONG[case]
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(CorruptFileError, match=words):
        load(path)


def test_a_file_that_is_gone_is_refused(tmp_path):
    with pytest.raises(CorruptFileError, match=r"gone\.edf cannot be opened"):
        load(tmp_path / "gone.edf")


def test_a_gap_without_annotations_is_refused(written):
    path, _ = written()
    path.write_bytes(put(192, b"EDF+D")(path.read_bytes()))
    with pytest.raises(CorruptFileError, match="without saying where"):
        load(path)


@pytest.mark.parametrize("name", ["noise.vhdr", "noise.xyz"])
def test_what_mne_does_not_read_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"no recording")
    with pytest.raises(CorruptFileError, match="mne cannot read"):
        load(tmp_path / name, "mne")
