"""ABCD: functional brain networks of children, with their recorded sex."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, SourceCard, Vocabulary
from climb_hf.errors import CorruptFileError
from climb_hf.graphs import BRAIN, FOUR_FIFTHS
from climb_hf.io.files import open_array, or_fault, those_beside
from climb_hf.io.table import read_csv
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, MediaFile

CARD = SourceCard(
    name="abcd",
    title="Adolescent Brain Cognitive Development, resting-state networks",
    summary="correlation of 360 regions at rest, a child each; the label is the recorded sex",
    licence=Licence("NIMH Data Archive terms", share_data=False, share_derived=False),
    access=Access.CREDENTIALED,
    homepage="https://nda.nih.gov/abcd",
    citation=(
        "Casey et al. (2018), Dev. Cogn. Neurosci. 32:43-54, doi:10.1016/j.dcn.2018.03.001; "
        "Kan et al. (2022), NeurIPS, arXiv 2210.06681"
    ),
    release="matrices of the BrainGB group (HCP 2016 parcellation)",
    remotes=(),
    layouts=(
        Layout(
            "BrainGB's files",
            marker=r"abcd_rest-pearson-HCP2016\.npy",
            files=r"abcd_rest-(pearson|timeseires)-HCP2016\.npy|ids_HCP2016(_\w+)?\.txt|id2sex\.txt",
            example="ABCD/abcd_rest-pearson-HCP2016.npy",
        ),
    ),
    vocabularies=(
        Vocabulary("recorded_sex", names=("male", "female"), codes={"M": "male", "F": "female"}),
    ),
    split=FOUR_FIFTHS,
    n_records=9_563,
    n_patients=9_563,
    question="recorded_sex",
    shown=(
        "The connectivity of a child's brain at rest is summarised: correlations between {regions} "
        "regions, {summary} What is the participant's recorded sex?"
    ),
    quirks=(
        "the only label is sex, which is no diagnosis: keep it out of a clinical reward",
        "siblings and twins took part, and the files name no families: splits may leak",
        "a matrix with a value that is no number is reported as damaged, as its first readers drop "
        "it; one without a label is kept and has none",
        "the time series are not read",
    ),
    **BRAIN,
)
SEXES = {"M": "male", "F": "female"}


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a matrix, its label looked up by id."""
    for stack in tree.find(CARD.layouts[0].marker):
        yield from or_fault(_children(tree, stack), "abcd", stack)


def _children(tree: RawTree, stack: str) -> Iterator[Example | Fault]:
    beside = those_beside(tree, stack, {"ids": "ids_HCP2016.txt", "sexes": "id2sex.txt"})
    if len(beside) < 2:
        raise CorruptFileError(f"ids_HCP2016.txt or id2sex.txt is not beside {stack}.")
    # Stripped line by line: the last one may lack its line break.
    lines = beside["ids"].read_text("utf-8", "replace").splitlines()
    ids = [line.strip() for line in lines if line.strip()]
    n_matrices = len(open_array(tree.path(stack)))
    if n_matrices != len(ids):
        raise CorruptFileError(
            f"{n_matrices} matrices and {len(ids)} ids: which belongs to which cannot be known."
        )
    sex_of = {r["id"].strip(): r["sex"].strip() for r in read_csv(beside["sexes"], ("id", "sex"))}
    if sex_of and not sex_of.keys() & set(ids):
        raise CorruptFileError(
            f"no id of id2sex.txt ({next(iter(sex_of))}, ...) is one of ids_HCP2016.txt "
            f"({ids[0]}, ...): they are not of one release, or write the ids in two ways."
        )
    for row, person in enumerate(ids):
        sex = sex_of.get(person)
        yield Example(
            record=person,
            patient_id=person,
            native=(sex,) if sex else (),
            sex=SEXES.get(sex or ""),
            graphs=(MediaFile(tree.path(stack), "matrix_stack", row),),
        )
    for person in sorted(sex_of.keys() - set(ids)):
        yield Fault(person, "missing", "has a label, but no matrix", stack)


__getattr__ = builder_of(__name__)
