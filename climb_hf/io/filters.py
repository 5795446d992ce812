"""Notch and band-pass filters without phase shift, for sources that offer them; off by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from climb_hf.errors import OptionError
from climb_hf.io.signal import RawSeries, bridged
from climb_hf.optional import need

_QUALITY = 30.0  # of the notch: 2 Hz wide at 60 Hz
_ORDER = 4  # of the Butterworth filters, run forwards and backwards
_SETTLED = 3.0  # periods of the slowest edge after which a filter has forgotten its start


@dataclass(frozen=True)
class Band:
    """What to filter away. None leaves that filter out.

    Attributes:
        notch_hz: mains, 60 Hz in the United States.
        high_pass_hz, low_pass_hz: the edges between which a signal is kept.
    """

    notch_hz: float | None = None
    high_pass_hz: float | None = None
    low_pass_hz: float | None = None

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Band:
        """Returns the band that a source's options ask for; empty where it offers none."""
        return cls(*(options.get(name) for name in ("notch_hz", "high_pass_hz", "low_pass_hz")))

    @property
    def margin_s(self) -> float:
        """Seconds that a window needs on either side for its ends to be as in the recording."""
        notch = self.notch_hz / _QUALITY if self.notch_hz else None
        edges = [edge for edge in (notch, self.high_pass_hz, self.low_pass_hz) if edge]
        return _SETTLED / min(edges) if edges else 0.0


def filtered(series: RawSeries, band: Band) -> RawSeries:
    """Returns the series after the filters of a band, as float32 with gain 1.

    Invalid samples are bridged for the filter and are invalid again after it.

    Raises:
        OptionError: if an edge is not between 0 and half the rate of the series.
    """
    if band == Band() or not series.data.shape[1]:
        return series
    design = need("scipy.signal", extra="eeg")
    values, lost = bridged(series)
    for sections in _sections(design, band, series.rate_hz):
        values = design.sosfiltfilt(sections, values, axis=1, padlen=_padding(sections, values))
    values[lost] = np.nan
    return replace(
        series,
        data=values.astype(np.float32),
        gain=np.ones(len(series.channels)),
        offset=np.zeros(len(series.channels)),
        invalid=None,
    )


def _sections(design: Any, band: Band, rate_hz: float) -> list[np.ndarray]:
    """The filters as second-order sections."""
    for name, edge in vars(band).items():
        if edge is not None and not 0 < edge < rate_hz / 2:
            raise OptionError(
                f"{name}={edge:g} is not between 0 and {rate_hz / 2:g} Hz, half the rate of the "
                "recording. Choose another edge."
            )
    found = []
    if band.notch_hz:
        found.append(design.tf2sos(*design.iirnotch(band.notch_hz, _QUALITY, fs=rate_hz)))
    for edge, kind in ((band.high_pass_hz, "highpass"), (band.low_pass_hz, "lowpass")):
        if edge:
            found.append(design.butter(_ORDER, edge, kind, fs=rate_hz, output="sos"))
    return found


def _padding(sections: np.ndarray, values: np.ndarray) -> int:
    """Samples by which each end is extended; less for a series shorter than the usual number."""
    return min(3 * (2 * len(sections) + 1), values.shape[1] - 1)
