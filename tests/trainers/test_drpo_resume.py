"""Train, stop, resume: the same to the last bit, or an error that says why not."""

from __future__ import annotations

import json

import pytest
from transformers import TrainerCallback

from climb_hf.errors import CheckpointError


class StopAfter(TrainerCallback):
    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, **kwargs):
        control.should_training_stop |= state.global_step >= self.step


@pytest.fixture
def stopped(make_trainer, make_dataset, tmp_path):
    """A run of 4 steps, stopped after the checkpoint of step 2; its options and that checkpoint."""

    def stop(**options):
        options = {
            "output_dir": str(tmp_path / "stopped"),
            "max_steps": 4,
            "save_strategy": "steps",
            "save_steps": 2,
            "dataset": make_dataset((0, 1, 2)),
            **options,
        }
        trainer = make_trainer(**options)
        trainer.add_callback(StopAfter(2))
        trainer.train()
        return options, tmp_path / "stopped" / "checkpoint-2"

    return stop


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_iterations": 2, "drpo_window": 3},
        {
            "per_device_train_batch_size": 4,
            "steps_per_generation": 4,
            "gradient_accumulation_steps": 2,
        },
    ],
    ids=["plain", "two iterations", "generation over two steps"],
)
def test_a_resumed_run_equals_one_straight_through(make_trainer, stopped, lora_tensors, options):
    options, checkpoint = stopped(**options)
    resumed = make_trainer(**options)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    straight = make_trainer(**{**options, "save_strategy": "no"})
    straight.train()
    assert resumed.state.global_step == straight.state.global_step == 4
    assert resumed.domain_scaler.state_dict() == straight.domain_scaler.state_dict()
    expected = lora_tensors(straight)
    assert expected
    assert all(tensor.equal(expected[name]) for name, tensor in lora_tensors(resumed).items())


def test_the_state_is_a_part_of_the_checkpoint(stopped):
    _, checkpoint = stopped()
    state = json.loads((checkpoint / "drpo_state.json").read_text(encoding="utf-8"))
    # 2 steps of 8 rollouts, 4 for each question.
    assert sum(one["count"] for one in state["scaler"]["domains"].values()) == 4
    assert state["within_window"] == 0
    assert not list(checkpoint.glob("*.part"))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"domain_scaling": "none"}, r"domain_scaling 'drpo' \(now 'none'\)"),
        ({"drpo_window": 64}, r"window 512 \(now 64\)"),
    ],
)
def test_other_options_are_refused(make_trainer, stopped, options, match):
    before, checkpoint = stopped()
    with pytest.raises(CheckpointError, match=match):
        make_trainer(**{**before, **options}).train(resume_from_checkpoint=str(checkpoint))


@pytest.mark.parametrize("text", [None, "{", "[]", "{}", '{"within_window": 0, "scaler": 1}'])
def test_a_missing_or_damaged_state_is_named(make_trainer, tmp_path, text):
    path = tmp_path / "checkpoint-2" / "drpo_state.json"
    path.parent.mkdir()
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match="missing" if text is None else "damaged"):
        make_trainer()._load_optimizer_and_scheduler(str(path.parent))


def test_a_checkpoint_of_weights_only_has_no_state_and_says_so(make_trainer, stopped):
    options, checkpoint = stopped(save_only_model=True)
    assert not (checkpoint / "drpo_state.json").exists()
    with pytest.raises(CheckpointError, match=r"missing.*save_only_model"):
        make_trainer(**options).train(resume_from_checkpoint=str(checkpoint))


def test_a_checkpoint_inside_a_window_needs_consent(make_trainer, stopped):
    # One generation serves 3 steps, so that step 2 lies inside the window.
    options, checkpoint = stopped(num_iterations=3, allow_unaligned_checkpoints=True)
    state = json.loads((checkpoint / "drpo_state.json").read_text(encoding="utf-8"))
    assert state["within_window"] == 2
    make_trainer(**options).train(resume_from_checkpoint=str(checkpoint))
    strict = {**options, "allow_unaligned_checkpoints": False, "save_strategy": "no"}
    with pytest.raises(CheckpointError, match=r"2 of its 3 micro-steps"):
        make_trainer(**strict).train(resume_from_checkpoint=str(checkpoint))
