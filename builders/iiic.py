"""Seizures, Rhythmic and Periodic Patterns in ICU EEG (SPaRCNet's data, the IIIC classes)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from climb_hf.card import Access, Layout, Licence, SourceCard, SplitRule, Vocabulary
from climb_hf.eeg import BIPOLAR_EEG, FILTERS, ICU_FACTS, SPLIT_CSV, voted_windows
from climb_hf.errors import CorruptFileError
from climb_hf.io.files import or_fault
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.people import age_fields, sex_of
from climb_hf.schema import Example, Fault, SeriesFile
from climb_hf.votes import OPTIONS, codes_in_mat, counts_in_csv, joined, voted

CODES = {"0": "other", "1": "sz", "2": "lpd", "3": "gpd", "4": "lrda", "5": "grda"}
SEGMENT = r"(sparcnet_)?[A-Za-z]+\d+_[\w.-]+\.(mat|npy)"
ARRAYS = r"(all|10)_train_(key|X|Y)\.npy"
HMS = r"train_eegs/\d+\.parquet"  # of the Kaggle competition on harmful brain activity
HMS_VOTES = {c: f"{'seizure' if name == 'sz' else name}_vote" for c, name in CODES.items()}
CARD = SourceCard(
    name="iiic",
    title="Seizures, Rhythmic and Periodic Patterns in ICU EEG",
    summary="10 s of EEG from intensive care, voted by experts into six patterns",
    licence=Licence("BDSP Restricted Health Data License 1.0.0", False, False),
    access=Access.CREDENTIALED,
    homepage="https://bdsp.io/content/bdsp-sparcnet/1.1/",
    citation="Jing et al. (2023), Neurology 100(17):e1750-e1762, doi:10.1212/WNL.0000000000207127; "
    "data doi:10.60508/cw6j-s785",
    release="1.1",
    remotes=(),
    layouts=(
        Layout("arrays of the release", ARRAYS, ARRAYS, "sparcnet/all_train_X.npy"),
        Layout(
            "segments with a table of votes",
            marker=SEGMENT,
            files=rf"{SEGMENT}|labels\.(csv|mat)|demographics\.csv",
            example="segments/sparcnet_subject0001_1.mat",
        ),
        Layout("hms", HMS, rf"train\.csv|{HMS}", "train_eegs/1628180742.parquet"),
    ),
    vocabularies=(
        Vocabulary(
            "iiic6",
            names=("sz", "lpd", "gpd", "lrda", "grda", "other"),
            texts=(
                *("electrographic seizure", "lateralized periodic discharges"),
                *("generalized periodic discharges", "lateralized rhythmic delta activity"),
                *("generalized rhythmic delta activity", "none of these"),
            ),
            codes=CODES,
        ),
    ),
    split=SplitRule(fractions={"train": 0.6, "validation": 0.2, "test": 0.2}),
    n_records=111_095,
    n_patients=1_950,
    rate_hz=200.0,
    duration_s=10.0,
    question="iiic",
    shown=(
        "This is a 10-second EEG from an intensive care patient in a 16-channel longitudinal "
        "bipolar montage. Which pattern is present?"
    ),
    options={**OPTIONS, **FILTERS, "split_csv": SPLIT_CSV},
    quirks=(
        "code 0 is `other`, and stands first in the release's columns; here it stands last",
        "most records have three votes, so that a class is noisy; the authors asked for more than "
        "3 or 10. ties=lowest is what the release's one-hot file does",
        "of the arrays' rows 23,355 repeat a key; 10_train, part of all_train, is read only alone",
        "the arrays are filtered already (60 Hz notch, 0.5 to 40 Hz); segments are not",
        "the release's test signals come without labels, so the split is ours",
        "hms, a Kaggle competition, may have the same people: it is read where no arrays are",
    ),
    **BIPOLAR_EEG,
)
OF_ARRAYS = {"channels": CARD.channels, "rate_hz": 200.0, "unit": "uV"}
# The scored part of a segment of 50 s is its middle.
OF_SEGMENTS = {**ICU_FACTS, "middle_s": 10.0, "stored_s": 50.0, "names": ("seg", "data")}


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields the rows of the release's arrays, then the segments that a table of votes names."""
    which = "all_train" if tree.named("all_train_key.npy") else "10_train"
    keys = tree.named(f"{which}_key.npy")
    for path in keys:
        yield from or_fault(_rows(tree, path, which, options), which, path)
    yield from _segments(tree, options)
    for path in () if keys else tree.named("train.csv"):
        yield from or_fault(voted_windows(tree, path, HMS_VOTES, options), "train.csv", path)


def _rows(
    tree: RawTree, path: str, which: str, options: Mapping[str, Any]
) -> Iterator[Example | Fault]:
    from climb_hf.io.arrays import open_npy, texts

    signals, table = (tree.beside(path, f"{which}_{name}.npy") for name in "XY")
    if table is None:
        raise CorruptFileError(f"{which}_Y.npy with the votes is not beside it.")
    keys, counts = texts(open_npy(tree.path(path))), open_npy(tree.path(table))
    if counts.shape != (len(keys), len(CODES)):
        raise CorruptFileError(f"it has {len(keys)} keys, {which}_Y.npy has shape {counts.shape}.")
    facts = {**OF_ARRAYS, "entries": len(keys)}
    for row, (key, given) in enumerate(zip(keys, counts.tolist(), strict=True)):
        if signals is None:
            yield Fault(key, "missing", f"{which}_X.npy is not there", path)
            continue
        series = SeriesFile(tree.path(signals), "array", part=row, facts=facts)
        votes = {code: n for code, n in zip(CODES, given, strict=True) if n > 0}
        yield voted(_example(key, series), votes, options)


def _segments(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    people: dict[str, Any] = {}
    votes: dict[str, Any] = {}
    counts = partial(counts_in_csv, columns=CODES)
    tables = (("labels.csv", votes, counts), ("labels.mat", votes, codes_in_mat))
    for name, held, read_table in (("demographics.csv", people, _people), *tables):
        for path in tree.named(name):
            try:
                held.update(read_table(tree.path(path)))
            except CorruptFileError as error:
                yield Fault(name, "damaged", str(error), path)

    def example(key: str, path: str) -> Example:
        found = _example(key, SeriesFile(tree.path(path), "array", facts=OF_SEGMENTS))
        return replace(found, **people.get(found.patient_id or "", {}))

    files = {path.rpartition("/")[2].rpartition(".")[0]: path for path in tree.find(SEGMENT)}
    yield from joined(files, votes, example, options)


def _people(path: Path) -> dict[str, dict[str, Any]]:
    rows = read_csv(path, ("patient", "sex", "age"))
    return {r["patient"]: {"sex": sex_of(r["sex"]), **age_fields(r["age"])} for r in rows}


def _example(key: str, series: SeriesFile) -> Example:
    """A record by its key: the patient stands first in it, or second behind `sparcnet`."""
    parts = key.removeprefix("sparcnet_").split("_")
    return Example(record=key, patient_id=parts[0], series=(series,))


__getattr__ = builder_of(__name__)
