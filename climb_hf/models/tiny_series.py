"""Models of a few hundred thousand random weights that take series: for tests and dry runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

from climb_hf.check import check_option
from climb_hf.models.compose import compose
from climb_hf.models.series_config import SeriesConfig
from climb_hf.models.tiny import MERGE, PATCH_PX, tiny_vlm

VLM_NAME = "climb-hf/tiny-random-series-vlm"
LM_NAME = "climb-hf/tiny-random-series-lm"
VLM_FAMILIES = ("qwen2_5_vl", "qwen3_vl")
LM_FAMILIES = ("llama", "qwen3")


def tiny_series_config(**options: Any) -> SeriesConfig:
    """Settings of a small encoder: a token for each second of a series."""
    small = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_hidden_layers": 2,
        "patches_per_token": 4,
    }
    return SeriesConfig(**{**small, **options})


def tiny_series_vlm(
    texts: Iterable[str] = (),
    *,
    family: str = "qwen2_5_vl",
    seed: int = 0,
    series_config: SeriesConfig | None = None,
    **options: Any,
) -> tuple[Any, Any]:
    """Builds a tiny model that takes text, images and series, and its processor.

    Args:
        texts, seed: as in `climb_hf.models.tiny.tiny_vlm`.
        family: `qwen2_5_vl` or `qwen3_vl`.
        series_config: of the encoder; None takes `tiny_series_config()`.
        options: more of `tiny_vlm`.
    """
    check_option("family", family, VLM_FAMILIES)
    stock, processor = tiny_vlm(texts, seed=seed, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if family == "qwen3_vl":
            stock = _qwen3_vl(stock.config)
        model, processor = _composed(stock, processor, series_config, processor.image_processor)
    model.config._name_or_path = model.name_or_path = VLM_NAME
    return model, processor


def tiny_series_lm(
    texts: Iterable[str] = (),
    *,
    family: str = "llama",
    seed: int = 0,
    series_config: SeriesConfig | None = None,
    **options: Any,
) -> tuple[Any, Any]:
    """Builds a tiny model that takes text and series, and its processor.

    Args:
        texts, seed, series_config, options: as in `tiny_series_vlm`.
        family: `llama` or `qwen3`.
    """
    check_option("family", family, LM_FAMILIES)
    stock, processor = tiny_vlm(texts, seed=seed, **options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model, processor = _composed(_text_model(family, stock.config), processor, series_config)
    model.config._name_or_path = model.name_or_path = LM_NAME
    return model, processor


def _composed(
    stock: Any, processor: Any, series_config: SeriesConfig | None, image_processor: Any = None
) -> tuple[Any, Any]:
    tokenizer = processor.tokenizer
    tokenizer.chat_template = processor.chat_template
    return compose(
        stock.eval(),
        tokenizer,
        image_processor,
        series_config=series_config or tiny_series_config(),
    )


def _text_fields(config: Any) -> dict[str, Any]:
    text = config.text_config
    return {
        "vocab_size": text.vocab_size,
        "hidden_size": text.hidden_size,
        "intermediate_size": text.intermediate_size,
        "num_hidden_layers": text.num_hidden_layers,
        "num_attention_heads": text.num_attention_heads,
        "num_key_value_heads": text.num_key_value_heads,
        "head_dim": text.hidden_size // text.num_attention_heads,
        "max_position_embeddings": text.max_position_embeddings,
        "initializer_range": text.initializer_range,
        "bos_token_id": None,
        "eos_token_id": text.eos_token_id,
        "pad_token_id": text.pad_token_id,
        "tie_word_embeddings": True,
    }


def _text_model(family: str, config: Any) -> Any:
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

    kinds: dict[str, tuple[Any, Any]] = {
        "llama": (LlamaConfig, LlamaForCausalLM),
        "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    }
    config_class, model_class = kinds[family]
    return model_class(config_class(**_text_fields(config)))


def _qwen3_vl(config: Any) -> Any:
    """A Qwen3-VL with the sizes and the tokens of a tiny Qwen2.5-VL."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    text = _text_fields(config)
    text["rope_parameters"] = config.text_config.rope_parameters
    vision = {
        "depth": 2,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_heads": 2,
        "out_hidden_size": text["hidden_size"],
        "patch_size": PATCH_PX,
        "spatial_merge_size": MERGE,
        "temporal_patch_size": 2,
        "num_position_embeddings": 16,
        "deepstack_visual_indexes": [0],
    }
    names = ("image", "video", "vision_start", "vision_end")
    tokens = {f"{name}_token_id": getattr(config, f"{name}_token_id") for name in names}
    return Qwen3VLForConditionalGeneration(
        Qwen3VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True, **tokens)
    )
