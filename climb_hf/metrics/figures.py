"""Figures of one source's predictions, for many weightings of its rows at once.

Each function takes `weights` of shape (weightings, rows): ones give the figure itself, counts of
drawn patients give its bootstrap. "Not labelled" is NaN in `truth` and enters no figure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NAMES = (
    "auc",
    "accuracy",
    "balanced_accuracy",
    "paper_balanced_accuracy",
    "sensitivity",
    "specificity",
    "macro_f1",
    "ece",
    "brier",
)
LABEL_NAMES = ("auc", "accuracy", "sensitivity", "specificity", "f1")
N_BINS = 15  # of the calibration error, as in Guo et al. 2017


@dataclass(frozen=True)
class Cells:
    """What is known and what was answered, row by class.

    Attributes:
        truth: float, shape (rows, classes): 1 positive, 0 negative, NaN not labelled.
        picks: bool, shape (rows, classes): the classes answered.
        scores: float, shape (rows, classes); NaN where there is none.
        answered: bool, shape (rows,): False where no answer could be read.
        exclusive: whether exactly one class is right, so that rows are of one of several classes.
    """

    truth: np.ndarray
    picks: np.ndarray
    scores: np.ndarray
    answered: np.ndarray
    exclusive: bool


def is_exclusive(truth: np.ndarray) -> bool:
    """Returns whether every labelled row has one positive class and knows of all the others."""
    labelled = truth[~np.isnan(truth).all(axis=1)]
    if not len(labelled) or truth.shape[1] < 2:
        return False
    return bool((labelled.sum(axis=1) == 1).all())  # NaN sums to NaN, which is not 1


def by_label(cells: Cells, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Returns the figures of each class as a binary question, shape (weightings, classes).

    A row without an answer is wrong in sensitivity and specificity. In `accuracy`, which is the
    paper's (TP + TN) / all, it counts as "no", as it does in the paper.
    """
    truth, picks = cells.truth, cells.picks & cells.answered[:, None]
    yes, no = truth == 1, truth == 0
    hits = weights @ (yes & picks)
    false = weights @ (no & picks)
    n_yes, n_no = weights @ yes, weights @ no
    rejected = weights @ (no & ~picks & cells.answered[:, None])
    columns = range(truth.shape[1])
    aucs = [auc(truth[:, at], cells.scores[:, at], weights) for at in columns]
    return {
        "auc": np.stack(aucs, axis=1) if aucs else np.empty((len(weights), 0)),
        "accuracy": _share(hits + n_no - false, n_yes + n_no),
        "sensitivity": _share(hits, n_yes),
        "specificity": _share(rejected, n_no),
        "f1": np.where(n_yes > 0, _share(2 * hits, hits + false + n_yes), np.nan),
    }


def of_source(cells: Cells, labels: dict[str, np.ndarray], weights: np.ndarray) -> dict:
    """Returns every figure of `NAMES`, shape (weightings,), NaN where it is not defined.

    `accuracy` is the share of rows whose known classes are all answered right;
    `balanced_accuracy` the mean recall of the classes, or, where several can be right, the mean
    over labels of (sensitivity + specificity) / 2; `paper_balanced_accuracy` the mean over labels
    of the label's accuracy, which the paper calls balanced (arXiv 2506.00711, D.2). Labels without
    a positive row are skipped in the last two means and in `macro_f1`, as the paper does.

    Args:
        cells: of the source.
        labels: what `by_label` returned for the same weights.
        weights: shape (weightings, rows).
    """
    shown = np.where(np.isnan(labels["sensitivity"]), np.nan, labels["accuracy"])
    halves = (labels["sensitivity"] + labels["specificity"]) / 2
    known = ~np.isnan(cells.truth)
    right = ((cells.picks == (cells.truth == 1)) | ~known).all(axis=1) & cells.answered
    labelled = known.any(axis=1)
    ece, brier = calibration(cells, weights)
    return {
        "auc": mean(labels["auc"]),
        "accuracy": _share(weights @ (right & labelled), weights @ labelled),
        "balanced_accuracy": mean(labels["sensitivity"] if cells.exclusive else halves),
        "paper_balanced_accuracy": mean(shown),
        "sensitivity": mean(labels["sensitivity"]),
        "specificity": mean(labels["specificity"]),
        "macro_f1": mean(labels["f1"]),
        "ece": ece,
        "brier": brier,
    }


def auc(truth: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns the area under the ROC curve of one class, shape (weightings,); ties count half.

    All weightings share one sort, which a thousand calls of a library would not. NaN where a
    weighting holds one of the two classes only.
    """
    kept = np.flatnonzero(~np.isnan(truth) & ~np.isnan(scores))
    if not len(kept):
        return np.full(len(weights), np.nan)
    kept = kept[np.argsort(scores[kept], kind="stable")]
    starts = np.flatnonzero(np.diff(scores[kept], prepend=-np.inf) > 0)
    if not len(starts):  # every score is minus infinity
        starts = np.array([0])
    drawn = weights[:, kept]
    positives = np.add.reduceat(drawn * truth[kept], starts, axis=1)
    negatives = np.add.reduceat(drawn * (1 - truth[kept]), starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    pairs = positives.sum(axis=1) * negatives.sum(axis=1)
    return _share((positives * below).sum(axis=1), pairs)


def calibration(cells: Cells, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns expected calibration error and Brier score, shape (weightings,) each.

    The error is over 15 equal bins: of the highest probability where one class is right, of every
    labelled cell where several can be. Brier's score is the mean over labels of the mean squared
    distance. Both are NaN where scores are none or no probabilities.
    """
    nothing = np.full(len(weights), np.nan)
    used = ~np.isnan(cells.truth) & ~np.isnan(cells.scores)
    if not used.any() or not is_probability(cells.scores):
        return nothing, nothing
    squares = np.where(used, (cells.scores - cells.truth) ** 2, 0.0)
    brier = mean(_share(weights @ squares, weights @ used))
    rows, columns = np.nonzero(used)
    if cells.exclusive:
        rows = np.unique(rows)
        columns = np.nanargmax(np.where(used, cells.scores, np.nan)[rows], axis=1)
    sure, right = cells.scores[rows, columns], cells.truth[rows, columns]
    bins = np.minimum((sure * N_BINS).astype(int), N_BINS - 1)
    drawn = weights[:, rows]
    gaps = [np.abs(drawn[:, bins == one] @ (right - sure)[bins == one]) for one in range(N_BINS)]
    return _share(np.sum(gaps, axis=0), drawn.sum(axis=1)), brier


def is_probability(scores: np.ndarray) -> bool:
    """Returns whether all scores given lie in [0, 1]."""
    given = scores[~np.isnan(scores)]
    return bool(((given >= 0) & (given <= 1)).all())


def mean(values: np.ndarray) -> np.ndarray:
    """Returns the mean over the last axis of what is not NaN; NaN where nothing is left."""
    known = ~np.isnan(values)
    return _share(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part` / `whole`, NaN where the whole is 0."""
    part, whole = np.asarray(part, float), np.asarray(whole, float)
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
