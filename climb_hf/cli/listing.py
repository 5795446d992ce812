"""`climb-hf list` and `climb-hf info`: what there is, and everything known about a source."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from climb_hf.cli import shared

SHOWN_FAULTS = 5
_LISTED = ("name", "title", "modality", "n_records", "n_patients", "access", "release")


def add(commands: Any) -> None:
    """Adds the two commands to the parser."""
    command = commands.add_parser("list", help="the configs and sources there are")
    shared.add_json(command)
    command.set_defaults(run=_list)

    command = commands.add_parser(
        "info",
        help="everything known about a source, and what a folder holds of it",
        description="Prints the card of a source: licence, files, class lists, question, options, "
        "cost, and how its reader was proved. With a folder of raw files (or CLIMB_DATA_DIR) also "
        "what lies there of it.",
    )
    command.add_argument("source", help="its name, or a .py file that holds it")
    command.add_argument("--data-dir", help="folder with raw files (or CLIMB_DATA_DIR)")
    shared.add_json(command)
    command.set_defaults(run=_info)


def _list(known: argparse.Namespace) -> int:
    from climb_hf import catalog
    from climb_hf.collection import paper_records

    cards = [source.card for source in catalog.sources().values()]
    groups = {name: members for name, members in catalog.configs().items() if name not in members}
    if known.json:
        listed = [
            {
                **{name: getattr(card, name) for name in _LISTED},
                "licence": card.licence.name,
                "paper_records": paper_records(card.name),
            }
            for card in cards
        ]
        shared.show({"sources": listed, "configs": groups})
        return 0
    head = ("SOURCE", "MODALITY", "RECORDS", "IN PAPER", "ACCESS", "LICENCE", "TITLE")
    rows: list[Sequence[str]] = [head]
    for card in cards:
        paper = paper_records(card.name)
        counts = (f"{card.n_records:,}", "-" if paper is None else f"{paper:,}")
        facts = (*counts, str(card.access), card.licence.name, card.title)
        rows.append((card.name, str(card.modality), *facts))
    shared.table(rows)
    print("\nConfigs over several sources:")
    for name, members in groups.items():
        print(f"  {name}: {', '.join(members)}")
    return 0


def _info(known: argparse.Namespace) -> int:
    from climb_hf import catalog
    from climb_hf.describe import facts_of

    source = catalog.get(shared.config(known.source))
    facts = facts_of(source.card)
    facts["on_disk"] = _on_disk(source, known.data_dir)
    if known.json:
        shared.show(facts)
        return 0
    for name, lines in _lines(source.card, facts["on_disk"]):
        _print_wrapped(name, lines)
    return 0


def _on_disk(source: Any, given: str | None) -> dict[str, Any] | None:
    """What lies in the folder; a folder of the environment may hold nothing of this source."""
    from climb_hf import collect, survey
    from climb_hf.errors import DataNotFoundError

    root = collect.data_root(given)
    if root is None:
        return None
    try:
        found = survey.on_disk(source, root, shared.progress(f"Indexing {source.card.name}"))
        if found is None:
            raise survey.nothing_found([source], root)
    except DataNotFoundError as error:
        if given:
            raise
        return {"folder": str(root), "records": 0, "problem": str(error)}
    return found


def _lines(card: Any, on_disk: Mapping[str, Any] | None) -> Iterator[tuple[str, Sequence[str]]]:
    """The facts of a source as lines under short names."""
    from climb_hf import describe

    patients = f" of {card.n_patients:,} patients" if card.n_patients else ", patients not known"
    yield "source", [f"{card.name}: {card.title}", card.summary]
    yield "modality", [str(card.modality)]
    yield "records", [f"{card.n_records:,}{patients}"]
    yield "series", [describe.series_line(card)]
    yield "shown", list(_shown(card))
    yield "licence", [describe.licence_line(card)]
    yield "access", [f"{card.access}: {card.homepage}"]
    yield "release", [f"{card.release} (card version {card.version})"]
    yield "layouts", [f"{layout.name}: {layout.example}" for layout in card.layouts]
    yield "fetched from", list(_remotes(card))
    yield "cost", _cost(card)
    yield "variants", [f"{name}: {meaning}" for name, meaning in card.variants.items()]
    yield "label sets", list(_label_sets(card))
    yield "question", list(_question(card))
    yield "splits", [describe.split_line(card)]
    yield "options", [f"{n} ({o.default!r}): {o.meaning}" for n, o in card.options.items()]
    yield "quirks", list(card.quirks)
    yield "overlaps", describe.overlap_lines(card.name)
    yield "proof", [str(card.proof)]
    yield "cite", [card.citation]
    yield "on disk", list(_folder(card, on_disk))


def _remotes(card: Any) -> Iterator[str]:
    """Where the files are, and how `climb-hf download` gets them."""
    from climb_hf import describe
    from climb_hf.fetch.plan import BY_HAND, way_of

    ways = [way_of(remote.url) for remote in card.remotes]
    for remote, way in zip(card.remotes, ways, strict=True):
        again = ", once more" if remote.again else ""
        yield f"{remote.url} ({describe.stated(remote.n_bytes)}{again}; {way})"
    if any(way != BY_HAND for way in ways):
        yield "tried against stand-ins of these hosts, not against the hosts (docs/download.md)"


def _shown(card: Any) -> Iterator[str]:
    """How volumes are looked at, and what the codes of their masks mean."""
    if card.window_hu:
        centre, width = card.window_hu
        edges = f"{centre - width / 2:g} to {centre + width / 2:g}"
        yield f"values from {edges}: window_hu of centre {centre:g}, width {width:g}"
    for code, meaning in card.mask_legend.items():
        lesion = ", what the question is about" if code in card.lesion_codes else ""
        yield f"mask code {code}: {meaning}{lesion}"


def _cost(card: Any) -> list[str]:
    from climb_hf import describe

    cost = describe.cost_of(card)
    fetched = describe.stated(cost["bytes_to_fetch"])
    built = describe.size_line(cost["bytes_built_at_most"])
    return [f"to fetch: {fetched}", f"once built: {built} ({cost['records']:,} records)"]


def _label_sets(card: Any) -> Iterator[str]:
    from climb_hf.describe import class_lists, classes_line

    for label_set, lists in class_lists(card).items():
        mark = " (default)" if label_set == card.default_label_set else ""
        shown = "; ".join(classes_line(one["vocabulary"], one["classes"]) for one in lists)
        yield f"{label_set}{mark}: {shown}"


def _question(card: Any) -> Iterator[str]:
    """The default question whole; of the others only that they exist."""
    from climb_hf.describe import questions_of

    asked = list(questions_of(card).items())
    for style, text in asked[:1]:
        yield f"{style}: " + text.replace("\n", " ")
    if asked[1:]:
        yield "also: " + ", ".join(style for style, _ in asked[1:])
    if not asked:
        yield "none is asked"


def _folder(card: Any, found: Mapping[str, Any] | None) -> Iterator[str]:
    from climb_hf.describe import as_size

    if found is None:
        yield "no folder given: pass --data-dir, or set CLIMB_DATA_DIR"
        return
    if "problem" in found:
        yield found["problem"]
        return
    yield found["folder"]
    yield f"layout: {', '.join(found['layouts'])}"
    yield f"{found['n_files']:,} files, {as_size(found['bytes_read'])}"
    share = found["records"] / card.n_records
    part = "under 0.1%" if share < 0.001 else f"{share:.1%}"
    yield f"{found['records']:,} records by the index ({part} of the source)"
    yield f"once built: at most {as_size(found['bytes_built_at_most'])}, before compression"
    words = {"copy": "seen twice", "left out": "left out by an option"}
    kinds = ("damaged", "missing", "copy", "left out")
    yield ", ".join(f"{found[kind]} {words.get(kind, kind)}" for kind in kinds)
    if found["unknown_codes"]:
        codes = sorted(found["unknown_codes"].items(), key=lambda pair: (-pair[1], pair[0]))
        yield "unknown codes: " + ", ".join(f"{code} ({n})" for code, n in codes)
    for fault in found["faults"][:SHOWN_FAULTS]:
        yield f"{fault['kind']} {fault['record']}: {fault['reason']}"
    if len(found["faults"]) > SHOWN_FAULTS:
        yield f"and {len(found['faults']) - SHOWN_FAULTS} more; --json lists all"


def _print_wrapped(name: str, lines: Sequence[str]) -> None:
    """Prints lines beside a name, broken between words to the width of the screen."""
    import textwrap

    width = max(min(shutil.get_terminal_size((100, 24)).columns, 120), 50) - 16
    shown = name
    for line in lines:
        parts = textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False) or [""]
        for index, part in enumerate(parts):
            indent = "  " if index else ""
            print(f"{shown:<13} {indent}{part}")
            shown = ""
