"""A DICOM series to one volume: its slices in the order in which they lie in space.

Neither file names nor instance numbers decide, but the projection of each slice's position on the
normal of the slices. Values are those of the modality (HU for CT), padding is air.
"""

from __future__ import annotations

import io
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.io import dicom, nifti
from climb_hf.io.nifti import Grid

logger = logging.getLogger(__name__)
GAP = 1.5  # a step above this many times the median one is a missing slice
AIR = -1024.0  # HU, for what is padding
_TAGS = (
    "SeriesInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceThickness",
    "Rows",
    "Columns",
    "FrameOfReferenceUID",
    "Modality",
    "PixelPaddingValue",
    "RescaleSlope",
    "RescaleIntercept",
)
_SAME_DIRECTION = 1e-3


@dataclass(frozen=True)
class Slice:
    """One file of a series, by its header.

    Attributes:
        rows, columns: unit vectors (LPS) along a row and along a column of pixels.
        position: of the first pixel's centre, mm (LPS).
        shape: rows and columns.
        spacing: mm from row to row and from column to column.
    """

    path: Path
    series: str
    rows: np.ndarray
    columns: np.ndarray
    position: np.ndarray
    shape: tuple[int, int]
    spacing: tuple[float, float]
    thickness: float
    frame_of_reference: str | None
    padding: float | None

    @property
    def normal(self) -> np.ndarray:
        return np.cross(self.rows, self.columns)


@dataclass(frozen=True)
class Stack:
    """Slices in their order along their normal.

    Attributes:
        step: mm from one to the next.
        irregular: whether one or more seem to be missing.
        left_out: files of another orientation, size or series, or at a place that is taken.
    """

    slices: tuple[Slice, ...]
    step: float
    irregular: bool
    left_out: tuple[Path, ...]

    @property
    def grid(self) -> Grid:
        """Its columns, rows and slices as axes i, j and k."""
        first = self.slices[0]
        affine = np.eye(4)
        affine[:3, 0] = first.rows * first.spacing[1]
        affine[:3, 1] = first.columns * first.spacing[0]
        affine[:3, 2] = first.normal * self.step
        affine[:3, 3] = first.position
        affine[:2] *= -1.0  # LPS to RAS
        return Grid((first.shape[1], first.shape[0], len(self.slices)), affine)


def stack(paths: Iterable[Path]) -> Stack:
    """Orders the files of a series by their headers.

    Where they differ, those of the most frequent series, orientation and size are taken.

    Raises:
        CorruptFileError: if no file has a place in space.
    """
    read = {path: _slice(path) for path in sorted(paths)}
    slices = [one for one in read.values() if one is not None]
    left_out = [path for path, one in read.items() if one is None]
    if not slices:
        raise CorruptFileError(
            f"none of {len(left_out)} files says where its slice lies, so that they are no volume."
        )
    kept = _majority(slices)
    normal = kept[0].normal
    ordered = sorted(kept, key=lambda one: float(one.position @ normal))
    places = np.array([float(one.position @ normal) for one in ordered])
    fresh = np.concatenate([[True], np.diff(places) > _SAME_DIRECTION])
    ordered = [one for one, new in zip(ordered, fresh, strict=True) if new]
    steps = np.diff(places[fresh])
    step = float(np.median(steps)) if len(steps) else ordered[0].thickness
    chosen = {one.path for one in ordered}
    left_out += [one.path for one in slices if one.path not in chosen]
    if left_out:
        logger.warning(
            "%d of %d files of a series are left out of its volume, %s first: they are of another "
            "series, orientation or size, or at a place that is taken",
            len(left_out),
            len(read),
            left_out[0].name,
        )
    return Stack(
        slices=tuple(ordered),
        step=step,
        irregular=bool(len(steps) and steps.max() > GAP * step),
        left_out=tuple(left_out),
    )


def _majority(slices: Sequence[Slice]) -> list[Slice]:
    """Those of the most frequent series, then of the most frequent orientation and size."""

    def kind(one: Slice) -> tuple[object, ...]:
        turned = np.round(np.concatenate([one.rows, one.columns]), 2) + 0.0
        return (one.series, *turned.tolist(), *one.shape)

    for key in (lambda one: one.series, kind):
        ((common, _),) = Counter(map(key, slices)).most_common(1)
        slices = [one for one in slices if key(one) == common]
    return list(slices)


def _slice(path: Path) -> Slice | None:
    """A file by its header, or None where that does not say where it lies."""
    said = dicom.header(path, _TAGS)
    try:
        turn = np.array(said["ImageOrientationPatient"], dtype=np.float64)
        position = np.array(said["ImagePositionPatient"], dtype=np.float64)
        spacing = [float(one) for one in said["PixelSpacing"]]
        shape = (int(said["Rows"]), int(said["Columns"]))
    except (KeyError, TypeError, ValueError):
        return None
    if turn.shape != (6,) or position.shape != (3,) or len(spacing) != 2:
        return None
    reference = said.get("FrameOfReferenceUID")
    padding = said.get("PixelPaddingValue")
    scaled = None
    if padding is not None:
        slope, offset = said.get("RescaleSlope", 1), said.get("RescaleIntercept", 0)
        scaled = float(padding) * float(slope) + float(offset)
    return Slice(
        path=path,
        series=str(said.get("SeriesInstanceUID", "")),
        rows=turn[:3],
        columns=turn[3:],
        position=position,
        shape=shape,
        spacing=(spacing[0], spacing[1]),
        thickness=float(said.get("SliceThickness") or 1.0),
        frame_of_reference=str(reference) if reference else None,
        padding=scaled if said.get("Modality") == "CT" else None,
    )


def as_nifti(found: Stack, slices: tuple[int, int] | None = None) -> bytes:
    """Returns a stack, or some of its axial slices, as the bytes of a NIfTI file.

    Whole numbers that fit are stored as int16, others as float32. One slice is in memory beside
    the file that is being made.

    Raises:
        CorruptFileError: if the pixels of a slice cannot be read.
        DependencyError: if a decoder is missing.
    """
    grid = found.grid
    where: tuple[slice, ...] = (slice(None),) * 3
    if slices is not None:
        where, grid = grid.part(slices)
    chosen = found.slices[where[2]]
    dtype: np.dtype = np.dtype("<i2")
    while True:
        buffer = io.BytesIO(nifti.header_bytes(dtype, grid))
        buffer.seek(0, io.SEEK_END)
        for one in chosen:
            plane = _plane(one)[where[1], where[0]]  # rows are axis j, columns axis i
            if dtype.kind == "i" and not _fits(plane):
                break
            buffer.write(plane.astype(dtype).tobytes())
        else:
            return buffer.getvalue()
        dtype = np.dtype("<f4")


def _plane(one: Slice) -> np.ndarray:
    plane = dicom.values(one.path)
    if plane.shape != one.shape:
        raise CorruptFileError(f"{one.path.name} has {plane.shape} pixels, not {one.shape}.")
    if one.padding is not None:
        plane = np.where(plane == np.float32(one.padding), np.float32(AIR), plane)
    return plane


def _fits(plane: np.ndarray) -> bool:
    """Whether all values are whole numbers of 16 bits."""
    whole = np.rint(plane)
    limits = np.iinfo(np.int16)
    return bool(
        np.array_equal(whole, plane) and limits.min <= whole.min() <= whole.max() <= limits.max
    )
