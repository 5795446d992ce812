"""`climb-hf ask`: one question to a checkpoint, with series and images."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from climb_hf.cli import shared

RESEARCH = "For research only: not a medical device, and no advice for a patient."
_CLOSING = "Reason step by step, then write the final answer inside \\boxed{}."
_EMPTY = "(none)"


def add(commands: Any) -> None:
    """Adds the command to the parser."""
    command = commands.add_parser(
        "ask",
        help="one question to a checkpoint, with series and images",
        description="Asks a model one question and shows its reasoning, the boxes that it marks "
        f"and its answer apart. {RESEARCH}",
    )
    command.add_argument("checkpoint", help="folder that training wrote, or a model of the Hub")
    command.add_argument("question", help="what to ask")
    # Each value has its flag, as a flag that takes several would swallow the question.
    repeated: dict[str, Any] = {"action": "append", "default": []}
    command.add_argument("--series", metavar="REC.hea", **repeated, help="a WFDB header; repeat")
    command.add_argument("--image", metavar="FILE", **repeated, help="a picture; repeat")
    command.add_argument("--option", metavar="TEXT", **repeated, help="a possible answer; repeat")
    command.add_argument("--max-new-tokens", type=shared.positive, default=512, help="default: 512")
    shared.add_json(command)
    command.set_defaults(run=_ask)


def _ask(known: argparse.Namespace) -> int:
    from climb_hf.errors import OptionError
    from climb_hf.hub import answer

    if not known.question.strip():
        raise OptionError(
            'there is no question. Put it last, in quotes: climb-hf ask CHECKPOINT "Which finding?"'
        )
    # What was given is read first, as loading a model takes long.
    images = [_image(path) for path in known.image]
    series = _series(known.series)
    model, processor = _load(known.checkpoint)
    _check_sides(known, processor)
    prompt = question_with(known.question, known.option)
    text = answer(model, processor, prompt, images, known.max_new_tokens, series=series)
    found = parts(text, known.option)
    if known.json:
        shared.show({**found, "text": text, "note": RESEARCH})
    else:
        _print(found, bool(known.option))
    return 0


# ---- what is asked ------------------------------------------------------------------------------


def question_with(question: str, options: Sequence[str]) -> str:
    """Returns the question as training words it: lettered options, then how to answer."""
    lines = [question.strip()]
    if options:
        lettered = [f"({chr(ord('A') + at)}) {option}" for at, option in enumerate(options)]
        lines.append(f"Options: {', '.join(lettered)}.")
    return "\n".join([*lines, _CLOSING])


def _series(paths: Sequence[str]) -> list[Any]:
    if not paths:
        return []
    from climb_hf.models.series_input import as_signal

    return [as_signal(path) for path in paths]


def _image(path: str) -> Any:
    from PIL import Image, UnidentifiedImageError

    from climb_hf.errors import CorruptFileError, DataNotFoundError
    from climb_hf.images import to_rgb

    if not Path(path).is_file():
        raise DataNotFoundError(f"--image {path} is not there. Give the path of a picture.")
    try:
        with Image.open(path) as opened:
            opened.load()
            return to_rgb(opened)
    except (UnidentifiedImageError, OSError) as error:
        raise CorruptFileError(
            f"--image {path} cannot be read as a picture: {error}. Give a PNG or a JPEG."
        ) from error


def _load(checkpoint: str) -> tuple[Any, Any]:
    from climb_hf.errors import CheckpointError, ClimbError
    from climb_hf.hub import load_for_inference

    try:
        return load_for_inference(checkpoint)
    except ClimbError:
        raise
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{checkpoint} cannot be loaded as a model: {error} Give the folder that a training "
            "script wrote to (its --output_dir), or the id of a model of the Hub."
        ) from error


def _check_sides(known: argparse.Namespace, processor: Any) -> None:
    from climb_hf.errors import OptionError
    from climb_hf.hub import takes_images, takes_series

    if known.series and not takes_series(processor):
        raise OptionError(
            f"--series was given, and {known.checkpoint} takes no series. Take a model made by "
            "climb_hf.from_backbone, or draw the series and give the picture as --image."
        )
    if known.image and not takes_images(processor):
        raise OptionError(
            f"--image was given, and {known.checkpoint} takes no images. Leave it out, or take an "
            "image-text-to-text model."
        )


# ---- what is answered ---------------------------------------------------------------------------


def parts(text: str, options: Sequence[str] = ()) -> dict[str, Any]:
    r"""Returns what a model wrote, taken apart.

    Returns:
        `thinking` (between think tags, or None), `reasoning` (what else stands before the last
        box), `boxes` (the first JSON list of objects with `bbox_2d` or `bbox`, or of lists of four
        numbers, or None), `answer` (content of the last `\boxed{}`, or None) and `picks` (the
        options that it names).
    """
    from climb_hf.answers import parse

    thinking, visible = _thinking(text)
    found = parse(visible, options)
    before = visible if found.boxed is None else visible[: _box_start(visible, found.boxed)]
    boxes, span = _boxes(visible)
    if span is not None and span[1] <= len(before):
        before = before[: span[0]] + before[span[1] :]
    return {
        "thinking": thinking,
        "reasoning": before.strip(),
        "boxes": boxes,
        "answer": found.boxed,
        "picks": list(found.picks),
    }


def _box_start(text: str, content: str) -> int:
    """Where the last closed box begins; an open one may follow it."""
    from climb_hf.answers import boxed

    at = text.rfind("\\boxed")
    while at > 0 and boxed(text[at:]) != content:
        at = text.rfind("\\boxed", 0, at)
    return at


def _thinking(text: str) -> tuple[str | None, str]:
    """What stands between think tags, and the rest; an open tag thinks to the end."""
    head, closed, tail = text.rpartition("</think>")
    if closed:
        return head.replace("<think>", "").strip(), tail
    before, opened, inside = text.partition("<think>")
    return (inside.strip(), before) if opened else (None, text)


def _boxes(text: str) -> tuple[list[Any] | None, tuple[int, int] | None]:
    """The first JSON list of objects or of lists of four numbers, and where it stands."""
    decoder = json.JSONDecoder()
    at = text.find("[")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (json.JSONDecodeError, RecursionError):
            end, value = at + 1, None
        if isinstance(value, list) and value and all(map(_is_box, value)):
            return value, (at, end)
        at = text.find("[", at + 1)
    return None, None


def _is_box(value: Any) -> bool:
    corners = value.get("bbox_2d", value.get("bbox")) if isinstance(value, dict) else value
    if not isinstance(corners, list) or len(corners) != 4:
        return False
    return all(isinstance(one, (int, float)) for one in corners)


def _print(found: dict[str, Any], chosen: bool) -> None:
    shown = {
        "Thinking": found["thinking"],
        "Reasoning": found["reasoning"] or _EMPTY,
        "Boxes": None if found["boxes"] is None else json.dumps(found["boxes"]),
        "Answer": found["answer"] or "(no boxed answer)",
        "Options named": (", ".join(found["picks"]) or _EMPTY) if chosen else None,
    }
    for heading, body in shown.items():
        if body is not None:
            print(f"{heading}\n{'-' * len(heading)}\n{body}\n")
    print(RESEARCH)
