"""What a run says: in words at its start, and once of each thing that a user can act on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from climb_hf.trainers.drpo_log import Watch, doubts, effective_share, run_in_words

FLAT, USEFUL = [1.0, 1.0], [0.0, 1.0]


@pytest.fixture
def said():
    return []


@pytest.fixture
def watch(said):
    return Watch(said.append, SimpleNamespace(temperature=1.0, num_generations=8))


def see(watch, vectors, domains, weights, times=12):
    for _ in range(times):
        watch.see(np.array(vectors), domains, np.array(weights, dtype=float))


# ---- figures ------------------------------------------------------------------------------------


def test_effective_share_by_hand():
    vectors = np.array([USEFUL, USEFUL, FLAT])
    # The third teaches nothing: (3 + 1)^2 / (2 (9 + 1)).
    assert effective_share(vectors, np.array([3.0, 1.0, 99.0])) == pytest.approx(0.8)
    assert effective_share(vectors[:2], np.ones(2)) == 1.0
    assert np.isnan(effective_share(vectors[2:], np.ones(1)))


# ---- warnings -----------------------------------------------------------------------------------


def test_most_questions_without_variance_are_warned_of_once_with_the_domain(watch, said):
    domains = ["ecg", "ecg", "ct", "ct"]
    see(watch, [FLAT, USEFUL, FLAT, USEFUL], domains, [1, 1, 1, 1])
    assert said == []  # half is not over half
    see(watch, [FLAT, FLAT, FLAT, USEFUL, USEFUL], [*domains, "ecg"], [1] * 5, times=30)
    (message,) = said
    assert message.startswith("51% of the questions")  # 21 of 41, once the first such is seen
    assert "ct 50%, ecg 52%" in message
    assert "temperature (1.0)" in message and "num_generations (8)" in message


def test_a_batch_that_rests_on_few_questions_is_warned_of(watch, said):
    vectors, domains = [USEFUL] * 4, ["ecg", "ecg", "ct", "ct"]
    # (1 + 3 w)^2 / (4 (1 + 3 w^2)): .41 with w = .1 and .33 with w = .05.
    see(watch, vectors, domains, [1, 0.1, 0.1, 0.1])
    assert said == []
    see(watch, vectors, domains, [1, 0.05, 0.05, 0.05], times=30)
    (message,) = said
    assert "questions effective" in message and "domain_sampling_power" in message


def test_a_domain_with_all_the_weight_is_warned_of(watch, said):
    see(watch, [USEFUL, FLAT, FLAT, USEFUL], ["ecg", "ct", "ct", "ecg"], [1, 9, 9, 1])
    (message,) = said
    assert "'ecg' had 100% of all weight" in message and "50% of the questions" in message
    assert "(ct)" in message


def test_one_domain_alone_has_all_the_weight_rightly(watch, said):
    see(watch, [USEFUL, USEFUL], ["ecg", "ecg"], [1, 1])
    assert said == []


def test_nothing_is_said_before_there_is_enough_to_judge_by(watch, said):
    see(watch, [FLAT, FLAT], ["ecg", "ct"], [1, 1], times=4)
    assert said == []


def test_rewards_out_of_their_bounds_are_warned_of_once_for_each_function(watch, said):
    rewards = np.array([[0.5, -1.0], [2.0, np.nan], [3.0, 0.0]])
    for _ in range(3):
        watch.rewards(rewards, [(0, 1), (-1, 0)], ["graded", "penalty"])
    (message,) = said
    assert "'graded' gave 2, outside its bounds (0, 1); 2 of 3" in message
    assert "reward_bounds" in message


def test_a_domain_that_was_never_asked_is_named_at_the_end(watch, said):
    watch.unseen(["ecg"] * 98 + ["ct", "mri"], ["ecg", "ct"], asked=40)
    (message,) = said
    assert "asked 40 questions and none of: mri (1 of 100 rows)" in message


def test_a_run_that_asked_all_says_nothing(watch, said):
    watch.unseen(["ecg", "ct"], ["ecg", "ct", "older"], asked=40)
    assert said == []


# ---- at the start -------------------------------------------------------------------------------


def test_a_run_in_words_counts_questions_and_not_completions(make_config):
    # 8 completions a device x 2 micro-steps = 16, of 4 for each question: 4 questions, 1 step.
    args = make_config(gradient_accumulation_steps=2)
    words = run_in_words(args, max_steps=10, rows=80)
    assert "asks 4 questions 4 times (16 completions = 8 a device x 1 process x 2 micro-" in words
    assert "serves 1 optimizer step." in words
    assert "10 steps: 40 questions asked, 0.5 times through its 80 rows." in words


def test_a_generation_that_serves_several_steps_asks_less(make_config):
    # One generation of 8 completions x 2 micro-steps serves 2 iterations of 2 steps each.
    args = make_config(steps_per_generation=2, num_iterations=2)
    words = run_in_words(args, max_steps=8, rows=None)
    assert "serves 4 optimizer steps" in words
    assert "8 steps: 8 questions asked." in words


def test_a_generation_of_one_question_is_doubted(make_config):
    (doubt,) = doubts(make_config(per_device_train_batch_size=4), ["ecg", "ct"], 10)
    assert "asks 1 question" in doubt
    one = make_config(per_device_train_batch_size=4, domain_scaling="none")
    assert doubts(one, ["ecg", "ct"], 10) == []


def test_a_data_set_of_one_domain_is_doubted(make_config):
    (doubt,) = doubts(make_config(), ["ecg"] * 5, 10)
    assert "all rows are of one domain, 'ecg'" in doubt


def test_a_domain_too_rare_for_the_run_is_doubted(make_config):
    domains = ["ecg"] * 99 + ["ct"]
    (doubt,) = doubts(make_config(), domains, 50)
    assert "none of: ct (1 of 100 rows, 0.5 expected)" in doubt
    assert doubts(make_config(domain_sampling_power=1.0), domains, 50) == []
    assert doubts(make_config(), domains, 100) == []
