"""Any series as a picture: an ECG as a sheet, all else as traces below each other."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from climb_hf.errors import OptionError
from climb_hf.render import LEADS, Pen, ecg_sheet, finer, finite_runs, shortened
from climb_hf.views import Signal

MOST_CHANNELS = 64  # more rows than that are thinner than their names
_PAPER, _RULE, _INK = (255, 255, 255), (225, 225, 230), (16, 16, 32)
_ROW_SHARE, _LEFT_SHARE = 0.055, 0.09  # of the width: height of a row, room for the names
_LEAST_ROW_PX, _LEAST_TEXT_PX = 18, 9


def series_sheet(signal: Signal, *, width_px: int = 1100, title: str | None = None) -> Image.Image:
    """Draws a series: the ECG sheet where every channel is one of the 12 leads, else its traces.

    Args:
        signal: values of shape (channels, time).
        width_px: of the picture.
        title: a line above; it must not tell who the patient is.

    Raises:
        OptionError: if nothing can be drawn of the signal.
    """
    leads = {lead.lower() for lead in LEADS}
    named = {name.strip().lower() for name in signal.channels}
    if named and named <= leads:
        return ecg_sheet(signal, width_px=width_px, title=title)
    return traces(signal, width_px=width_px, title=title)


def traces(signal: Signal, *, width_px: int = 1100, title: str | None = None) -> Image.Image:
    """Draws each channel as a row of its own, scaled to its own range, over a common time axis.

    The name of a channel stands at its left, with its range and unit below; gaps are invalid
    samples, and padding after `n_valid` is left out.

    Returns:
        An RGB picture, the same bytes for the same input and Pillow version.

    Raises:
        OptionError: if the signal has no channel, more than 64, or no recorded sample.
    """
    values = np.asarray(signal.values, dtype=np.float64)[:, : signal.n_valid]
    if not 0 < len(values) <= MOST_CHANNELS or not values.shape[1]:
        raise OptionError(
            f"signal: {len(values)} channels of {values.shape[1]} samples cannot be drawn; "
            f"1 to {MOST_CHANNELS} channels with a sample or more can."
        )
    row_px = max(round(width_px * _ROW_SHARE), _LEAST_ROW_PX)
    text_px = max(row_px // 4, _LEAST_TEXT_PX)
    top = text_px + 6 if title else 2
    bottom = top + row_px * len(values)
    picture = Image.new("RGB", (width_px, bottom + text_px + 8), _PAPER)
    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(text_px)
    draw.text((4, 1), shortened(title or "", font, width_px - 8), _INK, font)
    left = round(width_px * _LEFT_SHARE)
    seconds = values.shape[1] / signal.rate_hz
    px_per_s = (width_px - left - 4) / seconds
    _rule(draw, font, (left, top, bottom), seconds, px_per_s)
    pen = Pen(picture.size, max(width_px / 1000, 1.0), finer(width_px))
    for row, values_of in enumerate(values):
        middle = top + (row + 0.5) * row_px
        _trace(pen, values_of, left, middle, row_px, px_per_s / signal.rate_hz)
        _name(draw, font, signal, row, values_of, middle, left)
    picture.paste(_INK, mask=pen.mask())
    return picture


def _rule(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    box: tuple[int, int, int],
    seconds: float,
    px_per_s: float,
) -> None:
    """Draws the time axis: a line and a number every 1, 2 or 5 times a power of ten seconds."""
    left, top, bottom = box
    wanted = 60 / px_per_s  # s between two numbers that do not touch
    power = 10.0 ** math.floor(math.log10(wanted))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= wanted)
    for number in range(int(seconds / step + 1e-9) + 1):
        x = left + number * step * px_per_s
        draw.line([(x, top), (x, bottom)], fill=_RULE)
        anchor = "la" if number == 0 else "ma" if x < left + seconds * px_per_s - 12 else "ra"
        draw.text((x, bottom + 2), f"{number * step:g} s", _INK, font, anchor=anchor)


def _trace(
    pen: Pen, values: np.ndarray, left: float, middle: float, row_px: float, px_per_sample: float
) -> None:
    finite = values[np.isfinite(values)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    span = (high - low) or 1.0
    y = middle - ((values - (low + high) / 2) / span) * 0.84 * row_px
    x = left + np.arange(len(values)) * px_per_sample
    for run in finite_runs(values):
        pen.line(x[run], y[run])


def _name(
    draw: ImageDraw.ImageDraw,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    signal: Signal,
    row: int,
    values: np.ndarray,
    middle: float,
    left: float,
) -> None:
    finite = values[np.isfinite(values)]
    span = float(finite.max() - finite.min()) if finite.size else 0.0
    draw.text((4, middle), shortened(signal.channels[row], font, int(left) - 8), _INK, font, "ls")
    said = f"{span:.3g} {signal.units[row]}"
    draw.text((4, middle + 1), shortened(said, font, int(left) - 8), (120, 120, 130), font, "la")
