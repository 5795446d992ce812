"""PROTEINS of the TUDataset collection: secondary-structure elements of enzymes and others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, Remote, SourceCard, Vocabulary
from climb_hf.graphs import FOUR_FIFTHS, MOLECULE, UNKNOWN
from climb_hf.io.files import or_fault, those_beside
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, MediaFile

KINDS = ("helices", "sheets", "turns")  # node labels 0, 1, 2
CARD = SourceCard(
    name="proteins",
    title="PROTEINS (TUDataset)",
    summary="proteins as graphs of secondary-structure elements, enzyme or not",
    licence=Licence("none stated", share_data=False, share_derived=False),
    access=Access.OPEN,
    homepage="https://chrsmrrs.github.io/datasets/",
    citation=(
        "Borgwardt et al. (2005), Bioinformatics 21(S1):i47-i56, doi:10.1093/bioinformatics/"
        "bti1007; Dobson and Doig (2003), J. Mol. Biol. 330:771-783; "
        "Morris et al. (2020), arXiv 2007.08663"
    ),
    release="TUDataset PROTEINS",
    remotes=(Remote("https://www.chrsmrrs.com/graphkerneldatasets/PROTEINS.zip"),),
    layouts=(
        Layout(
            "TUDataset text files",
            marker=r"PROTEINS(_full)?_graph_labels\.txt",
            files=r"PROTEINS(_full)?_(A|graph_indicator|graph_labels|node_\w+)\.txt",
            example="PROTEINS/PROTEINS_graph_labels.txt",
        ),
    ),
    vocabularies=(
        Vocabulary(
            "enzyme",
            names=("enzyme", "non_enzyme"),
            texts=("an enzyme", "not an enzyme"),
            codes={"1": "enzyme", "2": "non_enzyme"},
        ),
    ),
    split=FOUR_FIFTHS,
    n_records=1_113,
    variants={"PROTEINS": "one number a node", "PROTEINS_full": "29 numbers a node"},
    question="enzyme",
    shown=(
        "A protein is given as a graph of secondary-structure elements: {kinds}, with {edges} "
        "contacts between them. Contacts, by the elements' numbers: {listed}."
    ),
    quirks=(
        "which of the labels 1 and 2 is the enzyme is taken from the class ratio of the study "
        "(663 to 450): no file names the classes",
        "columns of x: the node attributes, then one for each kind of element (helix, sheet, turn)",
        "self loops and repeated edges are left out, as torch_geometric does",
        "the variant PROTEINS is read as PROTEINS_full where only that one is there",
    ),
    **MOLECULE,
)
BESIDE = {"graphs": "graph_indicator", "kinds": "node_labels", "attributes": "node_attributes"}


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields a record a line of the graph labels."""
    lists = tree.find(CARD.layouts[0].marker)
    found = {path.rpartition("/")[2].removesuffix("_graph_labels.txt"): path for path in lists}
    wanted, default = options["variant"], next(iter(CARD.variants))
    if wanted not in found and wanted == default:
        wanted = next(iter(found), wanted)
    if wanted in found:
        yield from or_fault(_graphs(tree, wanted, found[wanted]), wanted, found[wanted])


def _graphs(tree: RawTree, name: str, labels: str) -> Iterator[Example | Fault]:
    from climb_hf.io.tudataset import listing

    edges = tree.beside(labels, f"{name}_A.txt")
    beside = those_beside(tree, labels, {r: f"{name}_{n}.txt" for r, n in BESIDE.items()})
    for number, label in listing(tree.path(labels), beside.get("graphs")).items():
        record = f"{name}_{number}"
        if edges is None or not {"graphs", "kinds"} <= set(beside):
            kind = "damaged" if edges or beside else "missing"
            yield Fault(record, kind, "one of the files with edges and nodes is not there", labels)
            continue
        media = MediaFile(tree.path(edges), "tudataset", number, {"kinds": KINDS}, beside)
        yield Example(record=record, native=(label,), flags=UNKNOWN, graphs=(media,))


__getattr__ = builder_of(__name__)
