"""From a training script to the Hub and back, by real requests to the stand-in."""

from __future__ import annotations

import hashlib
import importlib
import json
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml

from climb_hf.errors import OptionError
from climb_hf.trainers import scripting
from climb_hf.trainers.script_push import keep_sources
from climb_hf.trainers.script_saving import domains_of_run
from climb_hf.trainers.scripting import ScriptArguments

NAME = "owner/ecg-drpo"
# A reward that differs between random texts; the real ones are all 0 there.
REWARD = """
def letters(completions, **kwargs):
    texts = [one[0]["content"] for one in completions]
    return [sum(c.islower() for c in text) / (len(text) + 1) for text in texts]
"""
# What a stranger does: the name alone, by climb-hf and by the Auto classes.
LOAD = """
import hashlib, json, sys
import climb_hf, numpy as np
from transformers import AutoModelForImageTextToText
from climb_hf.hub import answer, load_for_inference

def digest(model):
    weights = {n: t.detach().numpy() for n, t in model.state_dict().items() if "lora" not in n}
    return {n: hashlib.sha256(one.tobytes()).hexdigest() for n, one in weights.items()}

def loaded(name):
    model, processor = load_for_inference(name, device="cpu")
    signal = climb_hf.Signal(np.zeros((2, 500), "float32"), 100.0, ("V1", "V5"), ("mV",) * 2)
    found = {"weights": digest(model), "said": answer(model, processor, "Which?", (), 3, [signal])}
    auto = AutoModelForImageTextToText.from_pretrained(name)
    lora = [p.detach() for n, p in auto.named_parameters() if "lora_B" in n]
    moved = sum(float(one.abs().sum()) for one in lora)
    return {**found, "kind": type(auto).__name__, "lora": len(lora), "moved": moved}

print(json.dumps([loaded(name) for name in sys.argv[1:]]))
"""


def ran(code, *words, env, cwd):
    command = [sys.executable, *(["-c", code] if code else []), *words]
    done = subprocess.run(command, env=env, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def flags(ecg_tree, out):
    return [
        *("--dataset_name", "georgia", "--data_dir", str(ecg_tree.root / "georgia")),
        *("--use_cpu", "true", "--bf16", "false", "--report_to", "none", "--output_dir", str(out)),
        *("--max_steps", "2", "--save_steps", "1", "--use_peft", "--lora_r", "4"),
        *("--max_train_samples", "6", "--max_completion_length", "4", "--num_generations", "2"),
        *("--per_device_train_batch_size", "4", "--reward_funcs", "made_reward.letters"),
        *("--model_name_or_path", "tiny_series", "--learning_rate", "1e-2"),
        *("--gradient_checkpointing", "false", "--log_completions", "true"),
    ]


@pytest.fixture(scope="module")
def pushed(module_hub, ecg_tree, tmp_path_factory):
    """A run of two steps of a model with a tower for series, pushed at its end."""
    hub, folder = module_hub, tmp_path_factory.mktemp("pushed")
    out = folder / "run"
    (out / ".climb").mkdir(parents=True)
    (out / ".climb" / "state.json").write_text("{}")
    (folder / "made_reward.py").write_text(REWARD)
    environment = {**hub.environment(folder / "home"), "PYTHONPATH": str(folder)}
    words = ["-m", "climb_hf.trainers.train_drpo", *flags(ecg_tree, out)]
    words += ["--push_to_hub", "true", "--hub_model_id", NAME]
    ran(None, *words, env=environment, cwd=folder)
    return hub, out


def test_a_run_is_pushed_whole_and_a_stranger_loads_it_by_its_name(pushed, tmp_path):
    hub, out = pushed
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = hub.environment(tmp_path / "fresh", token="")
    by_name, local = json.loads(ran(LOAD, NAME, str(out), env=environment, cwd=elsewhere))
    assert by_name == local
    assert any("time_series_encoder" in name for name in by_name["weights"])
    assert by_name["lora"] > 0 and by_name["moved"] > 0


def test_what_is_pushed_loads_and_tells_nothing_else(pushed):
    hub, out = pushed
    files = hub.files(NAME)
    assert {"adapter_model.safetensors", "processor_config.json", "README.md"} <= set(files)
    state = json.loads(files["drpo_state.json"])["scaler"]["domains"]
    assert sum(one["count"] for one in state.values()) == 4  # 2 steps of 2 questions
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == f"{NAME}-base"
    assert {"config.json", "model.safetensors"} <= set(hub.files(f"{NAME}-base"))
    every = {**files, **hub.files(f"{NAME}-base")}
    assert not [path for path in every if "/" in path or path.endswith((".bin", ".pt", ".parquet"))]
    assert (out / "checkpoint-1").is_dir() and list(out.glob("completions/*"))
    assert not [path for path, content in every.items() if str(out.parent).encode() in content]
    # Once, at the end, the base before what names it; the .py says what a stranger has to install.
    order = [r.path for r in hub.web.asked("POST", "/commit/main")]
    assert order == [f"/api/models/{NAME}-base/commit/main", f"/api/models/{NAME}/commit/main"]
    assert [path for path in every if path.endswith(".py")] == ["climb_hf_needed.py"]


def test_the_card_that_is_pushed_says_how_to_load_it_and_what_became_of_each_domain(pushed):
    card = pushed[0].files(NAME)["README.md"].decode()
    assert "drpo" in yaml.safe_load(card.split("---")[1])["tags"]
    assert f'load_for_inference("{NAME}")' in card and "series=[signal]" in card
    assert "G12EC" in card and "CC-BY-4.0" in card and "2506.00711" in card
    row = next(line for line in card.splitlines() if line.startswith("| ecg | 4 |"))
    reward, weight = (float(cell) for cell in row.split("|")[3:5])
    assert 0 < reward < 1 and weight == pytest.approx(1.0, abs=0.1)  # one domain: nothing to weigh


# ---- what goes wrong ----------------------------------------------------------------------------

# Three times the same push, each outcome a line.
AGAIN = """
import json, sys
from climb_hf.errors import ClimbError
from climb_hf.trainers.script_push import push

said = []
for _ in range(3):
    try:
        said.append(push(sys.argv[1], sys.argv[2], private=json.loads(sys.argv[3])))
    except ClimbError as error:
        said.append(str(error))
print(json.dumps(said))
"""


@pytest.fixture
def again(hub, tmp_path):
    """What three pushes of a small adapter beside its base come to."""
    folder = tmp_path / "run"
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "config.json").write_text("{}")
    (folder / "base" / "model.safetensors").write_bytes(b"base")
    (folder / "adapter_model.safetensors").write_bytes(b"adapter")
    (folder / "adapter_config.json").write_text(
        '{"r": 4, "base_model_name_or_path": "runs/sft/base"}'
    )
    (folder / "events.log").write_text("private")

    def call(token="tok-owner", name=NAME, private=None, sources=("georgia",)):
        keep_sources(folder, sources)
        environment = hub.environment(tmp_path / "home", token)
        words = [str(folder), name, json.dumps(private)]
        return json.loads(ran(AGAIN, *words, env=environment, cwd=tmp_path))

    return call


def test_a_push_that_breaks_off_goes_on_where_it_was(hub, again):
    fault = importlib.import_module("loopback").Fault
    hub.web.faults += [
        fault("PUT", hashlib.sha256(b"adapter").hexdigest(), status=403),
        fault("POST", f"models/{NAME}/commit", status=500),
    ]
    first, second, third = again()
    assert first.startswith(f"cannot push to '{NAME}'") and "Nothing is lost" in first
    assert second.startswith(f"cannot push to '{NAME}'")
    assert third == NAME
    files = hub.files(NAME)
    assert set(files) == {"adapter_config.json", "adapter_model.safetensors"}
    assert json.loads(files["adapter_config.json"]) == {
        "r": 4, "base_model_name_or_path": f"{NAME}-base"
    }  # fmt: skip
    # Each content was sent until it arrived, and not again.
    sent = [
        request.path for request, status in hub.web.log if request.method == "PUT" and status == 200
    ]
    assert len(sent) == len(set(sent)) == 2


def test_a_name_of_somebody_else_is_refused_with_the_folder_kept(hub, again):
    assert all("cannot push to 'owner/x'" in one for one in again("tok-stranger", "owner/x"))
    assert hub.repos == {}


CLOSED = "tuab"  # its agreement forbids to share what is derived


def test_what_may_not_be_shared_is_pushed_to_private_repositories_only(hub, again):
    assert all("tuab (" in one and "private=True" in one for one in again(sources=[CLOSED]))
    assert hub.repos == {}
    assert again(sources=[CLOSED], private=True) == [NAME] * 3
    assert [one.private for one in hub.repos.values()] == [True, True]
    hub.repos["models", NAME].private = False  # it was made public since
    before = hub.files(NAME)
    assert all(f"{NAME} is public" in one for one in again(sources=[CLOSED], private=True))
    assert hub.files(NAME) == before


# ---- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["checkpoint", "all_checkpoints"])
def test_checkpoints_are_not_pushed(strategy):
    asked = SimpleNamespace(push_to_hub=True, hub_private_repo=None, hub_strategy=strategy)
    with pytest.raises(OptionError, match="pickles with paths"):
        scripting.check_push(ScriptArguments(dataset_name="georgia"), asked)


def test_pushes_in_between_are_left_to_the_end():
    asked = SimpleNamespace(push_to_hub=True, hub_private_repo=None, hub_strategy="every_save")
    scripting.check_push(ScriptArguments(dataset_name="georgia"), asked)
    assert asked.hub_strategy == "end"


# ---- domains on the card ------------------------------------------------------------------------


def test_domains_of_a_run_are_means_over_its_log():
    history = [
        {"drpo/reward/ecg": 0.2, "drpo/weight/ecg": 1.0, "loss": 1.0},
        {"drpo/reward/ecg": 0.4, "drpo/weight/ecg": 2.0, "drpo/reward/a/b": 1.0},
        {"drpo/weight/a/b": 3.0, "train_runtime": 9.0},
    ]
    ecg, slashed = sorted(
        domains_of_run(history, {"ecg": 7, "a/b": 1, "older": 5}), key=lambda one: -one["questions"]
    )
    assert ecg == pytest.approx({"domain": "ecg", "questions": 7, "reward": 0.3, "weight": 1.5})
    assert slashed == {"domain": "a/b", "questions": 1, "reward": 1.0, "weight": 3.0}
