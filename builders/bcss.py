"""BCSS: regions of breast cancer slides, segmented by crowds, and patches of their tissues."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from climb_hf.card import (
    Access,
    Layout,
    Licence,
    Modality,
    Option,
    Remote,
    SourceCard,
    SplitRule,
    Vocabulary,
)
from climb_hf.io.files import or_fault
from climb_hf.io.regions import Cut, scaled, size_of, windows_of
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, ImageFile, MaskFile

NAME = r"(TCGA-(\w\w)-\w{4})-DX\w+?_xmin(\d+)_ymin(\d+)_(?:MPP|MAG)-[\d.]+\.png"
EXAMPLE = "images/TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500.png"
CLASSES = ("Tumor", "Stroma", "Lymphocytic infiltrate", "Necrosis/debris")
PAPERS = {1: (19, 20), 2: (), 3: (10, 11), 4: ()}  # code of a class -> what the paper adds to it
TEST_SITES = ("OL", "LL", "E2", "EW", "GM", "S3")
CUT = Cut(least=224, most=1024, overlap=128)
CARD = SourceCard(
    name="bcss",
    title="Breast Cancer Semantic Segmentation (BCSS)",
    summary="regions of H&E slides of 151 patients with triple-negative breast cancer, segmented",
    modality=Modality.PATHOLOGY,
    licence=Licence("CC0-1.0", share_data=True, share_derived=True),
    access=Access.OPEN,
    homepage="https://github.com/PathologyDataScience/BCSS",
    citation="Amgad et al. (2019), Bioinformatics 35:3461, doi:10.1093/bioinformatics/btz083",
    release="PathologyDataScience/BCSS, 0.25 um a pixel",
    remotes=(Remote("https://github.com/PathologyDataScience/BCSS"),),
    layouts=(Layout("images and masks", NAME, rf"{NAME}|roiBounds\.csv", EXAMPLE),),
    vocabularies=(
        Vocabulary("bcss4", CLASSES, codes={str(n): c for n, c in enumerate(CLASSES, 1)}),
    ),
    split=SplitRule(
        {"train": 0.8, "test": 0.2}, True, "test: slides of six sites, as in the paper"
    ),
    n_records=5_264,
    n_patients=151,
    variants={
        "patches": "parts of a region with the mask of their tissue, as CLIMB cuts them",
        "rois": "whole regions with a mask of all codes, without a class",
    },
    options={
        "merge": Option(
            "none", "`paper`: codes 19 and 20 are tumor, 10 and 11 infiltrate", ("none", "paper")
        ),
        "min_fraction": Option(0.0, "patches with less of their tissue are left out", kind=float),
    },
    question="tissue",
    shown="A patch of breast tissue stained with haematoxylin and eosin is given.",
    asked="choice",
    quirks=(
        "codes of masks: 0 outside the region (to ignore, not 'other'), 1 tumor, 2 stroma, 3 "
        "lymphocytic infiltrate, 4 necrosis or debris, 5 glandular secretions, 6 blood, 7 exclude, "
        "8 metaplasia, 9 fat, 10 plasma cells, 11 other immune infiltrate, 12 mucoid, 13 normal "
        "acinus or duct, 14 lymphatics, 15 undetermined, 16 nerve, 17 skin adnexa, 18 blood "
        "vessel, 19 angioinvasion, 20 dcis, 21 other",
        "a patch is the box around a connected area of one tissue, and holds others too; under 224 "
        "px a side it is left out, above 1,024 parted. To find them each mask is opened: minutes",
        "CLIMB counts 5,264 patches, split 4:1; split_rule='stratified' gives such shares",
    ),
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields the patches of each region, or the region itself."""
    images: dict[str, str] = {}
    masks: dict[str, str] = {}
    for path in sorted(tree.find(NAME)):
        folder, _, name = path.rpartition("/")
        about = masks if folder.lower().endswith("masks") else images
        if about.setdefault(name, path) != path:
            yield Fault(_slide(name), "copy", "it lies in a second place", path)
    for name in sorted(masks.keys() & images.keys()):
        found = _region(tree, images[name], masks[name], options)
        yield from or_fault(found, _slide(name), masks[name])
    for name in sorted(masks.keys() ^ images.keys()):
        lost = "image" if name in masks else "mask"
        yield Fault(_slide(name), "missing", f"its {lost} is not there")
    have = {_slide(name) for name in (*images, *masks)}
    for path in tree.named("roiBounds.csv"):
        yield from or_fault(_listed_only(tree, path, have), path, path)


def _listed_only(tree: RawTree, path: str, have: set[str]) -> Iterator[Fault]:
    for row in read_csv(tree.path(path), ("", "xmin")):  # the column of slides has no name
        if row[""] not in have:
            yield Fault(row[""], "missing", "it is listed, and no file of it is there")


def _region(
    tree: RawTree, shown: str, drawn: str, options: Mapping[str, Any]
) -> Iterator[Example | Fault]:
    slide, image, mask = _slide(shown), tree.path(shown), tree.path(drawn)
    patient, site, xmin, ymin = re.findall(NAME, shown)[0]
    whole = Example(
        record=slide,
        patient_id=patient,
        study_id=slide,
        recording=slide,
        site=site,
        split="test" if site in TEST_SITES else "train",
        meta={"xmin": int(xmin), "ymin": int(ymin)},
        images=(ImageFile(image),),
        masks=(MaskFile(mask),),
    )
    if options["variant"] == "rois":
        yield whole
        return
    size, size_of_mask = size_of(image), size_of(mask)
    groups = tuple((n, *(PAPERS[n] if options["merge"] == "paper" else ())) for n in PAPERS)
    windows = windows_of(mask, size, groups, CUT)
    if not windows:
        yield Fault(slide, "left out", "no area of its tissues has sides of 224 px", drawn)
    for one in windows:
        record = f"{slide}/{one.kind + 1}_{'_'.join(map(str, one.xyxy))}"
        if one.share < options["min_fraction"]:
            yield Fault(record, "left out", f"{one.share:.0%} of it is its tissue", drawn)
            continue
        codes, part = dict.fromkeys(groups[one.kind], 1), scaled(one.xyxy, size, size_of_mask)
        yield replace(
            whole,
            record=record,
            native=(str(one.kind + 1),),
            flags=() if size == size_of_mask else ("mask_resized",),
            images=(ImageFile(image, crop=one.xyxy),),
            masks=(MaskFile(mask, CLASSES[one.kind], codes=codes, crop=part),),
        )


def _slide(path: str) -> str:
    return path.rpartition("/")[2].partition("_")[0]


__getattr__ = builder_of(__name__)
