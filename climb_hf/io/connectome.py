"""Dense connectivity of brain regions: stacks of matrices, cells of a .mat, time series."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.io.arrays import read_mat
from climb_hf.io.files import keeps_last, open_array, refuse_pointer
from climb_hf.io.graph import Graph
from climb_hf.optional import need
from climb_hf.schema import MediaFile

_STRONGEST = 5  # pairs that a text names, of either sign
_ROUNDING = 1e-5  # what a matrix and its mirror may differ by


def connectome(matrix: np.ndarray, names: Sequence[str] = (), flags: tuple[str, ...] = ()) -> Graph:
    """Returns the graph of a dense matrix.

    Args:
        matrix: shape (regions, regions) or (views, regions, regions).
        names: of the regions; their numbers from 1 where none are given.
        flags: what is known of it already.

    Raises:
        CorruptFileError: if it is not square, or holds a value that is no finite number.
    """
    if np.asarray(matrix).dtype.kind not in "fiu":
        raise CorruptFileError("a connectivity matrix holds no numbers.")
    views = np.asarray(matrix, "<f4")
    views = views[None] if views.ndim == 2 else views
    if views.ndim != 3 or views.shape[1] != views.shape[2] or not views.size:
        raise CorruptFileError(f"a connectivity matrix has shape {matrix.shape}: it is not square.")
    lost = int((~np.isfinite(views)).sum())
    if lost:
        raise CorruptFileError(f"a connectivity matrix has {lost} values that are no number.")
    if not np.allclose(views, views.transpose(0, 2, 1), atol=_ROUNDING):
        flags = (*flags, "asymmetric_matrix")
    shown = names or [str(number) for number in range(1, views.shape[1] + 1)]
    words = {"summary": in_words(views, shown), "regions": str(views.shape[1])}
    return Graph(views.shape[1], tuple(names), matrix=views, words=words, flags=flags)


def in_words(views: np.ndarray, names: Sequence[str]) -> str:
    """Returns what stands out in a dense matrix: its mean, its strongest pairs, its hubs.

    Args:
        views: shape (views, regions, regions); each is described apart.
        names: of the regions.
    """
    told = [_one_view(view, names) for view in views]
    if len(told) == 1:
        return told[0]
    return " ".join(f"View {number}: {text}" for number, text in enumerate(told, start=1))


def _one_view(view: np.ndarray, names: Sequence[str]) -> str:
    first, second = _pairs(len(view))
    values = ((view + view.T) / 2)[first, second]

    def listed(sign: str, at: np.ndarray) -> str:
        pairs = (f"{names[first[i]]} with {names[second[i]]} ({values[i]:.2f})" for i in at)
        return f"Strongest {sign} pairs: {', '.join(pairs)}. " if at.size else ""

    off_diagonal = view.sum(axis=1) - view.diagonal()
    means = off_diagonal / max(len(view) - 1, 1)
    hubs = np.argsort(-means, kind="stable")[:_STRONGEST]
    positive, negative = (_highest(sign * values) for sign in (1, -1))
    return (
        f"mean over all pairs {values.mean() if values.size else 0:.3f}, "
        f"{np.mean(values > 0) if values.size else 0:.0%} of them positive. "
        + listed("positive", positive)
        + listed("negative", negative)
        + "Regions with the highest mean: "
        + ", ".join(f"{names[at]} ({means[at]:.2f})" for at in hubs)
        + "."
    )


@lru_cache(maxsize=4)
def _pairs(n_regions: int) -> tuple[np.ndarray, np.ndarray]:
    """Both regions of each pair; the matrices of a source are all of one size."""
    return np.triu_indices(n_regions, k=1)


def _highest(values: np.ndarray) -> np.ndarray:
    """Places of the highest values above 0, the highest first, of equal ones the first."""
    n_left_out = max(len(values) - _STRONGEST, 0)
    floor = np.partition(values, n_left_out)[n_left_out] if len(values) else 0
    near = np.flatnonzero((values >= floor) & (values > 0))
    return near[np.argsort(-values[near], kind="stable")][:_STRONGEST]


def read_stacked(file: MediaFile) -> Graph:
    """Reads one matrix of a .npy stack; `part` is its row.

    Raises:
        CorruptFileError: if the file is no stack of numbers, or the matrix is not a sound one.
    """
    return connectome(open_array(file.path)[file.part])


# --- MATLAB ------------------------------------------------------------------------------------


def mat_column(path: Path, name: str) -> np.ndarray:
    """Returns a variable of a .mat file as one column, whichever way it lies in the file.

    Raises:
        CorruptFileError: if the file cannot be read, or holds no such variable.
    """
    return _variable(path, name=name)


def mat_sizes(path: Path) -> dict[str, int]:
    """Returns how many values or cells each variable of a .mat file has; reads none of them.

    Raises:
        CorruptFileError: if the file cannot be read, or is of MATLAB 7.3, whose cells are not read.
    """
    refuse_pointer(path)
    matlab = need("scipy.io", extra="graph")
    try:
        return {name: int(np.prod(shape)) for name, shape, _ in matlab.whosmat(path)}
    except NotImplementedError as error:
        raise CorruptFileError(
            f"{path.name} is a MATLAB v7.3 file, which is HDF5. Save it again in MATLAB with "
            "save(file, '-v7')."
        ) from error
    except (OSError, ValueError, TypeError, EOFError, matlab.matlab.MatReadError) as error:
        raise CorruptFileError(f"{path.name} is no whole .mat file: {error}") from error


@keeps_last
def _variable(path: Path, *, name: str) -> np.ndarray:
    found = read_mat(path, [name])
    if name not in found:
        raise CorruptFileError(f"{path.name} holds no variable {name!r}, or is cut short.")
    return found[name].ravel()


def read_cell(file: MediaFile) -> Graph:
    """Reads one cell of a .mat file whose last axis are views; `part` is (variable, row).

    Raises:
        CorruptFileError: if the file cannot be read, or the matrix is not a sound one.
    """
    name, row = file.part
    cell = np.asarray(_variable(file.path, name=name)[row])
    if cell.dtype.kind not in "fiu" or cell.ndim not in (2, 3):
        raise CorruptFileError(f"cell {row} of {name!r} is no matrix of numbers.")
    # Transposed, not reshaped: a reshape would mix the views.
    return connectome(cell if cell.ndim == 2 else np.moveaxis(cell, -1, 0))


# --- time series -------------------------------------------------------------------------------


def read_series(file: MediaFile) -> Graph:
    """Correlates the time series of regions: a text file, a line a volume after a line of names.

    A region whose signal never changes has no correlation; it gets 0, and the flag `flat_channel`.

    Args:
        file: `facts` may hold `fisher_z`, whether correlations are Fisher-transformed (the
            diagonal, which would be infinite, becomes 0).

    Raises:
        CorruptFileError: if the file is no table of numbers, or has a single volume.
    """
    names, values = _table(file.path)
    if len(values) < 2:
        raise CorruptFileError(f"{file.path.name} has no two volumes to correlate.")
    flat = values.std(axis=0) == 0
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = np.corrcoef(np.ascontiguousarray(values.T)).reshape(len(names), len(names))
    matrix[flat] = matrix[:, flat] = 0
    if file.facts.get("fisher_z"):
        with np.errstate(divide="ignore"):
            matrix = np.arctanh(np.clip(matrix, -1, 1))
        matrix[~np.isfinite(matrix)] = 0
    return connectome(matrix, names, ("flat_channel",) if flat.any() else ())


def n_volumes(path: Path) -> int:
    """Returns how many lines a file of time series has after its first; no number is read.

    Raises:
        CorruptFileError: if its last line is cut short, or there is none.
    """
    refuse_pointer(path)
    with path.open("rb") as file:
        lines = [line for line in file if line.strip()]
    if len(lines) < 2 or len(lines[-1].split()) != len(lines[0].split()):
        raise CorruptFileError(f"{path.name} ends within a line. Fetch it again.")
    return len(lines) - 1


def _table(path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    refuse_pointer(path)
    try:
        with path.open(encoding="utf-8") as file:
            names = tuple(name.lstrip("#") for name in file.readline().split())
            values = np.loadtxt(file, ndmin=2)
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path.name} is no table of regions: {error}") from error
    if not names or values.shape[1] != len(names) or not np.isfinite(values).all():
        raise CorruptFileError(
            f"{path.name} names {len(names)} regions and has {values.shape[1]} numbers a line, or "
            "one that is no number."
        )
    return names, values
