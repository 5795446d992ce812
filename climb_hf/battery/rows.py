"""Checks of the rows that are made: labels, columns, media, questions."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping
from typing import Any

from climb_hf.answers import parse, set_f1, split_gold
from climb_hf.battery.registry import Register
from climb_hf.labels import class_names
from climb_hf.schema import FLAGS, disk_features
from climb_hf.subject import LABEL_LISTS, NotApplicable, Subject, require, some

check = Register()
_SCALARS = ("patient_id", "study_id", "sex", "site", "age_years", "text", "vocabulary")


@check
def label_lists_agree(subject: Subject) -> None:
    """A class stands in one list at most, in the order of the vocabulary, `label` with them."""
    names = class_names([subject.card])
    for identity, row in subject.rows().items():
        lists = [row[column] for column in LABEL_LISTS]
        for first, second in itertools.combinations(lists, 2):
            both = set(first) & set(second)
            require(not both, f"{identity}: {some(both)} stands in two lists.")
        for found in lists:
            ordered = sorted(set(found), key=names.index)
            require(list(found) == ordered, f"{identity}: {found} is not in the classes' order.")
        alone = len(row["labels"]) == 1 and not row["labels_uncertain"]
        single = row["labels"][0] if alone else None
        require(row["label"] == single, f"{identity}: label {row['label']!r} is not {single!r}.")
        labelled = any(lists)
        require(
            (row["vocabulary"] is not None) or not labelled,
            f"{identity} has classes and no vocabulary.",
        )


@check
def absent_is_null(subject: Subject) -> None:
    """What is not known is null, never -1, NaN or an empty text; no list is null."""
    features = disk_features()
    for identity, row in subject.stored().items():
        for column in _SCALARS:
            value = row[column]
            marker = value in ("", -1, "nan", "NaN", "unknown", "Unknown") or value != value
            require(not marker, f"{identity}: {column} is {value!r} where it should be null.")
        lists = [c for c in features if type(features[c]).__name__ == "List" and row[c] is None]
        require(not lists, f"{identity}: {some(lists)} is null where it should be empty.")
        odd = set(row["flags"]) - set(FLAGS)
        require(not odd, f"{identity}: flags {some(odd)} are not in climb_hf.schema.FLAGS.")
        unknown = "patient_unknown" in row["flags"]
        require(
            unknown == (row["patient_id"] is None),
            f"{identity}: patient_id and the flag patient_unknown contradict each other.",
        )


@check
def identity_is_the_cards(subject: Subject) -> None:
    """Source, modality and domain are the card's, and no row tells where its files lie."""
    card = subject.card
    for identity, row in subject.stored().items():
        found = (row["source"], row["modality"], row["domain"])
        wanted = (card.name, str(card.modality), str(card.modality))
        require(found == wanted, f"{identity}: source, modality, domain are {found}.")
        told = repr({key: value for key, value in row.items() if key not in ("series",)})
        require(str(subject.root) not in told, f"{identity} tells a path of this disk.")


@check
def every_column_is_stored(subject: Subject) -> None:
    """A row has the columns of the one schema, and Arrow takes them as they are."""
    import pyarrow as pa

    features = disk_features()
    for identity, row in subject.stored().items():
        wrong = set(row) ^ set(features)
        require(not wrong, f"{identity}: columns {some(wrong)} are missing or too many.")
    encoded = [features.encode_example(row) for row in subject.stored().values()]
    schema = features.arrow_schema
    try:
        arrays = [
            pa.array([row[field.name] for row in encoded], type=_storage(field.type))
            for field in schema
        ]
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        require(False, f"Arrow does not take the rows: {error}")
        return
    for array, field in zip(arrays, schema, strict=True):
        require(array.type == _storage(field.type), f"column {field.name!r} is {array.type}.")


def _storage(kind: Any) -> Any:
    return getattr(kind, "storage_type", kind)


@check
def series_are_as_the_card_says(subject: Subject) -> None:
    """Every series has the card's channels, unit and rate, the asked length, and finite values."""
    card = subject.card
    rows = [row for row in subject.rows().values() if row.get("series")]
    if not rows:
        raise NotApplicable("no record has a series")
    for row in rows:
        for stored in row["series"]:
            _check_series(card, row, stored)


def _check_series(card: Any, row: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
    import numpy as np

    from climb_hf.views import decode

    identity, signal = row["id"], decode(stored)
    if card.channels:
        found = (signal.channels, signal.units)
        require(found == (card.channels, card.units), f"{identity}: channels are {found}.")
    require(len(signal.units) == len(signal.channels) == len(signal.values), f"{identity}: names.")
    require(
        signal.rate_hz == (card.rate_hz or signal.rate_hz) and signal.rate_hz > 0,
        f"{identity}: {signal.rate_hz:g} Hz, but the card says {card.rate_hz}.",
    )
    length = signal.values.shape[1]
    if card.duration_s:
        wanted = round(card.duration_s * signal.rate_hz)
        require(length == wanted, f"{identity}: {length} samples where {wanted} were asked for.")
    require(0 < (signal.n_valid or 0) <= length, f"{identity}: n_valid is {signal.n_valid}.")
    lost = not bool(np.isfinite(signal.values).all())
    require(
        lost == ("invalid_samples" in row["flags"]),
        f"{identity}: not-a-number samples and the flag invalid_samples contradict each other.",
    )


@check
def series_are_the_makers(subject: Subject) -> None:
    """Every recorded value is exactly what was written, channel by channel, in physical units."""
    import numpy as np

    from climb_hf.views import decode

    wanted = subject.true_facts("signal_sha1")
    looked = 0
    for row in subject.rows(length="raw").values():
        record = row["id"].split("/", 1)[1]
        if record in wanted:
            values = decode(row["series"][0]).values
            found = hashlib.sha1(np.ascontiguousarray(values, "<f4").tobytes()).hexdigest()
            require(found == wanted[record], f"{row['id']}: its values are not those written.")
            looked += 1
    require(looked > 0, "none of the records opened is one that the maker tells of.")


def _gold(identity: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    try:
        return split_gold(row["answer"], row["options"])
    except ValueError as error:
        require(False, f"{identity}: {error}.")
        raise


@check
def questions_can_be_answered(subject: Subject) -> None:
    """The gold answer scores 1, every other single option less, and no answer at all 0."""
    if subject.card.question is None:
        raise NotApplicable("the source asks no question")
    card = subject.card
    how: dict[str, Any] = {"task": "qa"}
    if card.asked_with:
        how["options"] = {card.name: dict(card.asked_with)}
    for identity, row in subject.rows(**how).items():
        options, gold = row["options"], _gold(identity, row)

        def score(text: str, options: Any = options, gold: Any = gold) -> float:
            return set_f1(parse(text, options), gold)

        require(score(f"\\boxed{{{row['answer']}}}") == 1, f"{identity}: gold scores under 1.")
        require(score(row["answer"]) == 0, f"{identity}: an answer outside the box counts.")
        wrong = [o for o in options if (o,) != gold and score(f"\\boxed{{{o}}}") >= 1]
        require(not wrong, f"{identity}: {some(wrong)} scores 1 too.")
        asked = row["prompt"][0]["content"]
        require(
            all(option in asked for option in options),
            f"{identity}: its question does not offer every option.",
        )
        require(
            bool(row["images"]) or not re.search(r"bounding box|\bbbox", asked, re.IGNORECASE),
            f"{identity}: its question asks for boxes, and there is no image to draw them in.",
        )
        before = re.split(r"\{\w+\}", subject.card.shown)
        empty = len(before) > 1 and re.search(r"\{\w+\}", asked.split("\nOptions:")[0])
        require(
            asked.startswith(before[0]) and not empty,
            f"{identity}: its question does not say what is shown.",
        )
