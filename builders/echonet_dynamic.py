"""EchoNet-Dynamic: apical four-chamber echo videos, the left ventricle traced in two frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Remote, SourceCard, SplitRule
from climb_hf.io.table import read_csv
from climb_hf.io.tracing import Outline, area, outlines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.scans import STANFORD, ULTRASOUND, as_named
from climb_hf.schema import Example, Fault, ImageFile, MaskFile, VideoFile

VIDEO = r"0X[0-9A-F]+\.avi"
FILES, TRACINGS = "FileList.csv", "VolumeTracings.csv"
SPLITS = {"TRAIN": "train", "VAL": "validation", "TEST": "test"}
BANDS = (40.0, 50.0)  # % ejection fraction; American Society of Echocardiography
CLASSES = ("Reduced", "Mildly reduced", "Preserved")
VENTRICLE = "left ventricle"
UNITS = {"EF": "%", "EDV": "mL", "ESV": "mL"}
CARD = SourceCard(
    name="echonet_dynamic",
    title="EchoNet-Dynamic",
    summary="apical four-chamber echo videos with ejection fraction and the left ventricle traced",
    licence=STANFORD,
    access=Access.AGREEMENT,
    homepage="https://echonet.github.io/dynamic/",
    citation="Ouyang et al. (2020), Nature 580:252-256, doi:10.1038/s41586-020-2145-8",
    release="Stanford AIMI, 10,030 videos",
    remotes=(Remote("https://echonet.github.io/dynamic/"),),
    layouts=(
        Layout(
            "Stanford AIMI",
            marker=VIDEO,
            files=rf"{VIDEO}|FileList\.csv|VolumeTracings\.csv",
            example="EchoNet-Dynamic/Videos/0X100009310A3BD7FC.avi",
        ),
    ),
    vocabularies=(as_named("systolic_function3", CLASSES),),
    split=SplitRule(
        {"train": 0.75, "validation": 0.125, "test": 0.125},
        official=True,
        origin="the column Split of FileList.csv",
    ),
    n_records=10_030,
    n_patients=10_030,
    question="systolic_function",
    shown=(
        "An apical four-chamber echo is given, first at end-diastole, then at end-systole. How is "
        "the systolic function?"
    ),
    quirks=(
        "classes are bands of the ejection fraction (below 40, 40 to below 50, from 50 %): CLIMB "
        "has none here; the fraction itself and both volumes stand in targets",
        "images hold the two traced frames, the one with the larger area first; a video without "
        "two traced frames has none",
        "CLIMB counts 10,247 videos, the authors 10,030",
        "a video is a patient; the release names no patients",
    ),
    **ULTRASOUND,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a video of the list."""
    lists = tree.named(FILES)
    if not lists:
        yield Fault(
            FILES, "damaged", "it is not there, and videos without it have no labels", FILES
        )
        return
    lying = {path.rpartition("/")[2].removesuffix(".avi"): path for path in tree.find(VIDEO)}
    traced: dict[str, dict[int, Outline]] = {}
    for path in tree.named(TRACINGS):
        traced |= outlines(tree.path(path))
    listed = set()
    for row in read_csv(tree.path(lists[0]), ("FileName", "EF", "Split")):
        record = row["FileName"].strip().removesuffix(".avi")
        listed.add(record)
        if record in lying:
            yield _example(tree, record, lying[record], row, traced.get(record, {}))
        else:
            yield Fault(record, "missing", "listed, but its video is not there")
    for record in sorted(lying.keys() - listed):
        yield Fault(record, "left out", f"a video that {FILES} does not list", lying[record])


def _example(
    tree: RawTree,
    record: str,
    path: str,
    row: Mapping[str, str],
    drawn: Mapping[int, Outline],
) -> Example:
    known = {name: float(row[name]) for name in UNITS if (row.get(name) or "").strip()}
    # By area, not by their order: at end-diastole the ventricle is larger.
    ordered = sorted(drawn, key=lambda number: -area(drawn[number]))
    shown = (ordered[0], ordered[-1]) if len(ordered) >= 2 else ()
    views = ("end-diastole", "end-systole")
    table = tree.path(tree.named(TRACINGS)[0]) if shown else tree.path(path)
    return Example(
        record=record,
        patient_id=record,
        native=(_band(known["EF"]),) if "EF" in known else (),
        split=SPLITS.get(row["Split"].strip().upper()),
        targets=tuple((name.lower(), value, UNITS[name]) for name, value in known.items()),
        meta={"traced_frames": list(shown)},
        images=tuple(
            ImageFile(tree.path(path), view=view, frame=number)
            for view, number in zip(views, shown, strict=False)
        ),
        masks=tuple(
            MaskFile(table, VENTRICLE, image=at, outline=drawn[number])
            for at, number in enumerate(shown)
        ),
        videos=(VideoFile(tree.path(path)),),
    )


def _band(fraction: float) -> str:
    return CLASSES[sum(fraction >= edge for edge in BANDS)]


__getattr__ = builder_of(__name__)
