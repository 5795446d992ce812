"""Processors that put series into a chat, beside text and, where the model sees them, images.

In a message a series is a block of its own: `{"type": "time_series", "time_series": value}`, where
value is a `Signal`, an entry of our `series` column, the path of a WFDB header, or an array with
`rate_hz`, `channels` and `units` beside it in the block. No chat template has to know such blocks:
each becomes the placeholder, as text, before the template is applied.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from transformers.models.auto.processing_auto import AutoProcessor
from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLConfig
from transformers.models.qwen2_5_vl.processing_qwen2_5_vl import Qwen2_5_VLProcessor
from transformers.processing_utils import ProcessorMixin

from climb_hf.errors import OptionError
from climb_hf.models.series_config import (
    PLACEHOLDER,
    SeriesConfig,
    SeriesLMConfig,
    SeriesQwen2_5_VLConfig,
    SeriesQwen3VLConfig,
    leave_code,
)
from climb_hf.models.series_input import PreparedSeries, as_signal, collate, prepare

BLOCK = "time_series"
_FACTS = ("rate_hz", "channels", "units")


class ImageTextConfig(Qwen2_5_VLConfig):
    """Key under which `ImageTextProcessor` is registered; no checkpoint has this model type.

    Registering the processor for `Qwen2_5_VLConfig` itself would take real checkpoints over.
    """

    model_type = "climb_image_text"


class ImageTextProcessor(Qwen2_5_VLProcessor):
    """The processor of Qwen2-VL and Qwen2.5-VL without videos, hence without torchvision."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        **kwargs: Any,
    ) -> None:
        self.image_token = getattr(tokenizer, "image_token", None) or "<|image_pad|>"
        self.video_token = getattr(tokenizer, "video_token", None) or "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        # The parent hands a video processor on, which its own parent refuses as unknown here.
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


class TakesSeries:
    """What the processors share; it stands before a processor of transformers.

    Attributes:
        series_config: settings of the model's encoder.
        time_series_token: stands in a text for one token of a series.
        time_series_token_id: its number.
    """

    tokenizer: Any

    def _take_series(self, tokenizer: Any, series_config: Any) -> None:
        if series_config is None:
            series_config = SeriesConfig()
        if isinstance(series_config, Mapping):
            series_config = SeriesConfig.from_dict(dict(series_config))
        self.series_config: SeriesConfig = series_config
        self.time_series_token = PLACEHOLDER
        self.time_series_token_id = tokenizer.convert_tokens_to_ids(PLACEHOLDER)
        if self.time_series_token_id in (None, tokenizer.unk_token_id):
            raise OptionError(
                f"the tokenizer does not know {PLACEHOLDER}. Take the processor that "
                "climb_hf.from_backbone returns, or that a saved model has."
            )
        tokenizer.padding_side = "left"  # answers grow at the right edge
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token

    def __call__(
        self, images: Any = None, text: Any = None, *args: Any, series: Any = None, **kwargs: Any
    ) -> Any:
        """Makes model inputs of texts that hold one placeholder for each of their series.

        Args:
            images: as the processor of the family takes them.
            text: one text or a list of them.
            series: a list of series for each text; for one text that list or one series will do.
            args, kwargs: of the processor of the family.

        Returns:
            A `BatchFeature`; where there are series it also has the tensors of
            `climb_hf.models.series_input.collate`, whatever `return_tensors` says.

        Raises:
            OptionError: if a series cannot be used, there are more or fewer than placeholders, or
                the text was cut within one.
        """
        texts = [text] if isinstance(text, str) else list(text or ())
        rows = self.prepare_rows(series, len(texts))
        expanded, n_places = self.expand(texts, rows)
        given = expanded if texts else text
        made = super().__call__(images, given, *args, **kwargs)  # type: ignore[misc]
        if texts:
            self._check_whole(made["input_ids"], n_places)
        tensors: dict[str, Any] = dict(collate([p for row in rows for one in row for p in one]))
        if kwargs.get("return_tensors") == "np":
            tensors = {name: tensor.numpy() for name, tensor in tensors.items()}
        made.update(tensors)
        return made

    def prepare_rows(self, series: Any, n_texts: int) -> list[list[list[PreparedSeries]]]:
        """Returns the pieces of each series of each text.

        Raises:
            OptionError: if there is not one list of series for each text, or a series is unusable.
        """
        if series is None:
            return [[] for _ in range(n_texts)]
        if n_texts == 1 and not _is_rows(series):
            series = [series if isinstance(series, (list, tuple)) else [series]]
        if not isinstance(series, (list, tuple)) or len(series) != n_texts or not _is_rows(series):
            raise OptionError(
                f"series should be a list of {n_texts} lists, one for each text (an empty one "
                "where a text has none)."
            )
        return [[self.prepare_one(one) for one in row or ()] for row in series]

    def prepare_one(self, value: Any) -> list[PreparedSeries]:
        """Returns the pieces of one series, a prepared one as it is.

        Args:
            value: what `climb_hf.models.series_input.as_signal` takes, or a block of a message.
        """
        if isinstance(value, list) and all(isinstance(one, PreparedSeries) for one in value):
            return value
        facts: dict[str, Any] = {}
        if isinstance(value, Mapping) and (value.get("type") == BLOCK or BLOCK in value):
            facts = {name: value.get(name) for name in _FACTS}
            value = payload_of(value)
        return prepare(as_signal(value, **facts), self.series_config)

    def expand(
        self, texts: Sequence[str], rows: Sequence[Sequence[Sequence[PreparedSeries]]]
    ) -> tuple[list[str], list[int]]:
        """Repeats each placeholder as often as its series has tokens.

        Returns:
            The texts, and how many placeholders each now has.

        Raises:
            OptionError: if a text has more or fewer placeholders than series.
        """
        expanded, n_places = [], []
        for at, (text, row) in enumerate(zip(texts, rows, strict=True)):
            parts = text.split(PLACEHOLDER)
            if len(parts) - 1 != len(row):
                raise OptionError(
                    f"text {at} has {len(parts) - 1} placeholders {PLACEHOLDER} and "
                    f"{len(row)} series. Each series needs one block of type {BLOCK!r}, or one "
                    "placeholder in the text."
                )
            count = self.series_config.token_count
            sizes = [sum(count(piece.values.shape[1]) for piece in one) for one in row]
            pairs = zip(parts, [*sizes, 0], strict=True)
            expanded.append("".join(part + PLACEHOLDER * size for part, size in pairs))
            n_places.append(sum(sizes))
        return expanded, n_places

    def apply_chat_template(
        self,
        conversation: Any,
        chat_template: str | None = None,
        *,
        tokenize: bool = False,
        processor_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Renders chats; with `tokenize` their series and images go into the inputs.

        Args:
            conversation: one chat or a list of them.
            chat_template, tokenize, kwargs: as in transformers.
            processor_kwargs: of the call that makes the inputs; `series` for blocks that hold none.
        """
        batched = bool(conversation) and isinstance(conversation[0], (list, tuple))
        chats = conversation if batched else [conversation]
        told, rows = zip(*(self._without_series(chat) for chat in chats), strict=True)
        options = dict(processor_kwargs or {})
        if tokenize and any(rows):
            options["series"] = list(rows)
        return super().apply_chat_template(  # type: ignore[misc]
            list(told) if batched else told[0],
            chat_template,
            tokenize=tokenize,
            processor_kwargs=options,
            **kwargs,
        )

    def save_pretrained(self, save_directory: Any, *args: Any, **kwargs: Any) -> Any:
        """Saves without the limits of the last call, which a loaded tokenizer would keep to."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is not None:
            backend.no_truncation()
            backend.no_padding()
        return super().save_pretrained(save_directory, *args, **kwargs)  # type: ignore[misc]

    def to_json_file(self, json_file_path: Any) -> None:
        """Writes the settings, and beside them what loads them where climb_hf is not imported."""
        path = Path(json_file_path)
        told = json.loads(self.to_json_string())  # type: ignore[attr-defined]
        told["auto_map"] = leave_code(path.parent, {"AutoProcessor": type(self).__name__})
        path.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")

    @classmethod
    def register_for_auto_class(cls, auto_class: str = "AutoProcessor") -> None:
        """Does nothing: transformers would copy this module into checkpoints too."""

    def _without_series(self, chat: Sequence[Mapping[str, Any]]) -> tuple[list[Any], list[Any]]:
        """A chat with placeholders where its series stood, and the series."""
        told, series = [], []
        for message in chat:
            content = message.get("content")
            if isinstance(content, (list, tuple)):
                series += [block for block in content if _holds_series(block)]
                content = self._content([_as_text(block) for block in content])
            told.append({**message, "content": content})
        return told, series

    def _content(self, blocks: list[Any]) -> Any:
        return blocks

    def _check_whole(self, input_ids: Any, n_places: Sequence[int]) -> None:
        for at, (ids, wanted) in enumerate(zip(input_ids, n_places, strict=True)):
            found = int(np.sum(np.asarray(ids) == self.time_series_token_id))
            if found != wanted:
                raise OptionError(
                    f"text {at} keeps {found} of its {wanted} places for tokens of series: it was "
                    "cut. Raise max_length, or turn truncation off and leave long rows out."
                )


class SeriesTextProcessor(TakesSeries, ProcessorMixin):  # type: ignore[misc]
    """Text and series, for `SeriesLMForCausalLM`.

    Args:
        tokenizer: that knows the placeholder.
        series_config: settings of the encoder, as an object or a mapping.
        chat_template: for chats; None takes the tokenizer's.
    """

    def __init__(
        self,
        tokenizer: Any = None,
        series_config: Any = None,
        chat_template: str | None = None,
        **_: Any,
    ) -> None:
        template = chat_template or getattr(tokenizer, "chat_template", None)
        super().__init__(tokenizer, chat_template=template)
        self._take_series(tokenizer, series_config)

    def __call__(self, images: Any = None, text: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `TakesSeries.__call__`; images are refused, and a text may stand in their place."""
        if text is None and (isinstance(images, str) or _are_texts(images)):
            images, text = None, images
        if images is not None and any(one is not None and one != [] for one in images):
            raise OptionError(
                "this model takes text and series, and images were given. Leave them out, or take "
                "a model made from Qwen2.5-VL or Qwen3-VL."
            )
        return super().__call__(None, text, *args, **kwargs)

    def _content(self, blocks: list[Any]) -> str:
        # Templates of text models want plain strings.
        kinds = {block["type"] for block in blocks} - {"text"}
        if kinds:
            raise OptionError(
                f"this model takes text and series, and no {', '.join(sorted(kinds))}."
            )
        return "".join(block["text"] for block in blocks)


class SeriesImageTextProcessor(TakesSeries, ImageTextProcessor):  # type: ignore[misc]
    """Text, images and series, for models made from Qwen2.5-VL and Qwen3-VL; no videos.

    Args:
        image_processor: of the family; the one built on Pillow needs no torchvision.
        tokenizer: that knows the placeholder.
        series_config: settings of the encoder, as an object or a mapping.
        chat_template: for chats; None takes the tokenizer's.
    """

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        series_config: Any = None,
        chat_template: str | None = None,
        **_: Any,
    ) -> None:
        template = chat_template or getattr(tokenizer, "chat_template", None)
        super().__init__(image_processor, tokenizer, chat_template=template)
        self._take_series(tokenizer, series_config)


def payload_of(block: Mapping[str, Any]) -> Any:
    """Returns the series of a block: what it holds, or the path that it names; None for neither."""
    held = block.get(BLOCK)
    return block.get("path") if held is None else held


def _are_texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)


def _holds_series(block: Any) -> bool:
    return block["type"] == BLOCK and payload_of(block) is not None


def _as_text(block: Any) -> Any:
    return {"type": "text", "text": PLACEHOLDER} if block["type"] == BLOCK else block


def _is_rows(series: Any) -> bool:
    """Whether this is a list of lists of series; a prepared series is a list too."""
    return isinstance(series, (list, tuple)) and all(
        one is None
        or (
            isinstance(one, (list, tuple))
            and not (one and all(isinstance(piece, PreparedSeries) for piece in one))
        )
        for one in series
    )


AutoProcessor.register(ImageTextConfig, ImageTextProcessor, exist_ok=True)
AutoProcessor.register(SeriesLMConfig, SeriesTextProcessor, exist_ok=True)
for _kind in (SeriesQwen2_5_VLConfig, SeriesQwen3VLConfig):
    AutoProcessor.register(_kind, SeriesImageTextProcessor, exist_ok=True)
