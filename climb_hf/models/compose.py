"""Gives a language model that exists series: its weights stay, an encoder and a projector join."""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from climb_hf.errors import CheckpointError, OptionError
from climb_hf.models import series_lm as models
from climb_hf.models.series import SeriesEncoder
from climb_hf.models.series_config import (
    PLACEHOLDER,
    SeriesConfig,
    SeriesLMConfig,
    SeriesQwen2_5_VLConfig,
    SeriesQwen3VLConfig,
)
from climb_hf.models.series_processor import SeriesImageTextProcessor, SeriesTextProcessor

logger = logging.getLogger(__name__)

# Families that see images, by the type of their checkpoints.
IMAGE_FAMILIES: dict[str, tuple[type[Any], type[Any]]] = {
    "qwen2_5_vl": (SeriesQwen2_5_VLConfig, models.SeriesQwen2_5_VLForConditionalGeneration),
    "qwen3_vl": (SeriesQwen3VLConfig, models.SeriesQwen3VLForConditionalGeneration),
}
_OWN = {kind.model_type for kind in (SeriesConfig, SeriesLMConfig)}
_OWN |= {config.model_type for config, _ in IMAGE_FAMILIES.values()}
_OURS = ("series_config", "time_series_token_id", "backbone_vocab_size", "auto_map")
_NOT_KEPT = ("model_type", "architectures", "transformers_version", "_name_or_path", *_OURS)


def from_backbone(
    name: str | Path,
    *,
    series_config: SeriesConfig | None = None,
    series_encoder: SeriesEncoder | str | Path | None = None,
    **options: Any,
) -> tuple[Any, Any]:
    """Loads a language model and gives it an encoder of series.

    Qwen2.5-VL and Qwen3-VL go on seeing images; a causal language model of any other family takes
    text and series. What the model answers to text and images does not change.

    Args:
        name: a folder or a model of the Hub.
        series_config: settings of a fresh encoder.
        series_encoder: a trained encoder, or the folder of one, in its place.
        options: of `from_pretrained`: `dtype`, `device_map`, `attn_implementation`, `revision`, ...

    Returns:
        The model in evaluation mode, and its processor. Save both, and the Auto classes load them
        wherever climb_hf has been imported.

    Raises:
        CheckpointError: if the checkpoint is none that series can be given to, or lacks weights.
        OptionError: if both settings and an encoder are given.
    """
    from transformers import (
        AutoConfig,
        AutoImageProcessor,
        AutoModelForCausalLM,
        AutoModelForImageTextToText,
        AutoTokenizer,
    )

    shared = {key: options[key] for key in ("revision", "trust_remote_code") if key in options}
    config = AutoConfig.from_pretrained(name, **shared)
    _check_backbone(config, str(name))
    sees = config.model_type in IMAGE_FAMILIES
    kind: Any = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    stock, told = kind.from_pretrained(name, output_loading_info=True, **options)
    _check_loaded(told, str(name))
    tokenizer = AutoTokenizer.from_pretrained(name, **shared)
    if tokenizer.chat_template is None:  # older checkpoints keep it with the processor
        found, _ = SeriesTextProcessor.get_processor_dict(name, **shared)
        tokenizer.chat_template = found.get("chat_template")
    image_processor = AutoImageProcessor.from_pretrained(name, **shared) if sees else None
    return compose(
        stock,
        tokenizer,
        image_processor,
        series_config=series_config,
        series_encoder=series_encoder,
    )


def compose(
    stock: Any,
    tokenizer: Any,
    image_processor: Any = None,
    *,
    series_config: SeriesConfig | None = None,
    series_encoder: SeriesEncoder | str | Path | None = None,
) -> tuple[Any, Any]:
    """Gives a loaded model an encoder of series; see `from_backbone`.

    Args:
        stock: the model; its parts move into the new one.
        tokenizer: of the model; a copy of it learns the placeholder.
        image_processor: of the model, where it sees images.
        series_config, series_encoder: as in `from_backbone`.
    """
    _check_backbone(stock.config, stock.config._name_or_path or type(stock).__name__)
    if getattr(stock, "is_quantized", False):
        raise OptionError(
            "the model is quantised, and series cannot be given to it so. Give them to the model "
            "as it is, save that, and load what was saved with the quantization_config; name "
            f"{', '.join(models.SERIES_MODULES)} among its modules to skip."
        )
    encoder = _encoder(series_config, series_encoder)
    tokenizer = copy.deepcopy(tokenizer)
    vocab_size = stock.get_input_embeddings().weight.shape[0]
    token_id = _add_placeholder(tokenizer, stock)
    expected = _logits(stock) if image_processor is None else None
    model = _assembled(stock, encoder, token_id, vocab_size)
    if expected is not None and not torch.allclose(_logits(model), expected, atol=1e-3, rtol=1e-3):
        raise CheckpointError(
            f"a model of type {stock.config.model_type!r} does more between its last layer and its "
            "logits than series can be given to. Take another family, such as Llama or Qwen3."
        )
    if image_processor is None:
        return model, SeriesTextProcessor(tokenizer, encoder.config)
    return model, SeriesImageTextProcessor(image_processor, tokenizer, encoder.config)


def _check_backbone(config: Any, name: str) -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

    kind = config.model_type
    if kind in _OWN:
        raise CheckpointError(
            f"{name} is of type {kind!r}, which takes series already. Load it with the Auto "
            "classes."
        )
    causal = type(config) in MODEL_FOR_CAUSAL_LM_MAPPING and getattr(config, "is_decoder", True)
    if kind not in IMAGE_FAMILIES and (not causal or hasattr(config, "vision_config")):
        raise CheckpointError(
            f"{name} is of type {kind!r}, which series cannot be given to. Take a causal language "
            f"model (Llama, Qwen3, SmolLM2, ...), or one of {', '.join(IMAGE_FAMILIES)} for images."
        )


def _check_loaded(told: Mapping[str, Any], name: str) -> None:
    """Refuses a model some of whose weights would be random; says what of it was not used."""
    missing = sorted(map(str, {*told["missing_keys"], *told.get("mismatched_keys", ())}))
    if missing:
        raise CheckpointError(
            f"{name} lacks {len(missing)} weights of its own model, or has them in another shape, "
            f"such as {missing[0]}. They would be random: get the checkpoint anew, or take another."
        )
    unused = sorted(told["unexpected_keys"])
    if unused:
        logger.warning(
            "%d weights of %s have no place in its model and are not used, such as %s.",
            len(unused),
            name,
            unused[0],
        )


def _encoder(
    config: SeriesConfig | None, encoder: SeriesEncoder | str | Path | None
) -> SeriesEncoder:
    if config is not None and encoder is not None:
        raise OptionError("give series_config for a fresh encoder or series_encoder, not both.")
    if isinstance(encoder, (str, Path)):
        return SeriesEncoder.from_pretrained(encoder)
    return encoder or SeriesEncoder(config or SeriesConfig())


def _add_placeholder(tokenizer: Any, stock: Any) -> int:
    """The number of the placeholder, which the tokenizer and the embeddings then have."""
    from tokenizers import AddedToken

    tokenizer.add_tokens(
        AddedToken(PLACEHOLDER, special=True, normalized=False), special_tokens=True
    )
    held = stock.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > held:
        stock.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        with torch.no_grad():
            for table in (stock.get_input_embeddings(), stock.get_output_embeddings()):
                table.weight[held:] = table.weight[:held].mean(dim=0)
    return int(tokenizer.convert_tokens_to_ids(PLACEHOLDER))


def kept_settings(config: Any) -> dict[str, Any]:
    """Returns the settings that a model has with and without series, as objects."""
    return {key: getattr(config, key) for key in config.to_dict() if key not in _NOT_KEPT}


def _assembled(stock: Any, encoder: SeriesEncoder, token_id: int, vocab_size: int) -> Any:
    """The new model, built empty and then given the parts of the old one."""
    old = stock.config
    own = {
        "series_config": encoder.config,
        "time_series_token_id": token_id,
        "backbone_vocab_size": vocab_size,
        "attn_implementation": old._attn_implementation,
        "dtype": stock.dtype,
    }
    if old.model_type in IMAGE_FAMILIES:
        config_class, model_class = IMAGE_FAMILIES[old.model_type]
        config = config_class(**{**kept_settings(old), **own})
        parts = {"visual": stock.model.visual, "language_model": stock.model.language_model}
    else:
        model_class = models.SeriesLMForCausalLM
        config = SeriesLMConfig(text_config=old, **own)
        parts = {"language_model": stock.base_model}
    with torch.device("meta"):
        model = model_class(config)
    for name, part in parts.items():
        setattr(model.model, name, part)
    model.lm_head = stock.get_output_embeddings()
    model.generation_config = stock.generation_config
    _add_series(model, encoder)
    model.tie_weights()
    return model.eval()


def _add_series(model: Any, encoder: SeriesEncoder) -> None:
    """Puts the encoder in, and a projector whose tokens are as large as the embeddings."""
    table = model.get_input_embeddings().weight
    projector = models.SeriesProjector(encoder.config, table.shape[1])
    projector.apply(model._init_weights)
    with torch.no_grad():
        size = table.float().pow(2).mean().sqrt().item()
        projector.size.weight.fill_(size)
    tower: torch.nn.Module = encoder
    model.model.time_series_encoder = tower.to(device=table.device, dtype=table.dtype)
    model.model.time_series_projector = projector.to(device=table.device, dtype=table.dtype)


def _logits(model: Any) -> torch.Tensor:
    """Logits of a few tokens, on the CPU in float32."""
    held = model.get_input_embeddings()
    ids = torch.arange(1, 6, device=held.weight.device)[None]
    was_training = model.training
    with torch.no_grad():
        logits = model.eval()(input_ids=ids).logits
    model.train(was_training)
    return logits.float().cpu()
