"""MIMIC-CXR: chest radiographs of one hospital, as labelled JPEG or as DICOM with reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from climb_hf.card import Access, Layout, Licence, Option, Remote, SourceCard, SplitRule
from climb_hf.chest import CHEST_CELLS, CHEST_OPTIONS, FINDINGS, as_asked, findings_of
from climb_hf.io.files import or_fault
from climb_hf.io.table import whole_lines
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.photos import DICOM_MODE, kept, records_of, with_images
from climb_hf.schema import Example, Fault

NAME = r"[0-9a-f]{8}(-[0-9a-f]{8}){4}"
JPEG, DICOM = rf"{NAME}\.(?i:jpe?g)", rf"{NAME}\.(?i:dcm)"
TABLE = r"mimic-cxr-2\.\d\.\d-(split|chexpert|negbio|metadata|test-set-labeled)\.csv(\.gz)?"
LIST, REPORT = r"cxr-record-list\.csv(\.gz)?", r"s\d{8}\.txt"
HOST = "https://physionet.org/files/"
# Option -> what its table is called, and the columns that it must have.
LABELS = {
    "chexpert": ("chexpert", ("study_id", *FINDINGS)),
    "negbio": ("negbio", ("study_id", *FINDINGS)),
    "radiologists": ("test-set-labeled", ("study_id", "Cardiomegaly")),
}
CARD = SourceCard(
    name="mimic_cxr",
    title="MIMIC-CXR and MIMIC-CXR-JPG",
    summary="chest radiographs of 65,379 patients in Boston, labels mined from the reports",
    licence=Licence("PhysioNet-Credentialed-Health-Data-1.5.0", False, False),
    access=Access.CREDENTIALED,
    homepage="https://physionet.org/content/mimic-cxr-jpg/2.1.0/",
    citation=(
        "Johnson et al. (2019), arXiv:1901.07042, doi:10.13026/jsn5-t979; "
        "Johnson et al. (2019), Sci. Data 6:317, doi:10.1038/s41597-019-0322-0"
    ),
    release="MIMIC-CXR-JPG 2.1.0 and MIMIC-CXR 2.1.0",
    remotes=(
        Remote(f"{HOST}mimic-cxr-jpg/2.1.0/"),
        Remote(f"{HOST}mimic-cxr/2.1.0/", again=True),
    ),
    layouts=(
        Layout(
            "MIMIC-CXR-JPG",
            marker=JPEG,
            files=rf"{JPEG}|{TABLE}|{REPORT}",
            example="files/p10/p10000032/s50414267/"
            "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014.jpg",
        ),
        Layout(
            "MIMIC-CXR, DICOM",
            marker=DICOM,
            files=rf"{DICOM}|{TABLE}|{LIST}|{REPORT}",
            example="files/p10/p10000032/s50414267/"
            "02aa804e-bde0afdd-112c0b34-7bc16630-4e384014.dcm",
        ),
    ),
    variants={
        "jpg": "MIMIC-CXR-JPG: 8-bit JPEG, histogram-equalised by its authors",
        "dicom": "MIMIC-CXR: DICOM of 12 to 16 bits, with each study's report as text; tables of "
        "labels and splits are those of the JPG project",
    },
    split=SplitRule({"train": 0.8, "test": 0.2}, True, "column split of mimic-cxr-2.0.0-split.csv"),
    n_records=377_110,
    n_patients=65_379,
    options={
        **CHEST_OPTIONS,
        "dicom_mode": DICOM_MODE,
        "labels": Option(
            "chexpert",
            "whose labels: of either labeller, or of the radiologists who read 687 studies of test",
            choices=tuple(LABELS),
        ),
    },
    quirks=(
        "labels are those of a study: its lateral and its frontal images share them",
        "a blank cell means not mentioned, not negative; CLIMB takes blank and -1 for negative",
        "2,414 studies have blank cells only and 8 have no row of labels: both are unlabelled",
        "the two variants look different (equalised, or not): never mix them in one experiment",
        "integers follow CLIMB's list of findings; the tables are alphabetical",
    ),
    **CHEST_CELLS,
)
KEPT = ("ViewPosition", "PerformedProcedureStepDescription", "StudyDate", "StudyTime")
SHOWN = ("dicom_id", "ViewPosition")
SPLITS = {"train": "train", "validate": "validation", "test": "test"}


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record an image of the table of splits, else of the list of DICOM files."""
    labels: dict[str, dict[str, Any]] = {}
    facts: dict[str, dict[str, str]] = {}
    name, columns = LABELS[options["labels"]]
    for path in _tables(tree, name):
        yield from or_fault(_learn(tree, path, columns, findings_of, labels), path, path)
    for path in _tables(tree, "metadata"):
        yield from or_fault(
            _learn(tree, path, SHOWN, partial(kept, columns=KEPT), facts), path, path
        )
    tables = [*_tables(tree, "split"), *sorted(tree.find(LIST))]
    rows = records_of(tables, partial(_rows, tree, labels, facts), "mimic-cxr-2.0.0-split.csv")
    pattern = DICOM if options.get("variant") == "dicom" else JPEG
    views = {image: known.get("ViewPosition") for image, known in facts.items()}
    yield from as_asked(with_images(tree, rows, pattern, twins=False), options, views)


def _tables(tree: RawTree, name: str) -> list[str]:
    return sorted(tree.find(rf"mimic-cxr-2\.\d\.\d-{name}\.csv(\.gz)?"))


def _learn(
    tree: RawTree, path: str, columns: tuple[str, ...], told: Callable[..., Any], known: Any
) -> Iterator[Fault]:
    """Fills `known` with what is told by the rows of a table, by their first column."""
    for row in whole_lines(tree.path(path), columns):
        known[row[columns[0]]] = told(row)
    yield from ()  # it has no record of its own, but may be cut short


def _rows(
    tree: RawTree, labels: Mapping[str, Any], facts: Mapping[str, Any], path: str
) -> Iterator[Example]:
    for row in whole_lines(tree.path(path), ("dicom_id", "study_id", "subject_id")):
        yield Example(
            record=row["dicom_id"],
            patient_id=row["subject_id"],
            study_id=row["study_id"],
            split=SPLITS.get(row.get("split") or ""),
            text=_report(tree, row["study_id"]),
            meta=facts.get(row["dicom_id"], {}),
            **labels.get(row["study_id"], {}),
        )


def _report(tree: RawTree, study: str) -> str | None:
    for path in tree.named(f"s{study}.txt"):
        return tree.path(path).read_text("utf-8", "replace").strip() or None
    return None


__getattr__ = builder_of(__name__)
