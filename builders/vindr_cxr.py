"""VinDr-CXR: chest radiographs of adults in Hanoi, three radiologists each, with their boxes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from climb_hf.card import (
    Access,
    Layout,
    Licence,
    Modality,
    Remote,
    SourceCard,
    SplitRule,
    Vocabulary,
)
from climb_hf.chest import CHEST14
from climb_hf.io.table import begins_with, whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.photos import DICOM_MODE, records_of, with_images
from climb_hf.radiology import READING_OPTIONS, boxes_of, films, read_by
from climb_hf.schema import Example, Fault

IMAGE = r"(train|test)/[0-9a-f]{32}\.dicom"
TABLES = r"(image_labels|annotations)_(train|test)\.csv"
_WIDE = "Enlarged Cardiomediastinum"
# The release's column -> the finding of CheXpert that it comes under; "" where there is none.
LOCAL = {
    **{"Aortic enlargement": _WIDE, "Atelectasis": "Atelectasis"},
    **{"Calcification": "", "Cardiomegaly": "Cardiomegaly", "Clavicle fracture": "Fracture"},
    **{"Consolidation": "Consolidation", "Edema": "Edema", "Emphysema": "", "Enlarged PA": _WIDE},
    **{"ILD": "", "Infiltration": "Lung Opacity", "Lung Opacity": "Lung Opacity"},
    **{"Lung cavity": "Lung Lesion", "Lung cyst": "Lung Lesion", "Mediastinal shift": _WIDE},
    **{"Nodule/Mass": "Lung Lesion", "Pleural effusion": "Pleural Effusion"},
    **{"Pleural thickening": "Pleural Other", "Pneumothorax": "Pneumothorax"},
    **{"Pulmonary fibrosis": "", "Rib fracture": "Fracture", "Other lesion": "Lung Lesion"},
}
# In the order behind CLIMB's integer labels.
GLOBAL = {"Lung tumor": "Lung Lesion", "Pneumonia": "Pneumonia", "Tuberculosis": "", "COPD": ""}
GLOBAL |= {"Other diseases": "", "No finding": "No Finding"}
CODES = {**LOCAL, **GLOBAL}
RENAMED = {"Other disease": "Other diseases"}  # the table of test has a spelling of its own
BOXES = ("image_id", "class_name", "x_min", "y_min", "x_max", "y_max")
# What Kaggle's table, which has no more than 14 findings, does not ask.
NOT_AT_KAGGLE = {"Clavicle fracture", "Edema", "Emphysema", "Enlarged PA", "Lung cavity"}
NOT_AT_KAGGLE |= {"Lung cyst", "Mediastinal shift", "Rib fracture", *GLOBAL} - {"No finding"}


def _classes(identity: str, names: Mapping[str, str]) -> Vocabulary:
    codes = {code: code if code in names else "" for code in CODES}
    normal = "No finding" if "No finding" in names else None
    return Vocabulary(identity, tuple(names), codes=codes, normal=normal)


CARD = SourceCard(
    name="vindr_cxr",
    title="VinDr-CXR, chest radiographs with radiologists' annotations",
    summary="frontal chest radiographs of adults: 6 diagnoses, 22 findings, boxes of each reader",
    modality=Modality.CHEST_XRAY,
    licence=Licence("PhysioNet Credentialed Health Data License 1.5.0", False, False),
    access=Access.CREDENTIALED,
    homepage="https://physionet.org/content/vindr-cxr/1.0.0/",
    citation="Nguyen et al. (2022), Scientific Data 9:429, doi:10.1038/s41597-022-01498-w",
    release="PhysioNet, version 1.0.0",
    remotes=(Remote("https://physionet.org/files/vindr-cxr/1.0.0/"),),
    layouts=(
        Layout("PhysioNet", TABLES, rf"{TABLES}|{IMAGE}", "annotations/image_labels_train.csv"),
        Layout(
            "VinBigData competition of Kaggle",
            marker=IMAGE,
            files=rf"train\.csv|{IMAGE}",
            example="train/50a418190bc3fb1ef1633bf9678929b3.dicom",
        ),
    ),
    vocabularies=(
        _classes("vindr_global6", GLOBAL),
        replace(CHEST14, codes=CODES, normal="No Finding"),
        _classes("vindr_local22", LOCAL),
        _classes("vindr_all28", CODES),
    ),
    split=SplitRule({"train": 0.8, "test": 0.2}, True, "the folders train and test"),
    n_records=18_000,
    options={**READING_OPTIONS, "dicom_mode": DICOM_MODE},
    question="chest_diagnosis",
    shown="A frontal chest radiograph of an adult is given.",
    quirks=(
        "labels of train are votes of three readers, kept in label_weights; those of test are a "
        "consensus of five",
        "where no majority agrees on a diagnosis nothing is positive, and no question is asked",
        "votes for several findings of one class of chest14 are added up",
        "patients are unknown; ages and sexes stand in some headers, and an age of 0 is none",
        "only findings have boxes; those without area are left out",
        "Kaggle's table asks for 14 findings and No finding, the rest stays unlabelled",
    ),
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image of the tables of labels."""
    named = [p for s in ("train", "test") for p in tree.named(f"image_labels_{s}.csv")]
    kaggle = [p for p in tree.named("train.csv") if begins_with(tree.path(p), ",".join(BOXES[:2]))]
    rows = partial(_rows, tree, options)
    found = records_of([*named, *kaggle], rows, "image_labels_train.csv")
    yield from films(with_images(tree, found, IMAGE, twins=False), options)


def _rows(tree: RawTree, options: Mapping[str, Any], table: str) -> Iterator[Example | Fault]:
    name = table.rpartition("/")[2]
    kaggle = name == "train.csv"
    drawn = [table] if kaggle else tree.named(name.replace("image_labels", "annotations"))
    if not drawn:
        yield Fault(name, "missing", "its table of annotations is not there: no image has boxes")
    lines = (row for path in drawn for row in whole_lines(tree.path(path), BOXES))
    boxes = boxes_of(lines, BOXES[2:], options)
    asked = [code for code in CODES if not kaggle or code not in NOT_AT_KAGGLE]
    for image, readings in _readings(tree, table, kaggle).items():
        if known := read_by(readings, asked, options):
            yield Example(
                record=image,
                split="test" if "test" in name else "train",
                flags=("patient_unknown",),
                boxes=boxes.get(image, ()),
                **known,
            )
        else:
            yield Fault(image, "left out", f"{options['reader']} is none of its readers")


def _readings(tree: RawTree, table: str, kaggle: bool) -> dict[str, dict[str, set[str]]]:
    """image -> reader, "" for a consensus -> what is positive."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row in whole_lines(tree.path(table), BOXES if kaggle else ("image_id", "No finding")):
        cells = {row["class_name"]: "1"} if kaggle else row
        cells = {RENAMED.get(name, name): cell for name, cell in cells.items()}
        positive = {c for c in CODES if (cells.get(c) or "0").strip() in ("1", "1.0")}
        found[row["image_id"]][row.get("rad_id") or ""] |= positive
    return found


__getattr__ = builder_of(__name__)
