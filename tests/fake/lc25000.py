"""A made tree of LC25000: five folders of tiles, each tile with a turned copy of itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults
from PIL import Image

CLASS_OF = {
    "colon_aca": "Colon adenocarcinoma",
    "colon_n": "Benign colon",
    "lung_aca": "Lung adenocarcinoma",
    "lung_scc": "Lung squamous cell carcinoma",
    "lung_n": "Benign lung",
}
WORDS = {folder: folder.replace("_", "") for folder in CLASS_OF} | {"colon_aca": "colonca"}


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it; `originals` tells which belong
    together: every second tile of a class is the one before it, turned by a quarter.

    Args:
        root: folder to write into; made if absent.
        n: number of good tiles.
        seed: of the tiles.
        with_faults: also write broken tiles, one a second time, and leave the last class out.
    """
    truth = new_truth(CLASS_OF.values(), ["five folders"])
    truth["originals"] = {}
    folders = [*CLASS_OF][: 4 if with_faults else 5]
    for number in range(n):
        folder, place = folders[number % len(folders)], number // len(folders)
        tile = picture([seed, folders.index(folder), place // 2], 40, 40)
        tile = tile.transpose(Image.Transpose.ROTATE_90) if place % 2 else tile
        name = f"{WORDS[folder]}{place + 1}"
        sha1 = write(_place(root, folder) / f"{name}.jpeg", encoded(tile, "JPEG"))
        truth["originals"][name] = f"{folder} {place // 2}"
        truth["records"][name] = {
            "labels": [CLASS_OF[folder]],
            "native": [folder],
            "patient_id": None,
            "image_sha1": sha1,
        }
    write(_place(root, "colon_n") / "Thumbs.db", b"made")
    if with_faults:
        files = [f"lungscc{900 + place}.jpeg" for place in range(4)]
        truth["faults"] = write_faults(
            _place(root, "lung_scc"), files, encoded(tile, "JPEG"), "JPEG"
        )
        truth["faults"]["lung_n"] = {"kind": "missing"}
        again = (_place(root, "colon_n") / "colonn1.jpeg").read_bytes()
        write(root / "again" / "colon_n" / "colonn1.jpeg", again)
        truth["faults"]["colonn1"] = {"kind": "copy"}
    return truth


def _place(root: Path, folder: str) -> Path:
    return root / "lung_colon_image_set" / f"{folder.partition('_')[0]}_image_sets" / folder


if __name__ == "__main__":
    make(Path(sys.argv[1]))
