"""Language models that take series beside text, and beside images where their family sees them.

The series are merged in the headless model, which every caller goes through: `generate`, a plain
forward pass, and TRL's fused head, which never enters the forward pass of the outer class.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import (
    AutoModel,
    GenerationMixin,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLModel,
)
from transformers.models.qwen3_vl.modeling_qwen3_vl import (
    Qwen3VLForConditionalGeneration,
    Qwen3VLModel,
)

from climb_hf.errors import OptionError
from climb_hf.models.series import SeriesEncoder
from climb_hf.models.series_config import (
    SeriesConfig,
    SeriesLMConfig,
    SeriesQwen2_5_VLConfig,
    SeriesQwen3VLConfig,
)
from climb_hf.models.series_input import SERIES_INPUTS

PLACEHOLDER_IDS = ("time_series_token_id", "image_token_id", "video_token_id")
# What LoRA trains in full beside its adapters.
SERIES_MODULES = ("time_series_encoder", "time_series_projector")


class SeriesProjector(nn.Module):
    """Brings tokens of series to the width, and to the size, of the model's own embeddings."""

    def __init__(self, series: SeriesConfig, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(series.hidden_size, eps=series.layer_norm_eps)
        self.widen = nn.Linear(series.hidden_size, width)
        self.join = nn.Linear(width, width)
        self.size = nn.RMSNorm(width, eps=1e-6)  # its weight is the size of an embedding

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Args: tokens of the encoder, (tokens, hidden)."""
        tokens = tokens.to(self.widen.weight.dtype)
        return self.size(self.join(functional.gelu(self.widen(self.norm(tokens)))))


# ---- headless models ----------------------------------------------------------------------------


class MergesSeries(nn.Module):
    """Stands before a headless language model and puts series where the placeholders stand."""

    config: Any
    get_input_embeddings: Callable[[], nn.Module]

    def add_series(self, config: Any) -> None:
        """Makes the encoder and the projector, with weights drawn at random."""
        self.time_series_encoder = SeriesEncoder._from_config(config.series_config)
        width = config.get_text_config().hidden_size
        self.time_series_projector = SeriesProjector(config.series_config, width)

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        series_values: torch.Tensor | None = None,
        series_channels: torch.Tensor | None = None,
        series_levels: torch.Tensor | None = None,
        series_lengths: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> Any:
        """Runs the model; the four tensors of series are those of `series_input.collate`.

        Raises:
            OptionError: if placeholders and tokens of series do not match.
        """
        series = (series_values, series_channels, series_levels, series_lengths)
        if series_values is None:
            self._check_no_placeholder(input_ids)
            return self.run_plain(input_ids, inputs_embeds, **kwargs)
        if input_ids is None:
            raise OptionError("series need input_ids, which hold the places that they are put at.")
        merged = self._merged(input_ids, inputs_embeds, series)
        return self.run_merged(input_ids, merged, **kwargs)

    def run_plain(
        self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None, **kwargs: Any
    ) -> Any:
        """Runs the model where there is no series."""
        return super().forward(input_ids=input_ids, inputs_embeds=inputs_embeds, **kwargs)

    def run_merged(self, input_ids: torch.Tensor, merged: torch.Tensor, **kwargs: Any) -> Any:
        """Runs the model on embeddings that hold the series, (batch, places, hidden)."""
        raise NotImplementedError

    def _merged(
        self,
        input_ids: torch.Tensor,
        inputs_embeds: torch.Tensor | None,
        series: tuple[torch.Tensor | None, ...],
    ) -> torch.Tensor:
        embeddings = inputs_embeds
        if embeddings is None:
            embeddings = self.get_input_embeddings()(input_ids)
        given = {
            name: tensor.to(embeddings.device)
            for name, tensor in zip(SERIES_INPUTS, series, strict=True)
            if tensor is not None
        }
        # By place and not by name: PEFT may stand between.
        encoded = self.time_series_encoder(*given.values())
        places = input_ids == self.config.time_series_token_id
        series_in_rows(places, encoded.token_mask.sum(dim=1))
        tokens = self.time_series_projector(encoded.last_hidden_state[encoded.token_mask])
        places = places[:, :, None].to(embeddings.device)
        return embeddings.masked_scatter(places, tokens.to(embeddings))

    def _check_no_placeholder(self, input_ids: torch.Tensor | None) -> None:
        # One token at a time is generation, which writes no placeholder.
        if input_ids is None or input_ids.shape[1] == 1:
            return
        n_places = int((input_ids == self.config.time_series_token_id).sum())
        if n_places:
            raise OptionError(
                f"the text has {n_places} places for tokens of series and no series was given. "
                f"Pass {', '.join(SERIES_INPUTS)} on, as the processor returns them."
            )


def series_in_rows(places: torch.Tensor, n_tokens: torch.Tensor) -> list[int]:
    """Returns how many series belong to each row of a batch.

    Args:
        places: where placeholders stand, (batch, places).
        n_tokens: tokens of each series, in the order of the rows.

    Raises:
        OptionError: if the numbers do not match, in all or in some row.
    """
    wanted, had = places.sum(dim=1).tolist(), n_tokens.tolist()
    if sum(wanted) != sum(had):
        raise OptionError(
            f"the text has {sum(wanted)} places for tokens of series, and {len(had)} series give "
            f"{sum(had)} tokens. Text and series have to come from one call of the processor; "
            "a text that was cut loses places."
        )
    ends = {end: at for at, end in enumerate(accumulate(had, initial=0))}
    rows, before = [], 0
    for row, end in enumerate(accumulate(wanted)):
        if end not in ends:
            raise OptionError(
                f"row {row} of the batch has {wanted[row]} places for tokens of series, where the "
                f"series have {had} tokens: they do not end with the row. Check their order."
            )
        rows.append(ends[end] - before)
        before = ends[end]
    return rows


class SeriesLMPreTrainedModel(PreTrainedModel):
    """What the two classes for any causal language model share."""

    config_class = SeriesLMConfig
    config: SeriesLMConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012 (read by transformers)
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True


class SeriesLMModel(MergesSeries, SeriesLMPreTrainedModel):
    """Any causal language model without its head, and an encoder of series."""

    def __init__(self, config: SeriesLMConfig) -> None:
        super().__init__(config)
        self.language_model = AutoModel.from_config(config.text_config)
        self.add_series(config)
        self.post_init()

    def run_plain(
        self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None, **kwargs: Any
    ) -> BaseModelOutputWithPast:
        """Runs the language model."""
        if inputs_embeds is not None:
            input_ids = None
        return self.language_model(input_ids=input_ids, inputs_embeds=inputs_embeds, **kwargs)

    def run_merged(
        self, input_ids: torch.Tensor, merged: torch.Tensor, **kwargs: Any
    ) -> BaseModelOutputWithPast:
        """Runs the language model on embeddings."""
        return self.language_model(inputs_embeds=merged, **kwargs)


class SeriesQwen2_5_VLModel(MergesSeries, Qwen2_5_VLModel):
    """Qwen2.5-VL without its head, and an encoder of series."""

    config_class = SeriesQwen2_5_VLConfig

    def __init__(self, config: SeriesQwen2_5_VLConfig) -> None:
        super().__init__(config)
        self.add_series(config)
        self.post_init()

    def run_merged(self, input_ids: torch.Tensor, merged: torch.Tensor, **kwargs: Any) -> Any:
        """Hands the ids on as well: they tell where images stand."""
        return self.run_plain(input_ids, merged, **kwargs)


class SeriesQwen3VLModel(MergesSeries, Qwen3VLModel):
    """Qwen3-VL without its head, and an encoder of series."""

    config_class = SeriesQwen3VLConfig

    def __init__(self, config: SeriesQwen3VLConfig) -> None:
        super().__init__(config)
        self.add_series(config)
        self.post_init()

    def run_merged(self, input_ids: torch.Tensor, merged: torch.Tensor, **kwargs: Any) -> Any:
        """Works out the positions first: Qwen3-VL takes ids or embeddings, and never both."""
        if kwargs.get("position_ids") is None:
            kwargs["position_ids"] = self._positions(input_ids, merged, kwargs)
        return self.run_plain(None, merged, **kwargs)

    def _positions(
        self, input_ids: torch.Tensor, merged: torch.Tensor, given: dict[str, Any]
    ) -> torch.Tensor:
        names = ["image_grid_thw", "video_grid_thw", "attention_mask"]
        names += ["past_key_values", "mm_token_type_ids"]
        own = {name: given.get(name) for name in names}
        found = self.compute_3d_position_ids(input_ids, merged, **own)
        if found is not None:
            return found
        cache = given.get("past_key_values")
        start = 0 if cache is None else cache.get_seq_length()
        places = torch.arange(start, start + input_ids.shape[1], device=merged.device)
        return places.expand(len(input_ids), -1)


# ---- models with a head -------------------------------------------------------------------------


class NoPlaceholders(LogitsProcessor):
    """Keeps a model from writing placeholders, which would have nothing behind them."""

    def __init__(self, token_ids: Sequence[int]) -> None:
        self.token_ids = list(token_ids)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Returns the scores, (batch, vocabulary), with those of placeholders at -inf."""
        scores = scores.clone()
        scores[:, self.token_ids] = -torch.inf
        return scores


class GeneratesWithSeries:
    """Stands before a model with a head and lets `generate` take series."""

    config: Any

    def generate(
        self,
        inputs: Any = None,
        generation_config: Any = None,
        logits_processor: Any = None,
        **kwargs: Any,
    ) -> Any:
        """Generates as ever, but never a placeholder of any modality, whatever the caller asks."""
        known = [getattr(self.config, name, None) for name in PLACEHOLDER_IDS]
        never = NoPlaceholders([token for token in known if token is not None])
        processors = LogitsProcessorList([*(logits_processor or []), never])
        return super().generate(  # type: ignore[misc]
            inputs, generation_config, logits_processor=processors, **kwargs
        )

    def prepare_inputs_for_generation(
        self, input_ids: torch.Tensor, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Passes series on where the text that holds their places is read, and never later."""
        series = {name: kwargs.pop(name, None) for name in SERIES_INPUTS}
        made: dict[str, Any] = super().prepare_inputs_for_generation(  # type: ignore[misc]
            input_ids, *args, **kwargs
        )
        if kwargs.get("is_first_iteration") or not kwargs.get("use_cache", True):
            made |= {name: tensor for name, tensor in series.items() if tensor is not None}
        return made

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> tuple[Any, dict[str, Any]]:
        """Repeats the series of a row with the row; tensor by tensor their order would be lost."""
        series = {name: kwargs.pop(name, None) for name in SERIES_INPUTS}
        lengths = series["series_lengths"]
        if lengths is not None and input_ids is not None and expand_size > 1:
            count = self.config.series_config.token_count
            n_tokens = torch.tensor([count(length) for length in lengths.tolist()])
            own = series_in_rows(input_ids == self.config.time_series_token_id, n_tokens)
            rows = torch.arange(len(lengths)).split(own)
            order = torch.cat([row for row in rows for _ in range(expand_size)])
            series = {name: tensor[order.to(tensor.device)] for name, tensor in series.items()}
        input_ids, kwargs = super()._expand_inputs_for_generation(  # type: ignore[misc]
            expand_size, is_encoder_decoder, input_ids, **kwargs
        )
        return input_ids, {**kwargs, **series}


def naming_series(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Returns a forward pass whose signature names the series that it hands on as they are.

    `generate` refuses what no signature names, and PEFT hides the one of
    `prepare_inputs_for_generation`.
    """
    signature = inspect.signature(forward)
    before = [one for one in signature.parameters.values() if one.kind != one.VAR_KEYWORD]
    after = [one for one in signature.parameters.values() if one.kind == one.VAR_KEYWORD]
    named = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in SERIES_INPUTS
    ]

    @functools.wraps(forward)
    def forward_with_series(self: Any, *args: Any, **kwargs: Any) -> Any:
        return forward(self, *args, **kwargs)

    forward_with_series.__signature__ = signature.replace(  # type: ignore[attr-defined]
        parameters=[*before, *named, *after]
    )
    return forward_with_series


class SeriesLMForCausalLM(  # type: ignore[misc]
    GeneratesWithSeries, SeriesLMPreTrainedModel, GenerationMixin
):
    """Any causal language model that takes series beside text."""

    def __init__(self, config: SeriesLMConfig) -> None:
        super().__init__(config)
        self.model = SeriesLMModel(config)
        text = config.get_text_config()
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        table = self.model.language_model.get_input_embeddings()
        names = [name for name, part in self.model.language_model.named_modules() if part is table]
        self._tied_weights_keys = {"lm_head.weight": f"model.language_model.{names[0]}.weight"}
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """Returns the head."""
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        """Puts another head in its place."""
        self.lm_head = new_embeddings

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        series_values: torch.Tensor | None = None,
        series_channels: torch.Tensor | None = None,
        series_levels: torch.Tensor | None = None,
        series_lengths: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Returns logits, and the loss where there are labels; always as an output object."""
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            series_values=series_values,
            series_channels=series_channels,
            series_levels=series_levels,
            series_lengths=series_lengths,
            **kwargs,
        )
        whole = isinstance(logits_to_keep, int)
        kept = slice(-logits_to_keep, None) if whole else logits_to_keep
        logits = self.lm_head(outputs.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            vocab_size = self.config.get_text_config().vocab_size
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


class SeriesQwen2_5_VLForConditionalGeneration(  # type: ignore[misc]
    GeneratesWithSeries, Qwen2_5_VLForConditionalGeneration
):
    """Qwen2.5-VL that takes series beside text and images."""

    config_class = SeriesQwen2_5_VLConfig
    forward = naming_series(Qwen2_5_VLForConditionalGeneration.forward)

    def __init__(self, config: SeriesQwen2_5_VLConfig) -> None:
        with torch.device("meta"):  # its model gives way to ours
            super().__init__(config)
        self.model = SeriesQwen2_5_VLModel(config)
        text = config.get_text_config()
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()


class SeriesQwen3VLForConditionalGeneration(  # type: ignore[misc]
    GeneratesWithSeries, Qwen3VLForConditionalGeneration
):
    """Qwen3-VL that takes series beside text and images."""

    config_class = SeriesQwen3VLConfig
    forward = naming_series(Qwen3VLForConditionalGeneration.forward)

    def __init__(self, config: SeriesQwen3VLConfig) -> None:
        with torch.device("meta"):
            super().__init__(config)
        self.model = SeriesQwen3VLModel(config)
        text = config.get_text_config()
        self.lm_head = nn.Linear(text.hidden_size, text.vocab_size, bias=False)
        self.post_init()
