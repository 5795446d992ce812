"""`climb-hf check`: the battery over one source and raw files of it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from climb_hf.cli import shared

_SIGNS = {"passed": "ok", "failed": "FAILED", "not applicable": "-"}


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "check",
        help="whether a source reads right: every check of the battery",
        description="Runs every check of climb_hf.testing over a source, of this package or of "
        "your own .py file, and raw files of it. Ends with status 1 when one fails.",
        epilog="example: climb-hf check my_source.py --data-dir raw/files",
    )
    command.add_argument("source", help="its name, or a .py file that holds it")
    command.add_argument("--data-dir", help="folder with the raw files (or CLIMB_DATA_DIR)")
    command.add_argument(
        "--limit", type=shared.positive, help="open so many records (default: 200)"
    )
    command.add_argument(
        "--only", action="append", default=[], metavar="CHECK", help="this check; may be repeated"
    )
    shared.add_json(command)
    command.set_defaults(run=_check)


def _check(known: argparse.Namespace) -> int:
    from climb_hf import catalog, testing
    from climb_hf.collect import data_root, not_found

    name = shared.config(known.source)
    source = catalog.get(name)
    root = data_root(known.data_dir)
    if root is None:
        raise not_found([source], None)
    options = {"limit": known.limit} if known.limit else {}
    subject = testing.Subject(source, root, **options)
    results = []
    with _quiet():
        summary = subject.index()[1].summary()
        for check in testing.chosen(known.only):
            results.append(testing.run_check(check, subject))
            if not known.json:
                _show(results[-1])
    subject.close()
    failed = [result for result in results if result.outcome == "failed"]
    if known.json:
        shared.show({"found": summary, "results": [vars(result) for result in results]})
        return int(bool(failed))
    print(f"\n{summary}")
    counts = {outcome: sum(r.outcome == outcome for r in results) for outcome in _SIGNS}
    print(", ".join(f"{n} {outcome}" for outcome, n in counts.items() if n))
    return int(bool(failed))


@contextmanager
def _quiet() -> Iterator[None]:
    """Leaves out the bars and warnings of some twenty loads: what is damaged is counted once."""
    import logging

    import datasets

    ours, shown = logging.getLogger("climb_hf"), datasets.are_progress_bars_disabled()
    level = ours.level
    datasets.disable_progress_bars()
    ours.setLevel(logging.ERROR)
    try:
        yield
    finally:
        ours.setLevel(level)
        if not shown:
            datasets.enable_progress_bars()


def _show(result: Any) -> None:
    message = f"  {result.message}" if result.message else ""
    print(f"{_SIGNS[result.outcome]:<7} {result.check.replace('_', ' ')}{message}", flush=True)
