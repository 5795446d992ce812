"""An evaluation as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

# What a table shows, and the heading of each; everything else is in the JSON.
SHOWN = {
    "auc": "AUC",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "paper_balanced_accuracy": 'the paper\'s "balanced accuracy"',
    "macro_f1": "macro F1",
    "ece": "ECE",
}


def as_markdown(result: Mapping[str, Any]) -> str:
    """Writes `Evaluation.result` as a table with controls, subgroups and faults.

    Each cell holds the figure, its 95 % interval, and after a bar what the constant predictor and
    the shuffled labels get.
    """
    lines = list(_places(result))
    text = [
        "Each cell: value (95 % interval) / constant / shuffled labels",
        "",
        f"| level | rows | {' | '.join(SHOWN.values())} |",
        f"|---|---:|{'---:|' * len(SHOWN)}",
        *(_line(name, entry) for name, entry in lines),
    ]
    shares = ", ".join(f"{100 * share:.1f} % {state}" for state, share in result["answers"].items())
    text += ["", f"Rows: {shares}."]
    text += [f"- {one['source']}, {one['kind']}: {one['message']}" for one in result["faults"]]
    return "\n".join(text)


def compared_as_markdown(compared: Mapping[str, Any]) -> str:
    """Writes what `compare` returned as a table; a star marks intervals that leave 0 out."""
    text = [f"| second - first | {' | '.join(SHOWN.values())} |", f"|---|{'---:|' * len(SHOWN)}"]
    for place, figures in compared.items():
        cells = [
            _interval(figures[name], "+") + (" *" if figures[name]["differs"] else "")
            for name in SHOWN
        ]
        text.append(f"| {place} | {' | '.join(cells)} |")
    return "\n".join(text)


def _places(result: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, Any]]]:
    yield "overall", result["overall"]
    for level in ("domains", "sources"):
        for name, entry in result[level].items():
            yield f"{level[:-1]}: {name}", entry
    for column, groups in result["subgroups"].items():
        for value, entry in groups.items():
            yield f"{column}: {value}", entry


def _line(name: str, entry: Mapping[str, Any]) -> str:
    cells = []
    for figure in SHOWN:
        one = entry["figures"][figure]
        controls = f"{_number(one['constant'])} / {_number(one['shuffled'])}"
        cells.append(f"{_interval(one)} / {controls}" if one["value"] is not None else "-")
    return f"| {name} | {entry['n']} | {' | '.join(cells)} |"


def _interval(one: Mapping[str, Any], sign: str = "") -> str:
    if one["low"] is None or one["high"] is None:
        return _number(one["value"], sign)
    return f"{_number(one['value'], sign)} ({_number(one['low'])} to {_number(one['high'])})"


def _number(value: float | None, sign: str = "") -> str:
    return "-" if value is None else f"{value:{sign}.3f}"
