"""`climb-hf list` and `climb-hf info`: what there is."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from climb_hf.cli import shared

if TYPE_CHECKING:
    from climb_hf.card import SourceCard


def add(commands: Any) -> None:
    """Adds the two commands to the parser."""
    command = commands.add_parser("list", help="the configs and sources there are")
    shared.add_json(command)
    command.set_defaults(run=_list)

    command = commands.add_parser("info", help="everything known about a source")
    command.add_argument("source", help="its name, or a .py file that holds it")
    command.set_defaults(run=_info)


def _list(known: argparse.Namespace) -> int:
    from climb_hf import catalog

    rows = [("SOURCE", "MODALITY", "RECORDS", "LICENCE", "ACCESS", "TITLE")]
    for name, source in catalog.sources().items():
        card = source.card
        facts = (f"{card.n_records:,}", card.licence.name, str(card.access), card.title)
        rows.append((name, str(card.modality), *facts))
    shared.table(rows)
    groups = {name: members for name, members in catalog.configs().items() if len(members) > 1}
    print("\nConfigs over several sources:")
    for name, members in groups.items():
        print(f"  {name}: {', '.join(members)}")
    return 0


def _info(known: argparse.Namespace) -> int:
    from climb_hf import catalog

    for name, value in _facts(catalog.get(shared.config(known.source)).card):
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
