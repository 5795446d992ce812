"""The two training scripts end to end: made ECGs to a checkpoint that a stranger can load."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from climb_hf.errors import DependencyError
from climb_hf.hub import load_for_inference
from climb_hf.models.tiny import save_tiny
from climb_hf.trainers import script_data, script_frames, train_drpo, train_sft
from climb_hf.trainers.scripting import parse

TRAINERS = Path(__file__).parents[2] / "trainers"
ASK = """
import sys
from PIL import Image
from climb_hf.hub import answer, load_for_inference
model, processor = load_for_inference(sys.argv[1], device="cpu")
print(repr(answer(model, processor, "Which finding?", [Image.new("RGB", (99, 66))], 4)))
"""


@pytest.fixture(scope="module")
def flags(ecg_tree):
    """Flags that both scripts take: made data, two steps, CPU."""
    return [
        *("--dataset_name", "georgia", "--data_dir", str(ecg_tree.root / "georgia")),
        *("--image_width_px", "112", "--use_cpu", "true", "--bf16", "false", "--report_to", "none"),
        *("--max_steps", "2", "--save_strategy", "no", "--lora_r", "4", "--disable_tqdm", "true"),
        *("--logging_steps", "1", "--eval_split", "test"),
        *("--gradient_checkpointing", "false", "--learning_rate", "1e-2"),
    ]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("model") / "tiny", image_size=56)


@pytest.fixture(scope="module")
def supervised(base, flags, tmp_path_factory):
    """What a supervised run with LoRA leaves."""
    out = tmp_path_factory.mktemp("runs") / "sft"
    ran_sft([*flags, "--model_name_or_path", str(base), "--output_dir", str(out)])
    return out


@pytest.fixture(autouse=True)
def letters(tmp_path, monkeypatch):
    """A reward that differs between random texts; the real ones are all 0 there."""
    (tmp_path / "made_reward.py").write_text(
        "def letters(completions, **kwargs):\n"
        "    texts = [one[0]['content'] for one in completions]\n"
        "    return [sum(c.islower() for c in text) / (len(text) + 1) for text in texts]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)


def ran_sft(flags):
    more = ["--use_peft", "--merge_adapter", "true", "--per_device_train_batch_size", "2"]
    train_sft.main(*parse(train_sft.make_parser(), [*flags, *more]))


def ran_drpo(flags):
    more = ["--use_peft", "--max_completion_length", "4", "--num_generations", "2"]
    more += ["--per_device_train_batch_size", "4", "--reward_funcs", "made_reward.letters"]
    train_drpo.main(*parse(train_drpo.make_parser(), [*more, *flags]))


def weights(folder):
    return load_for_inference(folder, device="cpu")[0].state_dict()


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_supervised_run_leaves_adapter_base_merged_model_and_card(supervised, base):
    for name in ("adapter_model.safetensors", "base/config.json", "merged/config.json"):
        assert (supervised / name).is_file()
    merged = weights(supervised / "merged")
    assert same(merged, weights(supervised))
    assert not same(merged, weights(base))
    moved = [n for n, tensor in weights(base).items() if not torch.equal(tensor, merged[n])]
    assert moved
    assert not any("visual" in name for name in moved)
    card = (supervised / "README.md").read_text()
    assert "supervised fine-tuning" in card
    assert "G12EC" in card and "CC-BY-4.0" in card
    assert str(supervised.parent) not in card


def test_drpo_goes_on_from_the_adapter_and_a_stranger_loads_the_result(supervised, flags, tmp_path):
    out = tmp_path / "drpo"
    told = ["--model_name_or_path", str(supervised), "--output_dir", str(out)]
    ran_drpo([*flags, *told, "--score_answers", "true", "--max_eval_samples", "3"])
    assert same(weights(out / "base"), weights(supervised))
    assert not same(weights(out), weights(out / "base"))
    card = (out / "README.md").read_text()
    assert "Domain-aware" in card
    assert "| all | 3 |" in card
    moved = out.rename(tmp_path / "elsewhere")
    ran = subprocess.run(
        [sys.executable, "-c", ASK, str(moved)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip().startswith(("'", '"'))


def test_a_stopped_run_goes_on_and_ends_in_the_same_weights(base, flags, tmp_path):
    through, halves = tmp_path / "through", tmp_path / "halves"
    common = [*flags, "--model_name_or_path", str(base), "--save_strategy", "steps"]
    common += ["--save_steps", "1", "--lr_scheduler_type", "constant"]
    ran_drpo([*common, "--output_dir", str(through), "--max_steps", "2"])
    ran_drpo([*common, "--output_dir", str(halves), "--max_steps", "1"])
    resumed = [*common, "--output_dir", str(halves), "--max_steps", "2"]
    ran_drpo([*resumed, "--resume_from_checkpoint", "latest"])
    state = json.loads((halves / "checkpoint-2" / "trainer_state.json").read_text())
    assert [line["step"] for line in state["log_history"] if "reward" in line] == [1, 2]
    assert same(weights(through), weights(halves))
    assert not same(weights(through), weights(base))


def test_rows_with_and_without_images_train_in_both_scripts(base, flags, tmp_path, monkeypatch):
    load = script_data.load_questions

    def every_second_without(*args, **kwargs):
        rows = load(*args, **kwargs)
        return rows.map(
            lambda row, i: {"images": row["images"] if i % 2 else []},
            with_indices=True,
            features=rows.features,
        )

    monkeypatch.setattr("climb_hf.trainers.scripting.load_questions", every_second_without)
    told = [*flags, "--model_name_or_path", str(base)]
    for run, folder in ((ran_sft, tmp_path / "sft"), (ran_drpo, tmp_path / "drpo")):
        run([*told, "--output_dir", str(folder)])
        assert not same(weights(folder), weights(base))


def test_whole_model_without_lora(base, flags, tmp_path):
    told = [*flags, "--model_name_or_path", str(base), "--output_dir", str(tmp_path / "all")]
    train_sft.main(*parse(train_sft.make_parser(), [*told, "--per_device_train_batch_size", "2"]))
    assert not (tmp_path / "all" / "adapter_config.json").exists()
    assert not same(weights(tmp_path / "all"), weights(base))
    assert "a model with all its weights" in (tmp_path / "all" / "README.md").read_text()


@pytest.mark.parametrize("series_as", ["signal", "both"])
def test_a_model_that_takes_series_trains_on_signals(series_as, flags, tmp_path, monkeypatch):
    load, met = script_data.load_questions, []

    def noted(*args, **kwargs):
        rows = load(*args, **kwargs)
        met.extend((len(row["series"]), len(row["images"])) for row in rows)
        return rows

    monkeypatch.setattr("climb_hf.trainers.scripting.load_questions", noted)
    told = [*flags, "--max_train_samples", "6", "--series_as", series_as]
    if series_as == "both":
        told += ["--modality_dropout", "0.5", "--modality_dropout_medium", "series"]
    sft, drpo = tmp_path / "sft", tmp_path / "drpo"
    ran_sft([*told, "--model_name_or_path", "tiny_series", "--output_dir", str(sft)])
    ran_drpo([*told, "--model_name_or_path", str(sft), "--output_dir", str(drpo)])
    assert set(met) == {(1, int(series_as == "both"))}
    for before, after in ((sft / "base", sft), (drpo / "base", drpo)):
        old, new = weights(before), weights(after)
        moved = {name for name in old if not torch.equal(old[name], new[name])}
        assert any("time_series_encoder" in name for name in moved)
        assert not any("visual" in name for name in moved)
    assert "supervised fine-tuning" in (sft / "README.md").read_text()


def test_a_source_with_masks_trains_with_the_papers_rewards(base, flags, load_fake, tmp_path):
    load_fake("busi").make(tmp_path / "busi")
    told = [*flags, "--model_name_or_path", str(base), "--output_dir", str(tmp_path / "out")]
    told += ["--dataset_name", "busi", "--data_dir", str(tmp_path / "busi"), "--max_steps", "1"]
    told += ["--save_strategy", "steps", "--save_steps", "1", "--reward_preset", "paper"]
    told += ["--use_peft", "--max_completion_length", "4", "--num_generations", "2"]
    told += ["--per_device_train_batch_size", "12", "--domain_column", "source"]
    train_drpo.main(*parse(train_drpo.make_parser(), told))
    state = json.loads((tmp_path / "out" / "checkpoint-1" / "trainer_state.json").read_text())
    log = state["log_history"][0]
    # 6 of 18 rows show no lesion; of the others the tiny model writes no box.
    assert log["rewards/box_iou_best/mean"] == 0.0
    assert log["drpo/count/busi"] == 6.0


@pytest.mark.parametrize("source", ["kits23", "covid_blues"])
def test_volumes_and_clips_reach_both_scripts_as_frames(
    base, flags, source, load_fake, tmp_path, monkeypatch
):
    pytest.importorskip("nibabel")
    pytest.importorskip("av")
    load_fake(source).make(tmp_path / source, n=4)
    told = [*flags, "--model_name_or_path", str(base), "--dataset_name", source, "--n_frames", "2"]
    told += ["--data_dir", str(tmp_path / source), "--max_steps", "1", "--eval_strategy", "no"]
    told += ["--dataset_options", '{"split_rule": "hash"}']
    asked, real = [], script_frames.as_images
    monkeypatch.setattr(
        script_frames, "as_images", lambda row, n, **how: asked.append(n) or real(row, n, **how)
    )
    for ran in (ran_sft, ran_drpo):
        asked.clear()
        ran([*told, "--output_dir", str(tmp_path / ran.__name__)])
        assert set(asked) == {2}


def test_drpo_makes_ready_for_vllm_a_model_that_sees_and_no_longer_hears(flags, tmp_path, caplog):
    told = [*flags, "--max_train_samples", "6", "--use_vllm", "true"]
    told += ["--vllm_with_series", "picture", "--model_name_or_path", "tiny_series"]
    with pytest.raises(DependencyError, match="use_vllm=True needs vLLM"):  # the last thing missing
        ran_drpo([*told, "--output_dir", str(tmp_path)])
    assert "recordings are drawn as pictures" in caplog.text
    assert json.loads((tmp_path / "base" / "config.json").read_text())["model_type"] == "qwen2_5_vl"


@pytest.mark.parametrize("launched", ["file", "file in its folder", "module"])
def test_every_way_to_launch_reaches_the_script(launched, tmp_path):
    ways = {
        "file": ([str(TRAINERS / "train_drpo.py")], tmp_path),
        "file in its folder": (["train_drpo.py"], TRAINERS),
        "module": (["-m", "climb_hf.trainers.train_drpo"], tmp_path),
    }
    command, folder = ways[launched]
    # No model is named: the script gets as far as reading its arguments, and says so in one line.
    wanted = ["--output_dir", str(tmp_path / "out"), "--use_cpu", "true", "--bf16", "false"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", *command, *wanted]
    ran = subprocess.run(launch, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    said = [line for line in ran.stderr.splitlines() if line.startswith("OptionError")]
    assert len(said) == 1
    assert "model_name_or_path is not given" in said[0]
