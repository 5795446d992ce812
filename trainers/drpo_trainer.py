r"""DRPO on TRL's `GRPOTrainer`: domain-aware weights on the advantages, nothing else changed.

Two seams of the parent carry it, unchanged in TRL since 0.19: `_calculate_rewards`, whose rewards
of all processes are kept, and `_generate_and_score_completions`, whose advantages are rescaled.
A weight on the reward itself would cancel in the group's standard deviation.
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback
from transformers.trainer_utils import has_length
from trl import GRPOTrainer
from trl import __version__ as trl_version

from climb_hf.check import nearest
from climb_hf.errors import CheckpointError, DependencyError, OptionError
from climb_hf.trainers.drpo_config import DRPOConfig, check_save_steps, generate_every
from climb_hf.trainers.drpo_rewards import guard_reward, reward_bounds
from climb_hf.trainers.drpo_rows import WithoutEmptyImages, images_may_be_absent, repair_rows
from climb_hf.trainers.drpo_scaling import DomainScaler

logger = logging.getLogger(__name__)

STATE_FILE = "drpo_state.json"
STD_EPSILON = 1e-4  # TRL's, added to every standard deviation that it divides by
_SEAMS = ("_calculate_rewards", "_generate_and_score_completions")
_PLACEHOLDERS = ("image_token_id", "video_token_id", "time_series_token_id")


@dataclass(frozen=True)
class _Scored:
    """What one generation was rewarded with, on all processes.

    Attributes:
        rewards: float64, shape (completions, functions); NaN where a function did not apply.
        domains: of each completion; None where the row has none.
        ids: of each completion's row; None where the row has none.
    """

    rewards: np.ndarray
    domains: list[str | None]
    ids: list[Any]


# ---- formulas -----------------------------------------------------------------------------------


def unit_rewards(
    rewards: np.ndarray, weights: np.ndarray, bounds: Sequence[tuple[float, float]]
) -> np.ndarray:
    """Returns one reward in [0, 1] for each completion: sum(w_i u_i) / sum(w_i).

    u_i is reward i on the scale from its least to its greatest value, clipped; the sums run over
    the functions that applied, so that a row for which fewer did does not look harder. A negative
    weight makes u_i count as 1 - u_i.

    Args:
        rewards: shape (completions, functions); NaN where a function did not apply.
        weights: shape (functions,).
        bounds: least and greatest value of each function.

    Returns:
        float64, shape (completions,); NaN where no function with a weight applied.
    """
    low, high = np.array(bounds, dtype=np.float64).T
    unit = np.clip((rewards - low) / (high - low), 0.0, 1.0)
    unit = np.where(weights < 0, 1.0 - unit, unit)
    sizes = np.where(np.isnan(rewards), 0.0, np.abs(weights))
    total = sizes.sum(axis=1)
    summed = (np.nan_to_num(unit) * sizes).sum(axis=1)
    known = total > 0
    mean = np.divide(summed, total, out=np.full(len(rewards), np.nan), where=known)
    return np.clip(mean, 0.0, 1.0)


def group_advantages(rewards: np.ndarray, weights: np.ndarray, group: int) -> np.ndarray:
    """Returns GRPO's advantages (r - mean) / (std + 1e-4) within each group, ddof 1.

    As TRL computes them with `sum_then_normalize`, in float64.

    Args:
        rewards: shape (completions, functions); NaN where a function did not apply.
        weights: of the functions, shape (functions,).
        group: completions of one question.

    Returns:
        float64, shape (completions,); 0 where no function applied or a group has no spread.
    """
    summed = np.nansum(rewards * weights, axis=1)
    summed[np.isnan(rewards).all(axis=1)] = np.nan
    advantages = np.zeros(len(summed))
    for start in range(0, len(summed), group):
        own = summed[start : start + group]
        scored = ~np.isnan(own)
        values = own[scored]
        if len(values) > 1 and values.min() < values.max():
            mean = math.fsum(values) / len(values)
            std = math.sqrt(math.fsum((values - mean) ** 2) / (len(values) - 1))
            advantages[start : start + group][scored] = (values - mean) / (std + STD_EPSILON)
    return advantages


def rescale(advantages: np.ndarray, weights: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Returns weighted advantages over their standard deviation in the batch, ddof 1.

    QoQ-Med, section 3.3. The 1e-4 keeps rounding errors of a batch without any spread small.

    Args:
        advantages: shape (completions,).
        weights: shape (completions,), positive.
        scored: which completions have a reward, shape (completions,).
    """
    scaled = advantages * weights
    values = scaled[scored]
    if len(values) < 2:
        return np.zeros_like(scaled)
    mean = math.fsum(values) / len(values)
    std = math.sqrt(math.fsum((values - mean) ** 2) / (len(values) - 1))
    return scaled / (std + STD_EPSILON)


# ---- trainer ------------------------------------------------------------------------------------


class DRPOTrainer(GRPOTrainer):
    """TRL's `GRPOTrainer` with advantages weighted by domain; same arguments, same use.

    With `scale_rewards="group"` and `multi_objective_aggregation="sum_then_normalize"` (TRL's
    defaults) an advantage is the group-normalised one, times its question's weight, over the
    standard deviation of these in the batch. Under other values of the two options the advantages
    that TRL returns are multiplied by the weights, and keep the scale those options ask for.
    Evaluation is left alone, and never changes what the scaler remembers.

    Batches that mix rows with and without images train. A reward function that fails raises a
    `RewardError` with its name. The scaler's state is saved and restored with the optimizer's.

    Args:
        model: as in `GRPOTrainer`, like every argument not named here.
        reward_funcs: functions may have an attribute `reward_bounds`, (0, 1) by default, the range
            that their rewards are mapped to [0, 1] from to tell how hard a question is.
        args: `DRPOConfig`; the default one when None.
        train_dataset: has the column `args.domain_column`, unless `args.domain_scaling` is "none".

    Raises:
        OptionError: if `args` is no `DRPOConfig`, or the data set has no domain column.
        DependencyError: if the installed TRL lacks one of the two seams.
    """

    _tag_names: ClassVar[list[str]] = ["trl", "drpo", "climb"]
    _name = "DRPO"
    _paper: ClassVar[dict[str, str]] = {
        "title": "QoQ-Med: Building Multimodal Clinical Foundation Models with Domain-Aware GRPO "
        "Training",
        "id": "2506.00711",
        "citation": "@misc{dai2025qoqmed,\n"
        "    title         = {{QoQ-Med: Building Multimodal Clinical Foundation Models with "
        "Domain-Aware GRPO Training}},\n"
        "    author        = {Dai, Wei and Chen, Peilin and Ekbote, Chanakya and "
        "Liang, Paul Pu},\n"
        "    year          = 2025,\n"
        "    eprint        = {2506.00711},\n"
        "    archivePrefix = {arXiv}\n"
        "}",
    }

    def __init__(
        self,
        model: Any,
        reward_funcs: Any = None,
        args: DRPOConfig | None = None,
        train_dataset: Any = None,
        *others: Any,
        **named: Any,
    ) -> None:
        _check_seams()
        if args is None:
            name = model if isinstance(model, str) else model.config._name_or_path
            args = DRPOConfig(f"{name.rsplit('/', 1)[-1]}-DRPO")
        if not isinstance(args, DRPOConfig):
            raise OptionError(f"args is {type(args).__name__}, but should be DRPOConfig.")
        _check_domain_column(args, train_dataset)
        functions = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
        guarded = [_guarded(one) for one in functions if one is not None]
        super().__init__(model, guarded, args, train_dataset, *others, **named)
        self._bounds = [reward_bounds(one) for one in self.reward_funcs]
        self.domain_scaler = DomainScaler(
            args.domain_scaling, args.scaling_options(), length=args.num_generations
        )
        self._scored: _Scored | None = None
        self._keep_placeholders_suppressed()
        self.add_callback(_AlignmentCheck())

    # -- rewards and advantages --

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        for column in (self.args.domain_column, "id"):
            if column not in self._signature_columns:
                self._signature_columns.append(column)

    def _calculate_rewards(self, inputs: list[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
        gathered = super()._calculate_rewards(inputs, *args, **kwargs)
        column = self.args.domain_column
        # One collective, the same on every process, whatever the rows hold.
        named = gather_object([(row.get(column), row.get("id")) for row in inputs])
        domains, ids = zip(*named, strict=True)
        rewards = gathered.detach().cpu().numpy().astype(np.float64)
        self._scored = _Scored(rewards, list(domains), list(ids))
        return gathered

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        rows = repair_rows(inputs)
        with images_may_be_absent(self):
            output = super()._generate_and_score_completions(rows)
        scored, self._scored = self._scored, None
        if scored is None:
            raise _seam_missing(_SEAMS[0])
        weights = np.ones(len(scored.rewards))
        if self.model.training and self._has_domains(scored):
            weights = self._observe(scored)
            if self.args.domain_scaling != "none":
                self._put_advantages(output, scored, weights)
        self._logs["extra"]["domain"].extend(scored.domains)
        self._logs["extra"]["drpo_weight"].extend(weights.tolist())
        self._log_images(rows)
        return output

    def _log_images(self, rows: list[dict[str, Any]]) -> None:
        """Puts images into the table of completions, from every process or from none."""
        if self.log_multimodal and self.args.log_completions:
            images = gather_object([row.get("images") or [] for row in rows])
            if any(images) or self._logs["images"]:
                self._logs["images"].extend(images)

    def _has_domains(self, scored: _Scored) -> bool:
        """Whether the batch names its domains; only a run without scaling may lack them."""
        return self.args.domain_scaling != "none" or None not in scored.domains

    def _observe(self, scored: _Scored) -> np.ndarray:
        """Lets the scaler see a batch; returns the weight of each completion, (completions,)."""
        start = time.perf_counter()
        group = self.num_generations
        domains = _domains_of_groups(scored, group, self.args.domain_column)
        function_weights = self.reward_weights.cpu().numpy().astype(np.float64)
        vectors = unit_rewards(scored.rewards, function_weights, self._bounds).reshape(-1, group)
        self.domain_scaler.observe(vectors, domains)
        weights = self.domain_scaler.weights(vectors, domains)
        figures = batch_figures(vectors, domains, weights, self.args.drpo_max_weight)
        figures |= self.domain_scaler.summary()
        figures["time_ms"] = 1000 * (time.perf_counter() - start)
        for name, value in figures.items():
            self._metrics["train"][f"drpo/{name}"].append(value)
        return np.repeat(weights, group)

    def _put_advantages(self, output: dict[str, Any], scored: _Scored, weights: np.ndarray) -> None:
        """Puts weighted advantages in place of the parent's, in `output` and in the log."""
        old = output["advantages"]
        first = self.accelerator.process_index * len(old)
        local = slice(first, first + len(old))
        if old.ndim > 1:  # a subclass may give one advantage for each token
            own = torch.as_tensor(weights[local], dtype=old.dtype, device=old.device)
            output["advantages"] = old * own.view(-1, *[1] * (old.ndim - 1))
            return
        if self._is_published_form():
            function_weights = self.reward_weights.cpu().numpy().astype(np.float64)
            base = group_advantages(scored.rewards, function_weights, self.num_generations)
            new = rescale(base, weights, ~np.isnan(scored.rewards).all(axis=1))
        else:
            new = self.accelerator.gather(old).cpu().numpy() * weights
        output["advantages"] = torch.as_tensor(new[local], dtype=old.dtype, device=old.device)
        log = self._logs["advantages"]
        for _ in range(min(len(new), len(log))):
            log.pop()
        log.extend(new.tolist())

    def _is_published_form(self) -> bool:
        aggregation = self.args.multi_objective_aggregation
        return self.args.scale_rewards == "group" and aggregation == "sum_then_normalize"

    # -- model calls --

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        proxy = WithoutEmptyImages(model)
        return super()._get_per_token_logps_and_entropies(proxy, *args, **kwargs)

    def _keep_placeholders_suppressed(self) -> None:
        """Adds the placeholder tokens to a user's `suppress_tokens`, which replaced TRL's own.

        A sampled image token has no image behind it, and the forward pass fails.
        """
        given = (self.args.generation_kwargs or {}).get("suppress_tokens")
        if given is None or not hasattr(self, "generation_config"):
            return
        known = {getattr(self.model.config, name, None) for name in _PLACEHOLDERS}
        tokens = sorted({*given, *known} - {None})
        self.generation_kwargs["suppress_tokens"] = tokens
        self.generation_config.suppress_tokens = tokens

    # -- checkpoints --

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        super()._save_optimizer_and_scheduler(output_dir)
        if self.args.should_save:
            state = {
                "within_window": self._step % generate_every(self.args),
                "scaler": self.domain_scaler.state_dict(),
            }
            path = Path(output_dir) / STATE_FILE
            part = path.with_suffix(".part")
            part.write_text(json.dumps(state, allow_nan=False), encoding="utf-8")
            part.replace(path)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is None:
            return
        path = Path(checkpoint) / STATE_FILE
        if self.args.domain_scaling == "none" and not path.is_file():
            return
        state = _read_state(path)
        self._check_resumed_window(path, state)
        self.domain_scaler.load_state_dict(state["scaler"])

    def _check_resumed_window(self, path: Path, state: dict[str, Any]) -> None:
        within = state["within_window"]
        if not within:
            return
        message = (
            f"{path.parent.name} lies inside a generation window ({within} of its "
            f"{generate_every(self.args)} micro-steps done), whose completions were not saved: the "
            "resumed run cannot equal an uninterrupted one."
        )
        if not self.args.allow_unaligned_checkpoints:
            raise CheckpointError(
                f"cannot resume: {message} Resume from an earlier checkpoint, or set "
                "allow_unaligned_checkpoints=True to accept that."
            )
        logger.warning("%s It goes on as allow_unaligned_checkpoints is set.", message)


class _AlignmentCheck(TrainerCallback):
    """Refuses a run at its start when a checkpoint would lie inside a generation window.

    `DRPOConfig` sees this already for whole numbers of steps; fractions of a run, and epochs whose
    last step is short, are known here only.
    """

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        loader = kwargs.get("train_dataloader")
        check_save_steps(args, state.max_steps, len(loader) if has_length(loader) else None)


# ---- checks and figures -------------------------------------------------------------------------


def batch_figures(
    vectors: np.ndarray, domains: Sequence[str], weights: np.ndarray, max_weight: float
) -> dict[str, float]:
    """Returns what is logged of a batch, by domain where a name ends in one.

    Args:
        vectors: rewards in [0, 1], shape (questions, rollouts).
        domains: of each question.
        weights: of each question.
        max_weight: at which weights are clipped.

    Returns:
        `weight/<domain>`: mean weight; `reward/<domain>`: mean reward; `zero_std/<domain>`: share
        of questions whose rollouts all have one reward; `clipped_frac`: share of questions whose
        weight was clipped; `ess`: (sum w)^2 / (n sum w^2), the share of the batch that counts.
    """
    figures = {
        "clipped_frac": float(np.mean(np.abs(np.log(weights)) > math.log(max_weight) - 1e-9)),
        "ess": float(weights.sum() ** 2 / (len(weights) * (weights**2).sum())),
    }
    for domain in sorted(set(domains)):
        inside = np.array([one == domain for one in domains])
        own = vectors[inside]
        rewards = own[~np.isnan(own)]
        equal = [len(set(row[~np.isnan(row)].tolist())) < 2 for row in own]
        figures[f"weight/{domain}"] = float(weights[inside].mean())
        figures[f"reward/{domain}"] = float(rewards.mean()) if len(rewards) else math.nan
        figures[f"zero_std/{domain}"] = float(np.mean(equal))
    return figures


def _domains_of_groups(scored: _Scored, group: int, column: str) -> list[str]:
    """The domain of each question, in the order of the batch."""
    domains = []
    for start in range(0, len(scored.domains), group):
        own = scored.domains[start : start + group]
        question = scored.ids[start]
        named = f"question {question!r}" if question is not None else f"row {start} of the batch"
        if not isinstance(own[0], str) or not own[0]:
            raise OptionError(
                f"{named} has {column}={own[0]!r}, but should name its domain. Fill the column, or "
                "set domain_scaling='none'."
            )
        if any(one != own[0] for one in own):
            listed = ", ".join(sorted({repr(one) for one in own}))
            raise OptionError(
                f"{named} has several domains ({listed}) among its {group} rollouts. All rollouts "
                f"of a question need one value of the column {column!r}: check the sampler."
            )
        domains.append(own[0])
    return domains


def _guarded(reward: Any) -> Any:
    """A function with its faults named; models, and names of models, as they are."""
    if isinstance(reward, (str, torch.nn.Module)):
        return reward
    if not callable(reward):
        raise OptionError(
            f"reward_funcs holds {reward!r}, which is neither a function nor a model."
        )
    return guard_reward(reward)


def _check_domain_column(args: DRPOConfig, dataset: Any) -> None:
    columns = getattr(dataset, "column_names", None)
    if args.domain_scaling == "none" or columns is None or args.domain_column in columns:
        return
    raise OptionError(
        f"domain_column={args.domain_column!r} is not a column of train_dataset, which has: "
        f"{', '.join(columns)}.{nearest(args.domain_column, columns)} Name the column that holds "
        "the domain, or set domain_scaling='none'."
    )


def _check_seams() -> None:
    for name in _SEAMS:
        if not callable(getattr(GRPOTrainer, name, None)):
            raise _seam_missing(name)


def _seam_missing(name: str) -> DependencyError:
    return DependencyError(
        f"trl {trl_version} has no GRPOTrainer.{name} that is called as DRPO needs it. Install a "
        "release that has: pip install 'trl>=1.16,<2'"
    )


def _read_state(path: Path) -> dict[str, Any]:
    """The saved state of a checkpoint."""
    advice = "Resume from a checkpoint of a DRPO run, or start a new run from its weights."
    if not path.is_file():
        raise CheckpointError(
            f"cannot resume: {path} is missing. Checkpoints of save_only_model=True and of other "
            f"trainers have none. {advice}"
        )
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        whole = isinstance(state["within_window"], int) and isinstance(state["scaler"], dict)
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"cannot resume: {path} is damaged ({error!r}). {advice}") from error
    if not whole:
        raise CheckpointError(f"cannot resume: {path} is damaged. {advice}")
    return state
