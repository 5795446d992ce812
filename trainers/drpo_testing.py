"""The battery of checks that every rule has to pass, for this package's tests and for yours.

Over the rules that are registered, or your own, in pytest:

    from climb_hf.trainers.drpo_testing import parametrize_rules

    @parametrize_rules(["my_package.my_module.MyRule"])
    def test_rule(rule, check):
        check(rule)

or all of it at once: `check_rule("my_package.my_module.MyRule")`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from climb_hf.errors import CheckFailedError, CheckpointError
from climb_hf.optional import need
from climb_hf.trainers.drpo_rules import RULES, ScalingOptions, rule_class
from climb_hf.trainers.drpo_scaling import DomainScaler

Check = Callable[[str], None]

ROLLOUTS = 4
_SHARES = {"ecg": 0.6, "ct": 0.25, "mri": 0.15}
_GROUPS = ("f", "m", None)
_VALUES = (0.0, 0.0, 0.25, 0.5, 2 / 3, 1.0)


class NotApplicable(Exception):
    """A check does not hold for a rule that says so of itself."""


def _require(right: bool, message: str) -> None:
    if not right:
        raise CheckFailedError(message)


@dataclass(frozen=True)
class _Step:
    """The questions of one made step."""

    vectors: np.ndarray
    domains: list[str]
    groups: list[str | None]

    def permuted(self, rows: np.ndarray, rollouts: np.ndarray | None = None) -> _Step:
        vectors = self.vectors[rows]
        if rollouts is not None:
            vectors = np.take_along_axis(vectors, rollouts, axis=1)
        at = rows.tolist()
        return _Step(vectors, [self.domains[r] for r in at], [self.groups[r] for r in at])


def _steps(n: int, seed: int = 0, questions: int = 24, absent: float = 0.1) -> list[_Step]:
    """Made steps of graded rewards, some absent; domains differ in number and in difficulty."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        domains = random.choice(list(_SHARES), size=questions, p=list(_SHARES.values())).tolist()
        vectors = random.choice(_VALUES, size=(questions, ROLLOUTS))
        hard = np.array([domain == "mri" for domain in domains])
        vectors[hard] *= 0.3
        vectors[random.random(vectors.shape) < absent] = np.nan
        groups = [_GROUPS[one] for one in random.integers(len(_GROUPS), size=questions)]
        found.append(_Step(vectors, domains, groups))
    return found


def _scaler(rule: str, steps: Iterable[_Step] = ()) -> DomainScaler:
    scaler = DomainScaler(rule, length=ROLLOUTS)
    for one in steps:
        scaler.observe(one.vectors, one.domains, one.groups)
    return scaler


def _weigh(scaler: DomainScaler, one: _Step) -> np.ndarray:
    return scaler.step(one.vectors, one.domains, one.groups)


def _sound(weights: np.ndarray, what: str) -> None:
    right = bool((np.isfinite(weights) & (weights > 0)).all())
    _require(right, f"{what} gave the weights {weights}, not all of them positive and finite.")


# ---- weights ------------------------------------------------------------------------------------


def weights_are_positive_and_finite(rule: str) -> None:
    """Whatever the rewards: all 0, all 1, absent, one question, one domain."""
    hard = [
        _Step(np.zeros((3, ROLLOUTS)), ["ecg", "ecg", "ct"], ["f", None, "m"]),
        _Step(np.ones((2, ROLLOUTS)), ["ecg", "mri"], [None, None]),
        _Step(np.full((2, ROLLOUTS), np.nan), ["ecg", "eeg"], ["f", "f"]),
        _Step(np.array([[0.0, 0.0, 0.0, 1.0]]), ["ct"], ["m"]),
        _Step(np.full((4, ROLLOUTS), 1e-9), ["ct"] * 4, ["m", "f", None, None]),
    ]
    scaler = _scaler(rule)
    for one in [*hard, *_steps(3), *hard]:
        _sound(_weigh(scaler, one), f"rewards {one.vectors.tolist()}")


def a_domain_may_come_late(rule: str) -> None:
    """A domain that first appears after a long run has a sound weight, and so have the others."""
    scaler = _scaler(rule, _steps(60))
    late = _Step(np.array([[0.0, 0.0, 0.5, 1.0]] * 3), ["late", "ecg", "ct"], ["f", "f", None])
    _sound(_weigh(scaler, late), "a domain after 1,440 questions of others")


def equal_questions_count_the_same(rule: str) -> None:
    """Questions of one domain and group, with the same rewards, have the same weight."""
    scaler = _scaler(rule, _steps(2))
    one = _steps(1, seed=1, absent=0.0)[0]
    rows = np.repeat(np.arange(len(one.domains)), 2)
    weights = _weigh(scaler, one.permuted(rows))
    same = weights[::2].tolist() == weights[1::2].tolist()
    _require(same, f"each question stood there twice, with the weights {weights.reshape(-1, 2)}.")


def a_question_without_rewards_changes_nothing(rule: str) -> None:
    """It has weight 1, and the others have the weights that they have without it."""
    one = _steps(1)[0]
    unscored = _Step(np.full((2, ROLLOUTS), np.nan), ["ecg", "ct"], ["f", None])
    both = _Step(
        np.concatenate([one.vectors, unscored.vectors]),
        one.domains + unscored.domains,
        one.groups + unscored.groups,
    )
    with_it, without = (_weigh(_scaler(rule, _steps(2, seed=3)), case) for case in (both, one))
    _require(with_it[-2:].tolist() == [1.0, 1.0], f"its weight is {with_it[-2:]}, not 1.")
    _require(with_it[:-2].tolist() == without.tolist(), "the other questions' weights changed.")


# ---- order --------------------------------------------------------------------------------------


def _compare_orders(rule: str, *, rollouts: bool) -> None:
    random = np.random.default_rng(7)
    straight, mixed = _scaler(rule), _scaler(rule)
    for one in _steps(5):
        n = len(one.domains)
        rows = random.permutation(n)
        places = random.permuted(np.tile(np.arange(ROLLOUTS), (n, 1)), axis=1)
        expected = _weigh(straight, one)[rows].tolist()
        found = _weigh(mixed, one.permuted(rows, places if rollouts else None)).tolist()
        _require(found == expected, f"weights {found} in place of {expected}, in another order.")
    same = json.dumps(straight.state_dict()) == json.dumps(mixed.state_dict())
    _require(same, "the states differ after the same steps in another order.")


def no_order_of_rows_matters(rule: str) -> None:
    """Rows in another order, as other processes bring them, change no bit of weights or state."""
    if not rule_class(rule).in_order:
        raise NotApplicable("the rule takes rows as they stand, as what it follows does")
    _compare_orders(rule, rollouts=False)


def no_order_of_rollouts_matters(rule: str) -> None:
    """Nor do rollouts in another order within their question."""
    if not rule_class(rule).in_order:
        raise NotApplicable("the rule takes rollouts as they stand, as what it follows does")
    _compare_orders(rule, rollouts=True)


def the_same_steps_give_the_same(rule: str) -> None:
    """Two scalers, as two processes have, come to the same weights and state from the same rows."""
    one, other = _scaler(rule), _scaler(rule)
    for step in _steps(4):
        first, second = _weigh(one, step).tolist(), _weigh(other, step).tolist()
        _require(first == second, f"one came to {first}, the other to {second}.")
    _require(one.state_dict() == other.state_dict(), "their states differ.")


# ---- state --------------------------------------------------------------------------------------


def a_restored_state_goes_on_the_same(rule: str) -> None:
    """Saved as JSON and restored, the next steps come out the same to the last bit."""
    kept = _scaler(rule, _steps(4))
    text = json.dumps(kept.state_dict(), allow_nan=False)
    restored = _scaler(rule)
    restored.load_state_dict(json.loads(text))
    _require(restored.state_dict() == kept.state_dict(), "the state differs once it is restored.")
    for step in _steps(3, seed=5):
        expected, found = _weigh(kept, step).tolist(), _weigh(restored, step).tolist()
        _require(found == expected, f"weights {found} in place of {expected}, once restored.")


def a_state_of_another_rule_is_refused(rule: str) -> None:
    """It raises `CheckpointError`, and leaves the scaler as it was."""
    other = "none" if rule != "none" else "drpo"
    scaler = _scaler(rule, _steps(1))
    before = scaler.state_dict()
    try:
        scaler.load_state_dict(_scaler(other, _steps(1)).state_dict())
    except CheckpointError:
        _require(scaler.state_dict() == before, "the refused state changed the scaler.")
        return
    raise CheckFailedError(f"a state of {other!r} was taken.")


def other_rollouts_and_domains_fit_in(rule: str) -> None:
    """A state takes questions of another number of rollouts, and of domains it does not know."""
    scaler = _scaler(rule)
    scaler.load_state_dict(_scaler(rule, _steps(2)).state_dict())
    wider = _Step(np.array([[0.0, 0.5, 1.0, 0.0, 0.5, 1.0]] * 2), ["eeg", "ecg"], ["f", None])
    narrower = _Step(np.array([[0.0, 1.0]] * 2), ["eeg", "gait"], ["f", "m"])
    for one in (wider, narrower):
        _sound(_weigh(scaler, one), f"{one.vectors.shape[1]} rollouts after {ROLLOUTS}")


def the_state_stops_growing(rule: str) -> None:
    """Once the windows are full, a run of twice the length has a state of the same size."""
    if not rule_class(rule).bounded:
        raise NotApplicable("the rule keeps everything, as what it follows does")
    scaler = DomainScaler(rule, ScalingOptions(window=64), length=ROLLOUTS)
    steps = _steps(40, questions=100, absent=0.0)
    sizes = []
    for _ in range(2):
        for one in steps:
            scaler.observe(one.vectors, one.domains, one.groups)
        sizes.append(len(json.dumps(scaler.state_dict())))
    # Counts have a digit more; vectors of other values may differ a little in length.
    _require(sizes[1] < 1.02 * sizes[0], f"the state grew from {sizes[0]} to {sizes[1]} bytes.")


# ---- advantages ---------------------------------------------------------------------------------


def _advantages(rule: str, one: _Step) -> np.ndarray:
    scaler = _scaler(rule, _steps(2))
    weights = _weigh(scaler, one)
    kl = np.full(one.vectors.shape, 0.5) if scaler.rule.needs_kl else None
    return scaler.advantages(one.vectors, weights, kl)


def advantages_keep_their_sign(rule: str) -> None:
    """Above the question's mean reward an advantage is positive, below it negative."""
    one = _steps(1, seed=2, absent=0.0)[0]
    centred = one.vectors - one.vectors.mean(axis=1, keepdims=True)
    centred[np.abs(centred) < 1e-12] = 0.0
    found = _advantages(rule, one)
    _require(bool(np.isfinite(found).all()), f"advantages {found} are not all finite.")
    wrong = np.flatnonzero((np.sign(found) != np.sign(centred)) & (centred != 0))
    at = wrong[:1].tolist()
    _require(not at, f"of advantages {found.ravel()[at]} the reward is {centred.ravel()[at]}.")


def equal_rewards_teach_nothing(rule: str) -> None:
    """Rollouts of one reward have advantage 0 exactly, whatever the reward."""
    vectors = np.repeat(np.array([[0.0], [0.1], [1 / 3], [1.0]]), ROLLOUTS, axis=1)
    found = _advantages(rule, _Step(vectors, ["ecg", "ecg", "ct", "mri"], [None] * 4))
    _require(not found.any(), f"advantages {found.tolist()}, but should be 0.")


def figures_are_numbers(rule: str) -> None:
    """What the log shows of each domain is finite, and has its count."""
    scaler = _scaler(rule, _steps(2))
    _weigh(scaler, _steps(1, seed=6)[0])
    summary = scaler.summary()
    _require(all(np.isfinite(value) for value in summary.values()), f"figures {summary}.")
    _require({f"count/{name}" for name in _SHARES} <= set(summary), f"no counts in {summary}.")


# ---- running them -------------------------------------------------------------------------------

CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        weights_are_positive_and_finite,
        a_domain_may_come_late,
        equal_questions_count_the_same,
        a_question_without_rewards_changes_nothing,
        no_order_of_rows_matters,
        no_order_of_rollouts_matters,
        the_same_steps_give_the_same,
        a_restored_state_goes_on_the_same,
        a_state_of_another_rule_is_refused,
        other_rollouts_and_domains_fit_in,
        the_state_stops_growing,
        advantages_keep_their_sign,
        equal_rewards_teach_nothing,
        figures_are_numbers,
    )
}


def check_rule(rule: str) -> dict[str, str]:
    """Runs the battery over one rule, registered or `package.module.Class`.

    Returns:
        For each check an empty string where it passed, or why it does not apply.

    Raises:
        CheckFailedError: for the first check that fails; it names the check.
        OptionError: if there is no such rule.
    """
    rule_class(rule)
    found = {}
    for name, check in CHECKS.items():
        try:
            check(rule)
            found[name] = ""
        except NotApplicable as reason:
            found[name] = str(reason)
        except CheckFailedError as error:
            raise CheckFailedError(f"rule {rule!r} fails {name}: {error}") from error
    return found


def parametrize_rules(names: Iterable[str] | None = None) -> object:
    """Returns a pytest mark that gives a test every (`rule`, `check`) pair.

    Ids read `<rule>-<check>`. `check(rule)` raises `CheckFailedError` when the rule fails it, and
    is skipped, with the reason, where it does not apply.

    Args:
        names: of rules; all that are registered when None.
    """
    pytest = need("pytest", extra="dev")

    def run(check: Check) -> Check:
        def checked(rule: str) -> None:
            try:
                check(rule)
            except NotApplicable as reason:
                pytest.skip(str(reason))

        return checked

    pairs = [
        pytest.param(rule, run(check), id=f"{rule}-{name}")
        for rule in (list(RULES) if names is None else names)
        for name, check in CHECKS.items()
    ]
    return pytest.mark.parametrize(("rule", "check"), pairs)
