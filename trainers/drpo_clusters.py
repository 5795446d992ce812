r"""Clusters of reward vectors: K-means over the different vectors of a domain, with their counts.

numpy only. Nothing here draws a random number, and every result is the same bit for bit for any
order of the vectors. Graded rewards of 8 rollouts take few different values, so that thousands of
questions are a few dozen points.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

ELBOW_RATIO = 0.10  # QoQ-Med, section 3.3: stop where a further cluster gains under a tenth
LLOYD_ROUNDS = 8  # as in the simulation that the defaults come from


# ---- reward vectors -----------------------------------------------------------------------------


def resample(rewards: np.ndarray, length: int) -> np.ndarray:
    """Returns the quantile function of some rewards as `length` ascending numbers.

    Entry j is the mean of the quantile function over [j, j + 1] / length, so the mean reward stays
    the same. Without NaN and with as many rewards as asked for, this is the sorted vector.

    Args:
        rewards: float, shape (rollouts,); NaN stands for a rollout without a reward. At least one
            is a number.
        length: how many numbers to return.
    """
    ordered = np.sort(rewards[~np.isnan(rewards)]) + 0.0  # + 0.0 makes -0.0 and 0.0 one value
    if len(ordered) == length:
        return ordered
    knots = np.arange(len(ordered) + 1) / len(ordered)
    integral = np.concatenate([[0.0], np.cumsum(ordered) / len(ordered)])
    edges = np.interp(np.arange(length + 1) / length, knots, integral)
    return np.sort(np.diff(edges) * length)


def resample_rows(rewards: np.ndarray, length: int) -> np.ndarray:
    """Returns `resample` of each row, shape (rows, length).

    Args:
        rewards: float64, shape (rows, rollouts); each row has at least one number.
        length: how many numbers to keep of each row.
    """
    if rewards.shape[1] == length and not np.isnan(rewards).any():
        return np.sort(rewards, axis=1) + 0.0
    rows = [resample(row, length) for row in rewards]
    return np.array(rows).reshape(len(rows), length)


def row_order(rows: np.ndarray) -> np.ndarray:
    """Returns the lexicographic order of rows of numbers that are at least 0 and not -0.0.

    The bytes of such numbers, highest first, sort as the numbers do: one sort in place of one for
    each column.

    Args:
        rows: float64, shape (n, length).
    """
    if not rows.size:
        return np.arange(len(rows))
    keys = np.ascontiguousarray(rows, dtype=">f8").view(f"S{8 * rows.shape[1]}")
    return np.argsort(keys[:, 0], kind="stable")


def unique_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the different rows in lexicographic order, and how often each occurs.

    Args:
        rows: float64, shape (n, length), n > 0; numbers as in `row_order`.
    """
    ordered = rows[row_order(rows)]
    first = np.ones(len(ordered), dtype=bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    starts = np.flatnonzero(first)
    return ordered[starts], np.diff(starts, append=len(ordered))


# ---- K-means ------------------------------------------------------------------------------------


def squared_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Returns squared Euclidean distances, shape (points, centres)."""
    return _distances(np.ascontiguousarray(points.T), centres).T


def _distances(columns: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Squared distances, shape (centres, points), of points given as columns.

    The sum runs over the middle axis, entry after entry, so that no point's result depends on
    where it stands.
    """
    return ((columns[None, :, :] - centres[:, :, None]) ** 2).sum(axis=1)


def farthest_first(points: np.ndarray, k: int) -> np.ndarray:
    """Returns k start centres: the first point, then always the one farthest from those chosen.

    Needs no random numbers (Gonzalez 1985). Points come in lexicographic order, so the first is
    that of the hardest question. The start for fewer centres is the first part of that for more.
    """
    columns = np.ascontiguousarray(points.T)
    chosen = [0]
    nearest = _distances(columns, points[:1])[0]
    while len(chosen) < k:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, _distances(columns, points[chosen[-1:]])[0])
    return points[chosen]


def nested_kmeans(
    points: np.ndarray, counts: np.ndarray, starts: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray, float]]:
    """Clusters points by K-means for k = 1, 2, ... at once, point i counting `counts[i]` times.

    Lloyd's rounds (1982), the same for every k. Sums go by einsum, which adds in one order: a
    product by BLAS may split a sum over threads, or by where an array lies in memory.

    Args:
        points: float64, shape (n, length).
        counts: int, shape (n,).
        starts: of the greatest k, shape (k, length); fewer centres begin with the first of them.

    Returns:
        For each k: centres, float64, shape (k, length); the cluster of each point, int, shape
        (n,); the inertia, which is the counted sum of squared distances to the own centre.
    """
    columns = np.ascontiguousarray(points.T)
    counted = np.vstack([columns * counts, counts])  # the last row counts what the others add up
    sizes = range(1, len(starts) + 1)
    centres = np.concatenate([starts[:k] for k in sizes])
    blocks = [slice(k * (k - 1) // 2, k * (k + 1) // 2) for k in sizes]
    fit_of = np.repeat(np.arange(len(starts)), sizes)  # of each centre
    place_of = np.concatenate([np.arange(k) for k in sizes])[:, None]
    labels = np.full((len(starts), len(points)), -1)
    found = np.zeros_like(labels)  # one cluster holds all
    for _ in range(LLOYD_ROUNDS):
        # Half the squared distance, but for what each point adds to all of its own.
        apart = (0.5 * np.einsum("kl,kl->k", centres, centres))[:, None]
        apart = apart - np.einsum("kl,ln->kn", centres, columns)
        for fit, block in enumerate(blocks[1:], start=1):
            apart[block].argmin(axis=0, out=found[fit])
        if (found == labels).all():
            break
        labels[:] = found
        members = (labels[fit_of] == place_of).astype(float)
        totals = np.einsum("kn,ln->kl", members, counted)
        # An empty cluster keeps its centre.
        np.divide(totals[:, :-1], totals[:, -1:], out=centres, where=totals[:, -1:] > 0)
    distances = _distances(columns, centres)
    return [
        (
            centres[block],
            distances[block].argmin(axis=0),
            float((counts * distances[block].min(axis=0)).sum()),
        )
        for block in blocks
    ]


def elbow(inertias: Sequence[float]) -> int:
    """Returns the number of clusters by the elbow rule of QoQ-Med, section 3.3.

    With I_k the inertia of k clusters and d_k = I_(k-1) - I_k, it is the first k >= 2 with
    d_(k+1) < 0.10 d_k, else all of them; so it is 1 only where there is one inertia.

    Args:
        inertias: I_1, I_2, ...
    """
    gains = [before - after for before, after in pairwise(inertias)]
    for k, (gain, further) in enumerate(pairwise(gains), start=2):
        if further < ELBOW_RATIO * gain:
            return k
    return len(inertias)


@dataclass(frozen=True)
class Clusters:
    """Clusters of reward vectors.

    Attributes:
        centres: float64, shape (k, length).
        shares: part of the vectors in each cluster; they add up to 1.
        means: mean reward of each cluster.
    """

    centres: np.ndarray
    shares: tuple[float, ...]
    means: tuple[float, ...]

    def nearest(self, vectors: np.ndarray) -> np.ndarray:
        """Returns the cluster of each vector; of two equally near, the first.

        Args:
            vectors: float64, shape (questions, length).
        """
        return _distances(np.ascontiguousarray(vectors.T), self.centres).argmin(axis=0)


def cluster(vectors: np.ndarray, k_max: int) -> Clusters:
    """Clusters reward vectors into as many clusters as the elbow rule finds.

    Args:
        vectors: float64, shape (questions, length); each ascending.
        k_max: most clusters.
    """
    points, counts = unique_rows(vectors)
    fits = nested_kmeans(points, counts, farthest_first(points, min(k_max, len(points))))
    centres, labels, _ = fits[elbow([inertia for _, _, inertia in fits]) - 1]
    sizes = np.bincount(labels, weights=counts, minlength=len(centres))
    rewards = np.bincount(labels, weights=counts * points.mean(axis=1), minlength=len(centres))
    used = sizes > 0
    return Clusters(
        centres[used],
        tuple((sizes[used] / len(vectors)).tolist()),
        tuple((rewards[used] / sizes[used]).tolist()),
    )
