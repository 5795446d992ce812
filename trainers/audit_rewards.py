"""What rewards pay for answers that know nothing, on real questions, beside the gold answer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from climb_hf.trainers.drpo_advantages import unit_rewards
from climb_hf.trainers.drpo_reward_parts import Placed, targets_of
from climb_hf.trainers.drpo_rewards import guard_reward, reward_bounds, reward_name

GOLD = "gold"  # every other answer is made without a look at what is asked about


def audit_rewards(
    rewards: Sequence[Callable[..., Any]],
    weights: Sequence[float],
    rows: Sequence[Mapping[str, Any]],
    domain: str = "domain",
) -> list[dict[str, Any]]:
    """Scores made-up answers to questions, by domain.

    Args:
        rewards: the functions; not async.
        weights: of the functions.
        rows: of the question view, at least one.
        domain: column that tells the domains apart.

    Returns:
        One dict for each domain and reward, and for `total`, the mean over the rewards that apply
        by weight: the mean score of each answer, None where the reward never applied, and `free`,
        the best of all answers but `gold` as a share of it, None where `gold` earns nothing. The
        commonest gold answer of the domain (`constant`) and all options at once (`all`) are among
        them: they take no look at what is asked about either.
    """
    lines = []
    for name in sorted({str(row[domain]) for row in rows}):
        own = [row for row in rows if str(row[domain]) == name]
        found = {kind: _scores(rewards, weights, own, said) for kind, said in _said(own).items()}
        for at, reward in enumerate([*map(reward_name, rewards), "total"]):
            means = {kind: _mean(scores[:, at]) for kind, scores in found.items()}
            free = max(value or 0.0 for kind, value in means.items() if kind != GOLD)
            share = round(free / means[GOLD], 4) if means[GOLD] else None
            lines.append({"domain": name, "reward": reward, **means, "free": share})
    return lines


def _said(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Each kind of answer, to each row."""
    constant = Counter(str(row["answer"]) for row in rows).most_common(1)[0][0]
    return {
        "empty": [""] * len(rows),
        "constant": [_answered(constant)] * len(rows),
        "padded": ["It may well be that this is so. " * 300] * len(rows),
        "none": [_answered("None")] * len(rows),
        "all": [_answered(", ".join(row.get("options") or ())) for row in rows],
        GOLD: [
            _answered(str(row["answer"]), targets_of(row.get("boxes"), row.get("masks")))
            for row in rows
        ],
    }


def _answered(text: str, targets: Sequence[Placed] = ()) -> str:
    items = [{"bbox_2d": one.box, "image": one.image, "label": one.label} for one in targets]
    fence = f"```json\n{json.dumps(items)}\n```\n" if items else ""
    return f"{fence}\\boxed{{{text}}}"


def _scores(
    rewards: Sequence[Callable[..., Any]],
    weights: Sequence[float],
    rows: Sequence[Mapping[str, Any]],
    said: Sequence[str],
) -> np.ndarray:
    """Shape (rows, rewards + 1), the weighted mean last; NaN where a reward does not apply."""
    columns = {name: [row.get(name) for row in rows] for name in rows[0] if name != "prompt"}
    columns["prompts"] = [row.get("prompt", "") for row in rows]
    values = [guard_reward(one)(completions=list(said), **columns) for one in rewards]
    given = np.array(values, dtype=np.float64).T
    bounds = [reward_bounds(one) for one in rewards]
    return np.column_stack([given, unit_rewards(given, np.array(weights), bounds)])


def _mean(scores: np.ndarray) -> float | None:
    known = scores[~np.isnan(scores)]
    return round(float(known.mean()), 4) if len(known) else None


def audit_config(argv: Sequence[str], n: int = 200) -> list[dict[str, Any]]:
    """Audits the rewards of a run file or recipe, on `n` of its training rows.

    Args:
        argv: options of the DRPO script, such as `--config tiny_cpu_drpo --data_dir DATA`.
        n: most rows to take.
    """
    from climb_hf.trainers import scripting
    from climb_hf.trainers.train_drpo import make_parser

    args, training_args, _ = scripting.parse(make_parser(), argv)
    rewards = scripting.reward_functions(args, training_args)
    weights = training_args.reward_weights or [1.0] * len(rewards)
    rows = scripting.load_questions(args, args.train_split, max_samples=n, series_as="signal")
    kept = rows.select_columns([c for c in rows.column_names if c not in ("images", "series")])
    return audit_rewards(rewards, weights, list(kept), training_args.domain_column)
