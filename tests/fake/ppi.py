"""A made tree of PPI: node-link JSON and .npy arrays a split, as DGL and torch_geometric read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent))

from graph_truth import graph_sha1, new_truth

N_FEATURES, N_LABELS = 50, 121
CLASSES = ("interacting", "apart")
SHARES = {"train": 3, "valid": 1, "test": 1}  # of five graphs
SPLITS = {"train": "train", "valid": "validation", "test": "test"}


def make(root: Path, n: int = 5, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    In every graph the last protein has no link and the first no features; links stand there once,
    one of them twice, and the first protein has a self loop.

    Args:
        root: folder to write into; made if absent.
        n: number of graphs, at least 5; three in five are for training.
        seed: of the graphs.
        with_faults: nothing of a split can be bad alone, so that nothing else is written.
    """
    truth = new_truth(CLASSES, ["a network a split"])
    (root / "ppi").mkdir(parents=True, exist_ok=True)
    for split, graphs in _graphs(max(n, 5), seed).items():
        _write_split(root / "ppi", split, graphs)
        for number, (edges, x, y) in graphs.items():
            truth["records"][f"graph_{number}"] = _facts(SPLITS[split], edges, x, y)
    return truth


def make_whole(root: Path, n: int = 5, seed: int = 0) -> dict[str, Any]:
    """Writes the same graphs as one network of all splits, looked up by id (GraphSAGE's layout).

    The nodes are in another order than the rows of the features, and one lacks the flags of its
    split, which its loader leaves out. Nothing tells which graph a protein without links is of:
    as other readers do, it is expected in the first graph of its split, after that one's own.
    """
    truth = new_truth(CLASSES, ["one network"])
    (root / "ppi").mkdir(parents=True, exist_ok=True)
    nodes, links, labels, rows, features = [], [], {}, {}, []
    for split, graphs in _graphs(max(n, 5), seed).items():
        for edges, x, y in graphs.values():
            first = len(nodes)
            flags = {"test": split == "test", "val": split == "valid"}
            nodes += [{"id": first + at, **flags} for at in range(len(x))]
            labels |= {str(first + at): y[at].tolist() for at in range(len(x))}
            links += _links(edges, first)
            rows |= {str(first + at): first + at for at in range(len(x))}
            features.append(x)
        lone = [(x[-1:], y[-1:]) for _, x, y in graphs.values()]
        for number, (edges, x, y) in graphs.items():
            more = lone if number == min(graphs) else []
            x = np.concatenate([x[:-1], *(one for one, _ in more)])
            y = np.concatenate([y[:-1], *(one for _, one in more)])
            truth["records"][f"graph_{number}"] = _facts(SPLITS[split], edges, x, y)
    links.append({"source": len(nodes), "target": 0})
    nodes.append({"id": len(nodes)})
    told = {"directed": False, "multigraph": False, "graph": {}, "nodes": nodes[::-1]}
    folder = root / "ppi"
    (folder / "ppi-G.json").write_text(json.dumps({**told, "links": links}))
    (folder / "ppi-class_map.json").write_text(json.dumps(labels))
    (folder / "ppi-id_map.json").write_text(json.dumps(rows))
    np.save(folder / "ppi-feats.npy", np.concatenate(features), allow_pickle=False)
    return truth


def _facts(split: str, edges: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    digest = graph_sha1(edge_index=edges, x=x, y=y)
    facts = {"labels": [], "native": [], "patient_id": None}
    return {**facts, "split": split, "num_nodes": len(x), "graph_sha1": digest}


def _graphs(n: int, seed: int) -> dict[str, dict[int, tuple[np.ndarray, ...]]]:
    """Split -> graph number -> edges in both directions, features and labels."""
    ends = np.cumsum(list(SHARES.values())) * n // sum(SHARES.values())
    made: dict[str, dict[int, tuple[np.ndarray, ...]]] = {split: {} for split in SHARES}
    for number in range(1, n + 1):
        split = list(SHARES)[int(np.searchsorted(ends, number))]
        rng = np.random.default_rng([seed, number])
        made[split][number] = _graph(rng, int(rng.integers(14, 20)))
    return made


def _graph(rng: np.random.Generator, n_nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    linked = n_nodes - 1  # the last protein has no link
    pairs = {(at, at + 1) for at in range(linked - 1)}
    while len(pairs) < 3 * linked:
        a, b = sorted(rng.choice(linked, 2, replace=False).tolist())
        pairs.add((a, b))
    edges = np.array(sorted(pairs | {(b, a) for a, b in pairs})).T
    x = rng.normal(size=(n_nodes, N_FEATURES)).astype("<f4").astype("<f8")
    x[0] = 0
    return edges, x, rng.integers(0, 2, (n_nodes, N_LABELS))


def _links(edges: np.ndarray, first: int) -> list[dict[str, int]]:
    """Each link once, by ids that go on from one graph to the next; one twice, and a self loop."""
    once = [{"source": a + first, "target": b + first} for a, b in edges.T.tolist() if a < b]
    return [*once, once[0], {"source": first, "target": first}]


def _write_split(folder: Path, split: str, graphs: dict[int, tuple[np.ndarray, ...]]) -> None:
    links, first = [], 0
    for edges, x, _ in graphs.values():
        links += _links(edges, first)
        first += len(x)
    told = {"directed": False, "multigraph": False, "graph": {}}
    told |= {"nodes": [{"id": at} for at in range(first)], "links": links}
    (folder / f"{split}_graph.json").write_text(json.dumps(told))
    arrays = {
        "feats": np.concatenate([x for _, x, _ in graphs.values()]),
        "labels": np.concatenate([y for _, _, y in graphs.values()]),
        "graph_id": np.repeat([*graphs], [len(x) for _, x, _ in graphs.values()]),
    }
    for name, array in arrays.items():
        np.save(folder / f"{split}_{name}.npy", array, allow_pickle=False)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
