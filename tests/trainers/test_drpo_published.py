"""The paper's form by hand, and the released form against recorded outputs of the authors' code."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from climb_hf.trainers import DomainScaler, ScalingOptions
from climb_hf.trainers.drpo_advantages import kl_damping, over_std

RECORDED = Path(__file__).parents[1] / "reference" / "drpo_released.json"
CASES = {case["name"]: case for case in json.loads(RECORDED.read_text(encoding="utf-8"))["cases"]}
POSITIVE = ("separated", "set_f1", "continuous", "one_domain")


def steps_of(name):
    """Rewards, domains and recorded advantages of each step; NaN where theirs were not finite."""
    case = CASES[name]
    for step, recorded in zip(case["steps"], case["advantages"], strict=True):
        yield np.array(step["rewards"]), step["domains"], np.array(recorded, dtype=float)


# ---- released -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", POSITIVE)
def test_released_equals_the_recorded_outputs(name):
    scaler = DomainScaler("drpo_released")
    for rewards, domains, recorded in steps_of(name):
        weights = scaler.step(rewards, domains)
        assert scaler.advantages(rewards, weights) == pytest.approx(recorded, abs=1e-6)


def test_the_recorded_cases_are_all_looked_at():
    assert set(CASES) == {*POSITIVE, "zero_cluster", "negative"}


def test_a_cluster_of_zeros_leaves_ours_finite_where_theirs_turns_the_batch_nan():
    ((rewards, domains, recorded),) = steps_of("zero_cluster")
    assert np.isnan(recorded).all()
    zero = np.flatnonzero((rewards == 0).all(axis=1))
    assert len(zero) == 4
    for rule in ("drpo_released", "drpo_paper", "drpo"):
        scaler = DomainScaler(rule, ScalingOptions(kl_damping=False))
        ours = scaler.advantages(rewards, scaler.step(rewards, domains))
        assert np.isfinite(ours).all()
        assert not ours[zero].any()
        others = np.delete(np.arange(len(rewards)), zero)
        centred = rewards[others] - rewards[others].mean(axis=1, keepdims=True)
        assert (np.sign(ours[others]) == np.sign(centred)).all()


def test_negative_rewards_keep_the_sign_in_ours_where_theirs_inverts_it():
    ((rewards, domains, recorded),) = steps_of("negative")
    assert (rewards < 0).all()
    best, worst = rewards.argmax(axis=1), rewards.argmin(axis=1)
    rows = np.arange(len(rewards))
    assert (recorded[rows, best] < 0).all() and (recorded[rows, worst] > 0).all()
    for rule in ("drpo_released", "drpo_paper", "drpo"):
        scaler = DomainScaler(rule, ScalingOptions(kl_damping=False))
        weights = scaler.step(rewards + 1, domains)  # on the scale from -1 to 0
        ours = scaler.advantages(rewards, weights)
        assert (ours[rows, best] > 0).all() and (ours[rows, worst] < 0).all()


def test_released_remembers_everything_in_its_state():
    straight, restored = DomainScaler("drpo_released"), DomainScaler("drpo_released")
    (first, domains, _), (second, more, recorded), _ = steps_of("separated")
    straight.step(first, domains)
    restored.load_state_dict(json.loads(json.dumps(straight.state_dict())))
    ours = restored.advantages(second, restored.step(second, more))
    assert ours == pytest.approx(recorded, abs=1e-6)


# ---- paper --------------------------------------------------------------------------------------


def paper(**options):
    return DomainScaler("drpo_paper", ScalingOptions(**options))


def test_paper_by_hand():
    # Domain a: N 4, mu 7/16; its clusters {(1, 1, 1, 1)} with N 1, mu 1, and three (0, 0, 0, 1)
    # with N 3, mu 1/4. Domain b: one question, N 1, mu 1/2 at both levels.
    vectors = np.array([[1.0] * 4] + [[0.0, 0.0, 0.0, 1.0]] * 3 + [[0.0, 0.0, 1.0, 1.0]])
    found = paper().step(vectors, ["a"] * 4 + ["b"])
    hard = 1 / (2 * 7 / 16 * math.sqrt(3) / 4)
    rare = 1 / (0.5 * 0.5)
    # Geometric mean 1 over the questions whose rollouts differ: three hard ones and the rare one.
    centre = (hard**3 * rare) ** 0.25
    assert found[1:] == pytest.approx([hard / centre] * 3 + [rare / centre], rel=1e-12)
    assert found[0] == pytest.approx(1 / (2 * 7 / 16) / centre, rel=1e-12)


def test_paper_counts_this_batch_alone():
    # After 100 questions of a, a batch with one of each: N 1 and 1.
    scaler = paper()
    half = [0.0, 0.0, 1.0, 1.0]
    scaler.observe(np.array([half] * 100), ["a"] * 100)
    assert scaler.step(np.array([half, half]), ["a", "b"]).tolist() == [1.0, 1.0]


def test_paper_neither_tempers_nor_clips():
    # N 400 and 1, one cluster each, mu equal: N ** -1 apart.
    vectors = np.array([[0.0, 1.0]] * 401)
    found = paper().step(vectors, ["a"] * 400 + ["b"])
    assert found[-1] / found[0] == pytest.approx(400, rel=1e-12)


def test_paper_finds_more_clusters_than_ours():
    levels = np.repeat(np.linspace(0.05, 0.95, 7)[:, None], 4, axis=1)
    vectors = np.repeat(levels, 3, axis=0)
    vectors[:, -1] = np.minimum(vectors[:, -1] + 0.01, 1.0)
    scaler = paper()
    scaler.step(vectors, ["a"] * len(vectors))
    assert scaler.summary()["k/a"] > 3


# ---- KL damping ---------------------------------------------------------------------------------


def test_damping_by_hand():
    # s k = -2, 1, 3, 0: those above 0 are 1 and 3, whose .75 quantile is 2.5.
    scaled, kl = np.array([-1.0, 1.0, 1.0, 1.0]), np.array([2.0, 1.0, 3.0, 0.0])
    expected = [1.0, 2.5 / 3.5, 2.5 / 5.5, 1.0]
    assert kl_damping(scaled, kl) == pytest.approx(expected, rel=1e-14)


@given(
    st.lists(
        st.tuples(st.floats(-100, 100), st.floats(0, 1e4)), min_size=1, max_size=20
    )
)  # fmt: skip
def test_damping_only_ever_shrinks_what_is_rewarded_and_far(pairs):
    scaled, kl = np.array(pairs).T
    factor = kl_damping(scaled, kl)
    assert ((factor > 0) & (factor <= 1)).all()
    assert (factor[scaled * kl <= 0] == 1).all()


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_damping_does_not_depend_on_the_scale_of_either(of_scores, of_kl):
    scaled, kl = np.array([-1.0, 0.5, 1.0, 2.0]), np.array([1.0, 0.1, 2.0, 0.0])
    again = kl_damping(of_scores * scaled, of_kl * kl)
    assert again == pytest.approx(kl_damping(scaled, kl), rel=1e-9)


def test_a_policy_that_is_the_reference_is_not_damped():
    assert kl_damping(np.array([1.0, -1.0]), np.zeros(2)).tolist() == [1.0, 1.0]


def test_paper_damps_before_the_deviation_of_the_batch():
    rewards = np.array([[0.0, 0.0, 1.0, 1.0]])
    kl = np.array([[0.0, 0.0, 1.0, 3.0]])
    found = paper().advantages(rewards, np.ones(1), kl)
    # s = ±.5 / std, std = 1 / sqrt 3; s k in the ratio 1 : 3 has the quantile 2.5.
    s = 0.5 / (1 / math.sqrt(3) + 1e-4)
    damped = np.array([-s, -s, s * 2.5 / 3.5, s * 2.5 / 5.5])
    assert found.ravel() == pytest.approx(over_std(damped, np.ones(4, dtype=bool)), rel=1e-12)


def test_paper_needs_a_divergence_only_with_damping():
    assert paper().rule.needs_kl
    assert not paper(kl_damping=False).rule.needs_kl


# ---- properties of both -------------------------------------------------------------------------

rewards_of = st.lists(
    st.lists(st.sampled_from([0.0, 0.1, 1 / 3, 0.9, 1.0]), min_size=4, max_size=4),
    min_size=1,
    max_size=8,
)


@pytest.mark.parametrize("rule", ["drpo_paper", "drpo_released"])
@settings(max_examples=15, deadline=None)
@given(data=st.data(), rewards=rewards_of)
def test_signs_are_kept_and_nothing_is_infinite_whatever_the_rewards(rule, data, rewards):
    domains = data.draw(
        st.lists(
            st.sampled_from(["ecg", "ct"]), min_size=len(rewards), max_size=len(rewards)
        )
    )  # fmt: skip
    vectors = np.array(rewards)
    scaler = DomainScaler(rule, ScalingOptions(kl_damping=False))
    weights = scaler.step(vectors, domains)
    assert (weights > 0).all() and np.isfinite(weights).all()
    found = scaler.advantages(vectors, weights)
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    clear = np.abs(centred) > 1e-9
    assert np.isfinite(found).all()
    assert (np.sign(found[clear]) == np.sign(centred[clear])).all()


@settings(max_examples=30, deadline=None)
@given(rewards=rewards_of, scale=st.sampled_from([0.25, 0.5]))
def test_paper_does_not_depend_on_the_scale_of_rewards(rewards, scale):
    """All mu by one factor: a factor of every weight, which cancels. Up to eps, so mu above it."""
    vectors = np.maximum(np.array(rewards), 0.1)
    domains = ["ecg", "ct"] * 4
    one = paper().step(vectors, domains[: len(vectors)])
    other = paper().step(scale * vectors, domains[: len(vectors)])
    assert other == pytest.approx(one, rel=1e-9)
