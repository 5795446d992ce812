"""Rules, sampling and options in the trainer on a tiny model."""

from __future__ import annotations

import json
import logging
import math

import numpy as np
import pytest
import torch

from climb_hf.errors import CheckpointError, OptionError, RewardError
from climb_hf.trainers import train_drpo
from climb_hf.trainers.drpo_rules import RULES
from climb_hf.trainers.scripting import parse

OPTIONS = {
    "drpo_paper": {"beta": 1e-4},
    "fairgrpo": {"group_column": "sex"},
}


def with_groups(dataset):
    return dataset.add_column("sex", ["f", "m", None, "f"] * (len(dataset) // 4))


def fixed(*values):
    def reward(completions, **kwargs):
        return list(values)

    return reward


@pytest.fixture
def warned(caplog):
    """Sentences that the trainer said."""
    caplog.set_level(logging.WARNING, logger="climb_hf")
    return lambda: [record.getMessage() for record in caplog.records]


# ---- every rule trains and resumes --------------------------------------------------------------


@pytest.mark.parametrize("rule", list(RULES))
def test_every_rule_trains_and_resumes_bit_equal(
    make_trainer, make_dataset, lora_tensors, tmp_path, rule
):
    options = {
        "output_dir": str(tmp_path / "run"),
        "dataset": with_groups(make_dataset()),
        "domain_scaling": rule,
        "max_steps": 3,
        "save_strategy": "steps",
        "save_steps": 2,
        "save_total_limit": 2,
        **OPTIONS.get(rule, {}),
    }
    straight = make_trainer(**options)
    before = lora_tensors(straight)
    straight.train()
    after = lora_tensors(straight)
    assert any(not after[name].equal(before[name]) for name in before)
    resumed = make_trainer(**options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-2"))
    assert all(tensor.equal(after[name]) for name, tensor in lora_tensors(resumed).items())
    assert resumed.domain_scaler.state_dict() == straight.domain_scaler.state_dict()


@pytest.mark.parametrize("power", [0.0, 0.5])
def test_a_run_resumed_in_a_later_epoch_asks_the_same_questions(
    make_trainer, lora_tensors, tmp_path, power
):
    # 16 rows, 2 questions a step: 8 steps an epoch; the checkpoint lies in the second.
    options = {
        "output_dir": str(tmp_path / "run"),
        "max_steps": 11,
        "save_strategy": "steps",
        "save_steps": 10,
        "domain_sampling_power": power,
        "max_completion_length": 4,
    }
    straight = make_trainer(**options)
    straight.train()
    resumed = make_trainer(**options)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-10"))
    assert list(resumed._logs["prompt"])[-8:] == list(straight._logs["prompt"])[-8:]
    expected = lora_tensors(straight)
    assert all(tensor.equal(expected[name]) for name, tensor in lora_tensors(resumed).items())


def test_a_power_evens_out_what_is_asked(make_trainer):
    # 12 ecg and 4 ct rows; uniform: 8 and 8 of the 16 questions of 8 steps.
    trainer = make_trainer(domain_sampling_power=1.0, max_steps=8, max_completion_length=2)
    trainer.train()
    counts = trainer.domain_scaler.summary()
    assert (counts["count/ecg"], counts["count/ct"]) == (8.0, 8.0)


def test_a_data_set_exchanged_after_the_start_is_drawn_from_as_it_is(make_trainer, make_dataset):
    trainer = make_trainer(domain_sampling_power=1.0, max_steps=4, max_completion_length=2)
    trainer.train_dataset = make_dataset(n=8)  # 6 ecg and 2 ct: 4 and 4 of the 8 questions
    trainer.train()
    counts = trainer.domain_scaler.summary()
    assert (counts["count/ecg"], counts["count/ct"]) == (4.0, 4.0)


# ---- the paper's KL damping ---------------------------------------------------------------------


def test_damping_asks_the_policy_once_more_and_says_so(make_trainer, warned):
    trainer = make_trainer(domain_scaling="drpo_paper", beta=1e-4, max_steps=2)
    calls = []
    inner = trainer._get_per_token_logps_and_entropies

    def counted(model, *args, **kwargs):
        calls.append(torch.is_grad_enabled())
        return inner(model, *args, **kwargs)

    trainer._get_per_token_logps_and_entropies = counted
    trainer.train()
    # A step: the reference and the policy without gradients, and the loss.
    assert calls == [False, False, True] * 2
    assert any("one forward pass of the policy more" in one for one in warned())
    assert "drpo/kl_ms" in trainer.state.log_history[0]


def test_damping_uses_what_trl_has_kept(make_trainer):
    # 2 iterations: TRL keeps the policy's own log-probabilities.
    trainer = make_trainer(domain_scaling="drpo_paper", beta=1e-4, num_iterations=2, max_steps=2)
    assert not any("costs one forward" in one for one in trainer.plan(2))
    trainer.train()
    assert "drpo/kl_ms" in trainer.state.log_history[0]


def test_a_response_far_from_the_reference_counts_less(make_trainer, advantages_of):
    rewards = fixed(1, 1, 0, 0, 1, 1, 0, 0)
    options = {"domain_scaling": "drpo_paper", "beta": 1e-4}
    trainer = make_trainer(rewards, **options)
    undamped = advantages_of(trainer, ["ecg", "ct"])  # the policy still is its reference
    assert undamped[0] == undamped[1] == pytest.approx(-undamped[2])
    with torch.no_grad():
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.5, generator=torch.Generator().manual_seed(0))
    damped = advantages_of(trainer, ["ecg", "ct"])
    assert damped[0] != damped[1]
    assert damped[2] == pytest.approx(damped[3]) and damped[2] < 0 < min(damped[:2])


# ---- groups -------------------------------------------------------------------------------------


def test_groups_come_from_their_column(make_trainer, make_dataset):
    dataset = with_groups(make_dataset())
    trainer = make_trainer(
        dataset=dataset, domain_scaling="fairgrpo", group_column="sex", max_steps=8
    )
    trainer.train()
    # Row 4n is ecg f, 4n + 1 ecg m, 4n + 2 ecg unknown, 4n + 3 ct f.
    summary = trainer.domain_scaler.summary()
    assert (summary["groups/ecg"], summary["groups/ct"]) == (3.0, 1.0)


# ---- bad input ----------------------------------------------------------------------------------


def test_rows_without_a_domain_are_refused_at_the_start(make_trainer, make_dataset):
    rows = [{**row, "domain": None if row["id"] == "made/5" else row["domain"]}
            for row in make_dataset()]  # fmt: skip
    dataset = type(make_dataset()).from_list(rows)
    with pytest.raises(OptionError, match=r"no domain in 1 of 16 rows \(row 5: None\)"):
        make_trainer(dataset=dataset)


def test_one_domain_only_trains_and_is_said(make_trainer, make_dataset, warned):
    dataset = make_dataset().map(lambda row: {"domain": "ecg"})
    make_trainer(dataset=dataset, max_steps=1).train()
    assert any("all rows are of one domain, 'ecg'" in one for one in warned())


@pytest.mark.parametrize(
    "values", [(math.nan,) * 8, (math.nan, 1, 0, 0, math.nan, math.nan, 1, 0), (-3.0, 5.0) * 4]
)
def test_odd_rewards_leave_advantages_finite(make_trainer, advantages_of, values):
    found = advantages_of(make_trainer(fixed(*values)), ["ecg", "ct"])
    assert np.isfinite(found).all()
    known = ~np.isnan(np.array(values, dtype=float))
    assert not np.array(found)[~known].any()


def test_rewards_out_of_their_bounds_are_said(make_trainer, warned):
    trainer = make_trainer(fixed(-3.0, 5.0, 0, 0, 1, 1, 0, 0), max_steps=2)
    trainer.train()
    said = [one for one in warned() if "outside its bounds (0, 1)" in one]
    assert len(said) == 1 and "'reward' gave -3" in said[0]


def test_a_reward_model_of_infinite_rewards_is_named(make_trainer, monkeypatch):
    from trl import GRPOTrainer

    def infinite(self, inputs, *args):
        return torch.tensor([[math.inf]] + [[0.0]] * (len(inputs) - 1))

    monkeypatch.setattr(GRPOTrainer, "_calculate_rewards", infinite)
    with pytest.raises(RewardError, match=r"'letters' gave inf for 1 of 8 completions"):
        make_trainer().train()


def test_one_rollout_a_question_is_refused_with_the_reason(make_config):
    with pytest.raises(OptionError, match=r"num_generations=1 should be at least 2: an advantage"):
        make_config(num_generations=1)


def test_too_few_rows_for_a_generation_are_refused(make_trainer, make_dataset):
    with pytest.raises(OptionError, match=r"has 1 rows, but one generation asks 2 different"):
        make_trainer(dataset=make_dataset(n=1))


def test_a_domain_that_comes_at_step_1000_is_within_bounds(make_trainer, advantages_of):
    trainer = make_trainer(fixed(1, 0, 0, 0, 1, 1, 0, 0))
    for _ in range(1000):
        trainer.domain_scaler.observe(np.array([[0.0, 0.0, 0.5, 1.0]]), ["ecg"])
    found = advantages_of(trainer, ["ecg", "late"])
    assert np.isfinite(found).all()
    ecg, late = list(trainer._logs["extra"]["drpo_weight"])[::4]
    assert 0.1 <= ecg < late <= 10


# ---- restoring ----------------------------------------------------------------------------------


@pytest.fixture
def saved(make_trainer, tmp_path):
    trainer = make_trainer(
        output_dir=str(tmp_path / "run"), max_steps=4, save_strategy="steps", save_steps=2
    )
    trainer.train()
    return tmp_path / "run" / "checkpoint-2"


def test_a_state_of_other_domains_goes_on_and_is_said(
    make_trainer, make_dataset, saved, tmp_path, warned
):
    dataset = make_dataset().map(lambda row: {"domain": {"ecg": "eeg"}.get(row["domain"], "ct")})
    trainer = make_trainer(output_dir=str(tmp_path / "run"), max_steps=4, dataset=dataset)
    trainer.train(resume_from_checkpoint=str(saved))
    assert {"eeg", "ecg"} <= {name.split("/")[1] for name in trainer.domain_scaler.summary()}
    assert any("no longer has: ecg" in one for one in warned())


def test_a_state_of_another_number_of_rollouts_goes_on(make_trainer, saved, tmp_path):
    trainer = make_trainer(output_dir=str(tmp_path / "run"), max_steps=4, num_generations=8)
    trainer.train(resume_from_checkpoint=str(saved))
    state = trainer.domain_scaler.state_dict()
    widths = {len(one) for known in state["domains"].values() for one in known["vectors"]}
    assert widths == {4}  # vectors keep the length that they were saved with
    assert trainer.state.global_step == 4


@pytest.mark.parametrize("rule", ["none", "disco", "drpo_paper"])
def test_a_run_goes_on_with_the_rule_it_was_saved_with_only(make_trainer, saved, tmp_path, rule):
    options = OPTIONS.get(rule, {})
    trainer = make_trainer(
        output_dir=str(tmp_path / "run"), max_steps=4, domain_scaling=rule, **options
    )
    with pytest.raises(CheckpointError, match=rf"domain_scaling 'drpo' \(now '{rule}'\)"):
        trainer.train(resume_from_checkpoint=str(saved))


def test_a_state_from_before_an_option_existed_is_read(saved, make_trainer, tmp_path):
    path = saved / "drpo_state.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    for name in ("difficulty", "disco_form", "kl_damping"):
        del state["scaler"]["options"][name]
    del state["scaler"]["own"]
    path.write_text(json.dumps(state), encoding="utf-8")
    trainer = make_trainer(output_dir=str(tmp_path / "run"), max_steps=3)
    trainer.train(resume_from_checkpoint=str(saved))
    assert trainer.state.global_step == 3


# ---- what the log shows -------------------------------------------------------------------------


def test_the_log_shows_each_domain(make_trainer):
    trainer = make_trainer(max_steps=8, max_completion_length=4)
    trainer.train()
    names = {name for entry in trainer.state.log_history for name in entry}
    for domain in ("ecg", "ct"):
        for figure in ("weight", "count", "reward", "mu", "k", "zero_std"):
            assert f"drpo/{figure}/{domain}" in names
    assert {"drpo/ess", "drpo/effective_share", "drpo/clipped_frac", "drpo/time_ms"} <= names


def test_the_plan_is_said_at_the_start_and_the_unseen_at_the_end(
    make_trainer, make_dataset, warned
):
    dataset = make_dataset().map(lambda row: {"domain": "rare" if row["id"] == "made/3" else "ecg"})
    trainer = make_trainer(dataset=dataset, max_steps=1, shuffle_dataset=False)
    trainer.train()
    said = warned()
    assert "each generation asks 2 questions 4 times" in said[0]
    assert any("likely to ask none of: rare" in one for one in said)
    assert "none of: rare (1 of 16 rows)" in said[-1]


def test_a_run_whose_rollouts_are_all_alike_is_warned_of_while_it_runs(make_trainer, warned):
    make_trainer(fixed(*(1.0,) * 8), max_steps=6, max_completion_length=2).train()
    (flat,) = [one for one in warned() if "one and the same reward" in one]
    assert flat.startswith("100% of the questions of the last 5 generations")


def test_a_domain_with_all_the_weight_is_warned_of_while_it_runs(make_trainer, warned):
    # Domain ct is always right and ecg half the time: ecg has all of the weight that teaches.
    def half(completions, *, domain, **kwargs):
        return [1.0 if d == "ct" else float(i % 2) for i, d in enumerate(domain)]

    make_trainer(half, max_steps=8, max_completion_length=2).train()
    (alone,) = [one for one in warned() if "of all weight" in one]
    assert "domain 'ecg' had 100% of all weight" in alone and "(ct)" in alone


# ---- options that do not go together ------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "match"),
    [
        (
            {"domain_scaling": "disco", "drpo_strength": 1.0},
            r"drpo_strength=1.0 has no effect with domain_scaling='disco'.*heeds: drpo_disco_form",
        ),
        (
            {"domain_scaling": "drpo_paper", "beta": 1e-4, "drpo_k_max": 5},
            "drpo_k_max=5 has no effect",
        ),
        ({"drpo_disco_form": "inv"}, "drpo_disco_form='inv' has no effect"),
        (
            {"drpo_difficulty": "question", "drpo_k_max": 5},
            "drpo_k_max=5 has no effect with drpo_difficulty='question'",
        ),
        ({"domain_scaling": "fairgrpo"}, "name their column with group_column"),
        ({"group_column": "sex"}, "group_column='sex' has no effect"),
        ({"domain_scaling": "drpo_paper"}, r"beta=0.0 leaves out.*drpo_kl_damping=False"),
        (
            {"domain_scaling": "drpo_released", "scale_rewards": "batch"},
            r"'drpo_released' is defined on .* scale_rewards='batch'",
        ),
        (
            {
                "domain_scaling": "drpo_paper",
                "drpo_kl_damping": False,
                "multi_objective_aggregation": "normalize_then_sum",
            },
            "multi_objective_aggregation='normalize_then_sum'",
        ),
        ({"domain_sampling_power": 1.5}, "domain_sampling_power=1.5 should be from 0 to 1"),
        ({"domain_sampling_power": "root"}, "domain_sampling_power='root' is str"),
        ({"drpo_difficulty": "clustres"}, r"drpo_difficulty='clustres'.*Did you mean 'clusters'"),
        ({"domain_scaling": "no.such.Rule"}, "domain_scaling='no.such.Rule' cannot be imported"),
        ({"group_column": 3}, "group_column=3"),
    ],
)
def test_options_without_effect_are_refused_with_the_reason(make_config, options, match):
    with pytest.raises(OptionError, match=match):
        make_config(**options)


def test_the_baseline_takes_a_recipe_as_it_is(make_config):
    make_config(domain_scaling="none", drpo_strength=1.0, drpo_k_max=5, group_column="sex")


def test_sampling_needs_rows_that_are_known_and_shuffled(make_trainer, make_dataset):
    with pytest.raises(OptionError, match=r"domain_sampling_power=0.5 needs .* streams"):
        make_trainer(dataset=make_dataset().to_iterable_dataset(), domain_sampling_power=0.5)
    with pytest.raises(OptionError, match="which shuffle_dataset=False forbids"):
        make_trainer(domain_sampling_power=0.5, shuffle_dataset=False)


def test_sampling_works_beside_no_scaling_and_needs_the_column(make_trainer, make_dataset):
    make_trainer(domain_scaling="none", domain_sampling_power=0.5, max_steps=1).train()
    dataset = make_dataset().remove_columns("domain")
    with pytest.raises(OptionError, match="'domain' is not a column"):
        make_trainer(dataset=dataset, domain_scaling="none", domain_sampling_power=0.5)


def test_a_stream_trains_without_sampling(make_trainer, make_dataset):
    make_trainer(dataset=make_dataset().to_iterable_dataset(), max_steps=1).train()


def test_the_paper_recipe_is_the_papers(tmp_path):
    flags = ["--config", "qoq_med_paper", "--use_cpu", "true", "--bf16", "false"]
    # One process here; the recipe is for 8, which make 2,560 completions of it.
    _, args, _ = parse(train_drpo.make_parser(), [*flags, "--output_dir", str(tmp_path)])
    assert args.domain_scaling == "drpo_paper"
    assert (args.loss_type, args.scale_rewards) == ("grpo", "group")
    # Appendix D.1: n 5, KL 1e-4, lr 1e-6, weight decay 1e-2, temperature 1, top-p .99, clip 1.
    assert (args.num_generations, args.beta, args.learning_rate) == (5, 1e-4, 1e-6)
    assert (args.weight_decay, args.temperature, args.top_p) == (0.01, 1.0, 0.99)
    assert args.max_grad_norm == 1.0
    assert 8 * args.generation_batch_size == 512 * 5
    assert 8 * args.per_device_train_batch_size * args.gradient_accumulation_steps == 128 * 5
