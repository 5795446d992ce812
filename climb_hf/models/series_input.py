"""From whatever a series comes as to the numbers that `SeriesEncoder` reads."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from climb_hf.errors import DataNotFoundError, OptionError
from climb_hf.models.series_config import ABSENT, GENERIC, SeriesConfig
from climb_hf.views import Signal, decode

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)

SERIES_INPUTS = ("series_values", "series_channels", "series_levels", "series_lengths")
N_LEVELS = 3
_LEAST_SCALE = 1e-12  # below it a channel counts as flat
_LEAST_SIZE = 1e-6
# How many of the first unit of its line one of each unit is: one scale for each quantity.
_PER_UNIT = {
    **{"mv": 1.0, "uv": 1e-3, "nv": 1e-6, "v": 1e3},
    **{"g": 1.0, "m/s2": 1 / 9.80665, "m/s^2": 1 / 9.80665},
    **{"deg/s": 1.0, "°/s": 1.0, "dps": 1.0, "rad/s": 180 / math.pi},
    **{"mmhg": 1.0, "kpa": 7.50062, "cmh2o": 0.735559},
}


@dataclass(frozen=True)
class PreparedSeries:
    """One piece of a series as the encoder reads it; channels in the order of their numbers.

    Attributes:
        values: float32, shape (channels, time), at the encoder's rate. Each channel has median 0
            and standard deviation 1 over the whole series; NaN where there is no sample.
        channels: int64, shape (channels,), numbers of `SeriesConfig.channel_number`.
        levels: float32, shape (channels, 3), what the scaling took away: 1 where the unit is known
            and 0 where not, the decimal logarithm of the standard deviation in mV, g, deg/s or
            mmHg, and asinh of the median over the standard deviation.
    """

    values: np.ndarray
    channels: np.ndarray
    levels: np.ndarray


# ---- input --------------------------------------------------------------------------------------


def as_signal(
    value: Any,
    *,
    rate_hz: float | None = None,
    channels: Sequence[str] | None = None,
    units: Sequence[str] | str | None = None,
) -> Signal:
    """Returns a series as a `Signal`, whatever it comes as.

    Args:
        value: a `Signal`, a stored series (an entry of our `series` column), the path of a WFDB
            header with or without its suffix, or an array of shape (channels, time).
        rate_hz: samples per second; of an array only, like what follows.
        channels: a name per channel.
        units: a unit per channel, or one for all; unknown ones leave the amplitude unknown.

    Raises:
        OptionError: if the shape, the rate or the names do not fit, or no sample is there.
        DataNotFoundError: if there is no such file.
        CorruptFileError: if a file or a stored series is not what it claims to be.
    """
    value = getattr(value, "signal", None) or value
    if isinstance(value, (str, Path)):
        value = _from_wfdb(Path(value))
    elif isinstance(value, Mapping):
        value = _from_struct(value)
    elif not isinstance(value, Signal):
        value = _from_array(value, rate_hz, channels, units)
    return _checked(value)


def _from_wfdb(path: Path) -> Signal:
    from climb_hf.io.signal import load
    from climb_hf.schema import SeriesFile

    header = path if path.suffix == ".hea" else path.with_name(path.name + ".hea")
    if not header.is_file():
        raise DataNotFoundError(
            f"{header} is not there. Give the path of a WFDB header (.hea); its signal file lies "
            "beside it."
        )
    series = load(SeriesFile(path=header, reader="wfdb"))
    return Signal(
        values=series.physical(),
        rate_hz=series.rate_hz,
        channels=series.channels,
        units=series.units,
        start_s=series.start_s,
        n_valid=series.n_valid,
    )


def _from_struct(value: Mapping[str, Any]) -> Signal:
    wanted = ("data", "dtype", "shape", "rate_hz", "channels", "units", "gain", "offset")
    missing = [name for name in wanted if value.get(name) is None]
    if missing:
        raise OptionError(
            f"a series is given as a mapping without {missing[0]!r}, so it is no entry of a "
            "`series` column. Give such an entry, a climb_hf.Signal, a path or an array."
        )
    return decode({"invalid": None, "start_s": 0.0, "n_valid": None, **value})


def _from_array(
    value: Any,
    rate_hz: float | None,
    channels: Sequence[str] | None,
    units: Sequence[str] | str | None,
) -> Signal:
    try:
        values = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"a series is given as {type(value).__name__}, which is no array of numbers ({error}). "
            "Give a climb_hf.Signal, an entry of a `series` column, a path or an array."
        ) from error
    if rate_hz is None or channels is None:
        raise OptionError(
            "a series is given as an array without rate_hz and channels. Give both, as in "
            '{"type": "time_series", "time_series": values, "rate_hz": 500, "channels": [...], '
            '"units": "mV"}, or a climb_hf.Signal.'
        )
    names = (channels,) if isinstance(channels, str) else tuple(channels)
    given = [units or ""] * len(names) if units is None or isinstance(units, str) else units
    return Signal(values, rate_hz, names, tuple(given))


def _checked(signal: Signal) -> Signal:
    values = np.asarray(signal.values)
    n_names, n_units = len(signal.channels), len(signal.units)
    if values.ndim != 2 or not len(values) == n_names == n_units:
        hint = ""
        if values.ndim == 2 and values.shape[1] == n_names:
            hint = " Its axes look swapped: transpose it."
        raise OptionError(
            f"a series has shape {values.shape} with {n_names} channel names and {n_units} units, "
            f"but should be (channels, time) with one name and one unit per channel.{hint}"
        )
    if not (np.isfinite(signal.rate_hz) and signal.rate_hz > 0):
        raise OptionError(
            f"a series has rate_hz={signal.rate_hz!r}, but should have a sampling rate above 0."
        )
    recorded = values.shape[1] if signal.n_valid is None else signal.n_valid
    if not np.isfinite(values[:, :recorded]).any():
        raise OptionError(
            f"a series of shape {values.shape} holds no valid sample in its first {recorded}: all "
            "are NaN or there is none. Leave it out."
        )
    return signal


# ---- preparation --------------------------------------------------------------------------------


def prepare(signal: Signal, config: SeriesConfig) -> list[PreparedSeries]:
    """Makes a series ready for the encoder.

    Channels without any sample are left out, as if they had not been recorded. Invalid samples
    stay invalid, and padding after `n_valid` is cut off.

    Returns:
        One piece, or several where the series is longer than `config.max_seconds` and
        `config.too_long` is `window`.

    Raises:
        OptionError: if a channel is unknown or there twice, or the series is too long.
    """
    signal = _checked(signal)
    values = _recorded(signal, config)
    rows = [row for row in range(len(values)) if np.isfinite(values[row]).any()]
    order = _order(signal, rows, config)
    values = values[[row for _, row in order]]
    centre = np.nanmedian(values, axis=1, keepdims=True)
    # Centred before it is resampled: the filter takes what lies beyond the ends for zero.
    moved = _resampled(values - centre, signal, config.rate_hz)
    scale = np.nanstd(moved, axis=1, keepdims=True)
    scaled = moved / np.maximum(scale, _LEAST_SCALE)
    numbers = np.array([number for number, _ in order], dtype=np.int64)
    levels = _levels(centre[:, 0], scale[:, 0], [signal.units[row] for _, row in order])
    return [
        PreparedSeries(piece.astype(np.float32), numbers, levels)
        for piece in _pieces(scaled, config.max_samples)
    ]


def _recorded(signal: Signal, config: SeriesConfig) -> np.ndarray:
    """Float64 samples without padding, NaN where invalid, of no more than the length allowed."""
    values = np.array(signal.values, dtype=np.float64)[:, : signal.n_valid]
    values[~np.isfinite(values)] = np.nan
    most = math.ceil(config.max_samples * signal.rate_hz / config.rate_hz)
    if values.shape[1] <= most or config.too_long == "window":
        return values
    told = (
        f"a series lasts {values.shape[1] / signal.rate_hz:g} s, longer than "
        f"max_seconds={config.max_seconds:g}"
    )
    if config.too_long == "error":
        raise OptionError(
            f"{told}. Cut it, raise max_seconds, or set too_long to 'truncate' (keeps the start) "
            "or 'window' (several pieces)."
        )
    logger.warning("%s: only its start is used.", told)
    kept = values[:, :most]
    if not np.isfinite(kept).any():
        raise OptionError(f"{told}, and holds no valid sample before. Set too_long to 'window'.")
    return kept


def _order(signal: Signal, rows: Sequence[int], config: SeriesConfig) -> list[tuple[int, int]]:
    """The number and the row of each channel, by number; unknown channels by name."""
    found: dict[Any, tuple[int, int]] = {}
    for row in rows:
        name = signal.channels[row]
        number = config.channel_number(name)
        key = (number, name.casefold() if number == GENERIC else "")
        if key in found:
            other = signal.channels[found[key][1]]
            raise OptionError(
                f"channels {other!r} and {name!r} of a series are the same. Leave one out."
            )
        found[key] = (number, row)
    return [found[key] for key in sorted(found)]


def _resampled(values: np.ndarray, signal: Signal, rate_hz: float) -> np.ndarray:
    from climb_hf.io.signal import RawSeries, resample

    n_channels = len(values)
    raw = RawSeries(
        data=values,
        rate_hz=float(signal.rate_hz),
        channels=("",) * n_channels,
        units=("",) * n_channels,
        gain=np.ones(n_channels),
        offset=np.zeros(n_channels),
        invalid=None,
        n_valid=values.shape[1],
    )
    wanted = max(1, round(values.shape[1] * rate_hz / signal.rate_hz))
    return np.asarray(resample(raw, rate_hz).data, dtype=np.float64)[:, :wanted]


def _levels(centre: np.ndarray, scale: np.ndarray, units: Sequence[str]) -> np.ndarray:
    factors = np.array([_PER_UNIT.get(_unit_key(unit), 0.0) for unit in units])
    known = factors > 0
    size = np.maximum(scale * factors, _LEAST_SIZE)
    levels = [known, np.where(known, np.log10(size), 0.0), np.arcsinh(centre / _nonzero(scale))]
    return np.stack(levels, axis=1).astype(np.float32)


def _nonzero(scale: np.ndarray) -> np.ndarray:
    return np.where(scale > _LEAST_SCALE, scale, np.inf)


def _unit_key(unit: str) -> str:
    key = "".join(str(unit).split()).casefold()
    return key.replace("\N{GREEK SMALL LETTER MU}", "u").replace("²", "2")  # casefold makes µ Greek


def _pieces(values: np.ndarray, longest: int) -> list[np.ndarray]:
    """Consecutive pieces that each hold a sample; a whole series is one."""
    pieces = [values[:, first : first + longest] for first in range(0, values.shape[1], longest)]
    return [piece for piece in pieces if np.isfinite(piece).any()]


# ---- batches ------------------------------------------------------------------------------------


def collate(series: Sequence[PreparedSeries]) -> dict[str, torch.Tensor]:
    """Returns the inputs of the encoder for a batch; without any series there are none.

    Returns:
        `series_values` (series, channels, time) float32, NaN where there is no sample;
        `series_channels` (series, channels) int64, -1 where there is no channel; `series_levels`
        (series, channels, 3) float32; `series_lengths` (series,) int64, samples of each.
    """
    import torch

    if not series:
        return {}
    shapes = [one.values.shape for one in series]
    n_channels, n_samples = (max(sizes) for sizes in zip(*shapes, strict=True))
    values = np.full((len(series), n_channels, n_samples), np.nan, dtype=np.float32)
    numbers = np.full((len(series), n_channels), ABSENT, dtype=np.int64)
    levels = np.zeros((len(series), n_channels, N_LEVELS), dtype=np.float32)
    for at, one in enumerate(series):
        own_channels, own_samples = one.values.shape
        values[at, :own_channels, :own_samples] = one.values
        numbers[at, :own_channels] = one.channels
        levels[at, :own_channels] = one.levels
    lengths = np.array([samples for _, samples in shapes], dtype=np.int64)
    arrays = (values, numbers, levels, lengths)
    return {
        name: torch.from_numpy(array) for name, array in zip(SERIES_INPUTS, arrays, strict=True)
    }
