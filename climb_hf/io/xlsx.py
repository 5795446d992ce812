"""Tables that a release has as a workbook of Excel only."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from climb_hf.errors import CorruptFileError
from climb_hf.io.files import refuse_pointer
from climb_hf.optional import need


def read_xlsx(path: Path, columns: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yields the rows of the first sheet below its line of names, as text; blank rows are skipped.

    A whole number is written without a fraction, as it is shown.

    Raises:
        CorruptFileError: if it is no workbook or lacks a column.
        DependencyError: if openpyxl is not installed.
    """
    openpyxl = need("openpyxl", extra="xlsx")
    refuse_pointer(path)
    try:
        book = openpyxl.load_workbook(path, read_only=True, data_only=True)
        try:
            lines = [*book.worksheets[0].iter_rows(values_only=True)]
        finally:
            book.close()
    except (OSError, EOFError, LookupError, SyntaxError, ValueError, zipfile.BadZipFile) as error:
        raise CorruptFileError(
            f"{path.name} cannot be read as a workbook: {error}. Fetch the file again."
        ) from error
    header = [_text(cell) for cell in lines[0]] if lines else []
    missing = [name for name in columns if name not in header]
    if missing:
        raise CorruptFileError(
            f"{path.name} lacks the column {missing[0]!r}; its first line is not the header of "
            "the release. Fetch the file again."
        )
    for line in lines[1:]:
        cells = [_text(cell) for cell in line]
        if any(cells):
            yield dict(zip(header, cells, strict=False))


def _text(cell: Any) -> str:
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return "" if cell is None else str(cell).strip()
