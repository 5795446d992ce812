"""CBIS-DDSM: mammograms on film, digitised, with the outlines and pathology of abnormalities."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from climb_hf.card import Access, Layout, Licence, Option, Remote, SourceCard, SplitRule
from climb_hf.errors import CorruptFileError
from climb_hf.io.nbia import Downloads, crop_and_mask, downloads
from climb_hf.io.table import whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.mammography import BIRADS, MAMMOGRAPHY, birads_of, classes, view_of
from climb_hf.photos import DICOM_MODE, kept
from climb_hf.schema import Example, Fault, ImageFile, MaskFile

TABLE = r"(mass|calc)_case_description_(train|test)_set\.csv"
IMAGE = r"(Mass|Calc)-(Training|Test)_P_\d+_(LEFT|RIGHT)_(CC|MLO)(_\d+)?/[^/]+/[^/]+/\d+-\d+\.dcm"
TEXTS = {"MALIGNANT": "Malignant", "BENIGN": "Benign"}
SEVERE_FIRST = {**TEXTS, "BENIGN_WITHOUT_CALLBACK": "Benign without callback"}
GRADES = {str(grade): name for grade, name in enumerate(BIRADS)}
CARD = SourceCard(
    name="cbis_ddsm",
    title="CBIS-DDSM, Curated Breast Imaging Subset of DDSM",
    summary="digitised film mammograms of 1,566 women: BI-RADS, pathology, outlines",
    licence=Licence("CC-BY-3.0", share_data=True, share_derived=True),
    access=Access.OPEN,
    homepage="https://www.cancerimagingarchive.net/collection/cbis-ddsm/",
    citation="Lee et al. (2017), Scientific Data 4:170177, doi:10.1038/sdata.2017.177",
    release="TCIA, doi:10.7937/K9/TCIA.2016.7O02S9CY",
    remotes=(Remote("https://www.cancerimagingarchive.net/collection/cbis-ddsm/"),),
    layouts=(
        Layout(
            "NBIA", TABLE, rf"{TABLE}|metadata\.csv|{IMAGE}", "mass_case_description_test_set.csv"
        ),
    ),
    vocabularies=(
        classes("birads5", {c: n for c, n in GRADES.items() if c != "0"}, (), ("0", *SEVERE_FIRST)),
        classes("birads6", GRADES, (), SEVERE_FIRST),
        classes("pathology3", SEVERE_FIRST, (), GRADES),
        classes("pathology2", {**TEXTS, "BENIGN_WITHOUT_CALLBACK": "Benign"}, (), GRADES),
    ),
    split=SplitRule({"train": 0.8, "test": 0.2}, True, "a table for each part"),
    n_records=2_825,
    n_patients=1_566,
    variants={"film": "a record a film", "roi": "a record an abnormality, cut out of its film"},
    options={
        "in_both_sets": Option(
            "leave_out",
            "women with films in train and in test: leave out those in train, or test on all",
            choices=("leave_out", "test"),
        ),
        "dicom_mode": DICOM_MODE,
    },
    question="breast_assessment",
    shown="A digitised film mammogram of one breast is given.",
    quirks=(
        "a film has the highest assessment of its abnormalities, and is malignant if one is",
        "an assessment of 0 asks for more images: such films are in birads6 and pathology only",
        "tables name paths that are not on disk: files are found by series, else by folder",
        "films have no window: they are shown between percentiles, borders and labels white",
    ),
    **MAMMOGRAPHY,
)
COLUMNS = ("patient_id", "left or right breast", "image view", "abnormality id", "assessment")
ROI = ("cropped image file path", "ROI mask file path")
PATHS = ("image file path", *ROI)
_SHAPE = ("abnormality type", "mass shape", "mass margins", "calc type", "calc distribution")
KEPT = ("abnormality id", *_SHAPE, "assessment", "pathology", "subtlety")
Row = dict[str, str]


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a film, or an abnormality, that one of the four tables lists."""
    rows: list[Row] = []
    for table in sorted(tree.find(TABLE)):
        try:
            rows += _rows(tree, table)
        except CorruptFileError as error:
            yield Fault(table, "damaged", str(error), table)
    tested = {row["patient_id"] for row in rows if row["split"] == "test"}
    records: dict[str, list[Row]] = defaultdict(list)
    for row in {row["roi"]: row for row in rows}.values():
        both = row["split"] == "train" and row["patient_id"] in tested
        if both and options["in_both_sets"] == "leave_out":
            yield Fault(row["roi"], "left out", f"{row['patient_id']} has films in test, too")
        else:
            row["split"] = "test" if both else row["split"]
            records[row["roi" if options["variant"] == "roi" else "film"]].append(row)
    lying = downloads(tree, IMAGE)
    for record, listed in sorted(records.items()):
        grade = max((r["assessment"] for r in listed if r["assessment"] in GRADES), default="")
        make = partial(_example, record, grade, listed, options["dicom_mode"])
        if grade == "0" and options["label_set"] in (None, "birads5"):
            yield Fault(record, "left out", "its assessment is 0, which asks for more images")
        elif options["variant"] == "roi":
            yield make(_parts(lying, listed[0]).get("crop"))
        else:
            yield from _film(lying, listed, make)


def _rows(tree: RawTree, table: str) -> Iterator[Row]:
    kind, part = table.rpartition("/")[2].split("_case_description_")
    for row in whole_lines(tree.path(table), (*COLUMNS, *PATHS, "pathology")):
        cells = {name: (cell or "").strip() for name, cell in row.items() if name}
        cells["breast_density"] = row.get("breast_density") or row.get("breast density") or ""
        film = "_".join(cells[column] for column in COLUMNS[:3])
        roi = f"{kind}_{film}_{cells['abnormality id']}"
        yield {**cells, "film": film, "roi": roi, "split": part.partition("_")[0]}


def _parts(lying: Downloads, row: Row, film: Path | None = None) -> dict[str, Path]:
    return crop_and_mask(lying.files(*(row[column] for column in ROI)), film)


def _film(lying: Downloads, rows: Sequence[Row], make: Any) -> Iterator[Example | Fault]:
    path = next((files[0] for row in rows if (files := lying.files(row[PATHS[0]]))), None)
    masks = []
    for row in rows if path else ():
        if mask := _parts(lying, row, path).get("mask"):
            masks.append(MaskFile(mask, label=row["abnormality type"]))
        else:
            yield Fault(row["roi"], "missing", "its outline is not there, or cannot be read")
    yield make(path, tuple(masks))


def _example(
    record: str, grade: str, rows: Sequence[Row], form: str, path: Path | None, masks: Any = ()
) -> Example | Fault:
    if path is None:
        return Fault(record, "missing", "listed, but its image is not there")
    told, first = {row["pathology"] for row in rows}, rows[0]
    view = view_of(*(first[column] for column in COLUMNS[1:3]))
    return Example(
        record=record,
        native=tuple(filter(None, (grade, next((c for c in SEVERE_FIRST if c in told), "")))),
        patient_id=first["patient_id"],
        split=first["split"],
        targets=birads_of(grade),
        images=(ImageFile(path, view, form=form),),
        masks=masks,
        meta={**kept(first, ("breast_density",)), "abnormalities": [kept(r, KEPT) for r in rows]},
    )


__getattr__ = builder_of(__name__)
