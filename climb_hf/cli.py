"""The command line: `climb-hf list | info | preview | train`.

Everything heavy is imported inside the command that needs it, so that help is instant.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf._version import __version__
from climb_hf.errors import ClimbError

if TYPE_CHECKING:
    from climb_hf.card import SourceCard

TRAINERS = ("sft", "drpo")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status; an expected error is one readable line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = make_parser()
    known, rest = parser.parse_known_args(arguments)
    if known.command is None:
        parser.print_help()
        return 2
    if rest and known.command != "train":
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    try:
        return known.run(known, rest)
    except ClimbError as error:
        print(f"climb-hf: {type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("climb-hf: stopped", file=sys.stderr)
        return 130


def make_parser() -> argparse.ArgumentParser:
    """Returns the parser of every command."""
    parser = argparse.ArgumentParser(
        prog="climb-hf", description="Clinical data sets of CLIMB, and DRPO training on them."
    )
    parser.add_argument("--version", action="version", version=f"climb-hf {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    command = commands.add_parser("list", help="the configs and sources there are")
    command.set_defaults(run=_list)

    command = commands.add_parser("info", help="everything known about a source")
    command.add_argument("source")
    command.set_defaults(run=_info)

    command = commands.add_parser("preview", help="a few examples, as text and as a picture")
    command.add_argument("config", help="a source (ptb_xl), a modality (ecg) or all")
    command.add_argument("--data-dir", help="folder with the raw files (or CLIMB_DATA_DIR)")
    command.add_argument("--n", type=_positive, default=3, help="how many (default: 3)")
    command.add_argument("--split", default=None, help="default: the first split there is")
    command.add_argument("--out", type=Path, default=Path("preview.png"), help="the picture")
    command.set_defaults(run=_preview)

    command = commands.add_parser(
        "train",
        help="train a model: `train sft ...` for the supervised start, `train drpo ...`",
        description="Starts the training script with accelerate. What is not named here goes to "
        "the script as it is; `climb-hf train drpo --script-help` lists its options.",
    )
    command.add_argument("trainer", choices=TRAINERS)
    command.add_argument("--recipe", help="a run file that climb-hf ships, or a path to one")
    command.add_argument("--num-processes", type=_positive, help="one per GPU")
    command.add_argument("--accelerate-config", type=Path, help="file for accelerate launch")
    command.add_argument("--script-help", action="store_true", help="the script's own options")
    command.set_defaults(run=_train)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def _list(known: argparse.Namespace, rest: list[str]) -> int:
    from climb_hf import catalog

    rows = [("SOURCE", "MODALITY", "RECORDS", "LICENCE", "ACCESS", "TITLE")]
    for name, source in catalog.sources().items():
        card = source.card
        facts = (f"{card.n_records:,}", card.licence.name, str(card.access), card.title)
        rows.append((name, str(card.modality), *facts))
    _table(rows)
    groups = {name: members for name, members in catalog.configs().items() if len(members) > 1}
    print("\nConfigs over several sources:")
    for name, members in groups.items():
        print(f"  {name}: {', '.join(members)}")
    return 0


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[-1]]))


def _info(known: argparse.Namespace, rest: list[str]) -> int:
    from climb_hf import catalog

    for name, value in _facts(catalog.get(known.source).card):
        lines = [value] if isinstance(value, str) else list(value)
        for index, line in enumerate(lines):
            print(f"{name if index == 0 else '':<12} {line}")
    return 0


def _facts(card: SourceCard) -> list[tuple[str, str | Iterable[str]]]:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in card.split.fractions.items())
    signal = (
        f"{len(card.channels)} channels, {card.rate_hz:g} Hz, {card.unit}, {card.duration_s:g} s"
    )
    patients = f" of {card.n_patients:,} patients" if card.n_patients else ""
    given = "may be shared" if card.licence.share_data else "may not be shared"
    return [
        ("source", f"{card.name}: {card.title}"),
        ("", card.summary),
        ("modality", str(card.modality)),
        ("records", f"{card.n_records:,}{patients}"),
        ("series", signal if card.channels and card.rate_hz else "none"),
        ("licence", f"{card.licence.name} (the data {given})"),
        ("access", f"{card.access}: {card.homepage}"),
        ("release", card.release),
        ("layouts", [f"{layout.name}: {layout.example}" for layout in card.layouts]),
        ("label sets", ", ".join(card.label_sets)),
        ("splits", card.split.origin or f"derived: {shares}, whole patients, by a stable hash"),
        ("options", [f"{n} ({o.default!r}): {o.meaning}" for n, o in card.options.items()]),
        ("quirks", list(card.quirks)),
        ("proof", str(card.proof)),
        ("cite", card.citation),
    ]


def _preview(known: argparse.Namespace, rest: list[str]) -> int:
    from climb_hf.loading import load_dataset
    from climb_hf.plot import contact_sheet

    shared = {"data_dir": known.data_dir, "streaming": True}
    splits = load_dataset("climb", known.config, **shared)
    split = known.split or next(iter(splits))
    if split not in splits:
        from climb_hf.errors import OptionError

        raise OptionError(f"--split {split!r} is not one of: {', '.join(splits)}.")
    names = splits[split].features["labels"].feature.names
    rows = list(splits[split].take(known.n))
    for row in rows:
        _describe(row, names)
    signals = [(row["id"], row["series"][0]) for row in rows if row["series"]]
    if signals:
        known.out.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(signals).save(known.out)
        print(f"picture: {known.out}")
    return 0


def _describe(row: dict[str, Any], names: Sequence[str]) -> None:
    age = "unknown" if row["age_years"] is None else f"{row['age_years']:g}"
    named = {key: ", ".join(names[i] for i in row[key]) or "-" for key in _SHOWN}
    print(f"{row['id']}")
    print(f"  age {age}, sex {row['sex'] or 'unknown'}, patient {row['patient_id'] or 'unknown'}")
    print(f"  labels {named['labels']}; absent {named['labels_negative']}")
    print(f"  codes  {', '.join(row['native_labels']) or '-'}")
    for signal in row["series"]:
        seconds = signal.values.shape[1] / signal.rate_hz
        unit = ", ".join(dict.fromkeys(signal.units))
        shape = f"{len(signal.channels)} channels, {seconds:g} s, {signal.rate_hz:g} Hz"
        print(f"  series {shape}, {unit}")
    if row["flags"]:
        print(f"  flags  {', '.join(row['flags'])}")


_SHOWN = ("labels", "labels_negative")


def _train(known: argparse.Namespace, rest: list[str]) -> int:
    import subprocess

    from climb_hf.optional import need

    need("accelerate", extra="train")
    need("trl", extra="train")
    module = f"climb_hf.trainers.train_{known.trainer}"
    if known.script_help:
        return subprocess.run([sys.executable, "-m", module, "--help"], check=False).returncode
    launch = [sys.executable, "-m", "accelerate.commands.launch"]
    if known.accelerate_config:
        launch += ["--config_file", str(known.accelerate_config)]
    if known.num_processes:
        launch += ["--num_processes", str(known.num_processes)]
    script = ["-m", module]
    if known.recipe:
        from climb_hf.trainers.scripting import recipe

        script += ["--config", str(recipe(known.recipe))]
    return subprocess.run([*launch, *script, *rest], check=False).returncode
