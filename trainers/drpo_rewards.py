r"""Rewards in TRL's signature, and what makes a faulty one say what is wrong with it.

A reward function takes the completions and, by name, every column of the data set, and returns one
number for each completion, or None where it does not apply:

    def my_reward(completions, *, answer, **kwargs) -> list[float | None]

If its numbers do not lie in [0, 1], an attribute says so: `my_reward.reward_bounds = (-1, 1)`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from climb_hf.answers import boxed, parse, set_f1, split_gold
from climb_hf.check import check_option
from climb_hf.errors import OptionError, RewardError
from climb_hf.trainers.drpo_reward_parts import (
    box_iou_best,
    box_iou_mean,
    calibrated_confidence,
    completion_text,
    length_cap,
    length_released,
    view_coherence,
)

Reward = Callable[..., Any]

UNIT_BOUNDS = (0.0, 1.0)
_SHOWN_IDS = 5
_BOX_OPENS = re.compile(r"\\boxed\s*\{")


# ---- reward functions ---------------------------------------------------------------------------


def answer_f1(
    completions: Sequence[Any],
    *,
    answer: Sequence[str | None],
    options: Sequence[Sequence[str] | None],
    answer_type: Sequence[str | None],
    **kwargs: Any,
) -> list[float | None]:
    r"""Set-F1, in [0, 1], of the options in the last `\boxed{}` against the gold options.

    Args:
        completions: strings or message lists.
        answer: gold text.
        options: answer options, in class order.
        answer_type: the reward applies to `choice` and `set` only.

    Returns:
        One number for each completion; None where there is no gold set of options.

    Raises:
        ValueError: if a gold answer is not made of its options.
    """
    scores: list[float | None] = []
    for completion, gold, allowed, kind in zip(
        completions, answer, options, answer_type, strict=True
    ):
        if gold is None or kind not in ("choice", "set"):
            scores.append(None)
            continue
        named = parse(completion_text(completion), allowed or [])
        scores.append(set_f1(named, split_gold(gold, allowed or [])))
    return scores


def answer_format(
    completions: Sequence[Any],
    *,
    options: Sequence[Sequence[str] | None] | None = None,
    **kwargs: Any,
) -> list[float]:
    r"""Whether there is an answer that can be read, in [0, 1].

    1 for exactly one `\boxed{}` after any thinking, closed, that names an option where there are
    options; 0.5 if it names none of them; else 0.
    """
    all_options = [None] * len(completions) if options is None else options
    return [
        _format_score(completion_text(completion), allowed or [])
        for completion, allowed in zip(completions, all_options, strict=True)
    ]


def _format_score(text: str, options: Sequence[str]) -> float:
    visible = text.rsplit("</think>", 1)[-1]
    if len(_BOX_OPENS.findall(visible)) != 1 or boxed(visible) is None:
        return 0.0
    return 0.5 if options and not parse(visible, options).picks else 1.0


REWARDS: dict[str, Reward] = {
    "answer_f1": answer_f1,
    "answer_format": answer_format,
    "box_iou_best": box_iou_best,
    "box_iou_mean": box_iou_mean,
    "calibrated_confidence": calibrated_confidence,
    "length_cap": length_cap,
    "length_released": length_released,
    "view_coherence": view_coherence,
}
# Weights as published; format and length are ours: the released length reward pays for padding.
PRESETS: dict[str, dict[str, float]] = {
    "paper": {"answer_f1": 0.6, "box_iou_best": 0.2, "answer_format": 0.2},
    "released": {
        "answer_f1": 0.5,
        "box_iou_mean": 0.3,
        "answer_format": 0.1,
        "length_released": 0.1,
    },
}
DEFAULT_WEIGHTS = {"answer_f1": 0.8, "answer_format": 0.2}


def reward_by_name(name: str) -> Reward:
    """Returns a reward function: one of ours by name, any other as `package.module.function`.

    Raises:
        OptionError: if there is none of that name; ours are listed.
    """
    if "." not in name:
        return REWARDS[check_option("reward", name, tuple(REWARDS))]
    module_name, _, function_name = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise OptionError(
            f"reward={name!r} cannot be imported: {error}. Give package.module.function or "
            f"one of: {', '.join(REWARDS)}."
        ) from error
    if not callable(found):
        raise OptionError(f"reward={name!r} is {type(found).__name__}, but should be a function.")
    return found


def reward_bounds(reward: Any) -> tuple[float, float]:
    """Returns least and greatest value of a reward: its `reward_bounds`, or (0, 1).

    Raises:
        OptionError: if `reward_bounds` is not a pair (low, high) of numbers with low < high.
    """
    bounds = getattr(reward, "reward_bounds", UNIT_BOUNDS)
    numbers = [float(one) for one in bounds if _is_number(one)] if _is_pair(bounds) else []
    if len(numbers) != 2 or not -math.inf < numbers[0] < numbers[1] < math.inf:
        raise OptionError(
            f"reward_bounds={bounds!r} of {reward_name(reward)!r} should be (low, high)."
        )
    return numbers[0], numbers[1]


# ---- guard --------------------------------------------------------------------------------------


def reward_name(reward: Any) -> str:
    """Returns the name a reward is logged under: of the function, or of the class of a callable."""
    while isinstance(reward, functools.partial):
        reward = reward.func
    return getattr(reward, "__name__", type(reward).__name__)


def guard_reward(reward: Reward) -> Reward:
    """Wraps a reward function so that each of its faults becomes a `RewardError`.

    The wrapper has the name and bounds of the function, and is async where that is.
    """
    inner = reward
    while isinstance(inner, functools.partial):
        inner = inner.func

    def guarded(completions: Sequence[Any], **columns: Any) -> list[float | None]:
        try:
            values = reward(completions=completions, **columns)
        except Exception as error:
            raise _raised(reward, error, columns) from error
        return _checked(reward, values, len(completions), columns)

    async def guarded_async(completions: Sequence[Any], **columns: Any) -> list[float | None]:
        try:
            values = await reward(completions=completions, **columns)
        except Exception as error:
            raise _raised(reward, error, columns) from error
        return _checked(reward, values, len(completions), columns)

    is_async = inspect.iscoroutinefunction(inner) or inspect.iscoroutinefunction(inner.__call__)
    wrapper = guarded_async if is_async else guarded
    wrapper.__name__ = wrapper.__qualname__ = reward_name(reward)
    wrapper.__doc__ = inner.__doc__
    wrapper.reward_bounds = reward_bounds(reward)  # type: ignore[attr-defined]
    return wrapper


def _raised(reward: Reward, error: Exception, columns: dict[str, Any]) -> RewardError:
    return _fault(reward, f"raised {type(error).__name__}: {error}", columns)


def _checked(reward: Reward, values: Any, n: int, columns: dict[str, Any]) -> list[float | None]:
    """The values as floats or None.

    Raises:
        RewardError: if they are not a list of n finite numbers or None.
    """
    if isinstance(values, (str, bytes, dict)) or not isinstance(values, Iterable):
        raise _fault(reward, f"returned {type(values).__name__}, not a list of numbers", columns)
    values = list(values)
    if len(values) != n:
        raise _fault(reward, f"returned {len(values)} rewards for {n} completions", columns)
    for index, value in enumerate(values):
        if value is not None and not (_is_number(value) and not math.isinf(float(value))):
            what = f"returned {value!r} ({type(value).__name__}), which is no finite number"
            raise _fault(reward, what, columns, [index])
    return [None if value is None else float(value) for value in values]


def _fault(
    reward: Reward, what: str, columns: dict[str, Any], rows: Sequence[int] | None = None
) -> RewardError:
    ids = list(columns.get("id") or [])
    named = [ids[row] for row in rows if row < len(ids)] if rows is not None else ids
    names = list(dict.fromkeys(str(one) for one in named))
    more = f" and {len(names) - _SHOWN_IDS} more" if len(names) > _SHOWN_IDS else ""
    where = f" on rows {', '.join(names[:_SHOWN_IDS])}{more}" if names else ""
    return RewardError(
        f"reward function {reward_name(reward)!r} {what}{where}. It should return one number, or "
        "None where it does not apply, for each completion. Try it on a few rows with "
        "climb_hf.trainers.drpo_rewards.check_reward(function, dataset)."
    )


def _is_pair(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and len(value) == 2


def _is_number(value: Any) -> bool:
    """Whether float() takes the value for what it is: numbers of any library, but no text."""
    if isinstance(value, (str, bytes)) or not hasattr(type(value), "__float__"):
        return False
    try:
        float(value)
    except (TypeError, ValueError, RuntimeError):  # an array of several numbers
        return False
    return True


# ---- dry run ------------------------------------------------------------------------------------


def check_reward(
    reward: Reward, dataset: Iterable[dict[str, Any]], n: int = 4
) -> dict[str, list[float | None]]:
    r"""Calls a reward function as the trainer would, on the first rows of a data set.

    Args:
        reward: the function; not async.
        dataset: rows with the columns that the trainer will see.
        n: how many rows to take.

    Returns:
        For each kind of completion the rewards: `gold` (the row's `answer` in a box), `unboxed`
        (the same without a box) and `empty`.

    Raises:
        RewardError: if the function raises, or returns what the trainer could not use.
        OptionError: if the data set has no row.
    """
    rows = list(islice(iter(dataset), n))
    if not rows:
        raise OptionError("dataset has no row to try the reward function on.")
    answers = ["" if row.get("answer") is None else str(row["answer"]) for row in rows]
    tried = {
        "gold": ["\\boxed{" + answer + "}" for answer in answers],
        "unboxed": answers,
        "empty": [""] * len(rows),
    }
    guarded = guard_reward(reward)
    return {kind: guarded(**_call_of(rows, texts)) for kind, texts in tried.items()}


def _call_of(rows: Sequence[dict[str, Any]], texts: Sequence[str]) -> dict[str, Any]:
    """The arguments of TRL's call: completions in the form of the prompts, columns as lists."""
    prompts = [row.get("prompt", "") for row in rows]
    chats = not isinstance(prompts[0], str)
    return {
        **{name: [row.get(name) for row in rows] for name in rows[0] if name != "prompt"},
        "prompts": prompts,
        "completions": [[{"role": "assistant", "content": one}] if chats else one for one in texts],
        "completion_ids": [[] for _ in rows],
        "trainer_state": None,
        "log_extra": lambda column, values: None,
        "log_metric": lambda name, value: None,
    }
