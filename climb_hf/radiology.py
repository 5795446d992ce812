"""What readers of radiographs share: people in headers, boxes of a table, readings of several."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from climb_hf.card import Option
from climb_hf.errors import CorruptFileError
from climb_hf.io import dicom_header
from climb_hf.people import sex_of
from climb_hf.schema import Box, Example, Fault

# Boxes of one label are one where they overlap by so much: intersection over union.
SAME_BOX = 0.5
# Options of a source that several readers labelled, each image on their own.
READING_OPTIONS: dict[str, Option] = {
    "readers": Option(
        "majority",
        "a finding counts if the majority of an image's readers say so, or any, or all of them",
        choices=("majority", "any", "all"),
    ),
    "reader": Option(None, "take the labels and boxes of one reader only, such as R9"),
    "fused_boxes": Option(
        False,
        "make one box of those of a label that overlap: the mean of their edges",
        kind=bool,
    ),
}
_AGE = re.compile(r"(\d{1,3})([YMWD])")
_A_YEAR: Mapping[str, float] = {"Y": 1, "M": 12, "W": 52.1775, "D": 365.2425}


def header_of(path: Path, tags: Sequence[str] = ()) -> dict[str, Any]:
    """Returns elements of a DICOM header, those of its person always among them.

    One that cannot be read tells nothing here: the file is reported as damaged when it is opened.

    Raises:
        DependencyError: if pydicom is not installed.
    """
    try:
        return dicom_header.header(path, ("PatientAge", "PatientSex", *tags))
    except CorruptFileError:
        return {}


def person_of(header: Mapping[str, Any]) -> dict[str, Any]:
    """Returns `age_years` and `sex` of `header_of`; None where unknown.

    An age of 0 is what anonymisers leave behind.
    """
    fits = _AGE.fullmatch(str(header.get("PatientAge", "")).strip().upper())
    age = int(fits[1]) / _A_YEAR[fits[2]] if fits else 0
    return {"age_years": age or None, "sex": sex_of(str(header.get("PatientSex", "")))}


def films(
    found: Iterable[Example | Fault],
    options: Mapping[str, Any],
    views: Mapping[str, str] = MappingProxyType({}),
    tags: Sequence[str] = (),
) -> Iterator[Example | Fault]:
    """Yields records with their image in the form that is asked for, and what its header tells.

    Args:
        options: with `dicom_mode`.
        views: record -> what its image shows.
        tags: elements of the header that are kept in `meta`.
    """
    for one in found:
        if isinstance(one, Fault):
            yield one
            continue
        view = views.get(one.record)
        image = replace(one.images[0], view=view, form=options["dicom_mode"])
        header = header_of(image.path, tags)
        told = {tag: str(header[tag]) for tag in tags if tag in header}
        yield replace(one, images=(image,), meta={**one.meta, **told}, **person_of(header))


def boxes_of(
    rows: Iterable[Mapping[str, str | None]],
    edges: Sequence[str],
    options: Mapping[str, Any],
    label: str = "class_name",
) -> dict[str, tuple[Box, ...]]:
    """Returns image -> its boxes, of a table with the columns `image_id` and, if any, `rad_id`.

    A row without edges, or with a box that has no area, gives none.

    Args:
        edges: columns of x1, y1, x2, y2.
        options: with `reader` and `fused_boxes` of `READING_OPTIONS`, where the source has them.
        label: column of what a box shows.
    """
    found: dict[str, list[Box]] = defaultdict(list)
    asked = options.get("reader")
    for row in rows:
        reader = row.get("rad_id") or None
        x1, y1, x2, y2 = (_number(row.get(edge)) for edge in edges)
        if x1 < x2 and y1 < y2 and asked in (None, reader):
            box = Box(row.get(label), (x1, y1, x2, y2), reader=reader)
            found[row.get("image_id") or ""].append(box)
    merge = fused if options.get("fused_boxes") else tuple
    return {image: merge(boxes) for image, boxes in found.items()}


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def read_by(
    readings: Mapping[str, Container[str]], asked: Iterable[str], options: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns `native`, `examined`, `votes` and `meta` of an `Example` that several labelled.

    Args:
        readings: reader, or "" where they agreed on one label, -> the codes given.
        asked: the codes that they had to choose from.
        options: with those of `READING_OPTIONS`.

    Returns:
        Nothing where the one reader whose labels are asked for is none of them.
    """
    readers = [reader for reader in readings if options["reader"] in (None, reader)]
    if not readers:
        return {}
    votes = {code: sum(code in readings[reader] for reader in readers) for code in asked}
    least = {"majority": len(readers) // 2 + 1, "any": 1, "all": len(readers)}
    told = readers != [""]
    return {
        "native": tuple(c for c, n in votes.items() if n >= least[options["readers"]]),
        "examined": tuple(votes),
        "votes": {code: n for code, n in votes.items() if n} if told else {},
        "meta": {"readers": readers} if told else {},
    }


def overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Returns intersection over union of two rectangles, 0 where they have no area in common."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(x2 - x1) * (y2 - y1) for x1, y1, x2, y2 in (one, other)]
    return width * height / (sum(areas) - width * height)


def fused(boxes: Iterable[Box], least: float = SAME_BOX) -> tuple[Box, ...]:
    """Makes one box of those of a label that overlap: weighted boxes fusion, all weights equal.

    Each box joins the group whose mean it overlaps most, if by `least` or more, else it begins a
    group (Solovyev et al. 2021, doi:10.1016/j.imavis.2021.104117). What comes out does not depend
    on the order of the boxes.

    Args:
        least: intersection over union.

    Returns:
        Boxes whose `reader` names all who drew one of them, joined by "+".
    """
    of_label: dict[tuple[int, str], list[Box]] = defaultdict(list)
    for box in sorted(boxes, key=lambda box: (box.image, box.label or "", _key(box))):
        of_label[box.image, box.label or ""].append(box)
    return tuple(one for drawn in of_label.values() for one in _fused(drawn, least))


def _key(box: Box) -> tuple[str, tuple[float, ...]]:
    return box.reader or "", box.xyxy


def _fused(drawn: Sequence[Box], least: float) -> Iterator[Box]:
    groups: list[list[Box]] = []
    for box in drawn:
        near = max(groups, key=lambda group: overlap(_mean(group), box.xyxy), default=None)
        if near is not None and overlap(_mean(near), box.xyxy) >= least:
            near.append(box)
        else:
            groups.append([box])
    for group in groups:
        readers = sorted({box.reader for box in group if box.reader})
        first = group[0]
        yield Box(first.label, _mean(group), first.image, "+".join(readers) or None)


def _mean(group: Sequence[Box]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (sum(edge) / len(group) for edge in zip(*(b.xyxy for b in group), strict=True))
    return x1, y1, x2, y2
