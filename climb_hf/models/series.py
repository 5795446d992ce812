"""One encoder for any clinical series: ECG, EEG, gait, pulse waves, in any number of channels.

A channel is known by its name, not by its place: 12 leads, 8 or 1, 16 derivations or 19 electrodes
are the same network. Each channel is cut into patches in time; layers look across the channels of
one moment, which are then weighed into one, and further layers look across time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput

from climb_hf.errors import OptionError
from climb_hf.models.series_config import ABSENT, SeriesConfig
from climb_hf.models.series_input import N_LEVELS, as_signal, collate, prepare

# Names have to weigh from the start: at 0.02 the channels of a series are all but added up, and a
# task that turns on which of them carries a wave is learnt late.
NAME_STD = 0.3


@dataclass
class SeriesEncoderOutput(ModelOutput):
    """What `SeriesEncoder` makes of a batch.

    Attributes:
        last_hidden_state: tokens, shape (series, tokens, hidden).
        pooler_output: one vector for each series, shape (series, hidden).
        token_mask: which tokens a series has, shape (series, tokens); the rest is filling.
    """

    last_hidden_state: torch.Tensor | None = None
    pooler_output: torch.Tensor | None = None
    token_mask: torch.Tensor | None = None


class SeriesEncoder(PreTrainedModel):
    """Encodes series into tokens and a pooled vector.

    Permuting the channels of a series together with their names changes nothing, bit for bit, and
    a channel that holds only NaN is the same as one that was left out. Nothing but a channel's name
    tells the network where a signal was taken.
    """

    config_class = SeriesConfig
    config: SeriesConfig
    main_input_name = "series_values"
    base_model_prefix = "time_series_encoder"
    supports_gradient_checkpointing = True
    # Inside a language model the encoder keeps its own attention, whatever the model was asked for.
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True

    def __init__(self, config: SeriesConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.patches = nn.Linear(2 * config.patch_samples, width)
        self.names = nn.Embedding(len(config.channels) + 1, width)  # 0 is the generic channel
        self.levels = nn.Linear(N_LEVELS, width)
        self.modulation = nn.Linear(width, 2 * width)
        self.across_channels = nn.ModuleList(
            Layer(config) for _ in range(config.num_channel_layers)
        )
        self.channel_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.channel_weights = nn.Linear(width, config.num_attention_heads)
        self.nothing = nn.Parameter(torch.zeros(width))  # a moment at which no channel has a sample
        self.across_time = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.to_tokens = (
            Merge(config) if config.n_tokens is None else Queries(config, config.n_tokens)
        )
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, SeriesEncoder):
            init.normal_(module.nothing, std=self.config.initializer_range)
            init.normal_(module.names.weight, std=NAME_STD)
        elif isinstance(module, Queries):
            init.normal_(module.queries, std=self.config.initializer_range)

    def forward(
        self,
        series_values: torch.Tensor,
        series_channels: torch.Tensor,
        series_levels: torch.Tensor,
        series_lengths: torch.Tensor,
        **_: Any,
    ) -> SeriesEncoderOutput:
        """Encodes a batch, as `climb_hf.models.series_input.collate` makes it.

        Args:
            series_values: shape (series, channels, time), scaled by channel; NaN is no sample.
            series_channels: numbers of the channels, shape (series, channels); -1 is none.
            series_levels: what the scaling took away, shape (series, channels, 3).
            series_lengths: samples of each series, shape (series,); at least 1.
        """
        order = _canonical_order(series_channels)
        numbers = series_channels.gather(1, order)
        values = series_values.gather(1, order[:, :, None].expand_as(series_values))
        levels = series_levels.gather(1, order[:, :, None].expand_as(series_levels))
        within = _within(series_lengths, values.shape[-1])
        there = values.isfinite() & (numbers != ABSENT)[:, :, None] & within[:, None, :]

        hidden, heard = self._patched(values, there, numbers, levels)
        moments, any_heard = self._merge_channels(hidden, heard)
        n_patches = -(-series_lengths // self.config.patch_samples)
        inside = _within(n_patches, moments.shape[1])
        moments = moments + _positions(moments)
        visible = any_heard & inside
        for layer in self.across_time:
            moments = layer(moments, _never_blind(visible))
        moments = self.norm(moments)
        tokens, token_mask = self.to_tokens(moments, _never_blind(visible), inside)
        return SeriesEncoderOutput(
            last_hidden_state=tokens,
            pooler_output=_masked_mean(moments, visible),
            token_mask=token_mask,
        )

    def encode(self, series: Any, **facts: Any) -> torch.Tensor:
        """Returns the pooled vector of each series, shape (series, hidden), without gradients.

        Args:
            series: one series or a list of them, each as `climb_hf.models.series_input.as_signal`
                takes it. Pieces of one that is cut into windows are averaged.
            facts: `rate_hz`, `channels` and `units` of arrays.
        """
        given = series if isinstance(series, (list, tuple)) else [series]
        pieces = [prepare(as_signal(one, **facts), self.config) for one in given]
        inputs = collate([piece for own in pieces for piece in own])
        with torch.no_grad():
            made = self(**{name: tensor.to(self.device) for name, tensor in inputs.items()})
        own_rows = made.pooler_output.split([len(own) for own in pieces])
        return torch.stack([rows.mean(dim=0) for rows in own_rows])

    def add_channels(self, names: Iterable[str]) -> None:
        """Adds channels to the vocabulary; their embeddings start at random, the others stay.

        Raises:
            OptionError: if a name is known already.
        """
        wanted = list(names)
        known = [name for name in wanted if self.config.channel_index().find(name) is not None]
        if known:
            raise OptionError(f"channel {known[0]!r} is in the vocabulary already.")
        self.config.channels = [*self.config.channels, *wanted]
        old = self.names
        self.names = nn.Embedding(len(self.config.channels) + 1, old.embedding_dim).to(old.weight)
        with torch.no_grad():
            self.names.weight.normal_(std=NAME_STD)
            self.names.weight[: old.num_embeddings] = old.weight
        self.names.weight.requires_grad_(old.weight.requires_grad)

    def _patched(
        self,
        values: torch.Tensor,
        there: torch.Tensor,
        numbers: torch.Tensor,
        levels: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Patches by channel (series, channels, patches, hidden) and which of them hold a sample.

        A patch is its samples beside the mask that says which are there, seen through the eyes of
        its channel: scaled and shifted by what the name and the level say.
        """
        size = self.config.patch_samples
        missing = -values.shape[-1] % size
        values, there = functional.pad(values, (0, missing)), functional.pad(there, (0, missing))
        dtype = self.patches.weight.dtype
        samples = torch.where(there, values, 0).unflatten(-1, (-1, size)).to(dtype)
        there = there.unflatten(-1, (-1, size))
        hidden = self.patches(torch.cat([samples, there.to(dtype)], dim=-1))
        who = self.names(numbers.clamp(min=0)) + self.levels(levels.to(dtype))
        gain, shift = self.modulation(who)[:, :, None].chunk(2, dim=-1)
        return hidden * (1 + gain) + shift, there.any(dim=-1)

    def _merge_channels(
        self, hidden: torch.Tensor, heard: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """One vector for each moment (series, patches, hidden), and where any channel was heard."""
        n_series, _, n_patches, _ = hidden.shape
        hidden = hidden.transpose(1, 2).flatten(0, 1)  # (moments, channels, hidden)
        heard = heard.transpose(1, 2).flatten(0, 1)
        visible = _never_blind(heard)
        for layer in self.across_channels:
            hidden = layer(hidden, visible)
        hidden = self.channel_norm(hidden)
        scores = self.channel_weights(hidden).masked_fill(~visible[:, :, None], -torch.inf)
        heads = hidden.unflatten(-1, (scores.shape[-1], -1))
        merged = (heads * scores.softmax(dim=1)[..., None]).sum(dim=1).flatten(1)
        any_heard = heard.any(dim=1)
        merged = torch.where(any_heard[:, None], merged, self.nothing.to(merged))
        return merged.unflatten(0, (n_series, n_patches)), any_heard.view(n_series, n_patches)


# ---- parts --------------------------------------------------------------------------------------


class Layer(GradientCheckpointingLayer):
    """A transformer layer, normalised before each part."""

    def __init__(self, config: SeriesConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.attention_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.attention = Attention(config)
        self.widen_norm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.widen = nn.Linear(width, config.intermediate_size)
        self.narrow = nn.Linear(config.intermediate_size, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, hidden: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        """Args: hidden (batch, places, hidden) and which places may be looked at."""
        normed = self.attention_norm(hidden)
        hidden = hidden + self.dropout(self.attention(normed, normed, visible))
        wide = functional.gelu(self.widen(self.widen_norm(hidden)))
        return hidden + self.dropout(self.narrow(wide))


class Attention(nn.Module):
    """Multi-head attention from one set of places to another."""

    def __init__(self, config: SeriesConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.n_heads = config.num_attention_heads
        self.dropout = config.dropout
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.merge = nn.Linear(width, width)

    def forward(
        self, asking: torch.Tensor, asked: torch.Tensor, visible: torch.Tensor
    ) -> torch.Tensor:
        """Args: who asks, who is asked (batch, places, hidden), and which of these may be seen."""
        query, key, value = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
            for part in (self.query(asking), self.key(asked), self.value(asked))
        )
        found = functional.scaled_dot_product_attention(
            query,
            key,
            value,
            attn_mask=visible[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        return self.merge(found.transpose(1, 2).flatten(2))


class Merge(nn.Module):
    """Consecutive patches become one token: as many tokens as the series is long."""

    def __init__(self, config: SeriesConfig) -> None:
        super().__init__()
        self.size = config.patches_per_token
        self.join = nn.Linear(self.size * config.hidden_size, config.hidden_size)

    def forward(
        self, moments: torch.Tensor, visible: torch.Tensor, inside: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns tokens (series, tokens, hidden) and which of them a series has."""
        missing = -moments.shape[1] % self.size
        kept = torch.where(inside[:, :, None], moments, 0)
        groups = functional.pad(kept, (0, 0, 0, missing)).unflatten(1, (-1, self.size))
        has = functional.pad(inside, (0, missing)).unflatten(1, (-1, self.size)).any(dim=-1)
        return self.join(groups.flatten(2)), has


class Queries(nn.Module):
    """A fixed number of tokens, each of which looks over the whole series."""

    def __init__(self, config: SeriesConfig, n_tokens: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.zeros(n_tokens, config.hidden_size))
        self.attention = Attention(config)

    def forward(
        self, moments: torch.Tensor, visible: torch.Tensor, inside: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns tokens (series, tokens, hidden) and a mask that is all true."""
        asking = self.queries.to(moments).expand(len(moments), -1, -1)
        tokens = asking + self.attention(asking, moments, visible)
        return tokens, torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)


def _canonical_order(numbers: torch.Tensor) -> torch.Tensor:
    """Places of the channels by their numbers, (series, channels); absent ones come last."""
    keys = torch.where(numbers == ABSENT, torch.iinfo(numbers.dtype).max, numbers)
    return keys.argsort(dim=1, stable=True)


def _within(lengths: torch.Tensor, most: int) -> torch.Tensor:
    """Which of `most` places lie within each length, (series, most)."""
    return torch.arange(most, device=lengths.device)[None, :] < lengths[:, None]


def _never_blind(visible: torch.Tensor) -> torch.Tensor:
    """The mask with its first place open in rows where none is: attention to nothing is NaN."""
    first = torch.zeros_like(visible)
    first[:, 0] = True
    return torch.where(visible.any(dim=1, keepdim=True), visible, first)


def _positions(moments: torch.Tensor) -> torch.Tensor:
    """Sines and cosines of the place in time, (patches, hidden)."""
    n_patches, width = moments.shape[1:]
    places = torch.arange(n_patches, device=moments.device, dtype=torch.float32)
    steps = torch.arange(0, width, 2, device=moments.device, dtype=torch.float32) / width
    angles = places[:, None] * torch.exp(-steps * 9.210340371976184)  # log(10000)
    return torch.cat([angles.sin(), angles.cos()], dim=-1).to(moments.dtype)


def _masked_mean(moments: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
    weights = visible.to(moments.dtype)[:, :, None]
    return (moments * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1)
