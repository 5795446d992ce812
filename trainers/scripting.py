"""What the entry scripts share: arguments, questions with their images, model, LoRA, saving.

Heavy packages are imported inside the functions, so that `--help` of a script stays quick.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from climb_hf.check import check_option, nearest
from climb_hf.errors import ClimbError, DataNotFoundError, OptionError
from climb_hf.trainers.script_data import (
    draw_samples,
    filter_long,
    fit_to,
    generate_answers,
    load_questions,
    series_as_of,
    with_completions,
    with_images,
)
from climb_hf.trainers.script_push import check_push, push
from climb_hf.trainers.script_saving import finish, keep_base, rename

__all__ = [
    "ScriptArguments",
    "accelerate_config",
    "check_push",
    "draw_samples",
    "filter_long",
    "finish",
    "fit_to",
    "generate_answers",
    "keep_base",
    "load_model_and_processor",
    "load_questions",
    "load_splits",
    "lora_config",
    "parse",
    "push",
    "recipe",
    "resume_from",
    "reward_functions",
    "run",
    "series_as_of",
    "with_completions",
    "with_images",
]

logger = logging.getLogger(__name__)

TINY = "tiny"
TINY_SERIES = "tiny_series"
FRESH = "fresh"
DEFAULT_REWARDS = ("answer_f1", "answer_format")
# Parts of a model that see or hear; LoRA goes to the language model unless it is told otherwise.
_SENSES = ("visual", "vision", "audio", "image", "time_series", "projector", "lm_head")


@dataclass
class ScriptArguments:
    """Data, rewards and saving of a training script; the rest is TRL's."""

    dataset_name: str = field(
        default="ecg",
        metadata={"help": "Config of `climb`: a source (ptb_xl), a modality (ecg), or all."},
    )
    data_dir: str | None = field(
        default=None,
        metadata={"help": "Folder with the raw data; without it CLIMB_DATA_DIR is used."},
    )
    question: str | None = field(
        default=None,
        metadata={"help": "Style of the questions: `set` (every finding) or `choice` (one)."},
    )
    prompt_suffix: str | None = field(
        default=None,
        metadata={
            "help": "Text added to every question, such as how boxes or a confidence are written, "
            "which rewards may ask for. To every one, or it tells which have a finding to box."
        },
    )
    label_set: str | None = field(
        default=None, metadata={"help": "Label set of the sources; None takes each card's."}
    )
    split_rule: str | None = field(
        default=None, metadata={"help": "official, stratified or hash; None takes each card's."}
    )
    dataset_options: str | None = field(
        default=None,
        metadata={
            "help": "More options of load_dataset as JSON, or as a mapping in YAML, such as "
            '{"length": "raw", "options": {"ptb_xl": {"axis_as_hyp": false}}}.'
        },
    )
    train_split: str = field(default="train", metadata={"help": "Split to train on."})
    eval_split: str = field(default="validation", metadata={"help": "Split to evaluate on."})
    max_train_samples: int | None = field(
        default=None,
        metadata={"help": "Most rows to train on, drawn by a hash of id and seed."},
    )
    max_eval_samples: int | None = field(
        default=None, metadata={"help": "Most rows to evaluate on, drawn in the same way."}
    )
    max_prompt_length: int | None = field(
        default=None,
        metadata={
            "help": "Questions with more tokens, image tokens included, are left out and counted. "
            "Nothing is ever cut, as that would part an image from its tokens."
        },
    )
    series_as: str | None = field(
        default=None,
        metadata={
            "help": "How the model meets recordings: signal, picture (a sheet) or both. Without it "
            "a signal where the model takes series, else a picture."
        },
    )
    series_encoder: str | None = field(
        default=None,
        metadata={
            "help": "Gives a model that takes no series an encoder of them: `fresh`, or the folder "
            "of a trained one."
        },
    )
    image_width_px: int = field(
        default=1000, metadata={"help": "Width of the sheets that recordings are drawn on, px."}
    )
    n_frames: int = field(
        default=4, metadata={"help": "Frames shown of each volume and of each clip."}
    )
    num_proc: int | None = field(
        default=None, metadata={"help": "Processes that read and draw recordings."}
    )
    boxed_share: float = field(
        default=1.0,
        metadata={
            "help": "train_sft: share of the answers that are taught in a box. Below 1 the model "
            "learns the box by halves, and DRPO the rest: for demonstrations."
        },
    )
    reward_funcs: list[str] | None = field(
        default=None,
        metadata={
            "help": "DRPO: rewards of climb_hf by name, or package.module.function; without them "
            f"{' and '.join(DEFAULT_REWARDS)}."
        },
    )
    reward_preset: str | None = field(
        default=None,
        metadata={
            "help": "DRPO: rewards and weights of `paper` or `released`, in place of reward_funcs "
            "and reward_weights."
        },
    )
    score_answers: bool = field(
        default=False,
        metadata={"help": "At the end, answer eval_split and put the table on the model card."},
    )
    copy_base: bool = field(
        default=True,
        metadata={
            "help": "LoRA on a local model: keep that model in the folder `base` beside the "
            "adapter, so that the output loads on any machine."
        },
    )
    merge_adapter: bool = field(
        default=False,
        metadata={"help": "LoRA: also save the whole model, adapter merged, in `merged`."},
    )


# ---- running ------------------------------------------------------------------------------------


def recipe(name: str) -> Path:
    """Returns the path of a recipe that ships with climb-hf, such as `tiny_cpu_drpo`.

    Raises:
        OptionError: if there is none of that name; those that exist are listed.
    """
    return _shipped("recipe", "*.yaml", name)


def accelerate_config(name: str) -> Path:
    """Returns the path of a config of `accelerate launch` that ships with climb-hf, such as `ddp`.

    Raises:
        OptionError: if there is none of that name; those that exist are listed.
    """
    return _shipped("config of accelerate", "accelerate/*.yaml", name)


def _shipped(what: str, pattern: str, name: str) -> Path:
    found = {path.stem: path for path in sorted((Path(__file__).parent / "recipes").glob(pattern))}
    stem = name.removesuffix(".yaml")
    if stem not in found:
        raise OptionError(
            f"there is no {what} {name!r}. There are: {', '.join(found)}.{nearest(stem, found)}"
        )
    return found[stem]


def parse(parser: Any, argv: Sequence[str] | None = None) -> tuple[Any, ...]:
    """Parses a command line; `--config` takes a YAML file or the name of a recipe.

    Raises:
        OptionError: if `--config` names neither.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    argv = [part for one in argv for part in _split_config(one)]
    if "--config" in argv[:-1]:
        at = argv.index("--config") + 1
        if not Path(argv[at]).is_file():
            argv[at] = str(recipe(argv[at]))
    return parser.parse_args_and_config(argv)


def _split_config(argument: str) -> list[str]:
    """`--config=x` as the two words that TRL looks for."""
    return argument.split("=", 1) if argument.startswith("--config=") else [argument]


def load_splits(args: ScriptArguments, training_args: Any, processor: Any) -> tuple[Any, Any]:
    """Returns the training rows, and the evaluation rows where the run uses them, else None.

    Their recordings are what the processor takes: signals, pictures or both.
    """
    shared = {"seed": training_args.seed, "series_as": series_as_of(args, processor)}
    with training_args.main_process_first(desc="loading questions"):  # the others read its cache
        train = load_questions(args, args.train_split, max_samples=args.max_train_samples, **shared)
        if not (training_args.do_eval or args.score_answers):
            return train, None
        held_out = load_questions(
            args, args.eval_split, max_samples=args.max_eval_samples, **shared
        )
    return train, held_out


def run(make_parser: Callable[[], Any], main: Callable[..., None]) -> None:
    """Runs an entry script; an error of climb-hf ends it with one line in place of a traceback."""
    try:
        main(*parse(make_parser()))
    except ClimbError as error:
        sys.exit(f"{type(error).__name__}: {error}")


def resume_from(args: Any) -> str | None:
    """Returns the checkpoint that `--resume_from_checkpoint` means.

    `true` and `latest` mean the last one in `output_dir`, and a fresh start where there is none,
    so that the same command can be sent to a queue again and again.

    Raises:
        DataNotFoundError: if a path was given and no checkpoint lies there.
    """
    from transformers.trainer_utils import get_last_checkpoint

    wanted = args.resume_from_checkpoint
    if wanted is None or str(wanted).lower() == "false":
        return None
    folder = Path(args.output_dir)
    if str(wanted).lower() in ("true", "latest"):
        last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
        if last is None:
            logger.warning("No checkpoint in %s: training starts from the beginning.", folder)
        return last
    if not (Path(wanted) / "trainer_state.json").is_file():
        there = sorted(path.name for path in folder.glob("checkpoint-*"))
        listed = f"{folder} holds {', '.join(there)}" if there else f"{folder} holds none"
        raise DataNotFoundError(
            f"resume_from_checkpoint={wanted!r} is no checkpoint: trainer_state.json is not there. "
            f"{listed}. Give one of them, or `latest`."
        )
    return str(wanted)


# ---- model --------------------------------------------------------------------------------------


def load_model_and_processor(
    model_args: Any,
    *,
    trust_remote_code: bool = False,
    series_encoder: str | None = None,
    seed: int = 0,
) -> tuple[Any, Any]:
    """Loads the model to train: image-text-to-text where it takes images, else a causal one.

    An adapter's folder is loaded with its base and merged, so that a new LoRA can be trained on
    top of it. The names `tiny` and `tiny_series` build climb-hf's own tiny models with random
    weights; the second takes series too.

    Args:
        model_args: `trl.ModelConfig`.
        trust_remote_code: whether code in a Hub repository may run.
        series_encoder: `fresh` or the folder of a trained encoder, for a model that has none.
        seed: of a fresh encoder's weights.

    Raises:
        OptionError: if no model is named, or one with an encoder is to get another.
    """
    model, processor = _loaded(model_args, trust_remote_code)
    if series_encoder is None:
        return model, processor
    return _with_series(model, processor, series_encoder, seed)


def _with_series(model: Any, processor: Any, wanted: str, seed: int) -> tuple[Any, Any]:
    from transformers import set_seed

    from climb_hf.hub import takes_series
    from climb_hf.models.compose import compose

    if takes_series(processor):
        raise OptionError(
            f"series_encoder={wanted!r}: the model takes series already. Leave it out to train on "
            "with its encoder."
        )
    set_seed(seed)
    tokenizer = getattr(processor, "tokenizer", processor)
    if tokenizer.chat_template is None:  # older checkpoints keep it with the processor
        tokenizer.chat_template = getattr(processor, "chat_template", None)
    images = getattr(processor, "image_processor", None)
    return compose(model, tokenizer, images, series_encoder=None if wanted == FRESH else wanted)


def _loaded(model_args: Any, trust_remote_code: bool) -> tuple[Any, Any]:
    from climb_hf import hub

    name = model_args.model_name_or_path
    if not name:
        raise OptionError(
            "model_name_or_path is not given. Name a folder, a Hub model such as "
            f"Qwen/Qwen2.5-VL-7B-Instruct, or {TINY!r} or {TINY_SERIES!r} for a dry run."
        )
    if name == TINY and not Path(name).exists():
        from climb_hf.models.tiny import tiny_vlm

        return tiny_vlm(image_size=224)
    if name == TINY_SERIES and not Path(name).exists():
        from climb_hf.models.tiny_series import tiny_series_vlm

        return tiny_series_vlm(image_size=224)
    options = _model_options(model_args, trust_remote_code)
    if hub.is_adapter(name):
        model = hub.load_merged(name, **options)
        rename(model, name)
        return model, hub.load_processor(hub.processor_home(name))
    shared = {"revision": model_args.model_revision, "trust_remote_code": trust_remote_code}
    model = hub.load_model(name, **shared, **options)
    return model, hub.load_processor(name, **shared)


def _model_options(model_args: Any, trust_remote_code: bool) -> dict[str, Any]:
    from accelerate import PartialState
    from trl import get_quantization_config

    options: dict[str, Any] = {"dtype": model_args.dtype}
    if model_args.attn_implementation:
        options["attn_implementation"] = model_args.attn_implementation
    quantization = get_quantization_config(model_args)
    if quantization is not None:
        here = {"": PartialState().local_process_index}  # quantised weights cannot be moved later
        options |= {"quantization_config": quantization, "device_map": here}
    return options


def lora_config(model_args: Any, model: Any) -> Any:
    """Returns the LoRA of `--use_peft`, kept to the language model; None where it is off.

    Without `--lora_target_modules` every linear layer of the language model gets one, the head
    excepted. A list of layer names is kept to the language model too; a pattern is used as it is.
    An encoder of series is trained in full beside it.
    """
    from trl import get_peft_config

    from climb_hf.trainers.drpo_series import modules_to_save

    config: Any = get_peft_config(model_args)
    if config is not None:
        config.target_modules = _targets(model_args.lora_target_modules, model)
        config.modules_to_save = modules_to_save(model, config.modules_to_save)
    return config


def _targets(wanted: str | list[str] | None, model: Any) -> Any:
    """A pattern for PEFT, which matches it against whole module names."""
    import re

    if isinstance(wanted, str) and wanted != "all-linear":
        if re.search(r"[^\w.-]", wanted):
            return wanted
        wanted = [wanted]
    linear = [name for name, part in model.named_modules() if _is_linear(part)]
    reading = [name for name in linear if not any(word in name for word in _SENSES)]
    chosen = reading
    if isinstance(wanted, (list, tuple, set)):
        chosen = [name for name in reading if name.split(".")[-1] in set(wanted)]
    if not chosen:
        leaves = sorted({name.split(".")[-1] for name in reading})
        raise OptionError(
            f"lora_target_modules={wanted!r} names no linear layer of the language model. It has: "
            f"{', '.join(leaves)}."
        )
    leaves = sorted({name.split(".")[-1] for name in chosen})
    inside = r".*\blanguage_model\b" if any("language_model." in one for one in chosen) else ""
    return rf"{inside}.*\.({'|'.join(map(re.escape, leaves))})"


def _is_linear(part: Any) -> bool:
    """Whether a module is a linear layer, quantised ones included."""
    import torch

    return isinstance(part, torch.nn.Linear) or type(part).__name__ in (
        "Linear4bit",
        "Linear8bitLt",
    )


def reward_functions(args: ScriptArguments, training_args: Any) -> list[Callable[..., Any]]:
    """Returns the rewards by name; where no weights are given, known rewards get climb-hf's.

    Raises:
        OptionError: if a reward or a preset is unknown, or a preset stands beside what it sets.
    """
    from climb_hf.trainers.drpo_rewards import DEFAULT_WEIGHTS, PRESETS, reward_by_name

    names = args.reward_funcs or list(DEFAULT_REWARDS)
    weights = DEFAULT_WEIGHTS
    if args.reward_preset is not None:
        weights = PRESETS[check_option("reward_preset", args.reward_preset, tuple(PRESETS))]
        told = {"reward_funcs": args.reward_funcs, "reward_weights": training_args.reward_weights}
        listed = " and ".join(f"{name}={one!r}" for name, one in told.items() if one is not None)
        if listed:
            raise OptionError(
                f"reward_preset={args.reward_preset!r} sets rewards and weights, but {listed} is "
                "given too, perhaps in the file of --config. Leave one of them out; the preset is "
                f"{', '.join(f'{name} {weight}' for name, weight in weights.items())}."
            )
        names = list(weights)
    functions = [reward_by_name(name) for name in names]
    if training_args.reward_weights is None and set(names) <= set(weights):
        training_args.reward_weights = [weights[name] for name in names]
    return functions
