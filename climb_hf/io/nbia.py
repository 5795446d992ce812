"""Downloads of NBIA's retriever: which files a table means, whose own paths are of another day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError
from climb_hf.io.dicom_header import header
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree

METADATA = "metadata.csv"
_DEPTH = 3  # folders of a series: subject, study, series


@dataclass(frozen=True)
class Downloads:
    """Files of a download, by series and by the folder of the subject.

    Attributes:
        tree: where they lie.
        series: Series UID -> paths in the tree; empty where metadata.csv is not there.
        subjects: name of a subject's folder -> paths in the tree.
    """

    tree: RawTree
    series: Mapping[str, tuple[str, ...]]
    subjects: Mapping[str, tuple[str, ...]]

    def files(self, *cells: str) -> tuple[Path, ...]:
        """Returns the files of the series that cells of a table mean, each once.

        Args:
            cells: subject/StudyUID/SeriesUID/file; line ends, quotes and backslashes are put right.
        """
        found: dict[Path, None] = {}
        for parts in map(parts_of, cells):
            paths = self.series.get(parts[2], ()) if len(parts) > 2 else ()
            paths = paths or self.subjects.get(parts[0], ())
            found.update((self.tree.path(path), None) for path in paths)
        return tuple(found)


def parts_of(cell: str) -> list[str]:
    """Returns the parts of a path as a table writes it."""
    return cell.strip().strip("\"'").strip().replace("\\", "/").split("/")


def downloads(tree: RawTree, pattern: str) -> Downloads:
    """Returns what lies in a tree whose files have the last folders subject/study/series.

    A metadata.csv of another collection, or one that cannot be read, adds nothing: its files are
    found by their subjects.

    Args:
        pattern: of the DICOM files, as `RawTree.find` takes it.
    """
    folders: dict[str, list[str]] = defaultdict(list)
    for path in sorted(tree.find(pattern)):
        folders["/".join(path.split("/")[-_DEPTH - 1 : -1])].append(path)
    series: dict[str, tuple[str, ...]] = {}
    for table in tree.named(METADATA):
        for uid, location in _locations(tree, table):
            found = folders.get("/".join(parts_of(location)[-_DEPTH:]))
            if found:
                series[uid] = tuple(found)
    subjects: dict[str, tuple[str, ...]] = {}
    for folder, paths in folders.items():
        subject = folder.split("/")[0]
        subjects[subject] = (*subjects.get(subject, ()), *paths)
    return Downloads(tree, series, subjects)


def _locations(tree: RawTree, table: str) -> list[tuple[str, str]]:
    columns = ("Series UID", "File Location")
    try:
        rows = [*read_csv(tree.path(table), columns)]
    except CorruptFileError:
        return []
    return [(row[columns[0]] or "", row[columns[1]] or "") for row in rows]


def crop_and_mask(files: Iterable[Path], film: Path | None = None) -> dict[str, Path]:
    """Returns which of an abnormality's files is the `crop` and which the `mask`.

    Their order varies, and tables have them swapped: the description in each file decides; without
    one a file is the mask that has the size of the film, or 8 bits. One that cannot be read is
    neither.

    Args:
        film: the whole film, for its size.
    """
    found: dict[str, Path] = {}
    size = _told(film) if film else {}
    for path in files:
        told = _told(path)
        words = str(told.get("SeriesDescription", "")).lower()
        if "mask" in words or "crop" in words:
            is_mask = "mask" in words
        else:
            same = all(told.get(name) == size.get(name, 0) for name in ("Rows", "Columns"))
            is_mask = same or told.get("BitsAllocated") == 8
        if told:
            found.setdefault("mask" if is_mask else "crop", path)
    return found


def _told(path: Path) -> dict[str, Any]:
    try:
        return header(path, ("SeriesDescription", "Rows", "Columns", "BitsAllocated"))
    except CorruptFileError:
        return {}
