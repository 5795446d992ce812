"""PTB-XL, the original release and the PhysioNet Challenge copy."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import Any

from climb_hf.card import CC_BY_4_0, Access, Layout, Proof, Remote, SourceCard, SplitRule
from climb_hf.ecg import OPTIONS, TWELVE_LEADS, challenge_records, early_gain
from climb_hf.io.header import Header
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.people import age_fields
from climb_hf.schema import Example, Fault, SeriesFile

CARD = SourceCard(
    name="ptb_xl",
    title="PTB-XL, a large publicly available electrocardiography dataset",
    summary="10 s clinical 12-lead ECGs with up to 71 SCP-ECG statements and ten official folds",
    licence=CC_BY_4_0,
    access=Access.OPEN,
    homepage="https://physionet.org/content/ptb-xl/1.0.3/",
    citation="Wagner et al. (2020), Sci. Data 7:154, doi:10.1038/s41597-020-0495-6",
    release="1.0.3",
    remotes=(
        Remote("https://physionet.org/files/ptb-xl/1.0.3/"),
        Remote("https://physionet.org/files/challenge-2021/1.0.3/training/ptb-xl/", again=True),
    ),
    layouts=(
        Layout(
            "original release",
            marker=r"ptbxl_database\.csv",
            files=r"ptbxl_database\.csv|scp_statements\.csv|\d{5}_[hl]r\.(hea|dat)",
            example="ptb-xl/1.0.3/ptbxl_database.csv",
        ),
        Layout(
            "PhysioNet Challenge",
            marker=r"HR\d{5}\.hea",
            files=r"HR\d{5}\.(hea|mat)",
            example="training/ptb-xl/g1/HR00001.hea",
        ),
    ),
    label_sets={
        "climb7": ("climb7",),
        "climb7_upstream": ("climb7",),
        "native": ("scp_ecg", "snomed_ecg"),
        "ptbxl_super5": ("ptbxl_super5",),
    },
    code_tables=("scp_ecg", "snomed_ecg"),
    split=SplitRule(
        fractions={"train": 0.8, "validation": 0.1, "test": 0.1},
        official=True,
        origin="strat_fold of ptbxl_database.csv: 1-8 train, 9 validation, 10 test",
    ),
    n_records=21_799,
    n_patients=18_869,
    options=OPTIONS,
    proof=Proof.REAL_FILES,
    quirks=(
        "SR counts as normal, so most records are normal among other classes",
        "the Challenge copy has no patient ids and no folds: its split is derived",
        "ages above 89 are released as 300",
    ),
    **TWELVE_LEADS,
)
KEPT = ("height", "weight", "device", "heart_axis", "strat_fold", "validated_by_human")
# The Challenge copy's headers from before August 2020; the signal files are the same.
WRONG_GAIN, RIGHT_GAIN = 200.0, 1000.0
COLUMNS = ("ecg_id", "patient_id", "age", "sex", "scp_codes", "strat_fold", "filename_hr")


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields the rows of ptbxl_database.csv; without it, the headers of the Challenge copy."""
    tables = tree.named("ptbxl_database.csv")
    if not tables:
        yield from challenge_records(tree, r"HR\d{5}", _describe)
        return
    stem = "lr" if options.get("rate_hz") == 100 else "hr"
    for line, row in enumerate(read_csv(tree.path(tables[0]), COLUMNS), start=2):
        named = (row["ecg_id"] or "").strip()
        record = f"{int(named):05d}" if named.isdigit() else f"line {line}"
        try:
            yield _example(tree, tables[0], row, record, stem)
        except (ValueError, TypeError, AttributeError):
            why = f"line {line} of the table is cut off or holds a word in place of a number"
            yield Fault(record, "damaged", why, tables[0])


def _describe(header: Header, example: Example) -> Example:
    return early_gain(example, RIGHT_GAIN) if header.leads[0].gain == WRONG_GAIN else example


def _example(
    tree: RawTree, table: str, row: Mapping[str, str], record: str, stem: str
) -> Example | Fault:
    header, signal = _files(tree, table, row[f"filename_{stem}"], record)
    if header is None and signal is None:
        return Fault(record, "missing", "neither header nor signal is there", table)
    if header is None or signal is None:
        lacking = "header" if header is None else "signal file"
        return Fault(record, "damaged", f"its {lacking} is not there", header or signal or table)
    fold = int(row["strat_fold"])
    gain = RIGHT_GAIN if PurePosixPath(header).name.startswith("HR") else None
    codes, unparsed = _statements(row["scp_codes"])
    axis = row.get("heart_axis") if codes else ""  # an axis alone is no annotation
    return Example(
        record=record,
        native=(*codes, *([f"axis:{axis}"] if axis else [])),
        patient_id=str(int(float(row["patient_id"]))),
        split={9: "validation", 10: "test"}.get(fold, "train"),
        sex={"0": "male", "1": "female"}.get(row["sex"].removesuffix(".0")),
        site=row.get("site") or None,
        text=row.get("report") or None,
        meta={**{k: row[k] for k in KEPT if row.get(k)}, "scp_codes": codes, **unparsed},
        series=(SeriesFile(tree.path(header), "wfdb", gain=gain),),
        **age_fields(row["age"]),
    )


def _files(tree: RawTree, table: str, filename: str, record: str) -> tuple[str | None, str | None]:
    """Header and signal of a row: where the table says, else the Challenge copy of that number."""
    path = str(PurePosixPath(table).parent / f"{filename}.hea")
    name = PurePosixPath(filename).name
    header = path if tree.size(path) is not None else None
    signal = tree.beside(path, f"{name}.dat")
    if header is None and signal is None:
        for copy in tree.named(f"HR{record}.hea"):
            return copy, tree.beside(copy, f"HR{record}.mat")
    return header, signal


def _statements(text: str) -> tuple[dict[str, float], dict[str, str]]:
    """The SCP statements with their likelihoods; a literal that does not parse is kept as text."""
    try:
        parsed = ast.literal_eval(text)
        return {_spelled(str(code)): float(share) for code, share in parsed.items()}, {}
    except (ValueError, SyntaxError, AttributeError, TypeError):
        return {}, {"scp_codes_unparsed": text}


def _spelled(code: str) -> str:
    """`1AVB` for the `1.0AVB` of copies that another tool saved again."""
    return code.replace(".0AVB", "AVB")


__getattr__ = builder_of(__name__)
