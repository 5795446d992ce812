"""Rewards and their guard."""

from __future__ import annotations

import asyncio
import functools
import math

import numpy as np
import pytest

from climb_hf.errors import OptionError, RewardError
from climb_hf.trainers import answer_f1, answer_format, check_reward, reward_by_name
from climb_hf.trainers.drpo_rewards import DEFAULT_WEIGHTS, REWARDS, guard_reward, reward_bounds
from climb_hf.trainers.scripting import DEFAULT_REWARDS

OPTIONS = ["normal", "infarction", "block"]


def said(text):
    return [{"role": "assistant", "content": text}]


def f1(text, answer="normal", kind="choice", options=OPTIONS):
    return answer_f1([text], answer=[answer], options=[options], answer_type=[kind])[0]


@pytest.mark.parametrize(
    ("text", "answer", "kind", "score"),
    [
        ("\\boxed{normal}", "normal", "choice", 1.0),
        ("\\boxed{B}", "infarction", "choice", 1.0),
        ("\\boxed{block}", "normal", "choice", 0.0),
        ("normal", "normal", "choice", 0.0),
        # picks {normal, block}, gold {normal}: 2 * 1 / (2 + 1)
        ("\\boxed{normal, block}", "normal", "set", 2 / 3),
        # picks {infarction}, gold {infarction, block}: 2 * 1 / (1 + 2)
        ("\\boxed{infarction}", "infarction, block", "set", 2 / 3),
        ("<think>\\boxed{normal}</think> \\boxed{block}", "block", "choice", 1.0),
    ],
)
def test_answer_f1(text, answer, kind, score):
    assert f1(text, answer, kind) == pytest.approx(score)
    assert f1(said(text), answer, kind) == pytest.approx(score)


@pytest.mark.parametrize(("answer", "kind"), [("12", "number"), ("free", "text"), (None, "set")])
def test_answer_f1_is_none_where_it_does_not_apply(answer, kind):
    assert f1("\\boxed{12}", answer, kind, options=[]) is None


def test_answer_f1_reads_content_in_parts():
    parts = [{"type": "text", "text": "so \\boxed{"}, {"type": "text", "text": "normal}"}]
    assert f1([{"role": "assistant", "content": parts}]) == 1.0


def test_answer_f1_of_no_text_is_zero():
    assert f1([{"role": "assistant", "content": None}]) == 0.0
    assert f1([]) == 0.0


@pytest.mark.parametrize(
    ("text", "options", "score"),
    [
        ("\\boxed{normal}", OPTIONS, 1.0),
        ("<think>\\boxed{?}</think>\\boxed{normal}", OPTIONS, 1.0),
        ("\\boxed{sinus}", OPTIONS, 0.5),
        ("\\boxed{}", OPTIONS, 0.5),
        ("\\boxed{sinus}", [], 1.0),
        ("\\boxed{12}", None, 1.0),
        ("normal", OPTIONS, 0.0),
        ("\\boxed{normal", OPTIONS, 0.0),
        ("\\boxed{normal} \\boxed{normal}", OPTIONS, 0.0),
    ],
)
def test_answer_format(text, options, score):
    assert answer_format([said(text)], options=[options], domain=["ecg"]) == [score]


def test_answer_format_needs_no_options_column():
    assert answer_format(["\\boxed{1}"]) == [1.0]


# ---- names --------------------------------------------------------------------------------------


def test_rewards_by_name():
    assert reward_by_name("answer_f1") is answer_f1
    assert reward_by_name("climb_hf.trainers.drpo_rewards.answer_format") is answer_format
    assert set(DEFAULT_WEIGHTS) == set(DEFAULT_REWARDS) <= set(REWARDS)
    assert sum(DEFAULT_WEIGHTS.values()) == pytest.approx(1.0)


@pytest.mark.parametrize("name", ["answer_fl", "no.such.module", "math.nothing", "math.pi"])
def test_unknown_rewards_are_named(name):
    with pytest.raises(OptionError, match="reward="):
        reward_by_name(name)


# ---- guard --------------------------------------------------------------------------------------


def call(reward, n=2, **columns):
    return guard_reward(reward)(completions=["x"] * n, prompts=["p"] * n, **columns)


def test_guard_says_what_a_reward_raised_and_on_which_rows():
    def broken(completions, **kwargs):
        raise KeyError("label")

    with pytest.raises(RewardError, match=r"'broken' raised KeyError: 'label' on rows a/1, a/2\b"):
        call(broken, n=3, id=["a/1", "a/1", "a/2"])
    with pytest.raises(RewardError, match=r"raised KeyError: 'label'\. .*check_reward") as caught:
        call(broken)
    assert isinstance(caught.value.__cause__, KeyError)


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ([1.0], "returned 1 rewards for 2 completions"),
        (1.0, "returned float, not a list"),
        (None, "returned NoneType, not a list"),
        ("ab", "returned str, not a list"),
        ([1.0, "good"], r"returned 'good' \(str\).* on rows r/1\."),
        ([1.0, [2.0]], "no finite number"),
        ([math.inf, 1.0], r"returned inf .* on rows r/0\."),
    ],
)
def test_guard_names_a_wrong_result(value, match):
    with pytest.raises(RewardError, match=match):
        call(lambda completions, **kwargs: value, id=["r/0", "r/1"])


@pytest.mark.parametrize(
    "value", [[1, None], (True, None), np.array([1.0, np.nan]), iter([np.float32(1), None])]
)
def test_guard_takes_numbers_of_any_kind(value):
    first, second = call(lambda completions, **kwargs: value)
    assert first == 1.0
    assert second is None or math.isnan(second)


def test_guard_keeps_name_and_bounds():
    class Judge:
        reward_bounds = (-1, 1)

        def __call__(self, completions, **kwargs):
            return [0.0] * len(completions)

    assert guard_reward(answer_f1).__name__ == "answer_f1"
    assert guard_reward(functools.partial(answer_f1, extra=1)).__name__ == "answer_f1"
    assert guard_reward(Judge()).__name__ == "Judge"
    assert reward_bounds(guard_reward(Judge())) == (-1.0, 1.0)
    assert reward_bounds(guard_reward(answer_f1)) == (0.0, 1.0)


def test_guard_of_an_async_reward_is_async():
    async def slow(completions, **kwargs):
        raise OSError("server is gone")

    with pytest.raises(RewardError, match="'slow' raised OSError: server is gone"):
        asyncio.run(guard_reward(slow)(completions=["x"]))


@pytest.mark.parametrize("bounds", [(1, 0), (0, 0), (0,), "01", (0, math.inf), (None, 1)])
def test_bounds_that_are_none_are_named(bounds):
    def rated(completions, **kwargs):
        return []

    rated.reward_bounds = bounds
    with pytest.raises(OptionError, match=r"reward_bounds=.*'rated'"):
        guard_reward(rated)


# ---- dry run ------------------------------------------------------------------------------------


def test_check_reward_calls_as_the_trainer_would(make_dataset):
    tried = check_reward(answer_f1, make_dataset(), n=2)
    assert tried == {"gold": [1.0, 1.0], "unboxed": [0.0, 0.0], "empty": [0.0, 0.0]}


def test_check_reward_shows_a_fault(make_dataset):
    def picky(completions, *, answer):
        return [1.0] * len(completions)

    with pytest.raises(RewardError, match=r"'picky' raised TypeError.* on rows made/0, made/1"):
        check_reward(picky, make_dataset(), n=2)
    with pytest.raises(OptionError, match="no row"):
        check_reward(answer_f1, [])
