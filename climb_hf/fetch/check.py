"""Whether what was fetched still lies there, byte for byte; and what else does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from climb_hf.errors import ManifestError
from climb_hf.fetch import manifest as manifests
from climb_hf.fetch.manifest import Entry, Manifest
from climb_hf.fetch.places import STATE, digests


@dataclass(frozen=True)
class Verdict:
    """What a source's folder holds, against its manifest. Paths are relative to it.

    Attributes:
        source: its name.
        good: how many files are as they should be.
        missing, damaged, extra: files that are not there, are other bytes, or are not in the
            manifest.
        complete: whether the last download ended.
    """

    source: str
    good: int
    missing: tuple[str, ...]
    damaged: tuple[str, ...]
    extra: tuple[str, ...]
    complete: bool

    @property
    def right(self) -> bool:
        """Whether every file of the manifest is there and right."""
        return not (self.missing or self.damaged)


def verify(
    folder: Path,
    source: str,
    jobs: int = 4,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Verdict:
    """Reads every file of a source's manifest and compares size and SHA-256.

    Raises:
        ManifestError: where there is no manifest, or none that can be read.
    """
    known = manifests.load(folder, source)
    if known is None:
        raise ManifestError(
            f"{folder} has no manifest of {source}. Fetch it with `climb-hf download {source} --to "
            f"{folder.parent}`; files that were placed there by hand are then taken in."
        )
    entries = sorted(known.on_disk(), key=lambda entry: entry.path)
    with ThreadPoolExecutor(jobs) as pool:
        states = list(progress(pool.map(lambda entry: _state(folder, entry), entries)))
    by_state = {
        state: tuple(e.path for e, found in zip(entries, states, strict=True) if found == state)
        for state in ("good", "missing", "damaged")
    }
    return Verdict(
        source,
        len(by_state["good"]),
        by_state["missing"],
        by_state["damaged"],
        _extra(folder, known),
        known.complete,
    )


def _state(folder: Path, entry: Entry) -> str:
    path = folder / entry.path
    try:
        if path.stat().st_size != entry.n_bytes:
            return "damaged"
        return "good" if digests(path, "sha256")["sha256"] == entry.sha256 else "damaged"
    except FileNotFoundError:
        return "missing"
    except OSError:  # a folder in its place, a sector that cannot be read
        return "damaged"


def _extra(folder: Path, known: Manifest) -> tuple[str, ...]:
    listed = {entry.path for entry in known.on_disk()}
    return tuple(sorted(path for path in files_in(folder) if path not in listed))


def files_in(folder: Path) -> Iterator[str]:
    """Yields the files under a source's folder, our own of its state left out."""
    for at, folders, names in os.walk(folder):
        if Path(at) == folder:
            folders[:] = [name for name in folders if name != STATE]
        for name in names:
            yield (Path(at) / name).relative_to(folder).as_posix()
