"""Answering with series: hub's loading and generation for models that take them."""

import numpy as np
import pytest
import torch
from PIL import Image

from climb_hf import Signal
from climb_hf.errors import OptionError
from climb_hf.hub import (
    answer,
    generate,
    load_for_inference,
    rendered,
    takes_series,
    with_placeholders,
)
from climb_hf.models.tiny import tiny_vlm
from climb_hf.models.tiny_series import tiny_series_lm, tiny_series_vlm
from climb_hf.views import encode

QUESTION = [{"role": "user", "content": "Which finding?"}]
LEADS = ("I", "V1")


def signal(seed, seconds=2.0, scale=1.0):
    values = np.random.default_rng(seed).normal(0, scale, (len(LEADS), round(100 * seconds)))
    return Signal(values.astype(np.float32), 100.0, LEADS, ("mV",) * len(LEADS))


def white():
    return Image.new("RGB", (70, 70), "white")


@pytest.fixture(scope="module")
def vlm():
    return tiny_series_vlm(image_size=56)


@pytest.fixture(scope="module")
def lm():
    return tiny_series_lm()


@pytest.mark.parametrize("kind", ["vlm", "lm"])
def test_a_mixed_batch_answers_as_each_row_alone(kind, request):
    model, processor = request.getfixturevalue(kind)
    series = [[], [signal(1)], [encode(signal(2)), signal(3, 3.0)], []]
    images = [[], [], [white()], [white(), white()]]
    prompts = [QUESTION, QUESTION, "A much longer question than the others, is it?", QUESTION]
    together = generate(model, processor, prompts, images, 6, series=series)
    rows = zip(prompts, images, series, strict=True)
    assert together == [answer(model, processor, p, i, 6, series=s) for p, i, s in rows]


def test_a_stored_series_is_answered_as_its_signal_is(lm):
    given = [answer(*lm, QUESTION, (), 6, series=[one]) for one in (signal(1), encode(signal(1)))]
    assert given[0] == given[1]


def test_the_answer_starts_where_the_models_own_logits_say(lm):
    model, processor = lm
    chat = [{"role": "user", "content": [
        {"type": "time_series", "time_series": signal(4)},
        {"type": "text", "text": "Which finding?"},
    ]}]  # fmt: skip
    inputs = processor.apply_chat_template(
        chat, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    with torch.no_grad():
        logits = model(**inputs).logits[0, -1]
    logits[processor.time_series_token_id] = -torch.inf
    first = processor.decode(logits.argmax(), skip_special_tokens=True)
    assert answer(model, processor, QUESTION, (), 1, series=[signal(4)]) == first


def test_placeholders_of_series_are_never_written(lm):
    model, processor = lm
    bias = torch.zeros(model.lm_head.out_features)
    bias[processor.time_series_token_id] = 1e4  # as if the model wanted nothing else
    seen = []
    hook = model.lm_head.register_forward_hook(lambda _, __, logits: logits + bias)
    watch = model.register_forward_pre_hook(
        lambda _, __, named: seen.append(named["input_ids"]), with_kwargs=True
    )
    answer(model, processor, QUESTION, max_new_tokens=3)
    hook.remove()
    watch.remove()
    assert len(seen) == 3
    assert all(not (ids == processor.time_series_token_id).any() for ids in seen)


def test_a_model_without_a_series_side_answers_as_if_there_were_none():
    model, processor = tiny_vlm(image_size=56)
    assert not takes_series(processor)
    assert not takes_series(processor.tokenizer)
    for one in (processor, processor.tokenizer):
        if one is not processor:
            one.chat_template = processor.chat_template
        with_series = generate(model, one, [QUESTION], [[white()]], 4, series=[[signal(1)]])
        assert with_series == generate(model, one, [QUESTION], [[white()]], 4)


def test_a_model_without_an_image_side_leaves_images_out(lm):
    shown = answer(*lm, QUESTION, [white()], 4, series=[signal(1)])
    assert shown == answer(*lm, QUESTION, (), 4, series=[signal(1)])


def test_series_stand_before_images_before_the_first_user_text():
    talk = [{"role": "system", "content": "s"}, *QUESTION, {"role": "user", "content": "again"}]
    kinds = [[part["type"] for part in one["content"]] for one in with_placeholders(talk, 1, 2)]
    assert kinds == [["text"], ["time_series", "time_series", "image", "text"], ["text"]]


def test_blocks_of_series_that_are_there_stay_alone(lm):
    blocks = [{"type": "text", "text": "Here:"}, {"type": "time_series"}]
    chat = [{"role": "user", "content": blocks}]
    processor = lm[1]
    assert rendered(processor, chat, 0, 1).count(processor.time_series_token) == 1
    with pytest.raises(OptionError, match=r"1 placeholders .* 2 series"):
        answer(*lm, chat, series=[signal(1), signal(2)])


def test_as_many_lists_of_series_as_prompts(lm):
    with pytest.raises(OptionError, match="2 lists of series were given for 1 prompts"):
        generate(*lm, [QUESTION], [[]], series=[[], []])


@pytest.mark.parametrize("build", [tiny_series_vlm, tiny_series_lm])
@pytest.mark.parametrize("adapter", [False, True])
def test_a_saved_model_answers_as_before(build, adapter, tmp_path):
    from peft import LoraConfig, get_peft_model

    from climb_hf.models.series_lm import SERIES_MODULES

    model, processor = build()
    base = tmp_path / "base" if adapter else tmp_path
    model.save_pretrained(base)
    processor.save_pretrained(tmp_path)
    if adapter:
        config = LoraConfig(
            target_modules=r".*language_model.*q_proj",
            modules_to_save=list(SERIES_MODULES),
            init_lora_weights=False,
        )
        torch.manual_seed(0)
        model = get_peft_model(model, config)
        with torch.no_grad():
            for name, one in model.named_parameters():
                if "modules_to_save" in name:
                    one.add_(0.1 * torch.randn_like(one))  # as if the tower had been trained
        model.save_pretrained(tmp_path)
        model = model.merge_and_unload()
    loaded, its_processor = load_for_inference(tmp_path, device="cpu")
    assert takes_series(its_processor)
    expected = dict(model.named_parameters())
    assert all(torch.equal(one, expected[name]) for name, one in loaded.named_parameters())
    asked = (QUESTION, (), 8)
    said = answer(loaded, its_processor, *asked, series=[signal(1)])
    assert said == answer(model, processor, *asked, series=[signal(1)])
