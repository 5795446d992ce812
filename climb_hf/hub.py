"""Checkpoints as other people meet them: loading one, and letting it answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from climb_hf.errors import CheckpointError, DataNotFoundError, OptionError
from climb_hf.model_card import ADAPTER_FILE, model_card, write_model_card

__all__ = [
    "answer",
    "base_of",
    "generate",
    "is_adapter",
    "load_for_inference",
    "load_merged",
    "load_model",
    "load_processor",
    "model_card",
    "processor_home",
    "rendered",
    "takes_images",
    "takes_series",
    "with_placeholders",
    "write_model_card",
]

BASE_FOLDER = "base"  # where a run puts the model that its adapter belongs to, if that is local
MERGED_FOLDER = "merged"
_SERIES = "time_series"  # type of a block that stands for a series
WEIGHT_KINDS = ("*.safetensors", "pytorch_model*.bin")


# ---- loading ------------------------------------------------------------------------------------


def is_adapter(name: str | Path) -> bool:
    """Whether `name` is a folder that holds a PEFT adapter."""
    return (Path(name) / ADAPTER_FILE).is_file()


def load_model(name: str | Path, **options: Any) -> Any:
    """Loads a model from a folder or the Hub: image-text-to-text where it takes images, else text.

    Args:
        options: of `from_pretrained`; `revision` and `trust_remote_code` go to the config too.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    shared = {key: options[key] for key in ("revision", "trust_remote_code") if key in options}
    config = AutoConfig.from_pretrained(name, **shared)
    sees = type(config) in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING
    sees = sees or "AutoModelForImageTextToText" in (getattr(config, "auto_map", None) or {})
    kind = AutoModelForImageTextToText if sees else AutoModelForCausalLM
    return kind.from_pretrained(name, **options)


def load_processor(name: str | Path, **options: Any) -> Any:
    """Loads the processor of a model, or its tokenizer where it takes text only; padding left.

    A Qwen2-VL or Qwen2.5-VL loads without torchvision too, and then takes no videos.
    """
    from transformers import AutoConfig, AutoProcessor
    from transformers.utils import is_torchvision_available

    from climb_hf.models.tiny import ImageTextProcessor  # importing it registers it

    kind: Any = AutoProcessor
    if not is_torchvision_available():
        described = base_of(name) if is_adapter(name) else name
        model_type = AutoConfig.from_pretrained(described, **options).model_type
        kind = ImageTextProcessor if model_type in ("qwen2_vl", "qwen2_5_vl") else AutoProcessor
    processor = kind.from_pretrained(name, **options)
    tokenizer = getattr(processor, "tokenizer", processor)
    tokenizer.padding_side = "left"  # answers grow at the right edge
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return processor


def takes_images(processor: Any) -> bool:
    """Whether this is a processor with an image side, and no bare tokenizer."""
    return getattr(processor, "image_processor", None) is not None


def takes_series(processor: Any) -> bool:
    """Whether this is a processor that puts series into a chat."""
    return hasattr(processor, "series_config")


def base_of(folder: str | Path) -> str:
    """Returns the base model of an adapter: a folder that travels with it, else what it names.

    Raises:
        CheckpointError: if neither is there.
    """
    folder = Path(folder)
    named = json.loads((folder / ADAPTER_FILE).read_text()).get("base_model_name_or_path")
    for beside in (folder / BASE_FOLDER, folder.parent / BASE_FOLDER):  # parent: of a checkpoint
        if (beside / "config.json").is_file():
            return str(beside)
    if not named or (Path(named).is_absolute() and not Path(named).is_dir()):
        raise CheckpointError(
            f"the adapter in {folder} belongs to the base model {named!r}, which is not there, "
            f"and there is no folder {BASE_FOLDER!r} beside it. Put the base model into "
            f"{folder / BASE_FOLDER}, or set base_model_name_or_path in {ADAPTER_FILE}."
        )
    return str(named)


def load_for_inference(
    folder: str | Path, *, device: str | None = None, dtype: str = "auto"
) -> tuple[Any, Any]:
    """Loads what a training run saved: an adapter with its base, or a whole model.

    Args:
        folder: of the run, or one of its checkpoints, or a name on the Hub.
        device: such as `cuda`; None takes a GPU where there is one.
        dtype: of the weights, `auto` as they were saved.

    Returns:
        The model in evaluation mode, adapter merged, and its processor (or tokenizer).

    Raises:
        DataNotFoundError: if the folder holds no model.
        CheckpointError: if the base model of an adapter cannot be found.
    """
    import torch

    _check_folder(Path(folder))
    folder = _fetched(folder)
    load = load_merged if is_adapter(folder) else load_model
    model = load(folder, dtype=dtype)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return model.to(device).eval(), load_processor(processor_home(folder))


def load_merged(folder: str | Path, **options: Any) -> Any:
    """Loads the base model of the adapter in `folder` and merges the adapter into it."""
    from peft import PeftModel

    model = PeftModel.from_pretrained(load_model(base_of(folder), **options), str(folder))
    return model.merge_and_unload()


def _fetched(name: str | Path) -> str | Path:
    """The folder of an adapter that is on the Hub; whatever else is named is returned as it is."""
    from transformers.utils.peft_utils import find_adapter_config_file

    if Path(name).is_dir() or find_adapter_config_file(str(name)) is None:
        return name
    from huggingface_hub import snapshot_download

    return snapshot_download(str(name), ignore_patterns=["checkpoint-*", f"{MERGED_FOLDER}/*"])


def _check_folder(folder: Path) -> None:
    """Raises DataNotFoundError for a folder without a model; a Hub id passes."""
    looks_local = folder.is_absolute() or len(folder.parts) > 2 or folder.is_dir()
    if not looks_local or is_adapter(folder) or (folder / "config.json").is_file():
        return
    runs = sorted(path.name for path in folder.glob("checkpoint-*")) if folder.is_dir() else []
    hint = f" It holds {', '.join(runs)}: name one of them." if runs else ""
    raise DataNotFoundError(
        f"{folder} holds no model: neither {ADAPTER_FILE} nor config.json is there.{hint} "
        "Give the folder that a training script wrote to (its --output_dir)."
    )


def processor_home(folder: str | Path) -> str:
    """Where the processor of a checkpoint lies: in it, or with its base model."""
    folder = Path(folder)
    has_own = (folder / "tokenizer_config.json").is_file()
    return base_of(folder) if is_adapter(folder) and not has_own else str(folder)


# ---- answering ----------------------------------------------------------------------------------


def answer(
    model: Any,
    processor: Any,
    prompt: str | Sequence[Mapping[str, Any]],
    images: Sequence[Any] = (),
    max_new_tokens: int = 256,
    series: Sequence[Any] = (),
) -> str:
    """Returns the model's most likely answer, written out greedily.

    Args:
        prompt: a question, or a conversation of {role, content}.
        images: PIL images, shown before the first user text.
        max_new_tokens: where the answer is cut at the latest.
        series: what the column `series` of a row may hold, shown before the images.
    """
    return generate(model, processor, [prompt], [images], max_new_tokens, [series])[0]


def generate(
    model: Any,
    processor: Any,
    prompts: Sequence[str | Sequence[Mapping[str, Any]]],
    images: Sequence[Sequence[Any]],
    max_new_tokens: int = 256,
    series: Sequence[Sequence[Any]] | None = None,
) -> list[str]:
    """Answers a batch greedily; rows with no, one and several images or series may be mixed.

    Images and series are left out, without a word, where the processor takes none.

    Args:
        prompts: a question or a conversation each.
        images: a list of PIL images each.
        max_new_tokens: where an answer is cut at the latest.
        series: a list of series each; None for none at all.

    Raises:
        OptionError: if there are more or fewer lists of images or series than prompts.
    """
    import torch

    if len(prompts) != len(images):
        raise OptionError(f"{len(images)} lists of images were given for {len(prompts)} prompts")
    if series is not None and len(prompts) != len(series):
        raise OptionError(f"{len(series)} lists of series were given for {len(prompts)} prompts")
    inputs = _inputs(processor, prompts, images, series).to(model.device)
    was_training = model.training
    model.eval()
    with torch.inference_mode():
        written = model.generate(**inputs, **_greedy(processor, max_new_tokens))
    model.train(was_training)
    new = written[:, inputs["input_ids"].shape[1] :]
    return processor.batch_decode(new, skip_special_tokens=True)


def with_placeholders(
    prompt: str | Sequence[Mapping[str, Any]], n_images: int, n_series: int = 0
) -> list[dict[str, Any]]:
    """Returns a conversation whose first user message opens with blocks of series, then images.

    Where it has blocks of series already they stay, and none are added.
    """
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    told: list[dict[str, Any]] = [
        {"role": one["role"], "content": _as_blocks(one["content"])} for one in messages
    ]
    placed = any(part.get("type") == _SERIES for one in told for part in one["content"])
    opening = [{"type": _SERIES}] * (0 if placed else n_series) + [{"type": "image"}] * n_images
    first = next((one for one in told if one["role"] == "user"), None)
    if first is not None:
        first["content"] = opening + first["content"]
    return told


def _as_blocks(content: str | Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def rendered(processor: Any, prompt: Any, n_images: int, n_series: int = 0) -> str:
    """Returns the text that the model reads for a prompt, up to where its answer starts.

    Blocks of images and of series are left out where the processor has no side for them.
    """
    messages = with_placeholders(prompt, n_images, n_series)
    sees, hears = takes_images(processor), takes_series(processor)
    unknown = {kind for kind, known in (("image", sees), (_SERIES, hears)) if not known}
    for one in messages:
        one["content"] = [part for part in one["content"] if part.get("type") not in unknown]
        if not (sees or hears):  # templates of text models want plain strings
            one["content"] = "".join(part.get("text", "") for part in one["content"])
    return processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


def _inputs(
    processor: Any,
    prompts: Sequence[Any],
    images: Sequence[Sequence[Any]],
    series: Sequence[Sequence[Any]] | None,
) -> Any:
    """The batch as tensors, padded on the left."""
    from climb_hf.images import to_rgb

    shown = [[*map(to_rgb, own)] if takes_images(processor) else [] for own in images]
    given = series if series is not None and takes_series(processor) else [()] * len(shown)
    texts = [
        rendered(processor, prompt, len(seen), len(own))
        for prompt, seen, own in zip(prompts, shown, given, strict=True)
    ]
    options = {"padding": True, "padding_side": "left", "return_tensors": "pt"}
    options["add_special_tokens"] = False  # the chat template has written them
    if any(given):
        options["series"] = [list(own) for own in given]
    if any(shown):
        return processor(images=shown, text=texts, **options)
    return processor(text=texts, **options)


def _greedy(processor: Any, max_new_tokens: int) -> dict[str, Any]:
    """Options of greedy generation that never writes a placeholder of an image or a series."""
    tokenizer = getattr(processor, "tokenizer", processor)
    names = ("image_token_id", "video_token_id", "time_series_token_id")
    placeholders = [getattr(processor, name, None) for name in names]
    return {
        "max_new_tokens": max_new_tokens,
        "do_sample": False,
        "temperature": None,
        "top_p": None,
        "top_k": None,
        "pad_token_id": tokenizer.pad_token_id,
        "suppress_tokens": [one for one in placeholders if one is not None] or None,
    }
