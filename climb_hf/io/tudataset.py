"""Collections of graphs as TUDataset text files: all edges in one file, 1-based ids over all nodes.

Morris et al. (2020), arXiv 2007.08663; https://chrsmrrs.github.io/datasets/docs/format/.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.io.edges import both_ways, edge_words
from climb_hf.io.files import keeps_last, numbers_of
from climb_hf.io.graph import Graph
from climb_hf.schema import MediaFile


@dataclass(frozen=True)
class Collection:
    """The graphs of one collection.

    Attributes:
        graph_of: graph number of each node, int64.
        edges: global 0-based node ids, shape (2, edges), both directions, no self loops.
        leaving: numbers of graphs that an edge leads out of.
        kinds: kind of each node, or None.
        attributes: numbers of each node, float32, shape (nodes, attributes), or None.
    """

    graph_of: np.ndarray
    edges: np.ndarray
    leaving: frozenset[int]
    kinds: np.ndarray | None
    attributes: np.ndarray | None


def listing(labels: Path, graphs: Path | None) -> dict[int, str]:
    """Returns graph number -> its label as it is written.

    Args:
        labels: `<name>_graph_labels.txt`, a line a graph.
        graphs: `<name>_graph_indicator.txt`, the graph number of each node, where it is there.

    Raises:
        CorruptFileError: if the two disagree on how many graphs there are.
    """
    found = numbers_of(labels, int, 1)[:, 0]
    last = len(found) if graphs is None else int(numbers_of(graphs, int, 1).max(initial=0))
    if graphs is not None and last != len(found):
        raise CorruptFileError(
            f"{labels.name} lists {len(found)} graphs, {graphs.name} {last}: they are not of one "
            "release, or one is cut short. Fetch both again."
        )
    return {number: str(label) for number, label in enumerate(found, start=1)}


def read_graph(file: MediaFile) -> Graph:
    """Reads one graph, its nodes numbered from 0.

    Args:
        file: `path` is `<name>_A.txt`; `beside` holds `graphs` and where they are there `kinds`
            and `attributes`; `part` is the graph number; `facts["kinds"]` names the node kinds.

    Raises:
        CorruptFileError: if a file is malformed, the files disagree, or an edge leaves the graph.
    """
    whole = _collection(file.path, *file.beside.values(), roles=tuple(file.beside))
    number = int(file.part)
    if number in whole.leaving:
        raise CorruptFileError(
            f"graph {number}: an edge of {file.path.name} leads into another graph."
        )
    nodes = np.flatnonzero(whole.graph_of == number)
    mine = whole.graph_of[whole.edges[0]] == number
    edges = np.searchsorted(nodes, whole.edges[:, mine]).astype("<i4")
    names: Sequence[str] = file.facts.get("kinds", ())
    kinds = None if whole.kinds is None else whole.kinds[nodes]
    columns = [] if whole.attributes is None else [whole.attributes[nodes]]
    words = edge_words(edges, first=1)
    if kinds is not None:
        columns.append(_one_hot(kinds, len(names), file))
        counts = [f"{name} {int((kinds == at).sum())}" for at, name in enumerate(names)]
        words = {**words, "kinds": ", ".join(counts)}
    x = np.concatenate(columns, axis=1).astype("<f4") if columns else None
    return Graph(num_nodes=len(nodes), edge_index=edges, x=x, words=words)


def _one_hot(kinds: np.ndarray, n_kinds: int, file: MediaFile) -> np.ndarray:
    wrong = kinds[(kinds < 0) | (kinds >= n_kinds)]
    if wrong.size:
        raise CorruptFileError(
            f"graph {file.part} has a node of kind {int(wrong[0])}; kinds go from 0 to "
            f"{n_kinds - 1}."
        )
    return np.eye(n_kinds, dtype="<f4")[kinds]


@keeps_last
def _collection(edges: Path, *others: Path, roles: tuple[str, ...]) -> Collection:
    beside = dict(zip(roles, others, strict=True))
    graph_of = numbers_of(beside["graphs"], int, 1)[:, 0]
    kinds = numbers_of(beside["kinds"], int, 1)[:, 0] if "kinds" in beside else None
    attributes = numbers_of(beside["attributes"], float) if "attributes" in beside else None
    for role, held in (("kinds", kinds), ("attributes", attributes)):
        if held is not None and len(held) != len(graph_of):
            raise CorruptFileError(
                f"{beside[role].name} has {len(held)} lines, {beside['graphs'].name} "
                f"{len(graph_of)}: each has one for every node. Fetch both again."
            )
    listed = numbers_of(edges, int, 2).T - 1
    if listed.size and not 0 <= listed.min() <= listed.max() < len(graph_of):
        raise CorruptFileError(
            f"{edges.name} names a node beyond the {len(graph_of)} there are (ids start at 1)."
        )
    whole = both_ways(listed, len(graph_of))
    # Every edge stands there in both directions: where one is lost, the file was cut short.
    given = listed[:, listed[0] != listed[1]]
    lost = whole.shape[1] - len(np.unique(given[0] * len(graph_of) + given[1]))
    if lost:
        raise CorruptFileError(
            f"{edges.name} lists {lost} edges in one direction only: it is cut short. "
            "Fetch it again."
        )
    crossing = graph_of[whole[0]] != graph_of[whole[1]]
    leaving = frozenset(graph_of[whole[:, crossing]].ravel().tolist())
    return Collection(graph_of, whole, leaving, kinds, attributes)
