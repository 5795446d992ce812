"""What a DRPO run says of itself: figures for the log, and warnings that a user can act on."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from climb_hf.trainers.drpo_advantages import varies

RECENT = 10  # generations that a warning is judged over
EARLIEST = 5  # and from which on
MOST_FLAT = 0.5
LEAST_EFFECTIVE = 0.4  # in the project's simulation nearly every rule below it lost micro score
ALL_THE_WEIGHT = 0.95


# ---- figures ------------------------------------------------------------------------------------


def batch_figures(
    vectors: np.ndarray, domains: Sequence[str], weights: np.ndarray, max_weight: float
) -> dict[str, float]:
    """Returns what is logged of a batch, by domain where a name ends in one.

    Args:
        vectors: rewards in [0, 1], shape (questions, rollouts).
        domains: of each question.
        weights: of each question.
        max_weight: at which weights are clipped.

    Returns:
        `weight/<domain>`: mean weight; `reward/<domain>`: mean reward; `zero_std/<domain>`: share
        of questions whose rollouts all have one reward; `clipped_frac`: share of questions whose
        weight was clipped; `ess`: (sum w)^2 / (n sum w^2), the share of the batch that counts.
    """
    figures = {
        "clipped_frac": float(np.mean(np.abs(np.log(weights)) > math.log(max_weight) - 1e-9)),
        "ess": _effective(weights),
    }
    flat, names = ~varies(vectors), np.array(domains, dtype=object)
    for domain in sorted(set(domains)):
        inside = names == domain
        rewards = vectors[inside]
        rewards = rewards[~np.isnan(rewards)]
        figures[f"weight/{domain}"] = float(weights[inside].mean())
        figures[f"reward/{domain}"] = float(rewards.mean()) if len(rewards) else math.nan
        figures[f"zero_std/{domain}"] = float(flat[inside].mean())
    return figures


def _effective(weights: np.ndarray) -> float:
    return float(weights.sum() ** 2 / (len(weights) * (weights**2).sum()))


def effective_share(vectors: np.ndarray, weights: np.ndarray) -> float:
    """Returns (sum w)^2 / (n sum w^2) over the questions whose rollouts differ; NaN without any.

    1 where all of them count the same, 1 / n where one of them has all the weight.

    Args:
        vectors: rewards, shape (questions, rollouts).
        weights: of each question.
    """
    own = weights[varies(vectors)]
    return _effective(own) if len(own) else math.nan


# ---- warnings -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    """What one generation adds to what the warnings are judged by."""

    effective: float
    questions: Counter[str]
    flat: Counter[str]
    weight: Counter[str]


class Watch:
    """Warns of each fault of a run once.

    Args:
        warn: is called with a sentence that says what was seen and what to do.
        args: of the run.
    """

    def __init__(self, warn: Callable[[str], None], args: Any) -> None:
        self._warn = warn
        self._args = args
        self._said: set[str] = set()
        self._recent: deque[_Seen] = deque(maxlen=RECENT)

    def _once(self, key: str, message: str) -> None:
        if key not in self._said:
            self._said.add(key)
            self._warn(message)

    def see(self, vectors: np.ndarray, domains: Sequence[str], weights: np.ndarray) -> None:
        """Looks at one generation.

        Args:
            vectors: rewards, shape (questions, rollouts).
            domains: of each question.
            weights: of each question.
        """
        taught = varies(vectors)
        weight: Counter[str] = Counter()
        for domain, own, useful in zip(domains, weights.tolist(), taught, strict=True):
            if useful:
                weight[domain] += own
        flat = Counter(name for name, useful in zip(domains, taught, strict=True) if not useful)
        self._recent.append(
            _Seen(effective_share(vectors, weights), Counter(domains), flat, weight)
        )
        if len(self._recent) >= EARLIEST:
            self._judge_flat()
            self._judge_effective()
            self._judge_one_domain()

    def _sum(self, name: str) -> Counter[str]:
        return sum((getattr(one, name) for one in self._recent), Counter())

    def _judge_flat(self) -> None:
        questions, flat = self._sum("questions"), self._sum("flat")
        share = flat.total() / questions.total()
        if share > MOST_FLAT:
            listed = ", ".join(
                f"{name} {flat[name] / n:.0%}" for name, n in sorted(questions.items())
            )
            self._once(
                "flat",
                f"{share:.0%} of the questions of the last {len(self._recent)} generations had "
                f"rollouts of one and the same reward, and taught nothing ({listed}). Raise "
                f"temperature ({self._args.temperature}) or num_generations "
                f"({self._args.num_generations}), use a graded reward, or leave out questions that "
                "the model always or never gets right.",
            )

    def _judge_effective(self) -> None:
        shares = [one.effective for one in self._recent if not math.isnan(one.effective)]
        mean = math.fsum(shares) / len(shares) if shares else 1.0
        if mean < LEAST_EFFECTIVE:
            self._once(
                "effective",
                f"the weights leave {mean:.0%} of the questions effective (mean of "
                f"drpo/effective_share over {len(self._recent)} generations): a few questions "
                "decide each step, and frequent domains tend to lose. Lower drpo_strength or "
                "drpo_max_weight where the rule has them, or draw domains more evenly with "
                "domain_sampling_power=0.5.",
            )

    def _judge_one_domain(self) -> None:
        questions, weight = self._sum("questions"), self._sum("weight")
        if len(questions) < 2 or not weight:
            return
        name, most = weight.most_common(1)[0]
        share = most / weight.total()
        if share >= ALL_THE_WEIGHT:
            others = sorted(set(questions) - {name})
            self._once(
                "one domain",
                f"domain {name!r} had {share:.0%} of all weight in the last {len(self._recent)} "
                f"generations, with {questions[name] / questions.total():.0%} of the questions. "
                f"The others ({', '.join(others)}) teach next to nothing: look at drpo/zero_std "
                "and drpo/reward of them, and whether their reward can be earned at all.",
            )

    def rewards(
        self, rewards: np.ndarray, bounds: Sequence[tuple[float, float]], names: Sequence[str]
    ) -> None:
        """Looks for rewards outside the bounds that their function declares.

        Args:
            rewards: shape (completions, functions); NaN where a function did not apply.
            bounds: least and greatest value of each function.
            names: of the functions.
        """
        for column, (low, high), name in zip(rewards.T, bounds, names, strict=True):
            own = column[~np.isnan(column)]
            outside = own[(own < low) | (own > high)]
            if len(outside):
                self._once(
                    f"bounds of {name}",
                    f"reward {name!r} gave {outside[0]:g}, outside its bounds ({low:g}, {high:g}); "
                    f"{len(outside)} of {len(own)} in this generation. It is used as it is, but "
                    "how hard a question is, is judged by the clipped value. Declare the range: "
                    f"{name}.reward_bounds = (low, high).",
                )

    def unseen(self, domains: Sequence[str], seen: Sequence[str], asked: int) -> None:
        """Looks for domains of the data of which a run never asked a question.

        Args:
            domains: of each row of the data.
            seen: domains that were asked.
            asked: questions of the run.
        """
        counts = Counter(domains)
        missing = sorted(set(counts) - set(seen))
        if missing:
            listed = ", ".join(
                f"{name} ({counts[name]} of {len(domains)} rows)" for name in missing
            )
            self._once(
                "unseen",
                f"the run asked {asked} questions and none of: {listed}. What the model does there "
                "was not trained. Train for longer, or set domain_sampling_power=0.5 or 1.",
            )


# ---- at the start -------------------------------------------------------------------------------


def run_in_words(args: Any, max_steps: int, rows: int | None) -> str:
    """Returns what a run will do: questions, completions and steps, in words.

    Args:
        args: `DRPOConfig` of the run.
        max_steps: optimizer steps.
        rows: of the data set; None where it streams.
    """
    group = args.num_generations
    questions = args.generation_batch_size // group
    served = args.steps_per_generation * args.num_iterations / args.gradient_accumulation_steps
    asked = math.ceil(max_steps / served) * questions
    passes = f", {asked / rows:.2g} times through its {rows} rows" if rows else ""
    made = (
        f"{args.generation_batch_size} completions = {args.per_device_train_batch_size} a device x "
        f"{_several(args.world_size, 'process')} x "
        f"{_several(args.steps_per_generation, 'micro-step')}"
    )
    return (
        f"domain_scaling={args.domain_scaling}: each generation asks "
        f"{_several(questions, 'question')} {group} times ({made}) and serves "
        f"{_several(served, 'optimizer step')}. Weights compare the questions of one generation. "
        f"{_several(max_steps, 'step')}: {_several(asked, 'question')} asked{passes}."
    )


def _several(n: float, what: str) -> str:
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{n:g} {what if n == 1 else plural}"


def doubts(args: Any, domains: Sequence[str] | None, asked: float) -> list[str]:
    """Returns what is likely to disappoint in a run, known before it begins.

    Args:
        args: `DRPOConfig` of the run.
        domains: of each row of the data; None where they are not known.
        asked: questions of the run.
    """
    found = []
    if args.domain_scaling != "none" and args.generation_batch_size == args.num_generations:
        found.append(
            "each generation asks 1 question, so that there is nothing to weigh it against: every "
            "weight is 1. Raise per_device_train_batch_size or gradient_accumulation_steps."
        )
    if not domains:
        return found
    counts = Counter(domains)
    if len(counts) == 1 and args.domain_scaling != "none":
        found.append(
            f"all rows are of one domain, {domains[0]!r}: domain_scaling={args.domain_scaling!r} "
            "can tell questions apart, but no domains. Is domain_column="
            f"{args.domain_column!r} the one you mean?"
        )
    rare = {name: asked * n / len(domains) for name, n in sorted(counts.items())}
    listed = ", ".join(
        f"{name} ({counts[name]} of {len(domains)} rows, {expected:.1f} expected)"
        for name, expected in rare.items()
        if expected < 1
    )
    if listed and not args.domain_sampling_power:
        found.append(
            f"the run asks {asked:g} questions, and is likely to ask none of: {listed}. Train for "
            "longer, or set domain_sampling_power=0.5 or 1."
        )
    return found
