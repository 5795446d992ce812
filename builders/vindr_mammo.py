"""VinDr-Mammo: digital mammograms of four views from Hanoi, BI-RADS a breast, boxes of findings."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from climb_hf.card import Access, Layout, Licence, Remote, SourceCard, SplitRule
from climb_hf.io.table import whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.mammography import BIRADS5, DENSITY4, MAMMOGRAPHY, birads_of, view_of
from climb_hf.photos import DICOM_MODE, kept, records_of, with_images
from climb_hf.radiology import boxes_of, films
from climb_hf.schema import Example, Fault

IMAGE = r"[0-9a-f]{32}/[0-9a-f]{32}\.dicom"
BREASTS, FINDINGS = "breast-level_annotations.csv", "finding_annotations.csv"
TABLES = r"(breast-level|finding)_annotations\.csv"
SPLITS = {"training": "train", "test": "test"}
CARD = SourceCard(
    name="vindr_mammo",
    title="VinDr-Mammo, full-field digital mammograms",
    summary="digital mammograms of 5,000 exams, four views each: BI-RADS, density, findings",
    licence=Licence("PhysioNet Restricted Health Data License 1.5.0", False, False),
    access=Access.AGREEMENT,
    homepage="https://physionet.org/content/vindr-mammo/1.0.0/",
    citation="Nguyen et al. (2023), Scientific Data 10:277, doi:10.1038/s41597-023-02100-7",
    release="PhysioNet, version 1.0.0",
    remotes=(Remote("https://physionet.org/files/vindr-mammo/1.0.0/"),),
    layouts=(Layout("PhysioNet", TABLES, rf"{TABLES}|{IMAGE}", BREASTS),),
    vocabularies=(BIRADS5, DENSITY4),
    split=SplitRule({"train": 0.8, "test": 0.2}, True, "the column split, by exam"),
    n_records=20_000,
    n_patients=5_000,
    options={"dicom_mode": DICOM_MODE},
    question="breast_assessment",
    shown="A digital screening mammogram of one breast is given.",
    quirks=(
        "BI-RADS and density are those of the breast: its two views share them",
        "grades are ordered: the number stands in targets too, as birads",
        "a box is called by all its categories, joined by '; '; its own BI-RADS stands in meta",
        "each exam counts as a patient of its own, as far as is published",
        "two thirds of all images are BI-RADS 1, and 1 in 88 is BI-RADS 5",
    ),
    **MAMMOGRAPHY,
)
COLUMNS = ("study_id", "image_id", "laterality", "view_position", "breast_birads")
EDGES = ("xmin", "ymin", "xmax", "ymax")
DEVICE = ("Manufacturer", "ManufacturerModelName")


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image of the table of breasts, or of that of findings without it."""
    tables = tree.named(BREASTS) or tree.named(FINDINGS)
    views: dict[str, str] = {}
    found = records_of(tables, partial(_rows, tree, views), BREASTS)
    yield from films(with_images(tree, found, IMAGE, twins=False), options, views, DEVICE)


def _rows(tree: RawTree, views: dict[str, str], table: str) -> Iterator[Example | Fault]:
    if not tree.named(FINDINGS):
        yield Fault(FINDINGS, "missing", "it is not there: no image has boxes")
    drawn: list[dict[str, str]] = []
    for path in tree.named(FINDINGS):
        drawn += whole_lines(tree.path(path), ("image_id", "finding_categories", *EDGES))
    findings: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in drawn:
        row["categories"] = _joined(row["finding_categories"])
        findings[row["image_id"]].append(kept(row, ("categories", "finding_birads")))
    boxes = boxes_of(drawn, EDGES, {}, "categories")
    rows = [*whole_lines(tree.path(table), (*COLUMNS, "split"))]
    if table.endswith(FINDINGS):  # a row a finding
        rows = [*{row["image_id"]: row for row in rows}.values()]
    for row in rows:
        views[row["image_id"]] = view_of(row["laterality"], row["view_position"])
        yield Example(
            record=row["image_id"],
            native=tuple(kept(row, ("breast_birads", "breast_density")).values()),
            patient_id=row["study_id"],
            study_id=row["study_id"],
            split=SPLITS.get(row["split"].strip()),
            targets=birads_of(row["breast_birads"]),
            boxes=boxes.get(row["image_id"], ()),
            meta={**kept(row, ("series_id",)), "findings": findings.get(row["image_id"], [])},
        )


def _joined(cell: str) -> str:
    """`Mass; Skin Retraction` of a list as Python prints it."""
    try:
        return "; ".join(json.loads(cell.replace("'", '"')))
    except (TypeError, ValueError):
        return cell.strip()


__getattr__ = builder_of(__name__)
