"""COVID-US: clips of lung ultrasound from nine public web sources."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, Option, Remote, SourceCard, SplitRule
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.people import sex_of, years_of
from climb_hf.scans import ULTRASOUND, as_named
from climb_hf.schema import Example, Fault, VideoFile

VIDEO = (
    r"\d+_(butterfly|clarius|core|grepmed|litfl|paper|pocusatlas|radio|uf)_"
    r"(covid|pneumonia|normal|other)\.(?i:mp4|gif|mov|avi|wmv)"
)
LABELS, METADATA = r"COVIDx-US1\.\d_4class\.csv", "video_metadata.csv"
BLANK = ("", "NA", "nan")
LEFT_BY_CLIMB = ("butterfly", "clarius")
CLASSES = ("covid", "pneumonia", "normal")
CARD = SourceCard(
    name="covid_us",
    title="COVIDx-US",
    summary="clips of lung ultrasound: COVID-19, other pneumonia or healthy",
    licence=Licence("AGPL-3.0 for the tables; each clip its source's own", False, False),
    access=Access.OPEN,
    homepage="https://github.com/nrc-cnrc/COVID-US",
    citation="Ebadi et al. (2021), arXiv:2103.10003",
    release="1.5, 242 clips",
    remotes=(Remote("https://github.com/nrc-cnrc/COVID-US"),),
    layouts=(
        Layout(
            "GitHub, with clips fetched",
            marker=rf"{VIDEO}|{LABELS}",
            files=rf"{VIDEO}|{LABELS}|video_metadata\.csv",
            example="data/video/original/12_pocusatlas_covid.mp4",
        ),
    ),
    vocabularies=(as_named("lung_us3", CLASSES),),
    split=SplitRule({"train": 0.75, "test": 0.25}),
    n_records=148,
    options={
        "climb_subset": Option(
            False, "leave out Butterfly and Clarius clips, as CLIMB's 99 do", kind=bool
        ),
    },
    question="lung_ultrasound",
    shown="Frames of a clip of lung ultrasound are given. Which finding fits them?",
    quirks=(
        "the repository holds tables and a script that fetches clips from other pages, many of "
        "them gone: most labels have no clip",
        "clips of the class other are left out, as CLIMB does",
        "a patient has up to seven clips and stays in one split; a clip without a row has none",
        "masks of the release cover text for inpainting and are no lesions: they are not read",
        "the lung ultrasound score, where there is one, stands in targets as luss",
    ),
    **ULTRASOUND,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a clip of the three classes."""
    rows: dict[str, dict[str, str]] = {}
    for path in (*tree.named(METADATA), *tree.find(LABELS)):
        for row in read_csv(tree.path(path), ("id",), encoding="latin-1"):
            name = _plain(row["id"])
            rows.setdefault(name, {}).update({k: _plain(v) for k, v in row.items() if _plain(v)})
    lying: dict[str, str] = {}
    for path in tree.find(VIDEO):
        record = path.rpartition("/")[2].partition(".")[0]
        if record in lying:
            yield Fault(record, "copy", "its clip lies in a second place", path)
        lying.setdefault(record, path)
    for record, path in lying.items():
        number, source, kind = record.split("_")
        if kind not in CLASSES or (options["climb_subset"] and source in LEFT_BY_CLIMB):
            reason = "its class is other" if kind not in CLASSES else "climb_subset is set"
            yield Fault(record, "left out", reason, path)
            continue
        yield _example(tree, record, path, _row_of(rows, record, number))
    for record in sorted(rows.keys() - lying.keys()):
        if record and re.fullmatch(r"\d+_[a-z]+_(covid|pneumonia|normal)", record):
            yield Fault(record, "missing", "listed, but its clip is not there")


def _row_of(rows: Mapping[str, dict[str, str]], record: str, number: str) -> Mapping[str, str]:
    """A clip's row, whose id is the clip's name, or its number alone."""
    return {**rows.get(number, {}), **rows.get(record, {})}


def _example(tree: RawTree, record: str, path: str, row: Mapping[str, str]) -> Example:
    patient, score = row.get("patient"), row.get("LUSS")
    return Example(
        record=record,
        patient_id=patient,
        native=(record.rpartition("_")[2],),
        age_years=years_of(row.get("age")),
        sex=sex_of(row.get("gender")),
        site=record.split("_")[1],
        flags=() if patient else ("patient_unknown",),
        targets=(("luss", float(score), None),) if score else (),
        meta={k: row[k] for k in ("probe", "type", "class_on_website", "license") if k in row},
        videos=(VideoFile(tree.path(path)),),
    )


def _plain(cell: str | None) -> str:
    """A cell without blanks, the non-breaking ones of the release included."""
    text = (cell or "").replace("\xa0", " ").strip()
    return "" if text in BLANK else text


__getattr__ = builder_of(__name__)
