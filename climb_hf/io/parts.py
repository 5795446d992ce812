"""How the part of a recording that is meant is cut out of it.

It is read with a margin on either side, so that a filter or another rate leaves its ends as they
are in the recording as a whole.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.io.signal import RawSeries
from climb_hf.schema import SeriesFile

_TAPS = 16  # samples of the slower rate that a resampled value may look at, and some more


def margin_s(rate_hz: float | None) -> float:
    """Returns the seconds that a window needs on either side to be brought to a rate."""
    return max(_TAPS / rate_hz, 1.0) if rate_hz else 0.0


def widened(source: SeriesFile, margin: float) -> SeriesFile:
    """Returns the part of a recording that a window is computed from: itself and a margin."""
    if not source.start_s and source.stop_s is None:
        return source
    stop_s = None if source.stop_s is None else source.stop_s + margin
    return replace(source, start_s=max(source.start_s - margin, 0.0), stop_s=stop_s)


def on_grid(series: RawSeries, source: SeriesFile, rate_hz: float) -> RawSeries:
    """Returns the series from the first sample of the margin that exists at the new rate too.

    A window then gets the very samples that the resampled recording has there.
    """
    if not series.start_s:
        return series
    step = Fraction(rate_hz / series.rate_hz).limit_denominator(10_000).denominator
    margin = round((source.start_s - series.start_s) * series.rate_hz)
    skip = -round(series.start_s * series.rate_hz) % step
    return _from(series, skip) if skip <= margin else series


def meant(series: RawSeries, source: SeriesFile) -> RawSeries:
    """Returns the part of a series that its source means, the margin cut off.

    A reader that finds out only in the file which part is meant says so in `facts["part_s"]`.

    Raises:
        CorruptFileError: if the part lies past the end of the recording.
    """
    start_s, stop_s = series.facts.get("part_s", (source.start_s, source.stop_s))
    first = round((start_s - series.start_s) * series.rate_hz)
    if stop_s is None:
        return _from(series, first)
    last = min(first + round((stop_s - start_s) * series.rate_hz), series.n_valid)
    if last <= max(first, 0):
        end_s = series.start_s + series.n_valid / series.rate_hz
        raise CorruptFileError(
            f"{source.path.name}: {start_s:g} to {stop_s:g} s lies outside the recording, which "
            f"ends at {end_s:g} s."
        )
    cut = _from(series, first)
    n_valid = last - max(first, 0)
    return replace(cut, data=cut.data[:, :n_valid], n_valid=n_valid)


def padded_before(series: RawSeries, start_s: float) -> RawSeries:
    """Returns a series that begins at a negative `start_s`, with 0 physical before 0 s.

    The `start_s` of its row so tells where the padding ends, as `n_valid` does at the end.
    """
    absent = round(-start_s * series.rate_hz)
    if absent <= 0:
        return series
    zero = np.round(series.offset).astype(series.data.dtype)
    padding = np.repeat(zero[:, None], absent, axis=1)
    return replace(
        series,
        data=np.concatenate([padding, series.data], axis=1),
        n_valid=series.n_valid + absent,
        start_s=series.start_s - absent / series.rate_hz,
        flags=(*series.flags, "padded"),
    )


def _from(series: RawSeries, first: int) -> RawSeries:
    """The series without its first samples; one that begins later already stays as it is."""
    if first <= 0:
        return series
    return replace(
        series,
        data=series.data[:, first:],
        n_valid=max(series.n_valid - first, 0),
        start_s=series.start_s + first / series.rate_hz,
    )
