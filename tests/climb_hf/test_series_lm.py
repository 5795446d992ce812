"""Language models that take series: loading, generating, and what the loss sees."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from climb_hf import Signal, hub
from climb_hf.errors import CheckpointError, OptionError
from climb_hf.models.compose import compose, from_backbone
from climb_hf.models.series import SeriesEncoder
from climb_hf.models.series_config import SeriesConfig
from climb_hf.models.series_lm import SERIES_MODULES, SeriesQwen2_5_VLForConditionalGeneration
from climb_hf.models.tiny import save_tiny, tiny_vlm
from climb_hf.models.tiny_series import tiny_series_config, tiny_series_lm, tiny_series_vlm

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
BUILDERS = {
    "qwen2_5_vl": tiny_series_vlm,
    "qwen3_vl": tiny_series_vlm,
    "llama": tiny_series_lm,
    "qwen3": tiny_series_lm,
}
SEES = ("qwen2_5_vl", "qwen3_vl")


@pytest.fixture(scope="module")
def pairs():
    """Each family's model and processor, with a tower that is heard."""
    made = {}
    for family, build in BUILDERS.items():
        model, processor = build(family=family)
        made[family] = (louder(model), processor)
    return made


def louder(model):
    """Random embeddings are small, and so is what a fresh projector says."""
    with torch.no_grad():
        model.model.time_series_projector.size.weight.mul_(20)
    return model


@pytest.fixture(params=list(BUILDERS))
def pair(request, pairs):
    return pairs[request.param]


@pytest.fixture(params=SEES)
def seeing(request, pairs):
    return pairs[request.param]


def ecg(seed=0, seconds=4.0, channels=LEADS):
    values = np.random.default_rng(seed).normal(size=(len(channels), round(seconds * 250)))
    return Signal(values.astype(np.float32), 250.0, tuple(channels), ("mV",) * len(channels))


def chat(*parts):
    """A question with series, images and texts in the order given."""
    blocks = []
    for part in parts:
        kind = "text" if isinstance(part, str) else "time_series"
        kind = "image" if isinstance(part, Image.Image) else kind
        blocks.append({"type": kind, kind: part})
    return [{"role": "user", "content": blocks}]


def inputs_of(processor, *chats):
    return processor.apply_chat_template(
        list(chats),
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        add_generation_prompt=True,
        processor_kwargs={"padding": True},
    )


def picture(shade):
    return Image.new("RGB", (56, 56), (shade, 90, 200 - shade))


def mixed(sees):
    """Series, neither, both with two series, and an image: what one batch may hold."""
    image = [picture(10)] if sees else []
    return [
        chat(ecg(0), "Which finding?"),
        chat("Is it normal, yes or no?"),
        chat(ecg(1, 9.0), *image, "Then this:", ecg(2, 2.0, ("V1", "V5")), "?"),
        *([chat(picture(120), "And here?")] if sees else []),
    ]


def longer(inputs, token):
    """Inputs with one more token in each row."""
    grown = {name: tensor for name, tensor in inputs.items() if "series" in name or "image" in name}
    grown["pixel_values"] = inputs.get("pixel_values")
    one = torch.ones_like(token)
    grown["input_ids"] = torch.cat([inputs["input_ids"], token], dim=1)
    grown["attention_mask"] = torch.cat([inputs["attention_mask"], one], dim=1)
    if "mm_token_type_ids" in inputs:
        types = inputs["mm_token_type_ids"]
        grown["mm_token_type_ids"] = torch.cat([types, torch.zeros_like(one)], dim=1)
    return {name: tensor for name, tensor in grown.items() if tensor is not None}


def placeholders(model):
    names = ("time_series_token_id", "image_token_id", "video_token_id")
    return [one for one in (getattr(model.config, name, None) for name in names) if one is not None]


# ---- generating ---------------------------------------------------------------------------------


@pytest.mark.parametrize("use_cache", [True, False])
def test_greedy_generation_is_the_full_forward_step_by_step(pair, use_cache):
    model, processor = pair
    inputs = inputs_of(processor, *mixed(hasattr(processor, "image_processor")))
    written = model.generate(
        **inputs, max_new_tokens=5, min_new_tokens=5, do_sample=False, use_cache=use_cache
    )
    n_prompt = inputs["input_ids"].shape[1]
    never = [*placeholders(model), processor.tokenizer.eos_token_id]
    so_far = dict(inputs)
    for step in range(5):
        with torch.no_grad():
            logits = model(**so_far).logits[:, -1]
        logits[:, never] = -torch.inf
        best = logits.argmax(dim=1, keepdim=True)
        assert torch.equal(best[:, 0], written[:, n_prompt + step])
        so_far = longer(so_far, best)


def test_padded_and_unpadded_log_probabilities_agree(pair):
    model, processor = pair
    chats = mixed(hasattr(processor, "image_processor"))
    inputs = inputs_of(processor, *chats)
    with torch.no_grad():
        together = model(**inputs).logits.log_softmax(dim=-1)
    for row, one in enumerate(chats):
        own = inputs_of(processor, one)
        with torch.no_grad():
            alone = model(**own).logits.log_softmax(dim=-1)[0]
        assert torch.allclose(together[row, -len(alone) :], alone, atol=1e-4)


def test_each_row_answers_to_its_own_series(pair):
    model, processor = pair
    rows = [chat(ecg(seed), "Which finding?") for seed in (0, 1)]
    with torch.no_grad():
        one = model(**inputs_of(processor, *rows)).logits
        other = model(**inputs_of(processor, *rows[::-1])).logits
    assert torch.allclose(one, other.flip(0), atol=1e-5)
    assert (one[0, -1] - one[1, -1]).abs().max() > 1e-3


@pytest.mark.parametrize("search", [{"num_beams": 2}, {"num_return_sequences": 2}])
def test_several_answers_to_a_row_with_two_series(pairs, search):
    for family in ("qwen2_5_vl", "llama"):
        model, processor = pairs[family]
        chats = [chat(ecg(1, 6.0), "and", ecg(2, 2.0), "?"), chat(ecg(3), "Which finding?")]
        greedy = {"max_new_tokens": 4, "do_sample": False}
        if "num_return_sequences" in search:
            greedy |= {"do_sample": True, "top_k": 1}  # samples the best token, twice
        written = model.generate(**inputs_of(processor, *chats), **greedy, **search)
        answers = processor.batch_decode(written[:, -4:])
        n = search.get("num_return_sequences", 1)
        for row, one in enumerate(chats):
            alone = model.generate(**inputs_of(processor, one), **greedy, **search)
            assert answers[row * n : row * n + n] == processor.batch_decode(alone[:, -4:])


class Favours:
    """Makes some tokens ever so likely."""

    def __init__(self, tokens):
        self.tokens = tokens

    def __call__(self, input_ids, scores):
        scores = scores.clone()
        scores[:, self.tokens] += 1e4
        return scores


@pytest.mark.parametrize("options", [{}, {"suppress_tokens": [5]}])
def test_no_placeholder_is_ever_written(pair, options):
    model, processor = pair
    never = placeholders(model)
    assert model.config.time_series_token_id in never
    written = model.generate(
        **inputs_of(processor, chat(ecg(), "?")),
        max_new_tokens=4,
        do_sample=True,
        logits_processor=[Favours([*never, 5])],
        **options,
    )
    new = set(written[0, -4:].tolist())
    assert not new & set(never)
    assert (5 in new) == (not options)


# ---- what the loss sees -------------------------------------------------------------------------


def fused(model, inputs):
    """Log-probabilities as TRL's GRPO asks for them."""
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    return model(**inputs, labels=labels, fused_lm_head=True).log_probs


def test_the_fused_head_sees_the_series(pair):
    from trl.trainer.utils import add_fused_lm_head

    model, processor = pair
    inputs = inputs_of(processor, *mixed(hasattr(processor, "image_processor")))
    with torch.no_grad():
        plain = model(**inputs).logits[:, :-1].log_softmax(dim=-1)
        plain = plain.gather(2, inputs["input_ids"][:, 1:, None])[..., 0]
    add_fused_lm_head(model)
    try:
        with torch.no_grad():
            seen = fused(model, inputs)
            other = dict(inputs)
            other["series_values"] = inputs["series_values"].flip(-1)
            changed = fused(model, other)
    finally:
        del model.forward
    told = inputs["attention_mask"][:, 1:].bool()
    assert torch.allclose(seen[told], plain[told], atol=1e-4)
    differs = ((seen - changed).abs() > 1e-4).any(dim=1)
    assert differs.tolist() == [True, False, True, False][: len(differs)]


def test_channels_permuted_with_their_names_give_the_same_bits(pair):
    model, processor = pair
    signal = ecg()
    moved = Signal(signal.values[::-1].copy(), 250.0, LEADS[::-1], signal.units)
    with torch.no_grad():
        one, other = (
            model(**inputs_of(processor, chat(each, "?"))).logits for each in (signal, moved)
        )
    assert torch.equal(one, other)


def test_a_masked_channel_is_one_left_out(pair):
    model, processor = pair
    signal = ecg()
    masked = signal.values.copy()
    masked[3] = np.nan
    kept = [at for at in range(12) if at != 3]
    fewer = Signal(signal.values[kept], 250.0, tuple(LEADS[at] for at in kept), ("mV",) * 11)
    inputs = inputs_of(processor, chat(signal, "?"))
    number = processor.series_config.channel_number("aVR")
    inputs["series_values"][inputs["series_channels"] == number] = torch.nan
    with torch.no_grad():
        expected = model(**inputs_of(processor, chat(fewer, "?"))).logits
        whole = Signal(masked, 250.0, LEADS, signal.units)
        assert torch.allclose(model(**inputs_of(processor, chat(whole, "?"))).logits, expected)
        assert torch.allclose(model(**inputs).logits, expected, atol=1e-5)


def test_without_series_it_is_the_model_that_it_was_made_from():
    stock, processor = tiny_vlm()
    image = picture(30)
    batch = processor(
        text=["<|vision_start|><|image_pad|><|vision_end|>What?", "yes"],
        images=[[image], []],
        padding=True,
        return_tensors="pt",
    )
    with torch.no_grad():
        before = stock(**batch).logits
    model, _ = compose(
        stock,
        processor.tokenizer,
        processor.image_processor,
        series_config=tiny_series_config(),
    )
    with torch.no_grad():
        after = model(**batch).logits
    assert torch.equal(after[..., : before.shape[-1]], before)


# ---- mismatches ---------------------------------------------------------------------------------


def test_places_without_series_are_an_error(pair):
    model, processor = pair
    inputs = inputs_of(processor, chat(ecg(), "?"))
    for name in list(inputs):
        if name.startswith("series"):
            del inputs[name]
    with pytest.raises(OptionError, match="has 4 places for tokens of series and no series"):
        model(**inputs)
    with pytest.raises(OptionError, match="no series"):
        model.generate(**inputs, max_new_tokens=2)


def test_more_tokens_than_places_are_an_error(pair):
    model, processor = pair
    inputs = inputs_of(processor, chat(ecg(), "?"))
    inputs.update(
        {
            name: tensor
            for name, tensor in inputs_of(processor, chat(ecg(0, 9.0), "?")).items()
            if name.startswith("series")
        }
    )
    with pytest.raises(OptionError, match="4 places for tokens of series, and 1 series give 9"):
        model(**inputs)


def test_series_in_the_order_of_other_rows_are_an_error(pair):
    model, processor = pair
    inputs = inputs_of(processor, chat(ecg(0, 2.0), "?"), chat(ecg(0, 5.0), "?"))
    for name in list(inputs):
        if name.startswith("series"):
            inputs[name] = inputs[name].flip(0)
    with pytest.raises(OptionError, match="row 0 of the batch has 2 places"):
        model(**inputs)


# ---- training -----------------------------------------------------------------------------------


def with_lora(model):
    from peft import LoraConfig, get_peft_model

    return get_peft_model(
        model,
        LoraConfig(
            r=4,
            target_modules=r".*language_model.*\.(q|v)_proj",
            modules_to_save=list(SERIES_MODULES),
            task_type="CAUSAL_LM",
        ),
    )


def one_step(model, inputs):
    labels = inputs["input_ids"].masked_fill(inputs["attention_mask"] == 0, -100)
    labels[inputs["input_ids"] == model.config.time_series_token_id] = -100
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(2):  # LoRA's first step moves one of its factors only
        model(**inputs, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("family", ["qwen2_5_vl", "qwen3_vl", "llama"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_tower_and_projector_move_and_the_base_does_not(family, checkpointing):
    model, processor = BUILDERS[family](family=family)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    peft = with_lora(model).train()
    if checkpointing:
        peft.gradient_checkpointing_enable()
        peft.enable_input_require_grads()
    one_step(peft, inputs_of(processor, *mixed(family in SEES)))
    merged = peft.merge_and_unload().state_dict()
    moved = {name for name, old in before.items() if not torch.equal(merged[name], old)}
    parts = {name.split(".")[1] for name in moved}
    assert parts == {"time_series_encoder", "time_series_projector", "language_model"}
    language = {name for name in moved if "language_model" in name}
    assert all(name.endswith(("q_proj.weight", "v_proj.weight")) for name in language)
    tower = {name for name in before if "time_series" in name}
    # What no series of the batch asks for may stay: rows of other channels are in one table.
    assert len(tower - moved) <= 2


def test_a_batch_without_series_trains(pairs):
    model, processor = tiny_series_vlm()
    one_step(with_lora(model).train(), inputs_of(processor, chat("yes"), chat(picture(3), "no")))


def test_it_runs_in_bfloat16():
    model, processor = tiny_series_vlm()
    inputs = inputs_of(processor, *mixed(True))
    with torch.no_grad():
        expected = model(**inputs).logits[:, -1].softmax(dim=-1)
        made = model.to(torch.bfloat16)(**inputs).logits[:, -1].float().softmax(dim=-1)
    assert (expected - made).abs().max() < 0.02
    assert model.generate(**inputs, max_new_tokens=2).shape[0] == 4


# ---- saving and loading -------------------------------------------------------------------------

FRESH = """
import sys, json, torch
import climb_hf
from transformers import AutoModelForImageTextToText, AutoProcessor

told = []
for job in json.loads(sys.argv[1]):
    processor = AutoProcessor.from_pretrained(job["folder"])
    model = AutoModelForImageTextToText.from_pretrained(job["folder"])
    if "adapter" in job:
        from peft import PeftModel
        model = PeftModel.from_pretrained(model, job["adapter"])
    blocks = [{"type": "time_series", "path": job["header"]}, {"type": "text", "text": "Which?"}]
    inputs = processor.apply_chat_template([{"role": "user", "content": blocks}], tokenize=True,
        return_dict=True, return_tensors="pt", add_generation_prompt=True)
    with torch.no_grad():
        logits = model.eval()(**inputs).logits.double()
    written = model.generate(**inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    told.append([type(model).__name__, logits.sum().item(), logits.abs().max().item(),
                 written[0, -4:].tolist()])
print(json.dumps(told))
"""


def answer_of(model, processor, header):
    inputs = inputs_of(
        processor,
        [
            {
                "role": "user",
                "content": [
                    {"type": "time_series", "path": str(header)},
                    {"type": "text", "text": "Which?"},
                ],
            }
        ],
    )
    with torch.no_grad():
        logits = model.eval()(**inputs).logits.double()
    written = model.generate(**inputs, max_new_tokens=4, min_new_tokens=4, do_sample=False)
    return [logits.sum().item(), logits.abs().max().item(), written[0, -4:].tolist()]


def test_three_lines_in_a_fresh_process_answer_a_real_ecg(tmp_path, real_data):
    header = real_data / "ecg/challenge-2021/training/ptb-xl/g7/HR06000.hea"
    jobs, expected = [], []

    def expect(model, processor, folder, **more):
        jobs.append({"folder": str(folder), "header": str(header), **more})
        expected.append(answer_of(model, processor, header))

    for family in ("qwen2_5_vl", "llama"):
        model, processor = BUILDERS[family](family=family)
        louder(model)
        folders = {name: tmp_path / family / name for name in ("base", "adapter", "merged")}
        model.save_pretrained(folders["base"])
        for name in ("base", "merged"):
            processor.save_pretrained(folders[name])
        expect(model, processor, folders["base"])
        peft = with_lora(model)
        one_step(peft.train(), inputs_of(processor, chat(ecg(), "?")))
        peft.save_pretrained(folders["adapter"])
        expect(peft, processor, folders["base"], adapter=str(folders["adapter"]))
        merged = peft.merge_and_unload()
        merged.save_pretrained(folders["merged"])
        expect(merged, processor, folders["merged"])
    ran = subprocess.run(
        [sys.executable, "-c", FRESH, json.dumps(jobs)], capture_output=True, text=True, check=True
    )
    found = json.loads(ran.stdout.splitlines()[-1])
    assert [kind for kind, *_ in found] == [
        "SeriesQwen2_5_VLForConditionalGeneration",
        "PeftModelForCausalLM",
        "SeriesQwen2_5_VLForConditionalGeneration",
        "SeriesLMForCausalLM",
        "PeftModelForCausalLM",
        "SeriesLMForCausalLM",
    ]
    for (_, *numbers, tokens), (*wanted, wanted_tokens) in zip(found, expected, strict=True):
        assert numbers == pytest.approx(wanted, rel=1e-5)
        assert tokens == wanted_tokens
    # The adapter changed the answer of the base: the second and third are not the first.
    assert abs(expected[0][0] - expected[1][0]) > 1e-3


def test_loading_gives_equal_bits(pair, tmp_path):
    from transformers import AutoModelForImageTextToText, AutoProcessor

    model, processor = pair
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    loaded = AutoModelForImageTextToText.from_pretrained(tmp_path).eval()
    inputs = inputs_of(processor, *mixed(hasattr(processor, "image_processor")))
    again = inputs_of(
        AutoProcessor.from_pretrained(tmp_path), *mixed(hasattr(processor, "image_processor"))
    )
    assert all(torch.equal(inputs[name], again[name]) for name in inputs if "series" not in name)
    with torch.no_grad():
        assert torch.equal(loaded(**again).logits, model(**inputs).logits)


def test_the_hub_tools_load_it_with_its_adapter(tmp_path):
    model, processor = tiny_series_lm()
    model.save_pretrained(tmp_path / "base")
    processor.save_pretrained(tmp_path / "base")
    with_lora(model).save_pretrained(tmp_path)
    loaded, its_processor = hub.load_for_inference(tmp_path, device="cpu")
    assert type(loaded) is type(model)
    assert answers(loaded, its_processor) == answers(model, processor)


def answers(model, processor):
    written = model.generate(
        **inputs_of(processor, chat(ecg(), "?")), max_new_tokens=4, do_sample=False
    )
    return written[0].tolist()


def test_an_existing_checkpoint_takes_series(tmp_path):
    folder = save_tiny(tmp_path / "stock")
    model, processor = from_backbone(folder, series_config=tiny_series_config())
    assert type(model) is SeriesQwen2_5_VLForConditionalGeneration
    assert not any(parameter.is_meta for parameter in model.parameters())
    # The vocabulary was full: the placeholder is its last token.
    n_tokens = len(tiny_vlm()[1].tokenizer)
    assert model.config.time_series_token_id == n_tokens
    assert model.get_input_embeddings().weight.shape[0] == n_tokens + 1
    assert model.lm_head.weight is model.get_input_embeddings().weight
    written = model.generate(**inputs_of(processor, *mixed(True)), max_new_tokens=2)
    assert written.shape[0] == 4


def test_tokens_of_a_fresh_tower_are_as_large_as_embeddings(pairs):
    model, processor = tiny_series_vlm()
    table = model.get_input_embeddings().weight
    inputs = inputs_of(processor, chat(ecg(), "?"))
    ids = inputs["input_ids"]
    with torch.no_grad():
        merged = model.model._merged(
            ids, None, tuple(inputs[name] for name in inputs if "series_" in name)
        )
    tokens = merged[ids == model.config.time_series_token_id]
    size = table.pow(2).mean().sqrt()
    assert tokens.pow(2).mean(dim=1).sqrt().tolist() == pytest.approx([size.item()] * 4, rel=1e-2)


def test_a_tower_trained_alone_drops_in(tmp_path):
    torch.manual_seed(3)
    tower = SeriesEncoder(tiny_series_config(rate_hz=64.0)).eval()
    tower.save_pretrained(tmp_path / "tower")
    model, processor = from_backbone(
        save_tiny(tmp_path / "stock"), series_encoder=tmp_path / "tower"
    )
    assert processor.series_config.rate_hz == 64.0
    assert torch.equal(model.model.time_series_encoder.encode(ecg()), tower.encode(ecg()))


def test_a_checkpoint_of_another_type_is_refused(tmp_path):
    from transformers import BertConfig, LlavaConfig

    stock = save_tiny(tmp_path / "stock")
    with pytest.raises(CheckpointError, match="type 'qwen2_5_vl', not 'climb_series_qwen2_5_vl'"):
        SeriesQwen2_5_VLForConditionalGeneration.from_pretrained(stock)
    for config in (BertConfig(num_hidden_layers=1), LlavaConfig()):
        folder = tmp_path / config.model_type
        config.save_pretrained(folder)
        with pytest.raises(CheckpointError, match=f"{config.model_type}', which series cannot"):
            from_backbone(folder)
    SeriesEncoder(tiny_series_config()).save_pretrained(tmp_path / "tower")
    with pytest.raises(CheckpointError, match="takes series already"):
        from_backbone(tmp_path / "tower")


def test_a_family_that_changes_its_logits_is_refused():
    from transformers import Gemma2Config, Gemma2ForCausalLM

    _, processor = tiny_vlm()
    sizes = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 1, "head_dim": 16}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    vocab_size = len(processor.tokenizer)
    config = Gemma2Config(
        **sizes, **heads, vocab_size=vocab_size, final_logit_softcapping=0.01, pad_token_id=0
    )
    with pytest.raises(CheckpointError, match="'gemma2' does more"):
        compose(Gemma2ForCausalLM(config).eval(), processor.tokenizer)


def test_settings_and_an_encoder_are_not_both_taken():
    stock, processor = tiny_vlm()
    with pytest.raises(OptionError, match="not both"):
        compose(
            stock,
            processor.tokenizer,
            processor.image_processor,
            series_config=SeriesConfig(),
            series_encoder=SeriesEncoder(tiny_series_config()),
        )


# ---- a real language model ----------------------------------------------------------------------


@pytest.mark.slow
def test_smollm2_takes_a_real_ecg(tmp_path, real_data):
    import os
    from pathlib import Path

    folder = os.environ.get("CLIMB_TEST_SMOLLM2")
    if not folder or not (Path(folder) / "config.json").is_file():
        pytest.skip("CLIMB_TEST_SMOLLM2 names no folder with SmolLM2-135M as transformers saves it")
    model, processor = from_backbone(folder, dtype=torch.float32)
    header = real_data / "ecg/challenge-2021/training/georgia/g8/E07500.hea"
    before = answer_of(model, processor, header)
    peft = with_lora(model).train()
    question = chat(str(header), "Which finding?")
    question[0]["content"][0] = {"type": "time_series", "path": str(header)}
    one_step(peft, inputs_of(processor, question))
    peft.save_pretrained(tmp_path / "adapter")
    merged = peft.merge_and_unload()
    after = answer_of(merged, processor, header)
    assert abs(after[0] - before[0]) > 1e-3
    merged.save_pretrained(tmp_path / "merged")
    processor.save_pretrained(tmp_path / "merged")
    loaded, its_processor = hub.load_for_inference(tmp_path / "merged", device="cpu")
    again = answer_of(loaded, its_processor, header)
    assert again[:2] == pytest.approx(after[:2], rel=1e-4)
    assert again[2] == after[2]
