"""Brain Tumor Classification (MRI): single slices in four classes, in a folder each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from climb_hf.card import Access, Layout, Licence, Remote, SourceCard, SplitRule, Vocabulary
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.photos import MRI, in_folders
from climb_hf.schema import Example, Fault

IMAGE = r"(Training|Testing)/(no|glioma|meningioma|pituitary)_tumor/[^/]+\.(?i:jpe?g|png)"
# In the order behind CLIMB's integer labels (upstream code; its Dataset_Info.md prints another).
CLASSES = {
    "no_tumor": "No Tumor",
    "glioma_tumor": "Glioma Tumor",
    "meningioma_tumor": "Meningioma Tumor",
    "pituitary_tumor": "Pituitary Tumor",
}
CARD = SourceCard(
    name="brain_tumor",
    title="Brain Tumor Classification (MRI)",
    summary="single slices of brain MRI: glioma, meningioma, pituitary tumour or none",
    licence=Licence("MIT", share_data=True, share_derived=True),
    access=Access.ACCOUNT,
    homepage="https://www.kaggle.com/datasets/sartajbhuvaji/brain-tumor-classification-mri",
    citation="Bhuvaji et al. (2020), Kaggle, doi:10.34740/KAGGLE/DSV/1183165",
    release="Kaggle version 2",
    remotes=(
        Remote("https://www.kaggle.com/datasets/sartajbhuvaji/brain-tumor-classification-mri"),
    ),
    layouts=(
        Layout("Kaggle", marker=IMAGE, files=IMAGE, example="Training/glioma_tumor/gg (1).jpg"),
    ),
    vocabularies=(Vocabulary("brain_tumor4", tuple(CLASSES.values()), codes=CLASSES),),
    n_records=3_264,
    question="brain_tumor",
    shown="A slice of a brain MRI is given. Which kind of tumour does it show, if any?",
    quirks=(
        "patients, planes and sequences are unknown; slices of one patient may lie in both "
        "splits, as part of the images come from a set with several a patient",
        "the class of gliomas holds wrong labels: the maker of a later, merged set left all of "
        "them out as wrongly categorised",
        "names repeat across classes and splits, so that a record is called by its folders too",
    ),
    **{
        **MRI,
        "split": SplitRule(
            {"train": 0.8, "test": 0.2}, official=True, origin="folders Training and Testing"
        ),
    },
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image."""
    for found in in_folders(tree, IMAGE, _record):
        if isinstance(found, Fault):
            yield found
            continue
        path, example = found
        split, kind, _ = path.split("/")[-3:]
        yield replace(example, native=(kind,), split="train" if split == "Training" else "test")


def _record(path: str) -> str:
    """Such as `training-glioma-gg-1` for `Training/glioma_tumor/gg (1).jpg`."""
    split, kind, name = path.split("/")[-3:]
    words = f"{split.lower()} {kind.removesuffix('_tumor')} {name.rpartition('.')[0]}"
    return re.sub(r"[^\w]+", "-", words).strip("-")


__getattr__ = builder_of(__name__)
