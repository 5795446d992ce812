"""A made tree of CheXpert: the small copy, the AIMI batches, and the test set of CheXlocalize."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults, write_table
from mimic_cxr import CLASSES, STUDIES

FINDINGS = ("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity")
FINDINGS += ("Lung Lesion", "Edema", "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax")
FINDINGS += ("Pleural Effusion", "Pleural Other", "Fracture", "Support Devices")
HEAD = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *FINDINGS)
# Of each patient: study, view, AP/PA.
VIEWS = ((1, "view1_frontal", "AP"), (1, "view2_lateral", ""), (2, "view1_frontal", "PA"))
PARTS = ("train", "train", "valid", "test")
SPLITS = {"train": "train", "valid": "validation", "test": "test"}
# What pycocotools 2.0.11 makes of 1 in rows 8 to 19 and columns 4 to 15 of 32 x 24, and of nothing.
DRAWN = {"size": [32, 24], "counts": "X4<d0000000000000000000000h7"}
NOTHING = {"size": [32, 24], "counts": "Ph0"}
FIRST = {"train": 1, "valid": 64541, "test": 64741}


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Each patient has a study of two views and one of one view. In train one row is blank but for
    its person, whose sex is unknown and age 0; validation and test know no -1 and no blank. On the
    images of test a finding is drawn in another size than theirs, and one is drawn with no pixel.

    Args:
        root: folder to write into; made if absent.
        n: number of good images.
        seed: of the images.
        with_faults: also list an image that is not there, and write broken ones and an image that
            no table lists.
    """
    truth = new_truth(CLASSES, ["CheXpert-v1.0", "CheXlocalize"])
    base = root / "CheXpert-v1.0-small"
    tables: dict[str, list[Any]] = {part: [] for part in SPLITS}
    for number in range(n):
        part, place, row, facts = entry(number)
        data = encoded(picture([seed, number], 16, 16, "L"), "JPEG")
        path = base / place if part != "test" else root / "CheXpert" / place
        facts["image_sha1"] = write(path, data)
        tables[part].append([f"CheXpert-v1.0-small/{place}", *row])
        truth["records"][record_of(place)] = facts
    if with_faults:
        folder = base / "train/patient60000/study1"
        names = [f"view{i}_frontal.jpg" for i in range(1, 7)]
        fault = ["Male", 50, "Frontal", "AP", *[None] * 13, "1.0"]
        rows = [[f"CheXpert-v1.0-small/train/patient60000/study1/{n}", *fault] for n in names[:5]]
        tables["train"] += rows
        found = write_faults(folder, names[1:5], data, "JPEG")
        found |= {Path(names[0]).stem: {"kind": "missing"}, "view6_frontal": {"kind": "left out"}}
        truth["faults"] = {f"patient60000_study1_{name}": kind for name, kind in found.items()}
        write(folder / names[5], data)
    write_table(base / "train.csv", HEAD, tables["train"])
    write_table(base / "valid.csv", HEAD, tables["valid"])
    write_test(root / "CheXpert", tables["test"])
    drawn = {"Airspace Opacity": DRAWN, "Edema": NOTHING}
    test = [record for record, known in truth["records"].items() if known["split"] == "test"]
    outlines = json.dumps({record: drawn for record in test})
    write(root / "CheXpert" / "gt_segmentations_test.json", outlines.encode())
    return truth


def make_batches(root: Path, n: int = 18, seed: int = 0) -> dict[str, Any]:
    """Writes the tree as AIMI hands it out: four batches, paths in the tables without them."""
    truth = new_truth(CLASSES, ["AIMI batches"])
    base = root / "chexpertchestxrays-u20210408"
    first = base / "CheXpert-v1.0 batch 1 (validate & csv)"
    tables: dict[str, list[Any]] = {part: [] for part in SPLITS}
    for number in range(n):
        part, place, row, facts = entry(number)
        if part == "test":
            continue
        batch = f"CheXpert-v1.0 batch {2 + number // 3 % 3} (train {1 + number // 3 % 3})"
        inside = place.removeprefix("train/")
        folder = first if part == "valid" else base / batch
        facts["image_sha1"] = write(
            folder / inside, encoded(picture([seed, number], 16, 16, "L"), "JPEG")
        )
        tables[part].append([f"CheXpert-v1.0/{place}", *row])
        truth["records"][record_of(place)] = facts
    write_table(first / "train.csv", HEAD, tables["train"])
    write_table(first / "valid.csv", HEAD, tables["valid"])
    return truth


def entry(number: int) -> tuple[str, str, list[Any], dict[str, Any]]:
    """Part, path within the release, cells after the path, and what is true of an image."""
    person = number // 3
    part = PARTS[person % len(PARTS)]
    study, view, side = VIEWS[number % 3]
    patient = f"patient{FIRST[part] + person:05d}"
    place = f"{part}/{patient}/study{study}/{view}.jpg"
    cells = dict(STUDIES[(2 * person + study) % len(STUDIES)] or {})
    if part != "train":
        cells = {name: "1.0" if cells.get(name) == "1.0" else "0.0" for name in FINDINGS}
    unknown = person == 0
    sex, age = ("Unknown", 0) if unknown else (("Female", "Male")[person % 2], 30 + person)
    words = [sex, age, "Lateral" if "lateral" in view else "Frontal", side]
    signs = {"labels": "1.0", "uncertain": "-1.0", "negative": "0.0"}
    facts: dict[str, Any] = {
        kind: [name for name in CLASSES if cells.get(name) == cell] for kind, cell in signs.items()
    }
    facts["native"] = [f"{n}={cells[n].removesuffix('.0')}" for n in FINDINGS if n in cells]
    facts |= {"patient_id": patient, "split": SPLITS[part], "view": side or "LATERAL"}
    if part == "test":  # its table tells of no person
        words, facts["view"] = [], view.split("_")[1].replace("lateral", "LATERAL")
    known = {"age": None, "sex": None}
    if not unknown and part != "test":
        known = {"age": float(age), "sex": sex.lower()}
    return part, place, [*words, *(cells.get(name) for name in FINDINGS)], facts | known


def record_of(place: str) -> str:
    return "_".join(Path(place).with_suffix("").parts[1:])


def write_test(base: Path, rows: list[Any]) -> None:
    """The test part of CheXlocalize: no sex, no age, paths that begin with `test`."""
    inside = [[row[0].split("/", 1)[1], *row[1:]] for row in rows]
    write_table(base / "test_labels.csv", ("Path", *FINDINGS), inside)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
