"""INSPECT: CT of the pulmonary arteries with the impression of the report, and outcomes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Remote, SourceCard, SplitRule
from climb_hf.io.table import flag_of, read_csv
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.scans import CT, STANFORD, as_named
from climb_hf.schema import Example, Fault, VolumeFile

VOLUME = r"CTPA/[^/]+\.nii\.gz"
TABLE = r"(labels|splits|study_mapping|impressions)_\d{8}\.tsv"
OLD = r"Final_Impressions(_labels)?\.csv"
SPLITS = {"train": "train", "valid": "validation", "validation": "validation", "test": "test"}
# The first that holds decides; what is left of the positive ones is called chronic.
ACUTE = ("Acute Subsegmental-only PE", "Acute PE")
CLASSES = ("No PE", *ACUTE, "Subsegmental-only PE", "Chronic PE")
OUTCOMES = (
    *(f"{months}_month_{kind}" for kind in ("mortality", "readmission") for months in (1, 6, 12)),
    "12_month_PH",
)
PAGE = "https://stanfordaimi.azurewebsites.net/datasets/151848b9-8b31-4129-bc25-cefdf18f95d8"
CARD = SourceCard(
    name="inspect_ctpa",
    title="INSPECT",
    summary="CT angiograms of the lung with impressions, pulmonary embolism and outcomes",
    licence=STANFORD,
    access=Access.AGREEMENT,
    homepage=PAGE,
    citation="Huang et al. (2023), NeurIPS Datasets and Benchmarks, arXiv:2311.10798",
    release="June 2025, 23,248 studies; the older tables are read too",
    remotes=(
        Remote(
            "https://stanfordaimi.azurewebsites.net/datasets/151848b9-8b31-4129-bc25-cefdf18f95d8"
        ),
    ),
    layouts=(
        Layout("2025", TABLE, f"{VOLUME}|{TABLE}", example="full/labels_20250611.tsv"),
        Layout("older", OLD, f"{VOLUME}|{OLD}", example="Final_Impressions_labels.csv"),
    ),
    vocabularies=(as_named("pe5", CLASSES),),
    split=SplitRule(
        {"train": 0.8, "validation": 0.05, "test": 0.15},
        official=True,
        origin="splits_20250611.tsv, by patient",
    ),
    n_records=23_248,
    n_patients=19_402,
    window_hu=(80.0, 700.0),
    question="pulmonary_embolism",
    shown="Frames of a CT of the chest are given. Which kind of pulmonary embolism do they show?",
    quirks=(
        "labels were found in reports by a program; chronic is what is left of the positive "
        "studies, no finding of its own",
        "files are called by image, labels by impression: both are joined by study_mapping; the "
        "older release calls files by impression",
        "outcomes stand in targets, 0 or 1; a censored one is left out",
        "not every scan has contrast, some have gaps between slices",
        "CLIMB splits by rows, so that a patient may be in both; here the official split is taken",
    ),
    **CT,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a study that has labels."""
    labels = [*_rows(tree, r"labels_\d{8}\.tsv|Final_Impressions_labels\.csv")]
    images = {row["impression_id"]: row for row in _rows(tree, r"study_mapping_\d{8}\.tsv")}
    splits = {row["impression_id"]: row["split"] for row in _rows(tree, r"splits_\d{8}\.tsv")}
    texts = {
        row["impression_id"]: row.get("impressions")
        for row in _rows(tree, r"impressions_\d{8}\.tsv|Final_Impressions\.csv")
    }
    if not labels:
        yield Fault("labels", "damaged", "the table of labels is not there: fetch labels_*.tsv")
    lying = {_stem(path): path for path in tree.find(VOLUME)}
    seen: set[str] = set()
    for row in labels:
        record = row["impression_id"].strip()
        study = images.get(record, {})
        image = _stem(study.get("image_id") or record)
        if record in seen:
            yield Fault(record, "copy", "its impression is listed a second time")
        elif image not in lying:
            yield Fault(record, "missing", f"listed, but {image}.nii.gz is not there")
        else:
            person = study.get("person_id") or None
            yield Example(
                record=record,
                patient_id=person,
                study_id=image,
                native=_kind(row),
                split=SPLITS.get((splits.get(record) or "").strip().lower()),
                flags=() if person else ("patient_unknown",),
                text=texts.get(record),
                targets=tuple(_outcomes(row)),
                meta={"procedure_time": study.get("procedure_DATETIME") or None},
                volumes=(VolumeFile(tree.path(lying[image])),),
            )
        seen.add(record)


def _rows(tree: RawTree, pattern: str) -> Iterator[dict[str, str]]:
    for path in tree.find(pattern):
        yield from read_csv(tree.path(path), ("impression_id",), "\t,")


def _stem(path: str) -> str:
    return re.sub(r"\.nii(\.gz)?$", "", path.rpartition("/")[2].strip())


def _kind(row: Mapping[str, str]) -> tuple[str, ...]:
    positive = flag_of(row.get("pe_positive") or row.get("pe_positive_nlp"))
    if positive is None:
        return ()
    acute, small = flag_of(row.get("pe_acute")), flag_of(row.get("pe_subsegmentalonly"))
    held = (not positive, acute and small, acute, small, True)
    return (CLASSES[next(at for at, one in enumerate(held) if one)],)


def _outcomes(row: Mapping[str, str]) -> Iterator[tuple[str, float, None]]:
    for name in OUTCOMES:
        said = flag_of(row.get(name))
        if said is not None:
            yield name, float(said), None


__getattr__ = builder_of(__name__)
