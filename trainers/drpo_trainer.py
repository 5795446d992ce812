r"""DRPO on TRL's `GRPOTrainer`: domain-aware weights on the advantages, nothing else changed.

Two seams of the parent carry it, unchanged in TRL since 0.19: `_calculate_rewards`, whose rewards
of all processes are kept, and `_generate_and_score_completions`, whose advantages are rescaled.
A weight on the reward itself would cancel in the group's standard deviation.
"""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from accelerate.utils import gather_object
from transformers import TrainerCallback
from transformers.integrations import is_deepspeed_zero3_enabled
from transformers.trainer_utils import has_length
from trl import GRPOTrainer
from trl import __version__ as trl_version

from climb_hf.errors import CheckpointError, DependencyError, OptionError
from climb_hf.hub import takes_images, takes_series
from climb_hf.trainers.drpo_advantages import (
    STD_EPSILON,
    group_advantages,
    rescale,
    summed_rewards,
    unit_rewards,
)
from climb_hf.trainers.drpo_batch import Scored, check_finite, check_rows, check_towers
from climb_hf.trainers.drpo_config import DRPOConfig, check_save_steps, generate_every
from climb_hf.trainers.drpo_log import Watch, batch_figures, doubts, effective_share, run_in_words
from climb_hf.trainers.drpo_rewards import guard_reward, reward_bounds
from climb_hf.trainers.drpo_rows import WithoutEmptyImages, images_may_be_absent, repair_rows
from climb_hf.trainers.drpo_sampling import (
    DomainSampler,
    check_sampling,
    domains_of,
    sampling_in_words,
)
from climb_hf.trainers.drpo_scaling import DomainScaler
from climb_hf.trainers.drpo_series import SeriesRollouts
from climb_hf.trainers.drpo_vllm import VLLMRollouts

__all__ = [
    "STATE_FILE",
    "STD_EPSILON",
    "DRPOTrainer",
    "batch_figures",
    "group_advantages",
    "rescale",
    "unit_rewards",
]

logger = logging.getLogger(__name__)

STATE_FILE = "drpo_state.json"
_SEAMS = ("_calculate_rewards", "_generate_and_score_completions")
_PLACEHOLDERS = ("image_token_id", "video_token_id", "time_series_token_id")


# ---- trainer ------------------------------------------------------------------------------------


class DRPOTrainer(SeriesRollouts, VLLMRollouts, GRPOTrainer):  # type: ignore[misc]
    """TRL's `GRPOTrainer` with advantages weighted by domain; same arguments, same use.

    With `scale_rewards="group"` and `multi_objective_aggregation="sum_then_normalize"` (TRL's
    defaults) an advantage is the group-normalised one, times its question's weight, over the
    standard deviation of these in the batch. Under other values of the two options the advantages
    that TRL returns are multiplied by the weights, and keep the scale those options ask for.
    Evaluation is left alone, and never changes what the scaler remembers.

    Batches that mix rows with and without images, and with and without `series` where the model
    takes them (`climb_hf.trainers.drpo_series`), train. A reward function that fails raises a
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
        domains = None
        if args.domain_scaling != "none" or args.domain_sampling_power:
            domains = domains_of(train_dataset, args.domain_column)
        check_sampling(train_dataset, domains, args)
        check_rows(args, train_dataset)
        functions = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
        guarded = [_guarded(one) for one in functions if one is not None]
        super().__init__(model, guarded, args, train_dataset, *others, **named)
        self._bounds = [reward_bounds(one) for one in self.reward_funcs]
        self.domain_scaler = DomainScaler(
            args.domain_scaling, args.scaling_options(), length=args.num_generations
        )
        self._scored: Scored | None = None
        self._last_call: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._domains = domains
        self._sampler: DomainSampler | None = None
        self._watch = Watch(self._say, args)
        self._keep_placeholders_suppressed()
        self.add_callback(_AlignmentCheck())
        self.add_callback(_Announcer(self))

    def _say(self, message: str) -> None:
        """Warns, once for all processes; at this level it is seen without any set-up of logging."""
        if self.is_world_process_zero():
            logger.warning("%s", message)

    # -- questions --

    def _get_train_sampler(self, dataset: Any = None) -> Any:
        plain, power = super()._get_train_sampler(dataset), self.args.domain_sampling_power
        if power and len(plain.data_source) != len(self._domains or ()):  # it was exchanged since
            self._domains = domains_of(plain.data_source, self.args.domain_column)
        self._sampler = DomainSampler(plain, self._domains, power)
        return self._sampler

    # -- rewards and advantages --

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        for column in (self.args.domain_column, "id", self.args.group_column):
            if column is not None and column not in self._signature_columns:
                self._signature_columns.append(column)

    def _calculate_rewards(self, inputs: list[dict[str, Any]], *args: Any, **kwargs: Any) -> Any:
        gathered = super()._calculate_rewards(inputs, *args, **kwargs)
        columns = (self.args.domain_column, "id", self.args.group_column)
        # One collective, the same on every process, whatever the rows hold.
        named = gather_object([tuple(row.get(column) for column in columns) for row in inputs])
        domains, ids, groups = map(list, zip(*named, strict=True))
        rewards = gathered.detach().cpu().numpy().astype(np.float64)
        check_finite(rewards, self.reward_func_names)
        self._scored = Scored(rewards, domains, ids, groups)
        return gathered

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        rows = self.drop_media(repair_rows(inputs))
        check_towers(rows, self._sharded_towers())
        with images_may_be_absent(self):
            output = super()._generate_and_score_completions(rows)
        scored, self._scored = self._scored, None
        last_call, self._last_call = self._last_call, None
        if scored is None:
            raise _seam_missing(_SEAMS[0])
        weights = np.ones(len(scored.rewards))
        if self.model.training and self._has_domains(scored):
            weights = self._observe(scored)
            if self.args.domain_scaling != "none":
                damped = self.domain_scaler.rule.needs_kl
                kl = self._response_kl(output, last_call) if damped else None
                self._put_advantages(output, scored, weights, kl)
        self._logs["extra"]["domain"].extend(scored.domains)
        self._logs["extra"]["drpo_weight"].extend(weights.tolist())
        self._log_images(rows)
        return output

    def _sharded_towers(self) -> list[str]:
        """Columns that a tower of the model takes, where its weights lie on several processes."""
        sharded = self.is_fsdp_enabled or is_deepspeed_zero3_enabled()
        if not sharded or self.accelerator.num_processes == 1:
            return []
        takes = {"images": takes_images, "series": takes_series}
        return [column for column, can in takes.items() if can(self.processing_class)]

    def _log_images(self, rows: list[dict[str, Any]]) -> None:
        """Puts images into the table of completions, from every process or from none."""
        if self.log_multimodal and self.args.log_completions:
            images = gather_object([row.get("images") or [] for row in rows])
            if any(images) or self._logs["images"]:
                self._logs["images"].extend(images)

    def _has_domains(self, scored: Scored) -> bool:
        """Whether the batch names its domains; only a run without scaling may lack them."""
        return self.args.domain_scaling != "none" or None not in scored.domains

    def _observe(self, scored: Scored) -> np.ndarray:
        """Lets the scaler see a batch; returns the weight of each completion, (completions,)."""
        start = time.perf_counter()
        group = self.num_generations
        domains = scored.domains_of_questions(group, self.args.domain_column)
        groups = scored.groups_of_questions(group) if self.args.group_column else None
        vectors = unit_rewards(scored.rewards, self._function_weights(), self._bounds)
        vectors = vectors.reshape(-1, group)
        weights = self.domain_scaler.step(vectors, domains, groups)
        figures = batch_figures(vectors, domains, weights, self.args.drpo_max_weight)
        figures["effective_share"] = effective_share(vectors, weights)
        figures |= self.domain_scaler.summary()
        self._watch.see(vectors, domains, weights)
        self._watch.rewards(scored.rewards, self._bounds, self.reward_func_names)
        figures["time_ms"] = 1000 * (time.perf_counter() - start)
        for name, value in figures.items():
            self._metrics["train"][f"drpo/{name}"].append(value)
        return np.repeat(weights, group)

    def _function_weights(self) -> np.ndarray:
        return self.reward_weights.cpu().numpy().astype(np.float64)

    def _put_advantages(
        self,
        output: dict[str, Any],
        scored: Scored,
        weights: np.ndarray,
        kl: np.ndarray | None,
    ) -> None:
        """Puts weighted advantages in place of the parent's, in `output` and in the log."""
        old = output["advantages"]
        first = self.accelerator.process_index * len(old)
        local = slice(first, first + len(old))
        if old.ndim > 1:  # a subclass may give one advantage for each token
            own = torch.as_tensor(weights[local], dtype=old.dtype, device=old.device)
            output["advantages"] = old * own.view(-1, *[1] * (old.ndim - 1))
            return
        if self._is_published_form():
            group = self.num_generations
            summed = summed_rewards(scored.rewards, self._function_weights(), group)
            new = self.domain_scaler.advantages(summed, weights[::group], kl).ravel()
        else:
            new = self.accelerator.gather(old).cpu().numpy() * weights
        output["advantages"] = torch.as_tensor(new[local], dtype=old.dtype, device=old.device)
        log = self._logs["advantages"]
        for _ in range(min(len(new), len(log))):
            log.pop()
        log.extend(new.tolist())

    def _response_kl(self, output: dict[str, Any], last_call: Any) -> np.ndarray:
        """Divergence of each response from the reference, shape (questions, rollouts).

        TRL's estimator exp(d) - d - 1 with d = log p_ref - log p, summed over the response. Where
        TRL has not kept the policy's own log-probabilities, its last call (for the reference) is
        made once more with the policy.
        """
        start = time.perf_counter()
        policy = output.get("old_per_token_logps")
        if policy is None:
            args, kwargs = last_call
            with torch.no_grad():
                policy = self._get_per_token_logps_and_entropies(self.model, *args, **kwargs)[0]
            self._last_call = None
        apart = output["ref_per_token_logps"] - policy
        mask = output["completion_mask"] * output.get("tool_mask", 1)
        kl = self.accelerator.gather(((apart.exp() - apart - 1) * mask).sum(dim=1))
        self._metrics["train"]["drpo/kl_ms"].append(1000 * (time.perf_counter() - start))
        return kl.double().cpu().numpy().reshape(-1, self.num_generations)

    def _is_published_form(self) -> bool:
        aggregation = self.args.multi_objective_aggregation
        return self.args.scale_rewards == "group" and aggregation == "sum_then_normalize"

    def plan(self, max_steps: int) -> list[str]:
        """Returns what a run of so many optimizer steps will do, and what may disappoint in it."""
        args, data = self.args, self.train_dataset
        rows = len(data) if has_length(data) else None
        served = generate_every(args) / args.gradient_accumulation_steps
        asked = max_steps / served * args.generation_batch_size / args.num_generations
        words = [run_in_words(args, max_steps, rows)]
        if args.domain_sampling_power and self._domains and rows:
            words += sampling_in_words(self._domains, args.domain_sampling_power, asked / rows)
        kept = args.use_vllm or args.gradient_accumulation_steps % generate_every(args)
        if self.domain_scaler.rule.needs_kl and not kept:
            words.append(
                f"domain_scaling={args.domain_scaling!r} with drpo_kl_damping costs one forward "
                "pass of the policy more over every generation, logged as drpo/kl_ms. "
                "drpo_kl_damping=False leaves it out."
            )
        return words + doubts(args, self._domains, asked)

    # -- model calls --

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        proxy = WithoutEmptyImages(model)
        if self.domain_scaler.rule.needs_kl and not torch.is_grad_enabled():
            self._last_call = args, kwargs
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
        gone = sorted(set(self.domain_scaler.memory) - set(self._domains or ()))
        if gone and self._domains:
            self._say(
                f"{path.parent.name} remembers domains that the data set no longer has: "
                f"{', '.join(gone)}. They stay in memory, and do not weigh on the others."
            )

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


class _Announcer(TrainerCallback):
    """Says in words what a run will do and what it left out, and tells the sampler the epoch."""

    def __init__(self, trainer: DRPOTrainer) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for sentence in self._trainer.plan(state.max_steps):
            self._trainer._say(sentence)

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if self._trainer._sampler is not None:
            self._trainer._sampler.epoch = int(state.epoch or 0)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        memory, domains = self._trainer.domain_scaler.memory, self._trainer._domains
        if domains and len(memory):
            self._trainer._watch.unseen(domains, list(memory), memory.count)


# ---- checks -------------------------------------------------------------------------------------


def _guarded(reward: Any) -> Any:
    """A function with its faults named; models, and names of models, as they are."""
    if isinstance(reward, (str, torch.nn.Module)):
        return reward
    if not callable(reward):
        raise OptionError(
            f"reward_funcs holds {reward!r}, which is neither a function nor a model."
        )
    return guard_reward(reward)


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
