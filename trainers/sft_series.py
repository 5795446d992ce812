"""Supervised training on rows with series: TRL's trainer and collator, which know images only."""

from __future__ import annotations

from typing import Any

from trl import SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from climb_hf.trainers.drpo_rows import images_of
from climb_hf.trainers.drpo_series import (
    COLUMN,
    prepare_row,
    processor_of_rows,
    takes_series,
    with_blocks,
)


class SeriesCollator(DataCollatorForVisionLanguageModeling):
    """Makes batches of rows with series, with images, with both and with neither.

    Args:
        processor: that takes series.

    The other fields are those of TRL's collator. Placeholders of series are never learnt.
    """

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Returns the inputs and the labels of a batch."""
        processor = self.processor
        series = [prepare_row(processor, row) for row in examples]
        rows = [_with_blocks(row, len(own)) for row, own in zip(examples, series, strict=True)]
        self.processor = processor_of_rows(processor, series, hands_on=True)
        try:
            batch: dict[str, Any] = super().torch_call(rows)
        finally:
            self.processor = processor
        batch["labels"][batch["input_ids"] == processor.time_series_token_id] = -100
        return batch


def _with_blocks(row: dict[str, Any], n_series: int) -> dict[str, Any]:
    """A row whose conversation has places for its series and a list of images, if an empty one."""
    images = images_of(row)
    made = {key: value for key, value in row.items() if key not in ("image", COLUMN)}
    for key in ("messages", "prompt"):
        if key in made:
            made[key] = with_blocks(made[key], n_series, len(images))
    return {**made, "images": images}


class SeriesSFTTrainer(SFTTrainer):
    """TRL's `SFTTrainer`, same arguments, whose rows may hold series.

    Rows have `prompt` and `completion`, or `messages`, and `series` and `images` where there are
    any. Without a processor that takes series it is TRL's trainer.
    """

    def __init__(
        self,
        model: Any,
        args: Any = None,
        data_collator: Any = None,
        train_dataset: Any = None,
        eval_dataset: Any = None,
        processing_class: Any = None,
        **named: Any,
    ) -> None:
        self._takes_series = takes_series(processing_class)
        if self._takes_series and data_collator is None:
            paired = "completion" in train_dataset.column_names
            only = paired if args.completion_only_loss is None else args.completion_only_loss
            data_collator = SeriesCollator(
                processor=processing_class,
                max_length=args.max_length,
                completion_only_loss=only,
                pad_to_multiple_of=args.pad_to_multiple_of,
            )
            # TRL would turn rows without images into token ids beforehand, and drop their series.
            args.dataset_kwargs = {**(args.dataset_kwargs or {}), "skip_prepare_dataset": True}
        super().__init__(
            model,
            args,
            data_collator,
            train_dataset,
            eval_dataset,
            processing_class,
            **named,
        )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        if self._takes_series:
            wanted = ("messages", "prompt", "completion", "image", "images", COLUMN, "id")
            self._signature_columns = list(dict.fromkeys([*self._signature_columns, *wanted]))
