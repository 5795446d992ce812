"""Near-equal images: what of an image survives another encoding and another size.

A fingerprint is the perceptual hash of Zauner (2010, "Implementation and benchmarking of perceptual
image hash functions"), with 256 bits in place of 64, and the 32 x 32 px that it is made from. Of 64
bits radiographs of different people have all alike; see `BENCHMARKS.md` for both.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageOps

from climb_hf.errors import CorruptFileError

# `python -m tests.bench.near_images` has the figures behind both: of real radiographs, encoded
# again as JPEG of quality 50 or at a quarter of the size, at most 26 of 256 bits change and the
# detail keeps a correlation of 0.97; of 9.7 million pairs of others none comes near either.
MAX_BITS = 32
MIN_CORRELATION = 0.95
_SIDE, _KEPT, _COARSE = 32, 16, 4
_FLAT = 1.5  # standard deviation, in levels of 0..255, under which an image shows nothing
_N_BANDS = 16  # of 16 bits each, twice: with two orders of the bits
_NEXT = 64  # neighbours compared within a crowded band


@dataclass(frozen=True)
class Fingerprint:
    """What is compared of one image.

    Attributes:
        bits: uint16, shape (16,): 256 bits.
        pixels: uint8, shape (1024,): 32 x 32 levels of grey.
    """

    bits: np.ndarray
    pixels: np.ndarray


@dataclass(frozen=True)
class Pair:
    """Two images that are nearly equal, by their places in a list.

    Attributes:
        n_bits: how many of 256 differ.
        correlation: of their detail, what is finer than an eighth of the image. By their coarse
            shades photographs of one kind, such as those of the fundus, are all alike.
    """

    first: int
    second: int
    n_bits: int
    correlation: float


def fingerprint(data: bytes) -> Fingerprint | None:
    """Returns the fingerprint of an image file, or None where it shows nothing to compare.

    Raises:
        CorruptFileError: if it cannot be decoded.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            opened.draft("L", (4 * _SIDE, 4 * _SIDE))  # a JPEG is then decoded at a smaller size
            small = _small(ImageOps.exif_transpose(opened))
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise CorruptFileError(f"the image cannot be decoded: {error}") from error
    if small.std() < _FLAT:
        return None
    low = _waves(small)[:_KEPT, :_KEPT].ravel()
    bits = np.packbits(low > np.median(low)).view(np.uint16)
    return Fingerprint(bits, small.round().astype(np.uint8).ravel())


def _small(image: Image.Image) -> np.ndarray:
    """The image in 32 x 32 px, float64 from 0 to 255."""
    if image.mode.startswith(("I", "F")):  # 16 bits and more, stretched over what occurs
        wide = np.asarray(image, np.float32)
        low, high = float(wide.min()), float(wide.max())
        grey = Image.fromarray((wide - low) * (255.0 / max(high - low, 1e-9)))
    else:
        grey = image.convert("L").convert("F")
    return np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64).clip(0, 255)


def _waves(pixels: np.ndarray) -> np.ndarray:
    """The orthonormal cosine transform of 32 x 32 px, coarse waves first."""
    return _cosines() @ pixels @ _cosines().T


@cache
def _cosines() -> np.ndarray:
    place = np.arange(_SIDE)
    rows = np.cos(np.pi * place[:, None] * (2 * place + 1) / (2 * _SIDE))
    return rows * np.sqrt(np.where(place == 0, 1, 2) / _SIDE)[:, None]


def _detail(one: Fingerprint) -> np.ndarray:
    """The waves of an image without the coarsest, of length 1."""
    waves = _waves(one.pixels.reshape(_SIDE, _SIDE).astype(np.float64))
    waves[:_COARSE, :_COARSE] = 0
    return waves.ravel() / max(float(np.linalg.norm(waves)), 1e-9)


def near_pairs(
    prints: Sequence[Fingerprint],
    max_bits: int = MAX_BITS,
    min_correlation: float = MIN_CORRELATION,
) -> list[Pair]:
    """Returns the pairs of images that are nearly equal, nearest first.

    Not every two are compared: only those that have one of 32 bands of 16 bits in common. Of pairs
    that differ in 8 bits that misses less than one in a million, in 24 bits one in a thousand, in
    32 bits one in fifty. Of images with all bits alike each is paired with the first of them.
    """
    if len(prints) < 2:
        return []
    bits = np.stack([one.bits for one in prints])
    unique, first, place = np.unique(bits, axis=0, return_index=True, return_inverse=True)
    place = place.reshape(-1)
    alike = [(first[place[i]], i) for i in range(len(prints)) if first[place[i]] != i]
    pairs = np.array(alike, np.int64).reshape(-1, 2)
    found = list(_confirmed(prints, bits, pairs, max_bits, min_correlation))
    for some in _candidates(unique):
        found += _confirmed(prints, bits, first[some], max_bits, min_correlation)
    once = {(one.first, one.second): one for one in found}
    return sorted(once.values(), key=lambda one: (one.n_bits, one.first, one.second))


def _candidates(bits: np.ndarray) -> Iterator[np.ndarray]:
    """Yields pairs of rows that share a band, shape (pairs, 2), band by band."""
    for order in (bits, _shuffled(bits)):
        for band in range(_N_BANDS):
            yield _sharing(order, band)


def _shuffled(bits: np.ndarray) -> np.ndarray:
    """The same bits, each band made of one bit of every band."""
    flat = np.unpackbits(bits.view(np.uint8), axis=1)
    mixed = flat.reshape(len(bits), _N_BANDS, -1).transpose(0, 2, 1).reshape(flat.shape)
    return np.packbits(mixed, axis=1).view(np.uint16)


def _sharing(bits: np.ndarray, band: int) -> np.ndarray:
    """Pairs of rows with equal bits in a band; in a crowd each with the next ones only."""
    order = np.lexsort((*bits.T, bits[:, band]))
    keys = bits[order, band]
    pairs = []
    for step in range(1, min(_NEXT, len(bits) - 1) + 1):
        same = np.flatnonzero(keys[step:] == keys[:-step])
        if not same.size:
            break
        pairs.append(np.stack([order[same], order[same + step]], axis=1))
    return np.concatenate(pairs) if pairs else np.empty((0, 2), np.int64)


def _confirmed(
    prints: Sequence[Fingerprint],
    bits: np.ndarray,
    pairs: np.ndarray,
    max_bits: int,
    min_correlation: float,
) -> Iterator[Pair]:
    """Yields those pairs that are near by all of their bits and by their pixels."""
    pairs = np.sort(pairs, axis=1)
    differing = np.bitwise_count(bits[pairs[:, 0]] ^ bits[pairs[:, 1]]).sum(axis=1)
    for index in np.flatnonzero(differing <= max_bits):
        first, second = (int(place) for place in pairs[index])
        alike = float(_detail(prints[first]) @ _detail(prints[second]))
        if alike >= min_correlation:
            yield Pair(first, second, int(differing[index]), round(alike, 4))
