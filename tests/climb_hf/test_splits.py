"""Splits: groups never cross, order never matters, shares are kept."""

from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from climb_hf.errors import OptionError
from climb_hf.splits import SPLIT_RULES, Unit, assign, fraction_of, join_groups, leaks

TWO = {"train": 0.8, "test": 0.2}
THREE = {"train": 0.8, "validation": 0.1, "test": 0.1}
OFFICIAL = st.sampled_from([None, "train", "validation", "test"])


@st.composite
def drawn_units(draw, official=False):
    """Records in groups; an official split belongs to the whole group."""
    ids = draw(st.lists(st.text("abcdef", min_size=1, max_size=4), unique=True, max_size=60))
    published = {}
    made = []
    for name in ids:
        group = draw(st.sampled_from("ABCDEFGHIJ"))
        if group not in published:
            published[group] = draw(OFFICIAL) if official else None
        stratum = draw(st.sampled_from(["", "cd", "mi", "cd+mi"]))
        made.append(Unit(name, group, stratum, published[group]))
    return made


def singles(n, stratum=""):
    return [Unit(f"r{i}", f"r{i}", stratum) for i in range(n)]


def share(placed, name):
    return sum(split == name for split, _ in placed.values()) / len(placed)


fractions = st.sampled_from([TWO, THREE])
derived_rules = st.sampled_from(["hash", "stratified"])


@given(drawn_units(), derived_rules, fractions, st.integers(0, 5))
def test_a_group_never_crosses(units, rule, wanted, seed):
    assert leaks(units, assign(units, rule, wanted, seed)) == []


@given(drawn_units(official=True))
def test_a_group_never_crosses_beside_official_splits(units):
    if any(unit.official for unit in units):
        assert leaks(units, assign(units, "official", THREE)) == []


@given(drawn_units(), derived_rules, st.randoms(use_true_random=False))
def test_the_order_of_records_means_nothing(units, rule, random):
    mixed = list(units)
    random.shuffle(mixed)
    assert assign(mixed, rule, THREE) == assign(units, rule, THREE)


@given(drawn_units(), st.data())
def test_by_hash_a_record_does_not_depend_on_the_others(units, data):
    kept = [unit for unit in units if data.draw(st.booleans())]
    whole = assign(units, "hash", THREE)
    assert assign(kept, "hash", THREE) == {unit.id: whole[unit.id] for unit in kept}


@given(drawn_units(), derived_rules)
def test_every_record_is_placed_and_marked_derived(units, rule):
    placed = assign(units, rule, THREE)
    assert set(placed) == {unit.id for unit in units}
    assert {origin for _, origin in placed.values()} <= {"derived"}


@given(drawn_units(official=True))
def test_an_official_split_is_honoured(units):
    given_splits = {unit.id: unit.official for unit in units if unit.official}
    if given_splits:
        placed = assign(units, "official", THREE)
        assert {name: placed[name] for name in given_splits} == {
            name: (split, "official") for name, split in given_splits.items()
        }


@given(drawn_units(official=True), derived_rules)
def test_another_rule_disregards_official_splits(units, rule):
    plain = [Unit(unit.id, unit.group, unit.stratum) for unit in units]
    assert assign(units, rule, THREE) == assign(plain, rule, THREE)


sizes = st.dictionaries(st.sampled_from(["", "a", "b", "c", "d"]), st.integers(1, 80), min_size=1)


@given(sizes, st.sampled_from([0.1, 0.2, 0.5]), st.integers(0, 5))
def test_each_stratum_and_the_whole_keep_the_test_share_within_one_group(counts, held_out, seed):
    units = [Unit(f"{s}{i}", f"{s}{i}", s) for s, n in counts.items() for i in range(n)]
    placed = assign(units, "stratified", {"train": 1 - held_out, "test": held_out}, seed)
    for stratum, n in [*counts.items(), (None, len(units))]:
        chosen = [u for u in units if stratum in (None, u.stratum) and placed[u.id][0] == "test"]
        assert abs(len(chosen) - n * held_out) <= 1 + 1e-9


@given(sizes, st.integers(0, 5))
def test_with_three_splits_each_stratum_keeps_both_held_out_shares(counts, seed):
    # The second is drawn from what the first leaves: 1/9 of a stratum that is off by one.
    units = [Unit(f"{s}{i}", f"{s}{i}", s) for s, n in counts.items() for i in range(n)]
    placed = assign(units, "stratified", THREE, seed)
    for stratum, n in [*counts.items(), (None, len(units))]:
        found = Counter(placed[u.id][0] for u in units if stratum in (None, u.stratum))
        assert abs(found["test"] - n * 0.1) <= 1 + 1e-9
        assert abs(found["validation"] - n * 0.1) <= 1 + 1 / 9 + 1e-9


@pytest.mark.parametrize("rule", ["hash", "stratified"])
def test_shares_of_many_records(rule):
    placed = assign(singles(5000), rule, THREE)
    # Binomial standard error of 5,000 draws at 0.1 is 0.0042: four of them.
    assert share(placed, "test") == pytest.approx(0.1, abs=0.017)
    assert share(placed, "validation") == pytest.approx(0.1, abs=0.017)


def test_another_seed_gives_another_split():
    one, other = (assign(singles(200), "hash", TWO, seed) for seed in (0, 1))
    assert one != other


def test_without_a_test_share_all_is_train():
    assert share(assign(singles(50), "stratified", {"train": 1.0}), "train") == 1.0


def test_no_record_gives_no_split():
    assert assign([], "official", TWO) == {}


def test_official_without_any_official_split_is_an_error():
    with pytest.raises(OptionError, match="no record found has an official split"):
        assign(singles(3), "official", TWO)


def test_an_unknown_rule_names_the_nearest():
    with pytest.raises(OptionError, match="Did you mean 'stratified'"):
        assign(singles(3), "stratifed", TWO)


def test_the_rules_are_those_of_the_docs():
    assert set(SPLIT_RULES) == {"official", "stratified", "hash", "csv"}


@pytest.mark.parametrize(("text", "seed"), [("E00001", 0), ("E00001", 7), ("", 0), ("ä", 0)])
def test_a_hash_is_the_first_eight_bytes_of_sha256(text, seed):
    import hashlib

    first = hashlib.sha256(f"{seed}:{text}".encode()).hexdigest()[:16]
    assert fraction_of(text, seed) == float(Fraction(int(first, 16), 2**64))


def test_a_shared_key_joins_two_records():
    joined = join_groups([("a", "patient 1"), ("b", "patient 1"), ("c", "patient 2")])
    assert joined["a"] == joined["b"] != joined["c"]


def test_joining_is_transitive_over_keys():
    pairs = [("a", "patient 1"), ("b", "patient 1"), ("b", "signal x"), ("c", "signal x")]
    joined = join_groups([*pairs, ("d", "signal y")])
    assert joined["a"] == joined["b"] == joined["c"] != joined["d"]


def test_a_record_named_like_a_key_is_not_joined_to_it():
    joined = join_groups([("a", "b"), ("b", "c")])
    assert joined["a"] != joined["b"]


pairs = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("123456")))


@given(pairs, st.randoms(use_true_random=False))
def test_joining_does_not_depend_on_order(drawn, random):
    mixed = list(drawn)
    random.shuffle(mixed)
    assert join_groups(mixed) == join_groups(drawn)


@given(pairs)
def test_records_are_joined_exactly_when_a_chain_of_keys_ties_them(drawn):
    joined = join_groups(drawn)
    tied = {record: {record} for record, _ in drawn}
    for _ in tied:  # one step along a chain at a time
        for record, key in drawn:
            for other, same in drawn:
                if key == same:
                    tied[record] |= tied[other]
    for record in tied:
        assert {other for other in tied if joined[other] == joined[record]} == tied[record]


def test_a_leak_is_named():
    units = [Unit("a", "p"), Unit("b", "p"), Unit("c", "q")]
    placed = {"a": ("train", ""), "b": ("test", ""), "c": ("test", "")}
    assert leaks(units, placed) == ["p"]
