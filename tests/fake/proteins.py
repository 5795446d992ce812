"""A made tree of PROTEINS: five text files over all graphs, written line by line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent))

from graph_truth import graph_sha1, new_truth

CLASS_OF = {1: "enzyme", 2: "non_enzyme"}
N_KINDS = 3  # helix, sheet, turn
NO_EDGES, SELF_LOOP = 3, 4  # numbers of the odd graphs


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Graph 3 has no edges and graph 4 a self loop and an edge that stands there twice.

    Args:
        root: folder to write into; made if absent.
        n: number of good graphs, at least 4.
        seed: of the graphs.
        with_faults: also write two graphs with an edge between them.
    """
    truth = new_truth(CLASS_OF.values(), ["TUDataset text files"])
    lines: dict[str, list[str]] = {name: [] for name in FILES}
    n_graphs = max(n, 4) + (2 if with_faults else 0)
    first = 1  # id of the graph's first node
    for number in range(1, n_graphs + 1):
        rng = np.random.default_rng([seed, number])
        n_nodes = int(rng.integers(4, 13))
        edges = np.empty((2, 0), int) if number == NO_EDGES else _contacts(rng, n_nodes)
        kinds = rng.integers(0, N_KINDS, n_nodes)
        kinds[:N_KINDS] = range(N_KINDS)
        lengths = rng.integers(2, 30, n_nodes)
        label = 1 if rng.random() < 0.6 else 2
        label = number if number in CLASS_OF else label  # both classes are there
        _write(lines, number, first, edges, kinds, lengths, label)
        truth["records"][f"PROTEINS_{number}"] = {
            "labels": [CLASS_OF[label]],
            "native": [str(label)],
            "patient_id": None,
            "graph_sha1": graph_sha1(
                edge_index=edges, x=np.column_stack([lengths, np.eye(N_KINDS)[kinds]])
            ),
        }
        if number == SELF_LOOP:
            a, b = edges[:, 0] + first
            lines["A"] += [f"{first}, {first}", f"{a}, {b}", f"{b}, {a}"]
        first += n_nodes
    if with_faults:
        a, b = first - 1, first - 1 - n_nodes  # last nodes of the two last graphs
        lines["A"] += [f"{a}, {b}", f"{b}, {a}"]
        for number in (n_graphs - 1, n_graphs):
            del truth["records"][f"PROTEINS_{number}"]
            truth["faults"][f"PROTEINS_{number}"] = {"kind": "damaged"}
    folder = root / "PROTEINS"
    folder.mkdir(parents=True, exist_ok=True)
    for name, written in lines.items():
        (folder / f"PROTEINS_{name}.txt").write_text("\n".join(written) + "\n")
    (folder / "README.txt").write_text("A made collection in the format of TUDataset.\n")
    return truth


FILES = ("A", "graph_indicator", "graph_labels", "node_labels", "node_attributes")


def _contacts(rng: np.random.Generator, n_nodes: int) -> np.ndarray:
    """Edges in both directions, by first, then second node: a chain and a few more."""
    pairs = {(at, at + 1) for at in range(n_nodes - 1)}
    for _ in range(n_nodes):
        a, b = sorted(rng.choice(n_nodes, 2, replace=False).tolist())
        pairs.add((a, b))
    return np.array(sorted(pairs | {(b, a) for a, b in pairs})).T


def _write(lines: dict[str, list[str]], number: int, first: int, edges: Any, *nodes: Any) -> None:
    kinds, lengths, label = nodes
    lines["A"] += [f"{a}, {b}" for a, b in (edges.T + first).tolist()]
    lines["graph_indicator"] += [str(number)] * len(kinds)
    lines["graph_labels"].append(str(label))
    lines["node_labels"] += [str(kind) for kind in kinds]
    # The release pads some of its numbers with blanks.
    lines["node_attributes"] += [f"{' ' * (at % 3)}{value}" for at, value in enumerate(lengths)]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
