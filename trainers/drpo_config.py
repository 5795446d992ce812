"""Options of DRPO: all of TRL's GRPO, and what follows from domains."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field
from typing import Any

from trl import GRPOConfig

from climb_hf.check import check_type
from climb_hf.errors import CheckpointError, OptionError
from climb_hf.trainers.drpo_scaling import RULES, Rule, ScalingOptions, rule_class
from climb_hf.trainers.modality_dropout import DropoutOptions

_PREFIX = "drpo_"
_PUBLISHED = ("drpo_paper", "drpo_released")


@dataclass
class DRPOConfig(DropoutOptions, GRPOConfig):
    """Configuration of `DRPOTrainer`: `trl.GRPOConfig`, modality dropout and the options below.

    Raises:
        OptionError: if an option below has a value that is not allowed, or has no effect beside
            the others.
        CheckpointError: if `save_steps` would put checkpoints where a run cannot be resumed equal.
    """

    domain_scaling: str = field(
        default="drpo",
        metadata={
            "help": "How much each question counts: 'drpo' (rare and hard domains, and the hard "
            "questions in them, count more), 'none' (plain GRPO), 'drpo_paper', 'drpo_released', "
            "'disco', 'fairgrpo', 'inverse_frequency', or your own as package.module.Class."
        },
    )
    domain_column: str = field(
        default="domain",
        metadata={"help": "Column of the data set that names the domain of a question."},
    )
    domain_sampling_power: float = field(
        default=0.0,
        metadata={
            "help": "How evenly domains are drawn, from 0 (as the data are) over 0.5 (square root) "
            "to 1 (each the same number of questions). Works beside any domain_scaling."
        },
    )
    group_column: str | None = field(
        default=None,
        metadata={
            "help": "Column of the second level of 'fairgrpo', such as a demographic group. A null "
            "there means unknown."
        },
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
    drpo_difficulty: str = field(
        default="clusters",
        metadata={
            "help": "What tells hard questions apart: 'clusters' of a domain's questions, or each "
            "'question' by its own mean reward, which needs no clusters."
        },
    )
    drpo_disco_form: str = field(
        default="log",
        metadata={"help": "Weights of 'disco', from weak to strong: 'log', 'log2' or 'inv'."},
    )
    drpo_kl_damping: bool = field(
        default=True,
        metadata={
            "help": "'drpo_paper': damp rewarded answers that are far from the reference model. "
            "Needs beta above 0, and a forward pass more for each generation."
        },
    )
    vllm_with_series: str = field(
        default="stop",
        metadata={
            "help": "use_vllm with a model and rows that hold series, which vLLM cannot take: "
            "'stop'; generate with 'transformers' instead; or draw each recording as a 'picture' "
            "and train the model without its encoder of series."
        },
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
        if isinstance(self.num_generations, int) and self.num_generations < 2:
            raise OptionError(
                f"num_generations={self.num_generations} should be at least 2: an advantage is how "
                "far a rollout is from the other rollouts of its question."
            )
        super().__post_init__()
        self.check_dropout()
        rule = rule_class(self.domain_scaling)
        check_type("domain_column", self.domain_column, str)
        check_type("group_column", self.group_column, (str, type(None)))
        check_type("allow_unaligned_checkpoints", self.allow_unaligned_checkpoints, bool)
        check_type("domain_sampling_power", self.domain_sampling_power, (int, float))
        if not 0 <= self.domain_sampling_power <= 1:
            raise OptionError(
                f"domain_sampling_power={self.domain_sampling_power!r} should be from 0 to 1."
            )
        ScalingOptions.check(_PREFIX, self._scaling_values())
        self._check_rule(rule)
        self._check_normalisation(rule)
        if self.save_strategy == "steps" and self.save_steps >= 1:
            check_save_steps(self)

    def _check_rule(self, rule: type[Rule]) -> None:
        """Refuses what the rule would pass over in silence, or lacks."""
        named = f"domain_scaling={self.domain_scaling!r}"
        unused = rule.unused(self.scaling_options())
        if unused:
            name = _PREFIX + unused[0]
            heeded = ", ".join(sorted(_PREFIX + one for one in rule.uses))
            reason = (
                "with drpo_difficulty='question'" if unused[0] in rule.uses else f"with {named}"
            )
            raise OptionError(
                f"{name}={getattr(self, name)!r} has no effect {reason}, and the run would not be "
                f"what it looks like. Leave it out; {named} heeds: {heeded}."
            )
        if rule.needs_groups and self.group_column is None:
            raise OptionError(
                f"{named} weighs groups within domains: name their column with group_column, such "
                "as group_column='sex'. Without groups, 'drpo' is the rule you want."
            )
        if self.group_column is not None and not rule.needs_groups and rule is not RULES["none"]:
            raise OptionError(
                f"group_column={self.group_column!r} has no effect with {named}. Leave it out, or "
                "set domain_scaling='fairgrpo'."
            )
        if rule(self.scaling_options()).needs_kl and self.beta == 0:
            raise OptionError(
                f"{named} damps answers by how far they are from the reference model, which "
                "beta=0.0 leaves out. Set beta (the paper's is 1e-4), or drpo_kl_damping=False."
            )

    def _check_normalisation(self, rule: type[Rule]) -> None:
        plain = self.multi_objective_aggregation == "sum_then_normalize"
        if rule is RULES["none"] or (self.scale_rewards == "group" and plain):
            return
        options = (
            f"scale_rewards={self.scale_rewards!r}, multi_objective_aggregation="
            f"{self.multi_objective_aggregation!r}"
        )
        if self.domain_scaling in _PUBLISHED:
            raise OptionError(
                f"domain_scaling={self.domain_scaling!r} is defined on rewards that are summed and "
                f"then normalised within a group, but here {options}. Leave both at their defaults."
            )
        if self.scale_rewards != "group":
            warnings.warn(
                f"scale_rewards={self.scale_rewards!r}: DRPO's first step is to normalise rewards "
                "within a group. The weights go on the advantages as TRL computes them instead, "
                "without a division by the batch's standard deviation. Set scale_rewards='group' "
                "for the published method.",
                stacklevel=4,
            )

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
