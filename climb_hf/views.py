"""Decoded views over stored columns: `Signal` is one series in physical units, `Series` the
feature that shows a column of stored series as a list of them.

`dataset.cast_column("series", Series())` changes no data: the Arrow type stays the stored struct.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, ClassVar

import numpy as np

from climb_hf.errors import CorruptFileError, OptionError


@dataclass(frozen=True)
class Signal:
    """One decoded series. Under the numpy and torch formats of `datasets` it is its `values`.

    Attributes:
        values: float32, shape (channels, time), in `units`; NaN where a sample was invalid.
        rate_hz: samples per second.
        channels: a name per channel, in the order of `values`.
        units: a unit per channel.
        start_s: where the series begins in its recording.
        n_valid: samples that were recorded; those after it are padding. None means all.
    """

    values: np.ndarray
    rate_hz: float
    channels: tuple[str, ...]
    units: tuple[str, ...]
    start_s: float = 0.0
    n_valid: int | None = None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        values = np.array(self.values, dtype=dtype, copy=copy)
        if dtype is not None or copy is not None:
            return values
        array = values.view(_SignalArray)
        array.signal = self
        return array


class _SignalArray(np.ndarray):
    """The values of a signal, which `datasets` stores as the struct that they came from.

    Before it writes a row, `datasets` asks each value for its array, and takes `array[()]` where
    that has no dimension; what it shows as numpy or torch it takes whole. NumPy itself counts
    dimensions elsewhere, and `np.asarray` gives an ordinary array.
    """

    signal: Signal | None = None

    @property
    def ndim(self) -> int:
        return super().ndim if self.signal is None else 0

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple) and key == () and self.signal is not None:
            return encode(self.signal)
        return super().__getitem__(key)


def range_scaled(signal: Signal) -> Signal:
    """Returns a signal as CLIMB's encoders were given it: divided by its range, not centred.

    The range is that of all channels together; a signal without any stays as it is, where
    upstream's division gives NaN.
    """
    known = signal.values[np.isfinite(signal.values)]
    span = float(np.ptp(known)) if known.size else 0.0
    if span == 0.0:
        return signal
    return replace(
        signal, values=signal.values / np.float32(span), units=("1",) * len(signal.units)
    )


def decode(stored: Mapping[str, Any]) -> Signal:
    """Returns the physical values of one stored series.

    Raises:
        CorruptFileError: if the bytes do not have the stored shape.
    """
    shape = tuple(int(size) for size in stored["shape"])
    raw = np.frombuffer(stored["data"], dtype=np.dtype(stored["dtype"]))
    if raw.size != int(np.prod(shape)):
        raise CorruptFileError(
            f"a stored series has {raw.size} samples where its shape {shape} asks for "
            f"{int(np.prod(shape))}. Build the data set again."
        )
    codes = raw.reshape(shape)
    gain = np.asarray(stored["gain"], dtype=np.float64)[:, None]
    offset = np.asarray(stored["offset"], dtype=np.float64)[:, None]
    values = (codes - offset) / gain
    if stored["invalid"] is not None:
        values[codes == stored["invalid"]] = np.nan
    return Signal(
        values=values.astype(np.float32),
        rate_hz=float(stored["rate_hz"]),
        channels=tuple(stored["channels"]),
        units=tuple(stored["units"]),
        start_s=float(stored["start_s"] or 0.0),
        n_valid=None if stored["n_valid"] is None else int(stored["n_valid"]),
    )


def encode(value: Signal | Mapping[str, Any]) -> dict[str, Any]:
    """Returns the stored struct of a `Signal`, as float32; a stored struct passes unchanged."""
    if isinstance(value, Mapping):
        return dict(value)
    if not isinstance(value, Signal):
        raise OptionError(
            f"a series cannot be stored from {type(value).__name__}: rate and channels are not "
            "known. Give a climb_hf.Signal or the stored struct."
        )
    values = np.ascontiguousarray(value.values, dtype="<f4")
    return {
        "data": values.tobytes(),
        "dtype": "<f4",
        "shape": list(values.shape),
        "rate_hz": float(value.rate_hz),
        "channels": list(value.channels),
        "units": list(value.units),
        "gain": [1.0] * len(value.channels),
        "offset": [0.0] * len(value.channels),
        "invalid": None,
        "start_s": float(value.start_s),
        "n_valid": value.n_valid,
    }


@dataclass
class Series:
    """Feature of a column that yields a list of `Signal` for the stored list of structs."""

    decode: bool = True
    dtype: ClassVar[str] = "list"
    pa_type: ClassVar[Any] = None
    _type: str = field(default="Series", init=False, repr=False)

    def __post_init__(self) -> None:
        # A table of several files rebuilds its features by name, so the name has to be known.
        register()

    def __setstate__(self, state: dict[str, Any]) -> None:
        register()  # in a process that was handed a data set and has made no view itself
        self.__dict__.update(state)

    def __call__(self) -> Any:
        from climb_hf.schema import disk_features

        return disk_features().arrow_schema.field("series").type

    def encode_example(self, value: Sequence[Any] | None) -> list[dict[str, Any]]:
        """Takes decoded signals as well as stored structs, so that `map` can write a row back."""
        return [encode(one) for one in (() if value is None else value)]

    def decode_example(
        self, value: Sequence[Mapping[str, Any]] | None, token_per_repo_id: Any = None
    ) -> list[Signal]:
        """Returns the signals of a row."""
        return [decode(one) for one in (() if value is None else value)]


def as_stored(kind: Any) -> Any:
    """Returns features, or one of them, with nothing in them that is decoded when a row is read."""
    if isinstance(kind, Mapping):
        made = {name: as_stored(one) for name, one in kind.items()}
        return type(kind)(made)  # type: ignore[call-arg]  # Features, or a plain dict
    if hasattr(kind, "feature"):
        return replace(kind, feature=as_stored(kind.feature))
    from datasets import Json

    if isinstance(kind, Json):  # words, not a medium
        return kind
    return replace(kind, decode=False) if getattr(kind, "decode", False) is True else kind


@cache
def register() -> None:
    """Makes the view feature known to `datasets` by its class name, once a process.

    The function of `datasets` is public but warns that it is experimental; what is stored never
    holds a feature of ours, so a later change could only break the view.
    """
    from datasets.features import features

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        features.register_feature(Series, Series.__name__)
