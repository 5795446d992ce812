"""Lists of edges: both directions once, and in words."""

from __future__ import annotations

import numpy as np

_LISTED = 60  # edges that a text still lists


def both_ways(edges: np.ndarray, num_nodes: int) -> np.ndarray:
    """Returns each edge once in each direction, self loops left out.

    Args:
        edges: 0-based, shape (2, edges), in any direction, repeats allowed.

    Returns:
        int64, shape (2, edges), by first, then by second node.
    """
    listed = edges[:, edges[0] != edges[1]].astype(np.int64)
    both = np.concatenate([listed, listed[::-1]], axis=1)
    codes = np.unique(both[0] * num_nodes + both[1])
    return np.stack([codes // max(num_nodes, 1), codes % max(num_nodes, 1)])


def edge_words(edges: np.ndarray, first: int = 0) -> dict[str, str]:
    """Returns how many edges there are (`edges`) and the first of them (`listed`), as text.

    Args:
        edges: 0-based, both directions.
        first: the number of the first node in the text.
    """
    once = edges[:, edges[0] < edges[1]]
    shown = [f"{a + first}-{b + first}" for a, b in once[:, :_LISTED].T.tolist()]
    more = once.shape[1] - len(shown)
    listed = ", ".join(shown) + (f" and {more} more" if more else "")
    return {"edges": str(once.shape[1]), "listed": listed or "none"}
