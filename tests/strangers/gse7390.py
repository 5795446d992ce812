"""GSE7390, breast cancer, as somebody with an ARFF table of genes would add it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import arff

from climb_hf.card import Access, Layout, Licence, Remote, SourceCard, SplitRule, Vocabulary
from climb_hf.errors import CorruptFileError
from climb_hf.genes import EXPRESSION, gene_facts
from climb_hf.io.expression import READERS, GeneTable, Profile
from climb_hf.io.files import keeps_last, or_fault
from climb_hf.io.tree import RawTree
from climb_hf.schema import Example, Fault, MediaFile

CARD = SourceCard(
    name="gse7390",
    title="TRANSBIG breast cancer, 76-gene signature",
    summary="expression of 76 genes in 198 node-negative breast tumours, with their ER status",
    licence=Licence("NCBI policy", share_data=False, share_derived=False),
    access=Access.OPEN,
    homepage="https://www.ncbi.nlm.nih.gov/geo/query/acc.cgi?acc=GSE7390",
    citation="Desmedt et al. (2007), Clin. Cancer Res. 13(11):3207-3214",
    release="scikit-survival 0.28.0",
    remotes=(Remote("https://github.com/sebp/scikit-survival/"),),
    layouts=(
        Layout("ARFF", r".*GSE7390.*\.arff", r".*GSE7390.*\.arff", "GSE7390-metastasis.arff"),
    ),
    vocabularies=(
        Vocabulary(
            "receptor",
            names=("negative", "positive"),
            texts=("oestrogen receptor negative", "oestrogen receptor positive"),
            codes={"negative": "negative", "positive": "positive"},
        ),
    ),
    split=SplitRule(fractions={"train": 0.8, "test": 0.2}),
    n_records=198,
    question="receptor",
    shown="Expression of {n_shown} genes of a breast tumour is listed (gene: log2): {listed}.",
    **EXPRESSION,
)
CLINICAL = ("age", "size", "grade", "er", "t.tdm", "e.tdm")


@keeps_last
def _opened(path: Path) -> tuple[Any, GeneTable]:
    try:
        rows, facts = arff.loadarff(path)
    except (ValueError, IndexError, arff.ArffError) as error:
        raise CorruptFileError(f"{path.name} is no whole ARFF file: {error}") from error
    genes = [name for name in facts.names() if name not in CLINICAL]
    values = np.stack([rows[name] for name in genes], axis=1)
    names = [name.removeprefix("X") for name in genes]
    return rows, GeneTable(names, names, [str(row) for row in range(len(rows))], values)


def _profile(file: MediaFile) -> Profile:
    return _opened(file.path)[1].profile(file.part, "log2", file.facts)


READERS["gse7390"] = _profile


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a line of the table."""
    facts = gene_facts(options)
    for path in tree.find(CARD.layouts[0].marker):
        yield from or_fault(_tumours(tree.path(path), facts), "table", path)


def _tumours(path: Path, facts: Mapping[str, Any]) -> Iterator[Example]:
    rows, _ = _opened(path)
    for number, row in enumerate(rows):
        yield Example(
            record=f"tumour_{number:03d}",
            native=(row["er"].decode(),),
            age_years=float(row["age"]),
            flags=("patient_unknown",),
            targets=(("days_without_metastasis", float(row["t.tdm"]), "d"),),
            expression=(MediaFile(path, "gse7390", str(number), facts),),
        )
