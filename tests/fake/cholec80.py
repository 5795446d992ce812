"""A made tree of Cholec80: videos, and text files of phases and tools in the release's columns."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

from graph_truth import new_truth
from made_videos import write_video

FPS = 25
N_PARTS = 90
PHASES = {
    "Preparation": "Preparation",
    "CalotTriangleDissection": "Calot Triangle Dissection",
    "ClippingCutting": "Clipping Cutting",
    "GallbladderDissection": "Gallbladder Dissection",
    "GallbladderPackaging": "Gallbladder Packaging",
    "CleaningCoagulation": "Cleaning Coagulation",
    "GallbladderRetraction": "Gallbladder Retraction",
}
TOOLS = ("Grasper", "Bipolar", "Hook", "Scissors", "Clipper", "Irrigator", "SpecimenBag")


def make(root: Path, n: int = 3, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    A part of a video is a second with a key frame and a row of tools of its own. The first
    video's tools lack their last row and the second's columns are parted by blanks; of the third
    only phases are there; the last ones are of the test set.

    Args:
        root: folder to write into; made if absent.
        n: number of good videos, of which four at most are written.
        seed: of the frames and tools.
        with_faults: also write a video that is cut short, an empty one, one without annotations,
            annotations without a video, one with broken annotations, and one with a part that
            has no key frame.
    """
    truth = new_truth(tuple(PHASES.values()), ["CAMMA"])
    numbers = [1, 2, 3, 41][: max(min(n, 4), 1)]
    for number in numbers:
        name, length = f"video{number:02}", N_PARTS * FPS + number % 3
        write_video(root / "videos" / f"{name}.mp4", [seed, number], length, **SMALL)
        phases = [_phase(at, length) for at in range(length)]
        _write_phases(root, name, phases, " " if number == 2 else "\t")
        held = [] if number == 3 else [_held(number, at) for at in range(-(-length // FPS))]
        held = held[:-1] if number == 1 and len(held) > N_PARTS else held
        if held:
            _write_tools(root, name, held, " " if number == 2 else "\t")
        for part in range(N_PARTS):
            last = length if part == N_PARTS - 1 else (part + 1) * FPS
            shown = list(dict.fromkeys(phases[part * FPS : last]))
            tools = {tool for row in held[part : -(-last // FPS)] for tool in row}
            used = [tool for tool in TOOLS if tool in tools] or (["None"] if held else [])
            truth["records"][f"{name}/{part:03}"] = {
                "labels": [PHASES[one] for one in PHASES if one in shown],
                "native": [*shown, *used],
                "patient_id": name,
                "split": "train" if number <= 40 else "test",
            }
    if with_faults:
        _add_faults(root, truth)
    return truth


SMALL: dict[str, Any] = {"size": (32, 24), "group": FPS, "fps": FPS}


def _phase(at: int, length: int) -> str:
    """Each phase for an equal share, the change in the middle of a part."""
    return list(PHASES)[min(7 * (at + 12) // length, 6)]


def _held(number: int, second: int) -> tuple[str, ...]:
    return tuple(tool for at, tool in enumerate(TOOLS) if (second + number) % (at + 3) == 0)


def _write_phases(root: Path, name: str, phases: Sequence[str], gap: str = "\t") -> None:
    lines = [f"Frame{gap}Phase", *(f"{at}{gap}{phase}" for at, phase in enumerate(phases))]
    _write(root / "phase_annotations" / f"{name}-phase.txt", lines)


def _write_tools(root: Path, name: str, held: Sequence[Sequence[str]], gap: str = "\t") -> None:
    flags = ([str(int(tool in row)) for tool in TOOLS] for row in held)
    rows = (gap.join([str(at * FPS), *row]) for at, row in enumerate(flags))
    _write(root / "tool_annotations" / f"{name}-tool.txt", [gap.join(("Frame", *TOOLS)), *rows])


def _write(path: Path, lines: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def _add_faults(root: Path, truth: dict[str, Any]) -> None:
    cut, empty, bare, gone, broken = (f"video{number}" for number in (71, 72, 73, 74, 75))
    phases = ["Preparation"] * N_PARTS * FPS
    videos = root / "videos"
    for name in (cut, bare, broken):
        write_video(videos / f"{name}.mp4", [9], 50, **SMALL)
    data = (videos / f"{cut}.mp4").read_bytes()
    (videos / f"{cut}.mp4").write_bytes(data[: len(data) // 2])
    (videos / f"{empty}.mp4").write_bytes(b"")
    for name in (cut, empty, gone):
        _write_phases(root, name, phases)
    _write(root / "phase_annotations" / f"{broken}-phase.txt", ["Frame\tPhase", "0\tPrep", "1"])
    truth["faults"] |= {
        cut: {"kind": "damaged"},
        empty: {"kind": "damaged"},
        bare: {"kind": "left out"},
        gone: {"kind": "missing"},
        broken: {"kind": "damaged"},
    }
    sparse = "video76"  # a key frame in every second part of a single frame
    write_video(videos / f"{sparse}.mp4", [7], N_PARTS, size=(32, 24), fps=FPS, group=2)
    _write_phases(root, sparse, ["Preparation"] * N_PARTS)
    for part in range(N_PARTS):
        record = f"{sparse}/{part:03}"
        if part % 2:
            truth["faults"][record] = {"kind": "left out"}
        else:
            known = {"labels": ["Preparation"], "native": ["Preparation"], "split": "test"}
            truth["records"][record] = {**known, "patient_id": sparse}


if __name__ == "__main__":
    make(Path(sys.argv[1]))
