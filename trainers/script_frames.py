"""Rows with volumes or clips as rows with frames, made when a row is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from climb_hf import catalog
from climb_hf.frames import as_images
from climb_hf.images import to_rgb

if TYPE_CHECKING:
    from datasets import Dataset

MEDIA = ("volumes", "volume_masks", "videos")
COLUMNS = (*MEDIA, "source")  # what the frames of a row are made of


def with_frames(dataset: Dataset, n_frames: int) -> Dataset:
    """Returns the rows with `n_frames` frames of each volume and clip among their images.

    Nothing is made up front: a row's frames, with the masks and boxes in them, are taken whenever
    the row is read, in the window of its source. Rows without a volume or clip stay as they are.
    """
    if not set(MEDIA) & set(dataset.column_names):
        return dataset
    return dataset.with_transform(Frames(n_frames))


@dataclass(frozen=True)
class Frames:
    """A transform of `datasets`: from columns of media to `images`."""

    n_frames: int

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
        """Returns a batch of rows by column; one without `images` is not asked for its media."""
        kept = {name: column for name, column in batch.items() if name not in MEDIA}
        if "images" not in batch or not set(MEDIA) & set(batch):
            return dict(batch)
        lists = {"images", "image_info", "masks", "boxes"} & set(batch)
        rows = [
            dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)
        ]
        shown = [self._row(row) for row in rows]
        return {**kept, **{name: [row[name] for row in shown] for name in lists}}

    def _row(self, row: dict[str, Any]) -> dict[str, Any]:
        if not any(row.get(name) for name in MEDIA):
            return row
        source = catalog.sources().get(row.get("source") or "")
        made = as_images(row, self.n_frames, card=source.card if source else None)
        return {**made, "images": [to_rgb(one) for one in made["images"]]}
