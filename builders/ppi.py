"""PPI: protein-protein interaction networks of 24 human tissues (GraphSAGE)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from climb_hf.card import Access, Layout, Licence, Option, Remote, SourceCard, SplitRule, Vocabulary
from climb_hf.graphs import MOLECULE, graphs_of, pairs_of
from climb_hf.io.files import or_fault, those_beside
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, MediaFile

CARD = SourceCard(
    name="ppi",
    title="PPI: human tissue protein-protein interactions",
    summary="24 tissue graphs; 50 features and 121 gene-ontology labels a protein",
    licence=Licence("MIT (code); terms of the data not stated", True, True),
    access=Access.OPEN,
    homepage="https://snap.stanford.edu/graphsage/",
    citation=(
        "Hamilton, Ying and Leskovec (2017), arXiv 1706.02216; Zitnik and Leskovec (2017), "
        "Bioinformatics 33:i190-i198, doi:10.1093/bioinformatics/btx252"
    ),
    release="GraphSAGE",
    remotes=(
        Remote("https://data.dgl.ai/dataset/ppi.zip"),
        Remote("https://snap.stanford.edu/graphsage/ppi.zip", again=True),
    ),
    layouts=(
        Layout(
            "a network a split",
            marker=r"(train|valid|test)_graph_id\.npy",
            files=r"(train|valid|test)_(graph\.json|(graph_id|feats|labels)\.npy)",
            example="ppi/train_graph_id.npy",
        ),
        Layout(
            "one network",
            marker=r"ppi-G\.json",
            files=r"ppi-(G\.json|(class|id)_map\.json|feats\.npy)",
            example="ppi/ppi-G.json",
        ),
    ),
    vocabularies=(
        Vocabulary(
            "interaction",
            names=("interacting", "apart"),
            texts=("they interact", "they do not interact"),
            codes={"1": "interacting", "0": "apart"},
        ),
    ),
    split=SplitRule({"train": 0.8, "test": 0.2}, True, "20, 2 and 2 graphs, as released"),
    n_records=24,
    options={
        "level": Option("graph", "`node`: two proteins with neighbours a record", ("graph", "node"))
    },
    question="interaction",
    shown=(
        "In a tissue graph of {nodes} proteins, protein {first} interacts with {n_first} proteins "
        "and protein {second} with {n_second}, the two themselves not counted; they share "
        "{n_shared} of them. Do the two interact?"
    ),
    asked_with={"level": "node"},
    quirks=(
        "the 121 labels of a protein have no names; they are the y of the graph",
        "whether two proteins interact is a question of ours, asked with level='node' only: the "
        "link is then left out of the graph; some 56,000 records repeat their neighbours' values",
        "many proteins have no features: their rows of x are zero",
        "self loops and repeated links are left out, as torch_geometric does",
    ),
    **MOLECULE,
)
PARTS = {"train": "train", "valid": "validation", "test": "test"}  # name in the release -> split
ARRAYS = {"graphs": "graph_id.npy", "features": "feats.npy", "labels": "labels.npy"}
BY_ID = {"ids": "ppi-id_map.json", "labels": "ppi-class_map.json", "features": "ppi-feats.npy"}


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields the graphs of each split, or those of the one network where only that is there."""
    found = [one for part in PARTS for one in _of_part(tree, part)]
    for path in () if found else tree.find(CARD.layouts[1].marker):
        media = MediaFile(tree.path(path), "node_link", beside=those_beside(tree, path, BY_ID))
        found += or_fault(graphs_of(media), "ppi-G", path)
    for one in found:
        if isinstance(one, Example) and options["level"] == "node":
            yield from or_fault(pairs_of(one), one.record, one.graphs[0].path.name)
        else:
            yield one


def _of_part(tree: RawTree, part: str) -> Iterator[Example | Fault]:
    for path in tree.named(f"{part}_graph_id.npy"):
        beside = those_beside(tree, path, {role: f"{part}_{name}" for role, name in ARRAYS.items()})
        network = tree.path(path).with_name(f"{part}_graph.json")
        media = MediaFile(network, "node_link", beside=beside)
        yield from or_fault(graphs_of(media, PARTS[part]), part, path)


__getattr__ = builder_of(__name__)
