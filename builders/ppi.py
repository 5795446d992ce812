"""PPI: protein-protein interaction networks of 24 human tissues (GraphSAGE)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from climb_hf.card import (
    Access,
    Layout,
    Licence,
    Modality,
    Option,
    Proof,
    Remote,
    SourceCard,
    SplitRule,
    Vocabulary,
)
from climb_hf.errors import CorruptFileError
from climb_hf.io.files import open_array, or_fault, those_beside
from climb_hf.io.node_link import network_of, pairs
from climb_hf.io.tree import RawTree
from climb_hf.lazy import builder_of
from climb_hf.schema import Example, Fault, MediaFile
from climb_hf.splits import fraction_of

CARD = SourceCard(
    name="ppi",
    title="PPI: human tissue protein-protein interactions",
    summary="24 tissue graphs; 50 features and 121 gene-ontology labels a protein",
    modality=Modality.MOLECULE_GRAPH,
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
        Remote("https://snap.stanford.edu/graphsage/ppi.zip"),
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
        "level": Option(
            "graph",
            "`node`: a record a protein and another one, with their neighbours, and a question",
            ("graph", "node"),
        ),
    },
    question="interaction",
    shown=(
        "In a tissue graph of {nodes} proteins, protein {first} interacts with {n_first} proteins "
        "and protein {second} with {n_second}, the two themselves not counted; they share "
        "{n_shared} of them. Do the two interact?"
    ),
    asked="choice",
    asked_with={"level": "node"},
    proof=Proof.PEER_READER,
    quirks=(
        "the 121 labels of a protein have no names; they are the y of the graph",
        "whether two proteins interact is a question of ours, asked with level='node' only: the "
        "link is then left out of the graph",
        "level='node' makes about 56,000 records that repeat their neighbours' values",
        "many proteins have no features: their rows of x are zero",
        "self loops and repeated links are left out, as torch_geometric does",
    ),
)
PARTS = {"train": "train", "valid": "validation", "test": "test"}  # name in the release -> split
BY_ID = {"ids": "ppi-id_map.json", "labels": "ppi-class_map.json", "features": "ppi-feats.npy"}


def read(tree: RawTree, options: Mapping[str, Any]) -> Iterator[Example | Fault]:
    """Yields the graphs of each split, or those of the one network where only that is there."""
    found: list[Example | Fault] = []
    for part in PARTS:
        for path in tree.find(rf"{part}_graph_id\.npy"):
            found += or_fault(_graphs_of(tree, part, path), part, path)
    for path in () if found else tree.find(r"ppi-G\.json"):
        found += or_fault(_of_one_network(tree, path), "ppi-G", path)
    for one in found:
        if isinstance(one, Example) and options["level"] == "node":
            yield from or_fault(_nodes_of(one), one.record, str(one.graphs[0].path))
        else:
            yield one


def _graphs_of(tree: RawTree, part: str, path: str) -> Iterator[Example | Fault]:
    named = {"graphs": "graph_id", "features": "feats", "labels": "labels"}
    beside = those_beside(tree, path, {r: f"{part}_{n}.npy" for r, n in named.items()})
    network = tree.beside(path, f"{part}_graph.json")
    for number in np.unique(open_array(tree.path(path))).tolist():
        if network is None or len(beside) < len(named):
            yield Fault(f"graph_{number}", "damaged", f"a file of {part} is not there", path)
        else:
            media = MediaFile(tree.path(network), "node_link", number, beside=beside)
            yield _example(media, PARTS[part])


def _of_one_network(tree: RawTree, path: str) -> Iterator[Example | Fault]:
    media = MediaFile(tree.path(path), "node_link", beside=those_beside(tree, path, BY_ID))
    if len(media.beside) < len(BY_ID):
        raise CorruptFileError("its features, or one of its two maps, are not there.")
    for number, split in sorted(network_of(media).split_of.items()):
        yield _example(replace(media, part=number), split)


def _example(media: MediaFile, split: str) -> Example:
    flags = ("patient_unknown",)
    return Example(f"graph_{media.part}", split=split, flags=flags, graphs=(media,))


def _nodes_of(graph: Example) -> Iterator[Example]:
    (media,) = graph.graphs
    for first, second, linked in pairs(network_of(media), media.part, fraction_of):
        part = replace(media, reader="node_link_pair", part=(media.part, first, second))
        record, native = f"{graph.record}/{first}", ("1" if linked else "0",)
        yield replace(graph, record=record, recording=graph.record, native=native, graphs=(part,))


__getattr__ = builder_of(__name__)
