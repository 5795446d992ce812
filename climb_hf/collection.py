"""What CLIMB's table counts of each source, and where its data were collected.

Records are those of the paper's table of 45 rows, which add up to 4,505,190; what a release holds
stands in the cards, and the two differ where the paper selects or counts otherwise. Places are
those that the sources' papers name, with the coordinates of the city.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True)
class Place:
    """Where data come from.

    Attributes:
        name: a city, or in words where there are several.
        latitude, longitude: degrees; None where no one city is meant.
    """

    name: str
    country: str
    latitude: float | None = None
    longitude: float | None = None


def paper_records(source: str) -> int | None:
    """Returns how many samples CLIMB's table lists of a source, or None for one of another."""
    found = _rows().get(source)
    return int(found[0]["paper_records"]) if found else None


def places(source: str) -> tuple[Place, ...]:
    """Returns where a source was collected, as far as its paper says."""
    return tuple(
        Place(row["place"], row["country"], _degrees(row["latitude"]), _degrees(row["longitude"]))
        for row in _rows().get(source, ())
        if row["place"]
    )


def _degrees(cell: str) -> float | None:
    return float(cell) if cell else None


@cache
def _rows() -> Mapping[str, list[Mapping[str, str]]]:
    text = resources.files("climb_hf.vocabularies").joinpath("collection.csv").read_text("utf-8")
    found: dict[str, list[Mapping[str, str]]] = {}
    for row in csv.DictReader(text.splitlines()):
        found.setdefault(row["source"], []).append(row)
    return found
