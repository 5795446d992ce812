"""WFDB headers in the dialects of the ECG releases, and the damage that they come with."""

import pytest

from climb_hf.errors import CorruptFileError
from climb_hf.io.header import check_signal_file, read_header

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# The real lines that the source card quotes, section 0.3.
CURRENT = "{name}.mat 16x1+24 1000.0(0)/mV 16 0 -346 5254 0 {lead}"
UNDATED = "{name}.mat 16+24 1000/mV 16 0 -254 21756 0 {lead}"
PTB_XL = "{name}.dat 16 1000.0(0)/mV 16 0 -119 1508 0 {lead}"


@pytest.fixture
def header(tmp_path):
    """A function that writes a header of 12 leads and reads it."""

    def make(record, line=CURRENT, comments=(), leads=LEADS):
        lines = [record, *(line.format(name="X", lead=lead) for lead in leads), *comments]
        path = tmp_path / "X.hea"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return read_header(path)

    return make


def test_the_current_dialect(header):
    found = header("X 12 500 5000", comments=["# Age: 83", "# Sex: Male", "# Dx: 426783006"])
    lead = found.leads[0]
    assert (found.record, found.rate_hz, found.n_samples) == ("X", 500.0, 5000)
    assert (lead.file, lead.code, lead.skip, lead.gain) == ("X.mat", "16", 24, 1000.0)
    assert (lead.unit, lead.initial, lead.checksum, lead.name) == ("mV", -346, 5254, "I")
    assert found.comments["dx"] == "426783006"
    assert not found.early


def test_the_undated_dialect(header):
    found = header("X 12 500 5000", UNDATED, ["#Age: 85", "#Dx: 1,2"])
    assert (found.leads[0].skip, found.leads[0].gain) == (24, 1000.0)
    assert found.comments == {"age": "85", "dx": "1,2"}


def test_the_dated_dialect(header):
    found = header("X 12 500 7500 05-Feb-2020 11:39:16", UNDATED)
    assert (found.rate_hz, found.n_samples, found.early) == (500.0, 7500, False)


def test_the_early_record_line_with_an_extension(header):
    found = header("X.mat 12 500 5000 05-May-2020 14:50:55", UNDATED)
    assert (found.record, found.early) == ("X", True)


def test_the_dialect_of_ptb_xl_has_no_skip(header):
    found = header("00001_hr 12 500 5000", PTB_XL)
    assert (found.record, found.leads[0].skip, found.leads[0].code) == ("00001_hr", 0, "16")


def test_the_lead_names_are_as_written(header):
    assert [lead.name for lead in header("X 12 500 5000").leads] == list(LEADS)


@pytest.mark.parametrize("gain", ["0/mV", "0(0)/mV", "0"])
def test_gain_0_means_200(header, gain):
    # WFDB header(5): a gain of 0 or missing stands for DEFGAIN, 200 adu per unit.
    line = CURRENT.replace("1000.0(0)/mV", gain)
    assert header("X 12 500 5000", line).leads[0].gain == 200.0


def test_a_baseline_that_is_not_written_is_the_adc_zero(header):
    # WFDB header(5): "if not present, the baseline is taken to be equal to the ADC zero".
    line = CURRENT.replace("1000.0(0)/mV 16 0", "200 11 1024")
    assert header("X 12 500 5000", line).leads[0].baseline == 1024


def test_a_baseline_that_is_written_counts(header):
    line = CURRENT.replace("1000.0(0)/mV 16 0", "200(-7) 11 1024")
    assert header("X 12 500 5000", line).leads[0].baseline == -7


def test_samples_a_frame_skew_and_skip_are_told_apart(header):
    lead = header("X 12 500 5000", CURRENT.replace("16x1+24", "212x4:3+512")).leads[0]
    assert (lead.code, lead.per_frame, lead.skew, lead.skip) == ("212", 4, 3, 512)


@pytest.mark.parametrize("kind", ["16x1+24", "16+24", "16", "212", "80", "61", "24", "32:0"])
def test_one_sample_a_frame_in_a_common_format_is_plain(header, kind):
    assert header("X 12 500 5000", CURRENT.replace("16x1+24", kind)).storage


@pytest.mark.parametrize("kind", ["16x2", "16:1", "8", "310", "311", "160", "516", "16x{lead}"])
def test_anything_else_is_not_plain(header, kind):
    leads = ("1", *("2" * 11)) if "lead" in kind else LEADS
    assert not header("X 12 500 5000", CURRENT.replace("16x1+24", kind), leads=leads).storage


def test_a_unit_that_is_not_written_is_millivolt(header):
    assert header("X 12 500 5000", CURRENT.replace("/mV", "")).leads[0].unit == "mV"


def test_a_unit_is_kept_as_written(header):
    assert header("X 12 500 5000", CURRENT.replace("mV", "uV")).leads[0].unit == "uV"


COMMENTS = {
    "no-blank": ("#Age: 74", "age", "74"),
    "blank": ("# Age: 74", "age", "74"),
    "many-blanks": ("#   Age :   74  ", "age", "74"),
    "capitals": ("#AGE: 74", "age", "74"),
    "empty": ("#Dx:", "dx", ""),
    "second-colon": ("#Rx: a:b", "rx", "a:b"),
}


@pytest.mark.parametrize(("line", "key", "value"), COMMENTS.values(), ids=COMMENTS)
def test_a_comment(header, line, key, value):
    assert header("X 12 500 5000", comments=[line]).comments[key] == value


def test_windows_line_ends_and_blank_lines_are_no_matter(header, tmp_path):
    wanted = header("X 12 500 5000", comments=["# Age: 83"])
    text = (tmp_path / "X.hea").read_text()
    (tmp_path / "X.hea").write_bytes(b"\r\n" + text.replace("\n", "\r\n").encode() + b"\r\n")
    found = read_header(tmp_path / "X.hea")
    assert (found.leads, found.comments) == (wanted.leads, wanted.comments)


def test_bytes_that_are_no_utf8_in_a_comment_are_no_matter(header, tmp_path):
    header("X 12 500 5000")
    with (tmp_path / "X.hea").open("ab") as file:
        file.write(b"# Hx: \xff\xfe\n# Age: 5\n")
    assert read_header(tmp_path / "X.hea").comments["age"] == "5"


def test_a_fused_first_line_is_refused(header):
    fused = "X 12 500 5000" + CURRENT.format(name="X", lead="I")
    with pytest.raises(CorruptFileError, match="promises 12 leads and lists 11"):
        header(fused, leads=LEADS[1:])


def test_an_overwritten_first_line_is_refused(header):
    # As in JS01052 of ecg-arrhythmia.
    with pytest.raises(CorruptFileError, match="promises 12 leads and lists 11"):
        header("X 12 500 500000/mV 16 0 15 31255 0 I", leads=LEADS[1:])


MALFORMED = {
    "empty": "",
    "blank": "\n\n",
    "comments-only": "# Age: 74\n",
    "one-word": "X\n",
    "words-for-numbers": "X twelve 500 5000\n",
    "no-leads": "X 0 500 5000\n",
    "rate-0": "X 1 0 5000\nX.mat 16+24 1000/mV 16 0 0 0 0 I\n",
    "multi-segment": "X/3 1 500 5000\nX.mat 16+24 1000/mV 16 0 0 0 0 I\n",
    "short-lead-line": "X 1 500 5000\nX.mat 16+24\n",
    "odd-format": "X 1 500 5000\nX.mat sixteen 1000/mV 16 0 0 0 0 I\n",
    "no-samples-a-frame": "X 1 500 5000\nX.mat 16x0 1000/mV 16 0 0 0 0 I\n",
    "odd-gain": "X 1 500 5000\nX.mat 16+24 e/mV 16 0 0 0 0 I\n",
    "word-for-checksum": "X 1 500 5000\nX.mat 16+24 1000/mV 16 0 0 x 0 I\n",
    "nul-bytes": "\0" * 64,
}


@pytest.mark.parametrize("text", MALFORMED.values(), ids=MALFORMED)
def test_a_malformed_header_is_refused_by_name(tmp_path, text):
    path = tmp_path / "X.hea"
    path.write_text(text)
    with pytest.raises(CorruptFileError, match=r"X\.hea"):
        read_header(path)


def test_an_absent_header_is_refused_by_name(tmp_path):
    with pytest.raises(CorruptFileError, match=r"X\.hea"):
        read_header(tmp_path / "X.hea")


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0a\nsize 120024\n"


def test_a_header_that_is_an_lfs_pointer_says_so(tmp_path):
    path = tmp_path / "X.hea"
    path.write_text(POINTER)
    with pytest.raises(CorruptFileError, match=r"git-lfs pointer.*git lfs pull"):
        read_header(path)


def check(header, path):
    check_signal_file(header, path, path.stat().st_size)


def test_a_signal_file_of_the_promised_size_passes(header, tmp_path):
    path = tmp_path / "X.mat"
    path.write_bytes(b"\0" * (24 + 24 * 100))
    check(header("X 12 500 100"), path)


@pytest.mark.parametrize("n_bytes", [0, 24, 24 + 24 * 100 - 1, 24 + 24 * 99, 24 + 24 * 101])
def test_a_signal_file_of_another_size_is_refused(header, tmp_path, n_bytes):
    path = tmp_path / "X.mat"
    path.write_bytes(b"\0" * n_bytes)
    with pytest.raises(CorruptFileError, match=r"promises 100 samples, X\.mat holds"):
        check(header("X 12 500 100"), path)


@pytest.mark.parametrize(
    ("kind", "n_bytes"),
    # 12 leads, 5 samples: bits of a sample by WFDB signal(5).
    [("16x3", 360), ("61", 120), ("80", 60), ("212", 90), ("24", 180), ("32+8", 248)],
)
def test_the_size_follows_the_format(header, tmp_path, kind, n_bytes):
    found = header("X 12 500 5", CURRENT.replace("16x1+24", kind))
    path = tmp_path / "X.mat"
    path.write_bytes(b"\0" * n_bytes)
    check(found, path)
    path.write_bytes(b"\0" * (n_bytes - 1))
    with pytest.raises(CorruptFileError, match="promises 5 samples"):
        check(found, path)


def test_a_signal_file_that_is_an_lfs_pointer_says_so(header, tmp_path):
    path = tmp_path / "X.mat"
    path.write_text(POINTER)
    with pytest.raises(CorruptFileError, match="git-lfs pointer"):
        check(header("X 12 500 100"), path)


def test_the_signature_is_the_same_whatever_the_order_of_leads(header):
    assert header("X 12 500 100").signature == header("X 12 500 100", leads=LEADS[::-1]).signature


def test_the_signature_tells_checksums_apart(header):
    other = header("X 12 500 100", CURRENT.replace("5254", "5255"))
    assert header("X 12 500 100").signature != other.signature
