"""`climb-hf stats`: what a config is made of in a raw folder."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from climb_hf.cli import shared

SHOWN_SITES = 8
_TOTAL = "total"
_CLASSES = "Classes ({}): + positive, - negative, ? not labelled"


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "stats",
        help="what a config is made of: records, patients, splits, classes, ages, sites",
        description="Counts what lies in a raw folder by the index files and headers. With "
        "--signals every signal is opened too, which takes as long as a build. With --cards what "
        "the cards and CLIMB's table say, without any file: climb-hf stats all --cards",
    )
    shared.add_config(command)
    command.add_argument("--label-set", help="default: that of each source")
    command.add_argument("--split-rule", help="official, stratified or hash; default: the card's")
    command.add_argument(
        "--signals",
        action="store_true",
        help="open every signal: its flags, damage inside it, and ages that stand in it alone",
    )
    command.add_argument("--cards", action="store_true", help="by the cards, without a folder")
    command.add_argument("--plot", type=Path, metavar="OUT.png", help="draw it too")
    shared.add_json(command)
    command.set_defaults(run=_stats)


def _stats(known: argparse.Namespace) -> int:
    from climb_hf import catalog, collect, survey, survey_plot

    if known.plot:
        survey_plot.check(known.plot)  # before the work, not after it
    config = shared.config(known.config)
    if known.cards:
        return _of_cards(config, known)
    sources = [catalog.get(name) for name in catalog.check_config(config)]
    root = collect.data_root(known.data_dir)
    if root is None:
        raise collect.not_found(sources, root)
    figures = survey.composition(
        config,
        root,
        label_set=known.label_set,
        split_rule=known.split_rule,
        signals=known.signals,
        progress=lambda name: shared.progress(f"Reading {name}"),
    ).figures()
    if known.plot:
        survey_plot.save_plot(figures, known.plot)
    if known.json:
        shared.show(figures)
        return 0
    _print(figures)
    if known.plot:
        print(f"\npicture: {known.plot}")
    return 0


def _of_cards(config: str, known: argparse.Namespace) -> int:
    from climb_hf import survey_cards

    found = survey_cards.figures(config)
    if known.plot:
        survey_cards.save_plot(found, known.plot)
    if known.json:
        shared.show(found)
        return 0
    rows: list[Sequence[str]] = [("SOURCE", "MODALITY", "IN THE PAPER", "IN THE RELEASE", "ACCESS")]
    for name, one in found["sources"].items():
        paper = "-" if one["paper_records"] is None else f"{one['paper_records']:,}"
        rows.append((name, one["modality"], paper, f"{one['records']:,}", one["access"]))
    print(f"{config}, by the cards and CLIMB's table of 45 rows (4,505,190 samples)")
    shared.table(rows)
    print("\nSamples in the paper, by modality")
    _counts(("MODALITY", "SAMPLES"), found["modalities"])
    print("\nSources by country, where one is named")
    _counts(("COUNTRY", "SOURCES"), found["countries"])
    if known.plot:
        print(f"\npicture: {known.plot}")
    return 0


def _counts(head: tuple[str, str], counts: Mapping[str, int]) -> None:
    shared.table([head, *((name, f"{n:,}") for name, n in counts.items())])


def _print(figures: Mapping[str, Any]) -> None:
    how = "every signal opened" if figures["signals_opened"] else "by index and headers"
    print(f"{figures['config']} in {figures['folder']} ({how})")
    parts = _parts(figures)
    for title, rows in (
        ("Records", _record_rows(parts)),
        ("Splits", _split_rows(parts)),
        ("People", _people_rows(parts)),
        ("Lengths in seconds", _length_rows(parts)),
        (_CLASSES.format(figures["label_set"] or "default label set"), _class_rows(figures)),
        ("Positive records by source", _positive_rows(figures)),
        ("Flags", _named_rows(parts, "flags", "FLAG")),
        ("Sites", _named_rows(parts, "sites", "SITE")),
        ("Unknown codes", _named_rows(parts, "unknown_codes", "CODE")),
    ):
        if len(rows) > 1:
            print(f"\n{title}")
            shared.table(rows)
    if not figures["signals_opened"]:
        print("\nFlags of samples and damage inside signals are seen with --signals.")


def _parts(figures: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The sources, and the whole where there are several."""
    sources = dict(figures["sources"])
    return {**sources, _TOTAL: figures[_TOTAL]} if len(sources) > 1 else sources


def _record_rows(parts: Mapping[str, Mapping[str, Any]]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        ("SOURCE", "RECORDS", "UNLABELLED", "PATIENTS", "NO PATIENT ID", "DAMAGED", "MISSING")
    ]
    for name, part in parts.items():
        counts = ("records", "records_without_labels", "patients", "records_without_patient")
        rows.append((name, *(f"{part[one]:,}" for one in (*counts, "damaged", "missing"))))
    return rows


def _split_rows(parts: Mapping[str, Mapping[str, Any]]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("SOURCE", "TRAIN", "VALIDATION", "TEST", "ORIGIN")]
    for name, part in parts.items():
        origin = ", ".join(f"{word} {n:,}" for word, n in part["split_origins"].items())
        rows.append((name, *(f"{n:,}" for n in part["splits"].values()), origin))
    return rows


def _people_rows(parts: Mapping[str, Mapping[str, Any]]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [
        (
            "SOURCE",
            "AGE KNOWN",
            "YOUNGEST",
            "MEDIAN",
            "OLDEST",
            "FEMALE",
            "MALE",
            "OTHER",
            "UNKNOWN",
        )
    ]
    for name, part in parts.items():
        ages, sexes = part["ages_years"], part["sexes"]
        spread = (_number(ages[one]) for one in ("least", "median", "greatest"))
        counts = (f"{sexes.get(one, 0):,}" for one in ("female", "male", "other", "unknown"))
        rows.append((name, f"{ages['known']:,}", *spread, *counts))
    return rows


def _length_rows(parts: Mapping[str, Mapping[str, Any]]) -> list[Sequence[str]]:
    rows: list[Sequence[str]] = [("SOURCE", "KNOWN", "SHORTEST", "MEDIAN", "LONGEST")]
    for name, part in parts.items():
        lengths = part["durations_s"]
        if not lengths["known"]:
            continue
        spread = (_number(lengths[one]) for one in ("least", "median", "greatest"))
        rows.append((name, f"{lengths['known']:,}", *spread))
    return rows


def _number(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 1):g}"


def _class_rows(figures: Mapping[str, Any]) -> list[Sequence[str]]:
    """Positive (+), negative (-) and not labelled (?) by split; without classes nobody has."""
    splits = [name for name, n in figures[_TOTAL]["splits"].items() if n]
    heads = [f"{split.upper()[:5]}{mark}" for split in splits for mark in "+-?"]
    rows: list[Sequence[str]] = [("CLASS", *heads)]
    for name, by_split in figures[_TOTAL]["classes"].items():
        if any(counts["positive"] for counts in by_split.values()):
            rows.append((name, *(f"{n:,}" for split in splits for n in by_split[split].values())))
    return rows


def _positive_rows(figures: Mapping[str, Any]) -> list[Sequence[str]]:
    """class -> positive records of each source; "" where a source has no such class."""
    sources = figures["sources"]
    if len(sources) < 2:
        return []
    rows: list[Sequence[str]] = [("CLASS", *sources)]
    for name in figures[_TOTAL]["classes"]:
        counts = [_positives(part, name) for part in sources.values()]
        if any(counts):
            rows.append((name, *("" if n is None else f"{n:,}" for n in counts)))
    return rows


def _positives(part: Mapping[str, Any], name: str) -> int | None:
    by_split = part["classes"].get(name)
    return None if by_split is None else sum(one["positive"] for one in by_split.values())


def _named_rows(
    parts: Mapping[str, Mapping[str, Any]], kind: str, head: str
) -> list[Sequence[str]]:
    """source, word, count; the most frequent words of each source."""
    rows: list[Sequence[str]] = [("SOURCE", "RECORDS", head)]
    for name, part in parts.items():
        if name == _TOTAL or set(part[kind]) == {"unknown"}:
            continue
        words = sorted(part[kind].items(), key=lambda pair: (-pair[1], pair[0]))
        rows += [(name, f"{n:,}", word) for word, n in words[:SHOWN_SITES]]
        rest = words[SHOWN_SITES:]
        if rest:
            rows.append((name, f"{sum(n for _, n in rest):,}", f"and {len(rest)} more"))
    return rows
