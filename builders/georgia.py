"""Georgia 12-lead ECG Challenge database (Emory University)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from climb_hf.card import CC_BY_4_0, Access, Layout, Proof, Remote, SourceCard, SplitRule
from climb_hf.ecg import OPTIONS, SNOMED, TWELVE_LEADS, challenge_records, early_gain
from climb_hf.io.header import Header
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault

CARD = SourceCard(
    name="georgia",
    title="Georgia 12-lead ECG Challenge (G12EC) Database",
    summary="12-lead ECGs of 5 to 10 s from the Southeastern United States, SNOMED CT codes",
    licence=CC_BY_4_0,
    access=Access.OPEN,
    homepage="https://physionet.org/content/challenge-2021/1.0.3/",
    citation="Perez Alday et al. (2020), Physiol. Meas. 41:124003, doi:10.1088/1361-6579/abc960",
    release="challenge-2021 1.0.3",
    remotes=(Remote("https://physionet.org/files/challenge-2021/1.0.3/training/georgia/"),),
    layouts=(
        Layout(
            "PhysioNet Challenge",
            marker=r"E\d{5}\.hea",
            files=r"E\d{5}\.(hea|mat)",
            example="training/georgia/g1/E00001.hea",
        ),
    ),
    split=SplitRule(fractions={"train": 0.8, "test": 0.2}),
    n_records=10_344,
    options=OPTIONS,
    proof=Proof.REAL_FILES,
    quirks=(
        "headers from before August 2020 state a gain of 4880 adu/mV; 1000 is right and is used",
        "patients have several recordings and no id: splits may leak",
        "some signals are stored twice under two names; equal ones stay in one split",
    ),
    **TWELVE_LEADS,
    **SNOMED,
)
# Corrected in the release of August 2020; the signal files are the same.
WRONG_GAIN, RIGHT_GAIN = 4880.0, 1000.0


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields one example per header."""
    yield from challenge_records(tree, r"E\d{5}", _describe)


def _describe(header: Header, example: Example) -> Example:
    if header.leads[0].gain != WRONG_GAIN:
        return example
    meta = {**example.meta, "header_variant": "2020-early"}
    return early_gain(replace(example, meta=meta), RIGHT_GAIN)


__getattr__ = builder_of(__name__)
