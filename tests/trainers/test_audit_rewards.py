"""What answers that know nothing are paid."""

from __future__ import annotations

import pytest

from climb_hf.trainers.audit_rewards import audit_rewards
from climb_hf.trainers.drpo_rewards import answer_f1, answer_format, length_cap

ROWS = [
    {"domain": "ecg", "answer": gold, "options": ["normal", "block"], "answer_type": "choice"}
    for gold in ("normal", "normal", "normal", "block")
]


@pytest.fixture
def lines():
    found = audit_rewards([answer_f1, answer_format, length_cap], [0.6, 0.2, 0.2], ROWS)
    return {line["reward"]: line for line in found}


def test_the_constant_answer_gets_the_share_of_the_commonest(lines):
    assert lines["answer_f1"]["constant"] == 0.75


def test_naming_all_options_gets_two_thirds_of_a_choice_of_two(lines):
    assert lines["answer_f1"]["all"] == pytest.approx(2 / 3, abs=1e-4)


def test_the_gold_answer_gets_everything(lines):
    assert {line["gold"] for line in lines.values()} == {1.0}


def test_saying_none_is_paid_for_its_form_and_length_only(lines):
    assert lines["total"]["none"] == lines["total"]["free"] == pytest.approx(0.2 * 0.5 + 0.2)


def test_padding_is_paid_nothing(lines):
    assert lines["total"]["padded"] == 0.0
