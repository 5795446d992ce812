"""A made tree of CBIS-DDSM: films, crops and outlines as NBIA names them, and four tables."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import numpy as np
from graph_truth import new_truth
from made_dicoms import dicom, film, sha1, write_broken
from made_images import write, write_table
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

CLASSES = tuple(f"BI-RADS {grade}" for grade in range(1, 6))
PATHOLOGIES = ("MALIGNANT", "BENIGN", "BENIGN_WITHOUT_CALLBACK")
HEIGHT, WIDTH = 40, 32
_SHARED = ("left or right breast", "image view", "abnormality id", "abnormality type")
_END = ("assessment", "pathology", "subtlety", "image file path", "cropped image file path")
_END += ("ROI mask file path",)
COLUMNS = {
    "mass": ("patient_id", "breast_density", *_SHARED, "mass shape", "mass margins", *_END),
    "calc": ("patient_id", "breast density", *_SHARED, "calc type", "calc distribution", *_END),
}
TYPES = {"mass": "mass", "calc": "calcification"}
UID = "1.3.6.1.4.1.9590.100.1.2"


@dataclass
class _Tree:
    """What is written so far: rows of the four tables, and lines of metadata.csv."""

    root: Path
    seed: int
    rows: dict[tuple[str, str], list[Any]] = field(default_factory=dict)
    series: list[Any] = field(default_factory=list)
    n_series: int = 0


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree as NBIA's retriever does and returns what a reader must find in it.

    Every fourth film is of a test table, every third of calcifications. By turns the outline is the
    first or the second of two files in one folder, in a folder of its own, of another size than its
    film, or told by its size alone; some cells end with a line end, and some series are not in
    metadata.csv. One film has two abnormalities, and one is in the tables of both kinds.

    Args:
        root: folder to write into; made if absent.
        n: number of good films.
        seed: of the films.
        with_faults: also list a woman of both sets, a film of assessment 0, an outline and a film
            that are not there, and broken films.
    """
    truth = new_truth(CLASSES, ["NBIA"])
    tree = _Tree(root, seed)
    for number in range(n):
        kind = "calc" if number % 3 == 2 else "mass"
        part = "test" if number % 4 == 3 else "train"
        patient, side = f"P_{number // 2 + 1 + 50 * (part == 'test'):05d}", "LR"[number % 2]
        told = [(1 + number % 5, PATHOLOGIES[number % 3])]
        if number == 4:
            told = [(2, "BENIGN"), (4, "MALIGNANT")]
        record, digest = _add(tree, kind, part, patient, side, number, told)
        if number == 6:  # the other kind of abnormality, in a film of its own series
            told += [(5, "BENIGN")]
            _add(tree, "calc", part, patient, side, number + 500, told[1:])
            digest = None
        grade = max(one[0] for one in told)
        worst = min((one[1] for one in told), key=PATHOLOGIES.index)
        truth["records"][record] = {
            "labels": [f"BI-RADS {grade}"],
            "native": [str(grade), worst],
            "patient_id": patient,
            "split": part,
            "n_masks": len(told),
            **({"pixel_sha1": digest} if digest else {}),
        }
    if with_faults:
        _add_faults(tree, truth)
    for (kind, part), rows in tree.rows.items():
        name = f"{kind}_case_description_{part}_set.csv"
        write_table(root / "csv" / name, COLUMNS[kind], rows)
    columns = ("Subject ID", "Series UID", "Series Description", "File Location")
    write_table(root / "manifest-1" / "metadata.csv", columns, tree.series)
    return truth


def _add(
    tree: _Tree,
    kind: str,
    part: str,
    patient: str,
    side: str,
    number: int,
    told: Sequence[tuple[int, str]],
) -> tuple[str, str]:
    """Adds a film with its abnormalities; returns its record and the digest of what it shows."""
    side, view = {"L": "LEFT", "R": "RIGHT"}[side], ("CC", "MLO")[number // 2 % 2]
    sets = {"train": "Training", "test": "Test"}
    subject = f"{kind.capitalize()}-{sets[part]}_{patient}_{side}_{view}"
    values = film(tree.seed * 1000 + 700 + number, HEIGHT, WIDTH, bits=16)
    syntax = RLELossless if number % 5 == 4 else ExplicitVRLittleEndian
    data = dicom(values, syntax=syntax, SeriesDescription="full mammogram images")
    place = _series(tree, subject, "full mammogram images", [data], known=number % 6 != 5)
    end = "\n" if number % 2 else ""
    for i, (grade, pathology) in enumerate(told, start=1):
        crop, mask = _roi(tree, f"{subject}_{i}", number + i - 1)
        details = ["OVAL", "CIRCUMSCRIBED"] if kind == "mass" else ["PLEOMORPHIC", None]
        row = [patient, 1 + number % 4, side, view, i, TYPES[kind], *details]
        row += [grade, pathology, 3, place + end, crop + end, mask + end]
        tree.rows.setdefault((kind, part), []).append(row)
    low, high = np.percentile(values, (0.5, 99.5), method="inverted_cdf")
    shown = ((values.astype(float) - low) / (float(high) - float(low))).clip(0, 1) * 255
    return f"{patient}_{side}_{view}", sha1(shown.round().astype(np.uint8))


def _roi(tree: _Tree, subject: str, number: int) -> tuple[str, str]:
    """Writes a crop and an outline; returns the cells of the table, which may be swapped."""
    kind = number % 5
    size = (HEIGHT + 6, WIDTH + 2) if kind == 3 else (HEIGHT, WIDTH)
    outline = np.zeros(size, np.uint8)
    outline[8:20, 6:18] = 255
    names = ("", "") if kind == 4 else ("cropped images", "ROI mask images")
    told = [{"SeriesDescription": name} if name else {} for name in names]
    crop = dicom(film(number, 12, 12, bits=16), **told[0])
    mask = dicom(outline, **told[1])
    if kind == 2:
        places = (
            _series(tree, subject, "cropped images", [crop]),
            _series(tree, subject, "ROI mask images", [mask]),
        )
        return places[1], places[0]  # swapped, as in part of the release
    both = [mask, crop] if kind == 1 else [crop, mask]
    place = _series(tree, subject, "ROI mask images", both)
    return place, place.replace("000000", "000001")


def _series(
    tree: _Tree, subject: str, name: str, files: Sequence[bytes], known: bool = True
) -> str:
    """Writes the files of a series; returns the path that a table has for it."""
    tree.n_series += 1
    series = f"{UID}.{1000 + tree.n_series}"
    where = f"CBIS-DDSM/{subject}/07-20-2016-DDSM-NA-{30000 + tree.n_series}/"
    where += f"1.000000-{name}-{24000 + tree.n_series}"
    for number, data in enumerate(files, start=1):
        write(tree.root / "manifest-1" / where / f"1-{number}.dcm", data)
    if known:
        tree.series.append([subject, series, name, f"./{where}".replace("/", "\\")])
    return f"{subject}/{UID}.1/{series}/000000.dcm"


def _add_faults(tree: _Tree, truth: dict[str, Any]) -> None:
    faults: dict[str, Any] = {}
    # A woman whose masses are in test and whose calcifications are in train.
    record, digest = _add(tree, "mass", "test", "P_00900", "L", 900, [(3, "BENIGN")])
    truth["records"][record] = {
        **{"labels": ["BI-RADS 3"], "native": ["3", "BENIGN"], "patient_id": "P_00900"},
        **{"split": "test", "n_masks": 1, "pixel_sha1": digest},
    }
    record, _ = _add(tree, "calc", "train", "P_00900", "R", 900, [(4, "MALIGNANT")])
    faults[f"calc_{record}_1"] = {"kind": "left out"}
    record, _ = _add(tree, "mass", "train", "P_00901", "L", 901, [(0, "BENIGN")])
    faults[record] = {"kind": "left out"}
    record, digest = _add(tree, "mass", "train", "P_00902", "L", 902, [(4, "BENIGN")])
    _files(tree, "P_00902_*_1").pop().unlink()
    for path in _files(tree, "P_00902_*_1"):
        path.unlink()
    truth["records"][record] = {
        **{"labels": ["BI-RADS 4"], "native": ["4", "BENIGN"], "patient_id": "P_00902"},
        **{"split": "train", "n_masks": 0, "pixel_sha1": digest},
    }
    faults[f"mass_{record}_1"] = {"kind": "missing"}
    record, _ = _add(tree, "mass", "train", "P_00903", "L", 903, [(2, "BENIGN")])
    for path in _files(tree, "P_00903_*"):
        path.unlink()
    faults[record] = {"kind": "missing"}
    good = dicom(film(1, HEIGHT, WIDTH, bits=16))
    write_broken(tree.root, [f"{i}.dcm" for i in range(5)], good)
    for i in range(5):
        record, _ = _add(tree, "mass", "train", f"P_009{10 + i}", "L", 910 + 5 * i, [(2, "BENIGN")])
        (target,) = _files(tree, f"P_009{10 + i}_*_CC", f"P_009{10 + i}_*_MLO")
        (tree.root / f"{i}.dcm").rename(target)
        faults[record] = {"kind": "damaged"}
    truth["faults"] |= faults


def _files(tree: _Tree, *subjects: str) -> list[Path]:
    folder = tree.root / "manifest-1" / "CBIS-DDSM"
    return sorted(p for name in subjects for p in folder.glob(f"*_{name}/*/*/*.dcm"))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
