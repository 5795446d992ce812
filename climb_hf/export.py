"""The language model of a checkpoint without its encoder of series, as any other tool loads it.

    python -m climb_hf.export runs/drpo runs/drpo-plain

What is written is an ordinary checkpoint of the backbone's own type, adapter merged: transformers,
vLLM and converters to other formats read it where climb_hf is not installed. It answers to text and
images as the whole model does; an ECG it sees as a picture.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from climb_hf import hub
from climb_hf.errors import CheckpointError, ClimbError, OptionError

# Found by its own name; transformers would take the one of Qwen2-VL from the image processor's.
_VIDEO_PROCESSORS = {"qwen3_vl": "Qwen3VLVideoProcessor"}
_SIZES = ("patch_size", "temporal_patch_size", "merge_size")


def export_backbone(source: str | Path, target: str | Path) -> Path:
    """Writes the language model of a checkpoint, without its encoder of series, as its own type.

    Args:
        source: what `climb_hf.hub.load_for_inference` loads: the folder of a run with an adapter,
            a whole model that takes series, or a model of the Hub.
        target: folder to write, empty or not there yet.

    Returns:
        `target`.

    Raises:
        OptionError: if `target` holds files.
        CheckpointError: if the model takes no series, so that there is nothing to leave out.
    """
    target = Path(target)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise OptionError(f"{target} is there and not empty. Name a new folder to export into.")
    model, processor = hub.load_for_inference(source, device="cpu")
    if not hub.takes_series(processor):
        raise CheckpointError(
            f"{source} takes no series, so there is nothing to leave out. It loads without "
            "climb_hf as it is; an adapter is merged by --merge_adapter of the training scripts."
        )
    write_backbone(model, processor, target)
    return target


def write_backbone(model: Any, processor: Any, target: Path) -> None:
    """Writes what `export_backbone` does, of a model in memory, which stays as it is."""
    target.mkdir(parents=True, exist_ok=True)
    shell = _empty_backbone(model.config)
    shell.config.dtype = model.dtype
    shell.generation_config = copy.deepcopy(model.generation_config)
    shell.save_pretrained(target, state_dict=_own_weights(shell, model))
    _add_older_names(target / "config.json")
    _save_tokenizer(processor, target)
    if hub.takes_images(processor):
        _save_image_processor(processor.image_processor, shell.config.model_type, target)


def _empty_backbone(config: Any) -> Any:
    """The model that `climb_hf.from_backbone` was given, without weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

    from climb_hf.models.compose import kept_settings

    families = {ours: name for name, (ours, _) in _image_families().items()}
    kind: Any
    if type(config) in families:
        kind = AutoModelForImageTextToText
        plain = AutoConfig.for_model(families[type(config)], **kept_settings(config))
    else:
        kind, plain = AutoModelForCausalLM, copy.deepcopy(config.text_config)
    if config.backbone_vocab_size is not None:
        plain.get_text_config().vocab_size = config.backbone_vocab_size
    with torch.device("meta"):
        return kind.from_config(plain)


def _own_weights(shell: Any, model: Any) -> dict[str, Any]:
    """The weights of a model by the names that its backbone has for them."""
    held = model.state_dict()
    inner = "" if shell.config.model_type in _image_families() else f"{shell.base_model_prefix}."
    cut: dict[int, Any] = {}  # a table that is the head too stays one
    state = {}
    for name, empty in shell.state_dict().items():
        ours = name
        if inner:
            within = name.removeprefix(inner)
            ours = "lm_head.weight" if within == name else f"model.language_model.{within}"
        weight = held[ours]
        if weight.shape != empty.shape:  # the placeholder had no room in the vocabulary
            weight = cut.setdefault(weight.data_ptr(), weight[: len(empty)].clone())
        state[name] = weight
    return state


def _image_families() -> dict[str, Any]:
    from climb_hf.models.compose import IMAGE_FAMILIES

    return IMAGE_FAMILIES


# ---- settings, tokenizer and images -------------------------------------------------------------


def _add_older_names(path: Path) -> None:
    """Says again by the names of transformers 4 what 5 has renamed; it reads both.

    Other tools may still read by those, and take a setting that they miss for its default.
    """
    told = json.loads(path.read_text(encoding="utf-8"))
    text = told.get("text_config", told)
    rope = dict(text.get("rope_parameters") or {})
    if "rope_theta" in rope:
        text["rope_theta"] = rope.pop("rope_theta")
        text["rope_scaling"] = None if rope == {"rope_type": "default"} else rope
    told["torch_dtype"] = told["dtype"]
    path.write_text(json.dumps(told, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _save_tokenizer(processor: Any, target: Path) -> None:
    """Writes the tokenizer without the placeholder, and its chat template."""
    from climb_hf.models.series_config import PLACEHOLDER

    tokenizer = copy.deepcopy(processor.tokenizer)
    tokenizer.chat_template = processor.chat_template
    tokenizer.save_pretrained(target)
    path = target / "tokenizer.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    added = told["added_tokens"]
    # Where others came after it, their numbers hang on it.
    if added and max(added, key=lambda one: one["id"])["content"] == PLACEHOLDER:
        told["added_tokens"] = [one for one in added if one["content"] != PLACEHOLDER]
        path.write_text(json.dumps(told, ensure_ascii=False, indent=2), encoding="utf-8")
    path = target / "tokenizer_config.json"
    special = json.loads(path.read_text(encoding="utf-8")).get("extra_special_tokens")
    renamed = {"extra_special_tokens": None, "additional_special_tokens": special}
    _rewrite(path, processor_class=None, **(renamed if isinstance(special, list) else {}))


def _save_image_processor(image_processor: Any, family: str, target: Path) -> None:
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    image_processor.save_pretrained(target)
    path = target / "preprocessor_config.json"
    _rewrite(path, processor_class=PROCESSOR_MAPPING_NAMES[family])
    if family in _VIDEO_PROCESSORS:
        sizes = {name: getattr(image_processor, name) for name in _SIZES}
        told = {"video_processor_type": _VIDEO_PROCESSORS[family], **sizes}
        (target / "video_preprocessor_config.json").write_text(json.dumps(told, indent=2))


def _rewrite(path: Path, **changes: Any) -> None:
    """Changes keys of a JSON file; None takes one out."""
    told = {**json.loads(path.read_text(encoding="utf-8")), **changes}
    told = {key: value for key, value in told.items() if value is not None or key not in changes}
    path.write_text(json.dumps(told, ensure_ascii=False, indent=2), encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs `python -m climb_hf.export`."""
    parser = argparse.ArgumentParser(
        prog="python -m climb_hf.export",
        description="Writes the language model of a checkpoint without its encoder of series, "
        "adapter merged, for tools that know nothing of climb_hf.",
    )
    parser.add_argument("source", help="folder that training wrote, or a model of the Hub")
    parser.add_argument("target", help="new folder for the plain model")
    known = parser.parse_args(argv)
    try:
        export_backbone(known.source, known.target)
    except ClimbError as error:
        sys.exit(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
