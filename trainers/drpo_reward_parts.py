"""Rewards beside the answer's: boxes on an image, length, and stated confidence."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from climb_hf.answers import parse, split_gold

Box = tuple[float, float, float, float]

RELEASED_CHARACTERS = 600  # above it the released length reward is 1
FREE_CHARACTERS = 2000
_FENCE = re.compile(r"```[a-z]*\s*(.*?)```", re.DOTALL | re.IGNORECASE)
_CONFIDENCE = re.compile(r"\bconfidence\b\W{0,5}(\d+(?:\.\d+)?)(?![\d.]*\s*%)", re.IGNORECASE)


def completion_text(completion: str | Sequence[dict[str, Any]]) -> str:
    """Returns what the model wrote, from a string or from the messages of a completion.

    Of several messages (a model with tools) it is the last; of content in parts, the text parts.
    """
    if isinstance(completion, str):
        return completion
    content = completion[-1].get("content") if completion else None
    if isinstance(content, list):
        return "".join(part.get("text") or "" for part in content)
    return content or ""


def boxes_in(text: str) -> list[Box]:
    """Returns the boxes of the first fenced JSON list of `{"bbox_2d": [x1, y1, x2, y2]}`, in px.

    A fence that is no such list, and a box that is no box (x1 < x2, y1 < y2), are passed over.
    """
    for block in _FENCE.findall(text.rsplit("</think>", 1)[-1]):
        try:
            items = json.loads(block)
        except (ValueError, RecursionError):
            continue
        if isinstance(items, list):
            found = [_box(one.get("bbox_2d")) for one in items if isinstance(one, dict)]
            return [one for one in found if one is not None]
    return []


def _box(value: Any) -> Box | None:
    if not isinstance(value, (list, tuple)) or len(value) != 4:
        return None
    if not all(isinstance(one, (int, float)) and abs(one) < 1e6 for one in value):
        return None
    x1, y1, x2, y2 = (float(one) for one in value)
    return (x1, y1, x2, y2) if x1 < x2 and y1 < y2 else None


def box_iou(one: Box, other: Box) -> float:
    """Returns intersection over union of two boxes, in [0, 1]."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)]
    return min(1.0, width * height / (sum(areas) - width * height))


def box_iou_best(
    completions: Sequence[Any],
    *,
    boxes: Sequence[Any] | None = None,
    masks: Sequence[Any] | None = None,
    **kwargs: Any,
) -> list[float | None]:
    """IoU of the best pair of a written and a gold box; None where the row has no target.

    This is the paper's. Many boxes raise it for nothing: see `box_iou_mean`.

    Args:
        completions: strings or message lists.
        boxes: per row a list of `{image, label, reader, xyxy}`, in px.
        masks: per row a list of `{image, label, reader, mask}`; a mask, a PIL image, counts by
            the box around what is not zero in it.
    """
    return [None if t is None else max(t, default=0.0) for t in _ious(completions, boxes, masks)]


def box_iou_mean(
    completions: Sequence[Any],
    *,
    boxes: Sequence[Any] | None = None,
    masks: Sequence[Any] | None = None,
    **kwargs: Any,
) -> list[float | None]:
    """Mean, over the written boxes, of each one's best IoU; arguments as of `box_iou_best`."""
    return [
        None if t is None else math.fsum(t) / max(1, len(t))
        for t in _ious(completions, boxes, masks)
    ]


def _ious(completions: Sequence[Any], boxes: Any, masks: Any) -> list[list[float] | None]:
    """Of each completion, each written box's best IoU; None without a target."""
    none = [None] * len(completions)
    found: list[list[float] | None] = []
    for written, own, drawn in zip(completions, boxes or none, masks or none, strict=True):
        gold = [_box(one.get("xyxy")) for one in own or ()]
        gold += [_box(one["mask"].getbbox()) for one in drawn or () if one.get("mask") is not None]
        targets = [one for one in gold if one is not None]
        named = boxes_in(completion_text(written)) if targets else []
        best = [max(box_iou(one, target) for target in targets) for one in named]
        found.append(best if targets else None)
    return found


def length_cap(completions: Sequence[Any], **kwargs: Any) -> list[float]:
    """min(1, max(0, 2 - n / 2000)) of n characters: free up to 2,000, nothing from 4,000 on."""
    lengths = [len(completion_text(one)) for one in completions]
    return [min(1.0, max(0.0, 2.0 - n / FREE_CHARACTERS)) for n in lengths]


def length_released(completions: Sequence[Any], **kwargs: Any) -> list[float]:
    """1 above 600 characters, else n / 1,000, as QoQ-Med's released code pays for length.

    A text of the right length without an answer earns it whole: see `train audit-rewards`.
    """
    lengths = [len(completion_text(one)) for one in completions]
    return [1.0 if n > RELEASED_CHARACTERS else n / 1000 for n in lengths]


def calibrated_confidence(
    completions: Sequence[Any],
    *,
    answer: Sequence[str | None],
    options: Sequence[Sequence[str] | None],
    prompts: Sequence[Any] | None = None,
    **kwargs: Any,
) -> list[float | None]:
    """1 - (c - y)^2 (Brier) of the last `confidence: c`; y is 1 for exactly the gold set, else 0.

    None where the prompt says nothing of confidence or there is no gold set; 0 where it was asked
    for and none in [0, 1] is stated.
    """
    asked = [None] * len(completions) if prompts is None else prompts
    scores: list[float | None] = []
    for written, gold, allowed, prompt in zip(completions, answer, options, asked, strict=True):
        if gold is None or not allowed or "confidence" not in str(prompt).lower():
            scores.append(None)
            continue
        text = completion_text(written)
        stated = _CONFIDENCE.findall(text.rsplit("</think>", 1)[-1])
        level = float(stated[-1]) if stated else math.inf
        said = parse(text, allowed)
        right = said.picks == split_gold(gold, allowed) and not said.unknown
        scores.append(1.0 - (level - right) ** 2 if level <= 1 else 0.0)
    return scores
