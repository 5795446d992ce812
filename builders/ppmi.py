"""PPMI: structural brain networks of people with Parkinson's disease and controls."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, SourceCard, Vocabulary
from climb_hf.errors import CorruptFileError
from climb_hf.graphs import BRAIN, FOUR_FIFTHS, UNKNOWN
from climb_hf.io.files import or_fault
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, MediaFile

logger = logging.getLogger(__name__)
CARD = SourceCard(
    name="ppmi",
    title="Parkinson's Progression Markers Initiative, structural networks",
    summary="structural connectivity of 84 regions in three tractography views, patient or control",
    licence=Licence("PPMI data use agreement", share_data=False, share_derived=False),
    access=Access.AGREEMENT,
    homepage="https://www.ppmi-info.org/",
    citation=(
        "Marek et al. (2011), Prog. Neurobiol. 95:629-635, doi:10.1016/j.pneurobio.2011.09.005; "
        "Cui et al. (2023), BrainGB, IEEE TMI 42(2):493-506, doi:10.1109/TMI.2022.3218745"
    ),
    release="PPMI.mat of the BrainGB group",
    remotes=(),
    layouts=(
        Layout(
            "BrainGB's file",
            marker=r"PPMI\.mat",
            files=r"PPMI\.mat",
            example="PPMI/PPMI.mat",
        ),
    ),
    vocabularies=(
        Vocabulary(
            "parkinson",
            names=("control", "pd"),
            texts=("a control participant", "a person with Parkinson's disease"),
            codes={"-1": "control", "1": "pd"},
        ),
    ),
    split=FOUR_FIFTHS,
    n_records=718,
    question="parkinson",
    shown=(
        "The structural connectivity of a brain with {regions} regions is summarised, as "
        "tractography found it. {summary} Whose brain is it?"
    ),
    quirks=(
        "that 1 means Parkinson's disease is taken from the larger class; a file in which it is "
        "the smaller one is read with a warning",
        "the file holds no ids of people: records go by their row, and no patient is known",
        "the order of the three tractography methods is not stated; views are the last axis of a "
        "cell, moved to the front",
    ),
    **BRAIN,
)


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a cell of X; the matrices themselves are not read."""
    for path in tree.find(CARD.layouts[0].marker):
        yield from or_fault(_people(tree, path), "PPMI", path)


def _people(tree: RawTree, path: str) -> Iterator[Example]:
    from climb_hf.io.connectome import mat_column, mat_sizes

    file = tree.path(path)
    n_cells = mat_sizes(file).get("X")
    labels = mat_column(file, "label").tolist()
    if n_cells != len(labels):
        raise CorruptFileError(
            f"{file.name} has {n_cells} networks and {len(labels)} labels: which belongs to which "
            "cannot be known."
        )
    if 2 * labels.count(1) <= len(labels):
        logger.warning("%s: label 1, read as Parkinson's disease, is not the larger class", path)
    for row, label in enumerate(labels):
        media = MediaFile(file, "matlab_cell", ("X", row))
        native = (f"{label:g}",)
        yield Example(f"ppmi_{row:04d}", native=native, flags=UNKNOWN, graphs=(media,))


__getattr__ = builder_of(__name__)
