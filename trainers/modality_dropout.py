"""Modality dropout: of a sample with series and images one goes missing now and then.

A model that always has both learns to lean on one of them, and fails where that one is absent. What
goes is a matter of seed, row and time alone, so that all rollouts of a question, all processes and
a resumed run agree.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from climb_hf.check import check_option, check_type
from climb_hf.errors import OptionError
from climb_hf.trainers.drpo_rows import images_of

MEDIA = ("series", "images")
CHOICES = ("either", *MEDIA)
_BLOCKS = {"series": "time_series", "images": "image"}  # type of a block in a message
_CHATS = ("prompt", "messages")


@dataclass
class DropoutOptions:
    """What a run can be told of modality dropout; a part of its configuration."""

    modality_dropout: float = field(
        default=0.0,
        metadata={
            "help": "Share of the samples with both series and images that lose one of the two, "
            "anew in each generation (train_sft: in each epoch). A sample with one of them keeps "
            "it, and evaluation is left alone."
        },
    )
    modality_dropout_medium: str = field(
        default="either",
        metadata={
            "help": "What samples lose by modality_dropout: 'series', 'images', or 'either' with "
            "equal chances. Take 'series' where answers are boxes in an image."
        },
    )

    def check_dropout(self) -> None:
        """Raises OptionError if an option above has a value that is not allowed."""
        share = check_type("modality_dropout", self.modality_dropout, (int, float))
        if not 0 <= share <= 1:
            raise OptionError(f"modality_dropout={share!r} should be from 0 to 1.")
        check_option("modality_dropout_medium", self.modality_dropout_medium, CHOICES)


def check_both_are_taken(share: float, *, series: bool, images: bool) -> None:
    """Refuses dropout where the model takes one of the two only: nothing would ever be dropped.

    Args:
        share: `modality_dropout`.
        series, images: whether the model takes them.

    Raises:
        OptionError: names what the model lacks.
    """
    if share and not (series and images):
        lacks = " nor ".join(
            name for name, has in zip(MEDIA, (series, images), strict=True) if not has
        )
        raise OptionError(
            f"modality_dropout={share} has no effect: the model takes no {lacks}, so no sample has "
            "both. Leave it out, or take a model made from Qwen2.5-VL or Qwen3-VL by "
            "climb_hf.from_backbone."
        )


def with_dropout(
    row: Mapping[str, Any], share: float, medium: str, seed: int, time: int
) -> dict[str, Any]:
    """Returns a row, without its series or without its images where it had both and was drawn.

    Args:
        row: with `id`, `series`, `images` or `image`, and `prompt` or `messages`.
        share: of such rows that lose something.
        medium: one of `CHOICES`.
        seed: of the run.
        time: what makes the next draw another: the step or the epoch.

    Raises:
        OptionError: if a row with both has no `id` by which rollouts and processes could agree.
    """
    made = dict(row)
    if not share or not row.get("series") or not images_of(row):
        return made
    if row.get("id") is None:
        raise OptionError(
            "modality_dropout needs a column `id`, by which all rollouts of a question agree on "
            "what it lost. Add one."
        )
    digest = hashlib.sha256(f"{seed}:{time}:{row['id']}".encode()).digest()
    if int.from_bytes(digest[:8]) >= share * 2**64:
        return made
    return without(made, MEDIA[digest[8] % 2] if medium == "either" else medium)


def without(row: Mapping[str, Any], medium: str) -> dict[str, Any]:
    """Returns a row without a medium, and its chat without the blocks that stood for it."""
    made = {key: value for key, value in row.items() if medium != "images" or key != "image"}
    made[medium] = []
    for key in _CHATS:
        if isinstance(made.get(key), list):
            made[key] = [_message_without(one, _BLOCKS[medium]) for one in made[key]]
    return made


def _message_without(message: Mapping[str, Any], block: str) -> dict[str, Any]:
    content = message.get("content")
    if not isinstance(content, list):
        return dict(message)
    return {**message, "content": [part for part in content if part.get("type") != block]}
