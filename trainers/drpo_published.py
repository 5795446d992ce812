"""DRPO as the paper states it, and as its authors released it: for comparison, with every detail.

`drpo` in `drpo_rules` is the form to train with. numpy; for `drpo_released` scikit-learn
and torch too, as theirs used them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from climb_hf.trainers.drpo_advantages import kl_damping, normalise, over_std, varies
from climb_hf.trainers.drpo_clusters import cluster, elbow
from climb_hf.trainers.drpo_memory import DomainHistory, Memory
from climb_hf.trainers.drpo_rules import Batch, Rule, ScalingOptions, register_rule

EPSILON = 1e-6  # of the released code, for every guarded division; the paper only says "eps"
K_MAX = 10  # QoQ-Med, section 3.3


@register_rule("drpo_paper")
class DRPOPaper(Rule):
    """w = 1 / (T_g T_c), T = max(sqrt(N) mu, eps), all of it counted in this batch alone.

    Clusters: K-means on the domain's reward vectors in the batch, at most 10, by the elbow rule.
    With `kl_damping` each weighted advantage s is multiplied by m = t / (t + max(s k, 0)), k the
    KL divergence of its response from the reference model; then all are divided by their standard
    deviation in the batch. Weights are neither tempered nor clipped.

    Source: QoQ-Med (arXiv 2506.00711), section 3.3 and appendix B. Unclear there, and what is done
    here: eps (1e-6, as in the released code); t (the 0.75 quantile of the batch's products s k
    above 0, see `drpo_advantages.kl_damping`); whether k belongs to the question or the response
    (the response, as the sum over its tokens of TRL's estimator, which is never negative); the
    start of K-means (deterministic farthest-first); rewards below 0 (mapped to [0, 1] first);
    the order of rollouts in a vector (none: vectors are sorted). All but the last two are guesses.
    """

    uses = frozenset({"window", "kl_damping"})

    @property
    def needs_kl(self) -> bool:
        return self.options.kl_damping

    def __init__(self, options: ScalingOptions) -> None:
        super().__init__(options)
        self._found: dict[str, int] = {}

    def log_weights(self, batch: Batch, memory: Memory) -> Sequence[float]:
        logs = np.empty(len(batch.domains))
        for domain, rows in batch.inside.items():
            vectors = batch.vectors[rows]
            clusters = cluster(vectors, K_MAX)
            self._found[domain] = len(clusters.shares)
            base = _log_guarded(len(rows), float(vectors.mean()))
            levels = [
                base + _log_guarded(share * len(rows), mean)
                for share, mean in zip(clusters.shares, clusters.means, strict=True)
            ]
            logs[rows] = np.array(levels)[clusters.nearest(vectors)]
        return (-logs).tolist()

    def weights(self, batch: Batch, memory: Memory) -> Sequence[float]:
        """Weights, not clipped, of geometric mean 1 over the questions that teach anything.

        A factor common to all cancels in the batch's deviation. This one keeps them near 1, so
        that the 1e-4 beside that deviation stays small.
        """
        logs = self.log_weights(batch, memory)
        taught = varies(batch.vectors)
        known = [value for value, own in zip(logs, taught, strict=True) if own] or logs
        centre = math.fsum(known) / max(len(known), 1)
        return [math.exp(value - centre) for value in logs]

    def advantages(
        self, rewards: np.ndarray, weights: np.ndarray, kl: np.ndarray | None = None
    ) -> np.ndarray:
        scaled = normalise(rewards) * weights[:, None]
        if kl is not None:
            scaled = scaled * kl_damping(scaled, kl)
        return over_std(scaled, ~np.isnan(rewards))

    def describe(self, domain: str, history: DomainHistory) -> dict[str, float]:
        return super().describe(domain, history) | _k(self._found.get(domain))


def _k(found: int | None) -> dict[str, float]:
    """The figure of the clusters of a domain, once there are any."""
    return {} if found is None else {"k": float(found)}


def _log_guarded(count: float, mean: float) -> float:
    """log max(sqrt(N) mu, eps)."""
    return math.log(max(math.sqrt(count) * mean, EPSILON))


@register_rule("drpo_released")
class DRPOReleased(Rule):
    """w = 1 / (T_g T_c) as the authors' code computes it, for rewards above 0, number by number.

    T_g = max(sqrt(N_g) mu_g, 1e-6) and T_c = sqrt(N_c) mu_c, over *every* question of the domain
    since the run began: memory and time grow with the run, so this rule is for comparison.
    mu_c is the mean of the cluster's centre; mu_g is the mean of the mu_c weighted by 1 / N_c.
    Clusters: scikit-learn's K-means (`random_state=0`, `n_init="auto"`) on vectors in the order of
    their rollouts, k up to 10 by the elbow rule. Means and deviations within a question, and the
    vectors, are rounded to 32 bits as theirs are.

    Source: QoQ-Med's released code, by its recorded inputs and outputs (`tests/reference`). Two
    cases are not followed: a cluster whose mean reward is 0, where theirs turns the whole batch
    NaN, and negative rewards, where theirs inverts the sign of every advantage. Here mu_c has the
    floor of mu_g, and rewards are mapped to [0, 1] first. Theirs also gives rollouts of equal
    rewards a small advantage by rounding; here it is 0.
    """

    uses = frozenset({"window"})
    in_order = False
    bounded = False

    def __init__(self, options: ScalingOptions) -> None:
        super().__init__(options)
        self._seen: dict[str, list[list[float]]] = {}
        self._found: dict[str, int] = {}

    def observe(self, batch: Batch) -> None:
        for domain, rows in batch.inside.items():
            seen = self._seen.setdefault(domain, [])
            seen += batch.vectors[rows].astype(np.float32).tolist()

    def weights(self, batch: Batch, memory: Memory) -> Sequence[float]:
        weights = np.empty(len(batch.domains))
        for domain, rows in batch.inside.items():
            seen = np.array(self._seen[domain], dtype=np.float32)
            fitted = released_clusters(seen)
            sizes = np.bincount(fitted.labels_)
            means = fitted.cluster_centers_.mean(axis=1).astype(float)
            mean = float((means / sizes).sum() / (1 / sizes).sum())
            domain_level = max(math.sqrt(len(seen)) * mean, EPSILON)
            levels = np.maximum(np.sqrt(sizes) * means, EPSILON)
            own = fitted.predict(batch.vectors[rows].astype(np.float32))
            weights[rows] = 1 / (domain_level * levels[own])
            self._found[domain] = len(sizes)
        return weights.tolist()

    def advantages(
        self, rewards: np.ndarray, weights: np.ndarray, kl: np.ndarray | None = None
    ) -> np.ndarray:
        import torch

        centred = normalise(rewards)  # for where a rollout has no reward
        whole = ~np.isnan(rewards).any(axis=1)
        # By torch, as theirs: where rollouts differ by 0.01, the rounding of a mean shows.
        single = torch.from_numpy(rewards[whole].astype(np.float32))
        mean = single.mean(dim=1, keepdim=True).double().numpy()
        std = single.std(dim=1, keepdim=True).double().numpy()
        centred[whole] = (rewards[whole] - mean) / (std + EPSILON)
        centred[~varies(rewards)] = 0.0
        return over_std(centred * weights[:, None], ~np.isnan(rewards), EPSILON)

    def describe(self, domain: str, history: DomainHistory) -> dict[str, float]:
        return super().describe(domain, history) | _k(self._found.get(domain))

    def state_dict(self) -> dict[str, Any]:
        return {"seen": {domain: self._seen[domain] for domain in sorted(self._seen)}}

    def load_state_dict(self, state: Mapping[str, Any], length: int) -> None:
        seen = {
            str(domain): [list(one) for one in known] for domain, known in state["seen"].items()
        }
        if any(len(one) != length for known in seen.values() for one in known):
            raise ValueError(f"vectors are not of length {length}")
        self._seen, self._found = seen, {}


def released_clusters(vectors: np.ndarray) -> Any:
    """Returns the K-means that the released code settles on, after up to 10 others.

    Args:
        vectors: float32, shape (questions, length).
    """
    from sklearn.cluster import KMeans

    def fit(k: int) -> Any:
        return KMeans(n_clusters=k, random_state=0, n_init="auto").fit(vectors)

    most = min(K_MAX, len(np.unique(vectors, axis=0)))
    return fit(elbow([fit(k).inertia_ for k in range(1, most + 1)]))
