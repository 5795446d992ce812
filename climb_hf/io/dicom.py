"""DICOM files to images: the modality's scale, a window and the polarity, each applied once.

Every step before the last maps one stored value to one shade, so each is worked out per value that
occurs and then looked up, whatever the size of the image.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from climb_hf.check import check_option
from climb_hf.errors import CorruptFileError, DependencyError
from climb_hf.io import image as images_io
from climb_hf.io.dicom_header import Facts, Window, facts_of, header, parse, reading
from climb_hf.io.image import RawImage
from climb_hf.schema import ImageFile

if TYPE_CHECKING:
    import numpy as np
    from pydicom import Dataset

__all__ = ["FORMS", "PERCENTILES", "header", "load", "values"]
FORMS = ("uint8", "uint16", "raw")
# Of the values that are shown where the file states no window.
PERCENTILES = (0.5, 99.5)
_JPEG_8_BIT = "1.2.840.10008.1.2.4.50"
_GREY = ("MONOCHROME1", "MONOCHROME2")
_WHITE = 65535.0
_RUNS = 3  # zlib's strategy Z_RLE
_AGAIN = "Fetch the file again."
_INSTALL = "Install one with: pip install 'climb-hf[dicom]'"


def load(file: ImageFile, data: bytes | None = None) -> RawImage:
    """Makes an image of a DICOM file, or takes out the JPEG that it holds where nothing changes.

    Grey becomes a PNG in 8 or 16 bits, brighter being more, by this order: the modality's table or
    slope; the first window, else the first table of values of interest, else values as they are in
    8 bits, and the range between two percentiles in more; inversion; black for what is padding.
    Colour becomes RGB in 8 bits, whatever is asked for.

    Args:
        file: `form` says what is wanted of grey: `uint8`, `uint16`, or `raw`, the stored values as
            a PNG in 16 bits with RescaleSlope and RescaleIntercept in `meta`, such that value in
            the PNG * slope + intercept is what was measured. `frame` picks one of several, the
            first where it is None.
        data: the file's bytes, where they are read already.

    Raises:
        CorruptFileError: if it is no DICOM file, holds no pixels or is cut short.
        DependencyError: if pydicom, or the decoder of its pixels, is not installed.
    """
    check_option("form of a DICOM image", file.form, FORMS)
    name = file.key or file.path.name
    dataset = parse(images_io.bytes_of(file) if data is None else data, name)
    frame, n_frames = _frame(dataset, file.frame, name)
    made = _made(dataset, file, frame or 0, n_frames, name)
    return replace(made, view=file.view, frame=frame)


def values(path: Path, frame: int = 0) -> np.ndarray:
    """Returns what was measured: stored values of grey on the modality's scale (HU for CT).

    Returns:
        float32, shape (rows, columns).

    Raises:
        CorruptFileError: if it is no DICOM file of grey, holds no pixels or is cut short.
        DependencyError: if pydicom, or the decoder of its pixels, is not installed.
    """
    dataset = parse(images_io.bytes_of(ImageFile(path)), path.name)
    frame = _frame(dataset, frame, path.name)[0] or 0
    facts = facts_of(dataset, frame, path.name)
    stored = _stored(dataset, frame, path.name)
    if stored.ndim != 2 or facts.photometric not in _GREY:
        raise CorruptFileError(f"{path.name} is in colour ({facts.photometric}): nothing measured.")
    levels, places = _levels(stored)
    return _measured(levels, facts)[places].astype("float32")


def _frame(dataset: Dataset, wanted: int | None, name: str) -> tuple[int | None, int]:
    """Which frame, None where there is one only, and how many there are."""
    with reading(name):
        n_frames = int(dataset.get("NumberOfFrames") or 1)
    if wanted is not None and not 0 <= wanted < n_frames:
        raise CorruptFileError(
            f"{name} has {n_frames} frames, and frame {wanted} (counted from 0) is asked for. "
            "Fetch the image and its table of one release."
        )
    return (wanted or 0) if n_frames > 1 else None, n_frames


def _made(dataset: Dataset, file: ImageFile, frame: int, n_frames: int, name: str) -> RawImage:
    facts, form = facts_of(dataset, frame, name), file.form
    if file.window is not None:
        facts = replace(facts, window=Window(*file.window, function="LINEAR_EXACT"))
    may_pass = form == "uint8" or facts.photometric not in _GREY
    if may_pass and (found := _jpeg(dataset, facts, frame, n_frames, name)):
        return found
    stored = _stored(dataset, frame, name)
    if facts.photometric not in _GREY or stored.ndim != 2:
        return _encoded(_colours(stored, dataset, facts, name))
    return _raw(stored, facts, name) if form == "raw" else _shown(stored, facts, form)


def _stored(dataset: Dataset, frame: int, name: str) -> np.ndarray:
    """The decoded values of a frame, colour as RGB, shape (rows, columns[, 3])."""
    from pydicom.pixels import get_decoder, pixel_array

    syntax = dataset.file_meta.TransferSyntaxUID
    with reading(name):
        decoder = get_decoder(syntax)
    if not decoder.is_available:
        raise DependencyError(
            f"{name} has its pixels in {syntax.name} ({syntax}), and no decoder for it is "
            f"installed. {_INSTALL}"
        )
    try:
        with reading(name):
            return pixel_array(dataset, index=frame)
    except CorruptFileError as error:
        if decoder.available_plugins and "gdcm" not in decoder.available_plugins:
            raise CorruptFileError(
                f"{error} A decoder of more kinds may help. {_INSTALL}"
            ) from error
        raise


# -- values to shades --


def _levels(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Stored values in their order, and for each pixel the place of its own."""
    import numpy as np

    low, high = stored.min(), stored.max()
    if np.issubdtype(stored.dtype, np.integer) and int(high) - int(low) < 2**17:
        return np.arange(int(low), int(high) + 1), stored.astype(np.int64) - int(low)
    levels, places = np.unique(stored, return_inverse=True)
    return levels, places.reshape(stored.shape)


def _measured(levels: np.ndarray, facts: Facts) -> np.ndarray:
    """float64: values on the modality's scale."""
    if facts.modality is not None:
        return facts.modality.of(levels)
    return levels * facts.slope + facts.intercept


def _padded(levels: np.ndarray, facts: Facts) -> np.ndarray:
    import numpy as np

    if facts.padding is None:
        return np.zeros(len(levels), bool)
    return (levels >= facts.padding[0]) & (levels <= facts.padding[1])


def _shades(levels: np.ndarray, counts: np.ndarray, facts: Facts) -> np.ndarray:
    """What each stored value is shown as: float64 from 0, black, to 1.

    Args:
        counts: pixels of each value.
    """
    found, padded = _measured(levels, facts), _padded(levels, facts)
    if facts.window is not None:
        shades = _windowed(found, facts.window)
    elif facts.voi is not None:
        shown = facts.voi.of(found.round())
        shades = _between(shown, facts.voi.entries.min(), facts.voi.entries.max())
    else:
        shades = _between(found, *_range(levels, counts, found, padded, facts))
    if facts.inverted:
        shades = 1.0 - shades
    shades[padded] = 0.0
    return shades


def _windowed(values: np.ndarray, window: Window) -> np.ndarray:
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_windowing

    asked = Dataset()  # of 16 bits, so that the result ends at 0 and at white
    asked.PhotometricInterpretation = "MONOCHROME2"
    asked.PixelRepresentation, asked.BitsStored = 0, 16
    asked.WindowCenter, asked.WindowWidth = window.center, window.width
    asked.VOILUTFunction = window.function
    return apply_windowing(values, asked) / _WHITE


def _between(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return ((values - low) / ((high - low) or 1.0)).clip(0.0, 1.0)


def _range(
    levels: np.ndarray, counts: np.ndarray, found: np.ndarray, padded: np.ndarray, facts: Facts
) -> tuple[float, float]:
    """Which values become black and white where the file does not say."""
    import numpy as np

    if _as_they_are(facts):
        ends = _measured(np.array([0, 2**facts.bits - 1]), facts)
        return float(ends.min()), float(ends.max())
    there = ~padded & (counts > 0)
    if not there.any():
        return 0.0, 1.0
    kept = found[there]
    low, high = np.percentile(kept, PERCENTILES, weights=counts[there], method="inverted_cdf")
    if low == high:
        low, high = kept.min(), kept.max()
    return float(low), float(high)


def _as_they_are(facts: Facts) -> bool:
    """Whether values without a window are shades already."""
    return facts.bits <= 8 and not facts.signed and facts.modality is None


# -- shades to files --


def _jpeg(dataset: Dataset, facts: Facts, frame: int, n_frames: int, name: str) -> RawImage | None:
    """The JPEG that a file holds, byte for byte, where it shows what we would make of it."""
    import numpy as np

    if dataset.file_meta.TransferSyntaxUID != _JPEG_8_BIT or facts.bits != 8:
        return None
    if facts.photometric in _GREY:
        levels = np.arange(256)
        if not np.array_equal((_shades(levels, np.ones(256), facts) * 255).round(), levels):
            return None
    from pydicom.encaps import get_frame

    with reading(name):
        data = get_frame(dataset.PixelData, frame, number_of_frames=n_frames)
        with Image.open(io.BytesIO(data)) as opened:
            (width, height), mode = opened.size, opened.mode
            # A viewer takes three components for YCbCr unless a marker of the file says RGB.
            as_rgb = opened.info.get("adobe_transform") == 0
    wanted = {"MONOCHROME2": "L", "MONOCHROME1": "L"}.get(facts.photometric, "RGB")
    known = facts.photometric in _GREY or as_rgb == (facts.photometric == "RGB")
    if mode != wanted or not known or (height, width) != (dataset.Rows, dataset.Columns):
        return None
    return RawImage(data, height, width, mode)


def _shown(stored: np.ndarray, facts: Facts, form: str) -> RawImage:
    import numpy as np

    levels, places = _levels(stored)
    counts = np.bincount(places.ravel(), minlength=len(levels))
    white, kind = (255, np.uint8) if form == "uint8" else (65535, np.uint16)
    shades = (_shades(levels, counts, facts) * white).round().astype(kind)
    seen = shades[counts > 0]
    constant = bool(seen.min() == seen.max())
    made = _encoded(np.zeros(stored.shape, kind) if constant else shades[places])
    unsaid = facts.window is None and facts.voi is None and not _as_they_are(facts)
    return replace(
        made,
        flags=("constant_image",) if constant else (),
        meta={"window": "percentiles {:g} to {:g}".format(*PERCENTILES)} if unsaid else {},
    )


def _raw(stored: np.ndarray, facts: Facts, name: str) -> RawImage:
    """Stored values as they are, moved above 0 where they are signed, or those of a table."""
    import numpy as np

    levels, places = _levels(stored)
    slope, intercept = facts.slope, facts.intercept
    if facts.modality is not None:
        levels, slope, intercept = facts.modality.of(levels).astype(np.int64), 1.0, 0.0
    moved = 2**15 if facts.signed and facts.modality is None else 0
    levels = levels + moved
    if levels.min() < 0 or levels.max() > _WHITE:
        raise CorruptFileError(
            f"{name} has values of more than 16 bits, which a PNG cannot hold. "
            "Ask for the form 'uint8' or 'uint16'."
        )
    meta: Mapping[str, Any] = {
        "RescaleSlope": slope,
        "RescaleIntercept": intercept - moved * slope,
        "PhotometricInterpretation": facts.photometric,
    }
    constant = bool(stored.min() == stored.max())
    made = _encoded(levels.astype(np.uint16)[places])
    return replace(made, meta=meta, flags=("constant_image",) if constant else ())


def _colours(stored: np.ndarray, dataset: Dataset, facts: Facts, name: str) -> np.ndarray:
    """uint8, shape (rows, columns, 3)."""
    import numpy as np
    from pydicom.pixels import apply_color_lut

    bits = facts.bits
    if facts.photometric == "PALETTE COLOR":
        with reading(name):
            stored = apply_color_lut(stored, dataset)[..., :3]
        bits = 8 if stored.max() < 256 else 16  # some write shades of 8 bits into wider entries
    if stored.ndim != 3 or stored.shape[2] != 3:
        raise CorruptFileError(
            f"{name} has pixels of the shape {stored.shape} and the unknown photometric "
            f"interpretation {facts.photometric!r}. {_AGAIN}"
        )
    return (stored >> max(bits - 8, 0)).astype(np.uint8)


def _encoded(pixels: np.ndarray) -> RawImage:
    """A PNG. Grey of scanners is noise in its last bits: looking for runs alone takes a fraction of
    the time of looking for repetitions, and the file is as small or smaller.
    """
    image, buffer = Image.fromarray(pixels), io.BytesIO()
    image.save(buffer, "PNG", compress_type=_RUNS if pixels.ndim == 2 else -1)
    height, width = pixels.shape[:2]
    return RawImage(buffer.getvalue(), height, width, image.mode)
