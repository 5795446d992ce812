"""A made tree of EchoNet-Dynamic: Motion-JPEG videos, a list, and tracings of two frames."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent))

import av
import numpy as np
from graph_truth import new_truth
from made_images import write_table
from made_videos import write_video

CLASSES = ("Reduced", "Mildly reduced", "Preserved")
FRACTIONS = (30.0, 40.0, 45.5, 50.0, 62.0)  # %, two of them on the edge of a class
BANDS = (0, 1, 1, 2, 2)
SIZE, N_FRAMES, N_LINES = 112, 12, 20
COLUMNS = (
    *("FileName", "EF", "ESV", "EDV", "FrameHeight"),
    *("FrameWidth", "FPS", "NumberOfFrames", "Split"),
)


def make(root: Path, n: int = 12, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    In each second video the larger frame is traced last; the third has no tracing.

    Args:
        root: folder to write into; made if absent.
        n: number of good videos.
        seed: of the videos.
        with_faults: also write a video that is cut short, an empty one, one that is not listed
            and one traced beyond its end, and list one that is not there.
    """
    truth = new_truth(CLASSES, ["Stanford AIMI"])
    top = root / "EchoNet-Dynamic"
    files, tracings = [], []
    for number in range(n):
        record = f"0X{number:04X}{seed:04X}ABCD"
        split = ("TRAIN", "TRAIN", "VAL", "TEST")[number % 4]
        fraction = FRACTIONS[number % 5]
        large, small = (2, 7) if number % 2 else (8, 3)
        radii = {large: 25.0, small: 25.0 * (1 - fraction / 100)}
        _write_echo(top / "Videos" / f"{record}.avi", [seed, number], radii)
        if number != 2:
            for at in sorted(radii):
                tracings += _lines(record, at, radii[at])
        files.append(_row(record, fraction, split if number != 1 else split.lower()))
        truth["records"][record] = {
            "labels": [CLASSES[BANDS[number % 5]]],
            "native": [CLASSES[BANDS[number % 5]]],
            "patient_id": record,
            "split": {"TRAIN": "train", "VAL": "validation", "TEST": "test"}[split],
        }
        if number != 2:
            truth["records"][record]["pixel_sha1"] = _pixels(top, record, large)
    if with_faults:
        _add_faults(top, truth, files, tracings)
    write_table(top / "FileList.csv", COLUMNS, files)
    write_table(top / "VolumeTracings.csv", ("FileName", "X1", "Y1", "X2", "Y2", "Frame"), tracings)
    return truth


def _add_faults(top: Path, truth: dict[str, Any], files: list[Any], tracings: list[Any]) -> None:
    cut, empty, loose, beyond, gone = (f"0XF{i}" for i in range(5))
    for name in (cut, loose, beyond):
        _write_echo(top / "Videos" / f"{name}.avi", [9], {2: 20.0, 7: 10.0})
    data = (top / "Videos" / f"{cut}.avi").read_bytes()
    (top / "Videos" / f"{cut}.avi").write_bytes(data[:300])
    (top / "Videos" / f"{empty}.avi").write_bytes(b"")
    files += [_row(name, 55.0, "TRAIN") for name in (cut, empty, beyond, gone)]
    tracings += _lines(beyond, 2, 20.0) + _lines(beyond, N_FRAMES + 30, 10.0)
    truth["faults"] |= {
        cut: {"kind": "damaged"},
        empty: {"kind": "damaged"},
        loose: {"kind": "left out"},
        beyond: {"kind": "damaged"},
        gone: {"kind": "missing"},
    }


def _row(record: str, fraction: float, split: str) -> tuple[Any, ...]:
    volume = 120.0
    systole = volume * (1 - fraction / 100)
    return (record, fraction, systole, volume, SIZE, SIZE, 50, N_FRAMES, split)


def _write_echo(path: Path, seed: list[int], radii: dict[int, float]) -> None:
    """A dark ventricle whose size goes between those of the traced frames."""
    rng = np.random.default_rng(seed)
    at = sorted(radii)
    y, x = np.mgrid[:SIZE, :SIZE]
    shown = []
    for number in range(N_FRAMES):
        radius = np.interp(number, at, [radii[one] for one in at])
        inside = np.hypot(x - 56, (y - 50) / 1.5) < radius
        grey = np.where(inside, 20, 120) + rng.integers(0, 8, (SIZE, SIZE))
        shown.append(np.repeat(grey[..., None], 3, axis=2).astype(np.uint8))
    write_video(path, seed, size=(SIZE, SIZE), fps=50, codec="mjpeg", frames=shown)


def _lines(record: str, at: int, radius: float) -> list[tuple[Any, ...]]:
    """The long axis, then lines across it, as ends (X1, Y1) and (X2, Y2)."""
    rows = [(f"{record}.avi", 56, 50 - 1.5 * radius, 56, 50 + 1.5 * radius, at)]
    for height in np.linspace(-0.95, 0.95, N_LINES):
        half = radius * np.sqrt(1 - height**2)
        y = 50 + 1.5 * radius * height
        rows.append((f"{record}.avi", 56 - half, y, 56 + half, y, at))
    return rows


def _pixels(top: Path, record: str, wanted: int) -> str:
    """SHA-1 of a frame's pixels, all frames decoded one after the other."""
    with av.open(str(top / "Videos" / f"{record}.avi")) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number == wanted:
                return hashlib.sha1(np.asarray(frame.to_image()).tobytes()).hexdigest()
    raise ValueError(record)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
