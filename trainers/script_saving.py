"""What training scripts save: the base beside an adapter, model, processor, scores and card.

`climb_hf.trainers.scripting` passes these names on.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.trainers.script_data import generate_answers
from climb_hf.trainers.script_push import keep_sources, push

if TYPE_CHECKING:
    from climb_hf.trainers.scripting import ScriptArguments

logger = logging.getLogger(__name__)

_BUILT = "climb-hf/tiny-"  # how names of models built by code begin
_SHOWN_SETTINGS = (
    "learning_rate",
    "max_steps",
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "num_generations",
    "temperature",
    "beta",
    "domain_scaling",
    "domain_column",
    "domain_sampling_power",
    "seed",
)


def keep_base(model: Any, processor: Any, args: ScriptArguments, training_args: Any) -> None:
    """Saves a local base model into the folder `base` of the output, for its adapter to find.

    A model of the Hub is left where it is. Call it before the trainer adds the adapter.
    """
    from climb_hf.hub import BASE_FOLDER

    name = str(model.config._name_or_path)
    # Models built by code lie nowhere yet; those that from_backbone makes have no name either.
    local = not name or Path(name).is_dir() or name.startswith(_BUILT)
    quantised = getattr(model, "is_quantized", False)
    if not (args.copy_base and local) or quantised:
        return
    folder = Path(training_args.output_dir) / BASE_FOLDER
    if training_args.should_save and Path(name).resolve() != folder.resolve():
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
    rename(model, str(folder))


def rename(model: Any, name: str) -> None:
    """Says where a model came from: cards ask its config, PEFT and vLLM the model itself."""
    model.config._name_or_path = model.name_or_path = name


def finish(
    trainer: Any,
    args: ScriptArguments,
    model_args: Any,
    *,
    sources: Sequence[str],
    held_out: Any = None,
    max_new_tokens: int = 64,
) -> None:
    """Saves model, processor and card, merges and pushes as asked, and ends the run.

    Args:
        trainer: that has trained.
        args: of the script.
        model_args: `trl.ModelConfig`.
        sources: whose rows were trained on; the card names their licences.
        held_out: rows to answer for the card, where `score_answers` is on.
        max_new_tokens: of those answers.
    """
    folder = Path(trainer.args.output_dir)
    trainer.save_model(str(folder), _internal_call=True)  # without TRL's push of the whole folder
    if trainer.args.should_save:
        scores = _scores(trainer, args, held_out, max_new_tokens)
        _use_card(trainer, _card_facts(trainer, model_args, sources, scores))
        trainer.create_model_card()
        if args.merge_adapter and model_args.use_peft:
            _save_merged(folder)
        _save_scaler(trainer, folder)
        keep_sources(folder, sources)
        if trainer.args.push_to_hub:
            push(
                folder,
                trainer.hub_model_id,
                private=trainer.args.hub_private_repo,
                token=trainer.args.hub_token,
                revision=trainer.args.hub_revision,
            )
    trainer.accelerator.wait_for_everyone()
    trainer.end()


def _save_scaler(trainer: Any, folder: Path) -> None:
    """Writes what the scaler of a DRPO run remembers, in the form in which checkpoints hold it."""
    if hasattr(trainer, "domain_scaler"):
        from climb_hf.trainers.drpo_trainer import STATE_FILE

        state = {"within_window": 0, "scaler": trainer.domain_scaler.state_dict()}
        (folder / STATE_FILE).write_text(json.dumps(state, allow_nan=False), encoding="utf-8")


def _save_merged(folder: Path) -> None:
    """Writes the whole model from the adapter just saved; the one in training stays as it is."""
    from climb_hf import hub

    target = folder / hub.MERGED_FOLDER
    hub.load_merged(folder).save_pretrained(target)
    hub.load_processor(hub.processor_home(folder)).save_pretrained(target)


def _scores(trainer: Any, args: ScriptArguments, held_out: Any, max_new_tokens: int) -> Any:
    """The table of the held-out answers, or None."""
    from climb_hf.metrics.answers import evaluate_answers

    if not args.score_answers or held_out is None:
        return None
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        logger.warning("score_answers is left out: the model's weights are spread over processes")
        return None
    model = trainer.accelerator.unwrap_model(trainer.model)
    batch_size = trainer.args.per_device_eval_batch_size
    texts = generate_answers(model, trainer.processing_class, held_out, batch_size, max_new_tokens)
    columns = ("id", "source", "options", "answer", "answer_type")
    rows = held_out.select_columns([one for one in columns if one in held_out.column_names])
    return {f"Held-out rows ({args.eval_split})": evaluate_answers(texts, rows)}


def _card_facts(
    trainer: Any, model_args: Any, sources: Sequence[str], metrics: Any
) -> dict[str, Any]:
    """What the model card says of a run."""
    from climb_hf import catalog
    from climb_hf.hub import takes_series

    memory = trainer.domain_scaler.memory if hasattr(trainer, "domain_scaler") else {}
    counts = {name: memory[name].count for name in memory}
    settings = {name: getattr(trainer.args, name, None) for name in _SHOWN_SETTINGS}
    settings = {name: value for name, value in settings.items() if value not in (None, -1)}
    if model_args.use_peft:
        settings |= {"lora_r": model_args.lora_r, "lora_alpha": model_args.lora_alpha}
    return {
        "name": trainer.hub_model_id or Path(trainer.args.output_dir).resolve().name,
        "base_model": model_args.model_name_or_path,
        "trainer": type(trainer).__name__.removeprefix("Series"),
        "data": [
            {"name": card.title, "licence": card.licence.name, "url": card.homepage}
            for card in (catalog.get(name).card for name in sources)
        ],
        "metrics": metrics,
        "settings": settings,
        "domains": domains_of_run(trainer.state.log_history, counts),
        "adapter": model_args.use_peft,
        "series": takes_series(trainer.processing_class),
        "hub_id": trainer.hub_model_id if trainer.args.push_to_hub else None,
    }


def domains_of_run(
    history: Sequence[Mapping[str, Any]], counts: Mapping[str, int]
) -> list[dict[str, Any]]:
    """Returns what a DRPO run did with each domain, for its card.

    Args:
        history: `log_history` of the run's state.
        counts: questions of each domain.

    Returns:
        For each domain of the log, in alphabetical order, its questions, and the means over the
        log of its reward and weight.
    """

    def mean(name: str) -> float:
        logged = [line[name] for line in history if math.isfinite(line.get(name, math.nan))]
        return math.fsum(logged) / len(logged) if logged else math.nan

    found = [
        {
            "domain": domain,
            "questions": count,
            "reward": mean(f"drpo/reward/{domain}"),
            "weight": mean(f"drpo/weight/{domain}"),
        }
        for domain, count in sorted(counts.items())
    ]
    return [one for one in found if not math.isnan(one["weight"])]


def _use_card(trainer: Any, facts: dict[str, Any]) -> None:
    """Lets the trainer write this card wherever it would write TRL's, as it does when it pushes."""
    from climb_hf.hub import write_model_card

    def create_model_card(*_: Any, **__: Any) -> None:
        if trainer.is_world_process_zero():
            write_model_card(trainer.args.output_dir, **facts)

    trainer.create_model_card = create_model_card
