"""A made tree of VinDr-Mammo: four views an exam, a table of breasts and one of findings."""

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

CLASSES = tuple(f"BI-RADS {grade}" for grade in range(1, 6))
VIEWS = (("L", "CC"), ("L", "MLO"), ("R", "CC"), ("R", "MLO"))
SHARED = [
    "study_id",
    "series_id",
    "image_id",
    "laterality",
    "view_position",
    "height",
    "width",
    "breast_birads",
    "breast_density",
]
FINDING = ("finding_categories", "finding_birads", "xmin", "ymin", "xmax", "ymax", "split")
CENTER, WIDTH = 1900, 2800


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree as PhysioNet has it and returns what a reader must find in it.

    Every fourth exam is of the test part. One film has two boxes, one of them reaching out of it,
    and one a finding of two categories. By turns a film is MONOCHROME1, without a window, for
    processing, or run length encoded.

    Args:
        root: folder to write into; made if absent.
        n: number of good films, four an exam.
        seed: of the films.
        with_faults: also list films that are not there or broken, and write one that no row lists.
    """
    truth = new_truth(CLASSES, ["PhysioNet"])
    breasts, findings = [], []
    for number in range(n):
        row, split = _row(seed, number), ("test" if number // 4 % 4 == 3 else "train")
        data, digest = _film(seed, number)
        write(root / "images" / row[0] / f"{row[2]}.dicom", data)
        released = "training" if split == "train" else "test"
        breasts.append([*row, released])
        found = _findings(number)
        findings += [[*row, *one, released] for one in found]
        truth["records"][row[2]] = {
            "labels": [row[7]],
            "native": [row[7], row[8]],
            "patient_id": row[0],
            "split": split,
            "age": 50.0 + number // 4,
            "sex": "female",
            "view": f"{row[3]}-{row[4]}",
            "boxes": [[_joined(one[0]), None, *_clipped(one[2:])] for one in found if one[2]],
            **({"pixel_sha1": digest} if digest else {}),
        }
    if with_faults:
        rows = [_row(seed, 900 + i) for i in range(6)]
        breasts += [[*row, "training"] for row in rows]
        good = _film(seed, 0)[0]
        for row, (name, fault) in zip(rows[1:], _broken(root, rows[1:], good), strict=True):
            truth["faults"][name] = fault
            assert row[2] == name
        truth["faults"][rows[0][2]] = {"kind": "missing"}
        extra = _row(seed, 999)
        write(root / "images" / _row(seed, 0)[0] / f"{extra[2]}.dicom", _film(seed, 999)[0])
        truth["faults"][extra[2]] = {"kind": "left out"}
    write_table(root / "breast-level_annotations.csv", (*SHARED, "split"), breasts)
    write_table(root / "finding_annotations.csv", (*SHARED, *FINDING), findings)
    columns = ("SOP Instance UID", "Patient's Age", "Manufacturer's Model Name")
    write_table(root / "metadata.csv", columns, [[row[2], "050Y", "Made"] for row in breasts])
    return truth


def _broken(root: Path, rows: list[Any], good: bytes) -> list[Any]:
    """The five broken kinds of file, each in the folder of its own exam."""
    faults = write_broken(root / "images", [f"{row[2]}.dicom" for row in rows], good)
    for row in rows:
        folder = root / "images" / row[0]
        folder.mkdir(parents=True, exist_ok=True)
        (root / "images" / f"{row[2]}.dicom").rename(folder / f"{row[2]}.dicom")
    return list(faults.items())


def _hex(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def _row(seed: int, number: int) -> list[Any]:
    exam, (side, view) = number // 4, VIEWS[number % 4]
    grade = 1 + (exam + (side == "R")) % 5
    names = [_hex(f"{kind}/{seed}/{which}") for kind, which in (("exam", exam), ("series", number))]
    image = _hex(f"image/{seed}/{number}")
    return [*names, image, side, view, 32, 24, f"BI-RADS {grade}", f"DENSITY {'ABCD'[exam % 4]}"]


def _findings(number: int) -> list[Any]:
    if number == 1:
        return [
            ["['Mass', 'Skin Retraction']", "BI-RADS 4", 3.5, 4.25, 12.0, 20.0],
            ["['Suspicious Calcification']", "BI-RADS 3", 10.0, 20.0, 30.0, 40.5],
        ]
    if number % 8 == 2:
        return [["['Asymmetry']", None, 2.0, 3.0, 9.0, 10.0]]
    return [["['No Finding']", None, None, None, None, None]]


def _joined(cell: str) -> str:
    return cell.strip("[]").replace("', '", "; ").strip("'")


def _clipped(edges: list[float]) -> list[float]:
    x1, y1, x2, y2 = edges
    return [x1, y1, min(x2, 24.0), min(y2, 32.0)]


def _film(seed: int, number: int) -> tuple[bytes, str | None]:
    """The bytes of a film, and the digest of what it shows where that is by formula."""
    values = film(seed * 1000 + 500 + number)
    how: dict[str, Any] = {"WindowCenter": CENTER, "WindowWidth": WIDTH}
    how |= {"PatientSex": "F", "PatientAge": f"{50 + number // 4:03d}Y", "Manufacturer": "Made"}
    how |= {"PresentationIntentType": "FOR PRESENTATION"}
    shown: Any = linear(values, CENTER, WIDTH)
    kind = number % 5
    if kind == 1:
        values, how["photometric"], how["WindowCenter"] = 4095 - values, "MONOCHROME1", 2196
        shown = 255 - linear(values, 2196, WIDTH)
    elif kind == 2:
        del how["WindowCenter"], how["WindowWidth"]
        shown = None
    elif kind == 3:
        how["PresentationIntentType"] = "FOR PROCESSING"
    syntax = RLELossless if kind == 4 else ExplicitVRLittleEndian
    return dicom(values, bits=12, syntax=syntax, **how), None if shown is None else sha1(shown)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
