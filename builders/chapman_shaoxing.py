"""Chapman University and Shaoxing People's Hospital ECGs, with the Ningbo extension."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from climb_hf.card import CC_BY_4_0, Access, Layout, Option, Proof, Remote, SourceCard, SplitRule
from climb_hf.ecg import OPTIONS, SNOMED, TWELVE_LEADS, challenge_records
from climb_hf.io.header import Header
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault

CHALLENGE = "https://physionet.org/files/challenge-2021/1.0.3/training/"
CARD = SourceCard(
    name="chapman_shaoxing",
    title="Chapman-Shaoxing and Ningbo 12-lead ECG database",
    summary="10 s 12-lead ECGs of two hospitals, rhythms and conditions as SNOMED CT codes",
    licence=CC_BY_4_0,
    access=Access.OPEN,
    homepage="https://physionet.org/content/ecg-arrhythmia/1.0.0/",
    citation=(
        "Zheng et al. (2020), Sci. Data 7:48, doi:10.1038/s41597-020-0386-x; "
        "Zheng et al. (2020), Sci. Rep. 10:2898, doi:10.1038/s41598-020-59821-7"
    ),
    release="ecg-arrhythmia 1.0.0",
    remotes=(
        Remote("https://physionet.org/files/ecg-arrhythmia/1.0.0/"),
        Remote(f"{CHALLENGE}chapman_shaoxing/", again=True),
        Remote(f"{CHALLENGE}ningbo/", again=True),
    ),
    layouts=(
        Layout(
            "WFDB records (ecg-arrhythmia, PhysioNet Challenge or one flat folder)",
            marker=r"J?S\d{5}\.hea",
            files=r"J?S\d{5}\.(hea|mat)",
            example="WFDBRecords/01/010/JS00001.hea",
        ),
    ),
    split=SplitRule(fractions={"train": 0.8, "test": 0.2}),
    n_records=45_152,
    options={
        **OPTIONS,
        "subset": Option("all", "which hospital's records", ("all", "chapman", "ningbo")),
    },
    proof=Proof.REAL_FILES,
    quirks=(
        "two public headers have their first two lines fused (JS01052, JS23074); reported",
        "one record per patient in the Chapman part; Ningbo has no patient ids",
        "ids have gaps below JS10646",
    ),
    **TWELVE_LEADS,
    **SNOMED,
)
LAST_CHAPMAN = 10_646


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields one example per header of the wanted subset."""
    for found in challenge_records(tree, r"J?S\d{5}", _describe):
        if isinstance(found, Fault) or options["subset"] in ("all", _part(found.record)):
            yield found


def _part(record: str) -> str:
    return "chapman" if int(record.lstrip("JS")) <= LAST_CHAPMAN else "ningbo"


def _describe(header: Header, example: Example) -> Example:
    part = _part(example.record)
    if part == "ningbo":
        return replace(example, site="ningbo")
    flags = tuple(flag for flag in example.flags if flag != "patient_unknown")
    return replace(example, site="shaoxing", patient_id=example.record, flags=flags)


__getattr__ = builder_of(__name__)
