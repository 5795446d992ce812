"""NIfTI-1 as bytes: headers read without the voxels, files written around raw voxels.

A file is taken as it was released; only where a part of it is wanted are voxels read.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.optional import need

HEADER_BYTES = 352  # of a file in one piece, its four bytes without extensions included
_AGAIN = "Fetch the file again."
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Grid:
    """Where the voxels of a volume lie.

    Attributes:
        shape: voxels along the axes i, j and k.
        affine: float64 (4, 4), from i, j, k to mm towards right, anterior and superior (RAS).
    """

    shape: tuple[int, ...]
    affine: np.ndarray

    @property
    def axial(self) -> tuple[int, bool]:
        """The axis that runs between feet and head, and whether it runs towards the feet."""
        codes = need("nibabel", extra="volume").aff2axcodes(self.affine)
        axis = next(at for at, code in enumerate(codes) if code in "SI")
        return axis, codes[axis] == "I"

    @property
    def n_slices(self) -> int:
        """Of the axial ones."""
        return self.shape[self.axial[0]]

    def slice_at(self, mm: Sequence[float]) -> int:
        """Returns the axial slice, counted from the feet, nearest to a place in mm (RAS)."""
        axis, down = self.axial
        place = round(float(np.linalg.solve(self.affine, [*mm, 1.0])[axis]))
        return self.shape[axis] - 1 - place if down else place

    def part(self, slices: tuple[int, int]) -> tuple[tuple[slice, ...], Grid]:
        """Returns the voxels of some axial slices, counted from the feet, and their grid.

        Raises:
            CorruptFileError: if there are no such slices.
        """
        axis, down = self.axial
        first, last = slices
        n = self.shape[axis]
        if not 0 <= first < last <= n:
            raise CorruptFileError(f"the slices {first} to {last} are wanted of a volume of {n}.")
        begin, end = (n - last, n - first) if down else (first, last)
        where = tuple(slice(begin, end) if at == axis else slice(None) for at in range(3))
        moved = self.affine.copy()
        moved[:3, 3] += moved[:3, axis] * begin
        shape = tuple(end - begin if at == axis else size for at, size in enumerate(self.shape))
        return where, Grid(shape, moved)


def is_nifti(name: str) -> bool:
    """Whether a file is NIfTI by its name."""
    return name.lower().endswith((".nii", ".nii.gz"))


def header_of(path: Path) -> Any:
    """Returns the header of a NIfTI file, as nibabel has it; no voxel is read.

    Raises:
        CorruptFileError: if it is no such file, or shorter than its header says.
    """
    nibabel = need("nibabel", extra="volume")
    try:
        zipped = path.open("rb").read(2) == b"\x1f\x8b"
        with gzip.open(path) if zipped else path.open("rb") as file:
            header = nibabel.Nifti1Header.from_fileobj(file, check=False)
        shape = header.get_data_shape()
        dtype = header.get_data_dtype()
        header.get_best_affine()
    except OSError as error:
        raise CorruptFileError(f"cannot read {path.name}: {error}. {_AGAIN}") from error
    except (
        nibabel.wrapstruct.WrapStructError,
        nibabel.spatialimages.HeaderDataError,
        EOFError,
        ValueError,
        zlib.error,
        struct.error,
    ) as error:
        raise CorruptFileError(f"{path.name} is no NIfTI-1 file: {error}. {_AGAIN}") from error
    if len(shape) < 3 or min(shape) < 1:
        raise CorruptFileError(f"{path.name} has the shape {tuple(shape)} and is no volume.")
    wanted = int(header["vox_offset"]) + math.prod(map(int, shape)) * dtype.itemsize
    found = _unpacked_size(path, wanted) if zipped else path.stat().st_size
    if found < wanted:
        raise CorruptFileError(
            f"{path.name} holds {found} bytes where its header says {wanted}: it is cut short. "
            f"{_AGAIN}"
        )
    return header


def _unpacked_size(path: Path, wanted: int) -> int:
    """The size that a gzip file states; where it is not the expected one, that which it has."""
    with path.open("rb") as file:
        file.seek(-4, io.SEEK_END)
        (stated,) = struct.unpack("<I", file.read(4))
    if stated == wanted % 2**32:
        return wanted
    found = 0
    try:
        with gzip.open(path) as file:
            while chunk := file.read(_CHUNK):
                found += len(chunk)
    except (EOFError, OSError, zlib.error):
        return found  # what can be unpacked
    return found


def grid_of(header: Any) -> Grid:
    """Returns the grid of a header; of a volume over time, that of one moment."""
    shape = tuple(int(size) for size in header.get_data_shape()[:3])
    return Grid(shape, np.asarray(header.get_best_affine(), dtype=np.float64))


def whole(path: Path) -> bytes:
    """Returns a NIfTI file's bytes as they are.

    Raises:
        CorruptFileError: if it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"cannot read {path.name}: {error.strerror}.") from error


def cut(path: Path, header: Any, slices: tuple[int, int]) -> bytes:
    """Returns some axial slices of a file as a NIfTI file: stored values, scale and all else kept.

    Of a volume over time the first moment is taken.

    Raises:
        CorruptFileError: if there are no such slices, or they cannot be read.
    """
    nibabel = need("nibabel", extra="volume")
    where, grid = grid_of(header).part(slices)
    shape = tuple(int(size) for size in header.get_data_shape())
    as_stored = (shape, header.get_data_dtype(), int(header["vox_offset"]), 1.0, 0.0)
    try:
        proxy = nibabel.arrayproxy.ArrayProxy(path, as_stored)
        voxels = np.asarray(proxy[(*where, *(0 for _ in shape[3:]))])
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise CorruptFileError(f"cannot read {path.name}: {error}. {_AGAIN}") from error
    slope, inter = header.get_slope_inter()
    return packed(voxels, grid, slope=slope, inter=inter, unit=header.get_xyzt_units()[0])


def packed(
    voxels: np.ndarray,
    grid: Grid,
    *,
    slope: float | None = None,
    inter: float | None = None,
    unit: str = "mm",
) -> bytes:
    """Returns voxels as the bytes of a NIfTI file.

    Args:
        voxels: of shape (i, j, k), as they are to be stored.
        slope, inter: value = stored * slope + inter.
    """
    buffer = io.BytesIO(header_bytes(voxels.dtype, grid, slope=slope, inter=inter, unit=unit))
    buffer.seek(0, io.SEEK_END)
    axis = max(range(3), key=lambda at: voxels.strides[at])
    if axis == 2:  # slice by slice, so that no second volume is made
        for at in range(voxels.shape[2]):
            buffer.write(voxels[:, :, at].tobytes("F"))
    else:
        buffer.write(voxels.tobytes("F"))
    return buffer.getvalue()


def header_bytes(
    dtype: np.dtype,
    grid: Grid,
    *,
    slope: float | None = None,
    inter: float | None = None,
    unit: str = "mm",
) -> bytes:
    """Returns the header before voxels of a type and grid, its end mark included."""
    nibabel = need("nibabel", extra="volume")
    header = nibabel.Nifti1Header(endianness=">" if np.dtype(dtype).byteorder == ">" else "<")
    header.set_data_dtype(np.dtype(dtype))
    header.set_data_shape(grid.shape)
    header.set_sform(grid.affine, code=1)
    header.set_qform(grid.affine, code=1, strip_shears=True)
    header.set_xyzt_units(unit if unit != "unknown" else "mm")
    header.set_slope_inter(slope, inter)
    header["vox_offset"] = HEADER_BYTES
    header["magic"] = b"n+1"
    return header.binaryblock + b"\0\0\0\0"
