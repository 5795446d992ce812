"""The picture route of vLLM: recordings are drawn, and the model is trained without its encoder.

vLLM knows no model that takes series, and no series. What it can serve is the language model that
`climb_hf.from_backbone` was given, with images; so that one is written beside the run and trained.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from climb_hf import hub
from climb_hf.errors import OptionError
from climb_hf.export import write_backbone
from climb_hf.models.series_lm import SERIES_MODULES
from climb_hf.trainers.script_data import with_images

logger = logging.getLogger(__name__)

CHOICE = "picture"  # of `vllm_with_series`


def wants_pictures(args: Any, processor: Any) -> bool:
    """Whether a run is to draw what its model could hear, as vLLM generates for it."""
    chosen = getattr(args, "vllm_with_series", None) == CHOICE
    return chosen and bool(getattr(args, "use_vllm", False)) and hub.takes_series(processor)


def plain_for_vllm(model: Any, processor: Any, args: Any) -> tuple[Any, Any]:
    """Returns a model without its encoder of series, and its processor, as vLLM can serve it.

    They are written into the folder `base` of the run, where vLLM and an adapter find them.

    Args:
        model: that takes series, with the weights to start from.
        processor: of the model.
        args: of the run.

    Raises:
        OptionError: if the model takes no images, in which series could be drawn.
    """
    if not hub.takes_images(processor):
        raise OptionError(
            f"vllm_with_series={CHOICE!r}: the model takes no images, so series cannot be drawn "
            "for it. Set vllm_with_series='transformers', or take a model made from Qwen2.5-VL or "
            "Qwen3-VL."
        )
    folder = Path(args.output_dir) / hub.BASE_FOLDER
    logger.warning(
        "vLLM takes no series: recordings are drawn as pictures, and the model is trained without "
        "its encoder of series, from %s. What this run saves takes text and images only.",
        folder,
    )
    with args.main_process_first(desc="writing the model for vLLM"):
        if args.should_save:
            write_backbone(model, processor, folder)
    plain = hub.load_model(folder, dtype=model.dtype)
    return plain, hub.load_processor(folder)


def drawn_run(
    model: Any, args: Any, dataset: Any, others: Sequence[Any], named: Mapping[str, Any]
) -> tuple[Any, Any, dict[str, Any]]:
    """Returns model, training rows and named arguments of a trainer that goes by pictures.

    Args:
        model: as `GRPOTrainer` takes it: loaded, or named.
        args: of the run.
        dataset: to train on.
        others: arguments of `GRPOTrainer` by place, from `eval_dataset` on.
        named: its other arguments.

    Raises:
        OptionError: if the model takes no images, or the rows are a stream.
    """
    from trl import GRPOTrainer

    names = list(inspect.signature(GRPOTrainer.__init__).parameters)[5:]
    named = {**dict(zip(names, others, strict=False)), **named}
    processor = named.get("processing_class")
    if isinstance(model, str):
        model, processor = hub.load_model(model), processor or hub.load_processor(model)
    processor = processor or hub.load_processor(model.config._name_or_path)
    model, named["processing_class"] = plain_for_vllm(model, processor, args)
    held_out = named.get("eval_dataset")
    if isinstance(held_out, Mapping):
        named["eval_dataset"] = {key: _drawn(rows) for key, rows in held_out.items()}
    elif held_out is not None:
        named["eval_dataset"] = _drawn(held_out)
    lora = named.get("peft_config")
    if lora is not None and lora.modules_to_save:
        lora.modules_to_save = [one for one in lora.modules_to_save if one not in SERIES_MODULES]
    return model, _drawn(dataset), named


def _drawn(dataset: Any) -> Any:
    if not hasattr(dataset, "__len__"):
        raise OptionError(
            f"vllm_with_series={CHOICE!r} draws all recordings before the run, and the rows are a "
            "stream. Give them as images, or set vllm_with_series='transformers'."
        )
    return with_images(dataset)
