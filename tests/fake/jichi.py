"""A made tree of Jichi's fundus photographs: a list of stages, images beside it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults, write_table

STAGES = ("ndr", "sdr", "ppdr", "pdr")
COLUMNS = ("Image", "Davis_grading_of_concatenated_figures", "Davis_grading_of_one_figure")
EYES = ("R", "L", "R")


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    A patient has three images of both eyes, counted through. For every fourth image the stage of
    the whole eye is worse than that of the figure.

    Args:
        root: folder to write into; made if absent.
        n: number of good images.
        seed: of the images.
        with_faults: also list an image that is not there and one of a stage that is in no list,
            write broken ones and an image that no row lists, and put one into another folder.
    """
    truth = new_truth([stage.upper() for stage in STAGES], ["figshare"])
    rows = []
    for number in range(n):
        patient, place = 1 + number // 3, number % 3
        name, stage = f"{patient}_{1 + place}_{EYES[place]}", number % len(STAGES)
        whole = min(stage + 1, 3) if number % 4 == 1 else stage
        folder = root / "dmr" / ("images" if number == 5 else "")
        sha1 = write(folder / f"{name}.jpg", encoded(picture([seed, number], 40, 40), "JPEG"))
        rows.append([f"{name}.jpg", STAGES[whole], STAGES[stage]])
        truth["records"][name] = {
            "labels": [STAGES[stage].upper()],
            "native": [STAGES[stage]],
            "patient_id": str(patient),
            "image_sha1": sha1,
        }
    if with_faults:
        names = [f"{900 + i}_1_R" for i in range(5)]
        rows += [[f"{name}.jpg", "ndr", "ndr"] for name in names]
        good = encoded(picture([seed, 0], 40, 40), "JPEG")
        files = [f"{name}.jpg" for name in names[1:]]
        truth["faults"] = write_faults(root / "dmr", files, good, "JPEG")
        truth["faults"][names[0]] = {"kind": "missing"}
        truth["faults"]["999_1_L"] = {"kind": "left out"}
        write(root / "dmr" / "999_1_L.jpg", encoded(picture([seed, 999]), "JPEG"))
        sha1 = write(root / "dmr" / "800_1_L.jpg", encoded(picture([seed, 800]), "JPEG"))
        rows.append(["800_1_L.jpg", "mdr", "mdr"])
        truth["unknown_codes"] = ["mdr"]
        known = {"labels": [], "native": ["mdr"], "patient_id": "800", "image_sha1": sha1}
        truth["records"]["800_1_L"] = known
    write_table(root / "dmr" / "list.csv", COLUMNS, rows)
    return truth


if __name__ == "__main__":
    make(Path(sys.argv[1]))
