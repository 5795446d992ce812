"""Samples of the plain WFDB formats, straight from the file (WFDB signal(5)).

`wfdb` reads every format and sets up much more for a record than its samples; the common formats
are a few lines each.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.io.header import PLAIN_BITS


def frames_in(n_bytes: int, code: str, n_leads: int) -> int:
    """Returns how many whole frames, of one sample a lead, so many bytes hold."""
    return max(n_bytes, 0) * 8 // (PLAIN_BITS[code] * n_leads)


def read_samples(path: Path, code: str, *, skip: int, n_leads: int, frames: range) -> np.ndarray:
    """Reads some frames of a file that stores one sample of each lead after another.

    Args:
        code: WFDB format, one of `climb_hf.io.header.PLAIN_BITS`.
        skip: bytes before frame 0.
        frames: which to read; no other part of the file is touched.

    Returns:
        Codes of shape (leads, time), int16, or int32 for formats of more than 16 bits. It is a
        view over the frames as they lie in the file: leads are put one behind another once, when
        it is known which are wanted in which order.

    Raises:
        CorruptFileError: if the file cannot be read or ends early.
    """
    bits, n_values = PLAIN_BITS[code], n_leads * len(frames)
    early = n_leads * frames.start % 2  # a sample of 12 bits may begin within a byte
    first_bit = bits * (n_leads * frames.start - early)
    stored = np.empty(-(-bits * (n_values + early) // 8), np.uint8)
    try:
        with path.open("rb") as file:
            file.seek(skip + first_bit // 8)
            n_read = file.readinto(stored.data)
    except OSError as error:
        raise CorruptFileError(f"cannot read {path.name}: {error.strerror}.") from error
    if n_read < stored.size:
        raise CorruptFileError(
            f"{path.name} ends before sample {frames.stop} of its leads. Fetch the file again."
        )
    values = _DECODERS[code](stored)[early : early + n_values]
    return values.reshape(len(frames), n_leads).T


def _low_byte_first(stored: np.ndarray) -> np.ndarray:
    return stored.view("<i2")


def _high_byte_first(stored: np.ndarray) -> np.ndarray:
    return stored.view(">i2").astype("<i2")


def _offset_binary(stored: np.ndarray) -> np.ndarray:
    return stored.astype("<i2") - np.int16(128)


def _12_bits(stored: np.ndarray) -> np.ndarray:
    """Two samples in three bytes: low byte, high nibbles (the first's is the lower), low byte."""
    whole = np.zeros((-(-stored.size // 3), 3), np.uint8)  # an odd count ends after two bytes
    whole.reshape(-1)[: stored.size] = stored
    low, nibbles, last = whole.astype("<i2").T
    pairs = np.empty((low.size, 2), "<i2")
    # To the top, where bits beyond the 16th fall off, and back down with the sign.
    np.bitwise_or(nibbles << 12 >> 4, low, out=pairs[:, 0])
    np.bitwise_or(nibbles >> 4 << 12 >> 4, last, out=pairs[:, 1])
    return pairs.reshape(-1)


def _24_bits(stored: np.ndarray) -> np.ndarray:
    wide = np.zeros((stored.size // 3, 4), np.uint8)
    wide[:, 1:] = stored.reshape(-1, 3)
    return wide.reshape(-1).view("<i4") >> 8  # down to its place, with the sign


def _32_bits(stored: np.ndarray) -> np.ndarray:
    return stored.view("<i4")


_DECODERS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "16": _low_byte_first,
    "61": _high_byte_first,
    "80": _offset_binary,
    "212": _12_bits,
    "24": _24_bits,
    "32": _32_bits,
}
