"""Checks of volumes and videos, as `climb_hf.battery.media` has for images."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from climb_hf.battery.registry import Register
from climb_hf.errors import CheckFailedError, ClimbError
from climb_hf.subject import NotApplicable, Subject, require

check = Register()


def _rows(subject: Subject, column: str, kind: str) -> Iterator[Mapping[str, Any]]:
    """Each row that has some of a column's media.

    Raises:
        NotApplicable: if none has.
    """
    rows = [row for row in subject.rows().values() if row.get(column)]
    if not rows:
        raise NotApplicable(f"no record has {kind}")
    return iter(rows)


def _image(identity: str, stored: Mapping[str, Any]) -> Any:
    """A stored volume as nibabel's image."""
    import nibabel

    require(stored["path"] is None, f"{identity}: its volume names a path.")
    data = stored["bytes"]
    try:
        data = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        return nibabel.Nifti1Image.from_bytes(data)
    except (
        OSError,
        EOFError,
        ValueError,
        nibabel.spatialimages.HeaderDataError,
        nibabel.wrapstruct.WrapStructError,
    ) as error:
        raise CheckFailedError(f"{identity}: its volume does not open: {error}") from error


@check
def volumes_open_with_their_place(subject: Subject) -> None:
    """Every volume decodes whole, has voxels of a size and a place, and is told of beside it."""
    import numpy as np

    for row in _rows(subject, "volumes", "a volume"):
        identity, n_told = row["id"], len(row["volume_info"])
        n_volumes = len(row["volumes"])
        require(n_volumes == n_told, f"{identity}: {n_volumes} volumes, {n_told} volume_info.")
        for stored in row["volumes"]:
            image = _image(identity, stored)
            try:
                values = np.asarray(image.dataobj)
            except (OSError, ValueError) as error:
                raise CheckFailedError(f"{identity}: its volume is cut short: {error}") from error
            require(values.ndim >= 3, f"{identity}: its volume is of shape {values.shape}.")
            require(bool(np.isfinite(values).all()), f"{identity}: a voxel is not finite.")
            volume = abs(float(np.linalg.det(image.affine[:3, :3])))
            require(volume > 0, f"{identity}: its voxels have no size.")
            coded = int(image.header["sform_code"]) or int(image.header["qform_code"])
            require(coded > 0, f"{identity}: its voxels have no place in space.")


@check
def volume_masks_fit_their_volumes(subject: Subject) -> None:
    """A mask lies on the grid of its volume, and its codes stand in the card or it has a label."""
    import numpy as np

    legend = set(subject.card.mask_legend)
    for row in _rows(subject, "volume_masks", "a mask of a volume"):
        identity = row["id"]
        for one in row["volume_masks"]:
            within = 0 <= one["volume"] < len(row["volumes"])
            require(within, f"{identity}: a mask lies over a volume that is not there.")
            mask = _image(identity, one["mask"])
            under = _image(identity, row["volumes"][one["volume"]])
            fits = mask.shape[:3] == under.shape[:3]
            require(fits, f"{identity}: a mask is {mask.shape}, its volume {under.shape}.")
            apart = float(np.abs(mask.affine - under.affine).max())
            require(apart < 0.5, f"{identity}: a mask lies {apart:.1f} mm away.")
            if one["label"] is None:
                codes = set(np.unique(np.asarray(mask.dataobj)).astype(int).tolist()) - {0}
                unknown = sorted(codes - legend)
                require(not unknown, f"{identity}: the card's mask_legend lacks {unknown}.")


@check
def volumes_are_the_makers(subject: Subject) -> None:
    """Values of the first volume, and of its first mask, are those written, in their place."""
    facts = ("volume_sha1", "volume_mask_sha1")
    known = subject.truth("records")
    if not any(fact in record for record in known.values() for fact in facts):
        raise NotApplicable("needs the maker of the files to say 'volume_sha1' of its records")
    for row in _rows(subject, "volumes", "a volume"):
        truth = known.get(row["id"].split("/", 1)[1], {})
        stored = (row["volumes"][:1], [one["mask"] for one in row["volume_masks"][:1]])
        for fact, found in zip(facts, stored, strict=True):
            if fact in truth:
                digest = _digest(_image(row["id"], found[0])) if found else None
                require(digest == truth[fact], f"{row['id']}: not the {fact[:-5]} written.")


def _digest(image: Any) -> str:
    import nibabel
    import numpy as np

    ras = nibabel.as_closest_canonical(image)
    told = "x".join(map(str, ras.shape)).encode() + b"\n"
    return hashlib.sha1(told + np.asarray(ras.dataobj).astype("<f4").tobytes()).hexdigest()


@check
def videos_open_as_described(subject: Subject) -> None:
    """Every clip decodes at its beginning, middle and end, and is as it is told of beside it."""
    from climb_hf.io import video

    for row in _rows(subject, "videos", "a video"):
        identity, n_told = row["id"], len(row["video_info"])
        n_videos = len(row["videos"])
        require(n_videos == n_told, f"{identity}: {n_videos} videos, {n_told} video_info.")
        for stored, info in zip(row["videos"], row["video_info"], strict=True):
            try:
                at = video.times(stored["bytes"])
                seconds = [at[place] - at[0] for place in (0, len(at) // 2, -1)]
                pictures = video.frames(stored["bytes"], seconds)
            except (ClimbError, IndexError) as error:
                raise CheckFailedError(f"{identity}: its video does not open: {error}") from error
            found = {"n_frames": len(at), "height": pictures[0].height, "width": pictures[0].width}
            wrong = {name: value for name, value in found.items() if info[name] != value}
            require(not wrong, f"{identity}: its video has {wrong}, but {dict(info)} is told.")
            require(info["fps"] > 0, f"{identity}: its video has no rate.")


@check
def videos_keep_their_bytes(subject: Subject) -> None:
    """A whole video is its file byte by byte; parts of one never hold a moment twice."""
    files = {placed.id: placed.example.videos for placed in subject.placed}
    parts: dict[str, list[tuple[float, float]]] = {}
    for row in _rows(subject, "videos", "a video"):
        identity = row["id"]
        stored = zip(row["videos"], row["video_info"], files[identity], strict=True)
        for one, info, file in stored:
            if file.start_s is None and file.stop_s is None:
                same = one["bytes"] == file.path.read_bytes()
                require(same, f"{identity}: its video is not its file's bytes.")
            else:
                parts.setdefault(str(file.path), []).append((info["start_s"], info["stop_s"]))
    for path, spans in parts.items():
        spans.sort()
        twice = any(later[0] < earlier[1] - 1e-3 for earlier, later in pairwise(spans))
        require(not twice, f"{path}: two of its parts hold the same moment.")
