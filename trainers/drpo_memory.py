"""What is remembered of the questions of a run: how many of each domain, and the latest of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from climb_hf.check import check_type
from climb_hf.errors import OptionError
from climb_hf.trainers.drpo_clusters import Clusters, cluster, row_order

_GOLDEN = (math.sqrt(5) - 1) / 2


def spread(n: int) -> np.ndarray:
    """Returns an order of n sorted things of which any stretch is an even sample.

    A window that forgets the first things of a sorted step would forget the hardest questions
    first. By the golden ratio's multiples (Weyl 1916) each stretch holds all of them alike.
    """
    return np.argsort(np.argsort((np.arange(n) * _GOLDEN) % 1.0, kind="stable"), kind="stable")


@dataclass
class DomainHistory:
    """What is remembered of one domain.

    Attributes:
        count: questions seen since the run began.
        vectors: the latest of them, float64, shape (at most window, length), oldest first.
    """

    count: int
    vectors: np.ndarray
    _mean: float | None = field(default=None, repr=False, compare=False)
    _clusters: Clusters | None = field(default=None, repr=False, compare=False)

    def add(self, vectors: np.ndarray, window: int) -> None:
        """Remembers the vectors of a step, whatever their order, and forgets the oldest."""
        ordered = vectors[row_order(vectors)]
        ordered = ordered[spread(len(ordered))]
        self.count += len(ordered)
        self.vectors = np.concatenate([self.vectors, ordered])[-window:]
        self._mean = self._clusters = None

    def mean(self) -> float:
        """Mean reward of the window, computed once after each step."""
        if self._mean is None:
            self._mean = float(self.vectors.mean())
        return self._mean

    def clusters(self, k_max: int) -> Clusters:
        """Clusters of the window, computed once after each step: `k_max` is that of the run."""
        if self._clusters is None:
            self._clusters = cluster(self.vectors, k_max)
        return self._clusters

    def state_dict(self) -> dict[str, Any]:
        """Returns the history ready for JSON, which keeps each bit."""
        return {"count": self.count, "vectors": self.vectors.tolist()}

    @classmethod
    def restored(cls, name: str, known: Mapping[str, Any], length: int) -> DomainHistory:
        """Returns a history from its saved form.

        Raises:
            ValueError: if it is damaged; so do `KeyError` and `TypeError`.
        """
        vectors = np.array(known["vectors"], dtype=np.float64)
        count = check_type(f"count of {name!r}", known["count"], int)
        shaped = vectors.ndim == 2 and vectors.shape[1] == length
        inside = bool((vectors >= 0).all() and (vectors <= 1).all())  # neither holds for NaN
        if not shaped or not 0 < len(vectors) <= count or not inside:
            raise ValueError(f"{name!r}: count {count}, vectors of shape {vectors.shape}")
        return cls(count, vectors + 0.0)


class Memory:
    """The histories of some domains, or of groups within domains, by name.

    Args:
        window: most questions of each that are kept.
    """

    def __init__(self, window: int) -> None:
        self.window = window
        self._histories: dict[str, DomainHistory] = {}

    def add(self, name: str, vectors: np.ndarray) -> None:
        """Remembers the vectors of a step, float64, shape (questions, length), questions > 0."""
        empty = DomainHistory(0, np.empty((0, vectors.shape[1])))
        self._histories.setdefault(name, empty).add(vectors, self.window)

    def __getitem__(self, name: str) -> DomainHistory:
        if name not in self._histories:
            raise OptionError(f"domain {name!r} was never observed: call observe() first.")
        return self._histories[name]

    def __contains__(self, name: object) -> bool:
        return name in self._histories

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._histories))

    def __len__(self) -> int:
        return len(self._histories)

    @property
    def count(self) -> int:
        """Questions seen of all of them together."""
        return sum(history.count for history in self._histories.values())

    def state_dict(self) -> dict[str, Any]:
        """Returns all of it ready for JSON."""
        return {name: self._histories[name].state_dict() for name in self}

    def restored(self, state: Mapping[str, Any], length: int) -> Memory:
        """Returns a memory of the same window from a saved state.

        Raises:
            ValueError: if the state is damaged; so do `KeyError`, `TypeError`, `AttributeError`.
        """
        found = Memory(self.window)
        for name, known in state.items():
            found._histories[str(name)] = DomainHistory.restored(name, known, length)
        return found
