"""Series on their way through TRL's trainers: prompt, generation, log-probabilities and loss.

TRL knows images beside text and nothing else. What a row's series need is put in at four places:

1. the prompt gets a block for each series, without the series itself, so that logs stay readable;
2. the processor knows the series of the batch while TRL turns prompts into inputs;
3. the model is called with the series of the rows at hand, for the old and the reference
   log-probabilities and for the loss, whatever chunks TRL cuts a batch into;
4. the series of each row ride in the generation batch as a list, which TRL shuffles and splits.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from climb_hf.check import check_option
from climb_hf.errors import OptionError
from climb_hf.hub import takes_images, takes_series, with_placeholders
from climb_hf.models.series_config import PLACEHOLDER
from climb_hf.models.series_input import SERIES_INPUTS, PreparedSeries, collate
from climb_hf.models.series_lm import SERIES_MODULES
from climb_hf.trainers.drpo_rows import images_of
from climb_hf.trainers.modality_dropout import check_both_are_taken, with_dropout

logger = logging.getLogger(__name__)

COLUMN = "series"
BLOCK = "time_series"
VLLM_CHOICES = ("stop", "transformers", "picture")
RowSeries = list[list[PreparedSeries]]  # the pieces of each series of a row


def modules_to_save(model: Any, given: Sequence[str] | None = None) -> list[str] | None:
    """Returns what LoRA has to train in full: `given`, and the encoder of series where one is.

    Their names are those of `peft.LoraConfig.modules_to_save`.
    """
    names = {name.split(".")[-1] for name, _ in model.named_modules()}
    own = [name for name in SERIES_MODULES if name in names]
    return list(dict.fromkeys([*(given or ()), *own])) or None


# ---- rows ---------------------------------------------------------------------------------------


def prepare_row(processor: Any, row: Mapping[str, Any]) -> RowSeries:
    """Returns the series of a row as its model reads them; none where the column is absent.

    Raises:
        OptionError: names the row and what is wrong with its series.
    """
    made = []
    for at, one in enumerate(row.get(COLUMN) or ()):
        try:
            made.append(processor.prepare_one(one))
        except OptionError as error:
            named = f"row {row['id']!r}" if row.get("id") is not None else "a row"
            raise OptionError(f"series {at} of {named}: {error}") from error
    return made


def with_blocks(prompt: Any, n_series: int, n_images: int) -> Any:
    """Returns a conversation as blocks, with one for each series and each image of its row.

    Blocks that are there already stay where they stand, and have to be as many as there are
    series. Otherwise the first user message opens with those of the series, then the images. A
    prompt that is no conversation is returned as it is where there is no series.

    Raises:
        OptionError: if the prompt is no conversation, or its blocks do not fit.
    """
    if isinstance(prompt, str) and not n_series:
        return prompt
    if isinstance(prompt, str):
        raise OptionError(
            "a row with series has a prompt that is a plain text. Series need a conversation: "
            '[{"role": "user", "content": ...}].'
        )
    n_images = 0 if "image" in _kinds(prompt) else n_images
    prompt = with_placeholders(prompt, n_images)
    there = _kinds(prompt).count(BLOCK)
    if there == n_series:
        return prompt
    if there:
        raise OptionError(f"a prompt has {there} blocks of type {BLOCK!r} for {n_series} series.")
    blocks = [{"type": BLOCK} for _ in range(n_series)]
    made, waiting = [], True
    for message in prompt:
        if waiting and message["role"] == "user":
            content = message["content"]
            told = [{"type": "text", "text": content}] if isinstance(content, str) else content
            message = {**message, "content": [*blocks, *told]}
            waiting = False
        made.append(message)
    if waiting:
        raise OptionError("a prompt has series and no user message that could hold them.")
    return made


def _kinds(prompt: Sequence[Mapping[str, Any]]) -> list[str]:
    contents = [message.get("content") for message in prompt]
    return [part["type"] for content in contents if isinstance(content, list) for part in content]


# ---- the processor and the model of a batch -----------------------------------------------------


def processor_of_rows(processor: Any, rows: Sequence[RowSeries], *, hands_on: bool) -> Any:
    """Returns a copy of a processor that knows the series of a batch.

    Args:
        processor: that takes series.
        rows: series of each text, in the order in which the texts will come.
        hands_on: whether a plain call returns the tensors of the series too. TRL asks for the
            inputs of images in such a call, and passes on what it does not know.
    """
    kind = type(processor)

    def call(self: Any, images: Any = None, text: Any = None, *args: Any, **kwargs: Any) -> Any:
        told = [text] if isinstance(text, str) else text or ()
        known = "series" in kwargs or not any(PLACEHOLDER in one for one in told)
        if not known:
            kwargs["series"] = list(rows)
        made = kind.__call__(self, images, text, *args, **kwargs)
        if not (known or hands_on):
            for name in SERIES_INPUTS:
                made.pop(name, None)
        return made

    def apply_chat_template(self: Any, conversation: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("tokenize"):
            options = {"series": list(rows), **(kwargs.pop("processor_kwargs", None) or {})}
            kwargs["processor_kwargs"] = options
        return kind.apply_chat_template(self, conversation, *args, **kwargs)

    knowing = copy.copy(processor)
    parts = {"__call__": call, "apply_chat_template": apply_chat_template}
    knowing.__class__ = type(kind.__name__, (kind,), parts)
    return knowing


class WithSeries:
    """A model that is called with the series of the rows it is given, one chunk after the other.

    Args:
        model: any callable model; all its attributes stay reachable.
        rows: pieces of each row, for all the chunks together.
    """

    def __init__(self, model: Any, rows: Sequence[RowSeries]) -> None:
        self._model = model
        self._rows = rows
        self._at = 0

    def __call__(self, **inputs: Any) -> Any:
        ids = inputs["input_ids"]
        own = self._rows[self._at : self._at + len(ids)]
        self._at += len(ids)
        tensors = collate([piece for row in own for one in row for piece in one])
        on_device = {name: tensor.to(ids.device) for name, tensor in tensors.items()}
        return self._model(**inputs, **on_device)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


# ---- trainer ------------------------------------------------------------------------------------


class SeriesRollouts:
    """Stands before TRL's `GRPOTrainer` and lets its rows hold series.

    A row's column `series` is a list of what `climb_hf.models.series_input.as_signal` takes: the
    stored entries of a data set of ours as well as decoded ones. Rows with series, with images,
    with both and with neither may be mixed. Without a processor that takes series nothing changes.
    """

    processing_class: Any
    _series_rows: list[RowSeries] | None = None

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: Any = None,
        train_dataset: Any = None,
        *others: Any,
        **named: Any,
    ) -> None:
        if _check_run(model, args, named, _has_column(train_dataset)) == "picture":
            from climb_hf.trainers.vllm_pictures import drawn_run

            model, train_dataset, named = drawn_run(model, args, train_dataset, others, named)
            others = ()
        super().__init__(  # type: ignore[call-arg]
            model, reward_funcs, args, train_dataset, *others, **named
        )
        processor = self.processing_class
        check_both_are_taken(
            getattr(args, "modality_dropout", 0.0),
            series=takes_series(processor),
            images=takes_images(processor),
        )
        if _has_column(train_dataset) and not takes_series(self.processing_class):
            logger.warning(
                "The data have a column %r and the model takes no series: it sees text and images "
                "only. Draw the series (climb_hf.trainers.scripting.with_images), or take a model "
                "made by climb_hf.from_backbone.",
                COLUMN,
            )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        columns: list[str] = self._signature_columns  # type: ignore[attr-defined]
        if COLUMN not in columns:
            columns.append(COLUMN)

    def drop_media(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Returns the rows of a generation after modality dropout, the same for all rollouts."""
        if not (self.args.modality_dropout and self.model.training):  # type: ignore[attr-defined]
            return rows
        args, step = self.args, self.state.global_step  # type: ignore[attr-defined]
        drawn = (args.modality_dropout, args.modality_dropout_medium, args.seed)
        return [with_dropout(row, *drawn, time=step) for row in rows]

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        generate = super()._generate_and_score_completions  # type: ignore[misc]
        self._series_rows = None
        if not takes_series(self.processing_class):
            return dict(generate(inputs))
        series = [prepare_row(self.processing_class, row) for row in inputs]
        # All prompts as blocks, or the table of completions could not hold them in one column.
        rows = [
            {**row, "prompt": with_blocks(row["prompt"], len(own), len(images_of(row)))}
            for row, own in zip(inputs, series, strict=True)
        ]
        if not any(series):
            return dict(generate(rows))
        # They stay until the loss brings its own: the log-probabilities of this batch may be asked
        # for again.
        self._series_rows = series
        with _knowing(self, series):
            output = dict(generate(rows))
        output[BLOCK] = series
        return output

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        if self._series_rows is not None:
            model = WithSeries(model, self._series_rows)
        return super()._get_per_token_logps_and_entropies(  # type: ignore[misc]
            model, *args, **kwargs
        )

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Any:
        self._series_rows = inputs.get(BLOCK)
        try:
            return super()._compute_loss(model, inputs)  # type: ignore[misc]
        finally:
            self._series_rows = None


@contextmanager
def _knowing(trainer: Any, rows: Sequence[RowSeries]) -> Iterator[None]:
    processor = trainer.processing_class
    trainer.processing_class = processor_of_rows(processor, rows, hands_on=False)
    try:
        yield
    finally:
        trainer.processing_class = processor


def _has_column(dataset: Any) -> bool:
    return COLUMN in (getattr(dataset, "column_names", None) or ())


def _check_run(model: Any, args: Any, named: Mapping[str, Any], has_series: bool) -> str | None:
    """Refuses what cannot work with series, before any weight is loaded.

    A model that takes no series is let through: the column is then of no use to it. One that does
    cannot be served by vLLM, whatever its rows hold.

    Returns:
        How the run goes by vLLM's limits, one of `VLLM_CHOICES`; None where they do not matter.
    """
    asks_vllm = getattr(args, "use_vllm", False)
    if not (has_series or asks_vllm):
        return None
    config = getattr(model, "config", None)
    if isinstance(model, str):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(model)
    if getattr(config, "time_series_token_id", None) is None:
        return None
    for name in ("tools", "environment_factory", "rollout_func"):
        if has_series and named.get(name):
            raise OptionError(
                f"{name} cannot be used with series: TRL then builds prompts of its own, which "
                "know nothing of them. Leave it out, or draw the series as images."
            )
    if not asks_vllm:
        return None
    choice = check_option(
        "vllm_with_series", getattr(args, "vllm_with_series", VLLM_CHOICES[0]), VLLM_CHOICES
    )
    if choice == "stop":
        raise OptionError(
            "use_vllm=True with a model that takes series: vLLM takes token ids and images, and no "
            "series. Set use_vllm=False; or vllm_with_series='transformers', which does the same "
            "and says so; or vllm_with_series='picture', which draws the series and trains the "
            "model without its encoder of them."
        )
    if choice == "transformers":
        logger.warning("vLLM takes no series: completions are generated with transformers instead.")
        args.use_vllm = False
    return choice
