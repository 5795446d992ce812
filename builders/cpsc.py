"""China Physiological Signal Challenge 2018, with CPSC-Extra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from climb_hf.card import CC_BY_4_0, Access, Layout, Option, Proof, Remote, SourceCard, SplitRule
from climb_hf.ecg import OPTIONS, SNOMED, TWELVE_LEADS, challenge_records
from climb_hf.io.header import Header
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, SeriesFile
from climb_hf.windows import whole_windows

STRUCT = r"A\d{4}\.mat"
CARD = SourceCard(
    name="cpsc",
    title="China Physiological Signal Challenge 2018 and CPSC-Extra",
    summary="12-lead hospital ECGs of 6 to 144 s; nine classes (CPSC) or SNOMED CT codes (Extra)",
    licence=CC_BY_4_0,
    access=Access.OPEN,
    homepage="https://physionet.org/content/challenge-2021/1.0.3/",
    citation="Liu et al. (2018), J Med Imaging Health Inform 8:1368, doi:10.1166/jmihi.2018.2442",
    release="challenge-2021 1.0.3",
    remotes=(
        Remote("https://physionet.org/files/challenge-2021/1.0.3/training/cpsc_2018/"),
        Remote("https://physionet.org/files/challenge-2021/1.0.3/training/cpsc_2018_extra/"),
    ),
    layouts=(
        Layout("PhysioNet Challenge", r"[AQ]\d{4}\.hea", r"[AQ]\d{4}\.(hea|mat)", "g1/A0001.hea"),
        Layout("original MATLAB structs", STRUCT, rf"{STRUCT}|REFERENCE\.csv", "A0001.mat"),
    ),
    split=SplitRule(fractions={"train": 0.8, "test": 0.2}),
    n_records=10_330,
    options={
        **OPTIONS,
        "windows": Option("first", "`all`: every whole 10 s window", ("first", "all")),
    },
    proof=Proof.REAL_FILES,
    quirks=(
        "nine classes were annotated in CPSC proper: mi and hyp are unlabelled there, not negative",
        "the 2018 test set is hidden: there is no official split",
        "patients are unknown: splits may leak",
    ),
    **TWELVE_LEADS,
    **SNOMED,
)
# In the order of the codes 1 to 9 of REFERENCE.csv; early headers write the acronyms.
ACRONYMS = ("Normal", "AF", "I-AVB", "LBBB", "RBBB", "PAC", "PVC", "STD", "STE")
_FIRST = ("426783006", "164889003", "270492004", "164909002", "59118001")
CODES = (*_FIRST, "284470004", "164884008", "429622005", "164931005")
WINDOW_S = 10.0


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields the WFDB records, then the original structs that no WFDB record stands for."""
    seen: set[str] = set()
    codes = dict(zip(ACRONYMS, CODES, strict=True))
    wfdb = challenge_records(tree, r"[AQ]\d{4}", _describe, codes=codes)
    for found in chain(wfdb, _structs(tree, seen)):
        seen.add(found.record)
        yield from whole_windows(found, WINDOW_S) if options["windows"] == "all" else (found,)


def _describe(header: Header, example: Example) -> Example:
    if example.record.startswith("Q"):
        return replace(example, site="cpsc_2018_extra")
    return replace(example, site="cpsc_2018", examined=CODES if example.native else ())


def _structs(tree: RawTree, seen: set[str]) -> Iterator[Example | Fault]:
    reference: dict[str, list[str]] = {}
    for path in tree.named("REFERENCE.csv"):
        for row in read_csv(tree.path(path), ("Recording", "First_label")):
            given = (row.get(f"{nth}_label") for nth in ("First", "Second", "Third"))
            numbers = [int(n) for n in given if n and n.isdigit() and 1 <= int(n) <= len(CODES)]
            reference[row["Recording"]] = [CODES[number - 1] for number in numbers]
            if row["Recording"] not in seen and not tree.named(f"{row['Recording']}.mat"):
                yield Fault(row["Recording"], "missing", "listed, but its file is not there", path)
    for path in tree.find(STRUCT):
        record = path.rpartition("/")[2].removesuffix(".mat")
        if tree.beside(path, f"{record}.hea") or record in seen:
            continue
        seen.add(record)
        yield Example(
            record=record,
            native=tuple(reference.get(record, ())),
            examined=CODES if reference.get(record) else (),
            site="cpsc_2018",
            flags=("patient_unknown",),
            series=(SeriesFile(path=tree.path(path), reader="ecg_struct"),),
        )


__getattr__ = builder_of(__name__)
