"""BUSI: ultrasound images of the breast, with outlines of the lesions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
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
from climb_hf.photos import in_folders, stem, twins_in
from climb_hf.schema import Example, Fault, MaskFile

IMAGE = r"(benign|malignant|normal) \(\d+\)\.png"
MASK = r"(benign|malignant|normal) \(\d+\)_mask(_\d+)?\.png"
CLASSES = ("Normal", "Benign", "Malignant")
PAGE = "https://www.kaggle.com/datasets/aryashah2k/breast-ultrasound-images-dataset"
EXAMPLE = "Dataset_BUSI_with_GT/benign/benign (1).png"
CARD = SourceCard(
    name="busi",
    title="Breast Ultrasound Images Dataset (BUSI)",
    summary="B-mode images of the breast: normal, benign or malignant, lesions outlined",
    modality=Modality.ULTRASOUND,
    licence=Licence("unclear: CC0-1.0 on Kaggle, not on the authors' page", False, False),
    access=Access.ACCOUNT,
    homepage=PAGE,
    citation="Al-Dhabyani et al. (2020), Data in Brief 28:104863, doi:10.1016/j.dib.2019.104863",
    release="Kaggle, Dataset_BUSI_with_GT",
    remotes=(Remote(PAGE),),
    layouts=(Layout("Kaggle", IMAGE, f"{IMAGE}|{MASK}", EXAMPLE),),
    vocabularies=(Vocabulary("busi3", CLASSES, codes={name.lower(): name for name in CLASSES}),),
    split=SplitRule({"train": 0.75, "test": 0.25}),
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
        "split_rule='official' gives CLIMB's: three quarters of each class, in order of names",
        "Pawlowska et al. (2023, Data in Brief 48:109247) count 235 duplicates, 8 in both classes",
    ),
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image, with its masks."""
    masks: dict[str, list[str]] = {}
    for path in sorted(tree.find(MASK)):
        masks.setdefault(re.sub(r"_mask(_\d+)?(?=\.png$)", "", path), []).append(path)
    images: dict[str, Example] = {}
    for one in in_folders(tree, IMAGE, _record):
        if isinstance(one, Fault):
            yield one
        else:
            images.update([one])
    for kind in CLASSES:
        paths = sorted((p for p in images if stem(p).startswith(kind.lower())), key=stem)
        for place, path in enumerate(paths):
            known, drawn = images[path], masks.get(path, ())
            twin = twins_in(tree, [path], paths[:place]) if options["drop_duplicates"] else {}
            if twin:
                yield Fault(known.record, "left out", f"byte by byte {twin[path]}", path)
                continue
            if not drawn:
                yield Fault(f"{known.record}_mask", "missing", "the image is read without", path)
            yield replace(
                known,
                native=(kind.lower(),),
                split="train" if place < int(0.75 * len(paths)) else "test",
                masks=tuple(MaskFile(tree.path(mask), "lesion") for mask in drawn),
            )
    alone = {_record(path) for path in masks} - {one.record for one in images.values()}
    yield from (Fault(one, "missing", "of it only a mask is there") for one in sorted(alone))


def _record(path: str) -> str:
    """Such as `benign-1` for `benign (1).png`."""
    return re.sub(r"\W+", "-", stem(path)).strip("-")


__getattr__ = builder_of(__name__)
