"""What a config is made of by its cards and CLIMB's table alone: no file is looked at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from climb_hf import catalog, collection, survey_plot
from climb_hf.errors import OptionError

LEAST_SHARE = 0.01, 0.05  # of a wedge that is named in the outer and in the inner ring


def figures(config: str) -> dict[str, Any]:
    """Returns counts of the sources of a config as data that JSON can hold.

    Returns:
        `sources` (each with modality, access, licence, records of its release, and records of
        CLIMB's table or None), `modalities` (records of the table by modality, most first),
        `places`, and `countries` (how many sources each).

    Raises:
        ConfigNameError: if there is no such config.
    """
    cards = [catalog.get(name).card for name in catalog.check_config(config)]
    sources: dict[str, dict[str, Any]] = {
        card.name: {
            "modality": str(card.modality),
            "access": str(card.access),
            "licence": card.licence.name,
            "records": card.n_records,
            "paper_records": collection.paper_records(card.name),
        }
        for card in cards
    }
    by_modality: Counter[str] = Counter()
    for one in sources.values():
        by_modality[one["modality"]] += one["paper_records"] or 0
    places = {card.name: collection.places(card.name) for card in cards}
    countries = Counter(
        country for found in places.values() for country in {place.country for place in found}
    )
    return {
        "config": config,
        "sources": sources,
        "modalities": dict(by_modality.most_common()),
        "places": [
            {"source": name, **vars(place)} for name, found in places.items() for place in found
        ],
        "countries": dict(countries.most_common()),
    }


def save_plot(found: Mapping[str, Any], path: Path) -> None:
    """Draws the composition as rings, samples by modality as bars, and places on a map grid.

    Args:
        found: of `figures`.
        path: .png, .pdf or .svg; its folder is made.

    Raises:
        OptionError: for another ending, or a place that cannot be written.
        DependencyError: if matplotlib is not installed.
    """
    survey_plot.check(path)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 10), layout="constrained")
    axes = figure.subplot_mosaic([["rings", "bars"], ["map", "map"]], height_ratios=[5, 4])
    colours = _rings(axes["rings"], found)
    _bars(axes["bars"], found["modalities"], colours)
    _map(axes["map"], found["places"], found["sources"], colours)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=110)
    except OSError as error:
        raise OptionError(f"plot={str(path)!r} cannot be written: {error.strerror}.") from error


def _rings(axes: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """Modalities within, their sources around them; returns modality -> colour."""
    from matplotlib import colormaps

    modalities = [name for name, n in found["modalities"].items() if n]
    shades = colormaps["tab20"]
    colours = {name: shades(at % shades.N) for at, name in enumerate(found["modalities"])}
    total = sum(found["modalities"].values()) or 1
    ring = {"edgecolor": "white", "linewidth": 0.6}
    axes.pie(
        [found["modalities"][name] for name in modalities],
        labels=[_name(name, found["modalities"][name] / total, 1) for name in modalities],
        colors=[colours[name] for name in modalities],
        radius=0.7,
        labeldistance=0.55,
        textprops={"fontsize": 8, "ha": "center"},
        startangle=90,
        wedgeprops={"width": 0.35, **ring},
    )
    counted = _by_modality(found["sources"], modalities)
    axes.pie(
        [n for _, _, n in counted],
        labels=[_name(name, n / total, 0) for name, _, n in counted],
        colors=[(*colours[kind][:3], 0.6) for _, kind, _ in counted],
        radius=1.0,
        labeldistance=1.05,
        textprops={"fontsize": 8},
        startangle=90,
        wedgeprops={"width": 0.28, **ring},
    )
    axes.set_title(f"{found['config']}: {total:,} samples in CLIMB's table")
    return colours


def _by_modality(
    sources: Mapping[str, Mapping[str, Any]], modalities: Sequence[str]
) -> list[tuple[str, str, int]]:
    """Source, modality and samples, in the order of the inner ring."""
    counted = [(name, one["modality"], one["paper_records"] or 0) for name, one in sources.items()]
    return sorted(
        (one for one in counted if one[2]), key=lambda one: (modalities.index(one[1]), -one[2])
    )


def _name(name: str, share: float, ring: int) -> str:
    return name if share >= LEAST_SHARE[ring] else ""


def _bars(axes: Any, modalities: Mapping[str, int], colours: Mapping[str, Any]) -> None:
    names = [name for name, n in modalities.items() if n]
    values = [modalities[name] for name in names]
    axes.barh(names, values, color=[colours[name] for name in names])
    axes.set_xscale("log")
    axes.set_xlim(right=max(values, default=1) * 8)
    for at, value in enumerate(values):
        axes.text(value * 1.1, at, f"{value:,}", va="center", fontsize=8)
    axes.invert_yaxis()
    axes.set_title("samples by modality", loc="left")
    axes.set_xlabel("samples (logarithmic)")
    axes.spines[["top", "right"]].set_visible(False)


def _map(
    axes: Any,
    places: Sequence[Mapping[str, Any]],
    sources: Mapping[str, Mapping[str, Any]],
    colours: Mapping[str, Any],
) -> None:
    """Cities by longitude and latitude, numbered from west to east and named beside the map."""
    here: dict[tuple[float, float, str], list[str]] = {}
    for place in places:
        if place["latitude"] is not None:
            spot = (place["longitude"], place["latitude"], place["name"])
            here.setdefault(spot, []).append(place["source"])
    told = []
    for number, ((x, y, city), names) in enumerate(sorted(here.items()), start=1):
        size = 20 + 25 * math.log10(sum(sources[name]["paper_records"] or 1 for name in names))
        axes.scatter(x, y, s=size, color=colours[sources[names[0]]["modality"]], alpha=0.6)
        axes.annotate(f"{number}", (x, y), ha="center", va="center", fontsize=7)
        told.append(f"{number} {city}: {', '.join(names)}")
    axes.text(1.01, 1.0, "\n".join(told), transform=axes.transAxes, va="top", fontsize=7)
    axes.set(xlim=(-180, 180), ylim=(-60, 80), xlabel="longitude", ylabel="latitude")
    axes.set_xticks(range(-180, 181, 30))
    axes.set_yticks(range(-60, 81, 20))
    axes.grid(alpha=0.3)
    axes.set_title("where data were collected, as far as a city is named", loc="left")
