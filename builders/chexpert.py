"""CheXpert: chest radiographs of Stanford Hospital, labels mined from the reports."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from climb_hf.card import Access, Layout, Licence, Remote, SourceCard, SplitRule
from climb_hf.chest import CHEST_CELLS, CHEST_OPTIONS, as_asked, findings_of
from climb_hf.io.files import or_fault
from climb_hf.io.rle import is_empty, read_runs
from climb_hf.io.table import begins_with, whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.people import sex_of, years_of
from climb_hf.photos import kept, records_of, with_images
from climb_hf.schema import Example, Fault, MaskFile

IMAGE = r"patient\d{5}/study\d+/view\d+_(frontal|lateral)\.(?i:jpe?g)"
# Table -> split. The last is made of the images of valid.csv and adds nothing where that is.
TABLES = {
    "train.csv": "train",
    "valid.csv": "validation",
    "test_labels.csv": "test",
    "val_labels.csv": "validation",
}
OUTLINES = r"gt_segmentations_(val|test)\.json"
FILES = rf"{IMAGE}|{OUTLINES}|(train|valid|test_labels|val_labels)\.csv"
CARD = SourceCard(
    name="chexpert",
    title="CheXpert, a large chest radiograph dataset with uncertainty labels",
    summary="chest radiographs of 65,240 patients at Stanford, fourteen findings with uncertainty",
    licence=Licence("Stanford University Dataset Research Use Agreement", False, False),
    access=Access.AGREEMENT,
    homepage="https://stanfordmlgroup.github.io/competitions/chexpert/",
    citation=(
        "Irvin et al. (2019), AAAI 33, doi:10.1609/aaai.v33i01.3301590; test set and outlines: "
        "Saporta et al. (2022), Nat. Mach. Intell. 4:867, doi:10.1038/s42256-022-00536-x"
    ),
    release="CheXpert 1.0, with the test set of CheXlocalize",
    remotes=(
        Remote("https://aimi.stanford.edu/datasets/chexpert-chest-x-rays"),
        Remote("https://aimi.stanford.edu/datasets/chexlocalize"),
    ),
    layouts=(
        Layout(
            "CheXpert-v1.0",
            marker=rf"(train|valid)/{IMAGE}",
            files=FILES,
            example="CheXpert-v1.0-small/train/patient00001/study1/view1_frontal.jpg",
        ),
        Layout(
            "AIMI batches",
            marker=rf"[^/]*batch \d[^/]*/{IMAGE}",
            files=FILES,
            example="CheXpert-v1.0 batch 2 (train 1)/patient00001/study1/view1_frontal.jpg",
        ),
        Layout(
            "CheXlocalize",
            marker=rf"(val|test)/{IMAGE}",
            files=FILES,
            example="CheXpert/test/patient64741/study1/view1_frontal.jpg",
        ),
    ),
    split=SplitRule({"train": 0.8, "test": 0.2}, True, "a table for each part"),
    n_records=224_316,
    n_patients=65_240,
    options=CHEST_OPTIONS,
    quirks=(
        "labels are those of a study: its lateral and its frontal images share them",
        "a blank cell means not mentioned, not negative; CLIMB takes blank and -1 for negative",
        "CLIMB's test part is the official validation set: see the option merge_validation",
        "an age of 0 years is a placeholder and left out; 90 years may be a cap",
        "integers follow CLIMB's list of findings, not the columns of the table",
        "masks are those of CheXlocalize, of validation and test, drawn by radiologists in full "
        "size: over images of the small copy they are resized; empty ones are left out",
    ),
    **CHEST_CELLS,
)
COLUMNS = ("Path", "Support Devices")  # the first and the last
PATH = re.compile(r"(?:.*/)?(patient\d+)/(study\d+)/(view\d+)_(frontal|lateral)\.\w+")
KEPT = ("Frontal/Lateral", "AP/PA")


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image that a table lists."""
    named = [path for table in TABLES for path in tree.named(table)]
    tables = [path for path in named if begins_with(tree.path(path), "Path,")]
    views: dict[str, str | None] = {}
    masks: dict[str, tuple[MaskFile, ...]] = {}
    for path in sorted(tree.find(OUTLINES)):
        yield from or_fault(_drawn(tree.path(path), masks), path, path)
    rows = records_of(tables, partial(_rows, tree, views), "train.csv")
    images = with_images(tree, rows, IMAGE, record=_record, twins=False)
    for one in as_asked(images, options, views):
        drawn = masks.get(one.record)
        yield replace(one, masks=drawn) if drawn and isinstance(one, Example) else one


def _drawn(path: Path, masks: dict[str, tuple[MaskFile, ...]]) -> Iterator[Fault]:
    """Fills `masks` with what is drawn on each image; a broken file costs masks, not images."""
    for image, labels in read_runs(path).items():
        named = [label for label, stored in labels.items() if not is_empty(stored)]
        masks[image] = tuple(MaskFile(path, name, key=f"{image}/{name}") for name in named)
    yield from ()


def _record(path: str) -> str:
    """`patient00001_study1_view1_frontal`, as CheXlocalize names images too."""
    return "_".join(path.split("/")[-3:]).rpartition(".")[0]


def _rows(tree: RawTree, views: dict[str, str | None], table: str) -> Iterator[Example | Fault]:
    split = TABLES[table.rpartition("/")[2]]
    for line, row in enumerate(whole_lines(tree.path(table), COLUMNS), start=2):
        named = PATH.fullmatch(row["Path"].strip())
        if named is None:
            yield Fault(f"line {line}", "damaged", f"{row['Path']!r} names no view", table)
            continue
        patient, study, number, side = named.groups()
        record = f"{patient}_{study}_{number}_{side}"
        views[record] = row.get("AP/PA") or {"lateral": "LATERAL"}.get(side, side)
        yield Example(
            record=record,
            patient_id=patient,
            study_id=f"{patient}_{study}",
            split=split,
            age_years=years_of(row.get("Age")) or None,
            sex=sex_of(row.get("Sex")),
            meta=kept(row, KEPT),
            **findings_of(row),
        )


__getattr__ = builder_of(__name__)
