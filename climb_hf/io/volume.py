"""Volumes as NIfTI, with their place in space: NIfTI and MetaImage files and DICOM series.

A NIfTI file goes into a row as it is. Voxels are read only where a part is cut out, or where the
release is in another format; one volume is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.io import dicom_series, metaimage, nifti
from climb_hf.io.files import refuse_pointer
from climb_hf.io.nifti import Grid
from climb_hf.schema import VolumeFile, VolumeMaskFile

SAME_PLACE_MM = 0.5  # how far two grids of one study may lie apart by rounding of their headers


@dataclass(frozen=True)
class RawVolume:
    """One volume, as the bytes of a NIfTI file.

    Attributes:
        grid: of its voxels.
        irregular: whether slices seem to be missing; None where the format does not tell.
    """

    data: bytes
    grid: Grid
    name: str | None = None
    frame_of_reference: str | None = None
    irregular: bool | None = None
    flags: tuple[str, ...] = ()

    def as_struct(self) -> dict[str, Any]:
        """Returns the volume as the struct that is stored."""
        return {"bytes": self.data, "path": None}

    def info(self) -> dict[str, Any]:
        """Returns its entry of the column `volume_info`."""
        return {
            "name": self.name,
            "frame_of_reference": self.frame_of_reference,
            "irregular_spacing": self.irregular,
        }


def grid_of(path: Path) -> Grid:
    """Returns the grid of a NIfTI or MetaImage file by its header; no voxel is read.

    Raises:
        CorruptFileError: if it is neither, or cut short.
    """
    refuse_pointer(path)
    if nifti.is_nifti(path.name):
        return nifti.grid_of(nifti.header_of(path))
    if metaimage.is_metaimage(path.name):
        return metaimage.header_of(path).grid
    raise CorruptFileError(f"{path.name} is neither a NIfTI nor a MetaImage file by its name.")


def load(file: VolumeFile) -> RawVolume:
    """Opens a volume.

    Raises:
        CorruptFileError: if it is not there, cut short or no volume, or has no such slices.
        DependencyError: if what its format needs is not installed.
    """
    if file.files:
        found = dicom_series.stack(file.files)
        return RawVolume(
            data=dicom_series.as_nifti(found, file.slices),
            grid=_part(found.grid, file.slices),
            name=file.name,
            frame_of_reference=found.slices[0].frame_of_reference,
            irregular=found.irregular,
            flags=("irregular_spacing",) if found.irregular else (),
        )
    data, grid = _file(file.path, file.slices)
    return RawVolume(data, grid, name=file.name)


def _part(grid: Grid, slices: tuple[int, int] | None) -> Grid:
    return grid if slices is None else grid.part(slices)[1]


def _file(path: Path, slices: tuple[int, int] | None) -> tuple[bytes, Grid]:
    """A NIfTI or MetaImage file, or a part of it, as NIfTI, and its grid."""
    grid = _part(grid_of(path), slices)
    if metaimage.is_metaimage(path.name):
        return metaimage.as_nifti(metaimage.header_of(path), slices), grid
    if slices is None:
        return nifti.whole(path), grid
    return nifti.cut(path, nifti.header_of(path), slices), grid


@dataclass(frozen=True)
class RawVolumeMask:
    """One mask in three dimensions, as the bytes of a NIfTI file; codes are kept."""

    data: bytes
    volume: int
    label: str | None
    reader: str | None

    def as_struct(self) -> dict[str, Any]:
        """Returns the mask as the struct that is stored."""
        where = {"volume": self.volume, "label": self.label, "reader": self.reader}
        return {**where, "mask": {"bytes": self.data, "path": None}}


def load_mask(file: VolumeMaskFile, volumes: Sequence[RawVolume]) -> RawVolumeMask:
    """Opens a mask that lies over one of a record's volumes.

    Raises:
        CorruptFileError: as `load`, and if it lies on another grid than its volume.
    """
    data, grid = _file(file.path, file.slices)
    under = volumes[file.volume].grid
    if grid.shape != under.shape:
        raise CorruptFileError(
            f"the mask {file.path.name} has {grid.shape} voxels and its volume {under.shape}. "
            "Fetch both of one release."
        )
    corners = np.array([[0, 0, 0, 1], [*(size - 1 for size in under.shape), 1]], dtype=float).T
    apart = float(np.abs((grid.affine - under.affine) @ corners).max())
    if apart > SAME_PLACE_MM:
        raise CorruptFileError(
            f"the mask {file.path.name} lies {apart:.1f} mm away from its volume. Fetch both of "
            "one release."
        )
    return RawVolumeMask(data, file.volume, file.label, file.reader)
