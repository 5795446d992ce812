"""A made tree of HAM10000: two folders of images, the table of lesions, outlines beside them."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults, write_table
from PIL import Image

CLASSES = ("MEL", "NV", "BCC", "AKIEC", "OTHER")
DIAGNOSES = ("nv", "mel", "bkl", "bcc", "nv", "akiec", "vasc", "df")
CLASS_OF = {"nv": "NV", "mel": "MEL", "bcc": "BCC", "akiec": "AKIEC"}
COLUMNS = ("lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization", "dataset")
CODES = ("MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC")
FIRST = 24306


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree as the Dataverse has it and returns what a reader must find in it.

    Each lesion has two images; one image lies on its side, as its EXIF says, one row has neither
    age nor sex, one image has no outline, and a text lies among the images.

    Args:
        root: folder to write into; made if absent.
        n: number of good images.
        seed: of the images.
        with_faults: also list an image that is not there, and write broken ones, an image that no
            row lists, and a second copy of one.
    """
    truth = new_truth(CLASSES, ["Dataverse"])
    rows = []
    for number in range(n):
        name, dx = f"ISIC_{FIRST + number:07d}", DIAGNOSES[number // 2 % len(DIAGNOSES)]
        image = picture([seed, number], 60, 45)
        how = {"exif": _turned(image)} if number == 3 else {}
        upright = image.transpose(Image.Transpose.ROTATE_270) if how else image
        sha1 = write(_folder(root, number) / f"{name}.jpg", encoded(image, "JPEG", **how))
        if number == 4:
            truth["faults"][f"{name}_segmentation"] = {"kind": "missing"}
        else:
            _write_outline(root, name, upright)
        age, sex = (None, "unknown") if number == 5 else (30.0 + 5 * (number % 9), "female")
        rows.append(_row(number, name, dx, age, sex))
        truth["records"][name] = {
            "labels": [CLASS_OF.get(dx, "OTHER")],
            "native": [dx],
            "patient_id": None,
            "age": age,
            "sex": "female" if sex == "female" else None,
            "image_sha1": sha1,
        }
    write(_folder(root, 0) / "ATTRIBUTION.txt", b"made\n")
    if with_faults:
        names = [f"ISIC_009000{i}" for i in range(5)]
        rows += [_row(900 + i, name, "nv", 40.0, "male") for i, name in enumerate(names)]
        good = encoded(picture([seed, 0], 60, 45), "JPEG")
        files = [f"{name}.jpg" for name in names[1:]]
        truth["faults"] |= write_faults(_folder(root, 0), files, good, "JPEG")
        for name in names[1:]:
            _write_outline(root, name, picture([seed, 0], 60, 45))
        truth["faults"][names[0]] = {"kind": "missing"}
        truth["faults"]["ISIC_0099999"] = {"kind": "left out"}
        write(_folder(root, 0) / "ISIC_0099999.jpg", encoded(picture([seed, 999]), "JPEG"))
        copied = f"ISIC_{FIRST + 6:07d}"
        first = (_folder(root, 6) / f"{copied}.jpg").read_bytes()
        write(root / "ham10000_images_part_1" / f"{copied}.jpg", first)
        truth["faults"][copied] = {"kind": "copy"}
    table = root / "HAM10000_metadata.tab"
    write_table(table, COLUMNS, rows, delimiter="\t", quoting=csv.QUOTE_NONNUMERIC)
    return truth


def make_challenge(root: Path, n: int = 8, seed: int = 0) -> dict[str, Any]:
    """Writes a tree as the ISIC 2018 challenge has it: one-hot labels, lesions in their table."""
    truth = new_truth(CLASSES, ["ISIC 2018 challenge"])
    labels, lesions = [], []
    for number in range(n):
        name, dx = f"ISIC_{FIRST + number:07d}", DIAGNOSES[number // 2 % len(DIAGNOSES)]
        data = encoded(picture([seed, number], 60, 45), "JPEG")
        sha1 = write(root / "ISIC2018_Task3_Training_Input" / f"{name}.jpg", data)
        labels.append([name, *(f"{float(code == dx.upper())}" for code in CODES)])
        lesions.append([name, f"HAM_{number // 2:07d}", "histopathology"])
        truth["records"][name] = {
            "labels": [CLASS_OF.get(dx, "OTHER")],
            "native": [dx.upper()],
            "image_sha1": sha1,
        }
    write(root / "ISIC2018_Task3_Training_Input" / "LICENSE.txt", b"made\n")
    table = "ISIC2018_Task3_Training_GroundTruth"
    write_table(root / table / f"{table}.csv", ("image", *CODES), labels)
    groupings = ("image", "lesion_id", "diagnosis_confirm_type")
    write_table(root / "ISIC2018_Task3_Training_LesionGroupings.csv", groupings, lesions)
    return truth


def _write_outline(root: Path, name: str, image: Any) -> None:
    """Writes a mask of what is dark in an image."""
    mask = image.convert("L").point(lambda shade: 255 * (shade < 140))
    folder = root / "HAM10000_segmentations_lesion_tschandl"
    write(folder / f"{name}_segmentation.png", encoded(mask, "PNG"))


def _folder(root: Path, number: int) -> Path:
    return root / f"HAM10000_images_part_{1 + number % 2}"


def _turned(image: Any) -> Any:
    exif = image.getexif()
    exif[0x0112] = 6  # orientation: to be turned by a quarter
    return exif


def _row(number: int, name: str, dx: str, age: float | None, sex: str) -> list[Any]:
    lesion = f"HAM_{number // 2:07d}"
    return [lesion, name, dx, "histo", age, sex, "back", "vidir_modern"]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
