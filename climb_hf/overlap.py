"""Which sources share images or persons, as their releases and papers say.

A source that is held out is held out only if none of these was trained on; `climb_hf.leaks` looks
for what nobody wrote down.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib import resources

KINDS = ("images", "patients", "records", "collection")


@dataclass(frozen=True)
class Overlap:
    """What a source shares with another, or twice within itself.

    Attributes:
        other: the other source; the source itself where it is about its own records.
        shares: `images`, `patients` or `records` that occur in both, or `collection` where both
            were drawn from one and it is not said which images are.
        what: a sentence.
        source: where that is said.
    """

    other: str
    shares: str
    what: str
    source: str


def overlaps(name: str) -> tuple[Overlap, ...]:
    """Returns what is known of a source to lie elsewhere too, other sources first, by name.

    Args:
        name: of a source; one that the table does not know has none.
    """
    found = []
    for first, second, *facts in _table():
        if name in (first, second):
            found.append(Overlap(second if name == first else first, *facts))
    return tuple(sorted(found, key=lambda one: (one.other == name, one.other)))


@cache
def _table() -> tuple[tuple[str, str, str, str, str], ...]:
    text = resources.files("climb_hf.vocabularies").joinpath("overlaps.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple((r["first"], r["second"], r["shares"], r["what"], r["source"]) for r in rows)
