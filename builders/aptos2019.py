"""APTOS 2019: photographs of the fundus of the eye, graded for diabetic retinopathy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from climb_hf.card import Access, Layout, Licence, Remote, SourceCard
from climb_hf.io.table import whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.photos import DR5, FUNDUS, grade_of, records_of, with_images
from climb_hf.schema import Example, Fault

IMAGE = r"[0-9a-f]{12}\.(?i:png)"
CARD = SourceCard(
    name="aptos2019",
    title="APTOS 2019 Blindness Detection",
    summary="fundus photographs from rural India, graded 0 to 4 for diabetic retinopathy",
    licence=Licence("rules of the Kaggle competition", share_data=False, share_derived=False),
    access=Access.ACCOUNT,
    homepage="https://www.kaggle.com/competitions/aptos2019-blindness-detection",
    citation="Karthik, Maggie and Dane (2019), APTOS 2019 Blindness Detection, Kaggle",
    release="aptos2019-blindness-detection, training set",
    remotes=(Remote("https://www.kaggle.com/competitions/aptos2019-blindness-detection/data"),),
    layouts=(
        Layout(
            "Kaggle competition",
            marker=IMAGE,
            files=rf"train\.csv|{IMAGE}",
            example="train_images/000c1434d8d7.png",
        ),
    ),
    vocabularies=(DR5,),
    n_records=3_662,
    question="retinopathy",
    shown="A colour photograph of the fundus of an eye is given; grade diabetic retinopathy.",
    quirks=(
        "grades are ordered: the number stands in targets too, as dr_grade",
        "classes are called as in the questions, the same for every fundus source: CLIMB's list "
        "has Mild, Moderate and Severe without DR here",
        "the test set has no grades and is not read",
        "patients and eyes are unknown: splits may leak; byte-equal images stay in one split, and "
        "some of them have different grades in the release",
    ),
    **FUNDUS,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image of the training table."""
    found = records_of(tree.named("train.csv"), partial(_rows, tree), "train.csv")
    yield from with_images(tree, found, IMAGE)


def _rows(tree: RawTree, path: str) -> Iterator[Example]:
    for row in whole_lines(tree.path(path), ("id_code", "diagnosis")):
        yield Example(
            record=row["id_code"],
            native=(row["diagnosis"],),
            flags=("patient_unknown",),
            targets=grade_of(row["diagnosis"]),
        )


__getattr__ = builder_of(__name__)
