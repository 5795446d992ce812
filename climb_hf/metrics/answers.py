"""Scores of written answers, per group of rows, with intervals: what runs and cards report."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from climb_hf.answers import parse, set_f1, split_gold
from climb_hf.errors import OptionError

SCORED_TYPES = ("choice", "set")
Z_95 = 1.959964  # the normal quantile of a two-sided 95 % interval
N_RESAMPLES = 1000


def evaluate_answers(
    texts: Sequence[str],
    rows: Iterable[Mapping[str, Any]],
    group_columns: Sequence[str] = ("source",),
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Scores what a model wrote against the gold answers.

    Args:
        texts: what was written, one per row.
        rows: of the question view: `options`, `answer`, `answer_type` and the group columns. Rows
            whose answer is a number or free text are left out.
        group_columns: one line is made for every value of each of these, and one for all rows.
        seed: of the bootstrap.

    Returns:
        Lines with `column` and `value` (both "all" in the first), `n` rows, and three scores in
        [0, 1], each with `_low` and `_high`, its 95 % interval: `boxed`, the share that holds a
        boxed answer, and `exact`, the share whose set equals the gold set (Wilson's interval for
        shares); `f1`, the mean set-F1 (percentile bootstrap over rows, 1000 resamples).

    Raises:
        OptionError: if there are more or fewer texts than rows, or a group column is missing.
        ValueError: if a gold answer is not made of its options.
    """
    rows = list(rows)
    if len(texts) != len(rows):
        raise OptionError(f"{len(texts)} texts were given for {len(rows)} rows; one each is needed")
    kept = [i for i, row in enumerate(rows) if row.get("answer_type", "set") in SCORED_TYPES]
    scores = np.array([_score(texts[i], rows[i]) for i in kept], dtype=float).reshape(-1, 3)
    lines = [{"column": "all", "value": "all", **_summary(scores, seed)}]
    for column in group_columns:
        values = [_value(rows[i], column) for i in kept]
        for value in sorted(set(values)):
            chosen = scores[[other == value for other in values]]
            lines.append({"column": column, "value": value, **_summary(chosen, seed)})
    return lines


def as_markdown(lines: Iterable[Mapping[str, Any]]) -> str:
    """Writes the lines of `evaluate_answers` as a Markdown table."""
    table = [
        "| group | rows | boxed | exact set | set F1 (95 % interval) |",
        "|---|---:|---:|---:|---:|",
    ]
    for line in lines:
        name = line["value"] if line["column"] == "all" else f"{line['column']}: {line['value']}"
        interval = f"{_percent(line['f1_low'])} to {_percent(line['f1_high'])}"
        table.append(
            f"| {name} | {line['n']} | {_percent(line['boxed'])} | {_percent(line['exact'])} "
            f"| {_percent(line['f1'])} ({interval}) |"
        )
    return "\n".join(table)


def wilson(hits: float, n: int) -> tuple[float, float]:
    """Returns Wilson's 95 % interval of a share of `hits` in `n`; (nan, nan) when n is 0."""
    if n == 0:
        return math.nan, math.nan
    share, square = hits / n, Z_95**2
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = Z_95 * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap_mean(values: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Returns the percentile bootstrap's 95 % interval of the mean of `values`, shape (n,)."""
    if len(values) == 0:
        return math.nan, math.nan
    generator = np.random.default_rng(seed)
    drawn = generator.integers(0, len(values), size=(N_RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _score(text: str, row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Boxed, exact and F1 of one text."""
    answer = parse(text, row["options"])
    gold = split_gold(row["answer"], row["options"])
    exact = set(answer.picks) == set(gold) and not answer.unknown
    return float(answer.boxed is not None), float(exact), set_f1(answer, gold)


def _summary(scores: np.ndarray, seed: int) -> dict[str, Any]:
    """Means and intervals of scores, shape (n, 3): boxed, exact, F1."""
    n = len(scores)
    line: dict[str, Any] = {"n": n}
    for index, name in enumerate(("boxed", "exact", "f1")):
        column = scores[:, index]
        line[name] = float(column.mean()) if n else math.nan
        interval = bootstrap_mean(column, seed) if name == "f1" else wilson(column.sum(), n)
        line[f"{name}_low"], line[f"{name}_high"] = interval
    return line


def _value(row: Mapping[str, Any], column: str) -> str:
    if column not in row:
        raise OptionError(f"no column {column!r} to group by; there are: {', '.join(sorted(row))}")
    return "unknown" if row[column] is None else str(row[column])


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f} %"
