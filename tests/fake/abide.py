"""A made tree of ABIDE I: the table of phenotypes, and a text file of time series a scan."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent))

from brains import series
from graph_truth import graph_sha1, new_truth

N_REGIONS = 200
N_VOLUMES = (100, 104, 110)
CLASS_OF = {1: "asd", 2: "control"}
SEX_OF = {1: "male", 2: "female"}
SITES = ("NYU", "UCLA_1", "UCLA_2", "PITT", "NYU")
COLUMNS = ("", "SUB_ID", "X", "subject", "SITE_ID", "FILE_ID", "DX_GROUP", "DSM_IV_TR")
COLUMNS += ("AGE_AT_SCAN", "SEX", "func_mean_fd")
FLAT = 3  # which scan has a region that never changes


def make(root: Path, n: int = 16, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    The first two scans are of one person, one scan has a region without any signal, and one person
    of unknown age.

    Args:
        root: folder to write into; made if absent.
        n: number of good scans, at least 6 and at most 20 (a file has 190 kB).
        seed: of the signals.
        with_faults: also list a scan of 80 volumes, one without its file, one without a name and
            one whose file is cut short, and write the pickled file of another layout.
    """
    truth = new_truth(CLASS_OF.values(), ["time series and phenotypes"])
    folder = root / "ABIDE_pcp" / "cpac" / "filt_noglobal"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(min(max(n, 6), 20)):
        rng = np.random.default_rng([seed, number])
        site, group, sex = SITES[number % 5], 1 + number % 2, 1 + (number % 5 == 0)
        person = 50003 + max(number - 1, 0)
        name = f"{site.capitalize()}_{50003 + number:07d}"
        age = -9999.0 if number == 5 else round(8 + 40 * rng.random(), 2)
        values = series(rng, N_REGIONS, N_VOLUMES[number % 3]).round(5)
        if number == FLAT:
            values[17] = 0
        _write(folder / f"{name}_rois_cc200.1D", values)
        rows.append([number, person, number, person, site, name, group, group, age, sex, 0.1])
        truth["records"][name] = {
            "labels": [CLASS_OF[group]],
            "native": [str(group)],
            "patient_id": str(person),
            "sex": SEX_OF[sex],
            "site": site.split("_")[0],
            "graph_sha1": graph_sha1(matrix=_matrix(values)[None]),
        }
        if age > 0:
            truth["records"][name]["age"] = float(np.float32(age))
    if with_faults:
        rows += _write_faults(folder, truth, values)
        stored = {"timeseires": values[None], "label": np.array([0]), "site": np.array(["NYU"])}
        np.save(root / "abide.npy", stored, allow_pickle=True)
        truth["faults"]["pickled"] = {"kind": "damaged"}
        truth["layouts"].append("BrainGB's pickled file")
    table = root / "ABIDE_pcp" / "Phenotypic_V1_0b_preprocessed1.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return truth


def make_arrays(root: Path, n: int = 6, seed: int = 0) -> dict[str, Any]:
    """Writes people as BrainGB's arrays, saved plainly: its label is DX_GROUP less 1."""
    truth = new_truth(CLASS_OF.values(), ["BrainGB's arrays, saved plainly"])
    (root / "ABIDE").mkdir(parents=True, exist_ok=True)
    groups = np.array([1 + number % 2 for number in range(n)])
    made = [series(np.random.default_rng([seed, at]), N_REGIONS, 100) for at in range(n)]
    stack = np.stack([_matrix(values) for values in made])
    for row, group in enumerate(groups.tolist()):
        truth["records"][f"abide_{row:04d}"] = {
            "labels": [CLASS_OF[group]],
            "native": [str(group)],
            "patient_id": None,
            "graph_sha1": graph_sha1(matrix=stack[row][None]),
        }
    sites = np.array([SITES[row % 5] for row in range(n)])
    for name, array in (("corr", stack), ("label", groups - 1), ("site", sites)):
        np.save(root / "ABIDE" / f"abide_{name}.npy", array, allow_pickle=False)
    return truth


def _matrix(values: np.ndarray) -> np.ndarray:
    """Pearson correlation over time; 0 where a region never changes."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(np.corrcoef(values), nan=0.0)


def _write(path: Path, values: np.ndarray) -> None:
    """Writes a line of region names, then a line a volume."""
    lines = ["\t".join(f"#{region}" for region in range(1, len(values) + 1))]
    lines += ["\t".join(f"{value:.5f}" for value in volume) for volume in values.T]
    path.write_text("\n".join(lines) + "\n")


def _write_faults(folder: Path, truth: dict[str, Any], values: np.ndarray) -> list[list[Any]]:
    kinds = {"Nyu_0059001": "left out", "Nyu_0059002": "missing", "Nyu_0059003": "damaged"}
    _write(folder / "Nyu_0059001_rois_cc200.1D", values[:, :80])
    cut = folder / "Nyu_0059003_rois_cc200.1D"
    _write(cut, values)
    # In the middle of a line, after more than 100 volumes' line breaks.
    cut.write_text(cut.read_text().rsplit("\t", 50)[0] + "\n")
    truth["faults"] |= {name: {"kind": kind} for name, kind in kinds.items()}
    truth["faults"]["subject_59004"] = {"kind": "missing"}
    names = [*kinds, "no_filename"]
    return [
        [90 + at, 59001 + at, 90 + at, 59001 + at, "NYU", name, 1, 1, 12.5, 1, 0.2]
        for at, name in enumerate(names)
    ]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
