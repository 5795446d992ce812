"""`climb-hf card`: what is written from the cards, a source's page and the README's table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from climb_hf.cli import shared

_SHIPPED = "climb_hf.builders."


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "card",
        help="the Markdown page of a source, or the README's table of sources",
        description="`climb-hf card SOURCE` prints the page of a source. `climb-hf card --readme "
        "README.md` makes the table between its two markers anew.",
    )
    command.add_argument("source", nargs="?", help="its name, or a .py file that holds it")
    command.add_argument("--readme", type=Path, metavar="FILE", help="file that holds the table")
    command.add_argument(
        "--check", action="store_true", help="with --readme: write nothing, fail when it is stale"
    )
    command.set_defaults(run=_card)


def _card(known: argparse.Namespace) -> int:
    from climb_hf.errors import OptionError

    if (known.source is None) == (known.readme is None):
        raise OptionError("name a source, or --readme with the file that holds the table.")
    if known.check and known.readme is None:
        raise OptionError("--check goes with --readme.")
    return _page(known.source) if known.source else _readme(known.readme, known.check)


def _page(source: str) -> int:
    from climb_hf import catalog
    from climb_hf.describe import as_markdown

    print(as_markdown(catalog.get(shared.config(source)).card), end="")
    return 0


def _readme(path: Path, check: bool) -> int:
    from climb_hf import catalog
    from climb_hf.describe import with_source_table
    from climb_hf.errors import OptionError

    # Those of this package: a source of another one is no part of this project's README.
    shipped = (s for s in catalog.sources().values() if s.module.__name__.startswith(_SHIPPED))
    cards = [source.card for source in shipped]
    try:
        text = path.read_text("utf-8")
        made = with_source_table(text, cards)
        if made == text:
            print(f"{path}: the table is up to date")
            return 0
        if check:
            raise OptionError(
                f"{path}: the table of sources is stale. Run: climb-hf card --readme {path}"
            )
        path.write_text(made, "utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(f"{path} cannot be read or written: {error}") from error
    print(f"{path}: the table is made anew")
    return 0
