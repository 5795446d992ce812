"""What releases of 12-lead ECGs share: the Challenge dialect, ages, leads, options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from climb_hf.card import Modality, Option
from climb_hf.errors import ClimbError, CorruptFileError
from climb_hf.io.header import STANDARD_LEADS, Header, check_signal_file, read_header
from climb_hf.io.tree import RawTree
from climb_hf.people import age_fields, sex_of
from climb_hf.schema import Example, Fault, SeriesFile

LEADS = STANDARD_LEADS
# What the cards of 12-lead sources state alike; `SourceCard(..., **TWELVE_LEADS)`.
TWELVE_LEADS: dict[str, Any] = {
    "modality": Modality.ECG,
    "channels": LEADS,
    "rate_hz": 500.0,
    "unit": "mV",
    "duration_s": 10.0,
    "question": "ecg",
    "shown": "You are shown a 12-lead ECG.",
}
# What the cards of sources with SNOMED CT codes state alike.
SNOMED: dict[str, Any] = {
    "label_sets": {
        "climb7": ("climb7",),
        "climb7_upstream": ("climb7",),
        "native": ("snomed_ecg",),
    },
    "code_tables": ("snomed_ecg",),
}
OPTIONS = {
    "question": Option(
        "set",
        "qa: `set` asks for every group that applies, `choice` for the one that describes best",
        ("set", "choice"),
    ),
    "normal_exclusive": Option(
        False, "classification: `normal` only where nothing else is positive", kind=bool
    ),
    "axis_as_hyp": Option(
        True, "axis deviation counts as `hyp`, as in CLIMB; False: as `other`", kind=bool
    ),
    "split_csv": Option(
        None,
        "file with columns file_name and split (CLIMB's `val` means test), for split_rule=csv",
        is_file=True,
    ),
}

Describe = Callable[[Header, Example], Example]


def challenge_records(
    tree: RawTree,
    record: str,
    describe: Describe | None = None,
    *,
    codes: dict[str, str] | None = None,
) -> Iterator[Example | Fault]:
    """Yields the records of a tree in the PhysioNet Challenge layout (WFDB header and .mat).

    Args:
        record: regular expression of the record names.
        describe: adds what only one source knows.
        codes: native spelling -> code, for releases that write acronyms in place of codes.
    """
    seen: set[str] = set()
    for path in tree.find(rf"{record}\.hea"):
        try:
            header = read_header(tree.path(path))
            example = challenge_example(tree, path, header, codes or {})
            if describe is not None:
                example = describe(header, example)
        except ClimbError as error:
            yield Fault(PurePosixPath(path).stem, "damaged", str(error), path)
            continue
        if example.record in seen:
            yield Fault(example.record, "copy", "the same record lies in another folder too", path)
            continue
        seen.add(example.record)
        yield example
    yield from _without_header(tree, record, seen)


def _without_header(tree: RawTree, record: str, seen: set[str]) -> Iterator[Fault]:
    for path in tree.find(rf"{record}\.mat"):
        name = PurePosixPath(path).stem
        if (
            name not in seen
            and tree.beside(path, f"{name}.hea") is None
            and _is_matlab4(tree, path)
        ):
            yield Fault(name, "damaged", f"{name}.mat has no header beside it", path)


def _is_matlab4(tree: RawTree, path: str) -> bool:
    with tree.path(path).open("rb") as file:
        return file.read(4) == b"\x1e\x00\x00\x00"


def challenge_example(tree: RawTree, path: str, header: Header, codes: dict[str, str]) -> Example:
    """Turns one Challenge header into a record; of the signal only the size is looked at.

    Raises:
        CorruptFileError: if leads are missing, or the signal file is absent or of another size
            than promised.
    """
    names = {lead.name.lower() for lead in header.leads}
    missing = [lead for lead in LEADS if lead.lower() not in names]
    if missing:
        raise CorruptFileError(f"the header lacks lead {', '.join(missing)}.")
    signal, mended = _signal_file(tree, path, header)
    signal_path = tree.path(signal)
    check_signal_file(header, signal_path, tree.size(signal) or 0)
    native = [codes.get(code.strip(), code.strip()) for code in _dx(header)]
    return Example(
        record=PurePosixPath(signal).stem,
        native=tuple(dict.fromkeys(filter(None, native))),
        signature=header.signature,
        sex=sex_of(header.comments.get("sex")),
        meta={"header_dialect": "2020" if header.early else "current", "folder": _folder(path)},
        series=(SeriesFile(header.path, "wfdb", signal=signal_path, mend=mended),),
        **age_fields(header.comments.get("age"), ("patient_unknown",)),
    )


def _dx(header: Header) -> list[str]:
    value = header.comments.get("dx", "")
    return [] if value.strip().lower() in ("unknown", "nan", "n/a") else value.split(",")


def _folder(path: str) -> str:
    """The release's folder that a record lies in, such as `ningbo`, or an empty string."""
    parts = path.split("/")[:-1]
    return next((p for p in reversed(parts) if not p.startswith("g") or not p[1:].isdigit()), "")


def _signal_file(tree: RawTree, path: str, header: Header) -> tuple[str, bool]:
    """The signal file, and whether the header must be mended before wfdb reads it.

    The name on the lead lines counts, not the header's own (a public header `S23074.hea` belongs
    to `JS23074.mat`); where that file is absent, a .mat of the header's name serves (the very
    first headers name `A0001.dat` beside `A0001.mat`).
    """
    named = header.file_names
    if len(named) == 1:
        found = tree.beside(path, next(iter(named)))
        if found is not None:
            return found, header.early
    fallback = tree.beside(path, f"{PurePosixPath(path).stem}.mat")
    if fallback is None:
        raise CorruptFileError(
            f"the header names {', '.join(sorted(named))}, which is not beside it. "
            "Fetch the signal file too."
        )
    return fallback, True


def early_gain(example: Example, gain: float) -> Example:
    """Returns the example with its header's gain replaced by `gain` (adu per mV) and flagged."""
    series = tuple(replace(file, gain=gain) for file in example.series)
    return replace(example, series=series, flags=(*example.flags, "gain_corrected"))
