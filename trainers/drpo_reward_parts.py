"""Rewards beside the answer's: boxes on an image, length, and stated confidence."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from climb_hf.answers import parse, split_gold

Box = tuple[float, float, float, float]


class Placed(NamedTuple):
    """A box on an image of its row.

    Attributes:
        box: x1, y1, x2, y2 in px.
        image: place of its image in the row, from 0 on.
        label: in lower case; None where none is given.
    """

    box: Box
    image: int
    label: str | None


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


def boxes_in(text: str) -> list[Placed]:
    """Returns the boxes of the first fenced JSON list of `{"bbox_2d": [x1, y1, x2, y2]}`, in px.

    An item may have `image`, the image's place in the row from 0 on (0 without it), and `label`. A
    fence that is no such list, and a box that is no box (x1 < x2, y1 < y2), are passed over.
    """
    for block in _FENCE.findall(text.rsplit("</think>", 1)[-1]):
        try:
            items = json.loads(block)
        except (ValueError, RecursionError):
            continue
        if isinstance(items, list):
            found = [_placed(one, "bbox_2d") for one in items if isinstance(one, dict)]
            return [one for one in found if one is not None]
    return []


def _placed(item: Mapping[str, Any], key: str) -> Placed | None:
    """A box with its image and label; None where there is none, or the image is no number."""
    box, image = _box(item.get(key)), item.get("image")
    image = 0 if image is None else image
    if box is None or not isinstance(image, int) or isinstance(image, bool):
        return None
    label = item.get("label")
    return Placed(box, image, str(label).strip().casefold() if label else None)


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


def _overlap(written: Placed, target: Placed) -> float:
    """IoU of two boxes; 0 on different images, or where both have a label and these differ."""
    labels = {one for one in (written.label, target.label) if one is not None}
    if written.image != target.image or len(labels) > 1:
        return 0.0
    return box_iou(written.box, target.box)


def targets_of(
    boxes: Sequence[Mapping[str, Any]] | None, masks: Sequence[Mapping[str, Any]] | None
) -> list[Placed]:
    """Returns the gold boxes of a row: its boxes, and the boxes around its masks.

    A mask with a label counts by the box around all that is not 0 in it; one without a label holds
    codes, each of which has a box of its own. An empty mask is no target.

    Args:
        boxes: `{image, label, reader, xyxy}` each, in px.
        masks: `{image, label, reader, mask}` each, the mask a PIL image or its stored struct.
    """
    found = [_placed(one, "xyxy") for one in boxes or ()]
    for one in masks or ():
        found += [_placed({**one, "xyxy": around}, "xyxy") for around in _around(one)]
    return [one for one in found if one is not None]


def _around(entry: Mapping[str, Any]) -> list[tuple[int, ...]]:
    """Boxes around what a mask marks, [x1, y1, x2, y2] with x2 and y2 behind the last pixel."""
    mask = entry.get("mask")
    if mask is None:
        return []
    from PIL import Image

    if isinstance(mask, Mapping):
        mask = Image.open(io.BytesIO(mask["bytes"]) if mask.get("bytes") else mask["path"])
    pixels = np.asarray(mask if len(mask.getbands()) == 1 else mask.convert("L"))
    if entry.get("label"):
        regions = [pixels != 0]
    else:  # a count is quicker than a sort, and codes are small
        codes = np.flatnonzero(np.bincount(pixels.ravel())).tolist()
        regions = [pixels == code for code in codes if code]
    return [around for around in map(_extent, regions) if around is not None]


def _extent(region: np.ndarray) -> tuple[int, ...] | None:
    rows, columns = (np.flatnonzero(region.any(axis=axis)).tolist() for axis in (1, 0))
    return (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1) if rows else None


def box_iou_best(
    completions: Sequence[Any],
    *,
    boxes: Sequence[Any] | None = None,
    masks: Sequence[Any] | None = None,
    **kwargs: Any,
) -> list[float | None]:
    """IoU of the best pair of a written and a gold box; None where the row has no target.

    This is the paper's. Boxes meet on their image only, and where both name a label it has to be
    the same. Many boxes raise it for nothing: see `box_iou_mean`.

    Args:
        completions: strings or message lists.
        boxes: per row what `targets_of` takes; a row may have none.
        masks: as `boxes`.
    """
    found = _ious(completions, boxes, masks, kwargs)
    return [None if t is None else max(t, default=0.0) for t in found]


def box_iou_mean(
    completions: Sequence[Any],
    *,
    boxes: Sequence[Any] | None = None,
    masks: Sequence[Any] | None = None,
    **kwargs: Any,
) -> list[float | None]:
    """Mean, over the written boxes, of each one's best IoU; arguments as of `box_iou_best`."""
    found = _ious(completions, boxes, masks, kwargs)
    return [None if t is None else math.fsum(t) / max(1, len(t)) for t in found]


def _read(
    completions: Sequence[Any], boxes: Any, masks: Any, columns: Mapping[str, Any]
) -> Iterator[tuple[list[Placed], list[Placed]]]:
    """Of each completion the boxes that were written, and the targets.

    Completions of one question stand in a row, and its masks are looked at once.
    """
    none = [None] * len(completions)
    questions = zip(columns.get("id") or none, columns.get("prompts") or none, strict=True)
    asked: Any = None
    for written, question, own, drawn in zip(
        completions, questions, boxes or none, masks or none, strict=True
    ):
        if question[0] is None or question != asked:
            targets = targets_of(own, drawn)
        asked = question
        yield boxes_in(completion_text(written)) if targets else [], targets


def _ious(
    completions: Sequence[Any], boxes: Any, masks: Any, columns: Mapping[str, Any]
) -> list[list[float] | None]:
    """Of each completion, each written box's best IoU; None without a target."""
    return [
        [max(_overlap(one, target) for target in targets) for one in named] if targets else None
        for named, targets in _read(completions, boxes, masks, columns)
    ]


def view_coherence(
    completions: Sequence[Any],
    *,
    boxes: Sequence[Any] | None = None,
    masks: Sequence[Any] | None = None,
    **kwargs: Any,
) -> list[float | None]:
    """Whether a finding that is boxed on one view is boxed on the others that show it, in [0, 1].

    The mean over the gold labels that have targets on v >= 2 images of max(0, (n - 1) / (v - 1)),
    n the number of these images with a written box of that label: 0 for one view alone, 1 for all.
    None where no label has targets on two images. Where a box lies is left to the IoU.

    The definition is ours: the paper names coherence between views and gives no formula.

    Args:
        completions: strings or message lists.
        boxes: per row what `targets_of` takes; a row may have none.
        masks: as `boxes`.
    """
    scores: list[float | None] = []
    for named, targets in _read(completions, boxes, masks, kwargs):
        views: dict[str, set[int]] = {}
        for one in targets:
            views.setdefault(one.label or "", set()).add(one.image)
        several = {name: shown for name, shown in views.items() if name and len(shown) > 1}
        shares = [
            max(0, len({one.image for one in named if one.label == name} & shown) - 1)
            / (len(shown) - 1)
            for name, shown in several.items()
        ]
        scores.append(math.fsum(shares) / len(shares) if shares else None)
    return scores


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
