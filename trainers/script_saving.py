"""What training scripts save: the base beside an adapter, model, processor, scores and card.

`climb_hf.trainers.scripting` passes these names on.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import OptionError
from climb_hf.trainers.script_data import generate_answers

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


def check_push(args: ScriptArguments, training_args: Any) -> None:
    """Raises OptionError before a run whose result may not be pushed to the Hub."""
    from climb_hf import catalog

    if not training_args.push_to_hub:
        return
    cards = [catalog.get(name).card for name in catalog.check_config(args.dataset_name)]
    closed = [f"{one.name} ({one.licence.name})" for one in cards if not one.licence.share_derived]
    if closed and not training_args.hub_private_repo:
        raise OptionError(
            "push_to_hub: what was trained on these sources may not be published: "
            f"{', '.join(closed)}. Leave them out, or push with --hub_private_repo true."
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
    trainer.save_model(str(folder))
    if trainer.args.should_save:
        scores = _scores(trainer, args, held_out, max_new_tokens)
        _use_card(trainer, _card_facts(trainer, model_args, sources, scores))
        trainer.create_model_card()
        if args.merge_adapter and model_args.use_peft:
            _save_merged(folder)
    trainer.accelerator.wait_for_everyone()
    if trainer.args.push_to_hub:
        trainer.push_to_hub()
    trainer.end()


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
        "adapter": model_args.use_peft,
    }


def _use_card(trainer: Any, facts: dict[str, Any]) -> None:
    """Lets the trainer write this card wherever it would write TRL's, as it does when it pushes."""
    from climb_hf.hub import write_model_card

    def create_model_card(*_: Any, **__: Any) -> None:
        if trainer.is_world_process_zero():
            write_model_card(trainer.args.output_dir, **facts)

    trainer.create_model_card = create_model_card
