"""Settings of the series encoder and of the language models that hold one; no layers live here.

A model of ours becomes known to the Auto classes when its settings are first read, so that
importing transformers after climb_hf costs nothing more.
"""

from __future__ import annotations

import functools
import json
import math
import shutil
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar

from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec
from transformers.models.auto.configuration_auto import AutoConfig
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
from transformers.models.qwen3_vl.configuration_qwen3_vl import Qwen3VLConfig

from climb_hf.check import check_option, check_type
from climb_hf.errors import CheckpointError, OptionError
from climb_hf.models.channels import ALIASES, CHANNELS, ChannelIndex

PLACEHOLDER = "<|time_series_pad|>"  # stands in a text where one token of a series comes
TOO_LONG = ("error", "truncate", "window")
UNKNOWN_CHANNEL = ("error", "generic")
GENERIC = 0  # number of a channel whose name the vocabulary lacks
ABSENT = -1  # number that fills the batch up where a series has fewer channels
_NEEDED = "climb_hf_needed"
_COUNTS = (
    "patch_samples",
    "patches_per_token",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_hidden_layers",
)


def leave_code(folder: Path, classes: Mapping[str, str]) -> dict[str, str]:
    """Puts `climb_hf_needed.py` into a checkpoint: it loads it, or says what has to be installed.

    Args:
        folder: of the checkpoint.
        classes: name of an Auto class to the name of our class.

    Returns:
        The `auto_map` that leads transformers there, where climb_hf has not been imported.
    """
    shutil.copyfile(Path(__file__).with_name(f"{_NEEDED}.py"), folder / f"{_NEEDED}.py")
    return {auto: f"{_NEEDED}.{ours}" for auto, ours in classes.items()}


class _OwnTypeOnly:
    """A config that reads checkpoints of its own type only.

    transformers warns and goes on with weights drawn at random.
    """

    model_type: ClassVar[str]
    auto_map: ClassVar[dict[str, str]] = {}  # none in memory; TRL asks for it
    auto_classes: ClassVar[dict[str, str]]  # Auto class to ours, for `leave_code`

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)  # type: ignore[misc]
        from climb_hf.models.auto import register_models

        register_models()

    def to_json_file(self, json_file_path: Any, use_diff: bool = True) -> None:
        """Writes the settings, and beside them what loads them where climb_hf is not imported."""
        path = Path(json_file_path)
        told = json.loads(self.to_json_string(use_diff))  # type: ignore[attr-defined]
        classes = {"AutoConfig": type(self).__name__, **self.auto_classes}
        told["auto_map"] = leave_code(path.parent, classes)
        path.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoConfig") -> None:
        """Does nothing: transformers would copy this module into checkpoints too."""

    @classmethod
    def get_config_dict(
        cls, pretrained_model_name_or_path: Any, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        name = pretrained_model_name_or_path
        found, unused = super().get_config_dict(name, **kwargs)  # type: ignore[misc]
        kind = found.get("model_type")
        if kind != cls.model_type:
            raise CheckpointError(
                f"{name} holds a model of type {kind!r}, not {cls.model_type!r}. Load it with the "
                "Auto class of its own type; to give a language model series, use "
                "climb_hf.from_backbone."
            )
        return found, unused


class SeriesConfig(_OwnTypeOnly, PreTrainedConfig):
    """Settings of `SeriesEncoder`, and of how series are made ready for it.

    Attributes:
        rate_hz: every series is brought to this rate.
        patch_samples: samples of one channel that become one patch.
        patches_per_token: patches in time that become one token, where `n_tokens` is None.
        n_tokens: tokens of every series, however long; None makes them proportional to length.
        max_seconds: longest piece that is encoded at once.
        too_long: what happens to a longer series: `error`, `truncate` (its start is kept, and a
            warning says so) or `window` (it becomes several pieces, each with tokens of its own).
        channels: names that the encoder knows, in the order of its embeddings.
        aliases: other spelling to a name of `channels`.
        unknown_channel: what another name means: `error`, or `generic`, one embedding for all.
        hidden_size: width of the encoder, as the other sizes below it.
        num_channel_layers: layers that look across the channels of one moment.
        num_hidden_layers: layers that look across time.
        dropout: of attention weights and layer outputs, while training.

    Raises:
        OptionError: if a value is out of its range.
    """

    model_type = "climb_series_encoder"
    auto_classes: ClassVar[dict[str, str]] = {"AutoModel": "SeriesEncoder"}

    rate_hz: float = 100.0
    patch_samples: int = 25
    patches_per_token: int = 2
    n_tokens: int | None = None
    max_seconds: float = 30.0
    too_long: str = "error"
    channels: list[str] = field(default_factory=lambda: list(CHANNELS))
    aliases: dict[str, str] = field(default_factory=lambda: dict(ALIASES))
    unknown_channel: str = "error"
    hidden_size: int = 256
    intermediate_size: int = 1024
    num_attention_heads: int = 4
    num_channel_layers: int = 1
    num_hidden_layers: int = 4
    dropout: float = 0.0
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        check_option("too_long", self.too_long, TOO_LONG)
        check_option("unknown_channel", self.unknown_channel, UNKNOWN_CHANNEL)
        for name in ("rate_hz", "max_seconds"):
            _check_positive(name, getattr(self, name))
        for name in _COUNTS:
            _check_at_least(name, getattr(self, name), 1)
        _check_at_least("num_channel_layers", self.num_channel_layers, 0)
        if self.n_tokens is not None:
            _check_at_least("n_tokens", self.n_tokens, 1)
        if self.hidden_size % self.num_attention_heads or self.hidden_size % 2:
            raise OptionError(
                f"hidden_size={self.hidden_size} should be even and a multiple of "
                f"num_attention_heads={self.num_attention_heads}."
            )
        if self.max_samples < self.patch_samples:
            raise OptionError(
                f"max_seconds={self.max_seconds:g} is shorter than one patch of "
                f"{self.patch_samples} samples at {self.rate_hz:g} Hz."
            )
        self.channel_index()
        super().__post_init__(**kwargs)

    @property
    def max_samples(self) -> int:
        """Samples of the longest piece that is encoded at once."""
        return round(self.max_seconds * self.rate_hz)

    def token_count(self, n_samples: int) -> int:
        """Returns how many tokens a piece of `n_samples` samples at `rate_hz` becomes."""
        if self.n_tokens is not None:
            return self.n_tokens
        return math.ceil(n_samples / (self.patch_samples * self.patches_per_token))

    def channel_index(self) -> ChannelIndex:
        """Returns what finds channels by name."""
        return _channel_index(tuple(self.channels), tuple(self.aliases.items()))

    def channel_number(self, name: str) -> int:
        """Returns the number of a channel.

        Raises:
            OptionError: if the name is unknown, unless `unknown_channel` is `generic`.
        """
        index = self.channel_index()
        found = index.find(name)
        if found is not None:
            return found
        if self.unknown_channel == "generic":
            return GENERIC
        raise OptionError(
            f"channel {name!r} is not among the {len(self.channels)} that the encoder knows."
            f"{index.near(name)} Rename it, add it with SeriesEncoder.add_channels, or set "
            "unknown_channel='generic'."
        )


@functools.lru_cache(maxsize=16)
def _channel_index(channels: tuple[str, ...], aliases: tuple[tuple[str, str], ...]) -> ChannelIndex:
    return ChannelIndex(list(channels), dict(aliases))


def _check_at_least(name: str, value: Any, least: int) -> None:
    if check_type(name, value, int) < least:
        raise OptionError(f"{name}={value!r} should be at least {least}.")


def _check_positive(name: str, value: Any) -> None:
    check_type(name, value, (int, float))
    if not (math.isfinite(value) and value > 0):
        raise OptionError(f"{name}={value!r} should be a number above 0.")


def _whole(headless: str, model: str, processor: str) -> dict[str, str]:
    """The Auto classes of a language model to the names of ours."""
    # Scripts load multimodal models by the one, and TRL all that it does not know by the other.
    both = dict.fromkeys(("AutoModelForImageTextToText", "AutoModelForCausalLM"), model)
    return {"AutoModel": headless, **both, "AutoProcessor": processor}


class SeriesLMConfig(_OwnTypeOnly, PreTrainedConfig):
    """A causal language model of any family that takes series.

    Attributes:
        text_config: of the language model.
        series_config: of the encoder.
        time_series_token_id: token that stands for one token of a series.
        backbone_vocab_size: rows of the embeddings before the placeholder joined them; None where
            that is not known.
    """

    model_type = "climb_series_lm"
    auto_classes: ClassVar[dict[str, str]] = _whole(
        "SeriesLMModel", "SeriesLMForCausalLM", "SeriesTextProcessor"
    )
    sub_configs_defaults = {  # noqa: RUF012 (a class attribute of transformers)
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="llama"),
        "series_config": SubConfigSpec(config_class=SeriesConfig),
    }
    # TRL keeps a multimodal model from writing the token of this name.
    attribute_map = {"image_token_id": "time_series_token_id"}  # noqa: RUF012

    text_config: dict[str, Any] | PreTrainedConfig | None = None
    series_config: dict[str, Any] | PreTrainedConfig | None = None
    time_series_token_id: int | None = None
    backbone_vocab_size: int | None = None
    tie_word_embeddings: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self.tie_word_embeddings = bool(getattr(self.text_config, "tie_word_embeddings", False))


class SeriesQwen2_5_VLConfig(_OwnTypeOnly, Qwen2_5_VLConfig):
    """Qwen2.5-VL that takes series; the fields of `SeriesLMConfig` beside its own."""

    model_type = "climb_series_qwen2_5_vl"
    auto_classes: ClassVar[dict[str, str]] = _whole(
        "SeriesQwen2_5_VLModel",
        "SeriesQwen2_5_VLForConditionalGeneration",
        "SeriesImageTextProcessor",
    )
    sub_configs_defaults = {  # noqa: RUF012
        **Qwen2_5_VLConfig.sub_configs_defaults,
        "series_config": SubConfigSpec(config_class=SeriesConfig),
    }

    series_config: dict[str, Any] | PreTrainedConfig | None = None
    time_series_token_id: int | None = None
    backbone_vocab_size: int | None = None


class SeriesQwen3VLConfig(_OwnTypeOnly, Qwen3VLConfig):
    """Qwen3-VL that takes series; the fields of `SeriesLMConfig` beside its own."""

    model_type = "climb_series_qwen3_vl"
    auto_classes: ClassVar[dict[str, str]] = _whole(
        "SeriesQwen3VLModel",
        "SeriesQwen3VLForConditionalGeneration",
        "SeriesImageTextProcessor",
    )
    sub_configs_defaults = {  # noqa: RUF012
        **Qwen3VLConfig.sub_configs_defaults,
        "series_config": SubConfigSpec(config_class=SeriesConfig),
    }

    series_config: dict[str, Any] | PreTrainedConfig | None = None
    time_series_token_id: int | None = None
    backbone_vocab_size: int | None = None


for _kind in (SeriesConfig, SeriesLMConfig, SeriesQwen2_5_VLConfig, SeriesQwen3VLConfig):
    AutoConfig.register(_kind.model_type, _kind, exist_ok=True)
