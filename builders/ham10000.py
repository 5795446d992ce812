"""HAM10000: dermoscopic images of pigmented lesions, the training set of ISIC 2018 task 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from climb_hf.card import Access, Layout, Licence, Remote, SourceCard
from climb_hf.io.table import whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.people import sex_of, years_of
from climb_hf.photos import DERMOSCOPY, SKIN5, kept, native_classes, records_of, stem, with_images
from climb_hf.schema import Example, Fault, MaskFile

IMAGE = r"ISIC_\d{7}\.(?i:jpe?g)"
MASK = r"ISIC_\d{7}_segmentation\.(?i:png)"
METADATA = r"HAM10000_metadata(\.csv|\.tab)?"
ONE_HOT = r"ISIC2018_Task3_Training_GroundTruth\.csv"
HOST = "https://isic-challenge-data.s3.amazonaws.com/2018/"
GROUPINGS = "ISIC2018_Task3_Training_LesionGroupings.csv"
DIAGNOSES = {
    "akiec": "Actinic keratosis or intraepithelial carcinoma",
    "bcc": "Basal cell carcinoma",
    "bkl": "Benign keratosis",
    "df": "Dermatofibroma",
    "mel": "Melanoma",
    "nv": "Melanocytic nevus",
    "vasc": "Vascular lesion",
}
CLASS_OF = {"mel": "MEL", "nv": "NV", "bcc": "BCC", "akiec": "AKIEC"}
CODES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")  # columns of the challenge's table
CARD = SourceCard(
    name="ham10000",
    title="HAM10000, Human Against Machine with 10000 training images",
    summary="dermoscopic images of outlined pigmented lesions; five classes or seven diagnoses",
    version="1.1.0",
    licence=Licence("CC-BY-NC-4.0", share_data=True, share_derived=True),
    access=Access.OPEN,
    homepage="https://doi.org/10.7910/DVN/DBW86T",
    citation="Tschandl et al. (2018), Scientific Data 5:180161, doi:10.1038/sdata.2018.161",
    release="Harvard Dataverse, version 4",
    remotes=(
        Remote(f"{HOST}ISIC2018_Task3_Training_Input.zip"),
        Remote(f"{HOST}ISIC2018_Task3_Training_GroundTruth.zip"),
        Remote(f"{HOST}{GROUPINGS}"),
    ),
    layouts=(
        Layout("Dataverse", METADATA, rf"{METADATA}|{IMAGE}|{MASK}", "HAM10000_metadata.csv"),
        Layout(
            "ISIC 2018 challenge",
            marker=ONE_HOT,
            files=rf"{ONE_HOT}|{GROUPINGS}|{IMAGE}|{MASK}",
            example="ISIC2018_Task3_Training_GroundTruth.csv",
        ),
    ),
    vocabularies=(
        replace(
            SKIN5,
            codes={code: CLASS_OF.get(code.lower(), "OTHER") for code in (*DIAGNOSES, *CODES)},
        ),
        replace(
            native_classes("ham7", DIAGNOSES),
            codes={code: code.lower() for code in (*DIAGNOSES, *CODES)},
        ),
    ),
    n_records=10_015,
    question="skin_lesion",
    shown="A dermoscopic image of a pigmented skin lesion is given.",
    quirks=(
        "patients are unknown: images of one lesion stay in one split, as lesion_id says; without "
        "the challenge's table of groupings they may be torn apart",
        "the Kaggle copy states CC-BY-NC-SA-4.0, the challenge CC-BY-NC-4.0",
        "outlines are an archive of their own, cited as Tschandl et al. (2020), Nat Med 26:1229: "
        "they are read as masks where they are there, and one missing among them is reported",
        "an age of 0 years stands in the release for some and is kept",
    ),
    **DERMOSCOPY,
)
KEPT = ("lesion_id", "dx_type", "localization", "dataset")


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image that a table lists; the Dataverse's table goes before."""
    tables = [*tree.find(METADATA), *tree.find(ONE_HOT)]
    found = records_of(tables, partial(_rows, tree), "HAM10000_metadata")
    masks = {stem(path).removesuffix("_segmentation"): path for path in tree.find(MASK)}
    for one in with_images(tree, found, IMAGE):
        mask = masks.get(one.record)
        if isinstance(one, Fault) or not masks:
            yield one
        elif mask is None:
            yield Fault(f"{one.record}_segmentation", "missing", "others are there; read without")
            yield one
        else:
            yield replace(one, masks=(MaskFile(tree.path(mask), "lesion"),))


def _rows(tree: RawTree, path: str) -> Iterator[Example]:
    if path.endswith("GroundTruth.csv"):
        yield from _challenge(tree, path)
        return
    for row in whole_lines(tree.path(path), ("image_id", "lesion_id", "dx"), ",\t"):
        yield Example(
            record=row["image_id"],
            native=(row["dx"],),
            group=row["lesion_id"] or None,
            age_years=years_of(row.get("age")),
            sex=sex_of(row.get("sex")),
            flags=("patient_unknown",),
            meta=kept(row, KEPT),
        )


def _challenge(tree: RawTree, path: str) -> Iterator[Example]:
    lesions = {
        row["image"]: row
        for name in tree.named(GROUPINGS)
        for row in whole_lines(tree.path(name), ("image", "lesion_id"))
    }
    for row in whole_lines(tree.path(path), ("image", *CODES)):
        lesion = lesions.get(row["image"], {})
        yield Example(
            record=row["image"],
            native=tuple(code for code in CODES if row[code].startswith("1")),
            group=lesion.get("lesion_id") or None,
            flags=("patient_unknown",),
            meta=kept(lesion, ("lesion_id", "diagnosis_confirm_type")),
        )


__getattr__ = builder_of(__name__)
