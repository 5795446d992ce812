"""A made tree of ABCD: a .npy stack of matrices, the ids of its rows and a table of sexes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent))

from brains import correlations
from graph_truth import graph_sha1, new_truth

N_REGIONS = 90  # the release has 360; readers take the number from the file
SEXES = {"M": "male", "F": "female"}
UNLABELLED = 2  # which child stands in no table of sexes


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Ids and sexes are in different orders, one child has no sex, and the last line of the ids has
    no line break.

    Args:
        root: folder to write into; made if absent.
        n: number of good matrices, at least 4.
        seed: of the matrices.
        with_faults: also write a matrix with NaN, one id twice, and a sex without a matrix.
    """
    truth = new_truth(SEXES.values(), ["BrainGB's files"])
    ids, sexes, stack = [], [], []
    for number in range(max(n, 4)):
        rng = np.random.default_rng([seed, number])
        child, sex = f"NDARINV{rng.integers(10**7):08d}", "MF"[number % 2]
        matrix = correlations(rng, N_REGIONS).astype("<f4")
        ids.append(child)
        stack.append(matrix)
        known = number != UNLABELLED
        sexes += [f"{child},{sex}"] * known
        truth["records"][child] = {
            "labels": [SEXES[sex]] * known,
            "native": [sex] * known,
            "patient_id": child,
            "sex": SEXES[sex] if known else None,
            "graph_sha1": graph_sha1(matrix=matrix[None]),
        }
    if with_faults:
        lost = stack[0].copy()
        lost[3] = lost[:, 3] = np.nan
        ids += ["NDARINVNAN00001", ids[0]]
        stack += [lost, stack[0]]
        sexes += ["NDARINVNAN00001,F", "NDARINVNONE0001,M"]
        truth["faults"]["NDARINVNAN00001"] = {"kind": "damaged"}
        truth["faults"]["NDARINVNONE0001"] = {"kind": "missing"}
        truth["faults"][ids[0]] = {"kind": "copy"}
    folder = root / "ABCD"
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "abcd_rest-pearson-HCP2016.npy", np.stack(stack), allow_pickle=False)
    (folder / "ids_HCP2016.txt").write_text("\n".join(ids))
    (folder / "id2sex.txt").write_text("\n".join(["id,sex", *sexes[::-1]]) + "\n")
    return truth


if __name__ == "__main__":
    make(Path(sys.argv[1]))
