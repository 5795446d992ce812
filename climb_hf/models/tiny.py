"""A Qwen2.5-VL of about 200 thousand weights, built by code: for tests, demos and dry runs.

It has the classes, the chat template and the image tokens of a real checkpoint, so that a training
script cannot tell it apart, and needs neither a hub nor torchvision. The weights are random.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.models.qwen2.tokenization_qwen2 import Qwen2Tokenizer
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from climb_hf.errors import OptionError
from climb_hf.models.series_processor import ImageTextProcessor

NAME = "climb-hf/tiny-random-qwen2.5-vl"
PATCH_PX = 14
MERGE = 2
TOKEN_PX = PATCH_PX * MERGE  # side of the square of pixels that becomes one token

SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)

CORPUS = (
    "system\n user\n assistant\n You are shown a 12-lead ECG. You are shown an image.",
    "Which of these groups of findings does it show? List every group that applies, separated by",
    "commas. Which of these groups describes it best? Choose one. Options: (A) yes, (B) no.",
    "Reason step by step, then write the final answer inside \\boxed{}. \\boxed{yes}",
    "normal sinus rhythm, conduction disturbance, myocardial infarction, other abnormality,",
    "ST segment or T wave change, atrial fibrillation or flutter,",
    "chamber hypertrophy or axis change",
    "\\boxed{normal sinus rhythm} \\boxed{conduction disturbance, other abnormality}",
    "<think> the patient is a woman of 64 years, a man of 53 years </think>",
)

CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_vlm(
    texts: Iterable[str] = (),
    *,
    seed: int = 0,
    image_size: int = 56,
    vocab_size: int = 640,
    hidden_size: int = 64,
    n_layers: int = 2,
) -> tuple[Qwen2_5_VLForConditionalGeneration, ImageTextProcessor]:
    """Builds a tiny vision-language model with random weights, and its processor.

    Args:
        texts: what the tokenizer should write in few tokens, beside a built-in corpus; give it the
            prompts and answers of the run.
        seed: of the weights; the random state of the caller is left as it was.
        image_size: side in px of the largest square image that is not made smaller. An image costs
            at most (image_size / 28) squared tokens: 4 at 56 px, 64 at 224 px.
        vocab_size: upper limit for the tokenizer, its 256 bytes included.
        hidden_size: width of the language model; a multiple of 64.
        n_layers: of the language model.

    Returns:
        The model in float32 on the CPU, and a processor that pads on the left.

    Raises:
        OptionError: if `image_size` is no multiple of 28 px, or another size does not fit.
    """
    _check_sizes(image_size, vocab_size, hidden_size, n_layers)
    processor = _processor(_tokenizer(texts, vocab_size), image_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(
            _config(processor.tokenizer, hidden_size, n_layers)
        )
    model.config._name_or_path = model.name_or_path = NAME  # cards and adapters name it by this
    return model.eval(), processor


def save_tiny(folder: str | Path, texts: Iterable[str] = (), **options: Any) -> Path:
    """Builds `tiny_vlm(texts, **options)` and saves it like any checkpoint.

    Returns:
        `folder`, which `AutoModelForImageTextToText` and, once this module has been imported,
        `AutoProcessor` load.
    """
    model, processor = tiny_vlm(texts, **options)
    folder = Path(folder)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def _check_sizes(image_size: int, vocab_size: int, hidden_size: int, n_layers: int) -> None:
    if image_size < TOKEN_PX or image_size % TOKEN_PX:
        near = max(TOKEN_PX, round(image_size / TOKEN_PX) * TOKEN_PX)
        raise OptionError(
            f"image_size={image_size} is not a multiple of {TOKEN_PX} px, the side of one token. "
            f"Take {near}."
        )
    if vocab_size < 300:
        raise OptionError(f"vocab_size={vocab_size} leaves no room beside 256 bytes; take 640.")
    if hidden_size < 64 or hidden_size % 64:
        raise OptionError(f"hidden_size={hidden_size} should be a multiple of 64.")
    if n_layers < 1:
        raise OptionError(f"n_layers={n_layers} should be at least 1.")


def _tokenizer(texts: Iterable[str], vocab_size: int) -> Qwen2Tokenizer:
    """A byte-level BPE trained on the corpus, in the class that real checkpoints use."""
    trainer = ByteLevelBPETokenizer()
    trainer.train_from_iterator(
        [*CORPUS, *texts],
        vocab_size=vocab_size - len(SPECIAL),
        min_frequency=1,
        show_progress=False,
    )
    learnt = json.loads(trainer.to_str())["model"]
    merges: Any = [tuple(pair) if isinstance(pair, list) else pair for pair in learnt["merges"]]
    return Qwen2Tokenizer(
        vocab=learnt["vocab"],
        merges=merges,
        unk_token="<|endoftext|>",
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(SPECIAL),
        model_max_length=32768,
        padding_side="left",  # generation continues at the right edge; as an argument it is saved
    )


def _processor(tokenizer: Qwen2Tokenizer, image_size: int) -> ImageTextProcessor:
    image_processor = Qwen2VLImageProcessorPil(
        patch_size=PATCH_PX,
        merge_size=MERGE,
        size={"shortest_edge": TOKEN_PX**2, "longest_edge": image_size**2},  # areas in px
    )
    return ImageTextProcessor(image_processor, tokenizer, chat_template=CHAT_TEMPLATE)


def _config(tokenizer: Qwen2Tokenizer, hidden_size: int, n_layers: int) -> Qwen2_5_VLConfig:
    vision_size, head_size = 32, hidden_size // 4
    sections = [head_size // 8, head_size * 3 // 16, head_size * 3 // 16]  # half a head in all
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": hidden_size,
        "intermediate_size": 2 * hidden_size,
        "num_hidden_layers": n_layers,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "initializer_range": 0.05,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": sections},
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    vision = {
        "depth": 2,
        "hidden_size": vision_size,
        "intermediate_size": 2 * vision_size,
        "num_heads": 2,
        "out_hidden_size": hidden_size,
        "patch_size": PATCH_PX,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "window_size": 4 * PATCH_PX,
        "fullatt_block_indexes": [1],
    }
    token_id = tokenizer.get_vocab().__getitem__
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
        tie_word_embeddings=True,
    )
