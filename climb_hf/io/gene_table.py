"""Tables of genes by groups as tab-separated text, a cell being a value or its five quartiles."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from climb_hf.errors import CorruptFileError
from climb_hf.io.expression import GeneTable, Profile
from climb_hf.io.files import keeps_last, refuse_pointer
from climb_hf.io.magetab import Configuration
from climb_hf.schema import MediaFile

# Columns before the values, in lower case without blanks, by what they hold.
_ID, _NAME = ("geneid",), ("genename",)
_PROBE = ("designelement", "designelementaccession")  # an array has several of a gene
_NOTHING = ("", "NA", "NaN", "nan", "null", "-")
_CHANGE = ".log2foldchange"
_QUARTILES = 5  # minimum, lower quartile, median, upper quartile, maximum


def read_group(file: MediaFile) -> Profile:
    """Reads one group of a table.

    Args:
        file: `part` is the group; facts are `groups`, a (group, columns) pair for each group of
            the table, whose value is the median over its columns, and those of
            `GeneTable.profile`.

    Raises:
        CorruptFileError: if the file is cut short, lacks a column, or a cell is neither a number
            nor five.
    """
    table = _table(file.path, groups=file.facts["groups"])
    return table.profile(str(file.part), file.facts.get("unit"), file.facts)


@keeps_last
def _table(path: Path, *, groups: tuple[tuple[str, tuple[str, ...]], ...]) -> GeneTable:
    cells = _cells(path)
    plain = {_plain(name): name for name in cells.columns}
    role = {
        what: next((plain[name] for name in names if name in plain), None)
        for what, names in (("id", _ID), ("name", _NAME), ("probe", _PROBE))
    }
    if role["id"] is None:
        raise CorruptFileError(f"{path.name} has no column 'Gene ID': it is no table of genes.")
    values = {
        column: _medians(path, cells[column])
        for _, columns in groups
        for column in columns
        if column in cells
    }
    lost = sorted({c for _, columns in groups for c in columns} - set(values))
    if lost:
        raise CorruptFileError(f"{path.name} lacks the columns {', '.join(lost[:5])}.")
    rows = [_median_of([values[column] for column in columns]) for _, columns in groups]
    genes = list(cells[role["probe"] or role["id"]])
    names = list(cells[role["name"]]) if role["name"] else [""] * len(genes)
    named = [name or gene for name, gene in zip(names, cells[role["id"]], strict=True)]
    return GeneTable(genes, named, [group for group, _ in groups], np.stack(rows))


def sets_of(
    path: Path, unit: str, setup: Configuration, array: str
) -> tuple[tuple[tuple[str, tuple[str, ...]], ...], list[str]]:
    """Returns (group, columns) pairs for the groups of a table, and the groups that it lacks.

    Args:
        unit: `log2fc` for a table of contrasts, `normalized` for one of assays, else of groups.
        setup: which groups there are, of which assays.
        array: design of the array whose assays the table holds.

    Raises:
        CorruptFileError: if the file cannot be read, or its groups are not known.
    """
    columns = _columns(path)
    wanted: dict[str, tuple[str, ...]]
    if unit == "log2fc":
        wanted = {c.removesuffix(_CHANGE): (c,) for c in columns if c.endswith(_CHANGE)}
        wanted |= {name: (name + _CHANGE,) for name in setup.contrasts if not array}
    elif unit == "normalized":
        wanted = {g.id: g.assays for g in setup.groups.values() if g.array in ("", array)}
    else:
        wanted = {name: (name,) for name in (*columns, *setup.groups)}
    if not wanted:
        raise CorruptFileError(
            f"{path.name}: no configuration tells which groups its columns belong to."
        )
    there = {name: cells for name, cells in wanted.items() if set(cells) <= set(columns)}
    return tuple(there.items()), [name for name in wanted if name not in there]


def _columns(path: Path) -> tuple[str, ...]:
    """The columns of a table that hold values."""
    refuse_pointer(path)
    with path.open(encoding="utf-8", errors="replace") as file:
        names = file.readline().rstrip("\r\n").split("\t")
    return tuple(name for name in names if _plain(name) not in (*_ID, *_NAME, *_PROBE))


def _plain(name: str) -> str:
    return name.replace(" ", "").lower()


def _cells(path: Path) -> Any:
    """The cells as text; a table that is not rectangular was cut short."""
    refuse_pointer(path)
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = text.splitlines()
    n_tabs = lines[0].count("\t") if lines else 0
    wrong = next((at for at, line in enumerate(lines, 1) if line.count("\t") != n_tabs), None)
    if wrong is not None or len(lines) < 2:
        raise CorruptFileError(
            f"{path.name}: line {wrong or len(lines)} has another number of cells than the first, "
            "or is the only one. It is cut short; fetch it again."
        )
    return pd.read_csv(
        io.StringIO(text), sep="\t", dtype=str, keep_default_na=False, quoting=csv.QUOTE_NONE
    )


def _medians(path: Path, cells: Any) -> np.ndarray:
    """Values of one column; of five quartiles the median."""
    parted = cells.str.split(",")
    sizes = set(parted.str.len().unique())
    if not sizes <= {1, _QUARTILES}:
        raise CorruptFileError(
            f"{path.name}: a cell of column {cells.name!r} has {max(sizes)} values, not 1 or "
            f"{_QUARTILES}."
        )
    single = [one[len(one) // 2].strip() for one in parted]
    try:
        return np.array([np.nan if one in _NOTHING else one for one in single], np.float64)
    except ValueError as error:
        raise CorruptFileError(f"{path.name}, column {cells.name!r}: {error}") from error


def _median_of(columns: Sequence[np.ndarray]) -> np.ndarray:
    if len(columns) == 1:
        return columns[0]
    stacked = np.stack(columns)
    found = np.full(stacked.shape[1], np.nan)
    known = np.isfinite(stacked).any(axis=0)
    found[known] = np.nanmedian(stacked[:, known], axis=0)
    return found
