"""A made tree of GEO DataSets: SOFT text, gzipped, written line by line."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.append(str(Path(__file__).parent))

from graph_truth import expression_sha1, new_truth

N_GENES = 260
TISSUES = {"brain, adult": 0, "brain, embryo": 1, "liver, adult": 2, "liver, embryo": 3}


class Study(NamedTuple):
    """One data set.

    Attributes:
        subsets: (kind, value, numbers of its samples); a sample's answer is `answers[number]`.
        answers: "" where a sample has no question.
        full: whether the file with annotations is there too.
    """

    gds: str
    series: str
    n_samples: int
    subsets: tuple[tuple[str, str, tuple[int, ...]], ...]
    answers: tuple[str, ...]
    organism: str = "Homo sapiens"
    full: bool = False


def _halves(kind: str, values: Sequence[str], n: int) -> tuple:
    return tuple((kind, value, tuple(range(at, n, len(values)))) for at, value in enumerate(values))


ANNOTATIONS = ("Gene title", "Gene symbol")  # columns of the file called `_full`
CELLS = ("T cell", "B cell")
SIX = _halves("disease state", ("RCC", "normal"), 6)
STUDIES = (
    # Two arrays of one series: the same people, so that both have to stay in one split.
    Study(
        "GDS5001",
        "GSE781",
        6,
        _halves("disease state", ("RCC", "normal"), 6),
        ("RCC", "normal") * 3,
        full=True,
    ),
    Study(
        "GDS5002",
        "GSE781",
        6,
        _halves("disease state", ("RCC", "normal"), 6),
        ("RCC", "normal") * 3,
    ),
    # Tissue is joined with the stage; the age group is no kind that is asked for.
    Study(
        "GDS42",
        "GSE90",
        8,
        (
            ("tissue", "brain", (0, 1, 4, 5)),
            ("tissue", "liver", (2, 3, 6, 7)),
            ("development stage", "adult", (0, 2, 4, 6)),
            ("development stage", "embryo", (1, 3, 5, 7)),
            ("age", "young", tuple(range(8))),
        ),
        tuple(TISSUES) * 2,
        organism="Mus musculus",
    ),
    # Strain comes before disease state, but has one value only; sample 4 is in two groups.
    Study(
        "GDS611",
        "GSE91",
        6,
        (
            ("strain", "C57BL/6", tuple(range(6))),
            ("disease state", "infected", (0, 1, 4)),
            ("disease state", "control", (2, 3, 4)),
            ("disease state", "Control", (5,)),
        ),
        ("infected", "infected", "Control", "Control", "", "Control"),
        organism="Mus musculus",
    ),
    Study("GDS612", "", 3, _halves("gender", ("male", "female"), 3), ("", "", "")),
    Study("GDS4012", "GSE92", 4, _halves("cell type", ("T cell", "B cell"), 4), CELLS * 2),
    # An agent is joined with the time after it.
    Study(
        "GDS1234",
        "GSE93",
        4,
        (
            *_halves("agent", ("none", "dexamethasone"), 4),
            ("time", "2 h", (0, 1)),
            ("time", "24 h", (2, 3)),
        ),
        ("none, 2 h", "dexamethasone, 2 h", "none, 24 h", "dexamethasone, 24 h"),
        organism="Rattus norvegicus",
    ),
)


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Args:
        root: folder to write into; made if absent.
        n: not used: there are always the samples of `STUDIES`.
        seed: of the values.
        with_faults: also write a file that is cut short, one without a table and one whose table
            is broken by a word.
    """
    truth = new_truth([], ["SOFT"])
    for at, study in enumerate(STUDIES):
        values = _values(np.random.default_rng([seed, at]), study.n_samples)
        _write(root, study, values)
        for number, answer in enumerate(study.answers):
            truth["records"][f"{study.gds}_{_gsm(study, number)}"] = {
                "labels": [],
                "native": [answer] if answer else [],
                "patient_id": None,
                "expression_sha1": expression_sha1(_genes(), values[number]),
            }
    if with_faults:
        _write_faults(root, truth)
    return truth


def _genes() -> list[str]:
    return [f"{200000 + at}_at" for at in range(N_GENES)]


def _symbol(at: int) -> str:
    """Two probes in three have a gene's name; some share it, and some have none."""
    return "null" if at % 9 == 4 else f"GENE{at // 2}"


def _gsm(study: Study, number: int) -> str:
    return f"GSM{int(study.gds.removeprefix('GDS')) * 10 + number}"


def _values(rng: np.random.Generator, n_samples: int) -> np.ndarray:
    """Values as they are written, float32, shape (samples, genes); NaN where none was measured."""
    level = rng.normal(7, 2, N_GENES)
    spread = rng.gamma(1, 0.8, N_GENES)
    values = (level + spread * rng.normal(size=(n_samples, N_GENES))).round(4)
    values[rng.random(values.shape) < 0.02] = np.nan
    return values.astype("<f4")


def _folder(root: Path, gds: str) -> Path:
    number = gds.removeprefix("GDS")
    range_ = f"GDS{number[:-3]}nnn"
    folder = root / "datasets" / range_ / gds / "soft"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _head(study: Study, full: bool = False) -> list[str]:
    facts = {
        "title": f"Made study {study.gds}",
        # As upstream's descriptions do, this one tells the groups, in Latin-1.
        "description": f"Comparison of {study.answers[0]} samples by M\xfcller et al.",
        "type": "Expression profiling by array",
        "platform": "GPL96",
        "platform_organism": study.organism,
        "platform_technology_type": "in situ oligonucleotide",
        "feature_count": str(N_GENES),
        "sample_organism": study.organism,
        "channel_count": "1",
        "sample_count": str(study.n_samples),
        "value_type": "transformed count",
        "order": "none",
        "update_date": "Jan 01 2010",
    }
    if study.series:
        facts["reference_series"] = study.series
    lines = ["^DATABASE = Geo", "!Database_name = Gene Expression Omnibus (GEO)"]
    lines += ["!Database_institute = NCBI NLM NIH", "!Database_email = geo@ncbi.nlm.nih.gov"]
    lines += [f"^DATASET = {study.gds}", *(f"!dataset_{key} = {v}" for key, v in facts.items())]
    for at, (kind, value, numbers) in enumerate(study.subsets, start=1):
        samples = ",".join(_gsm(study, number) for number in numbers)
        lines += [
            f"^SUBSET = {study.gds}_{at}",
            f"!subset_dataset_id = {study.gds}",
            f"!subset_description = {value}",
            f"!subset_sample_id = {samples}",
            f"!subset_type = {kind}",
        ]
    lines += [f"^DATASET = {study.gds}", "#ID_REF = Platform reference identifier"]
    lines.append("#IDENTIFIER = identifier")
    for number in range(study.n_samples):
        lines.append(f"#{_gsm(study, number)} = Value for {_gsm(study, number)}: sample {number}")
    return [*lines, *(f"#{name} = Entrez {name}" for name in ANNOTATIONS if full)]


def _table(study: Study, values: np.ndarray, full: bool) -> list[str]:
    begin = "!Dataset_table_begin" if study.gds == "GDS42" else "!dataset_table_begin"
    samples = [_gsm(study, number) for number in range(study.n_samples)]
    more = ANNOTATIONS if full else ()
    lines = [begin, "\t".join(["ID_REF", "IDENTIFIER", *samples, *more])]
    for at, gene in enumerate(_genes()):
        cells = ["null" if np.isnan(one) else f"{one:.4f}" for one in values[:, at]]
        told = ['a "quoted" title', _symbol(at)] if full else []
        lines.append("\t".join([gene, _symbol(at), *cells, *told]))
    return [*lines, "!dataset_table_end"]


def _bytes(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode("latin-1")


def _write(root: Path, study: Study, values: np.ndarray) -> None:
    folder = _folder(root, study.gds)
    for full in (False, True)[: 1 + study.full]:
        content = _bytes([*_head(study, full), *_table(study, values, full)])
        name = f"{study.gds}_full.soft.gz" if full else f"{study.gds}.soft.gz"
        (folder / name).write_bytes(gzip.compress(content, mtime=0))


def _write_faults(root: Path, truth: dict[str, Any]) -> None:
    """A stream that ends in its head, a data set without a table, and one with a word in it."""
    two = _halves("disease state", ("RCC", "normal"), 4)
    kinds = ("cut", "empty", "word")
    for at, kind in enumerate(kinds):
        study = Study(f"GDS900{at}", f"GSE90{at}", 4, two, ("RCC", "normal") * 2)
        lines = _head(study)
        if kind != "empty":
            lines += _table(study, _values(np.random.default_rng(at), 4), full=False)
        if kind == "word":
            cells = lines[-2].split("\t")
            lines[-2] = "\t".join([*cells[:2], "absent", *cells[3:]])
        content = gzip.compress(_bytes(lines), mtime=0)
        content = content[:200] if kind == "cut" else content
        (_folder(root, study.gds) / f"{study.gds}.soft.gz").write_bytes(content)
        # Whether a table is whole is known once it is read: for each of its samples.
        samples = [f"{study.gds}_{_gsm(study, number)}" for number in range(4)]
        for record in samples if kind == "word" else [study.gds]:
            truth["faults"][record] = {"kind": "damaged"}


if __name__ == "__main__":
    make(Path(sys.argv[1]))
