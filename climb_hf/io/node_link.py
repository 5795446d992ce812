"""Networks of many nodes as node-link JSON with arrays beside it, cut into their graphs.

Two layouts: a network a split with its arrays in node order (`<split>_graph.json`), and one network
of all splits whose nodes are looked up by id (GraphSAGE, Hamilton et al. 2017, arXiv 1706.02216).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from climb_hf.errors import CorruptFileError
from climb_hf.io.edges import both_ways
from climb_hf.io.files import keeps_last, open_array, refuse_pointer
from climb_hf.io.graph import Graph
from climb_hf.optional import need
from climb_hf.schema import MediaFile

_SMALL = 3  # nodes below which a component is no graph of its own


@dataclass(frozen=True)
class Network:
    """Several graphs as one network.

    Attributes:
        graph_of: graph number of each node.
        edges: node numbers, shape (2, edges), both directions, no self loops, by first node.
        x: features of the nodes, shape (nodes, features).
        y: labels of the nodes, 0 or 1, shape (nodes, labels).
        split_of: graph number -> split, where the network says so.
    """

    graph_of: np.ndarray
    edges: np.ndarray
    x: np.ndarray
    y: np.ndarray
    split_of: Mapping[int, str]

    def nodes(self, number: int) -> np.ndarray:
        """Returns the nodes of a graph, in order."""
        return np.flatnonzero(self.graph_of == number)

    def near(self, node: int) -> list[int]:
        """Returns the neighbours of a node that are of its graph."""
        start, stop = np.searchsorted(self.edges[0], (node, node + 1))
        found = self.edges[1, start:stop]
        return found[self.graph_of[found] == self.graph_of[node]].tolist()


def network_of(file: MediaFile) -> Network:
    """Returns the network that a record's graph is part of.

    Raises:
        CorruptFileError: if a file is malformed or the files are not of one network.
    """
    return _network(file.path, *file.beside.values(), roles=tuple(file.beside))


def read_graph(file: MediaFile) -> Graph:
    """Reads one graph, its nodes numbered from 0.

    Args:
        file: `path` is the JSON; `beside` holds `features` and `labels`, and either `graphs` (the
            graph number of each node) or `ids` (node id -> row of the features); `part` is the
            graph number.
    """
    network = network_of(file)
    nodes = network.nodes(int(file.part))
    if not nodes.size:
        raise CorruptFileError(f"{file.path.name} has no node of graph {file.part}.")
    return _part(network, nodes, _edges_among(network, nodes))


def pairs(
    network: Network, number: int, draw: Callable[[str], float]
) -> Iterator[tuple[int, int, bool]]:
    """Yields for each node of a graph another one, and whether the two are linked.

    About half are: a coin decides between a neighbour and one that shares a neighbour without
    being one. A node for which there is none is left out.

    Args:
        draw: gives a number in [0, 1) for a text, always the same.
    """
    nodes = network.nodes(number)
    near = _neighbours(len(nodes), _edges_among(network, nodes))
    for node, own in enumerate(near):
        linked = draw(f"{number} {node} linked") < 0.5
        reached = set().union(*(near[other] for other in own)) - own - {node} if own else set()
        offered = sorted(own if linked else reached)
        if offered:
            chosen = int(draw(f"{number} {node} other") * len(offered))
            yield node, offered[chosen], linked


def read_pair(file: MediaFile) -> Graph:
    """Reads two nodes of a graph with their neighbours; whether the two are linked is left out.

    Args:
        file: as for `read_graph`, but `part` is (graph number, first node, second node).
    """
    network = network_of(file)
    number, first, second = file.part
    nodes = network.nodes(int(number))
    pair = [int(nodes[at]) for at in (first, second)]
    own, other = (set(network.near(node)) - set(pair) for node in pair)
    kept = np.array([*pair, *sorted(own | other)])
    place = np.full(len(network.graph_of), -1)
    place[kept] = np.arange(len(kept))
    ends = [(place[node], place[to]) for node in kept.tolist() for to in network.near(node)]
    shown = [(a, b) for a, b in ends if b >= 0 and max(a, b) > 1]  # 0 and 1 are the pair itself
    words = {
        "first": str(first),
        "second": str(second),
        "n_first": str(len(own)),
        "n_second": str(len(other)),
        "n_shared": str(len(own & other)),
        "nodes": str(len(nodes)),
    }
    edges = both_ways(np.array(shown, np.int64).reshape(-1, 2).T, len(kept))
    return _part(network, kept, edges, words)


def _part(
    network: Network,
    nodes: np.ndarray,
    edges: np.ndarray,
    words: Mapping[str, str] | None = None,
) -> Graph:
    return Graph(
        num_nodes=len(nodes),
        edge_index=edges.astype("<i4"),
        x=np.asarray(network.x[nodes], "<f4"),
        y=np.asarray(network.y[nodes], "|i1"),
        words=words or {},
    )


def _edges_among(network: Network, nodes: np.ndarray) -> np.ndarray:
    """Edges with both ends in `nodes`, by their places there."""
    member = np.zeros(len(network.graph_of), bool)
    member[nodes] = True
    inside = member[network.edges].all(axis=0)
    return np.searchsorted(nodes, network.edges[:, inside])


def _neighbours(n_nodes: int, edges: np.ndarray) -> list[set[int]]:
    near: list[set[int]] = [set() for _ in range(n_nodes)]
    for first, second in edges.T.tolist():
        near[first].add(second)
    return near


@keeps_last
def _network(path: Path, *others: Path, roles: tuple[str, ...]) -> Network:
    beside = dict(zip(roles, others, strict=True))
    told = _read_json(path)
    links = told.get("links", told.get("edges"))
    if not isinstance(told.get("nodes"), list) or not isinstance(links, list):
        raise CorruptFileError(
            f"{path.name} is no node-link JSON: it needs `nodes` and `links` (or `edges`)."
        )
    if "ids" in beside:
        return _by_id(path, told["nodes"], links, beside)
    graph_of = np.asarray(open_array(beside["graphs"]))
    x, y = open_array(beside["features"]), _zeros_and_ones(open_array(beside["labels"]), path)
    sizes = {len(told["nodes"]), len(graph_of), len(x), len(y)}
    if len(sizes) > 1:
        raise CorruptFileError(
            f"{path.name} has {len(told['nodes'])} nodes, its arrays have {len(graph_of)} (graphs)"
            f", {len(x)} (features) and {len(y)} (labels): they are not of one release."
        )
    rows = {node["id"]: row for row, node in enumerate(told["nodes"])}
    return Network(graph_of, _edges(path, links, rows), x, y, {})


def _read_json(path: Path) -> Any:
    refuse_pointer(path)
    try:
        with path.open(encoding="utf-8") as file:
            return json.load(file)
    except (OSError, ValueError) as error:
        raise CorruptFileError(f"{path.name} is no whole JSON file: {error}.") from error


def _edges(path: Path, links: Sequence[Mapping[str, Any]], rows: Mapping[Any, int]) -> np.ndarray:
    """Edges by the rows of their nodes; a link to a node that was left out goes with it."""
    try:
        ends = [(one["source"], one["target"]) for one in links]
    except (KeyError, TypeError) as error:
        raise CorruptFileError(f"{path.name}: a link lacks its {error}.") from error
    known = [(rows[a], rows[b]) for a, b in ends if a in rows and b in rows]
    return both_ways(np.array(known, np.int64).reshape(-1, 2).T, len(rows))


def _zeros_and_ones(labels: np.ndarray, path: Path) -> np.ndarray:
    found = np.asarray(labels)
    if found.ndim != 2 or not np.isin(found, (0, 1)).all():
        raise CorruptFileError(f"the labels beside {path.name} are not rows of 0 and 1.")
    return found


def _by_id(
    path: Path,
    nodes: Sequence[Mapping[str, Any]],
    links: Sequence[Mapping[str, Any]],
    beside: Mapping[str, Path],
) -> Network:
    """The network of all splits. Nodes without the flags of their split are left out, as in
    GraphSAGE's own loader, and features are looked up by id, not by place."""
    row_of, label_of = _read_json(beside["ids"]), _read_json(beside["labels"])
    features = open_array(beside["features"])
    kept = [node for node in nodes if "val" in node and "test" in node]
    try:
        kept.sort(key=lambda node: int(row_of[str(node["id"])]))
        places = [int(row_of[str(node["id"])]) for node in kept]
        x = np.asarray(features[places])
        y = np.array([label_of[str(node["id"])] for node in kept])
    except (KeyError, IndexError, ValueError) as error:
        raise CorruptFileError(
            f"the nodes of {path.name} are not those of its tables: {error}."
        ) from error
    edges = _edges(path, links, {node["id"]: row for row, node in enumerate(kept)})
    splits = [_split(node) for node in kept]
    graph_of = _components(edges, splits)
    told = set(zip(graph_of.tolist(), splits, strict=True))
    split_of = dict(told)
    if len(split_of) < len(told):
        raise CorruptFileError(f"a graph of {path.name} has nodes of several splits.")
    return Network(graph_of, edges, x, _zeros_and_ones(y, path), split_of)


def _split(node: Mapping[str, Any]) -> str:
    return "test" if node["test"] else "validation" if node["val"] else "train"


def _components(edges: np.ndarray, splits: Sequence[str]) -> np.ndarray:
    """Graph numbers as other readers of this layout give them, from 1.

    A connected component is a graph; one of fewer than 3 nodes goes to the first graph of its
    split (Velickovic et al. 2018, code of graph attention networks, process_ppi).
    """
    sparse = need("scipy.sparse", extra="graph")
    graphs = need("scipy.sparse.csgraph", extra="graph")
    n_nodes = len(splits)
    ones = np.ones(edges.shape[1], bool)
    _, part_of = graphs.connected_components(
        sparse.coo_array((ones, (edges[0], edges[1])), shape=(n_nodes, n_nodes)), directed=False
    )
    sizes = np.bincount(part_of)
    numbers: dict[int, int] = {}
    first_of: dict[str, int] = {}
    for part, split in zip(part_of.tolist(), splits, strict=True):
        if sizes[part] >= _SMALL and part not in numbers:
            numbers[part] = len(numbers) + 1
            first_of.setdefault(split, numbers[part])
    return np.array(
        [numbers.get(p, first_of.get(s, 0)) for p, s in zip(part_of.tolist(), splits, strict=True)]
    )
