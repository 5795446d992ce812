"""BUSI: ultrasound images of the breast, with outlines of the lesions."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from climb_hf.card import (
    Access,
    Layout,
    Licence,
    Modality,
    Option,
    Remote,
    SourceCard,
    SplitRule,
    Vocabulary,
)
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, ImageFile, MaskFile

IMAGE = r"(benign|malignant|normal) \(\d+\)\.png"
MASK = r"(benign|malignant|normal) \(\d+\)_mask(_\d+)?\.png"
CLASSES = ("Normal", "Benign", "Malignant")
CLIMB_TRAIN = 0.75
CARD = SourceCard(
    name="busi",
    title="Breast Ultrasound Images Dataset (BUSI)",
    summary="B-mode images of the breast: normal, benign or malignant, lesions outlined",
    modality=Modality.ULTRASOUND,
    licence=Licence("unclear: CC0-1.0 on Kaggle, not on the authors' page", False, False),
    access=Access.ACCOUNT,
    homepage="https://www.kaggle.com/datasets/aryashah2k/breast-ultrasound-images-dataset",
    citation="Al-Dhabyani et al. (2020), Data in Brief 28:104863, doi:10.1016/j.dib.2019.104863",
    release="Kaggle, Dataset_BUSI_with_GT",
    remotes=(
        Remote("https://www.kaggle.com/datasets/aryashah2k/breast-ultrasound-images-dataset"),
    ),
    layouts=(
        Layout(
            "Kaggle", IMAGE, f"{IMAGE}|{MASK}", example="Dataset_BUSI_with_GT/benign/benign (1).png"
        ),
    ),
    vocabularies=(Vocabulary("busi3", CLASSES, codes={name.lower(): name for name in CLASSES}),),
    split=SplitRule({"train": CLIMB_TRAIN, "test": 1 - CLIMB_TRAIN}),
    n_records=780,
    options={
        "drop_duplicates": Option(
            False, "leave out images that are byte by byte another of the same class", kind=bool
        ),
    },
    question="breast_ultrasound",
    shown="A B-mode ultrasound image of a breast is given.",
    asked="choice",
    quirks=(
        "each file of outlines is a mask of its own, as 17 images have several lesions: together "
        "they are the mask of the image; that of a normal image is empty",
        "patients are unknown: splits may leak; byte-equal images stay in one split",
        "split_rule='official' gives CLIMB's splits: of each class, names sorted as texts, the "
        "first three quarters",
        "Pawlowska et al. (2023, doi:10.1016/j.dib.2023.109247) count 235 duplicated images, 8 "
        "lesions in both classes, and 295 images with calipers or text in them",
    ),
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image, with its masks."""
    images = _in_names_order(tree.find(IMAGE))
    masks: dict[str, list[str]] = {}
    for path in sorted(tree.find(MASK)):
        masks.setdefault(re.sub(r"_mask(_\d+)?(?=\.png$)", "", path), []).append(path)
    train = _climbs_train(images)
    again = _seen_before(tree, images) if options["drop_duplicates"] else {}
    for path in images:
        record = _record(path)
        if path in again:
            reason = f"byte by byte {again[path]}, and the option drop_duplicates is set"
            yield Fault(record, "left out", reason, path)
            continue
        drawn = tuple(MaskFile(tree.path(mask), "lesion") for mask in masks.get(path, ()))
        if not drawn:
            reason = f"the mask of {record} is not there; the image is read without"
            yield Fault(f"{record}_mask", "missing", reason, path)
        yield Example(
            record=record,
            native=(_class(path),),
            split="train" if path in train else "test",
            signature=f"{tree.size(path)} bytes",
            flags=("patient_unknown",),
            images=(ImageFile(tree.path(path)),),
            masks=drawn,
        )
    for path in sorted(masks.keys() - set(images)):
        yield Fault(_record(path), "missing", "its mask is there, its image is not", masks[path][0])


def _in_names_order(paths: Iterator[str]) -> list[str]:
    """By name and not by folder, so that a copy in a second place comes after."""
    return sorted(paths, key=lambda path: (path.rpartition("/")[2], path))


def _class(path: str) -> str:
    return path.rpartition("/")[2].partition(" ")[0]


def _record(path: str) -> str:
    """Such as `benign-1` for `benign (1).png`."""
    return re.sub(r"[^\w]+", "-", path.rpartition("/")[2].removesuffix(".png")).strip("-")


def _climbs_train(images: Sequence[str]) -> set[str]:
    """The first three quarters of each class, names sorted as texts."""
    classes: dict[str, list[str]] = {}
    for path in images:
        classes.setdefault(_class(path), []).append(path)
    return {p for paths in classes.values() for p in paths[: int(CLIMB_TRAIN * len(paths))]}


def _seen_before(tree: RawTree, images: Sequence[str]) -> dict[str, str]:
    """Image -> the record of its class with the same bytes that comes first."""
    sizes = Counter(tree.size(path) for path in images)
    first: dict[tuple[str, bytes], str] = {}
    again = {}
    for path in images:
        if sizes[tree.size(path)] > 1:
            key = _class(path), hashlib.sha256(tree.path(path).read_bytes()).digest()
            record = first.setdefault(key, _record(path))
            if record != _record(path):
                again[path] = record
    return again


__getattr__ = builder_of(__name__)
