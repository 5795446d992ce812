"""What the source is, in one line. Copy this file to <name>.py and change every line of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import (
    Access,
    Layout,
    Licence,
    Modality,
    Remote,
    SourceCard,
    SplitRule,
    Vocabulary,
)
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, SeriesFile

CARD = SourceCard(
    name="my_source",  # the config's name; letters, digits and _
    title="The source's full name",
    summary="what a record is: 10 s, two leads, one rhythm each",
    modality=Modality.ECG,
    licence=Licence("CC-BY-4.0", share_data=True, share_derived=True),
    access=Access.OPEN,
    homepage="https://example.org/my-source/",
    citation="Author et al. (2024), Journal 1:1",
    release="1.0.0",
    remotes=(Remote("https://example.org/my-source/1.0.0/"),),
    layouts=(
        Layout(
            "the release",
            marker=r"labels\.csv",  # a file name that tells this layout from all others
            files=r"labels\.csv|rec\d{4}\.(hea|dat)",  # the names of all its files
            example="my-source/labels.csv",
        ),
    ),
    vocabularies=(
        Vocabulary(
            "my_rhythms",
            names=("normal", "afib", "other"),
            texts=("normal sinus rhythm", "atrial fibrillation", "another rhythm"),
            codes={"SR": "normal", "AF": "afib", "SVT": "other"},  # the release's own codes
            normal="normal",
        ),
    ),
    split=SplitRule(fractions={"train": 0.8, "test": 0.2}),
    n_records=12,
    channels=("I", "II"),
    rate_hz=250.0,
    unit="mV",
    duration_s=10.0,
    question="my_rhythm",
    shown="You are shown a two-lead ECG.",
    quirks=("what a user would stumble over",),
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields what the table lists. It opens tables and headers, never samples."""
    for table in tree.named("labels.csv"):
        for row in read_csv(tree.path(table), ("record", "patient", "age", "sex", "rhythm")):
            header = tree.beside(table, f"{row['record']}.hea")
            signal = tree.beside(table, f"{row['record']}.dat")
            if header is None and signal is None:
                yield Fault(row["record"], "missing", "listed, but none of its files is there")
            elif header is None or signal is None:
                yield Fault(row["record"], "damaged", "one of its two files is not there", table)
            else:
                yield Example(
                    record=row["record"],
                    patient_id=row["patient"],
                    age_years=float(row["age"]) if row["age"] else None,
                    sex=row["sex"] or None,
                    native=tuple(row["rhythm"].split()),
                    series=(SeriesFile(tree.path(header), "wfdb", signal=tree.path(signal)),),
                )


__getattr__ = builder_of(__name__)
