"""CoronaHack: chest radiographs of children's pneumonia, and a few of COVID-19 and SARS."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

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
from climb_hf.lazy import builder_of
from climb_hf.photos import as_id, kept, records_of, with_images
from climb_hf.schema import Example, Fault

logger = logging.getLogger(__name__)
TABLE = "Chest_xray_Corona_Metadata.csv"
IMAGE = r"(train|test)/[^/]+\.(?i:jpe?g|png)"
COLUMNS = ("X_ray_image_name", "Label", "Dataset_type")
CAUSES = ("Label_1_Virus_category", "Label_2_Virus_category")
# Label, then what of the causes is not blank. `Pnemonia` is the release's spelling.
CLASS_OF = {
    "Normal": "Normal",
    "Pnemonia/bacteria": "Bacterial Pneumonia",
    "Pnemonia/bacteria/Streptococcus": "Bacterial Pneumonia",
    "Pnemonia/Virus": "Viral Pneumonia",
    "Pnemonia/Virus/SARS": "Viral Pneumonia",
    "Pnemonia/Virus/COVID-19": "Viral Pneumonia",
}
NAMES = tuple(dict.fromkeys(CLASS_OF.values()))
N_ROWS = 5_910
CARD = SourceCard(
    name="coronahack",
    title="CoronaHack Chest X-Ray-Dataset",
    summary="children's pneumonia in Guangzhou, bacterial, viral or none, and 58 of COVID-19",
    modality=Modality.CHEST_XRAY,
    licence=CC_BY_4_0,
    access=Access.ACCOUNT,
    homepage="https://www.kaggle.com/datasets/praveengovi/coronahack-chest-xraydataset",
    citation=(
        "Kermany et al. (2018), Cell 172:1122, doi:10.1016/j.cell.2018.02.010; Cohen et al. "
        "(2020), arXiv:2003.11597; Govindaraj (2020), CoronaHack, Kaggle"
    ),
    release="coronahack-chest-xraydataset, 5,910 rows",
    remotes=(Remote("https://www.kaggle.com/datasets/praveengovi/coronahack-chest-xraydataset"),),
    layouts=(Layout("Kaggle", re.escape(TABLE), rf"{re.escape(TABLE)}|{IMAGE}", TABLE),),
    vocabularies=(
        Vocabulary("pneumonia3", NAMES, codes=CLASS_OF),
        Vocabulary(
            "pneumonia4",
            (*NAMES, "COVID-19"),
            codes=CLASS_OF | {"Pnemonia/Virus/COVID-19": "COVID-19"},
        ),
    ),
    split=SplitRule({"train": 0.8, "test": 0.2}, True, "column Dataset_type of the table"),
    n_records=5_908,
    question="chest_diagnosis",
    shown="A chest radiograph is given.",
    asked="choice",
    quirks=(
        "two rows of another cause (Stress-Smoking) are left out, as in CLIMB",
        "the 58 images of COVID-19 count as viral; label_set='pneumonia4' tells them apart",
        "patients are unknown: 170 of the 202 numbers of a person in test stand in train too, and "
        "whether they are the same persons is not said, so the official split may leak",
        "COVID-19 images are adults' of another collection: age and origin give the class away",
    ),
)
SPLITS = {"TRAIN": "train", "TEST": "test"}


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a row of the table whose cause is one of the classes."""
    found = records_of(tree.named(TABLE), partial(_rows, tree), TABLE)
    for one in with_images(tree, found, IMAGE, record=as_id):
        if isinstance(one, Example) and one.native[0] not in CLASS_OF:
            yield Fault(one.record, "left out", f"{one.native[0]} is none of the classes")
        else:
            yield one


def _rows(tree: RawTree, path: str) -> Iterator[Example]:
    n_rows = 0
    for row in whole_lines(tree.path(path), COLUMNS):
        n_rows += 1
        causes = [word for column in CAUSES if (word := (row.get(column) or "").strip())]
        name, label = row["X_ray_image_name"].strip(), row["Label"]
        yield Example(
            record=as_id(name),
            native=("/".join([label, *([] if label == "Normal" else causes)]),),
            split=SPLITS.get(row["Dataset_type"]),
            flags=("patient_unknown",),
            meta={**kept(row, CAUSES), **_person(name)},
        )
    if n_rows != N_ROWS:
        logger.warning(
            "%s has %d rows, the release %d: altered copies circulate", path, n_rows, N_ROWS
        )


def _person(name: str) -> dict[str, str]:
    """The number in a name such as person1_virus_6.jpeg; no key of a patient, see the card."""
    numbered = re.match(r"person(\d+)_", name)
    return {"person": numbered.group(1)} if numbered else {}


__getattr__ = builder_of(__name__)
