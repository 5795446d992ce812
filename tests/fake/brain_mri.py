"""A made tree of Brain MRI Images for Brain Tumor Detection: folders `yes` and `no`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults

CLASSES = ("No Tumor", "Has Tumor")
NAMES = {"no": ("{} no.jpeg", "No{}.jpg", "N{}.JPG"), "yes": ("Y{}.jpg", "Y{}.JPG", "Y{}.png")}
MODES = ("RGB", "L", "RGBA")


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Spelling and case of names vary as in the release; PNGs are RGBA. Six of ten show a tumour.

    Args:
        root: folder to write into; made if absent.
        n: number of good images.
        seed: of the images.
        with_faults: also write broken images, a GIF, and the archive's second copy of `yes`.
    """
    truth = new_truth(CLASSES, ["Kaggle"])
    for number in range(n):
        kind = "yes" if number % 5 < 3 else "no"
        name = NAMES[kind][number % 3].format(number)
        png = name.endswith("png")
        image = picture([seed, number], mode="RGBA" if png else "RGB" if number % 2 else "L")
        sha1 = write(root / kind / name, encoded(image, "PNG" if png else "JPEG"))
        truth["records"][_record(kind, name)] = {
            "labels": [CLASSES[kind == "yes"]],
            "native": [kind],
            "patient_id": None,
            "image_sha1": sha1,
        }
    if with_faults:
        good = encoded(picture([seed, 0]), "JPEG")
        names = [f"Y9{i}.jpg" for i in range(4)]
        found = write_faults(root / "yes", names, good, "JPEG")
        truth["faults"] |= {f"yes-{name}": fault for name, fault in found.items()}
        write(root / "no" / "no 99.gif", encoded(picture([seed, 99]).convert("P"), "GIF"))
        truth["faults"]["no-no-99"] = {"kind": "damaged"}
        for record in list(truth["records"])[:3]:  # the archive holds all of them again
            kind, _, name = record.partition("-")
            (path,) = (root / kind).glob(f"{name.replace('-', ' ')}.*")
            write(root / "brain_tumor_dataset" / kind / path.name, path.read_bytes())
            truth["faults"][record] = {"kind": "copy"}
    return truth


def _record(kind: str, name: str) -> str:
    return f"{kind}-{name.rpartition('.')[0].replace(' ', '-')}"


if __name__ == "__main__":
    make(Path(sys.argv[1]))
