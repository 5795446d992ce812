"""Samples of WFDB files: bytes packed by hand or by `wfdb`, read back as written and as by `wfdb`.

The packers follow WFDB signal(5) in whole numbers of Python, one sample after another.
"""

import itertools
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from climb_hf.errors import CorruptFileError
from climb_hf.io import signal
from climb_hf.io.header import read_header
from climb_hf.schema import SeriesFile

wfdb = pytest.importorskip("wfdb")
BITS = {"16": 16, "61": 16, "80": 8, "212": 12, "24": 24, "32": 32}
WRITTEN_BY_WFDB = ("16", "24", "32", "80", "212")
LINE = "X.dat {kind} 200(0)/mV 16 0 0 0 0 L{lead}"


def packed(code, values):
    """The bytes of a file that holds `values`, a list of int."""
    if code == "212":
        padded = [value & 0xFFF for value in values] + [0] * (len(values) % 2)
        pairs = zip(padded[::2], padded[1::2], strict=True)
        triplets = ((a & 255, (a >> 8) | (b >> 8 << 4), b & 255) for a, b in pairs)
        whole = bytes(itertools.chain.from_iterable(triplets))
        return whole[: len(whole) - len(values) % 2]
    order = "big" if code == "61" else "little"
    offset = 128 if code == "80" else 0
    n_bytes = BITS[code] // 8
    wrap = (1 << BITS[code]) - 1
    return b"".join(((v + offset) & wrap).to_bytes(n_bytes, order) for v in values)


def codes(code, max_frames=30):
    """Recordings of a format: lists of frames, extremes included."""
    half = 1 << (BITS[code] - 1)
    value = st.integers(-half, half - 1) | st.sampled_from([-half, half - 1, 0, -1])
    n_leads = st.integers(1, 13)
    return n_leads.flatmap(
        lambda n: st.lists(st.lists(value, min_size=n, max_size=n), min_size=1, max_size=max_frames)
    )


each_format = pytest.mark.parametrize("code", BITS)


def write(folder, frames, code, *, kind=None, n_samples=True, before=b"", after=b""):
    """Writes one record and returns its header."""
    n_leads = len(frames[0])
    length = f" {len(frames)}" if n_samples else ""
    kind = kind or (f"{code}+{len(before)}" if before else code)
    lines = [LINE.format(kind=kind, lead=lead) for lead in range(n_leads)]
    path = Path(folder, "X.hea")
    path.write_text("\n".join([f"X {n_leads} 500{length}", *lines]) + "\n")
    Path(folder, "X.dat").write_bytes(before + packed(code, [*itertools.chain(*frames)]) + after)
    return path


def load(path, **part):
    return signal.load(SeriesFile(path, "wfdb", **part))


def agrees_with_wfdb(path):
    found = load(path)
    wanted = wfdb.rdrecord(str(path.with_suffix("")), physical=False)
    assert np.array_equal(found.data.T, wanted.d_signal)
    assert found.data.dtype in (np.int16, np.int32)
    assert list(found.channels) == wanted.sig_name
    assert list(found.units) == wanted.units
    assert (found.gain.tolist(), found.offset.tolist()) == (wanted.adc_gain, wanted.baseline)
    assert (found.rate_hz, found.n_valid) == (wanted.fs, wanted.sig_len)
    return found


@pytest.fixture
def no_wfdb(monkeypatch):
    """`wfdb` reads nothing."""

    def refuse(*args, **kwargs):
        raise AssertionError("wfdb was asked")

    monkeypatch.setattr(wfdb, "rdrecord", refuse)


# --- plain formats ---------------------------------------------------------------------------


@each_format
@given(st.data(), st.booleans(), st.sampled_from([b"", b"\x01", b"x" * 24]))
@settings(max_examples=30, deadline=None)
def test_packed_samples_are_read_back_and_as_wfdb_reads_them(code, data, n_samples, before):
    frames = data.draw(codes(code))
    with tempfile.TemporaryDirectory() as folder:
        found = agrees_with_wfdb(write(folder, frames, code, n_samples=n_samples, before=before))
    assert found.data.T.tolist() == frames


@pytest.mark.parametrize("code", WRITTEN_BY_WFDB)
@given(st.data())
@settings(max_examples=20, deadline=None)
def test_what_wfdb_writes_is_read_back(code, data):
    frames = data.draw(codes(code))
    n_leads = len(frames[0])
    with tempfile.TemporaryDirectory() as folder:
        wfdb.wrsamp(
            "X",
            fs=360,
            units=["mV"] * n_leads,
            sig_name=[f"L{lead}" for lead in range(n_leads)],
            d_signal=np.array(frames),
            fmt=[code] * n_leads,
            adc_gain=[200.0] * n_leads,
            baseline=[0] * n_leads,
            write_dir=folder,
        )
        found = agrees_with_wfdb(Path(folder, "X.hea"))
    assert found.data.T.tolist() == frames


@each_format
@given(st.data())
@settings(max_examples=20, deadline=None)
def test_a_part_is_what_lies_there_in_the_whole(code, data):
    frames = data.draw(codes(code))
    first = data.draw(st.integers(0, len(frames)))
    last = data.draw(st.none() | st.integers(first, len(frames) + 3))
    with tempfile.TemporaryDirectory() as folder:
        path = write(folder, frames, code)
        stop_s = None if last is None else last / 500
        found, whole = load(path, start_s=first / 500, stop_s=stop_s), load(path)
    assert np.array_equal(found.data, whole.data[:, first:last])
    assert found.data.dtype == whole.data.dtype
    assert (found.start_s, found.n_valid) == (first / 500, found.data.shape[1])


@each_format
def test_bytes_beyond_the_promised_samples_are_no_matter_but_in_format_16(code, tmp_path):
    path = write(tmp_path, [[1, 2, 3]] * 3, code, after=b"\7" * 12)
    if code == "16":
        with pytest.raises(CorruptFileError, match=r"promises 3 samples, X\.dat holds 5"):
            load(path)
    else:
        assert agrees_with_wfdb(path).data.tolist() == [[1] * 3, [2] * 3, [3] * 3]


@each_format
@pytest.mark.parametrize("n_samples", [True, False], ids=["promised", "by-size"])
def test_a_file_that_lacks_bytes_is_refused(code, tmp_path, n_samples):
    n_frames = 5 if n_samples else 1
    path = write(tmp_path, [[1, 2, 3]] * n_frames, code, n_samples=n_samples)
    file = tmp_path / "X.dat"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"reshape|broadcast|sampto"):
        wfdb.rdrecord(str(tmp_path / "X"), physical=False)
    with pytest.raises(CorruptFileError, match=r"X\.dat holds"):
        load(path)


@each_format
def test_no_length_and_a_frame_cut_off_gives_the_whole_frames(code, tmp_path):
    path = write(tmp_path, [[1, 2, 3]] * 4, code, n_samples=False)
    file = tmp_path / "X.dat"
    file.write_bytes(file.read_bytes()[:-1])
    assert agrees_with_wfdb(path).data.shape == (3, 3)


@each_format
def test_a_length_of_0_is_refused(code, tmp_path):
    path = write(tmp_path, [[1, 2]], code)
    path.write_text(path.read_text().replace("500 1", "500 0"))
    with pytest.raises(CorruptFileError, match=r"X\.dat holds"):
        load(path)


def test_a_file_that_ends_while_it_is_read_is_refused(tmp_path):
    from climb_hf.io.wfdb_samples import read_samples

    (tmp_path / "X.dat").write_bytes(b"\0" * 10)
    with pytest.raises(CorruptFileError, match=r"X\.dat ends before sample 6"):
        read_samples(tmp_path / "X.dat", "16", skip=0, n_leads=1, frames=range(6))


def test_a_file_that_does_not_open_is_named(tmp_path):
    from climb_hf.io.wfdb_samples import read_samples

    with pytest.raises(CorruptFileError, match=r"cannot read X\.dat: No such file"):
        read_samples(tmp_path / "X.dat", "16", skip=0, n_leads=1, frames=range(6))


@each_format
def test_a_plain_record_needs_no_wfdb(code, tmp_path, no_wfdb):
    frames = [[1, -2, 3], [4, 5, -6]]
    assert load(write(tmp_path, frames, code)).data.T.tolist() == frames


def test_a_header_to_be_mended_needs_no_wfdb_either(tmp_path, no_wfdb):
    path = write(tmp_path, [[1, 2]] * 3, "16")
    lines = path.read_text().replace("X 2 500 3", "X.mat 2 500 3 05-May-2020 14:50:55")
    path.write_text(lines.replace("X.dat", "elsewhere.dat", 1))
    found = load(path, signal=tmp_path / "X.dat", mend=True)
    assert found.data.tolist() == [[1] * 3, [2] * 3]


def test_values_of_a_wide_format_take_16_bits_where_the_whole_recording_fits(tmp_path):
    narrow, wide = [[-32768], [32767]], [[-32769], [5]]
    for frames, dtype in ((narrow, np.int16), (wide, np.int32)):
        for kind in ("24", "32"):
            path = write(tmp_path, frames, kind)
            assert load(path).data.dtype == dtype
            assert load(path, start_s=1 / 500).data.dtype == dtype


INVALID = {"16": -32768, "61": -32768, "212": -2048, "80": -128, "24": None, "32": None}


@each_format
def test_the_code_of_a_missing_sample_is_that_of_the_format(code, tmp_path):
    assert load(write(tmp_path, [[1]], code)).invalid == INVALID[code]


# --- what a header says of its samples -------------------------------------------------------

SCALES = st.builds(
    lambda gain, baseline, unit: gain + baseline + unit,
    st.sampled_from(["0", "200", "1000.0", "1.5e2", "-4.88", "2963.77"]),
    st.sampled_from(["", "(0)", "(-1605)", "(1024)"]),
    st.sampled_from(["", "/mV", "/uV", "/mmHg", "/l/min", "/%"]),
)
NAMES = st.sampled_from(["I", "ECG lead II", "V1-V2", "RESP (chest)"])
ZEROS = st.integers(-5000, 5000)


@given(st.lists(st.tuples(SCALES, ZEROS, NAMES), min_size=1, max_size=4), st.booleans())
@settings(max_examples=60, deadline=None)
def test_gain_baseline_unit_and_name_are_those_of_wfdb(leads, commented):
    lines = ["# first", ""] if commented else []
    lines += [f"X {len(leads)} 125.5/10(3) 2 17:27:45 15/08/1994"]
    lines += [f"X.dat 16 {scale} 12 {zero} 0 -5 0 {name}" for scale, zero, name in leads]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "X.hea")
        path.write_text("\n".join(lines) + "\n")
        Path(folder, "X.dat").write_bytes(bytes(4 * len(leads)))
        agrees_with_wfdb(path)


def test_a_unit_beyond_ascii_is_kept(tmp_path):
    # wfdb drops such letters: µV would be read as V.
    path = write(tmp_path, [[500]], "16")
    path.write_text(path.read_text().replace("/mV", "/µV"), encoding="utf-8")
    found = signal.to_units(load(path), ["mV"])
    assert found.physical() == pytest.approx(500 / 200 / 1000)


# --- headers that the index has read ---------------------------------------------------------


@pytest.fixture
def indexed(tmp_path, monkeypatch):
    """A record of long ago whose header was read, as by an index."""
    path = write(tmp_path, [[7]], "16")
    monkeypatch.setattr("climb_hf.io.header._TICK_NS", 0)
    read_header(path)
    return SeriesFile(path, "wfdb", signal=tmp_path / "X.dat")


def test_a_header_is_read_once(indexed, monkeypatch):
    def refuse(path):
        raise AssertionError("the header was read again")

    monkeypatch.setattr(signal, "read_header", refuse)
    assert signal.load(indexed).data.tolist() == [[7]]


def test_a_header_that_was_replaced_counts_as_it_is_now(indexed):
    status = indexed.path.stat()
    time.sleep(0.05)  # more than a tick of the file's clock
    rewrite(indexed.path, ("200(0)", "400(0)"))
    os.utime(indexed.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert signal.load(indexed).gain == [400]


def test_a_header_that_is_gone_is_refused(indexed):
    indexed.path.unlink()
    with pytest.raises(CorruptFileError, match=r"cannot read X\.hea"):
        signal.load(indexed)


def test_a_header_that_was_just_written_is_read_again(tmp_path):
    source = SeriesFile(write(tmp_path, [[7]], "16"), "wfdb", signal=tmp_path / "X.dat")
    assert signal.load(source).gain == [200]
    rewrite(source.path, ("200(0)", "400(0)"))  # perhaps within one tick of the file's clock
    assert signal.load(source).gain == [400]


def test_what_was_remembered_is_bounded(tmp_path, monkeypatch):
    from climb_hf.io import header

    monkeypatch.setattr(header, "_TICK_NS", 0)
    monkeypatch.setattr(header, "_REMEMBERED", 3)
    paths = []
    for number in range(8):
        (tmp_path / str(number)).mkdir()
        paths.append(write(tmp_path / str(number), [[number]], "16"))
        read_header(paths[-1])
    assert sum(header.remembered(path) is not None for path in paths) <= 3
    assert [int(load(path).data[0, 0]) for path in paths] == list(range(8))


# --- everything else goes through wfdb -------------------------------------------------------


def rewrite(path, *replacements):
    text = path.read_text()
    for old, new in replacements:
        text = text.replace(old, new, 1)
    path.write_text(text)


def test_several_samples_a_frame(tmp_path):
    path = write(tmp_path, [[1, 3, 7], [5, 7, 9]], "16")
    rewrite(path, ("X 3", "X 2"), ("dat 16", "dat 16x2"), (LINE.format(kind=16, lead=2), ""))
    assert agrees_with_wfdb(path).data.tolist() == [[2, 6], [7, 9]]


def test_a_skewed_lead(tmp_path):
    path = write(tmp_path, [[1, 2], [3, 4], [5, 6]], "16")
    rewrite(path, ("dat 16", "dat 16:1"))
    assert agrees_with_wfdb(path).data.tolist() == [[3, 5, -32768], [2, 4, 6]]


def test_a_second_signal_file(tmp_path):
    path = write(tmp_path, [[1], [2]], "16")
    (tmp_path / "Y.dat").write_bytes(packed("80", [3, 4]))
    lines = path.read_text() + "Y.dat 80 200(0)/mV 8 0 0 0 0 other\n"
    path.write_text(lines.replace("X 1", "X 2"))
    found = agrees_with_wfdb(path)
    assert (found.data.tolist(), found.invalid) == ([[1, 2], [3, 4]], None)


def test_differences_of_8_bits(tmp_path):
    path = write(tmp_path, [[1], [2], [-3]], "80", kind="8")
    rewrite(path, ("16 0 0", "8 0 100"))
    (tmp_path / "X.dat").write_bytes(bytes([1, 2, 253]))
    assert agrees_with_wfdb(path).data.tolist() == [[101, 103, 100]]


@pytest.mark.parametrize(("kind", "n_bytes"), [("310", 12), ("311", 12), ("160", 18)])
def test_formats_that_are_rare(tmp_path, kind, n_bytes):
    path = write(tmp_path, [[0, 0, 0]] * 3, "16", kind=kind)
    (tmp_path / "X.dat").write_bytes(bytes(range(40, 40 + 7 * n_bytes, 7)))
    agrees_with_wfdb(path)


@pytest.mark.parametrize("kind", ["508", "516", "524"])
def test_compressed_samples(tmp_path, kind):
    pytest.importorskip("soundfile")
    values = np.arange(-100, 100).reshape(-1, 2)
    wfdb.wrsamp(
        "X",
        fs=500,
        units=["mV", "mV"],
        sig_name=["I", "II"],
        d_signal=values,
        fmt=[kind, kind],
        adc_gain=[200.0, 200.0],
        baseline=[0, 0],
        write_dir=str(tmp_path),
    )
    assert np.array_equal(agrees_with_wfdb(tmp_path / "X.hea").data.T, values)


def test_a_rare_format_behind_a_header_to_be_mended(tmp_path):
    path = write(tmp_path, [[0]] * 3, "16", kind="160")
    (tmp_path / "X.dat").write_bytes(np.array([32768, 32769, 1], "<u2").tobytes())
    text = path.read_text().replace("X 1 500 3", "# made\n\nX.mat 1 500 3 05-May-2020 14:50:55")
    path.write_text(text.replace("X.dat", "Y.dat"))
    found = load(path, signal=tmp_path / "X.dat", mend=True)
    assert found.data.tolist() == [[0, 1, -32767]]


def test_a_part_of_a_rare_format(tmp_path):
    path = write(tmp_path, [[0]] * 4, "16", kind="160")
    (tmp_path / "X.dat").write_bytes(np.arange(32768, 32772).astype("<u2").tobytes())
    assert load(path, start_s=1 / 500, stop_s=3 / 500).data.tolist() == [[1, 2]]


def test_a_format_that_nobody_knows_is_refused(tmp_path):
    with pytest.raises(CorruptFileError, match=r"wfdb cannot read X\.hea"):
        load(write(tmp_path, [[0]], "16", kind="17"))


# --- real recordings -------------------------------------------------------------------------


def test_a_real_holter_of_12_bits_reads_as_wfdb_reads_it(real_data):
    path = Path(real_data, "ecg", "mitbih", "100.hea")
    assert read_header(path).storage
    found = agrees_with_wfdb(path)
    assert found.data.shape == (2, 650_000)
    assert found.offset.tolist() == [1024, 1024]
    part = load(path, start_s=1000.0, stop_s=1010.0)
    assert np.array_equal(part.data, found.data[:, 360_000:363_600])


def test_a_real_monitor_record_with_frames_and_skew_reads_as_wfdb_reads_it(real_data):
    path = Path(real_data, "ecg", "mimic-wave", "03700181.hea")
    assert not read_header(path).storage
    agrees_with_wfdb(path)


def test_every_real_challenge_record_is_plain_and_reads_as_wfdb_reads_it(real_data):
    headers = sorted(Path(real_data, "ecg", "challenge-2021").rglob("*.hea"))
    assert len(headers) == 35
    for path in headers:
        assert read_header(path).storage
        agrees_with_wfdb(path)
