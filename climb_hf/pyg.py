"""Rows as `torch_geometric.data.Data`; reading them needs no torch_geometric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from climb_hf.errors import OptionError
from climb_hf.io.tensor import from_tensor
from climb_hf.optional import need

if TYPE_CHECKING:
    from torch_geometric.data import Data


def to_pyg(row: Mapping[str, Any], index: int = 0) -> Data:
    """Returns a graph of a row as torch_geometric takes it.

    Edges, features and labels of nodes are tensors under their usual names. A dense matrix becomes
    an edge for each pair of regions that some view connects, `edge_attr` holding a value a view,
    and `x` the region's rows of the matrix, view after view (its connection profile, as BrainGB
    feeds it). Without labels of nodes `y` is the row's class, and absent where it has none.

    Args:
        row: of a data set with the column `graphs`.
        index: which of its graphs.

    Raises:
        OptionError: if the row has no such graph.
        DependencyError: if torch_geometric is not installed.
    """
    graphs = row.get("graphs") or []
    if not 0 <= index < len(graphs):
        raise OptionError(
            f"row {row.get('id')!r} has {len(graphs)} graphs, so there is none at index={index}."
        )
    torch = need("torch", extra="graph")
    made = need("torch_geometric.data", extra="graph").Data(num_nodes=graphs[index]["num_nodes"])
    for name, array in _arrays(graphs[index]).items():
        made[name] = torch.from_numpy(array)
    label = row.get("label")
    if "y" not in made and isinstance(label, int | np.integer):
        made.y = torch.tensor([int(label)])
    made.id = row.get("id")
    return made


def _arrays(stored: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The tensors of a stored graph, as torch_geometric names and types them."""
    given = {name: from_tensor(stored[name]) for name in ("edge_index", "edge_attr", "x", "y")}
    matrix = from_tensor(stored["matrix"])
    if given["edge_index"] is None and matrix is not None:
        connected = (matrix != 0).any(axis=0) & ~np.eye(matrix.shape[1], dtype=bool)
        first, second = connected.nonzero()
        given["edge_index"] = np.stack([first, second])
        given["edge_attr"] = matrix[:, first, second].T
        given["x"] = matrix.transpose(1, 0, 2).reshape(matrix.shape[1], -1)
    kinds = {"edge_index": np.int64}
    # Copied, as what was stored may not be written to.
    return {
        name: np.array(array, kinds.get(name, np.float32))
        for name, array in given.items()
        if array is not None
    }
