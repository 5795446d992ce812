"""How domains are drawn: exactly, the same everywhere, and from where a run stopped."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trl.trainer.utils import RepeatSampler

from climb_hf.errors import OptionError
from climb_hf.trainers.drpo_sampling import (
    DomainSampler,
    domains_of,
    quotas,
    sampling_in_words,
)

ROWS = ["often"] * 81 + ["some"] * 16 + ["rare"] * 3


def sampler(power, rows=ROWS, seed=0, group=1, questions=1, repeats=1):
    plain = RepeatSampler(rows, group, questions, repeats, shuffle=True, seed=seed)
    return DomainSampler(plain, rows, power)


def epoch(one, number):
    one.epoch = number
    return list(one)


# ---- quotas -------------------------------------------------------------------------------------


def test_quotas_by_hand():
    # Roots 9, 4 and sqrt 3: 9 / 14.732 of 100 is 61.09, 4 is 27.15, sqrt 3 is 11.76: rounded down
    # 61, 27, 11, and the one that is left goes to the largest remainder.
    assert quotas(Counter(ROWS), 0.5) == {"often": 61, "rare": 12, "some": 27}
    assert quotas(Counter(ROWS), 0.0) == {"often": 81, "rare": 3, "some": 16}
    # A third of 100 each, and the one that is left to the first by name.
    assert quotas(Counter(ROWS), 1.0) == {"often": 34, "rare": 33, "some": 33}


@given(
    st.dictionaries(st.text(min_size=1), st.integers(1, 1000), min_size=1, max_size=8),
    st.floats(0, 1),
)
def test_quotas_add_up_and_are_the_nearest_whole_numbers(counts, power):
    found = quotas(counts, power)
    total = sum(counts.values())
    assert sum(found.values()) == total
    roots = {name: n ** (1 - power) for name, n in counts.items()}
    for name, root in roots.items():
        assert abs(found[name] - total * root / sum(roots.values())) < 1 + 1e-9
    rarest = min(counts, key=counts.get)
    assert found[rarest] >= 1


# ---- sampler ------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [0, 1, 2])
def test_without_a_power_the_order_is_that_of_trl_epoch_by_epoch(number):
    theirs = RepeatSampler(ROWS, 2, 4, 3, shuffle=True, seed=5)
    for _ in range(number):
        list(theirs)
    ours = DomainSampler(RepeatSampler(ROWS, 2, 4, 3, shuffle=True, seed=5))
    assert epoch(ours, number) == list(theirs)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_each_epoch_has_its_quotas_exactly(power):
    one = sampler(power)
    for number in range(3):
        drawn = Counter(ROWS[row] for row in epoch(one, number))
        assert drawn == quotas(Counter(ROWS), power)


def test_no_row_comes_again_before_the_others_of_its_domain():
    one = sampler(0.5)
    times = Counter(row for number in range(5) for row in epoch(one, number))
    for domain in set(ROWS):
        own = [times[row] for row, name in enumerate(ROWS) if name == domain]
        assert max(own) - min(own) <= 1
    # 5 epochs of 61 questions over 81 rows: every frequent row was asked 3 or 4 times.
    assert min(times[row] for row in range(81)) == 3


def test_an_epoch_follows_from_its_number_alone():
    straight, resumed = sampler(0.5), sampler(0.5)
    expected = [epoch(straight, number) for number in range(4)]
    assert epoch(resumed, 3) == expected[3]
    assert expected[0] != expected[1]


def test_seeds_differ():
    assert epoch(sampler(0.5, seed=0), 0) != epoch(sampler(0.5, seed=1), 0)


def test_questions_are_repeated_as_trl_repeats_them():
    order = epoch(sampler(0.5, group=4, questions=5, repeats=2), 0)
    assert len(order) == 100 * 4 * 2 == len(sampler(0.5, group=4, questions=5, repeats=2))
    for start in range(0, len(order), 40):  # 5 questions x 4 rollouts, twice
        window = order[start : start + 40]
        assert window[:20] == window[20:]
        assert all(len(set(window[at : at + 4])) == 1 for at in range(0, 20, 4))


def test_domains_are_mixed_within_an_epoch():
    names = [ROWS[row] for row in epoch(sampler(1.0), 0)]
    halves = Counter(names[:50]), Counter(names[50:])
    assert all(half[name] >= 5 for half in halves for name in set(ROWS))


# ---- the domains of a data set ------------------------------------------------------------------


def test_domains_are_read_without_opening_anything(make_dataset):
    def fail(rows):
        raise AssertionError("a row was opened")

    dataset = make_dataset().with_transform(fail)
    assert domains_of(dataset, "domain") == ["ecg", "ecg", "ecg", "ct"] * 4


@pytest.mark.parametrize("odd", [None, "", 3])
def test_rows_without_a_domain_are_counted_and_named(odd):
    from datasets import Dataset

    rows = ["ecg", odd, "ct", odd] if not isinstance(odd, int) else [odd] * 4
    with pytest.raises(OptionError, match=rf"in (2|4) of 4 rows \(row (1|0): {odd!r}"):
        domains_of(Dataset.from_dict({"domain": rows}), "domain")


def test_a_missing_column_is_named_also_of_a_stream(make_dataset):
    stream = make_dataset().to_iterable_dataset()
    with pytest.raises(OptionError, match="Did you mean 'domain'"):
        domains_of(stream, "domains")
    assert domains_of(stream, "domain") is None


# ---- in words -----------------------------------------------------------------------------------


def test_the_change_is_said_in_words():
    (words,) = sampling_in_words(ROWS, 0.5, 1.0)
    assert "often 81.0% -> 61.0%" in words and "rare 3.0% -> 12.0%" in words


def test_rows_that_come_up_often_are_warned_of():
    # 3 epochs of 12 questions over 3 rows: 12 times each.
    _, warning = sampling_in_words(ROWS, 0.5, 3.0)
    assert "rare (3 rows, 12 times each)" in warning and "often" not in warning.split(":")[1]
