"""A made tree of PAD-UFES-20: metadata, an archive of images, and two that were unpacked."""

from __future__ import annotations

import hashlib
import sys
import zipfile
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults, write_table

CLASSES = ("MEL", "NV", "BCC", "AKIEC", "OTHER")
CLASS_OF = {"BCC": "BCC", "ACK": "AKIEC", "NEV": "NV", "SEK": "OTHER", "SCC": "AKIEC", "MEL": "MEL"}
_COLUMNS = (
    "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,"
    "skin_cancer_history,cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,"
    "diameter_1,diameter_2,diagnostic,itch,grew,hurt,changed,bleed,elevation,img_id,biopsed"
)
COLUMNS = _COLUMNS.split(",")
# Where the images of each part lie once a user has unpacked as users do; None: still packed.
FOLDERS = (None, "images/imgs_part_2", "imgs_part_3/imgs_part_3", "images")


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Each patient has two images. Some images are RGBA, one patient's fields are blank, as they are
    for lesions without a biopsy, and one answers UNK.

    Args:
        root: folder to write into; made if absent.
        n: number of good images.
        seed: of the images.
        with_faults: also list an image that is not there, and write broken ones and an image that
            no row lists.
    """
    truth = new_truth(CLASSES, ["Mendeley Data"])
    root.mkdir(parents=True, exist_ok=True)
    rows, packed = [], {}
    for number in range(n):
        patient, lesion = f"PAT_{8 + number // 2}", 15 + number // 2
        name, code = f"{patient}_{lesion}_{820 + number}", list(CLASS_OF)[number // 2 % 6]
        mode, size = "RGBA" if number % 5 == 0 else "RGB", 30 + number
        data = encoded(picture([seed, number], size, size + 4, mode), "PNG")
        folder = FOLDERS[number // 2 % len(FOLDERS)]
        if folder is None:
            packed[f"imgs_part_1/{name}.png"] = data
        else:
            write(root / folder / f"{name}.png", data)
        known = number // 2 != 3
        rows.append(_row(patient, lesion, code, name, known))
        truth["records"][name] = {
            "labels": [CLASS_OF[code]],
            "native": [code],
            "patient_id": patient,
            "age": 55.0,
            "sex": "female" if known else None,
            "image_sha1": hashlib.sha1(data).hexdigest(),
        }
    if with_faults:
        names = [f"PAT_{900 + i}_1_{i}" for i in range(5)]
        rows += [_row(name.rpartition("_1_")[0], 1, "NEV", name, True) for name in names]
        files = [f"{name}.png" for name in names[1:]]
        truth["faults"] = write_faults(root / "images", files, data, "PNG")
        truth["faults"][names[0]] = {"kind": "missing"}
        truth["faults"]["PAT_999_1_1"] = {"kind": "left out"}
        write(root / "images" / "PAT_999_1_1.png", encoded(picture([seed, 999]), "PNG"))
    with zipfile.ZipFile(root / "imgs_part_1.zip", "w") as archive:
        for name, data in packed.items():
            archive.writestr(name, data)
        archive.writestr("__MACOSX/imgs_part_1/._PAT_8_15_820.png", b"made")
    write_table(root / "metadata.csv", COLUMNS, rows)
    return truth


def _row(patient: str, lesion: int, code: str, name: str, known: bool) -> list[Any]:
    told = {
        **{"patient_id": patient, "lesion_id": lesion, "age": 55, "diagnostic": code},
        **{"img_id": f"{name}.png", "region": "FACE", "biopsed": known, "itch": "UNK"},
    }
    if known:
        told |= {"gender": "FEMALE", "smoke": False, "fitspatrick": 3.0, "diameter_1": 6.0}
    return [told.get(column) for column in COLUMNS]


if __name__ == "__main__":
    make(Path(sys.argv[1]))
