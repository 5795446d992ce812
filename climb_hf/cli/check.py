"""`climb-hf check`: the battery over a source and raw files of it, or images that stand twice."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from climb_hf.cli import shared
from climb_hf.errors import OptionError

SHOWN_PAIRS = 20
_SIGNS = {"passed": "ok", "failed": "FAILED", "not applicable": "-"}


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "check",
        help="whether a source reads right: every check of the battery",
        description="Runs every check of climb_hf.testing over a source, of this package or of "
        "your own .py file, and raw files of it. Ends with status 1 when one fails. With --leaks "
        "it looks for near-equal images in different splits or sources instead.",
        epilog="examples: climb-hf check my_source.py --data-dir raw/files; "
        "climb-hf check chest_xray --leaks --data-dir raw --data-dir more",
    )
    command.add_argument(
        "source",
        help="its name, or a .py file that holds it; with --leaks also a "
        "config of several, such as chest_xray",
    )
    command.add_argument(
        "--data-dir",
        action="append",
        help="folder with the raw files (or CLIMB_DATA_DIR); with --leaks it may be repeated",
    )
    command.add_argument(
        "--leaks", action="store_true", help="near-equal images in different splits or sources"
    )
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

    name = shared.config(known.source)
    if known.leaks:
        return _leaks(name, known)
    source = catalog.get(name)
    root, *more = _roots([source], known.data_dir)
    if more:
        raise OptionError("--data-dir is given more than once, and only --leaks takes several.")
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


def _roots(sources: Sequence[Any], given: Sequence[str] | None) -> list[Path]:
    """The raw folders that are named, else that of the environment.

    Raises:
        DataNotFoundError: if there is none.
    """
    from climb_hf.collect import data_root, not_found

    roots = [data_root(folder) for folder in given or ("",)]
    if roots[0] is None:
        raise not_found(sources, None)
    return [root for root in roots if root is not None]


def _leaks(name: str, known: argparse.Namespace) -> int:
    from climb_hf import catalog
    from climb_hf.config import ClimbConfig
    from climb_hf.leaks import find_leaks

    sources = catalog.check_config(name)
    roots = _roots([catalog.get(source) for source in sources], known.data_dir)
    config = ClimbConfig(name=name, sources=sources, max_error_rate=1.0)
    with _quiet():
        report = find_leaks(config, roots, progress=shared.progress("Comparing images"))
    if known.json:
        facts = {**vars(report), "leaks": [vars(leak) for leak in report.leaks]}
        facts["known"] = [{"source": source, **vars(one)} for source, one in report.known]
        shared.show(facts)
    else:
        _show_leaks(report)
    return int(bool(report.leaks))


def _show_leaks(report: Any) -> None:
    across = sum(leak.across_splits for leak in report.leaks)
    print(f"{report.n_images:,} images of {', '.join(report.sources)}")
    for count, what in ((report.n_flat, "show nothing"), (len(report.unreadable), "do not open")):
        if count:
            print(f"{count:,} more {what} and are not compared")
    print(
        f"{len(report.leaks):,} pairs are near-equal: {across:,} in different splits, "
        f"{len(report.leaks) - across:,} in different sources alone"
    )
    for leak in report.leaks[:SHOWN_PAIRS]:
        one, other = (
            f"{name} ({split})"
            for name, split in zip((leak.first, leak.second), leak.splits, strict=True)
        )
        print(f"  {one} = {other}  {leak.n_bits} of 256 bits differ, r {leak.correlation:.3f}")
    if len(report.leaks) > SHOWN_PAIRS:
        print(f"  and {len(report.leaks) - SHOWN_PAIRS:,} more; --json lists all")
    for source, one in report.known:
        where = "within itself" if one.other == source else f"with {one.other}"
        print(f"known: {source} shares {one.shares} {where}: {one.what}")


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
