"""Brain MRI Images for Brain Tumor Detection: slices with and without a tumour."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from climb_hf.card import Access, Layout, Licence, Remote, SourceCard, Vocabulary
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.photos import MRI, in_folders
from climb_hf.schema import Example, Fault

IMAGE = r"(yes|no)/[^/]+\.(?i:jpe?g|png|gif)"
N_IMAGES, N_TRAIN, SEED = 253, 202, 42  # of CLIMB's split, which holds for just these images
CODES = {"no": "No Tumor", "yes": "Has Tumor"}
CARD = SourceCard(
    name="brain_mri",
    title="Brain MRI Images for Brain Tumor Detection",
    summary="single slices of brain MRI, with a tumour or without",
    licence=Licence("none stated", share_data=False, share_derived=False),
    access=Access.ACCOUNT,
    homepage="https://www.kaggle.com/datasets/navoneel/brain-mri-images-for-brain-tumor-detection",
    citation="Chakrabarty (2019), Brain MRI Images for Brain Tumor Detection, Kaggle",
    release="Kaggle version 1",
    remotes=(
        Remote(
            "https://www.kaggle.com/datasets/navoneel/brain-mri-images-for-brain-tumor-detection"
        ),
        Remote(
            "https://www.kaggle.com/datasets/jjprotube/brain-mri-images-for-brain-tumor-detection",
            again=True,
        ),
    ),
    layouts=(Layout("Kaggle", marker=IMAGE, files=IMAGE, example="yes/Y1.jpg"),),
    vocabularies=(Vocabulary("tumor2", tuple(CODES.values()), codes=CODES),),
    n_records=N_IMAGES,
    question="brain_tumor_presence",
    shown="A slice of a brain MRI is given. Does it show a tumour?",
    quirks=(
        "patients are unknown, and near duplicates are among the images: splits may leak; "
        "byte-equal images stay in one split",
        "the archive holds its images twice, once more under brain_tumor_dataset: the second is "
        "reported as a copy",
        "split_rule='official' gives CLIMB's split, a shuffle of all 253 names with a seed, where "
        "just these images are there; otherwise images have no official split",
    ),
    **MRI,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image."""
    found = [*in_folders(tree, IMAGE, _record)]
    yield from (one for one in found if isinstance(one, Fault))
    records = [one for one in found if not isinstance(one, Fault)]
    train = _climbs_train([path for path, _ in records])
    for path, example in records:
        split = None if train is None else "train" if path in train else "test"
        yield replace(example, native=(path.split("/")[-2],), split=split)


def _climbs_train(paths: list[str]) -> set[str] | None:
    """CLIMB's training images; None where images are missing, as its shuffle goes by place."""
    if len(paths) != N_IMAGES:
        return None
    import numpy as np

    ordered = sorted(paths, key=lambda path: path.split("/")[-2:])  # no before yes, then by name
    places = np.arange(N_IMAGES)
    np.random.RandomState(SEED).shuffle(places)
    return {ordered[place] for place in places[:N_TRAIN]}


def _record(path: str) -> str:
    """Such as `yes-Y1` for `yes/Y1.jpg`."""
    kind, name = path.split("/")[-2:]
    return re.sub(r"[^\w]+", "-", f"{kind} {name.rpartition('.')[0]}").strip("-")


__getattr__ = builder_of(__name__)
