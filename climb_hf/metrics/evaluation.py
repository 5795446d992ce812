"""An evaluation that cannot be fooled: four levels, intervals, subgroups, controls, named faults.

from climb_hf.metrics.evaluation import compare, evaluate
result = evaluate(rows, predictions, classes).result   # one dict, as JSON has it
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from climb_hf.errors import OptionError
from climb_hf.metrics import figures
from climb_hf.metrics.figures import NAMES, Cells
from climb_hf.metrics.predictions import STATES, Joined, join

SUBGROUPS = ("sex", "age", "site")
N_RESAMPLES = 1000
N_SHUFFLES = 20
NEARLY_ALL = 0.95  # a share of equal answers from which on they are called a collapse
_AT_ONCE = 200_000  # weights held at a time, so that they stay in the cache
Replicates = dict[str, np.ndarray]  # figure -> shape (1 + resamples,), the figure itself first


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` found.

    Attributes:
        result: one dict that JSON can hold, null for what is not defined: `overall`, `domains`,
            `sources` with their `labels`, `subgroups`, `answers` and `faults`.
        replicates: place such as "source/x" -> figure -> its value and its resamples, from which
            `compare` takes paired intervals.
        key: what two evaluations must share to be compared.
    """

    result: dict[str, Any]
    replicates: Mapping[str, Replicates]
    key: tuple[Any, ...]


def evaluate(
    rows: Iterable[Mapping[str, Any]],
    predictions: Iterable[Mapping[str, Any]],
    classes: Sequence[str] | None = None,
    *,
    subgroups: Sequence[str] = SUBGROUPS,
    n_resamples: int = N_RESAMPLES,
    seed: int = 0,
    **how: Any,
) -> Evaluation:
    """Scores predictions of encoders (`scores`) and of generating models (`answer`).

    A domain is the unweighted mean over its sources and `overall` that over domains, as in the
    paper. Intervals are percentile bootstraps, 95 %, over patients drawn within each source.
    Beside each figure stand the `constant` predictor, which knows the most frequent answer of the
    rows scored, and `shuffled`, the same predictions against the labels of other rows.

    Args:
        rows, predictions, classes: see `predictions.join`.
        subgroups: of `sex`, `age` (bands) and `site`.
        n_resamples: of the bootstrap; 0 leaves intervals out.
        seed: of bootstrap and shuffling.
        **how: `uncertain` and `threshold` of `predictions.join`.

    Raises:
        OptionError: for predictions that do not fit the rows, or an unknown subgroup.
    """
    strange = sorted(set(subgroups) - set(SUBGROUPS))
    if strange:
        raise OptionError(f"subgroups={strange} are none of: {', '.join(SUBGROUPS)}.")
    joined = join(rows, predictions, classes, **how)
    shuffles = _shuffled(joined, seed)
    controls = {
        "constant": _levels(_constant(joined), 0, seed),
        "shuffled": _averaged([_levels(one, 0, seed) for one in shuffles]),
    }
    found = _levels(joined, n_resamples, seed)
    result = {
        "n_rows": len(joined.ids),
        "n_patients": len(np.unique(joined.patients)),
        "n_resamples": n_resamples,
        "seed": seed,
        "answers": _answers(joined),
        "faults": [fault for source in joined.exclusive for fault in _faults(joined, source)],
        "overall": _entry(joined, found, "overall", controls),
        "domains": _entries(joined, found, "domain", controls),
        "sources": _entries(joined, found, "source", controls),
        "subgroups": {name: _subgroup(joined, name, n_resamples, seed) for name in subgroups},
    }
    key = (tuple(joined.ids), joined.classes, n_resamples, seed)
    return Evaluation(result, found, key)


def compare(first: Evaluation, second: Evaluation) -> dict[str, Any]:
    """Returns `second` minus `first` for overall, domains and sources, with paired intervals.

    Both are resampled with the same patients. `differs` is whether the interval leaves 0 out; it
    is null where there is none.

    Raises:
        OptionError: if the two were not made of the same rows, classes, seed and resamples.
    """
    if first.key != second.key:
        raise OptionError(
            "the two results are of different rows, classes, seeds or resamples. Evaluate both "
            "against the same rows with the same seed."
        )
    compared: dict[str, Any] = {}
    for place, own in first.replicates.items():
        if place.startswith("label/"):
            continue
        compared[place] = {}
        for name in NAMES:
            line = _interval(second.replicates[place][name] - own[name])
            low, high = line["low"], line["high"]
            differs = None if low is None or high is None else not low <= 0 <= high
            compared[place][name] = {**line, "differs": differs}
    return compared


# ---- levels -------------------------------------------------------------------------------------


def _levels(joined: Joined, n_resamples: int, seed: int) -> dict[str, Replicates]:
    """Replicates of every label, source and domain, and overall."""
    found: dict[str, Replicates] = {}
    domains: dict[str, list[str]] = {}
    for source in sorted(set(joined.groups["source"])):
        inside = np.flatnonzero(joined.groups["source"] == source)
        found |= _source(joined, source, inside, n_resamples, seed)
        for domain in sorted(set(joined.groups["domain"][inside])):
            domains.setdefault(domain, []).append(f"source/{source}")
    for domain, sources in sorted(domains.items()):
        found[f"domain/{domain}"] = _mean_of([found[source] for source in sources])
    found["overall"] = _mean_of([found[f"domain/{domain}"] for domain in domains])
    return found


def _source(
    joined: Joined, source: str, inside: np.ndarray, n_resamples: int, seed: int
) -> dict[str, Replicates]:
    """Replicates of a source and of each class that it has labels of."""
    cells, names = cells_of(joined, source, inside)
    pieces = []
    for weights in _weights(joined.patients[inside], source, n_resamples, seed):
        labels = figures.by_label(cells, weights)
        pieces.append((figures.of_source(cells, labels, weights), labels))
    whole = {name: np.concatenate([piece[0][name] for piece in pieces]) for name in NAMES}
    found = {f"source/{source}": whole}
    for at, label in enumerate(names):
        found[f"label/{source}/{label}"] = {
            name: np.concatenate([piece[1][name][:, at] for piece in pieces])
            for name in figures.LABEL_NAMES
        }
    return found


def cells_of(joined: Joined, source: str, inside: np.ndarray) -> tuple[Cells, tuple[str, ...]]:
    """Returns the cells of the rows `inside` of a source, and the classes labelled there."""
    columns = np.flatnonzero(~np.isnan(joined.truth[inside]).all(axis=0))
    part = np.ix_(inside, columns)
    answered = joined.states[inside] == "answered"
    parts = (joined.truth[part], joined.picks[part], joined.scores[part])
    names = tuple(joined.classes[at] for at in columns)
    return Cells(*parts, answered, joined.exclusive[source]), names


def _weights(
    patients: np.ndarray, source: str, n_resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """Weightings of rows: ones first, then how often each row's patient was drawn."""
    yield np.ones((1, len(patients)))
    _, codes = np.unique(patients, return_inverse=True)
    n_patients = int(codes.max()) + 1
    generator = np.random.default_rng([seed, zlib.crc32(source.encode())])
    step = max(1, _AT_ONCE // len(patients))
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        drawn = generator.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size)
        yield drawn[:, codes].astype(float)


def _mean_of(levels: Sequence[Replicates]) -> Replicates:
    """The unweighted mean of levels, of those that have the figure."""
    return {
        name: figures.mean(np.stack([level[name] for level in levels], axis=-1)) for name in NAMES
    }


# ---- controls -----------------------------------------------------------------------------------


def _constant(joined: Joined) -> Joined:
    """What one unchanging answer per source would have got: its most frequent one."""
    picks, scores = np.zeros_like(joined.picks), np.full_like(joined.scores, np.nan)
    for source, exclusive in joined.exclusive.items():
        inside = np.flatnonzero(joined.groups["source"] == source)
        known = ~np.isnan(joined.truth[inside])
        columns = np.flatnonzero(known.any(axis=0))
        if not len(columns):
            continue
        part = joined.truth[np.ix_(inside, columns)]
        shares = figures.mean(part.T)
        chosen = np.arange(len(columns)) == shares.argmax() if exclusive else shares > 0.5
        picks[np.ix_(inside, columns)] = chosen
        scores[np.ix_(inside, columns)] = shares
    return replace(
        joined, picks=picks, scores=scores, states=np.full_like(joined.states, "answered")
    )


def _shuffled(joined: Joined, seed: int) -> list[Joined]:
    """The same predictions against labels dealt anew among the rows of each source."""
    generator = np.random.default_rng([seed, 1])
    made = []
    for _ in range(N_SHUFFLES):
        truth = joined.truth.copy()
        for source in joined.exclusive:
            inside = np.flatnonzero(joined.groups["source"] == source)
            truth[inside] = joined.truth[generator.permutation(inside)]
        made.append(replace(joined, truth=truth))
    return made


def _averaged(runs: Sequence[Mapping[str, Replicates]]) -> dict[str, Replicates]:
    return {
        place: {
            name: figures.mean(np.stack([run[place][name] for run in runs], axis=-1))
            for name in runs[0][place]
        }
        for place in runs[0]
    }


# ---- the dict -----------------------------------------------------------------------------------


def _interval(values: np.ndarray) -> dict[str, float | None]:
    """A figure and its 95 % interval, of the resamples where it is defined."""
    drawn = values[1:][~np.isnan(values[1:])]
    known = len(drawn) and not math.isnan(values[0])
    low, high = np.quantile(drawn, [0.025, 0.975]) if known else (math.nan, math.nan)
    return {"value": _number(values[0]), "low": _number(low), "high": _number(high)}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _lines(place: str, found: Mapping, controls: Mapping) -> dict[str, Any]:
    """Each figure of a place, its interval, and the controls beside it."""
    lines: dict[str, Any] = {}
    for name, values in found[place].items():
        beside = {what: _number(control[place][name][0]) for what, control in controls.items()}
        lines[name] = {**_interval(values), **beside}
    return lines


def _entry(joined: Joined, found: Mapping, place: str, controls: Mapping) -> dict[str, Any]:
    return {"n": len(joined.ids), "figures": _lines(place, found, controls)}


def _entries(joined: Joined, found: Mapping, level: str, controls: Mapping) -> dict[str, Any]:
    """Entries of every domain or source, with the labels of a source."""
    made: dict[str, Any] = {}
    for value in sorted(set(joined.groups[level])):
        inside = np.flatnonzero(joined.groups[level] == value)
        entry = _entry(joined, found, f"{level}/{value}", controls)
        entry |= {"n": len(inside), "n_patients": len(np.unique(joined.patients[inside]))}
        if level == "source":
            cells, names = cells_of(joined, value, inside)
            positive = (cells.truth == 1).sum(axis=0)
            labelled = (~np.isnan(cells.truth)).sum(axis=0)
            entry["exclusive"] = cells.exclusive
            entry["answers"] = _answers(joined, inside)
            entry["labels"] = {
                name: {
                    "n": int(labelled[at]),
                    "n_positive": int(positive[at]),
                    "figures": _lines(f"label/{value}/{name}", found, controls),
                }
                for at, name in enumerate(names)
            }
        made[str(value)] = entry
    return made


def _subgroup(joined: Joined, name: str, n_resamples: int, seed: int) -> dict[str, Any]:
    """Overall figures of each value of a column, among its rows only, with their controls."""
    made = {}
    for value in sorted(set(joined.groups[name])):
        part = _subset(joined, np.flatnonzero(joined.groups[name] == value))
        found = _levels(part, n_resamples, seed)
        controls = {
            "constant": _levels(_constant(part), 0, seed),
            "shuffled": _averaged([_levels(one, 0, seed) for one in _shuffled(part, seed)]),
        }
        made[str(value)] = _entry(part, found, "overall", controls)
    return made


def _subset(joined: Joined, inside: np.ndarray) -> Joined:
    names = ("ids", "truth", "picks", "scores", "states", "patients")
    cut: dict[str, Any] = {name: getattr(joined, name)[inside] for name in names}
    groups = {name: values[inside] for name, values in joined.groups.items()}
    kept = set(groups["source"])
    exclusive = {source: one for source, one in joined.exclusive.items() if source in kept}
    return replace(joined, **cut, groups=groups, exclusive=exclusive)


def _answers(joined: Joined, inside: Any = slice(None)) -> dict[str, float]:
    """The share of rows in each state."""
    return {state: float((joined.states[inside] == state).mean()) for state in STATES}


# ---- faults -------------------------------------------------------------------------------------


def _faults(joined: Joined, source: str) -> list[dict[str, str]]:
    """What makes the figures of a source say less than they seem to, each by name."""
    inside = np.flatnonzero(joined.groups["source"] == source)
    cells, names = cells_of(joined, source, inside)
    checks: tuple[Any, ...] = (
        _no_labels,
        _one_class,
        _unanswered,
        _never_right,
        _collapse,
        _unscored,
        _no_probabilities,
    )
    found = ((one.__name__.strip("_"), one(cells, names, joined, inside)) for one in checks)
    return [{"source": source, "kind": kind, "message": text} for kind, text in found if text]


def _no_labels(cells: Cells, names: Sequence[str], *_: Any) -> str | None:
    return None if names else "no row has a label; nothing of it is scored"


def _one_class(cells: Cells, names: Sequence[str], *_: Any) -> str | None:
    lone = [
        name
        for at, name in enumerate(names)
        if len(np.unique(cells.truth[:, at][~np.isnan(cells.truth[:, at])])) < 2
    ]
    if not lone:
        return None
    return f"AUC is undefined, as all rows are alike in: {', '.join(lone)}"


def _unanswered(cells: Cells, names: Sequence[str], joined: Joined, inside: Any) -> str | None:
    shares = _answers(joined, inside)
    parts = [f"{100 * shares[state]:.1f} % {state}" for state in STATES[1:] if shares[state]]
    return f"rows that count as wrong: {', '.join(parts)}" if parts else None


def _never_right(cells: Cells, names: Sequence[str], *_: Any) -> str | None:
    positives = (cells.truth == 1).sum()
    if not positives or ((cells.truth == 1) & cells.picks).any():
        return None
    return (
        f"none of {positives} positive labels was ever answered: names that differ from the "
        "options, a parser that reads nothing, or a model that says no to all"
    )


def _collapse(cells: Cells, names: Sequence[str], *_: Any) -> str | None:
    given = cells.picks[cells.answered]
    gold = (cells.truth == 1)[cells.answered]
    if len(given) < 2 or not names:
        return None
    share, answer = _commonest(given)
    right = _commonest(gold)[0]
    if share < NEARLY_ALL or right >= NEARLY_ALL:
        return None
    said = ", ".join(name for name, one in zip(names, answer, strict=True) if one) or "nothing"
    return f"{100 * share:.0f} % of the answers are the same ({said}), as a constant's are"


def _commonest(sets: np.ndarray) -> tuple[float, np.ndarray]:
    values, counts = np.unique(sets, axis=0, return_counts=True)
    return float(counts.max() / len(sets)), values[counts.argmax()]


def _unscored(cells: Cells, names: Sequence[str], *_: Any) -> str | None:
    scored = ~np.isnan(cells.scores)
    if not scored.any():
        return None
    without = [name for at, name in enumerate(names) if not scored[:, at].any()]
    return f"no scores were given for: {', '.join(without)}" if without else None


def _no_probabilities(cells: Cells, names: Sequence[str], *_: Any) -> str | None:
    if figures.is_probability(cells.scores):
        return None
    return "scores lie outside [0, 1]: no calibration, and a threshold may not suit them"
