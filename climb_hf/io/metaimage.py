"""MetaImage: a header of `key = value` lines and voxels, in one file (.mha) or two (.mhd, .raw).

Its geometry runs towards left, posterior and superior (LPS); ours towards right, anterior and
superior (RAS), so that the first two rows of an affine change their sign.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.io import nifti
from climb_hf.io.memory import remember
from climb_hf.io.nifti import Grid

_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}
_HEADER_BYTES = 1 << 16  # a header is a few lines; voxels follow in an .mha file
_AGAIN = "Fetch the file again."


@dataclass(frozen=True)
class Header:
    """What a MetaImage says of itself.

    Attributes:
        data: the file that holds the voxels.
        offset: of the first voxel in it, in bytes; -1 where they end the file.
        squeezed: whether they are packed by zlib.
    """

    grid: Grid
    dtype: np.dtype
    data: Path
    offset: int
    squeezed: bool

    @property
    def n_bytes(self) -> int:
        """Of all voxels."""
        return int(np.prod(self.grid.shape)) * self.dtype.itemsize


def is_metaimage(name: str) -> bool:
    """Whether a file is the header of a MetaImage by its name."""
    return name.lower().endswith((".mhd", ".mha"))


def header_of(path: Path) -> Header:
    """Reads a header; no voxel is read.

    Raises:
        CorruptFileError: if it is no MetaImage of three dimensions, or its voxels are not there
            or too few.
    """
    words, after = _words(path)
    try:
        shape = tuple(int(size) for size in words["DimSize"].split())
        kind = _TYPES[words["ElementType"]]
        spacing = np.array(words.get("ElementSpacing", "1 1 1").split(), dtype=np.float64)
        turn = words.get("TransformMatrix", "1 0 0 0 1 0 0 0 1").split()
        direction = np.array(turn, dtype=np.float64).reshape(3, 3).T  # a row of text is an axis
        origin = words.get("Offset") or words.get("Position") or words.get("Origin") or "0 0 0"
        corner = np.array(origin.split(), dtype=np.float64)
        named = words["ElementDataFile"]
        offset = int(words.get("HeaderSize", "0"))
    except (KeyError, ValueError) as error:
        raise CorruptFileError(
            f"{path.name} is no MetaImage of one volume: {error}. {_AGAIN}"
        ) from error
    if not len(shape) == len(spacing) == len(corner) == 3 or min(shape) < 1:
        raise CorruptFileError(f"{path.name} has the size {shape} and is no volume. {_AGAIN}")
    big = words.get("BinaryDataByteOrderMSB", words.get("ElementByteOrderMSB", "False"))
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = direction * spacing, corner
    affine[:2] *= -1.0
    header = Header(
        grid=Grid(shape, affine),
        dtype=np.dtype((">" if big.lower() == "true" else "<") + kind),
        data=path if named == "LOCAL" else _beside(path, named),
        offset=after if named == "LOCAL" else offset,
        squeezed=words.get("CompressedData", "False").lower() == "true",
    )
    if not header.squeezed:
        _check_size(header, path)
    return header


def _words(path: Path) -> tuple[dict[str, str], int]:
    """The lines of a header by their key, and where they end."""
    try:
        with path.open("rb") as file:
            block = file.read(_HEADER_BYTES)
    except OSError as error:
        raise CorruptFileError(f"cannot read {path.name}: {error.strerror}.") from error
    words: dict[str, str] = {}
    at = 0
    while at < len(block) and "ElementDataFile" not in words:
        end = block.find(b"\n", at)
        end = len(block) if end < 0 else end
        key, equals, value = block[at:end].decode("latin-1").partition("=")
        if equals:
            words[key.strip()] = value.strip()
        at = end + 1
    return words, at


def _beside(path: Path, named: str) -> Path:
    """The file of the voxels: in the folder of its header, whatever case or folder it is said in.

    A header whose files were renamed names one that is not there; the one that is called as the
    header itself is then meant.
    """
    lying = {one.name.lower(): one for one in path.parent.iterdir()}
    base = named.replace("\\", "/").rpartition("/")[2]
    for wanted in (base, f"{path.stem}.raw", f"{path.stem}.zraw"):
        if wanted.lower() in lying:
            return lying[wanted.lower()]
    raise CorruptFileError(f"{path.name} names {named!r} for its voxels, which is not there.")


def _check_size(header: Header, path: Path) -> None:
    found = header.data.stat().st_size - max(header.offset, 0)
    if found < header.n_bytes:
        raise CorruptFileError(
            f"{header.data.name} holds {found} bytes where {path.name} says {header.n_bytes}: it "
            f"is cut short. {_AGAIN}"
        )


def voxels_of(header: Header) -> np.ndarray:
    """Returns the voxels, of shape (i, j, k); those of an unpacked file are mapped, not read.

    Raises:
        CorruptFileError: if they cannot be unpacked.
    """
    shape, dtype = header.grid.shape, header.dtype
    if not header.squeezed:
        start = header.offset
        if start < 0:
            start = header.data.stat().st_size - header.n_bytes
        return np.memmap(header.data, dtype, "r", start, shape, order="F")
    data = header.data.read_bytes()[max(header.offset, 0) :]
    try:
        unpacked = zlib.decompress(data)
    except zlib.error as error:
        raise CorruptFileError(
            f"{header.data.name} cannot be unpacked: {error}. {_AGAIN}"
        ) from error
    if len(unpacked) < header.n_bytes:
        raise CorruptFileError(f"{header.data.name} is cut short. {_AGAIN}")
    return np.frombuffer(unpacked, dtype, int(np.prod(shape))).reshape(shape, order="F")


@remember(files=1024)
def extents(path: Path) -> Mapping[int, tuple[int, int]]:
    """Returns where the codes of a mask lie: code -> first and last + 1 of the axial slices.

    Slices are counted from the feet to the head. Every voxel is looked at, one slice at a time; an
    unpacked file is mapped for this, so that no more than a slice is in memory.

    Raises:
        CorruptFileError: as `header_of` and `voxels_of`.
    """
    header = header_of(path)
    axis, down = header.grid.axial
    planes = np.moveaxis(voxels_of(header), axis, 0)
    found: dict[int, tuple[int, int]] = {}
    for at, plane in enumerate(planes[::-1] if down else planes):
        for code in np.unique(plane[plane != 0]).tolist():
            first, _ = found.get(int(code), (at, at))
            found[int(code)] = (first, at + 1)
    return found


def as_nifti(header: Header, slices: tuple[int, int] | None = None) -> bytes:
    """Returns a MetaImage, or some of its axial slices, as the bytes of a NIfTI file."""
    voxels, grid = voxels_of(header), header.grid
    if slices is not None:
        where, grid = grid.part(slices)
        voxels = voxels[where]
    return nifti.packed(voxels, grid)
