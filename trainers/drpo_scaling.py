r"""How much each question of a batch counts: domain-aware weights for its advantages.

The arithmetic of DRPO (QoQ-Med, arXiv 2506.00711, section 3.3 and appendix B) and of its rivals,
without a trainer: numpy only, no torch, no processes. A question q of domain g is the vector of
its rollouts' rewards. The vectors of a domain are clustered; with N the number of questions of a
domain or cluster and mu their mean reward,

    T_g = sqrt(N_g) mu_g,   T_c = sqrt(N_c) mu_c,   weight = (1 / (T_g T_c)) ** strength.

What departs from the paper, so that weights are always positive, finite and repeatable: the
statistics cover a bounded window of recent questions, rewards lie in [0, 1] and mu has a floor,
vectors are sorted (no rollout has a place of its own), the weights of a batch have geometric mean 1
and are clipped. Every result is the same bit for bit for any order of rows and rollouts.

`drpo_rules` holds this rule and others, `drpo_published` the paper's own and the released one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from climb_hf.errors import CheckpointError, OptionError
from climb_hf.trainers import drpo_published  # noqa: F401, so that its rules are known
from climb_hf.trainers.drpo_clusters import (
    Clusters,
    cluster,
    elbow,
    farthest_first,
    resample,
    resample_rows,
    row_order,
)
from climb_hf.trainers.drpo_memory import DomainHistory, Memory, spread
from climb_hf.trainers.drpo_rules import (
    RULES,
    Batch,
    DRPOScaling,
    NoScaling,
    Rule,
    ScalingOptions,
    log_temperature,
    register_rule,
    rule_class,
    unit_weights,
)

__all__ = [
    "RULES",
    "Batch",
    "Clusters",
    "DRPOScaling",
    "DomainHistory",
    "DomainScaler",
    "Memory",
    "NoScaling",
    "Rule",
    "ScalingOptions",
    "cluster",
    "elbow",
    "farthest_first",
    "log_temperature",
    "register_rule",
    "resample",
    "rule_class",
    "spread",
    "unit_weights",
]

STATE_VERSION = 1


class DomainScaler:
    """Weights for the questions of a batch, from what was seen of their domains.

    Call `observe` once for each training batch, then `weights`. Both take the whole batch of all
    processes, so that every process comes to the same result.

    Args:
        rule: name of the rule, a key of `RULES`, or `package.module.Class`.
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
        kind = rule_class(rule)
        self.name = rule
        self.options = options or ScalingOptions()
        self.rule = kind(self.options)
        self.memory = Memory(self.options.window)
        self._length = length

    def step(
        self,
        vectors: np.ndarray,
        domains: Sequence[str],
        groups: Sequence[str | None] | None = None,
    ) -> np.ndarray:
        """Remembers the questions of a batch and returns their weights: `observe`, `weights`."""
        batch, rows = self._canonical(vectors, domains, groups)
        self._observe(batch)
        return self._weights(batch, rows, len(domains))

    def observe(
        self,
        vectors: np.ndarray,
        domains: Sequence[str],
        groups: Sequence[str | None] | None = None,
    ) -> None:
        """Remembers the questions of a batch; those without any reward are left out.

        Args:
            vectors: rewards in [0, 1], float, shape (questions, rollouts); NaN where none.
            domains: of each question.
            groups: of each question, such as a demographic group; None where it is unknown.

        Raises:
            OptionError: if shapes disagree or a reward lies outside [0, 1].
        """
        self._observe(self._canonical(vectors, domains, groups)[0])

    def weights(
        self,
        vectors: np.ndarray,
        domains: Sequence[str],
        groups: Sequence[str | None] | None = None,
    ) -> np.ndarray:
        """Returns the weight of each question, positive and finite.

        Unless the rule is one of the published forms, their geometric mean is 1 until clipped. A
        question without any reward has weight 1 and no part in the mean.

        Args:
            vectors: rewards in [0, 1], float, shape (questions, rollouts); NaN where none.
            domains: of each question; each has been observed.
            groups: as in `observe`.

        Returns:
            float64, shape (questions,).

        Raises:
            OptionError: if shapes disagree, a domain was never observed, or the rule gave what is
                no weight.
        """
        batch, rows = self._canonical(vectors, domains, groups)
        return self._weights(batch, rows, len(domains))

    def _observe(self, batch: Batch) -> None:
        for domain, rows in batch.inside.items():
            self.memory.add(domain, batch.vectors[rows])
        if batch.domains:
            self.rule.observe(batch)

    def _weights(self, batch: Batch, rows: np.ndarray, n: int) -> np.ndarray:
        weights = np.ones(n)
        if not batch.domains:
            return weights
        for domain in batch.inside:
            self.memory[domain]  # raises for one that was never observed, whatever the rule
        found = np.asarray(self.rule.weights(batch, self.memory), dtype=np.float64)
        if found.shape != rows.shape or not (np.isfinite(found) & (found > 0)).all():
            raise OptionError(
                f"domain_scaling={self.name!r} gave {len(rows)} questions the weights {found}, but "
                "should give each one positive, finite number."
            )
        weights[rows] = found
        return weights

    def advantages(
        self, rewards: np.ndarray, weights: np.ndarray, kl: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns weighted, group-normalised advantages over their deviation in the batch.

        Args:
            rewards: as they are, float64, shape (questions, rollouts); NaN where none.
            weights: of the questions, shape (questions,).
            kl: divergence of each response from the reference, as `rewards`; for rules that
                need it.

        Returns:
            float64, shape (questions, rollouts); 0 where there is no reward or no spread.
        """
        return self.rule.advantages(rewards, weights, kl)

    def summary(self) -> dict[str, float]:
        """Returns what the rule says of each domain: `count/<domain>`, `mu/<domain>`, ..."""
        return {
            f"{figure}/{domain}": value
            for domain in self.memory
            for figure, value in self.rule.describe(domain, self.memory[domain]).items()
        }

    # -- state --

    def state_dict(self) -> dict[str, Any]:
        """Returns everything that the weights depend on, ready for JSON, which keeps each bit."""
        return {
            "version": STATE_VERSION,
            "rule": self.name,
            "options": asdict(self.options),
            "length": self._length,
            "domains": self.memory.state_dict(),
            "own": self.rule.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes over a state; on an error the scaler stays as it was.

        Domains that a run no longer has do no harm, and new ones begin at nothing. Vectors keep
        the length of the state, and those of another number of rollouts are resampled to it.

        Raises:
            CheckpointError: if the state is of another version, rule or options, or is damaged.
        """
        self._check_configuration(state)
        rule = type(self.rule)(self.options)
        try:
            length = state["length"]
            memory = self.memory.restored(state["domains"], length)
            own = state.get("own") or {}
            if own:
                rule.load_state_dict(own, length)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"cannot restore the scaler: its state is damaged ({error!r}). Resume from an "
                "earlier checkpoint."
            ) from error
        self._length, self.memory, self.rule = length, memory, rule

    def _check_configuration(self, state: Mapping[str, Any]) -> None:
        heeded = {name: value for name, value in asdict(self.options).items() if self._heeds(name)}
        ours = {"version": STATE_VERSION, "domain_scaling": self.name, **heeded}
        options = state.get("options")
        theirs = {
            "version": state.get("version"),
            "domain_scaling": state.get("rule"),
            **asdict(ScalingOptions()),  # what a state was saved before is as it was then
            **(options if isinstance(options, Mapping) else {}),
        }
        differ = [name for name in ours if theirs[name] != ours[name]]
        if differ:
            listed = ", ".join(f"{one} {theirs[one]!r} (now {ours[one]!r})" for one in differ)
            raise CheckpointError(
                f"cannot restore the scaler: its state was saved with {listed}. Resume with the "
                "options of the run that saved it, or start a new run from its weights."
            )

    def _heeds(self, option: str) -> bool:
        return option == "window" or option in self.rule.uses

    # -- input --

    def _canonical(
        self,
        vectors: np.ndarray,
        domains: Sequence[str],
        groups: Sequence[str | None] | None,
    ) -> tuple[Batch, np.ndarray]:
        """The questions that have rewards, in an order of their own, and where each stood."""
        rewards = self._checked(vectors, domains, groups)
        rows = np.flatnonzero(~np.isnan(rewards).all(axis=1))
        known = rewards[rows]
        own_groups = [None] * len(domains) if groups is None else groups
        if self.rule.in_order:
            kept = resample_rows(known, self._width(rewards))
            names = [(domains[row], own_groups[row] or "") for row in rows.tolist()]
            order = _order(kept, names)
            rows, kept = rows[order], kept[order]
        else:
            kept = _as_they_stand(known, self._width(rewards))
        at = rows.tolist()
        return Batch(
            kept, tuple(domains[row] for row in at), tuple(own_groups[row] for row in at)
        ), rows

    def _width(self, rewards: np.ndarray) -> int:
        if self._length is None:
            self._length = rewards.shape[1]
        return self._length

    def _checked(
        self,
        vectors: np.ndarray,
        domains: Sequence[str],
        groups: Sequence[str | None] | None,
    ) -> np.ndarray:
        rewards = np.asarray(vectors, dtype=np.float64)
        if rewards.ndim != 2 or len(rewards) != len(domains):
            raise OptionError(
                f"vectors has shape {rewards.shape}, but should have ({len(domains)}, rollouts): "
                "one row for each domain given."
            )
        if groups is not None and len(groups) != len(domains):
            raise OptionError(f"groups has {len(groups)} entries for {len(domains)} questions.")
        numbers = rewards[~np.isnan(rewards)]
        if numbers.size and not (numbers.min() >= 0 and numbers.max() <= 1):
            raise OptionError(
                f"rewards reach from {numbers.min()} to {numbers.max()}, but should lie in [0, 1]."
            )
        return rewards


def _order(vectors: np.ndarray, names: Sequence[tuple[str, str]]) -> np.ndarray:
    """Order by name, then by vector."""
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    by_vector = row_order(vectors)
    by_name = np.array([places[name] for name in names], dtype=int)[by_vector]
    return by_vector[np.argsort(by_name, kind="stable")]


def _as_they_stand(rewards: np.ndarray, length: int) -> np.ndarray:
    """Vectors in the order of their rollouts; one that has gaps, or another length, sorted."""
    whole = ~np.isnan(rewards).any(axis=1) & (rewards.shape[1] == length)
    kept = [row if own else resample(row, length) for row, own in zip(rewards, whole, strict=True)]
    return np.array(kept).reshape(len(rewards), length)
