"""PAD-UFES-20: photographs of skin lesions taken with telephones, with the patients' answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from climb_hf.card import CC_BY_4_0, Access, Layout, Remote, SourceCard
from climb_hf.io.table import whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.people import sex_of, years_of
from climb_hf.photos import DERMOSCOPY, SKIN5, kept, native_classes, records_of, with_images
from climb_hf.schema import Example, Fault

IMAGE = r"PAT_\d+_\d+_\d+\.(?i:png)"
ARCHIVE = r"imgs_part_\d\.zip"
CLASS_OF = {"MEL": "MEL", "NEV": "NV", "BCC": "BCC", "ACK": "AKIEC", "SCC": "AKIEC", "SEK": "OTHER"}
CARD = SourceCard(
    name="pad_ufes_20",
    title="PAD-UFES-20, skin lesions photographed with smartphones",
    summary="clinical photographs of skin lesions; five of CLIMB's classes or six diagnoses",
    licence=CC_BY_4_0,
    access=Access.OPEN,
    homepage="https://data.mendeley.com/datasets/zr7vgbcyr2/1",
    citation=(
        "Pacheco et al. (2020), Data in Brief 32:106221, doi:10.1016/j.dib.2020.106221; "
        "data doi:10.17632/zr7vgbcyr2.1"
    ),
    release="Mendeley Data zr7vgbcyr2, version 1",
    remotes=(Remote("https://data.mendeley.com/datasets/zr7vgbcyr2/1"),),
    layouts=(
        Layout(
            "Mendeley Data",
            marker=IMAGE + "|" + ARCHIVE,
            files=rf"metadata\.csv|{IMAGE}|{ARCHIVE}",
            example="images/imgs_part_1/PAT_8_15_820.png",
        ),
    ),
    vocabularies=(
        replace(SKIN5, codes=CLASS_OF),
        native_classes(
            "pad6",
            {
                "ACK": "Actinic keratosis",
                "BCC": "Basal cell carcinoma",
                "MEL": "Melanoma",
                "NEV": "Nevus",
                "SCC": "Squamous cell carcinoma",
                "SEK": "Seborrheic keratosis",
            },
        ),
    ),
    n_records=2_298,
    n_patients=1_373,
    question="skin_lesion",
    shown="A photograph of a skin lesion, taken with a telephone, is given.",
    quirks=(
        "clinical photographs, which CLIMB counts as dermoscopy",
        "images are read from the three inner archives as they are, or from wherever these were "
        "unpacked to",
        "many answers are blank for lesions that were not biopsied: meta holds those that are "
        "given, UNK among them",
    ),
    **DERMOSCOPY,
)
COLUMNS = ("patient_id", "lesion_id", "age", "gender", "diagnostic", "img_id")
ANSWERS = (
    *("smoke", "drink", "background_father", "background_mother", "pesticide"),
    *("skin_cancer_history", "cancer_history", "has_piped_water", "has_sewage_system"),
    *("fitspatrick", "region", "diameter_1", "diameter_2", "itch", "grew", "hurt", "changed"),
    *("bleed", "elevation", "biopsed"),
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a line of the metadata."""
    found = records_of(tree.named("metadata.csv"), partial(_rows, tree), "metadata.csv")
    yield from with_images(tree, found, IMAGE, ARCHIVE)


def _rows(tree: RawTree, path: str) -> Iterator[Example]:
    for row in whole_lines(tree.path(path), COLUMNS):
        patient = row["patient_id"] or None
        yield Example(
            record=row["img_id"].removesuffix(".png"),
            native=(row["diagnostic"],),
            patient_id=patient,
            group=f"{patient} {row['lesion_id']}",
            age_years=years_of(row["age"]),
            sex=sex_of(row["gender"]),
            flags=() if patient else ("patient_unknown",),
            meta=kept(row, ("lesion_id", *ANSWERS)),
        )


__getattr__ = builder_of(__name__)
