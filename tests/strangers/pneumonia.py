"""PneumoniaMNIST, small chest X-rays, as somebody with an archive of arrays would add it."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from climb_hf.card import (
    CC_BY_4_0,
    Access,
    Layout,
    Modality,
    Remote,
    SourceCard,
    SplitRule,
    Vocabulary,
)
from climb_hf.io.table import whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.photos import records_of, with_images
from climb_hf.schema import Example, Fault

IMAGE = r"(train|val)_\d{4}\.png"
SPLITS = {"train": "train", "val": "validation"}
CARD = SourceCard(
    name="pneumonia_mnist",
    title="PneumoniaMNIST",
    summary="chest X-rays of children in 28 x 28 px, with and without pneumonia",
    modality=Modality.CHEST_XRAY,
    licence=CC_BY_4_0,
    access=Access.OPEN,
    homepage="https://medmnist.com/",
    citation="Yang et al. (2023), Scientific Data 10:41, doi:10.1038/s41597-022-01721-8",
    release="MedMNIST v2, without its test set",
    remotes=(Remote("https://zenodo.org/records/10519652"),),
    layouts=(Layout("unpacked", IMAGE, rf"{IMAGE}|labels\.csv", "train_0001.png"),),
    vocabularies=(
        Vocabulary("pneumonia", ("normal", "pneumonia"), codes={"0": "normal", "1": "pneumonia"}),
    ),
    split=SplitRule({"train": 0.8, "validation": 0.2}, True, "a group of arrays for each"),
    n_records=4_406,
    question="pneumonia",
    shown="A chest radiograph of a child is given.",
    asked="choice",
)


def unpack(archive: Path, folder: Path, every: int = 1) -> None:
    """Writes every so many of the arrays as PNG, and their labels as a table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    with np.load(archive) as arrays:
        for split in SPLITS:
            for number in range(0, len(arrays[f"{split}_labels"]), every):
                name = f"{split}_{number:04d}.png"
                Image.fromarray(arrays[f"{split}_images"][number]).save(folder / name)
                rows.append([name, int(arrays[f"{split}_labels"][number, 0])])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "label"], *rows])


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    found = records_of(tree.named("labels.csv"), partial(_rows, tree), "labels.csv")
    yield from with_images(tree, found, IMAGE)


def _rows(tree: RawTree, path: str) -> Iterator[Example]:
    for row in whole_lines(tree.path(path), ("file", "label")):
        split, _, _ = row["file"].partition("_")
        yield Example(
            row["file"].removesuffix(".png"),
            (row["label"],),
            split=SPLITS[split],
            flags=("patient_unknown",),
        )
