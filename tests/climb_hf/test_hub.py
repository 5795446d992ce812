"""Loading checkpoints, answering, and model cards."""

import json
import shutil
from unittest import mock

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from climb_hf.errors import CheckpointError, DataNotFoundError, OptionError
from climb_hf.hub import (
    answer,
    generate,
    load_for_inference,
    load_model,
    load_processor,
    model_card,
    with_placeholders,
    write_model_card,
)
from climb_hf.metrics.answers import evaluate_answers
from climb_hf.models.tiny import save_tiny, tiny_vlm

QUESTION = [{"role": "user", "content": "Which finding?"}]


@pytest.fixture(scope="module")
def pair():
    return tiny_vlm(image_size=56)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """An adapter whose weights are not zero, beside its base model, as a run leaves them."""
    from peft import LoraConfig, get_peft_model

    folder = tmp_path_factory.mktemp("runs") / "drpo"
    save_tiny(folder / "base", image_size=56)
    model = load_model(folder / "base")
    config = LoraConfig(target_modules=r".*language_model.*q_proj", init_lora_weights=False)
    torch.manual_seed(0)
    get_peft_model(model, config).save_pretrained(folder)
    load_processor(folder / "base").save_pretrained(folder)
    return folder


def white():
    return Image.new("RGB", (70, 70), "white")


# ---- answering ----------------------------------------------------------------------------------


def test_a_batch_answers_as_each_row_alone(pair):
    model, processor = pair
    images = [[], [white()], [white(), white()], []]
    prompts = [QUESTION, QUESTION, QUESTION, "A much longer question than the others, is it?"]
    together = generate(model, processor, prompts, images, 6)
    alone = [answer(model, processor, p, i, 6) for p, i in zip(prompts, images, strict=True)]
    assert together == alone
    assert all(together)


def test_answering_leaves_the_model_in_training_mode(pair):
    model, processor = pair
    model.train()
    answer(model, processor, QUESTION, max_new_tokens=2)
    assert model.training
    model.eval()


def test_16_bit_grey_is_shown_as_grey_and_not_as_white(pair):
    model, processor = pair
    seen, call = [], processor.image_processor.preprocess

    def noted(images, *args, **kwargs):
        seen.extend(np.asarray(one) for one in images)
        return call(images, *args, **kwargs)

    deep = Image.fromarray(np.linspace(0, 4000, 56 * 56).astype(np.uint16).reshape(56, 56))
    with mock.patch.object(processor.image_processor, "preprocess", noted):
        answer(model, processor, QUESTION, [deep], 2)
    assert [(one.min(), one.max(), one.shape[-1]) for one in seen] == [(0, 255, 3)]


def test_placeholders_of_images_are_never_written(pair):
    model, processor = pair
    bias = torch.zeros(model.config.text_config.vocab_size)
    bias[processor.image_token_id] = 1e4  # as if the model wanted nothing else
    hook = model.lm_head.register_forward_hook(lambda _, __, logits: logits + bias)
    written = answer(model, processor, QUESTION, max_new_tokens=3)
    hook.remove()
    assert "image_pad" not in written


def test_images_stand_before_the_first_user_text():
    talk = [{"role": "system", "content": "s"}, *QUESTION, {"role": "user", "content": "again"}]
    made = with_placeholders(talk, 2)
    kinds = [[part["type"] for part in one["content"]] for one in made]
    assert kinds == [["text"], ["image", "image", "text"], ["text"]]
    assert talk[1]["content"] == "Which finding?"


def test_as_many_image_lists_as_prompts(pair):
    with pytest.raises(OptionError, match="1 lists of images were given for 2 prompts"):
        generate(*pair, [QUESTION, QUESTION], [[]])


# ---- loading ------------------------------------------------------------------------------------


def test_a_whole_model_loads_and_answers(tmp_path):
    folder = save_tiny(tmp_path / "whole", image_size=56)
    model, processor = load_for_inference(folder, device="cpu")
    assert not model.training
    assert processor.tokenizer.padding_side == "left"
    expected = answer(*tiny_vlm(image_size=56), QUESTION, [white()], 5)
    assert answer(model, processor, QUESTION, [white()], 5) == expected


def test_an_adapter_loads_with_the_base_beside_it_wherever_it_is_moved(run_folder, tmp_path):
    moved = shutil.copytree(run_folder, tmp_path / "elsewhere")
    config = json.loads((moved / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path / "gone")
    (moved / "adapter_config.json").write_text(json.dumps(config))
    model, processor = load_for_inference(moved, device="cpu")
    merged = model.model.language_model.layers[0].self_attn.q_proj.weight
    base = load_model(moved / "base").model.language_model.layers[0].self_attn.q_proj.weight
    assert not torch.equal(merged, base)
    assert answer(model, processor, QUESTION, [white()], 3)


def test_a_checkpoint_inside_the_run_finds_the_base(run_folder, tmp_path):
    moved = shutil.copytree(run_folder, tmp_path / "run")
    checkpoint = moved / "checkpoint-2"
    checkpoint.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.move(moved / name, checkpoint / name)
    config = json.loads((checkpoint / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = None
    (checkpoint / "adapter_config.json").write_text(json.dumps(config))
    load_for_inference(checkpoint, device="cpu")
    with pytest.raises(DataNotFoundError, match=r"holds no model.*checkpoint-2"):
        load_for_inference(moved, device="cpu")


def test_a_missing_base_is_named(run_folder, tmp_path):
    moved = shutil.copytree(run_folder, tmp_path / "run")
    shutil.rmtree(moved / "base")
    config = json.loads((moved / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = str(tmp_path / "gone")
    (moved / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=r"gone.*which is not there"):
        load_for_inference(moved, device="cpu")


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"neither adapter_config\.json nor config\.json"):
        load_for_inference(tmp_path)


def test_a_checkpoint_of_the_stock_processor_loads_without_torchvision(tmp_path):
    folder = save_tiny(tmp_path / "stock", image_size=56)
    described = json.loads((folder / "processor_config.json").read_text())
    described["processor_class"] = "Qwen2_5_VLProcessor"  # as checkpoints on the Hub say
    (folder / "processor_config.json").write_text(json.dumps(described))
    from transformers.utils import is_torchvision_available

    if is_torchvision_available():
        pytest.skip("torchvision is installed")
    assert load_processor(folder).image_processor.size["longest_edge"] == 56**2


# ---- model card ---------------------------------------------------------------------------------


def front_matter(card):
    return yaml.safe_load(card.split("---")[1])


def test_card_of_an_adapter_from_the_hub():
    rows = [{"options": ["a", "b"], "answer": "a", "answer_type": "set", "source": "ptb_xl"}]
    card = model_card(
        "me/ecg-drpo",
        base_model="Qwen/Qwen2.5-VL-7B-Instruct",
        trainer="DRPOTrainer",
        data=[{"name": "PTB-XL", "licence": "CC-BY-4.0", "url": "https://physionet.org/x"}],
        metrics={"Test": evaluate_answers(["\\boxed{a}"], rows)},
        settings={"learning_rate": 1e-5},
        adapter=True,
    )
    head = front_matter(card)
    assert head["base_model"] == "Qwen/Qwen2.5-VL-7B-Instruct"
    assert head["library_name"] == "peft"
    assert {"drpo", "trl", "climb-hf"} <= set(head["tags"])
    assert "[PTB-XL](https://physionet.org/x) | CC-BY-4.0" in card
    assert "not a medical device" in card
    assert "| source: ptb_xl | 1 | 100.0 % | 100.0 % |" in card
    assert "2506.00711" in card and "2503.07667" in card
    assert "| learning_rate | 1e-05 |" in card
    assert "load_for_inference" in card


def test_card_shows_no_path_of_the_disk(tmp_path):
    base = tmp_path / "private" / "sft"
    base.mkdir(parents=True)
    card = model_card("x", base_model=str(base), trainer="SFTTrainer")
    assert str(tmp_path) not in card
    assert "`sft` (a local folder)" in card
    assert "base_model" not in front_matter(card)
    assert "None" not in card


def test_card_of_a_model_with_series_on_the_hub_says_so_in_three_lines():
    domains = [{"domain": "e|cg", "questions": 1200, "reward": 0.25, "weight": 1.5}]
    facts = {"base_model": None, "trainer": "DRPOTrainer", "domains": domains}
    card = model_card("x", series=True, hub_id="me/x", **facts)
    code = card.split("```python\n")[1].split("```")[0].splitlines()
    assert len(code) == 3
    assert code[1].endswith('load_for_inference("me/x")') and "series=[signal]" in code[2]
    assert "| e\\|cg | 1,200 | 0.250 | 1.50 |" in card
    assert "images=[image]" in model_card("x", base_model=None, trainer="DRPOTrainer")


def test_card_cells_cannot_break_the_table_or_the_head():
    card = model_card(
        "x",
        base_model='org/odd"name',
        trainer="DRPOTrainer",
        data=[{"name": "a|b\nc", "licence": ""}],
        tags=["evil\nlicense: mit"],
    )
    assert front_matter(card)["license"] == "other"
    assert "| a\\|b c | not stated |" in card


def test_card_is_written_into_the_folder(run_folder):
    card = write_model_card(run_folder, base_model=None, trainer="DRPOTrainer")
    text = card.read_text()
    assert card == run_folder / "README.md"
    assert "# drpo" in text
    assert "a LoRA adapter" in text
    assert "This run was not evaluated." in text
