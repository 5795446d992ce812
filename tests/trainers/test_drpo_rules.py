"""Each rule by hand, on cases small enough to work out, and rules of one's own."""

from __future__ import annotations

import json
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans

from climb_hf.errors import OptionError
from climb_hf.trainers import DomainScaler, Rule, ScalingOptions, register_rule
from climb_hf.trainers.drpo_clusters import cluster, nested_kmeans, row_order, unique_rows
from climb_hf.trainers.drpo_rules import RULES, rule_class


def weights_of(rule, vectors, domains, groups=None, **options):
    scaler = DomainScaler(rule, ScalingOptions(**options))
    return scaler.step(np.array(vectors, dtype=float), domains, groups)


def with_geometric_mean_one(raw):
    """What every bounded rule makes of its raw weights."""
    centre = math.exp(math.fsum(math.log(one) for one in raw) / len(raw))
    return pytest.approx([one / centre for one in raw], rel=1e-12)


EASY, HALF, HARD = [1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0]


# ---- clusters -----------------------------------------------------------------------------------

unit = st.floats(0, 1, allow_nan=False)
matrices = st.integers(1, 5).flatmap(
    lambda length: st.lists(st.lists(unit, min_size=length, max_size=length), min_size=1)
)


@given(matrices)
def test_row_order_is_the_order_of_tuples(rows):
    matrix = np.array(rows) + 0.0  # no -0.0, as everywhere
    assert matrix[row_order(matrix)].tolist() == sorted(matrix.tolist())


@given(matrices)
def test_unique_rows_keep_every_row_once_with_its_count(rows):
    points, counts = unique_rows(np.array(rows) + 0.0)
    expected, their_counts = np.unique(np.array(rows) + 0.0, axis=0, return_counts=True)
    assert points.tolist() == expected.tolist()
    assert counts.tolist() == their_counts.tolist()


def test_well_separated_questions_cluster_as_in_scikit_learn():
    random = np.random.default_rng(0)
    levels = random.choice([0.1, 0.5, 0.9], size=(200, 1))
    vectors = np.sort(np.clip(levels + random.normal(0, 0.02, size=(200, 6)), 0, 1), axis=1)
    ours = cluster(vectors, 3)
    theirs = KMeans(3, n_init=10, random_state=0).fit(vectors)
    order = np.argsort(theirs.cluster_centers_[:, 0])
    assert np.sort(ours.centres, axis=0) == pytest.approx(theirs.cluster_centers_[order], abs=1e-9)
    assert sorted(ours.shares) == pytest.approx(sorted(np.bincount(theirs.labels_) / 200))


def test_points_with_counts_cluster_as_their_copies():
    points = np.array([[0.0, 0.1], [0.2, 0.3], [0.9, 1.0]])
    counts = np.array([3, 1, 2])
    starts = points[[0, 2]]
    with_counts = nested_kmeans(points, counts, starts)
    copied = nested_kmeans(np.repeat(points, counts, axis=0), np.ones(6, dtype=int), starts)
    for (centres, _, inertia), (other, _, other_inertia) in zip(with_counts, copied, strict=True):
        assert centres == pytest.approx(other)
        assert inertia == pytest.approx(other_inertia)


def test_more_centres_never_fit_worse_than_one():
    random = np.random.default_rng(1)
    points = np.unique(np.sort(random.random((100, 8)), axis=1), axis=0)
    fits = nested_kmeans(points, np.ones(100, dtype=int), points[[0, 50, 99]])
    inertias = [inertia for _, _, inertia in fits]
    # One centre is the mean: the inertia is the sum of squares about it.
    assert inertias[0] == pytest.approx(((points - points.mean(axis=0)) ** 2).sum())
    assert inertias[0] > inertias[1] > inertias[2] > 0


# ---- drpo, by question --------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_question_level_by_hand(strength):
    # N_g 3 and 1; mu_q 1, 1/2, 1/4 and 1/2: w = (1 / (N_g mu_q)) ** strength.
    found = weights_of(
        "drpo", [EASY, HALF, HARD, HALF], ["a", "a", "a", "b"], difficulty="question",
        strength=strength,
    )  # fmt: skip
    raw = [(1 / 3) ** strength, (2 / 3) ** strength, (4 / 3) ** strength, 2**strength]
    assert found == with_geometric_mean_one(raw)


def test_question_level_floors_the_mean():
    found = weights_of("drpo", [[0.0] * 4, EASY], ["a", "a"], difficulty="question")
    # mu .05 and 1: 20 ** .5 apart.
    assert found == pytest.approx([20**0.25, 20**-0.25], rel=1e-12)


def test_question_level_has_no_clusters_to_log():
    scaler = DomainScaler("drpo", ScalingOptions(difficulty="question"))
    scaler.step(np.array([HALF]), ["a"])
    assert scaler.summary() == {"count/a": 1.0, "mu/a": 0.5}


# ---- inverse frequency --------------------------------------------------------------------------


@pytest.mark.parametrize(("strength", "ratio"), [(1.0, 3.0), (0.5, math.sqrt(3))])
def test_inverse_frequency_by_hand(strength, ratio):
    found = weights_of(
        "inverse_frequency", [HALF, EASY, HARD, HALF], ["a"] * 3 + ["b"], strength=strength
    )
    assert found == with_geometric_mean_one([1.0, 1.0, 1.0, ratio])


# ---- disco --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "of_domain", "of_question"),
    [
        # p 3/4 and 1/4 (the constants .847 and 1.609 of the logarithm); SC 1/2 and 1/4.
        ("log", (math.log(7 / 3), math.log(5)), (math.log(3), math.log(5))),
        ("log2", (math.log(7 / 3) ** 2, math.log(5) ** 2), (2.0, 4.0)),
        ("inv", (4 / 3, 4.0), (2.0, 4.0)),
    ],
)
def test_disco_by_hand(form, of_domain, of_question):
    found = weights_of("disco", [HALF, HALF, HARD, HALF], ["a"] * 3 + ["b"], disco_form=form)
    often, rare = of_domain
    half, hard = of_question
    raw = [often * half, often * half, often * hard, rare * half]
    assert found == with_geometric_mean_one(raw)


def test_disco_has_the_constants_of_its_code():
    # Printed in the released code: .847 for a share of 3/4 and 2.565 for one of 1/12.
    found = weights_of("disco", [HALF] * 12, ["a"] * 9 + ["b"] * 2 + ["c"])
    assert found[-1] / found[0] == pytest.approx(2.565 / 0.847, abs=2e-3)


# ---- fairgrpo -----------------------------------------------------------------------------------


def test_fairgrpo_by_hand():
    # Domain a: N 3, mu 2/3. Group f: N 1, mu 1; group m: N 2, mu 1/2. Domain b: N 1, mu 1/2.
    found = weights_of(
        "fairgrpo", [EASY, HALF, HALF, HALF], ["a"] * 3 + ["b"], ["f", "m", "m", "m"]
    )
    domain_a, domain_b = math.sqrt(3) * 2 / 3, 0.5
    raw = [1 / domain_a, *[1 / (domain_a * math.sqrt(2) * 0.5)] * 2, 1 / (domain_b * 0.5)]
    assert found == with_geometric_mean_one(raw)


def test_fairgrpo_clusters_those_of_unknown_group():
    # All unknown, mu 1 and 1/4: two clusters of 1 and 3 questions, as `drpo` at full strength.
    vectors, domains = [EASY, HARD, HARD, HARD], ["a"] * 4
    found = weights_of("fairgrpo", vectors, domains, [None] * 4)
    assert found.tolist() == weights_of("drpo", vectors, domains, strength=1.0).tolist()


def test_fairgrpo_tells_apart_groups_of_one_name_in_two_domains():
    scaler = DomainScaler("fairgrpo")
    scaler.step(np.array([HALF, HALF, HALF]), ["a", "b", "b"], ["f", "f", None])
    summary = scaler.summary()
    assert (summary["groups/a"], summary["groups/b"]) == (1.0, 2.0)


def test_groups_are_as_many_as_questions():
    with pytest.raises(OptionError, match="groups has 1 entries for 2 questions"):
        weights_of("fairgrpo", [HALF, HALF], ["a", "a"], ["f"])


# ---- none ---------------------------------------------------------------------------------------


def test_none_weighs_all_alike():
    assert weights_of("none", [EASY, HARD, HALF], ["a", "a", "b"]).tolist() == [1.0] * 3


# ---- properties of every bounded rule -----------------------------------------------------------

BOUNDED = ["none", "drpo", "inverse_frequency", "disco", "fairgrpo"]
batches = st.integers(1, 10).flatmap(
    lambda n: st.tuples(
        st.lists(
            st.lists(st.sampled_from([0.0, 0.1, 1 / 3, 0.9, 1.0]), min_size=4, max_size=4),
            min_size=n, max_size=n,
        ),
        st.lists(st.sampled_from(["ecg", "ct", "mri"]), min_size=n, max_size=n),
        st.lists(st.sampled_from(["f", "m", None]), min_size=n, max_size=n),
    )
)  # fmt: skip


@pytest.mark.parametrize("rule", BOUNDED)
@settings(max_examples=30, deadline=None)
@given(steps=st.lists(batches, min_size=1, max_size=4))
def test_weights_stay_within_their_bounds(rule, steps):
    scaler = DomainScaler(rule, ScalingOptions(max_weight=4.0, window=5))
    for vectors, domains, groups in steps:
        found = scaler.step(np.array(vectors), domains, groups)
        assert found.min() >= 0.25 * (1 - 1e-12)
        assert found.max() <= 4 * (1 + 1e-12)


@pytest.mark.parametrize("rule", BOUNDED)
@settings(max_examples=30, deadline=None)
@given(batch=batches)
def test_a_harder_question_never_counts_less(rule, batch):
    """Of two questions of one domain and group, in one batch; by clusters, so up to ties."""
    vectors, domains, groups = batch
    found = weights_of(rule, vectors, domains, groups, max_weight=1e6, k_max=1)
    means = np.mean(vectors, axis=1)
    for one in range(len(domains)):
        for other in range(len(domains)):
            same = (domains[one], groups[one]) == (domains[other], groups[other])
            if same and means[one] < means[other]:
                assert found[one] >= found[other] * (1 - 1e-12)


@pytest.mark.parametrize("rule", ["drpo", "inverse_frequency", "disco", "fairgrpo"])
def test_a_rarer_domain_counts_more_where_all_else_is_equal(rule):
    found = weights_of(rule, [HALF] * 5, ["often"] * 4 + ["rare"], ["f"] * 5)
    assert found[-1] > found[0] == found[3]


@settings(max_examples=30, deadline=None)
@given(batch=batches, rule=st.sampled_from(BOUNDED))
def test_a_step_is_observe_and_weights(batch, rule):
    vectors, domains, groups = np.array(batch[0]), *batch[1:]
    at_once, apart = DomainScaler(rule), DomainScaler(rule)
    apart.observe(vectors, domains, groups)
    expected = apart.weights(vectors, domains, groups).tolist()
    assert at_once.step(vectors, domains, groups).tolist() == expected
    assert json.dumps(at_once.state_dict()) == json.dumps(apart.state_dict())


# ---- rules of one's own -------------------------------------------------------------------------


class Ones(Rule):
    def log_weights(self, batch, memory):
        return [0.0] * len(batch.domains)


@pytest.fixture
def cleared():
    before = dict(RULES)
    yield
    RULES.clear()
    RULES.update(before)


def test_a_class_and_a_name_are_a_rule(cleared):
    register_rule("ones")(Ones)
    assert DomainScaler("ones").step(np.array([HALF]), ["a"]).tolist() == [1.0]
    register_rule("ones")(Ones)  # a notebook's cell may run twice


def test_a_dotted_path_is_a_rule(tmp_path, monkeypatch):
    (tmp_path / "my_rules.py").write_text(
        "from climb_hf.trainers import Rule\n\n\n"
        "class Twice(Rule):\n"
        "    def log_weights(self, batch, memory):\n"
        "        return [float(domain == 'rare') for domain in batch.domains]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    scaler = DomainScaler("my_rules.Twice")
    found = scaler.step(np.array([HALF, HALF]), ["rare", "often"])
    assert found == pytest.approx([math.exp(0.5), math.exp(-0.5)])
    assert scaler.state_dict()["rule"] == "my_rules.Twice"
    sys.modules.pop("my_rules")


@pytest.mark.parametrize(
    ("name", "rule", "match"),
    [
        ("drpo", Ones, "there is a rule 'drpo' already"),
        ("my.rule", Ones, "without a dot"),
        ("mine", dict, "should be a subclass of Rule"),
    ],
)
def test_names_and_classes_are_checked(cleared, name, rule, match):
    with pytest.raises(OptionError, match=match):
        register_rule(name)(rule)


@pytest.mark.parametrize("name", ["no.such.Rule", "math.pi", "math.nothing", ".drpo", 3])
def test_a_path_that_leads_to_no_rule_is_named(name):
    with pytest.raises(OptionError, match="domain_scaling="):
        rule_class(name)


def test_a_rule_without_weights_says_so():
    class Empty(Rule):
        pass

    with pytest.raises(NotImplementedError, match="Empty needs a method log_weights"):
        Empty(ScalingOptions()).log_weights(None, None)
