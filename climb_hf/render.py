"""Signals as pictures that a cardiologist, or a vision model, can read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from climb_hf.check import check_option, check_type, nearest
from climb_hf.errors import OptionError
from climb_hf.views import Signal

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
SHEET_S = 10.0
WIDTHS_PX = (112, 8192)

_MV_PER_UNIT = {"mv": 1.0, "uv": 1e-3, "\u00b5v": 1e-3, "\u03bcv": 1e-3}  # micro sign, Greek mu
_PULSE_MV, _PULSE_S = 1.0, 0.2
_GRID_MM, _MARGIN_MM = 5.0, 5.0
_TEXT_MM, _LEAST_TEXT_PX = 4.0, 9
_INK_MM, _LEAST_INK_PX = 0.35, 0.9
_ABOVE_MM, _BELOW_MM = 10.0, 5.0  # room for tall beats of the first and deep ones of the last row

_NAME_MM = 10.0  # lead names stand this far above 0 mV

_PAPER = (255, 252, 250)
_THIN = (248, 205, 200)
_THICK = (233, 140, 135)
_INK = (16, 16, 32)


@dataclass(frozen=True)
class _Layout:
    """Which leads stand where: columns follow each other in time, rhythm leads run below."""

    columns: tuple[tuple[str, ...], ...]
    row_mm: float
    rhythm: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        return len(self.columns[0]) + len(self.rhythm)

    def strips(self) -> Iterator[tuple[str, int, float, float]]:
        """Yields lead, row, and begin and end in s of each strip."""
        span = SHEET_S / len(self.columns)
        for column, leads in enumerate(self.columns):
            for row, lead in enumerate(leads):
                yield lead, row, column * span, (column + 1) * span
        for row, lead in enumerate(self.rhythm, start=len(self.columns[0])):
            yield lead, row, 0.0, SHEET_S


_FOUR = (LEADS[0:3], LEADS[3:6], LEADS[6:9], LEADS[9:12])
LAYOUTS = {
    "3x4+rhythm": _Layout(_FOUR, 30.0, ("II",)),
    "3x4": _Layout(_FOUR, 30.0),
    "6x2": _Layout((LEADS[:6], LEADS[6:]), 25.0),
    "12x1": _Layout((LEADS,), 20.0),
}


@dataclass(frozen=True)
class _Sheet:
    """Where time and voltage lie on the picture, in px of the finished picture."""

    layout: _Layout
    width_px: int
    speed_mm_s: float
    gain_mm_mv: float
    titled: bool

    @property
    def left_mm(self) -> float:
        """Room for the calibration pulse, in whole squares so that seconds fall on the grid."""
        return _GRID_MM * math.ceil((2 * _MARGIN_MM + _PULSE_S * self.speed_mm_s) / _GRID_MM)

    @property
    def px_per_mm(self) -> float:
        return self.width_px / (self.left_mm + SHEET_S * self.speed_mm_s + _MARGIN_MM)

    @property
    def row_mm(self) -> float:
        """Rows grow with a gain above the usual 10 mm/mV, so that a pulse always fits."""
        return self.layout.row_mm * max(1.0, self.gain_mm_mv / 10.0)

    @property
    def text_px(self) -> int:
        return max(round(_TEXT_MM * self.px_per_mm), _LEAST_TEXT_PX)

    @property
    def band_px(self) -> int:
        """Height of the title line and of the footer."""
        return self.text_px + 4

    @property
    def top_px(self) -> int:
        return self.band_px if self.titled else 0

    @property
    def bottom_px(self) -> int:
        chart_mm = _ABOVE_MM + self.layout.rows * self.row_mm + _BELOW_MM
        return self.top_px + round(chart_mm * self.px_per_mm)

    def x(self, time_s: Any) -> Any:
        """Place of a time, or of an array of times, after the start."""
        return (self.left_mm + time_s * self.speed_mm_s) * self.px_per_mm

    def y(self, row: int, level_mv: Any) -> Any:
        """Height of a level, or of an array of them; 0 mV lies in the middle of the row."""
        from_top_mm = _ABOVE_MM + (row + 0.5) * self.row_mm - level_mv * self.gain_mm_mv
        return self.top_px + from_top_mm * self.px_per_mm


class Pen:
    """Draws lines in px of the finished picture onto a mask that is larger, to smooth edges."""

    def __init__(self, size: tuple[int, int], width_px: float, finer: int) -> None:
        self._finer = finer
        self._width = max(1, round(width_px * finer))
        self._mask = Image.new("L", (size[0] * finer, size[1] * finer), 0)
        self._draw = ImageDraw.Draw(self._mask)

    def line(self, x: np.ndarray, y: np.ndarray) -> None:
        """Draws through all points; a lone point becomes a dot."""
        points = np.stack([x, y], axis=1) * self._finer
        if len(points) == 1:
            points = np.concatenate([points, points + self._width / 2])
        self._draw.line(points.ravel().tolist(), fill=255, width=self._width)

    def mask(self) -> Image.Image:
        """Returns how much ink each px of the finished picture holds."""
        return self._mask.reduce(self._finer)


def ecg_sheet(
    signal: Signal,
    *,
    width_px: int = 1100,
    title: str | None = None,
    speed_mm_s: float = 25.0,
    gain_mm_mv: float = 10.0,
    layout: str = "3x4+rhythm",
) -> Image.Image:
    """Draws a 12-lead ECG on millimetre paper, to scale.

    Leads are found by name, in any order and case. The first 10 s are drawn; a shorter recording
    ends early, padding after `n_valid` and invalid samples (NaN) leave gaps, and a lead that is
    absent leaves its place blank. 0 mV is the middle of a row; only where the median of a lead
    lies more than a quarter of a row away is the lead shifted by it. A trace may reach into the
    neighbouring rows as far as their middle, and runs flat there.

    Args:
        signal: values of shape (channels, time) in mV or uV; channels named as in `LEADS`.
        width_px: of the picture, 112 to 8192. The height follows from the layout. 1 mm lines are
            left out where a millimetre is less than 2 px.
        title: a line above the chart; it must not tell who the patient is.
        speed_mm_s: paper speed in mm per second.
        gain_mm_mv: height of 1 mV in mm.
        layout: `3x4+rhythm` (four columns of 2.5 s and lead II below), `3x4`, `6x2` or `12x1`.

    Returns:
        An RGB picture, the same bytes for the same input and Pillow version.

    Raises:
        OptionError: if a unit is neither mV nor uV, a channel is no ECG lead or named twice, or
            an argument is out of its range.
    """
    check_option("layout", layout, tuple(LAYOUTS))
    check_type("width_px", width_px, int)
    _check_range("width_px", width_px, *WIDTHS_PX)
    _check_range("speed_mm_s", speed_mm_s, 5.0, 100.0)
    _check_range("gain_mm_mv", gain_mm_mv, 1.0, 50.0)
    leads = _leads_mv(signal)
    sheet = _Sheet(LAYOUTS[layout], width_px, speed_mm_s, gain_mm_mv, bool(title))
    picture = _paper(sheet)
    _write(picture, sheet, title or "", signal.rate_hz)
    pen = Pen(picture.size, max(_INK_MM * sheet.px_per_mm, _LEAST_INK_PX), finer(width_px))
    _draw_marks(pen, sheet)
    for lead, row, begin_s, end_s in sheet.layout.strips():
        if lead in leads:
            _draw_trace(pen, sheet, leads[lead], signal.rate_hz, row, (begin_s, end_s))
    picture.paste(_INK, mask=pen.mask())
    return picture


def _check_range(name: str, value: float, least: float, most: float) -> None:
    check_type(name, value, (int, float))
    if not least <= value <= most:
        raise OptionError(f"{name}={value!r} is not between {least} and {most}.")


def finer(width_px: int) -> int:
    """Small pictures need more smoothing, and can afford it."""
    return 2 if width_px >= 800 else 4


def _leads_mv(signal: Signal) -> dict[str, np.ndarray]:
    """Returns the recorded part of each lead in mV, at most 10 s and one sample, by name.

    Raises:
        OptionError: if shape, rate, units or names are not those of an ECG.
    """
    values = np.asarray(signal.values, dtype=np.float64)
    if values.ndim != 2 or not len(values) == len(signal.channels) == len(signal.units):
        raise OptionError(
            f"signal: values of shape {values.shape} do not go with {len(signal.channels)} "
            f"channels and {len(signal.units)} units; give one row, name and unit per channel."
        )
    if not (math.isfinite(signal.rate_hz) and signal.rate_hz > 0):
        raise OptionError(f"signal: rate_hz={signal.rate_hz!r} is not a sampling rate.")
    recorded = values.shape[1] if signal.n_valid is None else signal.n_valid
    values = values[:, : min(recorded, int(SHEET_S * signal.rate_hz) + 1)]
    leads: dict[str, np.ndarray] = {}
    for name, unit, row in zip(signal.channels, signal.units, values, strict=True):
        lead = _lead_name(name)
        if lead in leads:
            raise OptionError(f"signal: lead {lead!r} is there twice.")
        leads[lead] = row * _mv_per(unit)
    return leads


def _lead_name(name: str) -> str:
    """Returns a lead's name in the usual spelling."""
    for lead in LEADS:
        if lead.lower() == name.strip().lower():
            return lead
    raise OptionError(
        f"signal: channel {name!r} is not one of the leads {', '.join(LEADS)}."
        f"{nearest(name, LEADS)}"
    )


def _mv_per(unit: str) -> float:
    """Returns how many mV one of a unit is."""
    if unit.strip().lower() not in _MV_PER_UNIT:
        raise OptionError(f"signal: unit {unit!r} is neither mV nor uV; convert the values first.")
    return _MV_PER_UNIT[unit.strip().lower()]


def _paper(sheet: _Sheet) -> Image.Image:
    """Returns the empty sheet: a grid over the chart, blank bands for title and footer."""
    size = (sheet.width_px, sheet.bottom_px + sheet.band_px)
    picture = Image.new("RGB", size, _PAPER)
    if sheet.px_per_mm < 2:  # squares of a few px would hide the trace
        _rule(picture, sheet, _GRID_MM, _THIN, 0.28)
        return picture
    _rule(picture, sheet, 1.0, _THIN, 0.18)
    _rule(picture, sheet, _GRID_MM, _THICK, 0.28)
    return picture


def _rule(
    picture: Image.Image, sheet: _Sheet, step_mm: float, colour: tuple[int, int, int], ink_mm: float
) -> None:
    """Rules the chart with lines `step_mm` apart, each `ink_mm` wide but at least half a px."""
    step = step_mm * sheet.px_per_mm
    pen = Pen(picture.size, max(ink_mm * sheet.px_per_mm, 0.5), finer(sheet.width_px))
    top, bottom, right = sheet.top_px, sheet.bottom_px, sheet.width_px
    for number in range(int(right / step) + 1):
        pen.line(np.full(2, number * step), np.array([top, bottom]))
    for number in range(int((bottom - top) / step + 1e-6) + 1):
        pen.line(np.array([0, right]), np.full(2, top + number * step))
    picture.paste(colour, mask=pen.mask())


def _write(picture: Image.Image, sheet: _Sheet, title: str, rate_hz: float) -> None:
    """Writes title, lead names and footer, below the traces and unsmoothed so that they stay
    sharp in small pictures."""
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(sheet.text_px)
    inset = max(round(sheet.px_per_mm), 2)
    draw.text((inset, 1), shortened(title, font, sheet.width_px - 2 * inset), _INK, font)
    for lead, row, begin_s, _ in sheet.layout.strips():
        low = sheet.y(row, 0.0) - _NAME_MM * sheet.px_per_mm
        draw.text((sheet.x(begin_s) + inset, low), lead, _INK, font, anchor="ls")
    footer = f"{sheet.speed_mm_s:g} mm/s   {sheet.gain_mm_mv:g} mm/mV   {rate_hz:g} Hz"
    draw.text((inset, sheet.bottom_px + 1), footer, _INK, font)


def shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, room_px: int) -> str:
    """Returns the text, cut so that it fits on the sheet."""
    line = " ".join(text.split())
    while line and font.getlength(line) > room_px:
        line = line[:-1]
    return line


def _draw_marks(pen: Pen, sheet: _Sheet) -> None:
    """Draws the calibration pulse of each row and the ticks between columns."""
    width_mm = _PULSE_S * sheet.speed_mm_s
    corners_mm = np.array([-2.0, 0.0, 0.0, width_mm, width_mm, width_mm + 2.0]) + _MARGIN_MM
    levels_mv = np.array([0.0, 0.0, _PULSE_MV, _PULSE_MV, 0.0, 0.0])
    for row in range(sheet.layout.rows):
        pen.line(corners_mm * sheet.px_per_mm, sheet.y(row, levels_mv))
    for _, row, begin_s, _ in sheet.layout.strips():
        if begin_s > 0:
            middle = sheet.y(row, 0.0)
            for far_mm, near_mm in ((-5.0, -3.0), (3.0, 5.0)):
                ends = middle + np.array([far_mm, near_mm]) * sheet.px_per_mm
                pen.line(np.full(2, sheet.x(begin_s)), ends)


def _draw_trace(
    pen: Pen,
    sheet: _Sheet,
    lead_mv: np.ndarray,
    rate_hz: float,
    row: int,
    span_s: tuple[float, float],
) -> None:
    """Draws one strip, from the first sample of its span to the one on its end."""
    level_mv = lead_mv - _shift_mv(lead_mv, sheet)
    first = math.ceil(span_s[0] * rate_hz - 1e-9)
    last = math.floor(span_s[1] * rate_hz + 1e-9)
    part = level_mv[first : last + 1]
    x = sheet.x((first + np.arange(part.size)) / rate_hz)
    reach_px = sheet.row_mm * sheet.px_per_mm
    middle = sheet.y(row, 0.0)
    y = np.clip(sheet.y(row, part), middle - reach_px, middle + reach_px)
    y = np.clip(y, sheet.top_px, sheet.bottom_px)
    for run in finite_runs(part):
        pen.line(x[run], y[run])


def _shift_mv(lead_mv: np.ndarray, sheet: _Sheet) -> float:
    """Returns the level to be moved to the middle of the row: 0 unless the lead lies far off."""
    finite = lead_mv[np.isfinite(lead_mv)]
    median = float(np.median(finite)) if finite.size else 0.0
    return median if abs(median) * sheet.gain_mm_mv > sheet.row_mm / 4 else 0.0


def finite_runs(values: np.ndarray) -> Iterator[slice]:
    """Yields the stretches without a gap."""
    finite = np.concatenate([[False], np.isfinite(values), [False]])
    edges = np.flatnonzero(finite[1:] != finite[:-1])
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        yield slice(int(begin), int(end))
