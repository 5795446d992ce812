"""A made tree of COVID-BLUES: short clips of lung ultrasound, and three tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_images import write_table
from made_videos import write_video

POINTS = ("L1", "L2", "R3")
CLINICAL = ("patient_id", "cov_test", "number_video_files", "pat_sex", "pat_age", "pat_bmi")
SEVERITY = ("video_file", "Severity Score", "A-lines", "B-lines", "comments")


def make(root: Path, n: int = 12, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    The first patient has a second take of a point; the last has an unknown age, written -99.

    Args:
        root: folder to write into; made if absent.
        n: number of good patients, with two or three clips each.
        seed: of the frames.
        with_faults: also write a clip that is cut short, an empty one, one of a patient whom no
            table lists, and list a clip and a patient that are not there.
    """
    truth = new_truth(("No COVID", "Has COVID"), ["GitHub"])
    clips = root / "lus_videos"
    patients, scores = [], []
    for number in range(1, n + 1):
        positive = number % 3 > 0
        age = -99 if number == n else 28 + number
        sex = ("0.0", "1.0")[number % 2]
        names = [f"patient_{number}_{point}" for point in POINTS[: 2 + number % 2]]
        if number == 1:
            names.append("patient_1_L1_2")
        patients.append((number, int(positive), len(names), sex, age, 24.5))
        for place, name in enumerate(names):
            write_video(clips / f"{name}.mp4", [seed, number, place])
            spaced = "  " if place == 0 else ""
            comment = "blurred, short" if place == 1 else None
            scores.append((name, f"{float(number % 4)}", "yes", f"no{spaced}", comment))
            truth["records"][name] = {
                "labels": ["Has COVID" if positive else "No COVID"],
                "native": [str(int(positive))],
                "patient_id": str(number),
                "age": None if age < 0 else age,
                "sex": ("female", "male")[number % 2],
            }
    if with_faults:
        _add_faults(clips, truth, patients, scores)
    write_table(root / "clinical_variables.csv", CLINICAL, patients)
    write_table(root / "severity.csv", SEVERITY, scores)
    (root / "variable_explanations.csv").write_text(
        "variable,variable_type,unit,explanation\npat_age,int,years,age, in whole years\n"
    )
    return truth


def _add_faults(
    clips: Path, truth: dict[str, Any], patients: list[tuple[Any, ...]], scores: list[Any]
) -> None:
    for number in (90, 91):
        patients.append((number, 1, 1, "1.0", 50, 24.5))
    cut, empty, loose, gone = "patient_90_L1", "patient_90_L2", "patient_99_L1", "patient_90_R1"
    write_video(clips / f"{cut}.mp4", [9])
    data = (clips / f"{cut}.mp4").read_bytes()
    (clips / f"{cut}.mp4").write_bytes(data[: len(data) // 2])
    (clips / f"{empty}.mp4").write_bytes(b"")
    write_video(clips / f"{loose}.mp4", [8])
    scores += [(name, "1.0", "no", "no", None) for name in (cut, empty, loose, gone)]
    truth["faults"] |= {
        cut: {"kind": "damaged"},
        empty: {"kind": "damaged"},
        loose: {"kind": "damaged"},
        gone: {"kind": "missing"},
        "patient_91": {"kind": "missing"},
    }


if __name__ == "__main__":
    make(Path(sys.argv[1]))
