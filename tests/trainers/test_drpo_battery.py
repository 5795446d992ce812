"""Every rule passes the battery, and the battery catches rules that it should."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from climb_hf.errors import CheckFailedError, OptionError
from climb_hf.trainers import Rule, check_rule
from climb_hf.trainers.drpo_rules import RULES
from climb_hf.trainers.drpo_testing import CHECKS, parametrize_rules


@parametrize_rules()
def test_rule(rule, check):
    check(rule)


class Fine(Rule):
    def log_weights(self, batch, memory):
        return [-math.log(memory[domain].count) for domain in batch.domains]


class ByPlace(Rule):
    """Weighs by the place in the batch."""

    in_order = True

    def weights(self, batch, memory):
        return np.arange(1, len(batch.domains) + 1)


class Negative(Rule):
    def weights(self, batch, memory):
        return [-1.0] * len(batch.domains)


class Drawn(Rule):
    """Draws its weights."""

    def log_weights(self, batch, memory):
        return [random.random() for _ in batch.domains]


class Forgetful(Rule):
    """Counts steps, and does not save their number."""

    def __init__(self, options):
        super().__init__(options)
        self.steps = 0

    def observe(self, batch):
        self.steps += 1

    def log_weights(self, batch, memory):
        return [self.steps * 0.01 * (domain == "ecg") for domain in batch.domains]


class Hoarder(Rule):
    """Keeps everything."""

    def __init__(self, options):
        super().__init__(options)
        self.seen = []

    def observe(self, batch):
        self.seen += batch.vectors.tolist()

    def log_weights(self, batch, memory):
        return [0.0] * len(batch.domains)

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state, length):
        self.seen = list(state["seen"])


class Inverted(Rule):
    def log_weights(self, batch, memory):
        return [0.0] * len(batch.domains)

    def advantages(self, rewards, weights, kl=None):
        return -super().advantages(rewards, weights, kl)


class Leaky(Rule):
    """Gives rollouts of equal rewards a small advantage."""

    def log_weights(self, batch, memory):
        return [0.0] * len(batch.domains)

    def advantages(self, rewards, weights, kl=None):
        return super().advantages(rewards, weights, kl) + 1e-9


@pytest.fixture
def entered(monkeypatch):
    def enter(rule):
        monkeypatch.setitem(RULES, "tried", rule)
        return "tried"

    return enter


def test_a_rule_of_ones_own_passes(entered):
    assert check_rule(entered(Fine)) == dict.fromkeys(CHECKS, "")


def test_what_does_not_apply_is_said():
    found = check_rule("drpo_released")
    assert {name for name, reason in found.items() if reason} == {
        "no_order_of_rows_matters",
        "no_order_of_rollouts_matters",
        "the_state_stops_growing",
    }


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        (ByPlace, "fails equal_questions_count_the_same"),
        (Drawn, "fails equal_questions_count_the_same"),
        (Forgetful, "fails a_restored_state_goes_on_the_same"),
        (Hoarder, "fails the_state_stops_growing"),
        (Inverted, "fails advantages_keep_their_sign"),
        (Leaky, "fails equal_rewards_teach_nothing"),
    ],
)
def test_a_faulty_rule_is_caught(entered, rule, match):
    with pytest.raises(CheckFailedError, match=match):
        check_rule(entered(rule))


def test_weights_that_are_none_are_refused_wherever_they_are_asked_for(entered):
    with pytest.raises(OptionError, match=r"'tried' gave .* positive, finite"):
        check_rule(entered(Negative))
