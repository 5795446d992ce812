"""LNDb: CT of the chest in windows of 24 slices, nodules drawn by up to three radiologists."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from climb_hf.card import Access, Layout, Licence, Option, Remote, SourceCard, SplitRule, Vocabulary
from climb_hf.errors import CorruptFileError
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.scans import CT
from climb_hf.schema import Example, Fault
from climb_hf.slabs import DrawnScan, shared

SCAN, MASK = r"LNDb-\d{4}\.mhd", r"LNDb-\d{4}_rad\d\.mhd"
SCANS, FINDINGS, FOLDS = "trainCTs.csv", "trainNodules_gt.csv", "trainFolds.csv"
GRADES = "trainFleischner.csv"
FILES = r"LNDb-\d{4}(_rad\d)?\.(?i:mhd|z?raw)|train(CTs|Nodules_gt|Folds|Fleischner)\.csv"
NUMBERS = ("Volume", "Text", "AgrLevel")
NEEDED = ("RadID", "RadFindingID", "FindingID", "x", "y", "z", "Nodule", *NUMBERS)
LENGTH, OVERLAP, AROUND = 24, 2, 2  # slices: a window, of a finding in it, beside a mere centre
LARGE, SMALL, OTHER = KINDS = ("nodule >= 3 mm", "nodule < 3 mm", "non-nodule")
NONE = "no nodule >= 3 mm"
CARD = SourceCard(
    name="lndb",
    title="LNDb, Lung Nodule Database",
    summary="windows of 24 slices of chest CT with nodules drawn by one to three radiologists",
    licence=Licence("unclear: CC-BY-NC-ND-4.0 by its text, CC-BY-4.0 by its field", False, False),
    access=Access.ACCOUNT,
    homepage="https://lndb.grand-challenge.org/Data/",
    citation="Pedrosa et al. (2021), Medical Image Analysis 70, doi:10.1016/j.media.2021.102027",
    release="Zenodo 6613714, 7153205 and 8309612: 236 scans with labels",
    remotes=(Remote("https://zenodo.org/records/6613714"),),
    layouts=(Layout("Zenodo", r"trainNodules_gt\.csv", FILES, "trainset_csv/trainNodules_gt.csv"),),
    vocabularies=(
        Vocabulary(
            "nodule2",
            ("No nodule", "Has nodule"),
            codes={NONE: "No nodule", LARGE: "Has nodule", SMALL: "", OTHER: ""},
        ),
        Vocabulary("nodule3", KINDS, codes={NONE: "", **{k: k for k in KINDS}}, priority=KINDS),
    ),
    split=SplitRule({"train": 0.75, "test": 0.25}, True, "CLIMB's, or a fold of the release"),
    n_records=5_561,
    window_hu=(-600.0, 1500.0),
    options={
        "stride": Option(12, "slices from a window to the next", choices=(12, 24), kind=int),
        "test": Option(
            "climb",
            "the scans to test on: CLIMB's, or a column of trainFolds.csv",
            choices=("climb", "Fold0", "Fold1", "Fold2", "Fold3"),
        ),
    },
    question="lung_nodule",
    shown="Frames of a part of a chest CT are given. Is a nodule of 3 mm or more visible?",
    quirks=(
        "a finding counts where 2 of its slices lie in a window: of those that a reader drew, or "
        "of its centre and 2 on both sides, as small nodules and non-nodules are not drawn",
        "small nodules are written with the volume of a ball of 3 mm: 3.00 mm is small",
        "voxels of a mask hold its reader's finding ids, which meta.findings joins to the merged "
        "ones; a window has the masks of those who drew something in it",
        "CLIMB forgets the last window of each scan; a slice lies in two windows, with a stride "
        "of 24 in one",
        "the index looks through every mask; CLIMB's split cuts after three quarters of the scans "
        "with findings, by number; the 58 scans of the hidden test set have no labels",
    ),
    **CT,
)
Row = Mapping[str, str]


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a window of each scan that a table lists."""
    findings: dict[str, list[Row]] = {scan: [] for scan, _ in _rows(tree, SCANS)}
    for scan, row in _rows(tree, FINDINGS, *NEEDED):
        findings.setdefault(scan, []).append(row)
    grades = {scan: row["Fleischner"] for scan, row in _rows(tree, GRADES, "Fleischner")}
    tested = _tested(tree, findings, options["test"])
    lying = {path.rpartition("/")[2][:-4]: path for path in tree.find(f"{SCAN}|{MASK}")}
    for scan in sorted(findings.keys() | {name[:9] for name in lying}):
        path = lying.get(scan)
        if path is None:
            yield Fault(scan, "missing", "listed, but its .mhd file is not there")
        elif scan not in findings:
            yield Fault(scan, "left out", "no table lists it, so that it has no labels", path)
        else:
            masks = {n[-1]: tree.path(lying[n]) for n in sorted(lying) if n.startswith(f"{scan}_")}
            meta = {"fleischner": grades.get(scan), "readers": [*masks]}
            known = {"recording": scan, "split": "test" if scan in tested else "train"}
            drawn = DrawnScan(tree.path(path), masks)
            try:
                yield from _windows(drawn, findings[scan], options["stride"], known, meta)
            except CorruptFileError as error:
                yield Fault(scan, "damaged", str(error), path)


def _rows(tree: RawTree, table: str, *columns: str) -> Iterator[tuple[str, Row]]:
    """The rows of a table, if it is there, each with the name of its scan."""
    rows = (r for p in tree.named(table)[:1] for r in read_csv(tree.path(p), ("LNDbID", *columns)))
    return ((f"LNDb-{int(row['LNDbID']):04}", row) for row in rows)


def _tested(tree: RawTree, findings: Mapping[str, Sequence[Row]], wanted: str) -> set[str]:
    """The scans of a fold, or those from CLIMB's cut on."""
    if wanted == "climb":
        counted = sorted(scan for scan, rows in findings.items() if rows)
        cut = counted[int(0.75 * len(counted)) :]
        return {scan for scan in findings if cut and scan >= cut[0]}
    rows = (row for path in tree.named(FOLDS) for row in read_csv(tree.path(path), (wanted,)))
    return {f"LNDb-{int(row[wanted]):04}" for row in rows}


def _windows(
    scan: DrawnScan, rows: Sequence[Row], stride: int, known: Any, meta: Any
) -> Iterator[Example]:
    findings = [_finding(row, scan) for row in rows]
    for index, slab in enumerate(scan.slabs(LENGTH, stride)):
        seen = [one for one in findings if shared(one["slices"], slab) >= OVERLAP]
        kinds = [kind for kind in KINDS if any(one["kind"] == kind for one in seen)]
        yield Example(
            record=f"{known['recording']}/{index:03}",
            native=(*kinds, *([] if LARGE in kinds else [NONE])),
            flags=("patient_unknown",),
            meta={**meta, "slices": slab, "findings": seen},
            **known,
            **scan.media(slab, "nodule"),
        )


def _finding(row: Row, scan: DrawnScan) -> dict[str, Any]:
    """A merged finding: which of the readers' it is, what, how large, and in which slices."""
    pairs = [*zip(row["RadID"].split(","), map(int, row["RadFindingID"].split(",")), strict=False)]
    x, y, z = (float(row[axis]) for axis in "xyz")  # towards left, back and head
    diameter = 2 * (3 * float(row["Volume"]) / (4 * math.pi)) ** (1 / 3)
    large = LARGE if round(diameter, 2) > 3 else SMALL
    return {
        "finding_id": int(row["FindingID"]),
        "kind": large if float(row["Nodule"]) >= 0.5 else OTHER,
        "slices": scan.slab_of(pairs, (-x, -y, z), AROUND),
        "center_mm_lps": (x, y, z),
        "diameter_mm": diameter,
        "readers": pairs,
        **{name.lower(): float(row[name]) for name in NUMBERS},
    }


__getattr__ = builder_of(__name__)
