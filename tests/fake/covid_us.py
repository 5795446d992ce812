"""A made tree of COVIDx-US: clips in several formats, and Latin-1 tables."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_videos import write_video

CLASSES = ("covid", "pneumonia", "normal")
SOURCES = ("pocusatlas", "litfl", "butterfly", "radio")
KINDS = (("mp4", "libx264"), ("gif", "gif"), ("avi", "mjpeg"), ("mov", "libx264"))


def make(root: Path, n: int = 16, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Two clips that follow each other are of one patient; the third has no row in the tables; ids of
    the tables end in a non-breaking space.

    Args:
        root: folder to write into; made if absent.
        n: number of good clips.
        seed: of the frames.
        with_faults: also write a clip of the class other, a broken one, an empty one, and list
            one that is not there.
    """
    truth = new_truth(CLASSES, ["GitHub, with clips fetched"])
    top = root / "data" / "video" / "original"
    labels, metadata = [], []
    for number in range(n):
        kind = CLASSES[number // 2 % 3]
        record = f"{number}_{SOURCES[number % 4]}_{kind}"
        ending, codec = KINDS[number % 4]
        write_video(top / f"{record}.{ending}", [seed, number], 6, fps=10, codec=codec)
        known = number != 2
        if known:
            score = ("NA", "2", "")[number % 3]
            labels.append(
                (f"{record}\xa0", score, "convex", kind.title(), "lung", f"p{number // 2}")
            )
            metadata.append((f"{record}\xa0", "50" if number % 2 else "", "Male", "Straße, 3 rue"))
        truth["records"][record] = {
            "labels": [kind],
            "native": [kind],
            "patient_id": f"p{number // 2}" if known else None,
            "age": 50 if known and number % 2 else None,
            "sex": "male" if known else None,
        }
    if with_faults:
        write_video(top / "90_uf_other.mp4", [90], 6)
        (top / "91_uf_covid.mp4").write_bytes(b"\0\0\0\x18ftypmp42")
        (top / "92_uf_covid.mp4").write_bytes(b"")
        labels.append(("93_uf_covid", "", "linear", "COVID", "lung", "p93"))
        kinds = ("left out", "damaged", "damaged", "missing")
        names = ("90_uf_other", "91_uf_covid", "92_uf_covid", "93_uf_covid")
        truth["faults"] = {name: {"kind": kind} for name, kind in zip(names, kinds, strict=True)}
    columns = ("id", "LUSS", "probe", "class", "type", "patient")
    _write(root / "labels" / "COVIDx-US1.4_4class.csv", columns, labels)
    _write(root / "utils" / "video_metadata.csv", ("id", "age", "gender", "comment"), metadata)
    return truth


def _write(path: Path, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="latin-1") as file:
        writer = csv.writer(file)
        writer.writerows([columns, *rows, [""] * len(columns)])


if __name__ == "__main__":
    make(Path(sys.argv[1]))
