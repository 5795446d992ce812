"""Graphs of any file kind as `Graph`: connectomes and molecule graphs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from climb_hf.check import check_option
from climb_hf.io.tensor import as_tensor
from climb_hf.schema import MediaFile


@dataclass(frozen=True)
class Graph:
    """One graph. What a source does not give is None.

    Attributes:
        num_nodes: how many nodes there are.
        node_names: a name per node, or empty.
        edge_index: int32, shape (2, edges), 0-based, both directions of an undirected edge.
        edge_attr: float32, shape (edges, features).
        x: features of the nodes, float32, shape (nodes, features).
        y: labels of the nodes, int8, shape (nodes, labels).
        matrix: dense connectivity, float32, shape (views, nodes, nodes).
        words: what the graph says in words, by the names in the card's sentence.
        flags: of `climb_hf.schema.FLAGS`, what a user should know of it.
    """

    num_nodes: int
    node_names: tuple[str, ...] = ()
    edge_index: np.ndarray | None = None
    edge_attr: np.ndarray | None = None
    x: np.ndarray | None = None
    y: np.ndarray | None = None
    matrix: np.ndarray | None = None
    words: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()

    def content(self) -> Mapping[str, str]:
        """Returns what the graph says in words."""
        return self.words

    def as_struct(self) -> dict[str, Any]:
        """Returns the graph as the struct that is stored."""
        tensors = ("edge_index", "edge_attr", "x", "y", "matrix")
        return {
            "num_nodes": self.num_nodes,
            "node_names": list(self.node_names),
            **{name: as_tensor(getattr(self, name)) for name in tensors},
        }


Reader = Callable[[MediaFile], Graph]


def _late(module: str, name: str) -> Reader:
    """A reader whose module is imported when it is first used."""

    def read(file: MediaFile) -> Graph:
        return getattr(importlib.import_module(f"climb_hf.io.{module}"), name)(file)

    return read


READERS: dict[str, Reader] = {
    "tudataset": _late("tudataset", "read_graph"),
    "node_link": _late("node_link", "read_graph"),
    "node_link_pair": _late("node_link", "read_pair"),
    "matrix_stack": _late("connectome", "read_stacked"),
    "matlab_cell": _late("connectome", "read_cell"),
    "region_series": _late("connectome", "read_series"),
}


def load(file: MediaFile) -> Graph:
    """Opens what a reader pointed at.

    Raises:
        CorruptFileError: if the file is not what its name says.
        DependencyError: if the package that reads it is not installed.
    """
    check_option("reader", file.reader, tuple(READERS))
    return READERS[file.reader](file)
