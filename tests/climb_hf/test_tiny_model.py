"""The tiny vision-language model: it must pass for a real checkpoint."""

import subprocess
import sys

import pytest
import torch
from PIL import Image

from climb_hf.errors import OptionError
from climb_hf.models.tiny import ImageTextProcessor, save_tiny, tiny_vlm

FRESH = """
import sys, climb_hf.models.tiny
from transformers import AutoModelForImageTextToText, AutoProcessor
processor = AutoProcessor.from_pretrained(sys.argv[1])
model = AutoModelForImageTextToText.from_pretrained(sys.argv[1])
batch = processor(text=["a", "a longer text"], padding=True, return_tensors="pt")
print(type(processor).__name__, processor.tokenizer.padding_side)
print(float(model(**batch).logits[1].double().sum()))
"""


@pytest.fixture(scope="module")
def pair():
    return tiny_vlm(image_size=56)


def chat(processor, n_images, text="Which finding?"):
    content = [{"type": "image"}] * n_images + [{"type": "text", "text": text}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )


def test_same_seed_same_model_and_the_caller_keeps_its_randomness(pair):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    model, processor = tiny_vlm(image_size=56)
    assert torch.equal(torch.rand(3), expected)
    assert processor.tokenizer.get_vocab() == pair[1].tokenizer.get_vocab()
    pairs = zip(model.parameters(), pair[0].parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    other_seed = next(tiny_vlm(image_size=56, seed=1)[0].parameters())
    assert not torch.equal(other_seed, next(pair[0].parameters()))


@pytest.mark.parametrize(("image_size", "n_tokens"), [(56, 4), (224, 64)])
def test_image_size_sets_the_tokens_of_an_image(image_size, n_tokens):
    _, processor = tiny_vlm(image_size=image_size)
    image = Image.new("RGB", (image_size * 3, image_size * 3))
    batch = processor(text=[chat(processor, 1)], images=[[image]])
    assert batch["input_ids"][0].count(processor.image_token_id) == n_tokens


def test_texts_of_the_run_become_short():
    words = "xylographic quetzalcoatlus"
    plain = tiny_vlm()[1].tokenizer(words)["input_ids"]
    trained = tiny_vlm([words] * 3)[1].tokenizer(words)["input_ids"]
    assert len(trained) < len(plain) / 2


def test_every_text_survives_the_tokenizer(pair):
    tokenizer = pair[1].tokenizer
    text = "\\boxed{ST segment, QRS > 120 ms, β-blocker 心电图}\n"
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_prompt_ends_where_the_answer_starts(pair):
    assert chat(pair[1], 1) == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Which finding?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_it_reloads_in_a_fresh_process(tmp_path):
    folder = save_tiny(tmp_path / "tiny", image_size=56)
    model, processor = tiny_vlm(image_size=56)
    batch = processor(text=["a", "a longer text"], padding=True, return_tensors="pt")
    with torch.no_grad():
        expected = float(model(**batch).logits[1].double().sum())
    ran = subprocess.run(
        [sys.executable, "-c", FRESH, str(folder)], capture_output=True, text=True, check=True
    )
    kind, side, total = ran.stdout.split()
    assert (kind, side) == ("ImageTextProcessor", "left")
    assert float(total) == pytest.approx(expected, rel=1e-6)


def test_real_checkpoints_keep_their_own_processor():
    from transformers import Qwen2_5_VLConfig
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    assert PROCESSOR_MAPPING[Qwen2_5_VLConfig] is not ImageTextProcessor


def test_rows_with_and_without_images_share_a_batch(pair):
    model, processor = pair
    image = Image.new("RGB", (80, 60), "white")
    shown = [[image], [], [image, image]]
    texts = [chat(processor, len(one)) for one in shown]
    batch = processor(text=texts, images=shown, padding=True, return_tensors="pt")
    with torch.no_grad():
        together = model(**batch).logits[1, -1]
        alone = model(**processor(text=[texts[1]], return_tensors="pt")).logits[0, -1]
    assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"image_size": 100}, {"image_size": 0}, {"vocab_size": 200}, {"hidden_size": 48}],
)
def test_sizes_that_do_not_fit_are_refused(options):
    with pytest.raises(OptionError, match=str(next(iter(options.values())))):
        tiny_vlm(**options)


def test_no_layers_are_refused():
    with pytest.raises(OptionError, match="n_layers"):
        tiny_vlm(n_layers=0)
