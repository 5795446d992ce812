"""Near-equal images that stand in different splits, or in different sources of a config."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from climb_hf.builder import gather
from climb_hf.collect import Placed
from climb_hf.config import ClimbConfig
from climb_hf.errors import ClimbError, OptionError
from climb_hf.io import image
from climb_hf.io.fingerprint import MAX_BITS, Fingerprint, fingerprint, near_pairs
from climb_hf.overlap import Overlap, overlaps


@dataclass(frozen=True)
class Leak:
    """Two records with near-equal images.

    Attributes:
        first, second: their ids.
        splits: of both, in that order.
        n_bits: how many of the 256 bits of their hashes differ.
        correlation: of their detail.
    """

    first: str
    second: str
    splits: tuple[str, str]
    n_bits: int
    correlation: float

    @property
    def across_splits(self) -> bool:
        """Whether one may be trained on and the other tested on."""
        return self.splits[0] != self.splits[1]

    @property
    def across_sources(self) -> bool:
        """Whether holding out one's source leaves the other's."""
        return self.first.split("/")[0] != self.second.split("/")[0]


@dataclass
class LeakReport:
    """What was compared and what was found.

    Attributes:
        sources: those of which files were found.
        n_images: images compared.
        n_flat: images that show nothing to compare, such as one of a single colour.
        unreadable: id -> why its image could not be decoded.
        leaks: pairs in different splits or sources, those in different splits first.
        known: pairs of the sources that are known to share records; see `climb_hf.overlap`.
    """

    sources: tuple[str, ...]
    n_images: int = 0
    n_flat: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    leaks: list[Leak] = field(default_factory=list)
    known: list[tuple[str, Overlap]] = field(default_factory=list)


def find_leaks(
    config: ClimbConfig,
    roots: Sequence[Path],
    *,
    max_bits: int = MAX_BITS,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> LeakReport:
    """Compares every image of a config with every other, over several raw folders.

    A pair in one split of one source is no leak and is not told. Images that were turned, mirrored
    or cropped are not found.

    Args:
        config: what is asked of its sources; its splits are those that are looked at.
        roots: folders with raw files; each has some of the sources.
        max_bits: how many of 256 bits may differ; see `climb_hf.io.fingerprint`.
        progress: wraps the walk over the records, to show how far it is.

    Raises:
        DataNotFoundError: if one of the folders holds none of the sources.
        OptionError: if no record has an image.
    """
    found = [one for root in roots for one in gather(config, root)]
    placed = [record for one in found for record in one.placed if record.example.images]
    names = tuple(dict.fromkeys(one.source.card.name for one in found))
    if not placed:
        raise OptionError(f"no record of {', '.join(names)} has an image, and images are compared.")
    report = LeakReport(names, known=_known(names))
    owners: list[Placed] = []
    prints: list[Fingerprint] = []
    for owner, made in _fingerprints(progress(placed), report):
        owners.append(owner)
        prints.append(made)
    report.n_images = len(prints)
    pairs: dict[tuple[str, str], Leak] = {}
    for pair in near_pairs(prints, max_bits):
        one, other = sorted((owners[pair.first], owners[pair.second]), key=lambda p: p.id)
        splits = (one.split, other.split)
        leak = Leak(one.id, other.id, splits, pair.n_bits, pair.correlation)
        if one.id != other.id and (leak.across_splits or leak.across_sources):
            pairs.setdefault((one.id, other.id), leak)
    report.leaks = sorted(pairs.values(), key=lambda leak: not leak.across_splits)
    return report


def _fingerprints(
    placed: Iterable[Placed], report: LeakReport
) -> Iterator[tuple[Placed, Fingerprint]]:
    """Yields each image's record with its fingerprint; what has none is counted in the report."""
    for record in placed:
        for file in record.example.images:
            try:
                made = fingerprint(image.load(file).data)
            except ClimbError as error:
                report.unreadable[record.id] = str(error)
                continue
            if made is None:
                report.n_flat += 1
            else:
                yield record, made


def _known(names: Sequence[str]) -> list[tuple[str, Overlap]]:
    """Each known overlap among sources once."""
    found: dict[frozenset[str], tuple[str, Overlap]] = {}
    for name in sorted(names):
        for one in overlaps(name):
            if one.other in names:
                found.setdefault(frozenset((name, one.other)), (name, one))
    return list(found.values())
