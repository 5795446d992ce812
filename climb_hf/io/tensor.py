"""Arrays as the struct that is stored: little-endian bytes in C order, kind and shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from climb_hf.errors import CorruptFileError


def as_tensor(array: np.ndarray | None) -> dict[str, Any] | None:
    """Returns the stored struct of an array, or None for None."""
    if array is None:
        return None
    plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    kind = plain.dtype.str if plain.dtype.itemsize > 1 else f"|i{plain.dtype.itemsize}"
    return {"data": plain.tobytes(), "dtype": kind, "shape": list(plain.shape)}


def from_tensor(stored: Mapping[str, Any] | None) -> np.ndarray | None:
    """Returns the array of a stored struct; None, or a struct without bytes, gives None.

    Raises:
        CorruptFileError: if the bytes do not have the stored shape.
    """
    if stored is None or stored["data"] is None:
        return None
    shape = tuple(int(size) for size in stored["shape"])
    flat = np.frombuffer(stored["data"], dtype=np.dtype(stored["dtype"]))
    if flat.size != int(np.prod(shape)):
        raise CorruptFileError(
            f"a stored array has {flat.size} values where its shape {shape} asks for "
            f"{int(np.prod(shape))}. Build the data set again."
        )
    return flat.reshape(shape)
