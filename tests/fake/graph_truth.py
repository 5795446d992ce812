"""What makers of graphs and expression profiles tell the battery: digests of what they wrote."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

# Tensor -> kind, in the order in which the digest takes them (`climb_hf.subject.Subject`).
TENSORS = {"edge_index": "<i4", "edge_attr": "<f4", "x": "<f4", "y": "|i1", "matrix": "<f4"}


def graph_sha1(**tensors: np.ndarray) -> str:
    """SHA-1 over the tensors that are given: a line of name, kind and shape, then the values."""
    total = hashlib.sha1()
    for name, kind in TENSORS.items():
        if name in tensors:
            array = np.ascontiguousarray(tensors[name], kind)
            size = "x".join(map(str, array.shape))
            total.update(f"{name} {kind} {size}\n".encode() + array.tobytes())
    return total.hexdigest()


def expression_sha1(genes: Sequence[str], values: np.ndarray) -> str:
    """SHA-1 over the gene ids, a line each, and the float32 values, every NaN the same."""
    plain = np.array(values, "<f4")
    plain[np.isnan(plain)] = np.nan
    return hashlib.sha1("\n".join(genes).encode() + b"\0" + plain.tobytes()).hexdigest()


def new_truth(classes: Sequence[str], layouts: Sequence[str]) -> dict:
    """A truth without records yet; the keys are those of `climb_hf.subject.Subject`."""
    return {
        "classes": list(classes),
        "layouts": list(layouts),
        "unknown_codes": [],
        "records": {},
        "faults": {},
    }
