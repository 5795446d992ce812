"""What one generation was rewarded with, and what has to hold before it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from accelerate.utils import gather_object
from transformers.trainer_utils import has_length

from climb_hf.errors import OptionError, RewardError


@dataclass(frozen=True)
class Scored:
    """What one generation was rewarded with, on all processes.

    Attributes:
        rewards: float64, shape (completions, functions); NaN where a function did not apply.
        domains: of each completion; None where the row has none.
        ids: of each completion's row; None where the row has none.
        groups: of each completion, such as a demographic group; None where it is unknown.
    """

    rewards: np.ndarray
    domains: list[str | None]
    ids: list[Any]
    groups: list[Any]

    def domains_of_questions(self, group: int, column: str) -> list[str]:
        """Returns the domain of each question, in the order of the batch.

        Args:
            group: completions of one question.
            column: that the domains came from.

        Raises:
            OptionError: if a question has no domain, or its completions have several.
        """
        found = []
        for start in range(0, len(self.domains), group):
            own = self.domains[start : start + group]
            if not isinstance(own[0], str) or not own[0]:
                raise OptionError(
                    f"{self._named(start)} has {column}={own[0]!r}, but should name its domain. "
                    "Fill the column, or set domain_scaling='none'."
                )
            if any(one != own[0] for one in own):
                listed = ", ".join(sorted({repr(one) for one in own}))
                raise OptionError(
                    f"{self._named(start)} has several domains ({listed}) among its {group} "
                    "rollouts. All rollouts of a question need one value of the column "
                    f"{column!r}: check the sampler."
                )
            found.append(own[0])
        return found

    def groups_of_questions(self, group: int) -> list[str | None]:
        """Returns the group of each question as text; None for null, NaN and an empty text."""
        values = self.groups[::group]
        return [None if one is None or one != one or one == "" else str(one) for one in values]

    def _named(self, start: int) -> str:
        question = self.ids[start]
        return f"question {question!r}" if question is not None else f"row {start} of the batch"


def check_finite(rewards: np.ndarray, names: Sequence[str]) -> None:
    """Refuses infinite rewards, which a reward model may give; functions are guarded before.

    Args:
        rewards: shape (completions, functions).
        names: of the functions.

    Raises:
        RewardError: names the function.
    """
    for column, name in zip(rewards.T, names, strict=True):
        infinite = column[np.isinf(column)]
        if len(infinite):
            raise RewardError(
                f"reward {name!r} gave {infinite[0]} for {len(infinite)} of {len(column)} "
                "completions. Rewards should be finite, or None where they do not apply."
            )


def check_towers(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Refuses a batch of which some rows need a sharded tower and others do not.

    Each process gathers the tower's weights from the others whenever it runs it. One whose rows
    hold nothing for it would not, and all of them would wait for ever. Call it on every process.

    Args:
        rows: of this process.
        columns: that hold what a tower of the model takes, such as `images`.

    Raises:
        OptionError: on every process; it names a row without and says what to do.
    """
    if not columns:
        return
    held = [(row.get("id"), [bool(row.get(one)) for one in columns]) for row in rows]
    everywhere = gather_object(held)
    for place, column in enumerate(columns):
        without = [name for name, has in everywhere if not has[place]]
        if 0 < len(without) < len(everywhere):
            raise OptionError(
                f"{len(without)} of {len(everywhere)} rows of a batch hold no {column} (such as "
                f"{without[0]!r}), and the model's weights are shared out (FSDP or ZeRO-3): "
                "a process without any would leave the others waiting for its share. "
                f"Train on rows that all have {column} or all have none, give the others a blank "
                "one, or keep the weights whole (recipes/accelerate/ddp.yaml or zero2.yaml)."
            )


def check_rows(args: Any, dataset: Any) -> None:
    """Refuses a data set of which not one generation can be filled: TRL would end in silence.

    Raises:
        OptionError: says how many rows it takes.
    """
    questions = args.generation_batch_size // args.num_generations
    if has_length(dataset) and len(dataset) < questions:
        raise OptionError(
            f"train_dataset has {len(dataset)} rows, but one generation asks {questions} different "
            f"questions (generation_batch_size={args.generation_batch_size} / num_generations="
            f"{args.num_generations}). Lower per_device_train_batch_size or "
            "gradient_accumulation_steps, or add rows."
        )
