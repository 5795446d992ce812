"""Tables of text, row by row."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from climb_hf.errors import CorruptFileError


def read_csv(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yields the rows of a CSV file with a header line; a byte order mark is skipped.

    Args:
        columns: names that must be there.

    Raises:
        CorruptFileError: if the file is no UTF-8 text, is empty or lacks a column.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise CorruptFileError(
                    f"{path.name} lacks the column {missing[0]!r}; its first line is not the "
                    "header of the release. Fetch the file again."
                )
            yield from reader
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CorruptFileError(f"{path.name} cannot be read as CSV: {error}") from error
