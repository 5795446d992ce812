"""Small DICOM files as pydicom writes them, for makers of sources and for tests."""

from __future__ import annotations

import hashlib
import io
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DigitalMammographyXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

sys.path.append(str(Path(__file__).parent))

from made_images import encoded, write

ROOT = "1.2.826.0.1.3680043.8.498."  # pydicom's own root
_PREAMBLE = bytes(128) + b"DICM"


def film(seed: int, height: int = 32, width: int = 24, bits: int = 12) -> np.ndarray:
    """uint16 or uint8, shape (height, width): a bright body on a dark ground, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    body = np.hypot(x - width * rng.uniform(0.3, 0.7), (y - height / 2) / 1.5) < width * 0.35
    shade = np.where(body, 0.6, 0.1) + rng.normal(0, 0.05, (height, width))
    values = (shade.clip(0.0, 1.0) * (2**bits - 1)).round()
    return values.astype(np.uint8 if bits <= 8 else np.uint16)


def dicom(
    pixels: np.ndarray | None,
    *,
    syntax: UID | None = ExplicitVRLittleEndian,
    bits: int | None = None,
    photometric: str = "MONOCHROME2",
    **elements: Any,
) -> bytes:
    """The bytes of a DICOM file.

    Args:
        pixels: shape (rows, columns), (frames, rows, columns) with NumberOfFrames among the
            elements, or (rows, columns, 3); None leaves PixelData out.
        syntax: Explicit VR Little Endian, RLE Lossless, or JPEG Baseline of grey in 8 bits; None
            leaves it out of the header of what is written in Implicit VR Little Endian.
        bits: BitsStored, as many as are allocated where not given.
        **elements: further elements by the standard's names; None makes one that is empty.
    """
    made = Dataset()
    made.SOPClassUID = DigitalMammographyXRayImageStorageForPresentation
    made.SOPInstanceUID = elements.pop("SOPInstanceUID", f"{ROOT}1")
    made.PatientID = elements.pop("PatientID", "SYNTH")
    for name, value in elements.items():
        setattr(made, name, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    if syntax is not None:
        made.file_meta.TransferSyntaxUID = syntax if pixels is None else ExplicitVRLittleEndian
    if pixels is not None:
        _add_pixels(made, pixels, syntax, bits, photometric)
    buffer = io.BytesIO()
    implicit = syntax is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on elements that the standard does not foresee here
        made.save_as(
            buffer,
            implicit_vr=implicit if implicit else None,
            little_endian=True if implicit else None,
            enforce_file_format=not implicit,
        )
    data = buffer.getvalue()
    return data if syntax is not None else _PREAMBLE + data.removeprefix(_PREAMBLE)


def _add_pixels(
    made: Dataset, pixels: np.ndarray, syntax: UID | None, bits: int | None, photometric: str
) -> None:
    colour = pixels.ndim == 3 and "NumberOfFrames" not in made
    made.Rows, made.Columns = pixels.shape[-3:-1] if colour else pixels.shape[-2:]
    made.SamplesPerPixel = 3 if colour else 1
    if colour:
        made.PlanarConfiguration = 0
    made.PhotometricInterpretation = photometric
    made.BitsAllocated = 8 * pixels.dtype.itemsize
    made.BitsStored = bits or made.BitsAllocated
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    made.PixelData = np.ascontiguousarray(pixels).tobytes()
    if made.BitsAllocated == 8:
        made["PixelData"].VR = "OB"
        made.PixelData += b"\0" * (len(made.PixelData) % 2)
    else:
        made["PixelData"].VR = "OW"
    if syntax == RLELossless:
        made.compress(RLELossless, generate_instance_uid=False)
    elif syntax == JPEGBaseline8Bit:
        made.PixelData = encapsulate([jpeg(pixels)])
        made["PixelData"].is_undefined_length = True
        made.file_meta.TransferSyntaxUID = JPEGBaseline8Bit


def jpeg(pixels: np.ndarray) -> bytes:
    """The JPEG that `dicom` puts into a file for these pixels."""
    return encoded(Image.fromarray(pixels), "JPEG", quality=95)


def linear(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """uint8: what a window shows, by the formula of PS3.3 C.11.2.1.2.1."""
    shades = ((values.astype(float) - (center - 0.5)) / (width - 1) + 0.5) * 255
    return shades.clip(0, 255).round().astype(np.uint8)


def sha1(pixels: np.ndarray) -> str:
    """SHA-1 over the pixels of an image, row by row."""
    return hashlib.sha1(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def write_broken(folder: Path, names: Sequence[str], good: bytes) -> dict[str, Any]:
    """Writes files that cannot be read: cut short, empty, a JPEG, a page, one without PixelData.

    Returns:
        Name without ending -> the fault that a reader must report.
    """
    page = b"<html>404</html>"
    broken = (good[: len(good) // 2], b"", jpeg(film(9, bits=8)), page, dicom(None))
    for name, data in zip(names, broken, strict=True):
        write(folder / name, data)
    return {Path(name).stem: {"kind": "damaged"} for name in names}
