r"""Rules: how much each question of a batch counts. `domain_scaling` names one.

`none`, `drpo`, `disco`, `fairgrpo` and `inverse_frequency` are here, the published forms of DRPO
in `drpo_published`. Your own is a class with one method, and a name:

    from climb_hf.trainers import Rule, register_rule

    @register_rule("one_over_n")
    class OneOverN(Rule):
        def log_weights(self, batch, memory):
            return [-math.log(memory[domain].count) for domain in batch.domains]

or, without registering it, `domain_scaling="my_package.my_module.OneOverN"`. What
`climb_hf.trainers.drpo_testing` checks of every rule holds for it too. numpy only.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from climb_hf.check import check_option, check_type
from climb_hf.errors import OptionError
from climb_hf.trainers.drpo_advantages import normalise, over_std
from climb_hf.trainers.drpo_memory import DomainHistory, Memory

DIFFICULTIES = ("clusters", "question")
DISCO_FORMS = ("log", "log2", "inv")


@dataclass(frozen=True)
class ScalingOptions:
    """Options of the rules; `DRPOConfig` has the same ones with `drpo_` before the name.

    Attributes:
        strength: exponent of the weight 1 / (T_g T_c), in (0, 1]; 1 is the paper's.
        k_max: most clusters in a domain.
        window: most questions of a domain that are remembered.
        max_weight: weights are clipped to [1 / max_weight, max_weight].
        mean_floor: least mean reward that is divided by, in (0, 1].
        difficulty: of rule `drpo`: `clusters` of a domain's questions, or each `question`'s own.
        disco_form: of rule `disco`: `log`, `log2` or `inv`, in order of strength.
        kl_damping: of rule `drpo_paper`: whether advantages far from the reference are damped.
    """

    strength: float = 0.5
    k_max: int = 3
    window: int = 512
    max_weight: float = 10.0
    mean_floor: float = 0.05
    difficulty: str = "clusters"
    disco_form: str = "log"
    kl_damping: bool = True

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
        check_option(prefix + "difficulty", values["difficulty"], DIFFICULTIES)
        check_option(prefix + "disco_form", values["disco_form"], DISCO_FORMS)
        check_type(prefix + "kl_damping", values["kl_damping"], bool)


@dataclass(frozen=True)
class Batch:
    """The questions of one step, in an order that follows from what they are.

    Attributes:
        vectors: rewards in [0, 1], float64, shape (questions, length), each row ascending.
        domains: of each question.
        groups: of each question, such as a demographic group; None where it is unknown.
    """

    vectors: np.ndarray
    domains: tuple[str, ...]
    groups: tuple[str | None, ...]

    @cached_property
    def inside(self) -> dict[str, np.ndarray]:
        """Rows of each domain, by name in alphabetical order."""
        return rows_of(self.domains)


def rows_of(names: Sequence[str]) -> dict[str, np.ndarray]:
    """Returns at which rows each name stands, by name in alphabetical order."""
    rows: dict[str, list[int]] = {name: [] for name in sorted(set(names))}
    for row, name in enumerate(names):
        rows[name].append(row)
    return {name: np.array(own) for name, own in rows.items()}


# ---- formulas -----------------------------------------------------------------------------------


def log_temperature(count: float, mean: float, mean_floor: float) -> float:
    """Returns log T = log(sqrt(N) max(mu, floor)): QoQ-Med, section 3.3, with a floor for mu."""
    return 0.5 * math.log(count) + math.log(max(mean, mean_floor))


def unit_weights(log_weights: Sequence[float], max_weight: float) -> list[float]:
    """Returns weights with geometric mean 1, then clipped to [1 / max_weight, max_weight].

    `math.fsum` rounds once, so that the order of the questions cannot matter.
    """
    if not len(log_weights):
        return []
    centre = math.fsum(log_weights) / len(log_weights)
    bound = math.log(max_weight)
    return [math.exp(min(max(value - centre, -bound), bound)) for value in log_weights]


# ---- the interface ------------------------------------------------------------------------------


class Rule:
    """How the questions of a batch are weighted. A subclass needs `log_weights`, and no more.

    Class attributes:
        uses: the options that it heeds, of `ScalingOptions`; others are refused beside it.
        in_order: whether vectors and batch are put in order, so that neither rollouts nor rows
            have a place of their own. Only `drpo_released` goes without.
        bounded: whether its state stops growing. Only that of `drpo_released` does not.
        needs_groups: whether it needs `group_column`.

    Args:
        options: of the run.
    """

    uses: ClassVar[frozenset[str]] = frozenset({"window", "max_weight"})
    in_order: ClassVar[bool] = True
    bounded: ClassVar[bool] = True
    needs_groups: ClassVar[bool] = False

    def __init__(self, options: ScalingOptions) -> None:
        self.options = options

    @property
    def needs_kl(self) -> bool:
        """Whether `advantages` is given the divergence from the reference model."""
        return False

    @classmethod
    def unused(cls, options: ScalingOptions) -> list[str]:
        """Returns the options that differ from their defaults and that this rule does not heed."""
        plain = ScalingOptions()
        names = [field.name for field in fields(options)]
        changed = [name for name in names if getattr(options, name) != getattr(plain, name)]
        return [name for name in changed if name not in cls.uses]

    def observe(self, batch: Batch) -> None:
        """Remembers what the memory does not: called once a step, after the memory was filled."""

    def log_weights(self, batch: Batch, memory: Memory) -> Sequence[float]:
        """Returns the logarithm of each question's weight, up to a constant of the batch.

        Args:
            batch: of this step; the memory holds its questions already.
            memory: `memory[domain]` has `count`, `mean()` and `clusters(k_max)`.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a method log_weights")

    def weights(self, batch: Batch, memory: Memory) -> Sequence[float]:
        """Returns the weight of each question: of geometric mean 1, then clipped."""
        return unit_weights(self.log_weights(batch, memory), self.options.max_weight)

    def advantages(
        self, rewards: np.ndarray, weights: np.ndarray, kl: np.ndarray | None = None
    ) -> np.ndarray:
        """Returns the group-normalised advantages, weighted, over their batch's deviation.

        Args:
            rewards: as they are, float64, shape (questions, rollouts); NaN where none.
            weights: of the questions, shape (questions,).
            kl: of each response to the reference, as `rewards`; None unless `needs_kl`.
        """
        return over_std(normalise(rewards) * weights[:, None], ~np.isnan(rewards))

    def describe(self, domain: str, history: DomainHistory) -> dict[str, float]:
        """Returns figures of a domain that are worth logging."""
        return {"count": float(history.count), "mu": history.mean()}

    def state_dict(self) -> dict[str, Any]:
        """Returns what `observe` remembered, ready for JSON."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any], length: int) -> None:
        """Takes over a state; raises KeyError, TypeError or ValueError where it is damaged."""


RULES: dict[str, type[Rule]] = {}


def register_rule(name: str) -> Callable[[type[Rule]], type[Rule]]:
    """Returns a decorator that makes a rule known as `domain_scaling=name`.

    Raises:
        OptionError: if the name is another rule's or holds a dot, or the class is no `Rule`.
    """

    def enter(rule: type[Rule]) -> type[Rule]:
        if not (isinstance(rule, type) and issubclass(rule, Rule)):
            raise OptionError(f"rule {name!r} is {rule!r}, but should be a subclass of Rule.")
        if "." in name or not name:
            raise OptionError(f"rule name {name!r} should be a word without a dot.")
        if RULES.get(name, rule).__qualname__ != rule.__qualname__:
            raise OptionError(f"there is a rule {name!r} already: {RULES[name].__qualname__}.")
        RULES[name] = rule
        return rule

    return enter


def rule_class(name: str) -> type[Rule]:
    """Returns a rule by its name, or by `package.module.Class`.

    Raises:
        OptionError: if there is none of that name; those there are are listed.
    """
    check_type("domain_scaling", name, str)
    if "." not in name:
        return RULES[check_option("domain_scaling", name, tuple(RULES))]
    module_name, _, class_name = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise OptionError(
            f"domain_scaling={name!r} cannot be imported: {error}. Give package.module.Class or "
            f"one of: {', '.join(RULES)}."
        ) from error
    if not (isinstance(found, type) and issubclass(found, Rule)):
        raise OptionError(f"domain_scaling={name!r} should be a subclass of Rule.")
    return found


# ---- rules --------------------------------------------------------------------------------------


@register_rule("none")
class NoScaling(Rule):
    """Every question counts the same: plain GRPO (DeepSeekMath, arXiv 2402.03300)."""

    def log_weights(self, batch: Batch, memory: Memory) -> Sequence[float]:
        return [0.0] * len(batch.domains)

    @classmethod
    def unused(cls, options: ScalingOptions) -> list[str]:
        return []  # the baseline takes any recipe as it is


@register_rule("drpo")
class DRPOScaling(Rule):
    """DRPO made safe: w = (1 / (T_g T_c)) ** strength, T = sqrt(N) max(mu, mean_floor).

    g is the question's domain, c its cluster among the domain's latest `window` questions, N their
    numbers of questions (that of the domain over the whole run, that of the cluster its share of
    it) and mu their mean rewards. With `difficulty="question"` the question's own mean reward mu_q
    takes the place of the cluster: w = (1 / (N_g max(mu_q, mean_floor))) ** strength.

    Source: QoQ-Med (arXiv 2506.00711), section 3.3. Departures: a bounded window in place of one
    batch (paper) or all history (released code), vectors sorted, mu floored at a mean reward that
    occurs in place of 1e-6, weights of geometric mean 1 and clipped, at most 3 clusters in place
    of 10, no KL damping, and `strength` 0.5. The question level is not in the paper.
    """

    uses = frozenset({"strength", "k_max", "window", "max_weight", "mean_floor", "difficulty"})

    @classmethod
    def unused(cls, options: ScalingOptions) -> list[str]:
        no_clusters = options.difficulty == "question" and options.k_max != ScalingOptions.k_max
        return super().unused(options) + (["k_max"] if no_clusters else [])

    def log_weights(self, batch: Batch, memory: Memory) -> Sequence[float]:
        logs = np.empty(len(batch.domains))
        for domain, rows in batch.inside.items():
            history = memory[domain]
            if self.options.difficulty == "question":
                logs[rows] = self._by_question(history, batch.vectors[rows])
            else:
                logs[rows] = self._by_cluster(history, batch.vectors[rows])
        return (-self.options.strength * logs).tolist()

    def _by_cluster(self, history: DomainHistory, vectors: np.ndarray) -> np.ndarray:
        """log(T_g T_c) of questions of one domain."""
        clusters = history.clusters(self.options.k_max)
        floor = self.options.mean_floor
        domain = log_temperature(history.count, history.mean(), floor)
        levels = [
            domain + log_temperature(share * history.count, mean, floor)
            for share, mean in zip(clusters.shares, clusters.means, strict=True)
        ]
        return np.array(levels)[clusters.nearest(vectors)]

    def _by_question(self, history: DomainHistory, vectors: np.ndarray) -> list[float]:
        """log(N_g mu_q) of questions of one domain."""
        count, floor = math.log(history.count), self.options.mean_floor
        return [count + math.log(max(mean, floor)) for mean in vectors.mean(axis=1).tolist()]

    def describe(self, domain: str, history: DomainHistory) -> dict[str, float]:
        figures = super().describe(domain, history)
        figures["mu"] = max(figures["mu"], self.options.mean_floor)
        if self.options.difficulty == "clusters":
            figures["k"] = float(len(history.clusters(self.options.k_max).shares))
        return figures


@register_rule("inverse_frequency")
class InverseFrequency(Rule):
    """w = p_g ** -strength, p_g the share of the domain among the questions seen.

    `strength=1` is inverse frequency, 0.5 (the default) its square root. No source: the simplest
    thing that DRPO has to beat. In the project's simulation the root had two thirds of DRPO's gain.
    """

    uses = frozenset({"strength", "window", "max_weight"})

    def log_weights(self, batch: Batch, memory: Memory) -> Sequence[float]:
        logs = {name: math.log(memory[name].count / memory.count) for name in batch.inside}
        return [-self.options.strength * logs[domain] for domain in batch.domains]


@register_rule("disco")
class Disco(Rule):
    """w = w_dom w_diff, from the domain's share p among the questions seen and SC of the question.

    | form | w_dom | w_diff |
    |---|---|---|
    | `log` | log(1 + 1/p) | log(1 + 1/SC) |
    | `log2` | log(1 + 1/p) squared | 1/SC |
    | `inv` | 1/p | 1/SC |

    SC is the mean correctness of the question's rollouts, here max(mean reward, mean_floor).

    Source: DISCO (arXiv 2505.15074). Unclear there: its code has numbers for w_dom, which equal
    these three formulas to the printed digits (our inference), and 1/(SC + 1e-5) or, before,
    log(1 + 1/SC) for w_diff. It multiplies rewards, which cancels in the group's deviation;
    here the weight is on the advantage, of geometric mean 1 and clipped.
    """

    uses = frozenset({"disco_form", "window", "max_weight", "mean_floor"})

    def log_weights(self, batch: Batch, memory: Memory) -> Sequence[float]:
        domains = {
            name: self._of_domain(memory.count / memory[name].count) for name in batch.inside
        }
        means = batch.vectors.mean(axis=1).tolist()
        return [
            domains[domain] + self._of_question(1 / max(mean, self.options.mean_floor))
            for domain, mean in zip(batch.domains, means, strict=True)
        ]

    def _of_domain(self, rarity: float) -> float:
        if self.options.disco_form == "inv":
            return math.log(rarity)
        power = 2 if self.options.disco_form == "log2" else 1
        return power * math.log(math.log1p(rarity))

    def _of_question(self, hardness: float) -> float:
        log = self.options.disco_form == "log"
        return math.log(math.log1p(hardness)) if log else math.log(hardness)


@register_rule("fairgrpo")
class FairGRPO(Rule):
    """w = 1 / (T_g T_d), T = sqrt(N) max(mu, mean_floor); d is a demographic group within g.

    Groups come from `group_column`. Questions whose group is unknown are clustered among
    themselves, and the cluster stands for the group.

    Source: FairGRPO (arXiv 2510.19893), by its formula as the project's notes have it. Unclear
    there: what happens at a mean reward of 0 (its code leaves such scores unscaled). Departures as
    in `drpo`: a bounded window, floor, geometric mean 1, clip; the strength is 1, as published.
    """

    uses = frozenset({"k_max", "window", "max_weight", "mean_floor"})
    needs_groups = True

    def __init__(self, options: ScalingOptions) -> None:
        super().__init__(options)
        self._groups = Memory(options.window)

    def _inside(self, batch: Batch) -> dict[str, np.ndarray]:
        """Rows of each group of each domain, by both in one text."""
        pairs = zip(batch.domains, batch.groups, strict=True)
        return rows_of([json.dumps(pair) for pair in pairs])

    def observe(self, batch: Batch) -> None:
        for key, rows in self._inside(batch).items():
            self._groups.add(key, batch.vectors[rows])

    def log_weights(self, batch: Batch, memory: Memory) -> Sequence[float]:
        logs = np.empty(len(batch.domains))
        floor = self.options.mean_floor
        for key, rows in self._inside(batch).items():
            domain = memory[batch.domains[rows[0]]]
            group = self._groups[key]
            base = log_temperature(domain.count, domain.mean(), floor)
            if batch.groups[rows[0]] is not None:
                logs[rows] = base + log_temperature(group.count, group.mean(), floor)
                continue
            clusters = group.clusters(self.options.k_max)
            levels = [
                base + log_temperature(share * group.count, mean, floor)
                for share, mean in zip(clusters.shares, clusters.means, strict=True)
            ]
            logs[rows] = np.array(levels)[clusters.nearest(batch.vectors[rows])]
        return (-logs).tolist()

    def describe(self, domain: str, history: DomainHistory) -> dict[str, float]:
        groups = sum(json.loads(key)[0] == domain for key in self._groups)
        return super().describe(domain, history) | {"groups": float(groups)}

    def state_dict(self) -> dict[str, Any]:
        return {"groups": self._groups.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any], length: int) -> None:
        self._groups = self._groups.restored(state["groups"], length)
