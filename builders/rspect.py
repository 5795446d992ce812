"""RSPECT: CT of the pulmonary arteries, slice by slice, of the RSNA challenge on embolism."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, Option, Remote, SourceCard, SplitRule
from climb_hf.io.table import flag_of, read_csv
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.scans import CT, as_named
from climb_hf.schema import Example, Fault, ImageFile, VolumeFile

SLICE = r"train/[^/]+/[^/]+/[^/]+\.dcm"
TABLE = "train.csv"
IDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
SLICE_FLAG = "pe_present_on_image"
CHRONIC, ACUTE, NONE = "Chronic PE", "Acute PE", "No PE"
PAGE = "https://www.kaggle.com/competitions/rsna-str-pulmonary-embolism-detection"
CARD = SourceCard(
    name="rspect",
    title="RSNA-STR Pulmonary Embolism CT (RSPECT)",
    summary="slices of CT angiograms of the lung, with and without pulmonary embolism",
    licence=Licence("rules of the Kaggle competition", share_data=False, share_derived=False),
    access=Access.ACCOUNT,
    homepage=PAGE,
    citation="Colak et al. (2021), Radiol Artif Intell 3(2):e200254, doi:10.1148/ryai.2021200254",
    release="Kaggle 2020, 7,279 studies with labels",
    remotes=(Remote(PAGE),),
    layouts=(Layout("Kaggle", SLICE, rf"{SLICE}|train\.csv", example="train/68/2b/c0.dcm"),),
    vocabularies=(as_named("pe3", (NONE, CHRONIC, ACUTE)),),
    split=SplitRule({"train": 0.75, "test": 0.25}),
    n_records=1_790_594,
    window_hu=(80.0, 700.0),
    variants={"slices": "a record a slice", "volumes": "a record a study, its slices a volume"},
    options={
        "dicom_mode": Option("uint8", "what becomes of a slice", ("uint8", "uint16", "raw")),
    },
    question="pulmonary_embolism_slice",
    shown="A slice of a CT angiogram of the chest is given. Which kind of embolism is visible?",
    quirks=(
        "whether an embolism is visible is told of each slice, its kind of the study: a slice "
        "with one is chronic where the study says so, else acute, unspecified ones included",
        "studies stay in one split, where CLIMB draws slices; patients are unknown",
        "the test files of the competition have no labels and are not read",
        "slices are shown at level 80, width 700 HU, as CLIMB does",
        "flags of the study stand in meta",
    ),
    **CT,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a slice of the table, or a study."""
    if not tree.named(TABLE):
        yield Fault(
            TABLE, "damaged", "it is not there, and slices without it have no labels", TABLE
        )
        return
    lying = {tuple(path.split("/")[-3:]): path for path in tree.find(SLICE)}
    studies: dict[str, list[tuple[Mapping[str, str], str]]] = {}
    for path in tree.named(TABLE):
        for row in read_csv(tree.path(path), (*IDS, SLICE_FLAG, "chronic_pe")):
            study, series, one = (row[name].strip() for name in IDS)
            found = lying.get((study, series, f"{one}.dcm"))
            if found is None:
                yield Fault(one, "missing", "listed, but its file is not there")
            elif options["variant"] == "volumes":
                studies.setdefault(study, []).append((row, found))
            else:
                shown = {"form": options["dicom_mode"], "window": CARD.window_hu}
                image = ImageFile(tree.path(found), **shown)
                yield Example(one, native=(_kind(row),), images=(image,), **_study(row))
    for study, slices in studies.items():
        rows = [row for row, _ in slices]
        files = tuple(tree.path(path) for _, path in slices)
        worst = max(rows, key=lambda row: flag_of(row[SLICE_FLAG]) or False)
        volume = VolumeFile(files[0].parent, files)
        yield Example(study, native=(_kind(worst),), volumes=(volume,), **_study(worst))


def _kind(row: Mapping[str, str]) -> str:
    if not flag_of(row[SLICE_FLAG]):
        return NONE
    return CHRONIC if flag_of(row["chronic_pe"]) else ACUTE


def _study(row: Mapping[str, str]) -> dict[str, Any]:
    flags = {name: value for name, value in row.items() if name not in (*IDS, SLICE_FLAG)}
    study = row["StudyInstanceUID"].strip()
    return {"study_id": study, "group": study, "flags": ("patient_unknown",), "meta": flags}


__getattr__ = builder_of(__name__)
