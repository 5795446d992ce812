"""An ECG sheet is true to scale, hides nothing and shows nothing that was not recorded."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from PIL import Image, ImageDraw

from climb_hf.errors import OptionError
from climb_hf.render import LAYOUTS, LEADS, ecg_sheet
from climb_hf.views import Signal

RATE_HZ = 500


def ecg(values, channels=LEADS, unit="mV", rate_hz=RATE_HZ, n_valid=None):
    values = np.asarray(values, np.float32)
    units = (unit,) * len(channels)
    return Signal(values, rate_hz, tuple(channels), units, n_valid=n_valid)


def flat(seconds=10):
    return np.zeros((12, seconds * RATE_HZ), np.float32)


def wavy(seconds=10):
    clock = np.arange(seconds * RATE_HZ) / RATE_HZ
    return np.stack([0.5 * np.sin(2 * np.pi * (1 + 0.1 * lead) * clock) for lead in range(12)])


def pixels(picture):
    return np.asarray(picture).astype(int)


def trace_of(signal, **options):
    """Where the traces are: what differs from the sheet without any lead."""
    drawn = pixels(ecg_sheet(signal, **options))
    none = ecg(np.zeros((0, 5000)), ())
    return np.abs(drawn - pixels(ecg_sheet(none, **options))).sum(axis=2) > 120


def five_mm(width_px=1100, axis=0):
    """Length of 5 mm in px, from the distance of the strong grid lines of an empty sheet."""
    empty = pixels(ecg_sheet(ecg(np.zeros((0, 5000)), ()), width_px=width_px))
    strength = -empty[..., 1].mean(axis=axis)
    strength = strength[: 540 if axis else None]  # above the footer
    strong = np.flatnonzero(strength > np.quantile(strength, 0.5) + 30)
    lines = np.split(strong, np.flatnonzero(np.diff(strong) > 3) + 1)
    centres = [line.mean() for line in lines]
    return (centres[-1] - centres[0]) / (len(centres) - 1)


def middle_of(mask, axis):
    return np.flatnonzero(mask.any(axis=axis)).mean()


def test_one_second_is_25_mm():
    clicks = []
    for second in (1, 9):
        values = np.full((12, 5000), np.nan)
        values[1, second * RATE_HZ] = 0.0
        clicks.append(middle_of(trace_of(ecg(values), layout="12x1"), axis=0))
    assert clicks[1] - clicks[0] == pytest.approx(8 * 5 * five_mm(), abs=1.0)


@pytest.mark.parametrize("gain_mm_mv", [5.0, 10.0])
def test_one_mv_is_as_high_as_the_gain_says(gain_mm_mv):
    def height(level_mv):
        values = np.full((12, 5000), np.nan)
        values[10] = level_mv
        return middle_of(trace_of(ecg(values), gain_mm_mv=gain_mm_mv), axis=1)

    # Small levels: a lead that lies far off would be moved to the middle of its row.
    rise = height(-0.25) - height(0.25)
    assert rise == pytest.approx(0.5 * gain_mm_mv / 5 * five_mm(axis=1), abs=1.0)


def test_the_calibration_pulse_is_one_mv_high_and_a_fifth_of_a_second_wide():
    ink = pixels(ecg_sheet(ecg(np.zeros((0, 5000)), ()))).max(axis=2) < 110
    # Lead names begin where the traces do, 15 mm from the left edge; row 1 lies above 47 mm.
    pulse = ink[: int(9 * five_mm()), : int(2.9 * five_mm())]
    columns = np.flatnonzero(pulse.sum(axis=0) > five_mm())
    rows = np.flatnonzero(pulse.sum(axis=1) > 0.8 * five_mm())
    assert columns[-1] - columns[0] == pytest.approx(five_mm(), abs=2.0)
    top_row = rows[0]
    lowest = np.flatnonzero(pulse.any(axis=1))[-1]
    assert lowest - top_row == pytest.approx(2 * five_mm(), abs=2.0)


def test_width_is_what_was_asked_for():
    for width_px in (112, 224, 1100, 2000):
        assert ecg_sheet(ecg(wavy()), width_px=width_px).width == width_px


def test_a_gap_of_invalid_samples_stays_blank():
    whole = trace_of(ecg(flat()), layout="12x1")
    values = flat()
    values[:, 2000:3000] = np.nan
    holed = trace_of(ecg(values), layout="12x1")
    lost = np.flatnonzero(whole.any(axis=0) & ~holed.any(axis=0))
    assert lost.size == pytest.approx(2 * 5 * five_mm(), abs=4.0)
    assert lost.size == lost[-1] - lost[0] + 1
    assert not (holed & ~whole).any()


def test_padding_is_not_drawn():
    padded = ecg_sheet(ecg(flat(), n_valid=2500))
    short = ecg_sheet(ecg(flat(5)))
    assert padded.tobytes() == short.tobytes()


def test_a_long_recording_shows_its_first_ten_seconds():
    long = wavy(20)
    changed = long.copy()
    changed[:, 5001:] = 3.0
    assert ecg_sheet(ecg(long)).tobytes() == ecg_sheet(ecg(changed)).tobytes()


def test_columns_follow_each_other_in_time():
    # Only the second column's leads are there: they fill 2.5 s to 5 s, whatever else they hold.
    values = flat()
    drawn = trace_of(ecg(values[3:6], LEADS[3:6]), layout="3x4")
    columns = np.flatnonzero(drawn.any(axis=0))
    left = 15 / 5 * five_mm()
    assert columns[0] == pytest.approx(left + 2.5 * 5 * five_mm(), abs=2.0)
    assert columns[-1] == pytest.approx(left + 5.0 * 5 * five_mm(), abs=2.0)


def test_order_and_case_of_channels_do_not_matter():
    values = wavy()
    order = [7, 3, 11, 0, 5, 1, 9, 2, 10, 4, 8, 6]
    names = [LEADS[position].upper() for position in order]
    assert ecg_sheet(ecg(values[order], names)).tobytes() == ecg_sheet(ecg(values)).tobytes()


def test_microvolts_give_the_same_picture_as_millivolts():
    values = np.round(wavy(), 3)
    expected = pixels(ecg_sheet(ecg(values)))
    for unit in ("uV", "\u00b5V", "\u03bcV"):
        found = pixels(ecg_sheet(ecg(values * 1000, unit=unit)))
        assert (np.abs(found - expected).max(axis=2) > 0).mean() < 1e-3


def test_the_same_input_gives_the_same_bytes():
    assert ecg_sheet(ecg(wavy())).tobytes() == ecg_sheet(ecg(wavy())).tobytes()


def test_an_absent_lead_leaves_its_place_blank():
    values = wavy()
    without = np.delete(values, 6, axis=0)
    names = [lead for lead in LEADS if lead != "V1"]
    whole = trace_of(ecg(values), layout="12x1")
    missing = trace_of(ecg(without, names), layout="12x1")
    lost = np.flatnonzero((whole & ~missing).any(axis=1))
    assert lost[-1] - lost[0] < 2.2 * five_mm()  # the 1 mV of one sine, not more


def test_a_lead_far_from_zero_is_moved_into_its_row():
    values = flat()
    values[0] = 4.0
    assert ecg_sheet(ecg(values)).tobytes() == ecg_sheet(ecg(flat())).tobytes()


def test_a_trace_out_of_reach_stays_on_the_chart():
    values = flat()
    values[:, 100:140] = 50.0
    values[:, 300:340] = -50.0
    drawn = trace_of(ecg(values))
    rows = np.flatnonzero(drawn.any(axis=1))
    assert rows[0] >= 0
    assert rows[-1] <= drawn.shape[0] - 12  # the footer keeps clear


def text_boxes(monkeypatch, **options):
    """Boxes of all words that are written, by asking Pillow for each."""
    boxes = []
    write = ImageDraw.ImageDraw.text

    def watch(self, xy, text, fill=None, font=None, anchor=None, **rest):
        if text:
            boxes.append((text, self.textbbox(xy, text, font, anchor)))
        write(self, xy, text, fill, font, anchor, **rest)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", watch)
    size = ecg_sheet(ecg(flat()), **options).size
    return boxes, size


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("width_px", [224, 1100])
def test_words_neither_overlap_nor_leave_the_sheet(monkeypatch, layout, width_px):
    boxes, size = text_boxes(monkeypatch, layout=layout, width_px=width_px, title="a title " * 40)
    names = {text for text, _ in boxes}
    assert set(LEADS) <= names
    for (_, one), (_, other) in itertools.combinations(boxes, 2):
        apart_x = one[2] <= other[0] or other[2] <= one[0]
        apart_y = one[3] <= other[1] or other[3] <= one[1]
        assert apart_x or apart_y
    for _, box in boxes:
        assert box[0] >= 0 and box[1] >= 0
        assert box[2] <= size[0] and box[3] <= size[1]


def test_the_footer_tells_the_scale(monkeypatch):
    boxes, _ = text_boxes(monkeypatch)
    assert "25 mm/s   10 mm/mV   500 Hz" in {text for text, _ in boxes}


def test_nothing_is_written_beside_title_leads_and_scale(monkeypatch):
    boxes, _ = text_boxes(monkeypatch, title="domain ecg")
    others = {text for text, _ in boxes} - set(LEADS)
    assert others == {"domain ecg", "25 mm/s   10 mm/mV   500 Hz"}


def test_a_small_sheet_has_no_millimetre_lines():
    colours = {}
    for width_px in (224, 1100):
        sheet = ecg_sheet(ecg(np.zeros((0, 5000)), ()), width_px=width_px)
        colours[width_px] = pixels(sheet)[..., 1].mean()
    assert colours[224] > colours[1100]


def test_a_flat_signal_and_one_of_gaps_only_are_drawn():
    assert trace_of(ecg(flat())).any()
    assert not trace_of(ecg(np.full((12, 5000), np.nan))).any()


def test_the_picture_is_rgb_and_carries_no_metadata():
    picture = ecg_sheet(ecg(wavy()), title="x")
    assert isinstance(picture, Image.Image)
    assert picture.mode == "RGB"
    assert picture.info == {}


@pytest.mark.parametrize("rate_hz", [100, 250, 257.3, 1000])
def test_any_rate_fills_its_ten_seconds(rate_hz):
    samples = math.ceil(10 * rate_hz)
    drawn = trace_of(ecg(np.zeros((12, samples)), rate_hz=rate_hz), layout="12x1")
    columns = np.flatnonzero(drawn.any(axis=0))
    assert columns[-1] - columns[0] == pytest.approx(50 * five_mm(), abs=3.0)


@pytest.mark.parametrize(
    ("signal", "options", "named"),
    [
        (ecg(flat(), unit="V"), {}, "'V'"),
        (ecg(flat(), unit="adu"), {}, "mV nor uV"),
        (ecg(flat()[:1], ("Fp1",)), {}, "'Fp1'"),
        (ecg(flat()[:2], ("II", "ii")), {}, "twice"),
        (ecg(flat()[:3], ("I", "II")), {}, "per channel"),
        (ecg(flat()[0], ("I",)), {}, "per channel"),
        (ecg(flat(), rate_hz=0), {}, "rate_hz"),
        (ecg(flat()), {"layout": "3x5"}, "layout"),
        (ecg(flat()), {"width_px": 20}, "width_px"),
        (ecg(flat()), {"width_px": 300.5}, "width_px"),
        (ecg(flat()), {"speed_mm_s": 0}, "speed_mm_s"),
        (ecg(flat()), {"gain_mm_mv": math.nan}, "gain_mm_mv"),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(signal, options, named):
    with pytest.raises(OptionError, match=named):
        ecg_sheet(signal, **options)


def test_real_recordings_are_drawn(real_data):
    wfdb = pytest.importorskip("wfdb")
    folder = real_data / "ecg" / "challenge-2021" / "training"
    for header in sorted(folder.rglob("*.hea"))[::7]:
        record = wfdb.rdrecord(str(header.with_suffix("")))
        values = record.p_signal.T
        signal = Signal(values, record.fs, tuple(record.sig_name), tuple(record.units))
        assert trace_of(signal).sum() > 5000
