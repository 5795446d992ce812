"""ISIC 2020: dermoscopic images with patient context, benign or malignant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, Option, Remote, SourceCard, Vocabulary
from climb_hf.io.table import whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.people import sex_of, years_of
from climb_hf.photos import DERMOSCOPY, kept, records_of, with_images
from climb_hf.schema import Example, Fault
from climb_hf.splits import join_groups

IMAGE = r"ISIC_\d{7}\.(?i:jpe?g)"
TABLE = r"ISIC_2020_Training_GroundTruth(_v2)?\.csv"
EXAMPLE, DUPLICATES = "ISIC_2020_Training_GroundTruth.csv", "ISIC_2020_Training_Duplicates.csv"
CLASSES = ("Malignant", "Benign")
HOST = "https://isic-challenge-data.s3.amazonaws.com/2020/"
CARD = SourceCard(
    name="isic2020",
    title="SIIM-ISIC 2020 melanoma classification challenge",
    summary="dermoscopic images of skin lesions of 2,056 patients, benign or malignant",
    licence=Licence("CC-BY-NC-4.0", share_data=True, share_derived=True),
    access=Access.OPEN,
    homepage="https://challenge2020.isic-archive.com/",
    citation=(
        "Rotemberg et al. (2021), Scientific Data 8:34, doi:10.1038/s41597-021-00815-z; "
        "data doi:10.34970/2020-ds01"
    ),
    release="ISIC 2020 challenge, training set",
    remotes=(
        Remote(f"{HOST}ISIC_2020_Training_JPEG.zip"),
        Remote(f"{HOST}ISIC_2020_Training_GroundTruth_v2.csv"),
        Remote(f"{HOST}{DUPLICATES}"),
    ),
    layouts=(Layout("ISIC challenge, JPEG", TABLE, rf"{TABLE}|{DUPLICATES}|{IMAGE}", EXAMPLE),),
    vocabularies=(Vocabulary("malignancy", CLASSES, codes={c.lower(): c for c in CLASSES}),),
    n_records=33_126,
    n_patients=2_056,
    options={
        "drop_duplicates": Option(True, "leave out the second of published duplicates", kind=bool),
    },
    question="malignancy",
    shown="A dermoscopic photograph of a skin lesion is given.",
    quirks=(
        "integers follow CLIMB's list of names (Malignant 0, Benign 1); the release's target is "
        "1 for malignant",
        "the challenge's test set has no labels and is not read",
        "where a pair of duplicates is kept, both stay in one split, whoever their patients are",
        "both versions of the table are read, the second (with lesion_id) before the first",
    ),
    **DERMOSCOPY,
)
COLUMNS = ("image_name", "patient_id", "sex", "age_approx", "benign_malignant")
KEPT = ("lesion_id", "anatom_site_general_challenge", "diagnosis")


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image of the training table."""
    pairs = _duplicates(tree)
    groups = join_groups((name, f"{a} {b}") for a, b in pairs for name in (a, b))
    dropped = {second: first for first, second in pairs} if options["drop_duplicates"] else {}
    tables = sorted(tree.find(TABLE), key=lambda path: ("_v2" not in path, path))
    found = records_of(tables, lambda path: _rows(tree, path, groups), "GroundTruth")
    for one in with_images(tree, found, IMAGE):
        first = dropped.get(one.record)
        if first and isinstance(one, Example):
            yield Fault(one.record, "left out", f"listed as a duplicate of {first}")
        else:
            yield one


def _duplicates(tree: RawTree) -> list[tuple[str, str]]:
    columns = ("image_name_1", "image_name_2")
    rows = (row for path in tree.named(DUPLICATES) for row in whole_lines(tree.path(path), columns))
    return [(row["image_name_1"], row["image_name_2"]) for row in rows]


def _rows(tree: RawTree, path: str, groups: Mapping[str, str]) -> Iterator[Example]:
    for row in whole_lines(tree.path(path), COLUMNS):
        patient = row["patient_id"] or None
        yield Example(
            record=row["image_name"],
            native=(row["benign_malignant"],),
            patient_id=patient,
            group=groups.get(row["image_name"]),
            age_years=years_of(row["age_approx"]),
            sex=sex_of(row["sex"]),
            flags=() if patient else ("patient_unknown",),
            meta=kept(row, KEPT),
        )


__getattr__ = builder_of(__name__)
