"""The weights, on cases small enough to work out by hand."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from climb_hf.errors import CheckpointError, OptionError
from climb_hf.trainers.drpo_scaling import (
    RULES,
    DomainScaler,
    ScalingOptions,
    cluster,
    elbow,
    farthest_first,
    resample,
    spread,
    unit_weights,
)


def seen(vectors, domains, **options):
    scaler = DomainScaler("drpo", ScalingOptions(**options))
    vectors = np.array(vectors, dtype=float)
    scaler.observe(vectors, domains)
    return scaler, scaler.weights(vectors, domains)


# ---- formulas -----------------------------------------------------------------------------------


def test_resample_sorts_a_full_vector():
    assert resample(np.array([0.5, 0.0, 1.0]), 3).tolist() == [0.0, 0.5, 1.0]


def test_resample_repeats_where_rollouts_have_no_reward():
    vector = np.array([1.0, np.nan, 0.0, np.nan])
    assert resample(vector, 4).tolist() == [0.0, 0.0, 1.0, 1.0]


def test_resample_to_fewer_keeps_the_mean():
    # Quantile function 0 on [0, 1/3], .3 on [1/3, 2/3], .9 on [2/3, 1]; mean over each half:
    # (.3 / 6) / .5 = .1 and (.3 / 6 + .9 / 3) / .5 = .7.
    assert resample(np.array([0.3, 0.9, 0.0]), 2) == pytest.approx([0.1, 0.7], abs=1e-15)


@pytest.mark.parametrize(
    ("inertias", "k"),
    [
        ([5.0], 1),
        ([5.0, 1.0], 2),
        ([10.0, 2.0, 1.5, 1.49], 2),  # gains 8, .5: .5 < .8
        ([10.0, 6.0, 3.0, 2.9], 3),  # gains 4, 3, .1: 3 >= .4, .1 < .3
        ([10.0, 6.0, 3.0], 3),  # gains 4, 3: no bend
    ],
)
def test_elbow(inertias, k):
    assert elbow(inertias) == k


def test_farthest_first_takes_the_ends_before_the_middle():
    points = np.array([[0.0], [4.0], [9.0]])
    assert farthest_first(points, 3).tolist() == [[0.0], [9.0], [4.0]]


def test_cluster_separates_two_kinds_of_question():
    vectors = np.array([[0.0, 0.1]] * 3 + [[0.9, 1.0]])
    found = cluster(vectors, 3)
    assert found.centres == pytest.approx(np.array([[0.0, 0.1], [0.9, 1.0]]))
    assert found.shares == (0.75, 0.25)
    assert found.means == pytest.approx((0.05, 0.95))


def test_unit_weights_have_geometric_mean_one_until_clipped():
    # Logs 0 and log 9, centre log 3: 1/3 and 3; clipped to [1/2, 2].
    logs = [0.0, math.log(9)]
    assert unit_weights(logs, 10) == pytest.approx([1 / 3, 3])
    assert unit_weights(logs, 2) == pytest.approx([0.5, 2])


@pytest.mark.parametrize("n", [1, 2, 5, 100])
def test_spread_is_a_permutation(n):
    assert sorted(spread(n).tolist()) == list(range(n))


# ---- weights ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_hand_computed_two_clusters(strength):
    # N_g and mu_g are shared. Hard: N 3, mu 1/4. Easy: N 1, mu 1.
    # w_hard / w_easy = (1 / (sqrt 3 / 4)) ** strength = r; geometric mean 1 over 3 hard and 1 easy
    # gives w_hard = r ** (1/4), w_easy = r ** (-3/4).
    vectors = [[1, 1, 1, 1], [0, 0, 0, 1], [0, 1, 0, 0], [1, 0, 0, 0]]
    _, weights = seen(vectors, ["ecg"] * 4, strength=strength)
    r = (4 / math.sqrt(3)) ** strength
    assert weights == pytest.approx([r**-0.75, r**0.25, r**0.25, r**0.25], rel=1e-14)


def test_one_domain_and_one_cluster_weigh_all_alike():
    _, weights = seen([[0.2, 0.7]] * 5, ["ecg"] * 5)
    assert weights == pytest.approx([1.0] * 5, abs=1e-15)
    _, weights = seen([[0, 1], [1, 1], [0, 0]], ["ecg"] * 3, k_max=1)
    assert weights == pytest.approx([1.0] * 3, abs=1e-15)


@pytest.mark.parametrize(("strength", "ratio"), [(1.0, 4.0), (0.5, 2.0)])
def test_the_rarer_domain_weighs_more(strength, ratio):
    # One cluster each: T_g T_c = N mu^2, N 4 and 1, mu equal: the ratio is 4 ** strength. With 4
    # common questions and 1 rare one: ratio ** (-1/5) and ratio ** (4/5).
    _, weights = seen([[0.5, 0.5]] * 5, ["a"] * 4 + ["b"], strength=strength)
    assert weights == pytest.approx([ratio**-0.2] * 4 + [ratio**0.8], rel=1e-14)


def test_the_harder_domain_weighs_more():
    # N 2 and 2; mu 1 and 1/4: (16) ** .5 = 4 apart, so 1/2 and 2.
    _, weights = seen([[1, 1]] * 2 + [[0.25, 0.25]] * 2, ["easy"] * 2 + ["hard"] * 2)
    assert weights == pytest.approx([0.5, 0.5, 2, 2], rel=1e-14)


def test_zero_mean_reward_is_floored_and_clipped():
    # mu .05 and 1, N 1: 400 ** .5 = 20 apart, so 20 ** -.5 and 20 ** .5.
    _, weights = seen([[0, 0], [1, 1]], ["hard", "easy"])
    assert weights == pytest.approx([20**0.5, 20**-0.5], rel=1e-14)
    # At strength 1 they are 400 apart: 20 and 1/20, clipped.
    _, weights = seen([[0, 0], [1, 1]], ["hard", "easy"], strength=1.0)
    assert weights == pytest.approx([10, 0.1], rel=1e-14)


def test_counts_go_on_beyond_the_window():
    # "a" is seen 8 times with a window of 2, "b" twice: N 8 and 2, the rest equal: 4 ** .5 = 2
    # apart, so 2 ** -.5 and 2 ** .5.
    scaler = DomainScaler("drpo", ScalingOptions(window=2))
    one = np.full((1, 4), 0.5)
    for domain in "aaaaaaaabb":
        scaler.observe(one, [domain])
    weights = scaler.weights(np.full((2, 4), 0.5), ["a", "b"])
    assert weights == pytest.approx([2**-0.5, 2**0.5], rel=1e-14)
    assert scaler.summary()["count/a"] == 8


def test_a_question_without_rewards_is_neutral():
    vectors = [[1, 1], [np.nan, np.nan], [0.25, 0.25]]
    scaler, weights = seen(vectors, ["easy", "hard", "hard"])
    # Without it: N 1 and 1, mu 1 and 1/4: 16 ** .5 = 4 apart.
    assert weights == pytest.approx([0.5, 1.0, 2.0], rel=1e-14)
    assert scaler.summary()["count/hard"] == 1


def test_other_numbers_of_rollouts_fit_in():
    scaler, _ = seen([[0, 1, 0, 1]], ["ecg"])
    wider = np.array([[0, 1, 0, 1, 0, 1, 0, 1]])
    scaler.observe(wider, ["ecg"])
    assert scaler.summary() == {"count/ecg": 2.0, "mu/ecg": 0.5, "k/ecg": 1.0}


def test_no_scaling_weighs_all_alike():
    scaler = DomainScaler("none")
    vectors = np.array([[0.0, 1.0], [1.0, 1.0]])
    scaler.observe(vectors, ["a", "b"])
    assert scaler.weights(vectors, ["a", "b"]).tolist() == [1.0, 1.0]


def test_memory_is_bounded():
    scaler = DomainScaler("drpo", ScalingOptions(window=8))
    generator = np.random.default_rng(0)
    for _ in range(50):
        scaler.observe(generator.random((5, 4)), ["a", "a", "a", "b", "b"])
    sizes = {name: len(one["vectors"]) for name, one in scaler.state_dict()["domains"].items()}
    assert sizes == {"a": 8, "b": 8}


def test_a_step_larger_than_the_window_leaves_an_even_sample():
    scaler = DomainScaler("drpo", ScalingOptions(window=100))
    rewards = np.repeat(np.linspace(0, 1, 1000)[:, None], 2, axis=1)
    scaler.observe(rewards, ["a"] * 1000)
    # 100 of 1000 evenly spread values: the mean is .5 within one spacing, 1 / 100.
    assert scaler.summary()["mu/a"] == pytest.approx(0.5, abs=0.01)


# ---- invariance ---------------------------------------------------------------------------------

rewards_and_orders = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(
            st.lists(
                st.sampled_from([0.0, 0.1, 1 / 3, 0.5, 0.9, 1.0, math.nan]), min_size=4, max_size=4
            ),
            min_size=n,
            max_size=n,
        ),
        st.lists(st.sampled_from(["ecg", "ct", "mri"]), min_size=n, max_size=n),
        st.permutations(range(n)),
        st.lists(st.permutations(range(4)), min_size=n, max_size=n),
    )
)


@settings(max_examples=60, deadline=None)
@given(st.lists(rewards_and_orders, min_size=1, max_size=4))
def test_no_order_of_rows_or_rollouts_changes_a_bit(steps):
    straight, shuffled = (DomainScaler("drpo", ScalingOptions(window=6)) for _ in range(2))
    for rewards, domains, rows, rollouts in steps:
        vectors = np.array(rewards)
        straight.observe(vectors, domains)
        weights = straight.weights(vectors, domains)
        mixed = np.array([vectors[row][rollouts[row]] for row in rows])
        mixed_domains = [domains[row] for row in rows]
        shuffled.observe(mixed, mixed_domains)
        mixed_weights = shuffled.weights(mixed, mixed_domains)
        assert mixed_weights.tolist() == weights[rows].tolist()
        assert np.isfinite(weights).all() and (weights > 0).all()
        assert weights.min() >= 0.1 * (1 - 1e-12) and weights.max() <= 10 * (1 + 1e-12)
    assert json.dumps(straight.state_dict()) == json.dumps(shuffled.state_dict())


# ---- state --------------------------------------------------------------------------------------


def test_state_survives_json_bit_for_bit():
    generator = np.random.default_rng(1)
    first = DomainScaler()
    domains = ["ecg", "ct", "ecg", "mri", "ecg"]
    first.observe(generator.random((5, 8)), domains)
    second = DomainScaler()
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.state_dict() == first.state_dict()
    further = generator.random((5, 8))
    for scaler in (first, second):
        scaler.observe(further, domains)
    assert second.weights(further, domains).tolist() == first.weights(further, domains).tolist()
    assert second.state_dict() == first.state_dict()


@pytest.mark.parametrize(
    ("rule", "options", "named"),
    [("none", {}, "domain_scaling 'drpo'"), ("drpo", {"window": 9}, "window 512 \\(now 9\\)")],
)
def test_state_of_another_configuration_is_refused(rule, options, named):
    other = DomainScaler(rule, ScalingOptions(**options))
    with pytest.raises(CheckpointError, match=named):
        other.load_state_dict(DomainScaler().state_dict())


@pytest.mark.parametrize(
    "domains",
    [
        {"ecg": {"count": 1}},
        {"ecg": {"count": 1, "vectors": [[0.5]]}},
        {"ecg": {"count": 1, "vectors": [[0.5, 0.5], [0.5, 0.5]]}},
        {"ecg": {"count": 1, "vectors": [[0.5, None]]}},
        None,
    ],
)
def test_damaged_state_is_refused_and_changes_nothing(domains):
    scaler, _ = seen([[0, 1]], ["ecg"])
    before = scaler.state_dict()
    with pytest.raises(CheckpointError, match="damaged"):
        scaler.load_state_dict({**before, "domains": domains})
    assert scaler.state_dict() == before


# ---- options ------------------------------------------------------------------------------------


def test_unknown_rule_names_those_there_are():
    with pytest.raises(OptionError, match=r"'none', 'drpo'.*Did you mean 'drpo'"):
        DomainScaler("drop")
    assert {"none", "drpo", "drpo_paper", "drpo_released", "disco"} <= set(RULES)


@pytest.mark.parametrize(
    "options",
    [
        {"strength": 0.0},
        {"strength": 1.5},
        {"strength": math.nan},
        {"k_max": 0},
        {"k_max": 2.0},
        {"window": 0},
        {"window": True},
        {"max_weight": 1.0},
        {"mean_floor": 0},
        {"mean_floor": "low"},
    ],
)
def test_options_out_of_range_are_named(options):
    (name,) = options
    with pytest.raises(OptionError, match=f"^{name}="):
        ScalingOptions(**options)


def test_rewards_off_the_scale_are_refused():
    with pytest.raises(OptionError, match=r"-0.5 to 1.0.*\[0, 1\]"):
        DomainScaler().observe(np.array([[-0.5, 1.0]]), ["ecg"])


def test_shapes_that_disagree_are_refused():
    with pytest.raises(OptionError, match="one row for each domain"):
        DomainScaler().observe(np.zeros((2, 4)), ["ecg"])


def test_weights_of_an_unseen_domain_are_refused():
    with pytest.raises(OptionError, match="'ct' was never observed"):
        DomainScaler().weights(np.zeros((1, 4)), ["ct"])
