"""What several commands use: tables, JSON, and sources named by a file."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any


def table(rows: Sequence[Sequence[str]]) -> None:
    """Prints rows, a heading first, as columns; numbers to the right, the last column unpadded."""
    columns = list(zip(*rows, strict=True))
    for row in rows:
        cells = [_aligned(cell, column) for cell, column in zip(row, columns, strict=True)]
        print("  ".join(cells).rstrip())


def _aligned(cell: str, column: Sequence[str]) -> str:
    width = max(len(one) for one in column)
    numbers = all(re.fullmatch(r"[\d,.]+%?|-|", one) for one in column[1:])
    return cell.rjust(width) if numbers else cell.ljust(width)


def progress(title: str) -> Callable[[Iterable[Any]], Iterable[Any]]:
    """Returns what shows a bar over records on stderr, where that is a terminal."""

    def shown(records: Iterable[Any]) -> Iterable[Any]:
        from tqdm import tqdm

        return tqdm(records, desc=title, unit=" records", disable=None, leave=False)

    return shown


def show(facts: Mapping[str, Any] | Sequence[Any]) -> None:
    """Prints facts as JSON."""
    print(json.dumps(facts, indent=1, ensure_ascii=False, default=str))


def config(name: str) -> str:
    """Returns a config's name; for a path to a .py file, the source in it is made known first."""
    from climb_hf import catalog

    return catalog.add_file(name) if name.endswith(".py") else name


def positive(text: str) -> int:
    """Returns a number of the command line that has to be 1 or more."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def add_config(command: argparse.ArgumentParser) -> None:
    """Adds the arguments that name a config and its raw files."""
    command.add_argument(
        "config", help="a source, a modality (ecg), all, or a .py file that holds a source"
    )
    command.add_argument("--data-dir", help="folder with the raw files (or CLIMB_DATA_DIR)")


def add_json(command: argparse.ArgumentParser) -> None:
    """Adds the flag that has a table printed as JSON."""
    command.add_argument("--json", action="store_true", help="print JSON in place of a table")
