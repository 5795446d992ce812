"""Predictions joined to the rows that they are for: truth, picks and scores as arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from climb_hf.answers import boxed, normalise, parse, split_gold
from climb_hf.errors import OptionError
from climb_hf.metrics.figures import is_exclusive
from climb_hf.metrics.vectors import multi_hot

ABSTENTIONS = frozenset(
    ("", "abstain", "cannot tell", "i don't know", "not sure", "uncertain", "unknown", "unsure")
)
STATES = ("answered", "abstained", "unparsed", "missing")
AGE_BANDS = ((18, "0-17"), (40, "18-39"), (65, "40-64"), (math.inf, "65+"))
_SCORED_TYPES = ("choice", "set")
_NAMED = 3  # ids named in a message


@dataclass(frozen=True)
class Joined:
    """Rows and what was predicted for them, in the rows' order.

    Attributes:
        ids: shape (rows,).
        classes: names of the columns.
        truth, picks, scores: as those of `figures.Cells`, over all classes.
        states: of `STATES`, shape (rows,).
        patients: shape (rows,); a row of an unknown patient is a patient of its own.
        groups: `source`, `domain`, `sex`, `age`, `site` -> their values, shape (rows,).
        exclusive: source -> whether exactly one of its classes is right.
    """

    ids: np.ndarray
    classes: tuple[str, ...]
    truth: np.ndarray
    picks: np.ndarray
    scores: np.ndarray
    states: np.ndarray
    patients: np.ndarray
    groups: Mapping[str, np.ndarray]
    exclusive: Mapping[str, bool]


def classes_of(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Returns the options of question rows, each once, in the order in which they come."""
    return tuple(dict.fromkeys(option for row in rows for option in row["options"]))


def join(
    rows: Iterable[Mapping[str, Any]],
    predictions: Iterable[Mapping[str, Any]],
    classes: Sequence[str] | None = None,
    *,
    uncertain: str = "ignore",
    threshold: float = 0.5,
) -> Joined:
    """Joins predictions to rows by `id`.

    Args:
        rows: of the classification view or of the question view. Questions that ask for a number
            or for free text are left out. A question may name options as `unlabelled`: they are
            then no negatives, unless the answer holds them.
        predictions: each with `id` and one of `answer`, what a model wrote, its answer boxed, and
            `scores`, a mapping of class -> number or numbers in class order. Scores that are all
            null are an abstention. A row without a prediction counts as wrong.
        classes: names in class order; None takes the options of question rows.
        uncertain: what an undecided class becomes, as in `multi_hot`.
        threshold: from which score on a class is picked, where several can be right; where one
            is, the highest score is picked.

    Raises:
        OptionError: for no rows, no predictions, ids that are twice there or in no row, and
            predictions that hold neither or both of `answer` and `scores`, or scores of another
            number or of unknown classes.
    """
    rows = [row for row in rows if row.get("answer_type") in (None, *_SCORED_TYPES)]
    if classes is None:
        if any("options" not in row for row in rows):
            raise OptionError("classes=None, but the rows are no questions. Give the class names.")
        classes = classes_of(rows)
    classes = tuple(classes)
    ids = [str(row["id"]) for row in rows]
    given = _by_id(predictions, ids)
    truth = np.array([_truth(row, classes, uncertain) for row in rows]).reshape(-1, len(classes))
    groups = {
        "source": np.array([str(row["source"]) for row in rows]),
        "domain": np.array([str(row.get("domain") or row["source"]) for row in rows]),
        "sex": np.array([str(row.get("sex") or "unknown") for row in rows]),
        "age": np.array([age_band(row.get("age_years")) for row in rows]),
        "site": np.array([str(row.get("site") or "unknown") for row in rows]),
    }
    picks, scores, states = _read(rows, given, classes)
    exclusive = {}
    for source in np.unique(groups["source"]):
        inside = np.flatnonzero(groups["source"] == source)
        columns = np.flatnonzero(~np.isnan(truth[inside]).all(axis=0))
        exclusive[str(source)] = is_exclusive(truth[np.ix_(inside, columns)])
        _pick(picks, scores, inside, columns, threshold, exclusive[str(source)])
    patients = [
        f"{row['source']}/{row['patient_id']}" if row.get("patient_id") else f"row {row['id']}"
        for row in rows
    ]
    return Joined(
        np.array(ids), classes, truth, picks, scores, states, np.array(patients), groups, exclusive
    )


def age_band(age_years: float | None) -> str:
    """Returns the band of an age: 0-17, 18-39, 40-64, 65+ or unknown."""
    if age_years is None or math.isnan(age_years):
        return "unknown"
    return next(name for below, name in AGE_BANDS if age_years < below)


def _by_id(predictions: Iterable[Mapping[str, Any]], ids: Sequence[str]) -> dict[str, Any]:
    """Predictions by their id, each checked to be for a row and to be the only one for it."""
    if not ids:
        raise OptionError("there are no rows with labels to score. Take another split or config.")
    if len(set(ids)) < len(ids):
        raise OptionError(f"{len(ids) - len(set(ids))} rows have an id that another row has too.")
    found: dict[str, Any] = {}
    twice: list[str] = []
    for one in predictions:
        name = str(one.get("id"))
        if name in found:
            twice.append(name)
        if ("answer" in one) == ("scores" in one):
            raise OptionError(
                f"the prediction of {name} needs `answer` or `scores`, one of the two; "
                f"it holds: {', '.join(sorted(one))}."
            )
        found[name] = one
    if not found:
        raise OptionError("there are no predictions: nothing can be scored.")
    if twice:
        raise OptionError(f"{len(twice)} ids are predicted twice: {_some(twice)}. Keep one each.")
    strange = sorted(set(found) - set(ids))
    if strange:
        raise OptionError(
            f"{len(strange)} of {len(found)} predictions are for ids that no row has: "
            f"{_some(strange)}. Score them against the config and split they were made for."
        )
    return found


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _truth(row: Mapping[str, Any], classes: Sequence[str], uncertain: str) -> np.ndarray:
    """A row's classes as numbers; a question is labelled for its own options."""
    if "labels" in row:
        return multi_hot(row, classes, uncertain=uncertain).astype(float)
    vector = np.full(len(classes), np.nan)
    gold = set(split_gold(row["answer"], row["options"]))
    for at, name in enumerate(classes):
        if name in gold:
            vector[at] = 1.0
        elif name in row["options"] and name not in row.get("unlabelled", ()):
            vector[at] = 0.0
    return vector


def _read(
    rows: Sequence[Mapping[str, Any]], given: Mapping[str, Any], classes: Sequence[str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picks of written answers, scores, and the state of each row."""
    picks = np.zeros((len(rows), len(classes)), bool)
    scores = np.full((len(rows), len(classes)), np.nan)
    states = np.full(len(rows), "missing", dtype="<U9")
    place = {name: at for at, name in enumerate(classes)}
    for at, row in enumerate(rows):
        one = given.get(str(row["id"]))
        if one is None:
            continue
        if "scores" in one:
            scores[at] = _numbers(one, classes)
            states[at] = "abstained" if np.isnan(scores[at]).all() else "answered"
            continue
        named, states[at] = read_answer(str(one["answer"] or ""), row.get("options") or classes)
        picks[at, [place[name] for name in named]] = True
    return picks, scores, states


def read_answer(text: str, options: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """Returns the options that a text answers with, and its state.

    `answered` with an option at least; `abstained` with an empty box or one that says so (such as
    "I don't know"); `unparsed` without a box or with nothing in it that is an option.
    """
    answer = parse(text, options)
    if answer.picks:
        return answer.picks, "answered"
    content = boxed(text)
    abstained = content is not None and normalise(content) in ABSTENTIONS
    return (), "abstained" if abstained else "unparsed"


def _numbers(one: Mapping[str, Any], classes: Sequence[str]) -> np.ndarray:
    """Scores of a prediction in class order, NaN where it has none."""
    scores = one["scores"] if one["scores"] is not None else {}
    if isinstance(scores, Mapping):
        strange = sorted(set(scores) - set(classes))
        if strange:
            raise OptionError(
                f"the prediction of {one['id']} scores {_some(strange)}, none of the "
                f"{len(classes)} classes of these rows."
            )
        scores = [scores.get(name) for name in classes]
    if len(scores) != len(classes):
        raise OptionError(
            f"the prediction of {one['id']} has {len(scores)} scores for {len(classes)} classes."
        )
    try:
        return np.array([np.nan if score is None else float(score) for score in scores])
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"the prediction of {one['id']} has a score that is no number: {error}."
        ) from error


def _pick(
    picks: np.ndarray,
    scores: np.ndarray,
    inside: np.ndarray,
    columns: np.ndarray,
    threshold: float,
    exclusive: bool,
) -> None:
    """Turns scores of the rows `inside` into picks, in place."""
    scored = inside[~np.isnan(scores[np.ix_(inside, columns)]).all(axis=1)]
    if not len(columns) or not len(scored):
        return
    part = np.nan_to_num(scores[np.ix_(scored, columns)], nan=-np.inf)
    if exclusive:
        picks[scored, columns[part.argmax(axis=1)]] = True
    else:
        picks[np.ix_(scored, columns)] = part >= threshold
