"""Checkpoints between tools: weights of others opened here, and ours opened elsewhere."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from climb_hf import Signal, export_backbone, from_backbone, hub
from climb_hf.errors import CheckpointError, OptionError
from climb_hf.export import main
from climb_hf.models.series_lm import SERIES_MODULES
from climb_hf.models.tiny import save_tiny, tiny_vlm
from climb_hf.models.tiny_series import tiny_series_config, tiny_series_lm, tiny_series_vlm

ALL_LOADED = {"missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"}


# ---- the authors' weights -----------------------------------------------------------------------

# Sizes in proportion to QoQ-Med-VL-7B and -32B, whose embeddings are not their heads; as in the
# 3B they are; rows of the vocabulary are more than tokens in all of them.
SHAPES = {
    "7b": {"tied": False},
    "32b": {"tied": False, "hidden_size": 128, "n_layers": 3},
    "3b": {"tied": True},
}
VOCAB_SIZE = 640


def save_as_authors(folder, *, tied, **sizes):
    """A tiny Qwen2.5-VL in the files of ddvd233/QoQ-Med-VL-7B, by transformers 4.51's names.

    Written by hand: shards and their index, settings in one level, no processor_config.json.
    """
    folder.mkdir()
    model, processor = tiny_vlm(**sizes)
    _save_shards(folder, _old_weights(model, tied))
    _save_settings(folder, model, processor, tied)
    _save_old_processor(folder, processor)
    return folder


def _old_weights(model, tied):
    torch.manual_seed(1)
    made = {}
    for name, tensor in model.state_dict().items():
        old = name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")
        if old == "model.embed_tokens.weight":
            more = torch.randn(VOCAB_SIZE - len(tensor), tensor.shape[1])
            tensor = torch.cat([tensor, 0.05 * more])
        if old != "lm_head.weight":
            made[old] = tensor.to(torch.bfloat16).contiguous()
    if not tied:
        made["lm_head.weight"] = 0.05 * torch.randn_like(made["model.embed_tokens.weight"])
    return made


def _save_shards(folder, weights):
    names = list(weights)
    half = len(names) // 2
    placed = {}
    for at, own in enumerate((names[:half], names[half:]), start=1):
        file = f"model-0000{at}-of-00002.safetensors"
        save_file({name: weights[name] for name in own}, folder / file, metadata={"format": "pt"})
        placed |= dict.fromkeys(own, file)
    size = sum(tensor.nbytes for tensor in weights.values())
    index = {"metadata": {"total_size": size}, "weight_map": placed}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def _save_settings(folder, model, processor, tied):
    text, tokenizer = model.config.text_config, processor.tokenizer
    vision = {
        "depth": 2,
        "fullatt_block_indexes": [1],
        "hidden_act": "silu",
        "hidden_size": 32,
        "in_channels": 3,
        "in_chans": 3,
        "intermediate_size": 64,
        "model_type": "qwen2_5_vl",
        "num_heads": 2,
        "out_hidden_size": text.hidden_size,
        "patch_size": 14,
        "spatial_merge_size": 2,
        "spatial_patch_size": 14,
        "temporal_patch_size": 2,
        "tokens_per_second": 2,
        "torch_dtype": "bfloat16",
        "window_size": 56,
    }
    sections = text.rope_parameters["mrope_section"]
    settings = {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "attention_dropout": 0.0,
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "hidden_act": "silu",
        "hidden_size": text.hidden_size,
        "image_token_id": model.config.image_token_id,
        "initializer_range": 0.02,
        "intermediate_size": text.intermediate_size,
        "max_position_embeddings": 128000,
        "max_window_layers": 28,
        "model_type": "qwen2_5_vl",
        "num_attention_heads": text.num_attention_heads,
        "num_hidden_layers": text.num_hidden_layers,
        "num_key_value_heads": text.num_key_value_heads,
        "pad_token_id": tokenizer.pad_token_id,
        "rms_norm_eps": 1e-06,
        "rope_scaling": {"mrope_section": sections, "rope_type": "default", "type": "default"},
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.51.3",
        "use_cache": False,
        "use_sliding_window": False,
        "video_token_id": model.config.video_token_id,
        "vision_config": vision,
        "vision_end_token_id": model.config.vision_end_token_id,
        "vision_start_token_id": model.config.vision_start_token_id,
        "vision_token_id": model.config.image_token_id,
        "vocab_size": VOCAB_SIZE,
    }
    generation = {
        "bos_token_id": tokenizer.pad_token_id,
        "do_sample": True,
        "eos_token_id": [tokenizer.eos_token_id, tokenizer.pad_token_id],
        "pad_token_id": tokenizer.pad_token_id,
        "repetition_penalty": 1.05,
        "temperature": 1e-06,
        "transformers_version": "4.51.3",
    }
    (folder / "config.json").write_text(json.dumps(settings, indent=2))
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2))


def _save_old_processor(folder, processor):
    tokenizer = processor.tokenizer
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    added = state["added_tokens"]
    facts = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    settings = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": {
            str(one["id"]): {name: one[name] for name in facts} for one in added
        },
        "additional_special_tokens": [one["content"] for one in added],
        "bos_token": None,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "extra_special_tokens": {},
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "padding_side": "right",
        "processor_class": "Qwen2_5_VLProcessor",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    images = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_processor_type": "Qwen2VLImageProcessor",
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "max_pixels": 56 * 56,
        "merge_size": 2,
        "min_pixels": 28 * 28,
        "patch_size": 14,
        "processor_class": "Qwen2_5_VLProcessor",
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": 56 * 56, "shortest_edge": 28 * 28},
        "temporal_patch_size": 2,
    }
    merges = [one if isinstance(one, str) else " ".join(one) for one in state["model"]["merges"]]
    files = {
        "tokenizer.json": state,
        "vocab.json": state["model"]["vocab"],
        "added_tokens.json": {one["content"]: one["id"] for one in added},
        "special_tokens_map.json": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
        "tokenizer_config.json": settings,
        "preprocessor_config.json": images,
        "chat_template.json": {"chat_template": processor.chat_template},
    }
    for name, told in files.items():
        (folder / name).write_text(json.dumps(told), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges]), encoding="utf-8")


def ecg(seed=0):
    values = np.random.default_rng(seed).normal(size=(2, 400)).astype(np.float32)
    return Signal(values, 100.0, ("I", "V1"), ("mV", "mV"))


def picture():
    return Image.new("RGB", (56, 56), (20, 90, 200))


def seen_and_read(processor):
    """An image and a question, and a text alone."""
    texts = ["<|vision_start|><|image_pad|><|vision_end|>What is it?", "Is it normal?"]
    return processor(text=texts, images=[[picture()], []], padding=True, return_tensors="pt")


def logits(model, inputs):
    with torch.no_grad():
        return model.eval()(**inputs).logits


@pytest.mark.parametrize("shape", SHAPES)
def test_the_authors_weights_load_as_they_are_and_take_series(shape, tmp_path):
    from transformers import AutoModelForImageTextToText

    folder = save_as_authors(tmp_path / "authors", **SHAPES[shape])
    stock, told = AutoModelForImageTextToText.from_pretrained(folder, output_loading_info=True)
    assert not any(told[name] for name in ALL_LOADED)
    model, processor = from_backbone(folder, series_config=tiny_series_config())
    inputs = seen_and_read(processor)
    assert inputs["input_ids"][0].eq(model.config.image_token_id).sum() == 4
    assert torch.equal(logits(model, inputs), logits(stock, inputs))
    tied = model.lm_head.weight is model.get_input_embeddings().weight
    assert tied == SHAPES[shape]["tied"]
    # The vocabulary has room for the placeholder: its table stays as large as it was.
    assert len(model.get_input_embeddings().weight) == VOCAB_SIZE
    # A fresh encoder is there, and is heard.
    said = [hub.rendered(processor, "Which finding?", 0, 1)] * 2
    heard = processor(text=said, series=[[ecg(1)], [ecg(2)]], return_tensors="pt")
    one, other = logits(model, heard)[:, -1]
    assert one.isfinite().all()
    assert not torch.equal(one, other)


def test_a_checkpoint_with_a_weight_missing_is_refused(tmp_path):
    folder = save_as_authors(tmp_path / "authors", tied=False)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    lost = "visual.merger.mlp.0.weight"
    file = folder / index["weight_map"].pop(lost)
    weights = load_file(file)
    del weights[lost]
    save_file(weights, file, metadata={"format": "pt"})
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CheckpointError, match=r"lacks 1 weights .* model\.visual\.merger\.mlp\.0"):
        from_backbone(folder)


def test_weights_without_a_place_are_named(tmp_path, caplog):
    folder = save_tiny(tmp_path / "stock")
    weights = load_file(folder / "model.safetensors")
    weights["time_series_embedding.proj.weight"] = torch.zeros(2, 2)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    from_backbone(folder, series_config=tiny_series_config())
    assert "1 weights of" in caplog.text
    assert "such as time_series_embedding.proj.weight" in caplog.text


# ---- ours, elsewhere ----------------------------------------------------------------------------

WITHOUT_US = """
import importlib.abc, json, sys

class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "climb_hf":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hidden())
import torch, transformers
from PIL import Image

jobs = json.loads(sys.argv[1])
told = {}
for name, job in jobs["plain"].items():
    inputs = torch.load(job["inputs"], weights_only=True)
    kind = getattr(transformers, job["kind"])
    model, info = kind.from_pretrained(job["folder"], output_loading_info=True)
    tokenizer = transformers.AutoTokenizer.from_pretrained(job["folder"])
    with torch.no_grad():
        torch.save(model.eval()(**inputs).logits, job["logits"])
    told[name] = {
        "class": type(model).__name__,
        "lost": sorted(key for keys in info.values() for key in map(str, keys)),
        "ids": tokenizer("Is it normal?")["input_ids"],
        "placeholder": "<|time_series_pad|>" in tokenizer.get_vocab(),
        "chat": tokenizer.apply_chat_template([{"role": "user", "content": "?"}], tokenize=False),
        "type": model.config.model_type,
        "vocab_size": model.config.get_text_config().vocab_size,
    }
    if "pixel_values" in inputs:
        image = Image.new("RGB", (56, 56), (20, 90, 200))
        images = transformers.AutoImageProcessor.from_pretrained(job["folder"])
        seen = images(images=[image], return_tensors="pt")["pixel_values"]
        told[name]["same_pixels"] = torch.equal(seen, inputs["pixel_values"])
for trust in (False, True):
    for kind in ("AutoConfig", "AutoProcessor", "AutoModelForImageTextToText", "AutoModel"):
        folder = jobs["tower" if kind == "AutoModel" else "composed"]
        try:
            getattr(transformers, kind).from_pretrained(folder, trust_remote_code=trust)
        except (ImportError, ValueError) as error:
            told[f"{kind} {trust}"] = f"{type(error).__name__}: {error}"

del sys.meta_path[0]  # from here on it is installed, and still nobody has imported it
known = {"pretrained_model_name_or_path": jobs["llama"], "trust_remote_code": True}
processor = transformers.AutoProcessor.from_pretrained(**known)
model = transformers.AutoModelForImageTextToText.from_pretrained(**known).eval()
with torch.no_grad():
    logits = model(**torch.load(jobs["heard"], weights_only=True)).logits
told["by the custom-code route"] = [type(processor).__name__, type(model).__name__]
torch.save(logits, jobs["heard"])
for one in (processor, model):
    one.save_pretrained(jobs["again"])
print(json.dumps(told))
"""

FAMILIES = {"qwen2_5_vl": True, "qwen3_vl": True, "llama": False, "qwen3": False}


def composed(family, folder):
    build = tiny_series_vlm if FAMILIES[family] else tiny_series_lm
    model, processor = build(family=family)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    """What another process, in which climb_hf is hidden, tells of models of ours and of exports."""
    home = tmp_path_factory.mktemp("elsewhere")
    plain, models = {}, {}
    for family, sees in FAMILIES.items():
        folder = home / family
        model, processor = models[family] = composed(family, folder)
        target = export_backbone(folder, home / f"{family}-plain")
        inputs = seen_and_read(processor) if sees else processor(text="Is it?", return_tensors="pt")
        names = {
            "folder": target,
            "inputs": home / f"{family}.pt",
            "logits": home / f"{family}.out",
        }
        torch.save(dict(inputs), names["inputs"])
        kind = "AutoModelForImageTextToText" if sees else "AutoModelForCausalLM"
        plain[family] = {"kind": kind, **{name: str(path) for name, path in names.items()}}
    model, processor = models["llama"]
    model.model.time_series_encoder.save_pretrained(home / "tower")
    heard = processor(
        text=hub.rendered(processor, "Which?", 0, 1), series=ecg(), return_tensors="pt"
    )
    torch.save(dict(heard), home / "heard.pt")
    folders = {"composed": home / "qwen2_5_vl", "llama": home / "llama", "tower": home / "tower"}
    folders |= {"heard": home / "heard.pt", "again": home / "again"}
    jobs = {"plain": plain, **{name: str(path) for name, path in folders.items()}}
    env = {**os.environ, "HF_MODULES_CACHE": str(home / "modules"), "PYTHONSAFEPATH": "1"}
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_US, json.dumps(jobs)],
        capture_output=True,
        text=True,
        env=env,
        cwd=home,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    return SimpleNamespace(
        told=json.loads(ran.stdout.splitlines()[-1]), models=models, jobs=jobs, heard=heard
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_an_export_answers_alike_where_climb_hf_is_not_installed(elsewhere, family):
    found, job = elsewhere.told[family], elsewhere.jobs["plain"][family]
    model, processor = elsewhere.models[family]
    ours = type(model).__name__
    assert found["class"] == ours.replace("SeriesLM", family.title()).removeprefix("Series")
    assert found["type"] == family
    assert found["lost"] == []
    assert not found["placeholder"]
    assert found["ids"] == processor.tokenizer("Is it normal?")["input_ids"]
    assert found["chat"] == hub.rendered(processor, "?", 0).removesuffix("<|im_start|>assistant\n")
    # The placeholder had no room in the vocabulary, and its row is gone.
    n_tokens = len(tiny_vlm()[1].tokenizer)
    expected = logits(model, torch.load(job["inputs"]))
    assert found["vocab_size"] == n_tokens == expected.shape[-1] - 1
    assert torch.equal(torch.load(job["logits"]), expected[..., :n_tokens])
    if FAMILIES[family]:
        assert found["same_pixels"]


@pytest.mark.parametrize(
    "kind", ["AutoConfig", "AutoProcessor", "AutoModelForImageTextToText", "AutoModel"]
)
def test_a_checkpoint_of_ours_says_what_has_to_be_installed(elsewhere, kind):
    assert "trust_remote_code=True" in elsewhere.told[f"{kind} False"]
    told = elsewhere.told[f"{kind} True"]
    assert told.startswith("ImportError: this checkpoint takes clinical series")
    assert told.endswith("Run: pip install climb-hf")


def test_the_custom_code_route_finds_climb_hf_without_an_import(elsewhere):
    told = elsewhere.told["by the custom-code route"]
    assert told == ["SeriesTextProcessor", "SeriesLMForCausalLM"]
    model, _ = elsewhere.models["llama"]
    assert torch.equal(torch.load(elsewhere.jobs["heard"]), logits(model, elsewhere.heard))
    # And nothing else of ours is copied into a checkpoint.
    saved = [{one.name for one in Path(elsewhere.jobs[n]).iterdir()} for n in ("llama", "again")]
    assert saved[0] == saved[1]
    assert "climb_hf_needed.py" in saved[0]


# ---- the export ---------------------------------------------------------------------------------


def test_a_run_with_an_adapter_is_exported_merged(tmp_path):
    from peft import LoraConfig, get_peft_model

    run = tmp_path / "run"
    model, processor = composed("qwen2_5_vl", run / "base")
    lora = LoraConfig(
        target_modules=r".*language_model.*q_proj",
        modules_to_save=list(SERIES_MODULES),
        init_lora_weights=False,
    )
    torch.manual_seed(0)
    get_peft_model(model, lora).save_pretrained(run)
    whole, its_processor = hub.load_for_inference(run, device="cpu")
    main([str(run), str(tmp_path / "plain")])
    plain = hub.load_model(tmp_path / "plain")
    inputs = seen_and_read(processor)
    made = logits(plain, inputs)
    assert torch.equal(made, logits(whole, inputs)[..., : made.shape[-1]])
    fresh_base = tiny_series_vlm()[0]
    assert not torch.allclose(made, logits(fresh_base, inputs)[..., : made.shape[-1]], atol=1e-4)
    assert hub.takes_series(its_processor)
    assert not hub.takes_series(hub.load_processor(tmp_path / "plain"))


def test_settings_of_the_export_are_the_backbones_own(tmp_path):
    from transformers import AutoConfig

    stock = save_as_authors(tmp_path / "authors", tied=False)
    model, processor = from_backbone(stock, series_config=tiny_series_config())
    model.save_pretrained(tmp_path / "composed")
    processor.save_pretrained(tmp_path / "composed")
    plain = export_backbone(tmp_path / "composed", tmp_path / "plain")
    one, other = (AutoConfig.from_pretrained(path).to_dict() for path in (stock, plain))
    assert {**one, "_name_or_path": ""} == {**other, "_name_or_path": ""}
    # And weights have the names that transformers writes for them, those of the authors' files.
    index = json.loads((stock / "model.safetensors.index.json").read_text())
    assert set(load_file(plain / "model.safetensors")) == set(index["weight_map"])


@pytest.mark.parametrize("family", FAMILIES)
def test_an_export_says_by_older_names_what_newer_ones_say(elsewhere, family):
    folder = Path(elsewhere.jobs["plain"][family]["folder"])
    told = json.loads((folder / "config.json").read_text())
    text = told.get("text_config", told)
    rope = text["rope_parameters"]
    # As transformers 4 reads them; without, it takes another base, or none of the three axes.
    assert text["rope_theta"] == rope["rope_theta"] == 1e4
    sections = (text["rope_scaling"] or {}).get("mrope_section")
    assert sections == ([2, 3, 3] if FAMILIES[family] else None)
    assert told["torch_dtype"] == told["dtype"] == "float32"
    assert "extra_special_tokens" not in json.loads((folder / "tokenizer_config.json").read_text())


def test_a_target_that_holds_files_is_refused(tmp_path):
    composed("llama", tmp_path / "composed")
    with pytest.raises(OptionError, match="not empty"):
        export_backbone(tmp_path / "composed", tmp_path / "composed")


def test_a_model_without_series_has_nothing_to_leave_out(tmp_path):
    folder = save_tiny(tmp_path / "stock")
    with pytest.raises(CheckpointError, match="takes no series"):
        export_backbone(folder, tmp_path / "plain")
    with pytest.raises(SystemExit, match=r"CheckpointError: .* takes no series"):
        main([str(folder), str(tmp_path / "plain")])
