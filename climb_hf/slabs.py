"""Windows of scans: slabs of axial slices, what readers drew in them, and where findings lie.

Slices are counted from the feet to the head; a slab is its first slice and its last + 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.schema import VolumeFile, VolumeMaskFile

if TYPE_CHECKING:
    from climb_hf.io.nifti import Grid

Slab = tuple[int, int]


def shared(one: Slab, other: Slab) -> int:
    """Returns how many slices two slabs have in common, 0 or less where they have none."""
    return min(one[1], other[1]) - max(one[0], other[0])


@dataclass(frozen=True)
class DrawnScan:
    """A scan in MetaImage with a mask for each of its readers.

    Attributes:
        masks: by reader; a voxel holds the reader's own number of a finding.
    """

    path: Path
    masks: Mapping[str, Path]

    @cached_property
    def grid(self) -> Grid:
        """Of its voxels, by its header."""
        # Not above: sources import this module, and listing them needs no numpy.
        from climb_hf.io import metaimage

        return metaimage.header_of(self.path).grid

    @cached_property
    def drawn(self) -> Mapping[str, Mapping[int, Slab]]:
        """For each reader, where each of their findings lies; every mask is looked through."""
        from climb_hf.io import metaimage

        return {reader: metaimage.extents(path) for reader, path in self.masks.items()}

    def slabs(self, length: int, stride: int) -> Iterator[Slab]:
        """Yields windows of `length` slices, a `stride` apart; a shorter scan is one window."""
        n = self.grid.n_slices
        for start in range(0, max(n - length, 0) + 1, stride):
            yield start, min(start + length, n)

    def slab_of(
        self, findings: Iterable[tuple[str, int]], centre_mm: Sequence[float], around: int
    ) -> Slab:
        """Returns where a finding lies: the slices in which any of its readers drew it.

        Args:
            findings: reader and the reader's number of it.
            centre_mm: towards right, front and head (RAS); where nobody drew it, this slice and
                `around` on both sides of it are meant.
        """
        codes = ((self.drawn.get(reader, {}), number) for reader, number in findings)
        lies = [own[number] for own, number in codes if number in own]
        if not lies:
            centre = self.grid.slice_at(centre_mm)
            return centre - around, centre + around + 1
        return min(first for first, _ in lies), max(last for _, last in lies)

    def media(self, slab: Slab, label: str) -> dict[str, Any]:
        """Returns the media of a window: its part of the scan, and of the masks that reach in."""
        masks = (
            VolumeMaskFile(path, label, reader=reader, slices=slab)
            for reader, path in self.masks.items()
            if any(shared(lie, slab) > 0 for lie in self.drawn[reader].values())
        )
        return {"volumes": (VolumeFile(self.path, slices=slab),), "volume_masks": tuple(masks)}
