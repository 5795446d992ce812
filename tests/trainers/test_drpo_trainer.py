"""The trainer on a tiny model: what it changes, what it leaves alone, what it refuses."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest

from climb_hf.errors import CheckpointError, DependencyError, OptionError, RewardError
from climb_hf.trainers import DRPOConfig, DRPOTrainer
from climb_hf.trainers.drpo_advantages import summed_rewards
from climb_hf.trainers.drpo_config import check_save_steps
from climb_hf.trainers.drpo_trainer import (
    batch_figures,
    group_advantages,
    rescale,
    unit_rewards,
)

NAN = math.nan


# ---- formulas -----------------------------------------------------------------------------------


def test_unit_rewards_average_over_the_functions_that_applied():
    rewards = np.array([[1.0, 0.5], [NAN, 0.5], [0.0, NAN], [NAN, NAN]])
    unit = unit_rewards(rewards, np.array([0.8, 0.2]), [(0, 1), (0, 1)])
    # (.8 * 1 + .2 * .5) / 1, then only the second, only the first, none.
    assert unit[:3] == pytest.approx([0.9, 0.5, 0.0])
    assert math.isnan(unit[3])


def test_unit_rewards_use_bounds_and_turn_penalties_round():
    rewards = np.array([[-1.0, 0.0], [0.0, 1.0], [3.0, 0.25]])
    unit = unit_rewards(rewards, np.array([1.0, -1.0]), [(-1, 1), (0, 1)])
    # u_1 = 0, .5, 1 (clipped); u_2 = 1, 0, .75 as its weight is negative.
    assert unit == pytest.approx([0.5, 0.25, 0.875])


def test_summed_rewards_share_the_weight_of_what_does_not_apply():
    weights = np.array([0.6, 0.2, 0.2])  # the paper's: answer, IoU, form
    rewards = np.array([[1.0, 0.5, 0.0], [1.0, NAN, 0.0], [0.0, NAN, 1.0], [NAN, NAN, NAN]])
    found = summed_rewards(rewards, weights, 2)
    # All three; then .6 and .2 as .75 and .25; then nothing that applied.
    assert found.ravel()[:3] == pytest.approx([0.7, 0.75, 0.25])
    assert math.isnan(found[1, 1])


def test_summed_rewards_are_trls_where_all_apply():
    rewards = np.random.default_rng(0).normal(size=(12, 3))
    weights = np.array([0.5, -0.3, 1.7])
    assert (summed_rewards(rewards, weights, 4).ravel() == (rewards * weights).sum(axis=1)).all()


def test_a_judge_that_fails_on_one_rollout_does_not_mark_it_down():
    rewards = np.array([[1.0, NAN], [1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
    advantages = group_advantages(rewards, np.array([0.6, 0.4]), 4)
    assert advantages[0] == advantages[1] > 0


def test_group_advantages_by_hand():
    # (1, 0, 0, 0): mean 1/4, variance (9/16 + 3/16) / 3 = 1/4, std 1/2.
    advantages = group_advantages(np.array([[1.0], [0.0], [0.0], [0.0]]), np.ones(1), 4)
    assert advantages == pytest.approx([0.75 / 0.5001] + [-0.25 / 0.5001] * 3, rel=1e-14)


def test_group_advantages_leave_out_what_has_no_reward():
    rewards = np.array([[1.0], [NAN], [0.0], [NAN], [NAN], [1.0]])
    advantages = group_advantages(rewards, np.ones(1), 3)
    # (1, 0): mean 1/2, variance 1/2. The second group has one reward only.
    first = 0.5 / (math.sqrt(0.5) + 1e-4)
    assert advantages == pytest.approx([first, 0, -first, 0, 0, 0], rel=1e-14)


@pytest.mark.parametrize("reward", [0.0, 0.1, 1 / 3, -2.0])
def test_equal_rewards_give_exactly_zero(reward):
    rewards = np.full((8, 2), reward)
    advantages = group_advantages(rewards, np.array([0.8, 0.2]), 4)
    assert advantages.tolist() == [0.0] * 8
    scored = np.ones(8, dtype=bool)
    assert rescale(advantages, np.full(8, 3.0), scored).tolist() == [0.0] * 8


@pytest.mark.parametrize("shift", [0.0, -0.25, -5.0])
def test_zero_or_negative_mean_keeps_the_sign(shift):
    rewards = np.array([[1.0], [0.0], [0.0], [0.0]]) + shift
    scaled = rescale(group_advantages(rewards, np.ones(1), 4), np.full(4, 10.0), np.ones(4, bool))
    assert scaled[0] > 0
    assert (scaled[1:] < 0).all()


def test_batch_figures_by_hand():
    vectors = np.array([[0, 1], [1, 1], [NAN, NAN]])
    figures = batch_figures(vectors, ["a", "b", "b"], np.array([10.0, 1.0, 1.0]), 10.0)
    assert figures.pop("ess") == pytest.approx(12**2 / (3 * 102))
    assert figures == pytest.approx(
        {
            "clipped_frac": 1 / 3,
            "weight/a": 10.0,
            "weight/b": 1.0,
            "reward/a": 0.5,
            "reward/b": 1.0,
            "zero_std/a": 0.0,
            "zero_std/b": 1.0,
        }
    )


# ---- advantages in the trainer ------------------------------------------------------------------


def fixed(*values):
    def reward(completions, **kwargs):
        return list(values)

    return reward


def test_advantages_by_hand(make_trainer, advantages_of):
    trainer = make_trainer(fixed(1, 0, 0, 0, 1, 1, 0, 0))
    # Domain ecg: N 1, mu 1/4; ct: N 1, mu 1/2; one cluster each, so 1 / (T_g T_c) = 16 and 4, to
    # the power 1/2: 4 and 2, over their geometric mean sqrt 8: sqrt 2 and 1 / sqrt 2.
    # Standard deviations within the groups: 1/2 and 1 / sqrt 3.
    ecg, ct = math.sqrt(2) / 0.5001, 1 / math.sqrt(2) / (1 / math.sqrt(3) + 1e-4)
    scaled = [0.75 * ecg] + [-0.25 * ecg] * 3 + [0.5 * ct] * 2 + [-0.5 * ct] * 2
    # Both groups have mean 0, so the batch's variance is the sum of squares over 8 - 1.
    std = math.sqrt(sum(one**2 for one in scaled) / 7)
    expected = [one / (std + 1e-4) for one in scaled]
    assert advantages_of(trainer, ["ecg", "ct"]) == pytest.approx(expected, rel=1e-6)
    assert list(trainer._logs["advantages"]) == pytest.approx(expected, rel=1e-12)
    assert list(trainer._logs["extra"]["domain"]) == ["ecg"] * 4 + ["ct"] * 4
    assert trainer._metrics["train"]["drpo/weight/ecg"] == pytest.approx([math.sqrt(2)])


def test_one_domain_and_one_cluster_is_grpo_up_to_a_constant(make_trainer, advantages_of):
    rewards = (1, 0, 0, 0, 0.25, 0.5, 0.75, 1)
    ours = advantages_of(make_trainer(fixed(*rewards), drpo_k_max=1), ["ecg", "ecg"])
    plain = advantages_of(make_trainer(fixed(*rewards), domain_scaling="none"), ["ecg", "ecg"])
    ratios = np.array(ours) / np.array(plain)
    assert ratios == pytest.approx(np.full(8, ratios[0]), rel=1e-5)
    assert ratios[0] > 0


@pytest.mark.parametrize("rewards", [(0.0,) * 8, (-1.0,) * 8, (None,) * 8])
def test_equal_or_absent_rewards_move_nothing(make_trainer, rewards, advantages_of):
    assert advantages_of(make_trainer(fixed(*rewards)), ["ecg", "ct"]) == [0.0] * 8


def test_negative_rewards_with_bounds(make_trainer, advantages_of):
    reward = fixed(-1, -1, -1, 0, -1, -1, -1, -1)
    reward.reward_bounds = (-1, 0)
    advantages = advantages_of(make_trainer(reward), ["ecg", "ct"])
    assert np.isfinite(advantages).all()
    assert advantages[3] > 0 > advantages[0]


@pytest.mark.parametrize(
    "options",
    [{"scale_rewards": "none"}, {"multi_objective_aggregation": "normalize_then_sum"}],
)
def test_other_normalisations_are_multiplied_by_the_weights(make_trainer, options, advantages_of):
    rewards = (1, 0, 0, 0, 1, 1, 0, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = make_trainer(fixed(*rewards), **options)
        plain = make_trainer(fixed(*rewards), domain_scaling="none", **options)
    weights = [math.sqrt(2)] * 4 + [1 / math.sqrt(2)] * 4  # as in test_advantages_by_hand
    expected = np.array(advantages_of(plain, ["ecg", "ct"])) * weights
    assert advantages_of(ours, ["ecg", "ct"]) == pytest.approx(expected, rel=1e-6)
    assert list(ours._logs["advantages"]) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("domains", "match"),
    [
        (["ecg", None], r"question 'made/1' has domain=None"),
        (["ecg", 3], r"question 'made/1' has domain=3"),
        (
            ["ecg", ("ct", "ct", "mri", "ct")],
            r"'made/1' has several domains \('ct', 'mri'",
        ),
    ],
)
def test_a_question_needs_one_domain(make_trainer, domains, match, advantages_of):
    with pytest.raises(OptionError, match=match):
        advantages_of(make_trainer(fixed(*range(8))), domains)


# ---- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "column"),
    [
        ((), "images"),
        ((0,), "images"),
        ((1,), "images"),
        ((0, 1, 2), "images"),
        ((0, 0, 0, 2), "images"),
        ((0,), "image"),
        ((0, 1), "image"),
    ],
)
def test_rows_with_and_without_images_train(
    make_trainer, make_dataset, lora_tensors, counts, column
):
    # Micro-batches of 2 rows, and log-probabilities of the old and the reference model in chunks
    # of 2, so that some hold no image.
    trainer = make_trainer(
        dataset=make_dataset(counts, column=column),
        per_device_train_batch_size=2,
        gradient_accumulation_steps=4,
        num_iterations=2,
        num_generations=2,
        beta=0.04,
    )
    before = lora_tensors(trainer)
    trainer.train()
    after = lora_tensors(trainer)
    assert any(not after[name].equal(before[name]) for name in before)
    assert all(tensor.isfinite().all() for tensor in after.values())


def test_no_scaling_is_grpo_bit_for_bit(make_trainer, make_config, make_dataset, lora_tensors):
    from trl import GRPOConfig, GRPOTrainer

    dataset = make_dataset((1,))
    ours = make_trainer(dataset=dataset, domain_scaling="none")
    ours.train()
    plain = make_trainer(dataset=dataset, trainer_class=GRPOTrainer, config=make_config(GRPOConfig))
    plain.train()
    theirs = lora_tensors(plain)
    assert all(tensor.equal(theirs[name]) for name, tensor in lora_tensors(ours).items())
    assert list(ours._logs["advantages"]) == list(plain._logs["advantages"])


def test_no_scaling_needs_no_domains(make_trainer, make_dataset):
    dataset = make_dataset().remove_columns("domain")
    make_trainer(dataset=dataset, domain_scaling="none", max_steps=1).train()


def test_unused_columns_may_be_removed(make_trainer):
    make_trainer(remove_unused_columns=True, max_steps=1).train()


def test_evaluation_leaves_the_scaler_alone_and_the_log_whole(make_trainer, make_dataset, tmp_path):
    import pandas as pd

    trainer = make_trainer(
        eval_dataset=make_dataset(n=4).remove_columns("domain"),
        num_generations_eval=2,
        per_device_eval_batch_size=4,
        log_completions=True,
    )
    trainer.train()
    before = trainer.domain_scaler.state_dict()
    assert sum(one["count"] for one in before["domains"].values()) == 4
    trainer.evaluate()
    assert trainer.domain_scaler.state_dict() == before
    table = pd.concat(
        pd.read_parquet(path) for path in sorted(tmp_path.glob("run/completions/*.parquet"))
    )
    assert {"domain", "drpo_weight", "advantage"} <= set(table.columns)


@pytest.mark.parametrize(
    ("reward", "match"),
    [
        (lambda completions, **kwargs: 1 / 0, "raised ZeroDivisionError.* on rows made/"),
        (lambda completions, **kwargs: [0.0], "returned 1 rewards for 8 completions"),
        (lambda completions, **kwargs: ["high"] * len(completions), r"'high' \(str\)"),
    ],
)
def test_a_faulty_reward_is_named(make_trainer, reward, match):
    reward.__name__ = "faulty"
    with pytest.raises(RewardError, match=rf"'faulty' .*{match}"):
        make_trainer(reward).train()


def test_placeholders_stay_suppressed(make_trainer):
    trainer = make_trainer(generation_kwargs={"suppress_tokens": [5]})
    tokens = trainer.generation_config.suppress_tokens
    assert {5, trainer.model.config.image_token_id} <= set(tokens)
    assert trainer.generation_kwargs["suppress_tokens"] == tokens


def test_the_model_card_names_the_right_paper(make_trainer, tmp_path):
    trainer = make_trainer()
    trainer.create_model_card(model_name="tiny")
    text = next(tmp_path.rglob("README.md")).read_text(encoding="utf-8")
    assert "2506.00711" in text
    assert "DeepSeekMath" not in text


# ---- refusals -----------------------------------------------------------------------------------


def test_a_missing_domain_column_is_named(make_trainer, make_dataset):
    dataset = make_dataset().rename_column("domain", "domains")
    with pytest.raises(OptionError, match=r"'domain' is not a column.*Did you mean 'domains'"):
        make_trainer(dataset=dataset)


def test_args_of_another_trainer_are_refused(make_trainer, make_config):
    from trl import GRPOConfig

    with pytest.raises(OptionError, match="GRPOConfig, but should be DRPOConfig"):
        make_trainer(config=make_config(GRPOConfig))


def test_a_reward_that_is_no_function_is_refused(make_trainer):
    with pytest.raises(OptionError, match="neither a function nor a model"):
        make_trainer(rewards=[0.5])


def test_a_trl_without_the_seam_is_named(make_trainer, monkeypatch):
    from trl import GRPOTrainer

    monkeypatch.delattr(GRPOTrainer, "_calculate_rewards")
    with pytest.raises(DependencyError, match=r"no GRPOTrainer._calculate_rewards.*pip install"):
        make_trainer()


def test_a_trl_that_does_not_call_the_seam_is_named(make_trainer, monkeypatch, advantages_of):
    trainer = make_trainer(fixed(*range(8)))
    parent = DRPOTrainer.__mro__[1]
    monkeypatch.setattr(parent, "_generate_and_score_completions", lambda self, inputs: {})
    with pytest.raises(DependencyError, match="that is called as DRPO needs it"):
        advantages_of(trainer, ["ecg", "ct"])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"domain_scaling": "drop"}, r"domain_scaling='drop'.*Did you mean 'drpo'"),
        ({"domain_column": None}, "domain_column=None"),
        ({"drpo_strength": 2.0}, "^drpo_strength=2.0"),
        ({"drpo_k_max": 0}, "^drpo_k_max=0"),
        ({"drpo_window": 1.5}, "^drpo_window=1.5"),
        ({"drpo_max_weight": 0.5}, "^drpo_max_weight=0.5"),
        ({"drpo_mean_floor": 0.0}, "^drpo_mean_floor=0.0"),
        ({"allow_unaligned_checkpoints": "yes"}, "allow_unaligned_checkpoints='yes'"),
    ],
)
def test_options_are_checked(make_config, options, match):
    with pytest.raises(OptionError, match=match):
        make_config(**options)


def test_config_defaults(make_config):
    config = make_config()
    assert config.remove_unused_columns is False
    assert (config.domain_scaling, config.drpo_strength, config.drpo_k_max) == ("drpo", 0.5, 3)
    with pytest.warns(UserWarning, match="scale_rewards='batch'"):
        make_config(scale_rewards="batch")


def test_config_is_parsed_from_flags(tmp_path):
    from trl import TrlParser

    flags = ["--output_dir", str(tmp_path), "--use_cpu", "true", "--bf16", "false"]
    flags += ["--drpo_strength", "1", "--domain_scaling", "none"]
    (config,) = TrlParser(DRPOConfig).parse_args_and_config(flags)
    assert (config.drpo_strength, config.domain_scaling) == (1.0, "none")


# ---- checkpoints inside a generation window -----------------------------------------------------

# One generation serves 4 micro-steps, an optimizer step has 2: every second step is the end of one.
WINDOW = {
    "per_device_train_batch_size": 4,
    "steps_per_generation": 4,
    "gradient_accumulation_steps": 2,
    "max_steps": 4,
}


def test_save_steps_inside_a_window_are_refused(make_config):
    with pytest.raises(CheckpointError, match=r"save_steps=3 .* multiple of 2, such as 2 or 4"):
        make_config(**WINDOW, save_strategy="steps", save_steps=3)


@pytest.mark.parametrize(
    "options",
    [
        {"save_strategy": "steps", "save_steps": 2},
        {"save_strategy": "steps", "save_steps": 3, "allow_unaligned_checkpoints": True},
        {"save_strategy": "no", "save_steps": 3},
        {"save_strategy": "epoch", "save_steps": 3},
        {"save_strategy": "steps", "save_steps": 0.25},  # of a run not known yet
    ],
)
def test_other_ways_to_save_are_taken(make_config, options):
    make_config(**WINDOW, **options)


@pytest.mark.parametrize(("num_iterations", "match"), [(2, "such as 2 or 4"), (3, "of 3")])
def test_several_iterations_widen_the_window(make_config, num_iterations, match):
    with pytest.raises(CheckpointError, match=match):
        make_config(num_iterations=num_iterations, save_strategy="steps", save_steps=1)


def test_fractions_of_a_run_are_checked_at_its_start(make_trainer):
    # A quarter of 4 steps is 1 step.
    trainer = make_trainer(**WINDOW, save_strategy="steps", save_steps=0.25)
    with pytest.raises(CheckpointError, match=r"save_steps=0.25 puts the checkpoint of step 1 "):
        trainer.train()


def test_a_short_last_step_of_an_epoch_shifts_the_windows(make_config):
    # One generation serves 6 micro-steps, as many as an epoch has; a step has 4. Steps end at
    # micro-steps 4, 6 | 10, 12 | ...: step 3 at 10 is inside a window, each sixth is not.
    config = make_config(steps_per_generation=6, gradient_accumulation_steps=4)
    config.save_strategy, config.save_steps = "steps", 3
    check_save_steps(config, max_steps=12)
    with pytest.raises(CheckpointError, match=r"of step 3 .* multiple of 6, such as 6 or 12"):
        check_save_steps(config, max_steps=12, epoch_length=6)
    config.save_steps = 6
    check_save_steps(config, max_steps=12, epoch_length=6)


def test_checkpoints_of_the_best_follow_the_evaluations(make_config):
    config = make_config(**WINDOW)
    config.save_strategy, config.eval_strategy, config.eval_steps = "best", "steps", 1
    with pytest.raises(CheckpointError, match=r"^eval_steps=1 "):
        check_save_steps(config, max_steps=4)
