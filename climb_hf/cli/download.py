"""`climb-hf download | verify | repair`: raw files from their hosts, checked byte for byte."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.cli import shared
from climb_hf.errors import ClimbError, OptionError

if TYPE_CHECKING:
    from climb_hf.card import SourceCard
    from climb_hf.fetch.check import Verdict
    from climb_hf.fetch.plan import Plan
    from climb_hf.fetch.run import Outcome
    from climb_hf.fetch.web import Web

_SHOWN = 10  # files of a kind that are printed
_VARIABLE = "CLIMB_DATA_DIR"


def add(commands: Any) -> None:
    """Adds the commands to the parser."""
    command = _command(
        commands,
        "download",
        _download,
        "fetch a config's raw files: resumed, checked, unpacked",
        "Shows a plan, then fetches. A download that was broken off goes on where it was when the "
        "same command is given again. Patients and folders are selected by --files; splits are "
        "not: which record is in which split stands in files of the release.",
    )
    command.add_argument("--dry-run", action="store_true", help="show the plan, fetch nothing")
    command.add_argument(
        "--files",
        action="append",
        default=[],
        metavar="GLOB",
        help="only paths that fit, such as '*.csv' or 'files/p10/*'; may be given several times",
    )
    command.add_argument("--limit", type=shared.positive, help="only so many records")
    command.add_argument(
        "--remote",
        action="append",
        default=[],
        metavar="TEXT",
        help="only addresses of the card that hold this text",
    )
    command.add_argument(
        "--accept-licence",
        action="store_true",
        help="say that you have accepted the terms of the sources; the manifest keeps it",
    )
    command.add_argument(
        "--keep-archives", action="store_true", help="keep archives beside what was in them"
    )
    _command(
        commands,
        "verify",
        _verify,
        "read every downloaded file and name what is missing, damaged or extra",
        "Compares size and SHA-256 of every file with the manifest; exit status 1 when one is "
        "missing or damaged.",
    )
    _command(
        commands,
        "repair",
        _repair,
        "fetch missing and damaged files again, and only those",
        "Verifies, and fetches what is missing or damaged from where it came.",
    )


def _command(commands: Any, name: str, run: Any, help_: str, description: str) -> Any:
    command = commands.add_parser(name, help=help_, description=description)
    command.add_argument(
        "config", help="a source, a modality (ecg), all, or a .py file that holds a source"
    )
    command.add_argument("--to", metavar="FOLDER", help=f"the raw files' folder (or {_VARIABLE})")
    command.add_argument(
        "--jobs", type=shared.positive, default=4, help="files at once, at most 16 (default: 4)"
    )
    shared.add_json(command)
    command.set_defaults(run=run)
    return command


def _cards(known: argparse.Namespace) -> tuple[list[SourceCard], Path]:
    from climb_hf import catalog

    names = catalog.check_config(shared.config(known.config))
    to = known.to or os.environ.get(_VARIABLE)
    if not to:
        raise OptionError(f"name the folder for raw files: --to <folder>, or set {_VARIABLE}.")
    return [catalog.get(name).card for name in names], Path(to).expanduser().absolute()


def _web() -> Web:
    from climb_hf.fetch.web import Web

    return Web()


@contextmanager
def _bar(total: int | None, quiet: bool) -> Iterator[Any]:
    """The one progress display of all files; on stderr, where that is a terminal."""
    from tqdm import tqdm

    form = {"unit": "B", "unit_scale": True, "leave": False}
    with tqdm(total=total, disable=True if quiet else None, **form) as bar:
        yield bar


# ---- download -----------------------------------------------------------------------------------


def _download(known: argparse.Namespace) -> int:
    from climb_hf.fetch.plan import Selection, make

    cards, root = _cards(known)
    wanted = Selection(tuple(known.files), known.limit, tuple(known.remote))
    told: list[dict[str, Any]] = []
    whole = True
    with _web() as web:
        for card in cards:
            try:
                plan = make(card, root, web, wanted)
                facts, right = _carry_out(plan, web, known)
            except ClimbError as error:
                if len(cards) == 1:
                    raise
                facts, right = {"source": card.name, "error": str(error)}, False
                if not known.json:
                    print(f"{card.name}: {error}\n")
            whole = whole and right
            told.append(facts)
    if known.json:
        shared.show(told)
    return 0 if whole else 1


def _carry_out(plan: Plan, web: Web, known: argparse.Namespace) -> tuple[dict[str, Any], bool]:
    from climb_hf.fetch.run import download

    if not known.json:
        _print_plan(plan)
    if known.dry_run:
        return _plan_facts(plan), True
    with _bar(plan.n_bytes, known.json) as bar:
        outcome = download(
            plan,
            web,
            accepted=known.accept_licence,
            jobs=known.jobs,
            keep_archives=known.keep_archives,
            bar=bar,
        )
    if not known.json:
        _print_outcome(outcome)
    return {**_plan_facts(plan), **_outcome_facts(outcome)}, outcome.whole


def _print_plan(plan: Plan) -> None:
    card = plan.card
    print(f"{card.name}: {card.title}")
    print(f"  licence  {card.licence.name}; access: {card.access}")
    if plan.terms:
        print(f"  needs    {plan.terms}: {card.homepage}")
    print(f"  to       {plan.folder}")
    there = len(plan.files) - len(plan.missing)
    if plan.files:
        size = "of unknown size" if plan.n_bytes is None else _size(plan.n_bytes)
        about = "about " if plan.estimated else ""
        print(f"  files    {len(plan.missing):,} to fetch, {about}{size}; {there:,} are there")
    print(f"  free     {_size(plan.free_bytes)}{'' if plan.fits else ', too little'}")
    for url in plan.kaggle:
        print(f"  Kaggle   {url} (whole, by kagglehub)")
    for remote in plan.left_out:
        print(f"  not      {remote.url} (take it with --remote)")
    if plan.steps:
        print("  by hand")
        for step in plan.steps:
            print(f"    {step}")
    print(flush=True)


def _size(n_bytes: int) -> str:
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:,.1f} {unit}"
    return f"{n_bytes} B"


def _print_outcome(outcome: Outcome) -> None:
    print(f"{outcome.source}: {len(outcome.fetched):,} fetched, {outcome.kept:,} were there")
    for path, reason in list(outcome.failed.items())[:_SHOWN]:
        print(f"  failed {path}: {reason}")
    _print_more(len(outcome.failed))
    if outcome.recognised:
        print(f"  recognised what was placed by hand: {', '.join(outcome.recognised)}")
    elif outcome.steps:
        print("  files are to be fetched by hand, as above")
    if outcome.failed:
        print("  what came is kept: run the same command again for the rest")
    print(flush=True)


def _print_more(number: int) -> None:
    if number > _SHOWN:
        print(f"  and {number - _SHOWN:,} more, see --json")


def _plan_facts(plan: Plan) -> dict[str, Any]:
    return {
        "source": plan.card.name,
        "licence": plan.card.licence.name,
        "access": str(plan.card.access),
        "needs": plan.terms,
        "folder": str(plan.folder),
        "files": len(plan.files),
        "to_fetch": len(plan.missing),
        "bytes": plan.n_bytes,
        "estimated": plan.estimated,
        "free_bytes": plan.free_bytes,
        "kaggle": list(plan.kaggle),
        "left_out": [remote.url for remote in plan.left_out],
        "steps": list(plan.steps),
    }


def _outcome_facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "source": outcome.source,
        "fetched": outcome.fetched,
        "kept": outcome.kept,
        "failed": outcome.failed,
        "recognised": list(outcome.recognised),
    }


# ---- verify and repair --------------------------------------------------------------------------


def _verify(known: argparse.Namespace) -> int:
    from climb_hf.fetch.check import verify

    cards, root = _cards(known)
    progress = iter if known.json else shared.progress("verify")
    there = [card for card in cards if len(cards) == 1 or (root / card.name).is_dir()]
    verdicts = [verify(root / one.name, one.name, known.jobs, progress) for one in there]
    if known.json:
        shared.show([asdict(verdict) for verdict in verdicts])
    else:
        for verdict in verdicts:
            _print_verdict(verdict)
        if not verdicts:
            print(f"nothing of {known.config} lies under {root}")
    return 0 if verdicts and all(verdict.right for verdict in verdicts) else 1


def _print_verdict(verdict: Verdict) -> None:
    print(f"{verdict.source}: {verdict.good:,} files are right")
    kinds: Sequence[tuple[str, Sequence[str]]] = (
        ("missing", verdict.missing),
        ("damaged", verdict.damaged),
        ("extra", verdict.extra),
    )
    for kind, paths in kinds:
        for path in paths[:_SHOWN]:
            print(f"  {kind} {path}")
        _print_more(len(paths))
    if not verdict.complete:
        print("  the last download was broken off: run it again for the rest")


def _repair(known: argparse.Namespace) -> int:
    from climb_hf.fetch.run import repair

    cards, root = _cards(known)
    there = [card for card in cards if len(cards) == 1 or (root / card.name).is_dir()]
    with _web() as web, _bar(None, known.json) as bar:
        outcomes = [repair(card, root, web, known.jobs, bar) for card in there]
    if known.json:
        shared.show([_outcome_facts(outcome) for outcome in outcomes])
    else:
        for outcome in outcomes:
            _print_outcome(outcome)
    return 0 if all(outcome.whole for outcome in outcomes) else 1
