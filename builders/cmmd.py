"""CMMD: mammograms of breasts with a biopsy, from Guangzhou, benign or malignant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from climb_hf.card import CC_BY_4_0, Access, Layout, Remote, SourceCard, SplitRule
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree
from climb_hf.io.xlsx import read_xlsx
from climb_hf.lazy import builder_of
from climb_hf.mammography import MAMMOGRAPHY, by_breast, classes
from climb_hf.people import years_of
from climb_hf.photos import DICOM_MODE, kept, records_of
from climb_hf.radiology import header_of, person_of
from climb_hf.schema import Example, Fault, ImageFile

NAME = "CMMD_clinicaldata_revision"
TABLE = rf"{NAME}\.(csv|xlsx)"
BY_NAME = r"D[12]-\d{4}/[^/]+/[^/]+/\d+-\d+\.dcm"
UID = "1.3.6.1.4.1.14519.5.2.1.1239.1759."
BY_UID = r"1\.3\.6\.1\.4\.1\.14519\.[\d.]+/\d+-\d+\.dcm"
CARD = SourceCard(
    name="cmmd",
    title="CMMD, the Chinese Mammography Database",
    summary="mammograms of 1,775 patients by breast, benign or malignant by biopsy",
    licence=CC_BY_4_0,
    access=Access.OPEN,
    homepage="https://www.cancerimagingarchive.net/collection/cmmd/",
    citation="Cui et al. (2021), The Cancer Imaging Archive, doi:10.7937/tcia.eqde-4b16",
    release="TCIA, with CMMD_clinicaldata_revision",
    remotes=(Remote("https://www.cancerimagingarchive.net/collection/cmmd/"),),
    layouts=(
        Layout(
            "NBIA, descriptive names",
            marker=BY_NAME,
            files=rf"{TABLE}|{BY_NAME}",
            example="CMMD/D2-0070/07-18-2011-NA-NA-24937/1.000000-NA-18176/1-4.dcm",
        ),
        Layout("NBIA, names of studies", BY_UID, rf"{TABLE}|{BY_UID}", f"{UID}759335790/1-1.dcm"),
    ),
    vocabularies=(classes("biopsy2", {"Benign": "Benign", "Malignant": "Malignant"}),),
    split=SplitRule({"train": 0.75, "test": 0.25}),
    n_records=1_872,
    n_patients=1_775,
    options={"dicom_mode": DICOM_MODE},
    question="breast_biopsy",
    shown="Mammograms of one breast with an abnormality are given, an image a view.",
    quirks=(
        "a record is a breast of the table with its images; CLIMB shows those of both breasts",
        "the tag of the side is wrong in some files: a breast whose side no image has is missing, "
        "and images of a breast that the table does not list are left out",
        "the table ends with the cancers of known subtype (D2): a split by its order tests on them",
        "the table is a workbook: install climb-hf[xlsx], or export it as CSV beside it",
    ),
    **MAMMOGRAPHY,
)
COLUMNS = ("ID1", "LeftRight", "Age", "abnormality", "classification")
KEPT = ("number", "abnormality", "subtype")


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a breast of the table, with every image that the headers say is of it."""
    shown: dict[str, list[ImageFile]] = {}
    form, listed = options["dicom_mode"], set()
    yield from by_breast(tree, rf"{BY_NAME}|{BY_UID}", r"D[12]-\d{4}", form, shown)
    for one in records_of(sorted(tree.find(TABLE)), partial(_rows, tree), f"{NAME}.xlsx"):
        listed.add(one.record)
        images = shown.get(one.record, [])
        if images and isinstance(one, Example):
            header = header_of(images[0].path, ("Manufacturer",))
            meta = {**one.meta, **kept(header, ("Manufacturer",))}
            one = replace(one, images=tuple(images), sex=person_of(header)["sex"], meta=meta)
        elif isinstance(one, Example):
            why = "no image of it is there, or all are said to be of the other side"
            one = Fault(one.record, "missing", why)
        yield one
    for record in sorted(shown.keys() - listed):
        yield Fault(record, "left out", "images of a breast that the table does not list")


def _rows(tree: RawTree, table: str) -> Iterator[Example]:
    path = tree.path(table)
    rows = read_xlsx(path, COLUMNS) if path.suffix == ".xlsx" else read_csv(path, COLUMNS, ",;")
    for row in rows:
        cells = {name: (cell or "").strip() for name, cell in row.items() if name}
        side = cells["LeftRight"].upper()[:1]
        yield Example(
            record=f"{cells['ID1']}_{side}",
            native=tuple(filter(None, [cells["classification"].capitalize()])),
            patient_id=cells["ID1"],
            age_years=years_of(cells["Age"]),
            meta={**kept(cells, KEPT), "abnormality": cells["abnormality"].lower()},
        )


__getattr__ = builder_of(__name__)
