r"""How much each question of a batch counts: domain-aware weights for its advantages.

The arithmetic of DRPO (QoQ-Med, arXiv 2506.00711, section 3.3 and appendix B) without a trainer:
numpy only, no torch, no processes. A question q of domain g is the vector of its rollouts' rewards.
The vectors of a domain are clustered; with N the number of questions of a domain or cluster and mu
their mean reward,

    T_g = sqrt(N_g) mu_g,   T_c = sqrt(N_c) mu_c,   weight = (1 / (T_g T_c)) ** strength.

What departs from the paper, so that weights are always positive, finite and repeatable: the
statistics cover a bounded window of recent questions, rewards lie in [0, 1] and mu has a floor,
vectors are sorted (no rollout has a place of its own), the weights of a batch have geometric mean 1
and are clipped. Every result is the same bit for bit for any order of rows and rollouts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Protocol

import numpy as np

from climb_hf.check import check_option, check_type
from climb_hf.errors import CheckpointError, OptionError

STATE_VERSION = 1
ELBOW_RATIO = 0.10  # QoQ-Med, section 3.3: stop where a further cluster gains under a tenth
LLOYD_ROUNDS = 20
_GOLDEN = (math.sqrt(5) - 1) / 2


@dataclass(frozen=True)
class ScalingOptions:
    """Options of the weights; `DRPOConfig` has the same ones with `drpo_` before the name.

    Attributes:
        strength: exponent of 1 / (T_g T_c), in (0, 1]; 1 is the paper's.
        k_max: most clusters in a domain.
        window: most questions of a domain that are remembered.
        max_weight: weights are clipped to [1 / max_weight, max_weight].
        mean_floor: least mean reward that is divided by, in (0, 1].
    """

    strength: float = 0.5
    k_max: int = 3
    window: int = 512
    max_weight: float = 10.0
    mean_floor: float = 0.05

    def __post_init__(self) -> None:
        self.check("", asdict(self))

    @staticmethod
    def check(prefix: str, values: Mapping[str, Any]) -> None:
        """Checks the value of each option.

        Args:
            prefix: what stands before each name where the user wrote it.
            values: option name (without prefix) to value.

        Raises:
            OptionError: names the option, its value and what is allowed.
        """
        for name in ("k_max", "window"):
            check_type(prefix + name, values[name], int)
            if values[name] < 1:
                raise OptionError(f"{prefix}{name}={values[name]!r} should be at least 1.")
        for name, low, high in (("strength", 0, 1), ("mean_floor", 0, 1), ("max_weight", 1, 1e6)):
            check_type(prefix + name, values[name], (int, float))
            if not low < values[name] <= high:
                allowed = f"above {low} and at most {high:g}"
                raise OptionError(f"{prefix}{name}={values[name]!r} should be {allowed}.")


# ---- formulas -----------------------------------------------------------------------------------


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


def squared_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Returns squared Euclidean distances, shape (points, centres)."""
    return ((points[:, None, :] - centres[None, :, :]) ** 2).sum(axis=-1)


def farthest_first(points: np.ndarray, k: int) -> np.ndarray:
    """Returns k start centres: the first point, then always the one farthest from those chosen.

    Needs no random numbers (Gonzalez 1985). Points come in lexicographic order, so the first is
    that of the hardest question.
    """
    chosen = [0]
    nearest = squared_distances(points, points[:1])[:, 0]
    while len(chosen) < k:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, squared_distances(points, points[chosen[-1:]])[:, 0])
    return points[chosen]


def weighted_kmeans(
    points: np.ndarray, counts: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Clusters points by Lloyd's rounds (1982), point i counting `counts[i]` times.

    Args:
        points: float64, shape (n, length), all different, in lexicographic order.
        counts: int, shape (n,).
        k: clusters wanted, at most n.

    Returns:
        Centres, float64, shape (k, length); the cluster of each point, int, shape (n,); the
        inertia, which is the counted sum of squared distances to the own centre.
    """
    centres = farthest_first(points, k)
    labels = np.full(len(points), -1)
    for _ in range(LLOYD_ROUNDS):
        found = squared_distances(points, centres).argmin(axis=1)
        if np.array_equal(found, labels):
            break
        labels = found
        for cluster in np.unique(labels):  # an empty cluster keeps its centre
            inside = labels == cluster
            centres[cluster] = _weighted_mean(points[inside], counts[inside])
    distances = squared_distances(points, centres)
    labels = distances.argmin(axis=1)
    return centres, labels, float((counts * distances.min(axis=1)).sum())


def _weighted_mean(points: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return (points * counts[:, None]).sum(axis=0) / counts.sum()


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
    """Clusters of a domain's window.

    Attributes:
        centres: float64, shape (k, length).
        shares: part of the window in each cluster; they add up to 1.
        means: mean reward of each cluster.
    """

    centres: np.ndarray
    shares: tuple[float, ...]
    means: tuple[float, ...]

    def nearest(self, vector: np.ndarray) -> int:
        """Returns the cluster of a vector; of two equally near, the first."""
        return int(squared_distances(vector[None, :], self.centres)[0].argmin())


def cluster(vectors: np.ndarray, k_max: int) -> Clusters:
    """Clusters a domain's window with as many clusters as the elbow rule finds.

    Args:
        vectors: float64, shape (questions, length); each ascending.
        k_max: most clusters.
    """
    points, counts = np.unique(vectors, axis=0, return_counts=True)
    fits = [weighted_kmeans(points, counts, k) for k in range(1, min(k_max, len(points)) + 1)]
    centres, labels, _ = fits[elbow([inertia for _, _, inertia in fits]) - 1]
    used = np.unique(labels)
    sizes = [int(counts[labels == one].sum()) for one in used]
    means = [
        float(_weighted_mean(points[labels == one], counts[labels == one]).mean()) for one in used
    ]
    return Clusters(centres[used], tuple(size / sum(sizes) for size in sizes), tuple(means))


def log_temperature(count: float, mean: float, mean_floor: float) -> float:
    """Returns log T = log(sqrt(N) max(mu, floor)): QoQ-Med, section 3.3, with a floor for mu."""
    return 0.5 * math.log(count) + math.log(max(mean, mean_floor))


def unit_weights(log_weights: Sequence[float], max_weight: float) -> list[float]:
    """Returns weights with geometric mean 1, then clipped to [1 / max_weight, max_weight].

    `math.fsum` rounds once, so that the order of the questions cannot matter.
    """
    if not log_weights:
        return []
    centre = math.fsum(log_weights) / len(log_weights)
    bound = math.log(max_weight)
    return [math.exp(min(max(value - centre, -bound), bound)) for value in log_weights]


# ---- what is remembered -------------------------------------------------------------------------


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
        ordered = vectors[np.lexsort(vectors.T[::-1])]
        ordered = ordered[spread(len(ordered))]
        self.count += len(ordered)
        self.vectors = np.concatenate([self.vectors, ordered])[-window:]
        self._mean = self._clusters = None

    def mean(self) -> float:
        """Mean reward of the window, computed once after each step."""
        if self._mean is None:
            self._mean = math.fsum(self.vectors.ravel().tolist()) / self.vectors.size
        return self._mean

    def clusters(self, k_max: int) -> Clusters:
        """Clusters of the window, computed once after each step: `k_max` is that of the run."""
        if self._clusters is None:
            self._clusters = cluster(self.vectors, k_max)
        return self._clusters


def spread(n: int) -> np.ndarray:
    """Returns an order of n sorted things of which any stretch is an even sample.

    A window that forgets the first things of a sorted step would forget the hardest questions
    first. By the golden ratio's multiples (Weyl 1916) each stretch holds all of them alike.
    """
    return np.argsort(np.argsort((np.arange(n) * _GOLDEN) % 1.0, kind="stable"), kind="stable")


# ---- rules: name -> how a weight follows from what is remembered ---------------------------------


class Rule(Protocol):
    """How a question's weight follows from what is remembered of its domain."""

    def __init__(self, options: ScalingOptions) -> None: ...

    def log_weight(self, history: DomainHistory, vector: np.ndarray) -> float:
        """Logarithm of a weight, up to a constant of the batch. `vector`: (length,), ascending."""
        ...

    def describe(self, history: DomainHistory) -> dict[str, float]:
        """Figures of a domain that are worth logging."""
        ...


class NoScaling:
    """Every question counts the same: plain GRPO."""

    def __init__(self, options: ScalingOptions) -> None:
        pass

    def log_weight(self, history: DomainHistory, vector: np.ndarray) -> float:
        return 0.0

    def describe(self, history: DomainHistory) -> dict[str, float]:
        return {"count": float(history.count), "mu": history.mean()}


class DRPOScaling:
    """(1 / (T_g T_c)) ** strength: rare and hard domains, and their hard questions, weigh more."""

    def __init__(self, options: ScalingOptions) -> None:
        self.options = options

    def log_weight(self, history: DomainHistory, vector: np.ndarray) -> float:
        clusters = history.clusters(self.options.k_max)
        own = clusters.nearest(vector)
        floor = self.options.mean_floor
        domain = log_temperature(history.count, history.mean(), floor)
        size = clusters.shares[own] * history.count
        return -self.options.strength * (domain + log_temperature(size, clusters.means[own], floor))

    def describe(self, history: DomainHistory) -> dict[str, float]:
        clusters = history.clusters(self.options.k_max)
        return {
            "count": float(history.count),
            "mu": max(history.mean(), self.options.mean_floor),
            "k": float(len(clusters.shares)),
        }


RULES: dict[str, type[Rule]] = {"none": NoScaling, "drpo": DRPOScaling}


# ---- the scaler ---------------------------------------------------------------------------------


class DomainScaler:
    """Weights for the questions of a batch, from what was seen of their domains.

    Call `observe` once for each training batch, then `weights`. Both take the whole batch of all
    processes, so that every process comes to the same result.

    Args:
        rule: name of the rule, a key of `RULES`.
        options: options of the rule; the defaults when None.
        length: numbers kept of a question's rewards; those of the first question when None.

    Raises:
        OptionError: if there is no such rule or an option is out of range.
    """

    def __init__(
        self,
        rule: str = "drpo",
        options: ScalingOptions | None = None,
        length: int | None = None,
    ) -> None:
        self.name = check_option("domain_scaling", rule, tuple(RULES))
        self.options = options or ScalingOptions()
        self._rule = RULES[rule](self.options)
        self._length = length
        self._histories: dict[str, DomainHistory] = {}

    def observe(self, vectors: np.ndarray, domains: Sequence[str]) -> None:
        """Remembers the questions of a batch; those without any reward are left out.

        Args:
            vectors: rewards in [0, 1], float, shape (questions, rollouts); NaN where none.
            domains: of each question.

        Raises:
            OptionError: if shapes disagree or a reward lies outside [0, 1].
        """
        canonical = self._canonical(vectors, domains)
        for domain in sorted(set(domains)):
            new = [
                one
                for one, own in zip(canonical, domains, strict=True)
                if own == domain and one is not None
            ]
            if new:
                empty = DomainHistory(0, np.empty((0, len(new[0]))))
                history = self._histories.setdefault(domain, empty)
                history.add(np.stack(new), self.options.window)

    def weights(self, vectors: np.ndarray, domains: Sequence[str]) -> np.ndarray:
        """Returns the weight of each question: positive, finite, of geometric mean 1 until clipped.

        A question without any reward has weight 1 and no part in the mean.

        Args:
            vectors: rewards in [0, 1], float, shape (questions, rollouts); NaN where none.
            domains: of each question; each has been observed.

        Returns:
            float64, shape (questions,).

        Raises:
            OptionError: if shapes disagree, or a domain was never observed.
        """
        canonical = self._canonical(vectors, domains)
        scored = [index for index, one in enumerate(canonical) if one is not None]
        logs = [
            self._rule.log_weight(self._history(domains[index]), canonical[index])
            for index in scored
        ]
        weights = np.ones(len(canonical))
        weights[scored] = unit_weights(logs, self.options.max_weight)
        return weights

    def summary(self) -> dict[str, float]:
        """Returns what the rule says of each domain: `count/<domain>`, `mu/<domain>`, ..."""
        return {
            f"{figure}/{domain}": value
            for domain, history in sorted(self._histories.items())
            for figure, value in self._rule.describe(history).items()
        }

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that the weights depend on, ready for JSON, which keeps each bit."""
        return {
            "version": STATE_VERSION,
            "rule": self.name,
            "options": asdict(self.options),
            "length": self._length,
            "domains": {
                domain: {"count": history.count, "vectors": history.vectors.tolist()}
                for domain, history in sorted(self._histories.items())
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a state; on an error the scaler stays as it was.

        Raises:
            CheckpointError: if the state is of another version, rule or options, or is damaged.
        """
        self._check_configuration(state)
        try:
            length = state["length"]
            histories = {
                str(domain): _restored(domain, known, length)
                for domain, known in state["domains"].items()
            }
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"cannot restore the scaler: its state is damaged ({error!r}). Resume from an "
                "earlier checkpoint."
            ) from error
        self._length = length
        self._histories = histories

    def _check_configuration(self, state: Mapping[str, Any]) -> None:
        ours = {"version": STATE_VERSION, "domain_scaling": self.name, **asdict(self.options)}
        options = state.get("options")
        theirs = {
            "version": state.get("version"),
            "domain_scaling": state.get("rule"),
            **(options if isinstance(options, Mapping) else {}),
        }
        differ = [name for name in ours if theirs.get(name) != ours[name]]
        if differ:
            listed = ", ".join(f"{one} {theirs.get(one)!r} (now {ours[one]!r})" for one in differ)
            raise CheckpointError(
                f"cannot restore the scaler: its state was saved with {listed}. Resume with the "
                "options of the run that saved it, or start a new run from its weights."
            )

    def _history(self, domain: str) -> DomainHistory:
        if domain not in self._histories:
            raise OptionError(f"domain {domain!r} was never observed: call observe() first.")
        return self._histories[domain]

    def _canonical(self, vectors: np.ndarray, domains: Sequence[str]) -> list[np.ndarray | None]:
        """Each question's rewards as a sorted vector of fixed length; None where it has none."""
        rewards = np.asarray(vectors, dtype=np.float64)
        if rewards.ndim != 2 or len(rewards) != len(domains):
            raise OptionError(
                f"vectors has shape {rewards.shape}, but should have ({len(domains)}, rollouts): "
                "one row for each domain given."
            )
        numbers = rewards[~np.isnan(rewards)]
        if numbers.size and not (numbers.min() >= 0 and numbers.max() <= 1):
            raise OptionError(
                f"rewards reach from {numbers.min()} to {numbers.max()}, but should lie in [0, 1]."
            )
        if self._length is None:
            self._length = rewards.shape[1]
        return [None if np.isnan(row).all() else resample(row, self._length) for row in rewards]


def _restored(domain: str, known: Mapping[str, Any], length: int) -> DomainHistory:
    """A domain's history from its saved form."""
    vectors = np.array(known["vectors"], dtype=np.float64)
    count = check_type(f"count of domain {domain!r}", known["count"], int)
    shaped = vectors.ndim == 2 and vectors.shape[1] == length
    if not shaped or not 0 < len(vectors) <= count or not np.isfinite(vectors).all():
        raise ValueError(f"domain {domain!r}: count {count}, vectors of shape {vectors.shape}")
    return DomainHistory(count, vectors)
