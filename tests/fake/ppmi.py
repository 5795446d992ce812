"""A made tree of PPMI: one .mat of MATLAB 5 with a cell array of networks and their labels."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import savemat

sys.path.append(str(Path(__file__).parent))

from graph_truth import graph_sha1, new_truth

N_REGIONS, N_VIEWS = 84, 3
CLASS_OF = {-1: "control", 1: "pd"}


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Args:
        root: folder to write into; made if absent.
        n: number of good networks, at least 8; three in four are of patients.
        seed: of the networks.
        with_faults: also write a network with NaN, one that is not square and an asymmetric one
            (which is good, and flagged).
    """
    truth = new_truth(CLASS_OF.values(), ["BrainGB's file"])
    cells, labels = [], []
    for number in range(max(n, 8)):
        label = -1 if number % 4 == 3 else 1
        cells.append(_network(np.random.default_rng([seed, number])))
        labels.append(label)
    if with_faults:
        asymmetric = cells[0].copy()
        asymmetric[1, 2, 0] += 1
        lost = cells[0].copy()
        lost[5, 7, 1] = np.nan
        cells += [asymmetric, lost, cells[0][:-1]]
        labels += [1, 1, -1]
    for row, (cell, label) in enumerate(zip(cells, labels, strict=True)):
        record = f"ppmi_{row:04d}"
        if with_faults and row >= len(cells) - 2:
            truth["faults"][record] = {"kind": "damaged"}
            continue
        views = np.stack([cell[:, :, view] for view in range(N_VIEWS)])
        truth["records"][record] = {
            "labels": [CLASS_OF[label]],
            "native": [str(label)],
            "patient_id": None,
            "graph_sha1": graph_sha1(matrix=views),
        }
    stored = np.empty((len(cells), 1), object)
    stored[:, 0] = cells
    folder = root / "PPMI"
    folder.mkdir(parents=True, exist_ok=True)
    column = np.array(labels, float)[:, None]
    savemat(folder / "PPMI.mat", {"X": stored, "label": column}, do_compression=True)
    with (folder / "PPMI.mat").open("r+b") as file:  # over the time of writing, in free text
        file.write(b"MATLAB 5.0 MAT-file, made".ljust(116))
    return truth


def _network(rng: np.random.Generator) -> np.ndarray:
    """Streamline weights in thousandths, shape (regions, regions, views), symmetric."""
    weights = rng.gamma(0.4, 40, (N_REGIONS, N_REGIONS, N_VIEWS)).round()
    weights[weights < 20] = 0
    upper = np.triu(np.ones((N_REGIONS, N_REGIONS)), k=1)[:, :, None] * weights
    return (upper + upper.transpose(1, 0, 2)) / 1000


if __name__ == "__main__":
    make(Path(sys.argv[1]))
