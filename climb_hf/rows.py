"""From what a reader found to a stored row: labels, question and media under one request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from climb_hf.card import SourceCard
from climb_hf.check import check_option, check_type
from climb_hf.errors import OptionError
from climb_hf.io import expression, graph, image, mask, parts, signal, video, volume
from climb_hf.io.filters import Band, filtered
from climb_hf.labels import Labels, classify
from climb_hf.montage import derive
from climb_hf.people import age_fields, sex_of
from climb_hf.questions import Question, ask
from climb_hf.schema import TASKS, Example

LENGTHS = ("10s", "raw")


@dataclass(frozen=True)
class Request:
    """What a user asked for, beside which source: it decides what a row holds.

    Attributes:
        label_set: None means the card's default.
        variant: another form of the source; None means the card's default.
        length: `10s` crops and pads to the card's duration, `raw` keeps the recording.
        rate_hz: None means the card's rate.
        options: of the source, complete.
    """

    task: str = "classification"
    label_set: str | None = None
    length: str = "10s"
    rate_hz: float | None = None
    variant: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def for_reader(self) -> dict[str, Any]:
        """Returns what a source's `read` is told: its own options, and what may decide its files
        or its records: rate, variant and label set.
        """
        asked = {"rate_hz": self.rate_hz, "variant": self.variant, "label_set": self.label_set}
        return {**self.options, **asked}

    def check(self) -> None:
        """Raises OptionError for a value that no source offers."""
        check_option("task", self.task, TASKS)
        check_option("length", self.length, LENGTHS)
        if self.rate_hz is not None:
            check_type("rate_hz", self.rate_hz, (int, float))
            if not (math.isfinite(self.rate_hz) and self.rate_hz > 0):
                raise OptionError(f"rate_hz={self.rate_hz!r} must be a positive number of Hz.")


def labels_of(
    card: SourceCard, example: Example, request: Request, *, to_ask: bool = False
) -> Labels:
    """Returns the classes of a record; where they are `to_ask`, `normal` excludes all else."""
    options = request.options
    return classify(
        card,
        example.native,
        label_set=request.label_set or card.default_label_set,
        examined=example.examined,
        uncertain=example.uncertain,
        normal_exclusive=to_ask or bool(options.get("normal_exclusive")),
        axis_as_hyp=bool(options.get("axis_as_hyp", True)),
    )


def question_of(
    card: SourceCard,
    example: Example,
    request: Request,
    content: Mapping[str, str] | None = None,
) -> Question | None:
    """Returns the question of a record, or None where its labels answer none.

    Args:
        content: what its media say in words, for the card's sentence; None before they are open.
    """
    labels = labels_of(card, example, request, to_ask=True)
    style = request.options.get("question", card.asked)
    return ask(card, labels, style, example=example, content=content)


def build_row(
    card: SourceCard, example: Example, request: Request, split_origin: str
) -> dict[str, Any]:
    """Opens a record's media and returns its row, every stored column filled.

    Raises:
        CorruptFileError: if a file is not what it claims to be.
    """
    series = [_series(card, source, request) for source in example.series]
    images = [image.load(file) for file in example.images]
    graphs = [graph.load(file) for file in example.graphs]
    profiles = [expression.load(file) for file in example.expression]
    said = [*(one.content() for one in graphs), *(one.content() for one in profiles)]
    content = {name: words for one in said for name, words in one.items()}
    flags = dict.fromkeys(example.flags)
    for one in series:
        flags.update(dict.fromkeys((*one.flags, *signal.quality_flags(one))))
    boxes, drawn = mask.placed(example.boxes, images)
    masks = [mask.load(file, images) for file in example.masks]
    volumes = [volume.load(file) for file in example.volumes]
    videos = [video.load(file) for file in example.videos]
    flags.update(dict.fromkeys(flag for one in graphs for flag in one.flags))
    flags.update(dict.fromkeys(flag for one in images for flag in one.flags))
    flags.update(dict.fromkeys(flag for one in masks for flag in one.flags))
    flags.update(dict.fromkeys(flag for one in volumes for flag in one.flags))
    flags.update(dict.fromkeys(drawn))
    facts = {key: value for one in series for key, value in one.facts.items()}
    return {
        **_identity(card, example, facts, tuple(flags), split_origin),
        "meta": {**example.meta, **_told(images)},
        **_labels(card, example, request),
        **_EMPTY_MEDIA,
        "series": [signal.as_struct(one) for one in series],
        "images": [one.as_struct() for one in images],
        "image_info": [one.info() for one in images],
        "boxes": boxes,
        "masks": [one.as_struct() for one in masks],
        "volumes": [one.as_struct() for one in volumes],
        "volume_info": [one.info() for one in volumes],
        "volume_masks": [
            volume.load_mask(file, volumes).as_struct() for file in example.volume_masks
        ],
        "videos": [one.as_struct() for one in videos],
        "video_info": [one.info() for one in videos],
        "graphs": [one.as_struct() for one in graphs],
        "expression": [one.as_struct() for one in profiles],
        "text": example.text,
        "messages": [{"role": role, "content": said} for role, said in example.messages],
        **_question(card, example, request, content),
    }


def _identity(
    card: SourceCard,
    example: Example,
    facts: Mapping[str, Any],
    flags: tuple[str, ...],
    split_origin: str,
) -> dict[str, Any]:
    aged: dict[str, Any] = {"age_years": example.age_years, "flags": flags}
    if example.age_years is None and "age" in facts:
        aged = age_fields(facts["age"], flags)
    return {
        "id": f"{card.name}/{example.record}",
        "source": card.name,
        "modality": str(card.modality),
        "domain": str(card.modality),
        "patient_id": example.patient_id,
        "study_id": example.study_id,
        "split_origin": split_origin,
        "age_years": aged["age_years"],
        "sex": example.sex or sex_of(facts.get("sex")),
        "site": example.site,
        "flags": list(aged["flags"]),
    }


def _told(images: list[image.RawImage]) -> dict[str, Any]:
    """What files say of how their pixels are meant; a list with an entry each for several."""
    if len(images) == 1 or not any(one.meta for one in images):
        return dict(images[0].meta) if images else {}
    names = dict.fromkeys(name for one in images for name in one.meta)
    return {name: [one.meta.get(name) for one in images] for name in names}


def _labels(card: SourceCard, example: Example, request: Request) -> dict[str, Any]:
    labels = labels_of(card, example, request)
    return {
        "vocabulary": labels.vocabulary.id if labels.vocabulary else None,
        "label": labels.single,
        "labels": list(labels.positive),
        "labels_negative": list(labels.negative),
        "labels_uncertain": list(labels.uncertain),
        "label_weights": _weights(card, example, request),
        "native_labels": list(example.native),
        "targets": [{"name": n, "value": v, "unit": u} for n, v, u in example.targets],
    }


def _weights(card: SourceCard, example: Example, request: Request) -> list[dict[str, Any]]:
    """The votes by class, in vocabulary order; votes for a code that is unknown are left out."""
    if not example.votes:
        return []
    total: dict[str, float] = {}
    order: tuple[str, ...] = ()
    for code, votes in example.votes.items():
        found = labels_of(card, replace(example, native=(code,)), request)
        order = found.vocabulary.names if found.vocabulary else order
        for name in found.positive:
            total[name] = total.get(name, 0.0) + votes
    return [{"label": name, "weight": total[name]} for name in order if name in total]


def _question(
    card: SourceCard, example: Example, request: Request, content: Mapping[str, str]
) -> dict[str, Any]:
    question = question_of(card, example, request, content)
    return {
        "question_id": question.question_id if question else None,
        "prompt": list(question.prompt) if question else [],
        "options": list(question.options) if question else [],
        "answer": question.answer if question else None,
        "answer_type": question.answer_type if question else None,
    }


def _series(card: SourceCard, source: Any, request: Request) -> signal.RawSeries:
    """One series in the card's channels and units, at the wanted rate and length."""
    band = Band.of(request.options)
    rate_hz = request.rate_hz or card.rate_hz
    margin_s = max(band.margin_s, parts.margin_s(rate_hz))
    series = _channels(card, signal.load(parts.widened(source, margin_s)))
    series = filtered(series, band)
    if rate_hz:
        series = signal.resample(parts.on_grid(series, source, rate_hz), rate_hz)
    series = parts.meant(series, source)
    if request.length == "10s" and card.duration_s and not source.whole:
        series = parts.padded_before(series, source.start_s)
        series = signal.crop_or_pad(series, card.duration_s)
    return series


def _channels(card: SourceCard, series: signal.RawSeries) -> signal.RawSeries:
    """A series with the card's channels, or derivations, in its units."""
    if card.derivations:
        return derive(series, card.derivations, card.channels, card.units)
    if card.channels:
        series = signal.order_channels(series, card.channels)
    if isinstance(card.unit, str):
        return signal.to_units(series, (card.unit,) * len(series.channels))
    return signal.to_units(series, card.unit) if card.unit else series


_EMPTY_MEDIA: dict[str, Any] = {"events": []}
