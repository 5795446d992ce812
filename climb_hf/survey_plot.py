"""A picture of what a config is made of; needs matplotlib (the extra `plot`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from climb_hf.errors import OptionError
from climb_hf.optional import need

SHOWN_CLASSES = 25
KINDS = ("png", "pdf", "svg")


def check(path: Path) -> None:
    """Raises what `save_plot` would raise before it draws."""
    if path.suffix.lower().lstrip(".") not in KINDS:
        raise OptionError(f"plot={str(path)!r} should end in one of: {', '.join(KINDS)}.")
    need("matplotlib", extra="plot")


def save_plot(figures: Mapping[str, Any], path: Path) -> None:
    """Draws records by source and split, and positive records by class and split.

    Args:
        figures: of `climb_hf.survey.Composition.figures`.
        path: .png, .pdf or .svg; its folder is made.

    Raises:
        OptionError: for another ending, or a place that cannot be written.
        DependencyError: if matplotlib is not installed.
    """
    check(path)
    # Without pyplot there is no window, no global state and no display to miss.
    from matplotlib.figure import Figure

    records = {name: part["splits"] for name, part in figures["sources"].items()}
    positives = _positives(figures["total"]["classes"])
    height = 1.6 + 0.28 * (len(records) + len(positives))
    figure = Figure(figsize=(9, height), layout="constrained")
    ratios = [len(records) + 1, max(len(positives), 1) + 1]
    upper, lower = figure.subplots(2, 1, height_ratios=ratios)
    _bars(upper, records, f"{figures['config']}: records by source")
    _bars(lower, positives, "positive records by class")
    figure.legend(*upper.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise OptionError(f"plot={str(path)!r} cannot be written: {error.strerror}.") from error


def _positives(classes: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, dict[str, int]]:
    """class -> split -> positive records, of the classes that occur most."""
    counts = {
        name: {split: one["positive"] for split, one in by_split.items()}
        for name, by_split in classes.items()
    }
    often = sorted(counts, key=lambda name: -sum(counts[name].values()))[:SHOWN_CLASSES]
    return {name: counts[name] for name in counts if name in often and any(counts[name].values())}


def _bars(axes: Any, counts: Mapping[str, Mapping[str, int]], title: str) -> None:
    """Stacked horizontal bars, the first name on top."""
    names = list(counts)
    left = [0] * len(names)
    splits = dict.fromkeys(split for by_split in counts.values() for split in by_split)
    for split in splits:
        values = [counts[name].get(split, 0) for name in names]
        axes.barh(names, values, left=left, label=split)
        left = [a + b for a, b in zip(left, values, strict=True)]
    axes.set_title(title, loc="left")
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
