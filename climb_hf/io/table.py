"""Tables of text, row by row."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import CorruptFileError
from climb_hf.io.memory import remember

if TYPE_CHECKING:
    import numpy as np
_YES, _NO = ("1", "true", "t", "yes", "y"), ("0", "false", "f", "no", "n")


def read_csv(
    path: Path, columns: Sequence[str], separators: str = ",", encoding: str = "utf-8-sig"
) -> Iterator[dict[str, str]]:
    """Yields the rows of a CSV file with a header line; a byte order mark is skipped.

    Args:
        path: of the file, which is gzipped where its name ends in `.gz`.
        columns: names that must be there.
        separators: what may part the columns; the first of them that the header line holds does.
        encoding: of its text.

    Raises:
        CorruptFileError: if the file is no text of that encoding, is empty or lacks a column.
    """
    opened: Any = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", newline="", encoding=encoding) as file:
            header = file.readline()
            file.seek(0)
            parted_by = next((one for one in separators if one in header), separators[0])
            reader = csv.DictReader(file, delimiter=parted_by)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise CorruptFileError(
                    f"{path.name} lacks the column {missing[0]!r}; its first line is not the "
                    "header of the release. Fetch the file again."
                )
            yield from reader
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise CorruptFileError(f"{path.name} cannot be read as CSV: {error}") from error


def begins_with(path: Path, text: str) -> bool:
    """Whether a table's header line begins like this; another source's may have its name."""
    try:
        with path.open("rb") as file:
            return file.read(len(text) + 3).removeprefix(b"\xef\xbb\xbf").startswith(text.encode())
    except OSError:
        return False


def flag_of(cell: str | None) -> bool | None:
    """Returns what a cell of yes or no says in any spelling; None for a blank or another word."""
    word = (cell or "").strip().lower().removesuffix(".0")
    return True if word in _YES else False if word in _NO else None


def whole_lines(
    path: Path, columns: Sequence[str], separators: str = ","
) -> Iterator[dict[str, str]]:
    """Yields what `read_csv` does, for readers that take no line without one of `columns`.

    Raises:
        CorruptFileError: as `read_csv`, and at the first line that ends before one of them.
    """
    for number, row in enumerate(read_csv(path, columns, separators), start=1):
        if any(row[name] is None for name in columns):
            raise CorruptFileError(
                f"{path.name} is cut short: row {number} has fewer cells than the header. Fetch "
                "the file again."
            )
        yield row


@dataclass(frozen=True)
class NumberTable:
    """A table that holds nothing but numbers below its first lines.

    Attributes:
        values: float64, shape (rows, columns).
        notes: what the lines that begin with `#` say, by their first words.
    """

    values: np.ndarray
    notes: Mapping[str, str]


@remember(files=2)
def read_numbers(path: Path, n_columns: int) -> NumberTable:
    """Reads a table of numbers, separated by tabs or by commas as its first row tells.

    Lines that begin with `#`, and one of column names after them, may precede the numbers.

    Raises:
        CorruptFileError: if a row has another number of columns or holds a word.
    """
    import numpy as np  # not above, so that sources are listed without it

    try:
        lines = [line.rstrip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path.name} cannot be read as text: {error}") from error
    first = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    said = [line[1:].split(maxsplit=1) for line in lines[:first]]
    notes = {word: rest for word, *more in filter(None, said) for rest in more}
    separator = "\t" if first < len(lines) and "\t" in lines[first] else ","
    if first < len(lines) and not _is_number(lines[first].split(separator)[0]):
        first += 1
    if first >= len(lines):
        raise CorruptFileError(f"{path.name} holds no row of numbers.")
    try:
        values = np.loadtxt(lines[first:], delimiter=separator, ndmin=2, comments=None)
    except ValueError as error:
        why = str(error).split(";")[0]  # what follows is advice to who calls numpy
        raise CorruptFileError(f"{path.name}, below line {first}: {why}") from error
    if values.shape[1] != n_columns:
        raise CorruptFileError(
            f"{path.name} has {values.shape[1]} columns of numbers, expected {n_columns}."
        )
    return NumberTable(values, notes)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
