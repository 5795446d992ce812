"""`climb-hf build`: raw files to a prepared folder that plain `datasets` reads."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from climb_hf.cli import shared
from climb_hf.errors import OptionError

if TYPE_CHECKING:
    from climb_hf.build import Outcome
    from climb_hf.card import Option
    from climb_hf.prepared import SourceEntry

_SHOWN = 10  # faults of a source that are printed
_PASSED_ON = ("split_rule", "label_set", "length", "rate_hz", "variant", "on_error")


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "build",
        help="prepare a config: raw files to Parquet shards that plain datasets reads",
        description="Writes Parquet shards, README.md and climb.json. A build that was broken off "
        "goes on where it was when the same command is given again; another config built into the "
        "same folder joins the first.",
    )
    shared.add_config(command)
    command.add_argument("--out", help="the prepared folder (or CLIMB_HOME)")
    command.add_argument(
        "--num-proc", type=shared.positive, default=1, help="processes that write (default: 1)"
    )
    command.add_argument(
        "--shard-mb", type=float, default=256, help="raw megabytes of a shard (default: 256)"
    )
    command.add_argument("--label-set", help="default: that of each source")
    command.add_argument("--split-rule", help="official, stratified, hash or csv")
    command.add_argument("--length", help="10s (default) crops and pads, raw keeps a recording")
    command.add_argument("--rate-hz", type=float, help="samples per second; default: the card's")
    command.add_argument("--variant", help="another form of a source, where it has some")
    command.add_argument("--on-error", help="skip (default) counts damaged records, raise stops")
    command.add_argument(
        "--max-error-rate", type=float, help="share of damaged records that is let pass (0.05)"
    )
    command.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="SOURCE.NAME=VALUE",
        help="what only one source knows, see `climb-hf info SOURCE`; may be given several times",
    )
    command.add_argument(
        "--force", action="store_true", help="overwrite a README.md that was changed by hand"
    )
    shared.add_json(command)
    command.set_defaults(run=_build)


def _build(known: argparse.Namespace) -> int:
    from climb_hf import catalog
    from climb_hf.build import build
    from climb_hf.config import ClimbConfig

    name = shared.config(known.config)
    sources = catalog.check_config(name)
    given = {key: getattr(known, key) for key in (*_PASSED_ON, "max_error_rate")}
    config = ClimbConfig(
        name=name,
        sources=sources,
        options=_options(known.option),
        **{key: value for key, value in given.items() if value is not None},
    )
    outcome = build(
        config,
        known.data_dir,
        _out(known.out),
        num_proc=known.num_proc,
        shard_mb=known.shard_mb,
        force=known.force,
    )
    if known.json:
        shared.show(_facts(outcome))
    else:
        _print(outcome)
    return 0


def _out(given: str | None) -> str:
    from climb_hf.prepared import HOME_VARIABLE

    out = given or os.environ.get(HOME_VARIABLE)
    if not out:
        raise OptionError(f"name the folder to prepare: --out <folder>, or set {HOME_VARIABLE}.")
    return out


def _options(given: Sequence[str]) -> dict[str, dict[str, Any]]:
    """`SOURCE.question=choice` and the like as `ClimbConfig.options` takes them."""
    from climb_hf import catalog

    found: dict[str, dict[str, Any]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        source, dot, option = name.partition(".")
        if not (equals and dot and source and option):
            raise OptionError(f"--option {text!r} is not of the form SOURCE.NAME=VALUE.")
        known = catalog.get(source).card.options.get(option)
        # An unknown option goes on as it is, to be refused with the names that there are.
        found.setdefault(source, {})[option] = _value(text, known, value) if known else value
    return found


def _value(text: str, option: Option, value: str) -> Any:
    """The text of a value as the option's type."""
    if option.kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if value.lower() not in words:
            raise OptionError(f"--option {text!r}: the value should be true or false.")
        return words[value.lower()]
    try:
        return option.kind(value)
    except ValueError:
        raise OptionError(f"--option {text!r}: the value is no {option.kind.__name__}.") from None


# ---- what is told -------------------------------------------------------------------------------


def _print(outcome: Outcome) -> None:
    from climb_hf.build import differences

    for report in outcome.reports():
        report.not_questions = 0  # a column of the table
        print(report.summary())
        for fault in report.faults[:_SHOWN]:
            print(f"  {fault.kind} {fault.record}: {fault.reason}")
        if len(report.faults) > _SHOWN:
            print(f"  and {len(report.faults) - _SHOWN} more, see climb.json")
    print()
    shared.table(_rows(outcome))
    print()
    ratio = f" ({outcome.n_bytes / outcome.raw_bytes:.2f} of it)" if outcome.raw_bytes else ""
    print(f"read    {_size(outcome.raw_bytes)}")
    print(f"wrote   {_size(outcome.n_bytes)}{ratio}")
    print(f"shards  {len(outcome.written)} written, {len(outcome.kept)} kept as they were")
    print(f"configs {', '.join(outcome.manifest.configs)}")
    for line in differences(outcome.manifest):
        print(f"note    {line}")
    config = outcome.sources[0] if len(outcome.sources) == 1 else _group(outcome)
    print(f"\nprepared in {outcome.out}; load it with")
    print(f'  datasets.load_dataset("{outcome.out}", "{config}")')
    print(f'  climb_hf.load_dataset("climb", "{config}", data_dir="{outcome.out}")')


def _group(outcome: Outcome) -> str:
    """The smallest config that holds every source of the build."""
    configs = outcome.manifest.configs.values()
    fitting = [c for c in configs if set(outcome.sources) <= set(c.sources) and c.task != "qa"]
    return min(fitting, key=lambda config: (len(config.sources), config.name == "all")).name


def _rows(outcome: Outcome) -> list[Sequence[str]]:
    from climb_hf.schema import SPLITS

    rows: list[Sequence[str]] = [("SOURCE", *map(str.upper, SPLITS), "QUESTIONS", "READ", "WROTE")]
    for name in outcome.sources:
        entry = outcome.manifest.sources[name]
        counts = _counts(entry)
        sizes = (_size(entry.raw_bytes), _size(entry.n_bytes))
        cells = (f"{counts[key]:,}" for key in (*SPLITS, "questions"))
        rows.append((name, *cells, *sizes))
    return rows


def _counts(entry: SourceEntry) -> Mapping[str, int]:
    from climb_hf.schema import SPLITS

    rows = {split: sum(s.rows for s in entry.shards if s.split == split) for split in SPLITS}
    return {**rows, "questions": sum(shard.rows for shard in entry.shards if shard.asked)}


def _size(n_bytes: int) -> str:
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n_bytes >= scale:
            return f"{n_bytes / scale:,.1f} {unit}"
    return f"{n_bytes} B"


def _facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "out": str(outcome.out),
        "sources": {name: _counts(outcome.manifest.sources[name]) for name in outcome.sources},
        "configs": list(outcome.manifest.configs),
        "raw_bytes": outcome.raw_bytes,
        "bytes": outcome.n_bytes,
        "written": list(outcome.written),
        "kept": list(outcome.kept),
        "reports": [outcome.manifest.sources[name].report for name in outcome.sources],
    }
