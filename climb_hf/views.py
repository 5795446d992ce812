"""Decoded views over stored columns: `Signal` is one series in physical units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Signal:
    """One decoded series.

    Attributes:
        values: float32, shape (channels, time), in `units`; NaN where a sample was invalid.
        rate_hz: samples per second.
        channels: a name per channel, in the order of `values`.
        units: a unit per channel.
        start_s: where the series begins in its recording.
        n_valid: samples that were recorded; those after it are padding.
    """

    values: Any
    rate_hz: float
    channels: tuple[str, ...]
    units: tuple[str, ...]
    start_s: float = 0.0
    n_valid: int | None = None
