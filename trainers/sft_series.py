"""Supervised training on rows with series: TRL's trainer and collator, which know images only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import TrainerCallback
from trl import SFTConfig, SFTTrainer
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from climb_hf.hub import takes_images
from climb_hf.trainers.drpo_rows import images_of
from climb_hf.trainers.drpo_series import (
    COLUMN,
    prepare_row,
    processor_of_rows,
    takes_series,
    with_blocks,
)
from climb_hf.trainers.modality_dropout import DropoutOptions, check_both_are_taken, with_dropout
from climb_hf.trainers.script_frames import COLUMNS as FRAMES_OF


@dataclass
class SeriesSFTConfig(DropoutOptions, SFTConfig):
    """Configuration of `SeriesSFTTrainer`: `trl.SFTConfig` and modality dropout.

    Raises:
        OptionError: if an option of modality dropout has a value that is not allowed.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_dropout()


@dataclass
class SeriesCollator(DataCollatorForVisionLanguageModeling):
    """Makes batches of rows with series, with images, with both and with neither.

    Args:
        processor: that takes series.
        modality_dropout, modality_dropout_medium: as in `DropoutOptions`.
        seed: of what is dropped.

    The other fields are those of TRL's collator. Placeholders of series are never learnt.
    """

    modality_dropout: float = 0.0
    modality_dropout_medium: str = "either"
    seed: int = 0

    def __post_init__(self) -> None:
        # In shared memory: processes that load data, and outlive an epoch, see it move on.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Lets other samples lose a medium than in the epoch before."""
        self._epoch.fill_(epoch)

    def torch_call(self, examples: list[dict[str, Any]]) -> dict[str, Any]:
        """Returns the inputs and the labels of a batch."""
        processor = self.processor
        drawn = (self.modality_dropout, self.modality_dropout_medium, self.seed)
        examples = [with_dropout(row, *drawn, time=int(self._epoch)) for row in examples]
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

    Args:
        args: `SeriesSFTConfig`, or `trl.SFTConfig` for a run without modality dropout.

    Raises:
        OptionError: if modality dropout is on and the model does not take both media.
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
        share = getattr(args, "modality_dropout", 0.0)
        check_both_are_taken(
            share, series=self._takes_series, images=takes_images(processing_class)
        )
        if self._takes_series and data_collator is None:
            paired = "completion" in train_dataset.column_names
            only = paired if args.completion_only_loss is None else args.completion_only_loss
            data_collator = SeriesCollator(
                processor=processing_class,
                max_length=args.max_length,
                completion_only_loss=only,
                pad_to_multiple_of=args.pad_to_multiple_of,
                modality_dropout=share,
                modality_dropout_medium=getattr(args, "modality_dropout_medium", "either"),
                seed=args.seed,
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
        if isinstance(self.data_collator, SeriesCollator):
            self.add_callback(_TellsTheEpoch(self.data_collator))

    def get_eval_dataloader(self, eval_dataset: Any = None) -> Any:
        """Returns TRL's data loader; nothing is dropped in evaluation."""
        own = self.data_collator
        if isinstance(own, SeriesCollator):
            self.data_collator = replace(own, modality_dropout=0.0)
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = own

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        # Frames are made of these when a row is read, which is after other columns are dropped.
        self._signature_columns = list(dict.fromkeys([*self._signature_columns, *FRAMES_OF]))
        if self._takes_series:
            wanted = ("messages", "prompt", "completion", "image", "images", COLUMN, "id")
            self._signature_columns = list(dict.fromkeys([*self._signature_columns, *wanted]))


class _TellsTheEpoch(TrainerCallback):
    """Tells the collator which epoch begins, in a resumed run too."""

    def __init__(self, collator: SeriesCollator) -> None:
        self._collator = collator

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._collator.set_epoch(int((state.epoch or 0) + 1e-6))
