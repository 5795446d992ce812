"""The two SmolLM2 recipes on real ECGs, as a user runs them: aligned, trained, reloaded, asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CLI = [sys.executable, "-c", "import sys; from climb_hf.cli import main; sys.exit(main())"]
QUESTION = "You are shown a 12-lead ECG. Which of these groups describes it best? Choose one."
OPTIONS = ("normal sinus rhythm", "conduction disturbance", "ST segment or T wave change")
CHAT = """
import json, sys
import torch
messages = [{"role": "user", "content": [{"type": "time_series", "path": sys.argv[2]},
                                         {"type": "text", "text": "Which finding?"}]}]
inputs = processor.apply_chat_template(
    messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
)
with torch.no_grad():
    logits = model(**inputs).logits[0, -1, :1000].double().tolist()
print(json.dumps(logits))
"""
THREE_LINES = """
import climb_hf; from transformers import AutoModelForCausalLM, AutoProcessor
processor = AutoProcessor.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
"""
ADAPTER = """
from climb_hf import hub
model, processor = hub.load_for_inference(sys.argv[1], device="cpu")
"""


@pytest.fixture(scope="module")
def smollm2():
    folder = os.environ.get("CLIMB_TEST_SMOLLM2", "")
    if not (Path(folder) / "config.json").is_file():
        pytest.skip("CLIMB_TEST_SMOLLM2 names no folder with SmolLM2-135M as transformers saves it")
    return str(Path(folder).resolve())


@pytest.fixture(scope="module")
def trained(smollm2, real_data, tmp_path_factory):
    """A folder in which both recipes ran with a few steps; the names of outputs are theirs."""
    home = tmp_path_factory.mktemp("smollm2")
    shared = ["--data_dir", str((real_data / "ecg").resolve()), "--use_cpu", "true"]
    shared += ["--logging_steps", "1", "--disable_tqdm", "true"]
    small = ["--per_device_train_batch_size", "2", "--max_steps", "3", "--warmup_steps", "0"]
    align = ["--recipe", "smollm2_ecg", "--model_name_or_path", smollm2, *small]
    said(home, *CLI, "train", "sft", *align, *shared)
    small = ["--per_device_train_batch_size", "4", "--num_generations", "4", "--max_steps", "2"]
    small += ["--max_completion_length", "16", "--save_steps", "2", "--warmup_steps", "0"]
    small += ["--gradient_accumulation_steps", "1"]
    said(home, *CLI, "train", "drpo", "--recipe", "smollm2_ecg_drpo", *small, *shared)
    return home


def said(folder, *command):
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr[-2000:]
    return ran.stdout


def header(real_data):
    return str((real_data / "ecg/challenge-2021/training/georgia/g8/E07506.hea").resolve())


def logits(trained, run, how, real_data):
    code = "import sys\n" + how + CHAT
    told = said(trained, sys.executable, "-c", code, str(trained / run), header(real_data))
    return json.loads(told.splitlines()[-1])


@pytest.mark.slow
def test_each_stage_moves_what_it_trains(trained):
    from safetensors.torch import load_file

    state = trained / "runs/smollm2-ecg-drpo/checkpoint-2/trainer_state.json"
    rewards = [one for one in json.loads(state.read_text())["log_history"] if "reward" in one]
    assert len(rewards) == 2
    for run in ("align", "drpo"):
        held = load_file(trained / f"runs/smollm2-ecg-{run}/adapter_model.safetensors")
        assert any(one.any() for name, one in held.items() if "lora_B" in name)
        assert any("time_series_encoder" in name for name in held)


@pytest.mark.slow
def test_three_lines_give_the_trained_adapters_logits(trained, real_data):
    whole = logits(trained, "runs/smollm2-ecg-drpo/merged", THREE_LINES, real_data)
    adapted = logits(trained, "runs/smollm2-ecg-drpo", ADAPTER, real_data)
    before = logits(trained, "runs/smollm2-ecg-align", ADAPTER, real_data)
    assert whole == pytest.approx(adapted, abs=1e-4)
    assert whole != pytest.approx(before, abs=1e-4)


@pytest.mark.slow
def test_ask_answers_about_a_real_recording(trained, real_data):
    flags = [one for option in OPTIONS for one in ("--option", option)]
    flags += ["--series", header(real_data), "--max-new-tokens", "24", "--json"]
    told = said(trained, *CLI, "ask", "runs/smollm2-ecg-drpo/merged", *flags, QUESTION)
    answer = json.loads(told)
    assert answer["text"].strip()
    assert set(answer["picks"]) <= set(OPTIONS)
