"""What readers of large shared files need: one parsed file kept, wrong kinds of file named."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from climb_hf.errors import CorruptFileError
from climb_hf.io.header import is_lfs_pointer
from climb_hf.io.memory import state_of
from climb_hf.io.tree import RawTree
from climb_hf.schema import Example, Fault

if TYPE_CHECKING:
    import numpy as np  # else imported when used, so that sources are listed without it

Parsed = TypeVar("Parsed")


def keeps_last(parse: Callable[..., Parsed]) -> Callable[..., Parsed]:
    """Makes a parser of files remember what it made last, as many records come from one file.

    What was made before is let go before another file is parsed, so that two are never held. A
    file that is corrupt stays so until it changes, and is not read again for each of its records.

    Args:
        parse: takes paths, and by keyword what else decides its result.
    """
    last: dict[Any, Parsed | CorruptFileError] = {}

    @wraps(parse)
    def kept(*paths: Path, **how: Any) -> Parsed:
        key = (tuple((path, state_of(path)) for path in paths), tuple(sorted(how.items())))
        found = last.get(key)
        if found is None:
            last.clear()
            try:
                found = parse(*paths, **how)
            except CorruptFileError as error:
                found = error.with_traceback(None)
            last[key] = found
        if isinstance(found, CorruptFileError):
            raise CorruptFileError(str(found))
        return found

    return kept


def refuse_pointer(path: Path) -> None:
    """Raises CorruptFileError for the text that git-lfs leaves in place of the data."""
    try:
        pointer = is_lfs_pointer(path)
    except OSError as error:
        raise CorruptFileError(f"cannot read {path.name}: {error.strerror}.") from error
    if pointer:
        raise CorruptFileError(
            f"{path.name} is a git-lfs pointer, not the data: the mirror was cloned without its "
            "large files. Run `git lfs pull` there, or fetch the file from its first host."
        )


def open_array(path: Path) -> np.ndarray:
    """Maps a .npy file into memory, read only: of a large stack just the rows asked for are read.

    Raises:
        CorruptFileError: if it is no whole .npy file, or holds Python objects: to load those would
            run code of whoever wrote the file.
    """
    from climb_hf.io.arrays import open_npy

    refuse_pointer(path)
    return open_npy(path)


def numbers_of(path: Path, kind: type, n_columns: int | None = None) -> np.ndarray:
    """Reads a text file of numbers parted by commas, with or without blanks.

    Args:
        kind: int or float.
        n_columns: how many numbers every line must have; None takes those of the first line.

    Returns:
        int64 or float64, shape (lines, columns).

    Raises:
        CorruptFileError: for anything but lines of as many numbers each.
    """
    import numpy as np

    refuse_pointer(path)
    if path.stat().st_size == 0:
        return np.empty((0, n_columns or 0), kind)
    try:
        found: np.ndarray = np.loadtxt(path, dtype=kind, delimiter=",", ndmin=2, comments=None)
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path.name} is no table of numbers: {error}") from error
    if n_columns is not None and found.shape[1] != n_columns:
        raise CorruptFileError(
            f"{path.name} has {found.shape[1]} numbers a line where {n_columns} are expected."
        )
    return found


def those_beside(tree: RawTree, path: str, names: Mapping[str, str]) -> dict[str, Path]:
    """Returns role -> path of the files in the folder of `path` that are there, by their names."""
    found = {role: tree.beside(path, name) for role, name in names.items()}
    return {role: tree.path(name) for role, name in found.items() if name}


def or_fault(found: Iterator[Example | Fault], record: str, path: str) -> Iterator[Example | Fault]:
    """Yields what a reader finds, and a fault in place of the rest where a file is corrupt.

    Args:
        record: what is damaged then.
        path: of the file, within its tree.
    """
    try:
        yield from found
    except CorruptFileError as error:
        yield Fault(record, "damaged", str(error), path)
