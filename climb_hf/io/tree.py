"""A folder of raw files, walked once: what lies there, found by name, with a digest of it all."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from climb_hf.errors import DataNotFoundError


@dataclass(frozen=True)
class RawTree:
    """Files under `root`, in sorted order of their relative paths.

    Attributes:
        root: absolute folder.
        files: (relative POSIX path, size in bytes, modification time in ns) of each file.
    """

    root: Path
    files: tuple[tuple[str, int, int], ...]

    @cached_property
    def _sizes(self) -> dict[str, int]:
        return {path: size for path, size, _ in self.files}

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path, _, _ in self.files:
            found.setdefault(_name(path), []).append(path)
        return found

    def find(self, pattern: str) -> Iterator[str]:
        """Yields the paths whose file *name* matches the regular expression in full.

        One with a slash in it is held against the name and as many folders above it.
        """
        fits = matcher([pattern])
        return (path for path, _, _ in self.files if fits(path))

    def named(self, name: str) -> list[str]:
        """Returns the paths of all files called exactly `name`."""
        return self._by_name.get(name, [])

    def size(self, path: str) -> int | None:
        """Returns the size of a file in bytes, or None if it is not there."""
        return self._sizes.get(path)

    def path(self, relative: str) -> Path:
        """Returns the absolute path of a file of the tree."""
        return self.root / relative

    def beside(self, path: str, name: str) -> str | None:
        """Returns the path of the file `name` in the folder of `path`, or None if it is absent.

        A name with a folder in it is none of this tree's: it could lead out of it.
        """
        if not name or "/" in name:
            return None
        candidate = path[: len(path) - len(_name(path))] + name
        return candidate if candidate in self._sizes else None

    def only(self, patterns: Iterable[str]) -> RawTree:
        """Returns the tree with just the files that match one of the patterns, as `find` does."""
        fits = matcher(patterns)
        return RawTree(self.root, tuple(entry for entry in self.files if fits(entry[0])))

    def digest(self) -> str:
        """Returns a SHA-256 over root, paths, sizes and times: it changes when a file does."""
        total = hashlib.sha256(str(self.root).encode())
        for entry in self.files:
            total.update(repr(entry).encode())
        return total.hexdigest()


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Returns what tells whether a path fits one of some patterns, as `RawTree.find` takes them."""
    of_paths: list[str] = []
    of_names: list[str] = []
    for pattern in patterns:
        (of_paths if "/" in pattern else of_names).append(f"(?:{pattern})")
    name_fits = re.compile("|".join(of_names)).fullmatch if of_names else None
    path_fits = re.compile(f"(?:.*/)?(?:{'|'.join(of_paths)})").fullmatch if of_paths else None

    def fits(path: str) -> bool:
        if name_fits and name_fits(_name(path)):
            return True
        return path_fits is not None and path_fits(path) is not None

    return fits


def _name(path: str) -> str:
    """The last part of a relative path of a tree; `PurePosixPath` costs as much as a header."""
    return path.rpartition("/")[2]


def walk(root: Path) -> RawTree:
    """Lists every file under `root`; hidden files are left out, links to folders are followed.

    Raises:
        DataNotFoundError: if `root` is no folder.
    """
    root = root.expanduser().absolute()
    if not root.is_dir():
        raise DataNotFoundError(
            f"no folder at {root}. Pass data_dir=<folder with the raw files>, "
            "or set the environment variable CLIMB_DATA_DIR to it."
        )
    found: list[tuple[str, int, int]] = []
    seen: set[tuple[int, int]] = set()
    pending = [(root, "")]
    while pending:
        folder, prefix = pending.pop()
        status = folder.stat()
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in os.scandir(folder):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                pending.append((Path(entry.path), f"{prefix}{entry.name}/"))
            elif entry.is_file():
                facts = entry.stat()
                found.append((prefix + entry.name, facts.st_size, facts.st_mtime_ns))
    return RawTree(root, tuple(sorted(found)))
