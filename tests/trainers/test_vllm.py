"""Rollouts by vLLM, up to where it begins: TRL's own code runs, and a stand-in takes vLLM's place.

What vLLM does with what it is given is not tested: it needs a GPU.
"""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from trl.generation import vllm_generation

from climb_hf.errors import DependencyError, OptionError
from climb_hf.trainers import drpo_vllm
from climb_hf.trainers.drpo_vllm import check_vllm


class Written:
    """Completions of one prompt; each ends otherwise, so that rewards differ."""

    def __init__(self, prompt_ids, n, at):
        ids = [[40 + (7 * at + 13 * i) % 60, 65 + (5 * at + 11 * i) % 40, 45] for i in range(n)]
        self.prompt_token_ids = list(prompt_ids)
        self.outputs = [
            SimpleNamespace(
                token_ids=one,
                logprobs=[{token: SimpleNamespace(rank=1, logprob=-5.0)} for token in one],
            )
            for one in ids
        ]


class Engine:
    """In place of `vllm.LLM`: keeps what it was asked and told."""

    last = None

    def __init__(self, **options):
        type(self).last = self
        self.options, self.asked, self.sampling, self.loaded = options, [], [], set()
        runner = SimpleNamespace(model=SimpleNamespace(load_weights=self._load))
        worker = SimpleNamespace(model_runner=runner)
        self.llm_engine = SimpleNamespace(model_executor=SimpleNamespace(driver_worker=worker))

    def _load(self, named):
        self.loaded |= {name for name, _ in named}

    def generate(self, prompts, sampling_params, use_tqdm):
        self.asked += prompts
        self.sampling.append(sampling_params.options)
        return [Written(p["prompt_token_ids"], 1, at) for at, p in enumerate(prompts)]

    def reset_prefix_cache(self):
        pass


class Client:
    """In place of TRL's client of a vLLM server."""

    last = None

    def __init__(self, base_url, group_port, connection_timeout):
        type(self).last = self
        self.base_url, self.features, self.asked, self.loaded = base_url, [], [], set()

    def init_communicator(self, device):
        pass

    def get_server_info(self):
        return {"model_config": {"logprobs_mode": "processed_logprobs"}}

    def image_features(self, images):
        self.features += images
        return [None if one is None else {"mm_placeholders": {"image": one}} for one in images]

    def generate(self, prompts, features, n, **sampling):
        self.asked += zip(prompts, features or [None] * len(prompts), strict=True)
        made = [Written(ids, n, at) for at, ids in enumerate(prompts)]
        outputs = [one for each in made for one in each.outputs]
        return {
            "prompt_ids": [list(one.prompt_token_ids) for one in made],
            "completion_ids": [one.token_ids for one in outputs],
            "logprobs": [[[-5.0] for _ in one.token_ids] for one in outputs],
        }

    def update_named_params(self, metadata, named):
        self.loaded |= {name for name, _ in named}

    def reset_prefix_cache(self):
        pass


class Sampling:
    def __init__(self, **options):
        self.options = options


@pytest.fixture
def stand_in(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")  # TRL sets them, and they go back when the test is over
        monkeypatch.delenv(name)
    monkeypatch.setattr(vllm_generation, "is_vllm_available", lambda: True)
    for name, part in {"LLM": Engine, "SamplingParams": Sampling, "VLLMClient": Client}.items():
        monkeypatch.setattr(vllm_generation, name, part, raising=False)
    found = drpo_vllm.importlib.util.find_spec
    monkeypatch.setattr(
        drpo_vllm.importlib.util, "find_spec", lambda name: name if name == "vllm" else found(name)
    )


def trained(make_trainer, make_dataset, lora_tensors, **options):
    trainer = make_trainer(
        dataset=make_dataset((0, 1, 2)), use_vllm=True, shuffle_dataset=False, **options
    )
    before = lora_tensors(trainer)
    trainer.train()
    after = lora_tensors(trainer)
    assert any(not after[name].equal(before[name]) for name in before)
    assert all(torch.isfinite(tensor).all() for tensor in after.values())
    return trainer


def test_colocated_rows_with_and_without_images_train(
    stand_in, make_trainer, make_dataset, lora_tensors
):
    trainer = trained(make_trainer, make_dataset, lora_tensors)
    engine, image = Engine.last, trainer.model.config.image_token_id
    # 2 steps of 2 questions x 4 rollouts: rows of 0, 1, 2 and again 0 images.
    shown = [row.get("multi_modal_data", {}).get("image") for row in engine.asked]
    counts = [0 if one is None else len(one) if isinstance(one, list) else 1 for one in shown]
    assert counts == [0] * 4 + [1] * 4 + [2] * 4 + [0] * 4
    runs = [_runs(row["prompt_token_ids"], image) for row in engine.asked]
    assert runs == counts
    assert engine.sampling[0]["logit_bias"][image] == -100.0
    assert engine.sampling[0]["max_tokens"] == 8
    assert any("q_proj" in name for name in engine.loaded)
    assert not any("lora" in name for name in engine.loaded)
    assert "drpo/weight/ecg" in trainer.state.log_history[0]


def _runs(ids, token):
    return sum(one == token and (at == 0 or ids[at - 1] != token) for at, one in enumerate(ids))


def test_a_server_is_asked_each_question_once_with_its_images(
    stand_in, make_trainer, make_dataset, lora_tensors
):
    url = "http://gpu-2:8000"
    trained(make_trainer, make_dataset, lora_tensors, vllm_mode="server", vllm_server_base_url=url)
    client = Client.last
    assert client.base_url == url
    assert [0 if one is None else len(one) for one in client.features] == [0, 1, 2, 0]
    assert [features is not None for _, features in client.asked] == [False, True, True, False]
    assert any("q_proj" in name for name in client.loaded)


# ---- refusals -----------------------------------------------------------------------------------


def test_without_vllm_the_command_that_installs_it_is_named(make_trainer):
    with pytest.raises(DependencyError, match=r"pip install 'trl\[vllm\]'"):
        make_trainer(use_vllm=True)


def test_an_unknown_mode_is_refused_with_those_there_are():
    with pytest.raises(OptionError, match=r"vllm_mode='local'.*'colocate'.*'server'"):
        check_vllm(SimpleNamespace(use_vllm=True, vllm_mode="local"))
    check_vllm(SimpleNamespace(use_vllm=False, vllm_mode="local"))
