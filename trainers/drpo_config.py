"""Options of DRPO: all of TRL's GRPO, and what follows from domains."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

from trl import GRPOConfig

from climb_hf.check import check_option, check_type
from climb_hf.errors import CheckpointError
from climb_hf.trainers.drpo_scaling import RULES, ScalingOptions

_PREFIX = "drpo_"


@dataclass
class DRPOConfig(GRPOConfig):
    """Configuration of `DRPOTrainer`: `trl.GRPOConfig` and the options below.

    Raises:
        OptionError: if an option below has a value that is not allowed.
        CheckpointError: if `save_steps` would put checkpoints where a run cannot be resumed equal.
    """

    domain_scaling: str = field(
        default="drpo",
        metadata={
            "help": "How much each question counts: 'drpo' (rare and hard domains, and the hard "
            "questions in them, count more) or 'none' (plain GRPO)."
        },
    )
    domain_column: str = field(
        default="domain",
        metadata={"help": "Column of the data set that names the domain of a question."},
    )
    drpo_strength: float = field(
        default=0.5,
        metadata={
            "help": "Exponent of DRPO's hierarchical weight 1 / (T_g T_c), above 0 and at most 1. "
            "1 is the published method; 0.5 keeps frequent domains from losing."
        },
    )
    drpo_k_max: int = field(
        default=3,
        metadata={"help": "Most clusters of questions in a domain; 1 uses the domain only."},
    )
    drpo_window: int = field(
        default=512,
        metadata={"help": "Most questions of a domain whose rewards are remembered."},
    )
    drpo_max_weight: float = field(
        default=10.0,
        metadata={"help": "Weights are clipped to [1 / drpo_max_weight, drpo_max_weight]."},
    )
    drpo_mean_floor: float = field(
        default=0.05,
        metadata={"help": "Least mean reward, on a scale from 0 to 1, that is divided by."},
    )
    allow_unaligned_checkpoints: bool = field(
        default=False,
        metadata={
            "help": "Accept checkpoints inside a generation window. A run resumed from one "
            "generates the window's completions anew, counts their rewards twice, and so differs "
            "from an uninterrupted run."
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_option("domain_scaling", self.domain_scaling, tuple(RULES))
        check_type("domain_column", self.domain_column, str)
        check_type("allow_unaligned_checkpoints", self.allow_unaligned_checkpoints, bool)
        ScalingOptions.check(_PREFIX, self._scaling_values())
        if self.domain_scaling != "none" and self.scale_rewards != "group":
            warnings.warn(
                f"scale_rewards={self.scale_rewards!r}: DRPO's first step is to normalise rewards "
                "within a group. The weights go on the advantages as TRL computes them instead, "
                "without a division by the batch's standard deviation. Set scale_rewards='group' "
                "for the published method.",
                stacklevel=3,
            )
        if self.save_strategy == "steps" and self.save_steps >= 1:
            check_save_steps(self)

    def scaling_options(self) -> ScalingOptions:
        """Returns the options of the scaler."""
        return ScalingOptions(**self._scaling_values())

    def _scaling_values(self) -> dict[str, Any]:
        names = ScalingOptions.__dataclass_fields__
        return {name: getattr(self, _PREFIX + name) for name in names}


def generate_every(args: GRPOConfig) -> int:
    """Returns how many micro-steps (backward passes) one generation of completions serves."""
    return args.steps_per_generation * args.num_iterations


def check_save_steps(
    args: DRPOConfig, max_steps: int | None = None, epoch_length: int | None = None
) -> None:
    """Checks that no periodic checkpoint lies inside a generation window.

    The completions of a window are not saved. A run resumed inside one would generate them anew
    and observe their rewards a second time, so that it could not equal an uninterrupted run. The
    checkpoint at the very end is not checked, as there is nothing to resume.

    Args:
        args: of the run.
        max_steps: optimizer steps of the run, when known.
        epoch_length: micro-steps of an epoch, when known. An epoch whose last optimizer step has
            fewer micro-steps shifts those after it.

    Raises:
        CheckpointError: names the option, the first such checkpoint, and values that are fine.
    """
    option, every = _cadence(args, max_steps)
    if args.allow_unaligned_checkpoints or not every:
        return
    window, accumulate = generate_every(args), args.gradient_accumulation_steps
    per_epoch = math.ceil(epoch_length / accumulate) if epoch_length else None
    last = every if max_steps is None else max_steps - 1
    for step in range(every, last + 1, every):
        within = step % per_epoch if per_epoch else step
        if within * accumulate % window:
            period = window // math.gcd(window, accumulate)
            if epoch_length and epoch_length % accumulate:
                period = math.lcm(period, per_epoch)
            raise _unaligned(args, option, every, step, period)


def _unaligned(
    args: DRPOConfig, option: str, every: int, step: int, period: int
) -> CheckpointError:
    below = every // period * period
    fine = f"{below} or {below + period}" if below else f"{period} or {2 * period}"
    return CheckpointError(
        f"{option}={getattr(args, option)!r} puts the checkpoint of step {step} inside a "
        f"generation window: one generation serves {generate_every(args)} micro-steps "
        f"(steps_per_generation={args.steps_per_generation} x num_iterations="
        f"{args.num_iterations}) and a step has {args.gradient_accumulation_steps} "
        "(gradient_accumulation_steps). Completions are not saved, so that a resumed run could "
        f"not equal this one. Set {option} to a multiple of {period}, such as {fine}; or set "
        "allow_unaligned_checkpoints=True: a resumed run then generates the window's completions "
        "anew and counts their rewards twice."
    )


def _cadence(args: DRPOConfig, max_steps: int | None) -> tuple[str, int]:
    """The option that says when to save, and the optimizer steps between; 0 for epochs or never."""
    if args.save_strategy == "steps":
        option = "save_steps"
    elif args.save_strategy == "best" and args.eval_strategy == "steps":
        option = "eval_steps"
    else:
        return "save_strategy", 0
    every = getattr(args, option)
    if every is None or (every < 1 and max_steps is None):
        return option, 0
    return option, math.ceil(every * max_steps) if every < 1 else int(every)
