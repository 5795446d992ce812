"""A made tree of VinDr-CXR: DICOM files of many kinds, three readers a film, tables of boxes."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_dicoms import dicom, film, linear, sha1, write_broken
from made_images import write, write_table
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

CLASSES = ("Lung tumor", "Pneumonia", "Tuberculosis", "COPD", "Other diseases", "No finding")
_LOCAL = (
    "Aortic enlargement,Atelectasis,Calcification,Cardiomegaly,Clavicle fracture,Consolidation,"
    "Edema,Emphysema,Enlarged PA,ILD,Infiltration,Lung Opacity,Lung cavity,Lung cyst,"
    "Mediastinal shift,Nodule/Mass,Pleural effusion,Pleural thickening,Pneumothorax,"
    "Pulmonary fibrosis,Rib fracture,Other lesion"
)
LOCAL = tuple(_LOCAL.split(","))
GLOBAL = ("COPD", "Lung tumor", "Pneumonia", "Tuberculosis", "Other diseases", "No finding")
LABELS = (*LOCAL, *GLOBAL)
EDGES = ("x_min", "y_min", "x_max", "y_max")
# What each of three readers says; the second and third of five films agree in part only.
READ = (
    (("No finding",),) * 3,
    (("Lung Opacity", "Pneumonia"), ("Lung Opacity", "Pneumonia"), ("No finding",)),
    (("Tuberculosis", "Lung cavity"), ("Tuberculosis",), ("Tuberculosis", "COPD")),
    (("Cardiomegaly", "Other diseases", "COPD"),) * 3,
    (("Nodule/Mass", "Lung tumor"), ("Nodule/Mass", "Lung tumor"), ("Nodule/Mass",)),
    (("Cardiomegaly", "Pneumonia"), ("Cardiomegaly",), ("Cardiomegaly", "Lung tumor")),
)
CENTER, WIDTH = 2000, 3000
PEOPLE = (("F", "045Y", "female", 45.0), ("O", "000Y", None, None), (None, None, None, None))


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree as PhysioNet has it and returns what a reader must find in it.

    Every fourth film is of the test set. By turns a film is MONOCHROME1, without a window, with
    several, without a transfer syntax in its header, or run length encoded. One cell is NaN, one
    row of labels stands twice, one box reaches out of its film and one has no area.

    Args:
        root: folder to write into; made if absent.
        n: number of good films.
        seed: of the films.
        with_faults: also list films that are not there or broken, and write one that no row lists.
    """
    truth = new_truth(CLASSES, ["PhysioNet"])
    labels: dict[str, list[Any]] = {"train": [], "test": []}
    boxes: dict[str, list[Any]] = {"train": [], "test": []}
    for number in range(n):
        name, split = _name(seed, number), "test" if number % 4 == 3 else "train"
        data, digest, person = _film(seed, number)
        write(root / split / f"{name}.dicom", data)
        said = READ[number % len(READ)]
        drawn = _drawn(name, number, said if split == "train" else said[:1], split)
        boxes[split] += drawn
        labels[split] += _label_rows(name, number, said, split)
        truth["records"][name] = {
            **_agreed(said, split),
            "split": split,
            "patient_id": None,
            "sex": person[2],
            "age": person[3],
            "boxes": [row for row in map(_clipped, drawn) if row],
        }
        if digest:
            truth["records"][name]["pixel_sha1"] = digest
    if with_faults:
        names = [_name(seed, 900 + i) for i in range(6)]
        for one in names:
            labels["train"] += _label_rows(one, 0, READ[0], "train")
        files = [f"{one}.dicom" for one in names[1:]]
        truth["faults"] = write_broken(root / "train", files, _film(seed, 0)[0])
        truth["faults"][names[0]] = {"kind": "missing"}
        truth["faults"][_name(seed, 999)] = {"kind": "left out"}
        write(root / "train" / f"{_name(seed, 999)}.dicom", _film(seed, 999)[0])
    _write_tables(root, labels, boxes)
    return truth


def make_kaggle(root: Path, n: int = 8, seed: int = 0) -> dict[str, Any]:
    """Writes a tree as the VinBigData competition has it: one table, a row a box or No finding."""
    truth = new_truth(CLASSES, ["VinBigData competition of Kaggle"])
    rows = []
    for number in range(n):
        name, said = _name(seed, number), READ[number % 2]
        write(root / "train" / f"{name}.dicom", _film(seed, number)[0])
        for row in _drawn(name, number, said, "train"):
            rows.append([name, row[2], 14 if row[2] == "No finding" else 7, row[1], *row[3:]])
        positive = ["No finding"] if number % 2 == 0 else ["Lung Opacity"]
        truth["records"][name] = {
            "native": positive,
            "labels": [c for c in positive if number % 2 == 0],
        }
    write(root / "test" / f"{_name(seed, 50)}.dicom", _film(seed, 50)[0])
    columns = ("image_id", "class_name", "class_id", "rad_id", *EDGES)
    write_table(root / "train.csv", columns, rows)
    return truth


def _name(seed: int, number: int) -> str:
    return hashlib.md5(f"{seed}/{number}".encode()).hexdigest()


def _film(seed: int, number: int) -> tuple[bytes, str | None, tuple[Any, ...]]:
    """The bytes of a film, the digest of what it shows where that is by formula, and who it is."""
    values, person = film(seed * 1000 + number, 32 + number % 3, 24), PEOPLE[number % 3]
    how: dict[str, Any] = {"WindowCenter": CENTER, "WindowWidth": WIDTH}
    told = {"PatientSex": person[0], "PatientAge": person[1]}
    how |= {key: value for key, value in told.items() if value}
    shown: Any = linear(values, CENTER, WIDTH)
    kind = number % 6
    if kind == 1:
        # Stored as its negative, which the window then has to be of.
        values, how["photometric"] = 4095 - values, "MONOCHROME1"
        how["WindowCenter"] = 2096
        shown = 255 - linear(values, 2096, WIDTH)
    elif kind == 2:
        del how["WindowCenter"], how["WindowWidth"]
        shown = None
    elif kind == 3:
        how |= {"WindowCenter": [CENTER, 100], "WindowWidth": [WIDTH, 50]}
    syntax = {4: None, 5: RLELossless}.get(kind, ExplicitVRLittleEndian)
    data = dicom(values, bits=12, syntax=syntax, **how)
    return data, None if shown is None else sha1(shown), person


def _label_rows(name: str, number: int, said: Any, split: str) -> list[Any]:
    if split == "test":
        return [[name, *(int(label in said[0]) for label in LABELS)]]
    rows = [
        [name, f"R{8 + (number + i) % 10}", *(int(label in one) for label in LABELS)]
        for i, one in enumerate(said)
    ]
    if number == 0:
        rows[0][2] = "nan"
        rows.append(rows[1])
    return rows


def _drawn(name: str, number: int, said: Any, split: str) -> list[Any]:
    """Rows of the table of boxes: image, reader, class, edges."""
    rows = []
    for i, one in enumerate(said):
        reader = None if split == "test" else f"R{8 + (number + i) % 10}"
        for label in one:
            if label in LOCAL:
                rows.append([name, reader, label, 4 + i, 5.5, 14 + i, 20.0])
            elif label == "No finding":
                rows.append([name, reader, label, None, None, None, None])
    if number == 1:
        rows[0][3:] = [-3.5, 5, 14, 200]
        rows.append([name, "R9", "Nodule/Mass", 9, 5, 9, 20])
    return rows


def _clipped(row: list[Any]) -> list[Any] | None:
    """label, reader and the edges that are left of a box, the only film that one leaves known."""
    if row[3] is None or row[3] >= row[5]:
        return None
    x1, y1, x2, y2 = row[3:]
    return [row[2], row[1], float(max(x1, 0)), float(y1), float(x2), float(min(y2, 33))]


def _agreed(said: Any, split: str) -> dict[str, Any]:
    least = 2 if split == "train" else 3
    native = [x for x in (*LOCAL, *CLASSES) if sum(x in one for one in said) >= least]
    if split == "test":
        native = [x for x in (*LOCAL, *CLASSES) if x in said[0]]
    return {"native": native, "labels": [x for x in native if x in CLASSES]}


def _write_tables(root: Path, labels: dict[str, Any], boxes: dict[str, Any]) -> None:
    folder = root / "annotations"
    of_test = tuple("Other disease" if label == "Other diseases" else label for label in LABELS)
    write_table(folder / "image_labels_train.csv", ("image_id", "rad_id", *LABELS), labels["train"])
    write_table(folder / "image_labels_test.csv", ("image_id", *of_test), labels["test"])
    columns = ("image_id", "rad_id", "class_name", *EDGES)
    write_table(folder / "annotations_train.csv", columns, boxes["train"])
    test = [[row[0], *row[2:]] for row in boxes["test"]]
    write_table(folder / "annotations_test.csv", ("image_id", "class_name", *EDGES), test)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
