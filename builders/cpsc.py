"""China Physiological Signal Challenge 2018, with CPSC-Extra."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from climb_hf.card import CC_BY_4_0, Access, Layout, Option, Proof, Remote, SourceCard, SplitRule
from climb_hf.ecg import OPTIONS, SNOMED, TWELVE_LEADS, challenge_records
from climb_hf.errors import CorruptFileError
from climb_hf.io.header import Header
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, SeriesFile

CARD = SourceCard(
    name="cpsc",
    title="China Physiological Signal Challenge 2018 and CPSC-Extra",
    summary="12-lead hospital ECGs of 6 to 144 s; nine classes (CPSC) or SNOMED CT codes (Extra)",
    licence=CC_BY_4_0,
    access=Access.OPEN,
    homepage="https://physionet.org/content/challenge-2021/1.0.3/",
    citation=(
        "Liu et al. (2018), J. Med. Imaging Health Inform. 8(7):1368-1373, "
        "doi:10.1166/jmihi.2018.2442"
    ),
    release="challenge-2021 1.0.3",
    remotes=(
        Remote("https://physionet.org/files/challenge-2021/1.0.3/training/cpsc_2018/"),
        Remote("https://physionet.org/files/challenge-2021/1.0.3/training/cpsc_2018_extra/"),
    ),
    layouts=(
        Layout(
            "PhysioNet Challenge",
            marker=r"[AQ]\d{4}\.hea",
            files=r"[AQ]\d{4}\.(hea|mat)",
            example="training/cpsc_2018/g1/A0001.hea",
        ),
        Layout(
            "original MATLAB structs",
            marker=r"A\d{4}\.mat",
            files=r"A\d{4}\.mat|REFERENCE\.csv",
            example="TrainingSet1/A0001.mat",
        ),
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
NINE = {
    "Normal": "426783006",
    "AF": "164889003",
    "I-AVB": "270492004",
    "LBBB": "164909002",
    "RBBB": "59118001",
    "PAC": "284470004",
    "PVC": "164884008",
    "STD": "429622005",
    "STE": "164931005",
}
WINDOW_S = 10.0


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields the WFDB records, then the original structs that no WFDB record stands for."""
    lengths: dict[str, float] = {}

    def describe(header: Header, example: Example) -> Example:
        lengths[example.record] = (header.n_samples or 0) / header.rate_hz
        if example.record.startswith("Q"):
            return replace(example, site="cpsc_2018_extra")
        return replace(example, site="cpsc_2018", examined=tuple(NINE.values()))

    seen = set()
    for found in challenge_records(tree, r"[AQ]\d{4}", describe, codes=NINE):
        seen.add(found.record)
        if isinstance(found, Example) and options["windows"] == "all":
            yield from _windows(found, lengths[found.record])
        else:
            yield found
    for found in _structs(tree, seen):
        if isinstance(found, Example) and options["windows"] == "all":
            yield from _struct_windows(found)
        else:
            yield found


def _windows(example: Example, duration_s: float) -> Iterator[Example]:
    """The whole 10 s windows of a recording; a shorter recording is one window."""
    for index in range(max(int(duration_s // WINDOW_S), 1)):
        cut = replace(example.series[0], start_s=index * WINDOW_S, stop_s=(index + 1) * WINDOW_S)
        record = f"{example.record}/{index}"
        yield replace(example, record=record, recording=example.record, series=(cut,))


def _struct_windows(example: Example) -> Iterator[Example | Fault]:
    """A struct's length stands inside it alone, so this opens it."""
    from climb_hf.io.signal import load

    file = example.series[0]
    try:
        series = load(file)
    except CorruptFileError as error:
        yield Fault(example.record, "damaged", str(error), str(file.path))
        return
    yield from _windows(example, series.n_valid / series.rate_hz)


def _structs(tree: RawTree, seen: set[str]) -> Iterator[Example | Fault]:
    codes = list(NINE.values())
    reference: dict[str, list[str]] = {}
    for path in tree.named("REFERENCE.csv"):
        for row in read_csv(tree.path(path), ("Recording", "First_label")):
            given = (row.get(f"{nth}_label") for nth in ("First", "Second", "Third"))
            numbers = [int(n) for n in given if n and n.isdigit() and 1 <= int(n) <= len(codes)]
            reference[row["Recording"]] = [codes[number - 1] for number in numbers]
            if row["Recording"] not in seen and not tree.named(f"{row['Recording']}.mat"):
                yield Fault(row["Recording"], "missing", "listed, but its file is not there", path)
    for path in tree.find(r"A\d{4}\.mat"):
        record = PurePosixPath(path).stem
        if tree.beside(path, f"{record}.hea") or record in seen:
            continue
        seen.add(record)
        yield Example(
            record=record,
            native=tuple(reference.get(record, ())),
            examined=tuple(codes),
            site="cpsc_2018",
            flags=("patient_unknown",),
            series=(SeriesFile(path=tree.path(path), reader="ecg_struct"),),
        )


__getattr__ = builder_of(__name__)
