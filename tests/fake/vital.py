"""A made tree of BioMed-VITAL: one JSON array of conversations, and some of their figures."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import encoded, picture, write, write_faults

KINDS = ("chest_xray", "mri", "histology", "gross", "ct_scan")
CLASSES = KINDS
LISTED = "BioMed-VITAL-instructions-210K.json"


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it; `turns` are (role, content).

    Every fourth entry speaks about the figure of the one before. The first has the misspelt key,
    the second no place holder of its figure, the third two of them.

    Args:
        root: folder to write into; made if absent.
        n: number of good records.
        seed: of the figures.
        with_faults: also write broken figures, a conversation without its figure, one that stands
            twice, one whose id stands twice, and entries that are none.
    """
    truth = new_truth(CLASSES, ["Hub"])
    listed = []
    for number in range(n):
        own = number - 1 if number % 4 == 3 else number
        figure = f"{30254804 + own}_FIG1.jpg"
        entry, turns = _entry(f"{30254804 + own}_FIG1_{number % 4}", figure, number)
        sha1 = write(root / "images" / figure, encoded(_figure(seed, own), "JPEG"))
        listed.append(entry)
        kind = KINDS[number % 5]
        truth["records"][entry["id"]] = {
            "labels": [kind],
            "native": [kind],
            "patient_id": None,
            "image_sha1": sha1,
            "turns": turns,
        }
    if with_faults:
        _add_faults(root, listed, truth, seed)
    write(root / LISTED, json.dumps(listed, indent=1).encode())
    return truth


def _figure(seed: int, number: int) -> Any:
    return picture([seed, number], 40 + number % 7, 32, "CMYK" if number % 5 == 1 else "RGB")


def _entry(name: str, figure: str, number: int) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    asked = (f"What does figure {number} show?", f"How sure is “{number}”?")
    said = [f"A spot on paler ground, number {number}.", "Quite sure."]
    marked = (f"{asked[0]}\n<image>", asked[0], f"<image>\n{asked[0]} <image>")[number % 3]
    talk = [
        {"from": "human", "value": marked},
        {"from": "gpt", "value": said[0]},
        {"from": "human", "value": asked[1]},
        {"from": "gpt", "value": said[1]},
    ]
    key = "conversations" if number else "conversatons"
    domain = {kind: kind == KINDS[number % 5] for kind in KINDS}
    turns = [("user", asked[0]), ("assistant", said[0]), ("user", asked[1]), ("assistant", said[1])]
    return {"id": name, "image": figure, "domain": domain, key: talk}, turns


def _add_faults(root: Path, listed: list[Any], truth: dict[str, Any], seed: int) -> None:
    names = [f"{91000000 + i}_FIG2" for i in range(4)]
    good = encoded(picture([seed, 0]), "JPEG")
    truth["faults"] |= write_faults(root / "images", [f"{n}.jpg" for n in names], good, "JPEG")
    listed += [_entry(name, f"{name}.jpg", 50 + i)[0] for i, name in enumerate(names)]
    listed.append(_entry("92000000_FIG1", "92000000_FIG1.jpg", 60)[0])
    truth["faults"]["92000000_FIG1"] = {"kind": "missing"}
    listed.append(dict(listed[0]))
    truth["faults"][listed[0]["id"]] = {"kind": "copy"}
    listed.append({"id": "93000000_FIG1", "image": "../../93000000_FIG1.jpg", "conversations": []})
    truth["faults"]["93000000_FIG1"] = {"kind": "damaged"}
    listed.append("no entry")
    truth["faults"][f"{LISTED}-{len(listed)}"] = {"kind": "damaged"}


if __name__ == "__main__":
    make(Path(sys.argv[1]))
