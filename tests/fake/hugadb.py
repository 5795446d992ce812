"""A made tree of HuGaDB v2: one flat folder of text files."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

FOLDER = "HuGaDB_v2"
ROWS = 600
WINDOW, HOP = 256, 128
CLASSES = {5: "sitting", 8: "standing", 6: "sitting down", 7: "standing up"}
TAGS = {5: "sitting", 8: "standing", 6: "sitting_and_standing", 7: "various", 1: "walking"}
PARTS = ("RF", "RS", "RT", "LF", "LS", "LT")
COLUMNS = (
    *(f"{part}_{kind}_{axis}" for part in PARTS for kind in ("acc", "gyro") for axis in "xyz"),
    *("R_EMG", "L_EMG", "Act"),
)
# Codes per unit: +-2 g and +-2000 deg/s on 16 bits, EMG as it is.
GAIN = np.array([*([32768 / 2] * 3 + [32768 / 2000] * 3) * 6, 1, 1])
NAMES = {5: "sitting", 8: "standing", 6: "sitting down", 7: "standing up", 1: "walking"}


class Recording(NamedTuple):
    """One file; the activity changes from `first` to `then` at row `change`."""

    person: int
    counter: int
    first: int
    then: int
    change: int = 300
    special: str = ""
    version: int = 2

    @property
    def stem(self) -> str:
        tag = TAGS.get(self.first, "various")
        return f"HuGaDB_v{self.version}_{tag}_{self.person:02d}_{self.counter:02d}"


SPECIAL = (
    Recording(1, 0, 5, 7, special="tag_of_one_word"),
    Recording(1, 1, 6, 8, special="tag_with_underscores"),
    Recording(2, 0, 8, 1, special="ends_walking"),
    Recording(2, 1, 7, 5, special="no_final_newline"),
    Recording(3, 0, 5, 6, special="comma_separated"),
    Recording(3, 1, 8, 7, special="no_notes"),
    Recording(4, 0, 5, 5, special="first_version", version=1),
)


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Args:
        root: folder to write into; made if absent.
        n: number of good windows, two a recording; the special cases are always there.
        seed: of the signals.
        with_faults: also write a file for each thing that can be wrong with one.
    """
    folder = root / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    truth: dict[str, Any] = {
        "classes": list(CLASSES.values()),
        "layouts": ["one folder of text files"],
        "unknown_codes": [],
        "records": {},
        "faults": {},
        "specials": {one.special: one.stem for one in SPECIAL},
    }
    order = (5, 8, 6, 7)
    usual = [
        Recording(5 + number // 2, number % 2, order[number % 4], order[(number + 1) % 4])
        for number in range(n // 2 - len(SPECIAL))
    ]
    for recording in (*SPECIAL, *usual):
        table = _table(recording, seed)
        _write(folder, recording, table)
        _add(truth, recording, table)
    (folder / "readme.txt").write_text("A stray file.\n")
    if with_faults:
        _write_faults(folder, seed, truth)
    return truth


def _table(recording: Recording, seed: int) -> np.ndarray:
    """Rows of 36 inertial values, two of EMG and the activity."""
    rng = np.random.default_rng([seed, *map(ord, recording.stem)])
    activity = np.where(np.arange(ROWS) < recording.change, recording.first, recording.then)
    steps = np.sin(2 * np.pi * activity[:, None] * np.arange(ROWS)[:, None] / 250)
    inertial = steps * rng.uniform(500, 3000, 36) + rng.normal(0, 200, (ROWS, 36))
    emg = rng.integers(100, 156, (ROWS, 2))
    return np.column_stack([np.rint(inertial).astype(int), emg, activity])


def _add(truth: dict[str, Any], recording: Recording, table: np.ndarray) -> None:
    """Adds the windows with one of the four activities in 80 % of their rows or more."""
    for window in range((ROWS - WINDOW) // HOP + 1):
        rows = table[window * HOP : window * HOP + WINDOW]
        kinds, counts = np.unique(rows[:, -1], return_counts=True)
        kind, share = int(kinds[counts.argmax()]), counts.max() / WINDOW
        if share >= 0.8 and (kind in CLASSES or kind > 12):
            values = (rows[:, :-1] / GAIN).T.astype("<f4")
            truth["records"][f"{recording.stem}/{window}"] = {
                "labels": [CLASSES[kind]] if kind in CLASSES else [],
                "native": [str(kind)],
                "patient_id": f"{recording.person:02d}",
                "signal_sha1": hashlib.sha1(np.ascontiguousarray(values).tobytes()).hexdigest(),
            }


def _text(recording: Recording, table: np.ndarray) -> str:
    kinds = list(dict.fromkeys(int(kind) for kind in table[:, -1]))
    separator = "," if recording.special == "comma_separated" else "\t"
    rows = [separator.join(map(str, row)) for row in table.tolist()]
    notes = [
        "#Activity\t" + "".join(f"{NAMES.get(kind, kind)} " for kind in kinds),
        "#ActivityID\t" + "".join(f"{kind} " for kind in kinds),
        "#Date 2017-02-09 10-24-31",
        separator.join(COLUMNS),
    ]
    if recording.special == "comma_separated":  # as copies on Kaggle are, with blanks in the names
        notes = [separator.join(f" {name} " for name in COLUMNS)]
    elif recording.special == "no_notes":
        notes = []
    text = "\n".join([*notes, *rows]) + "\n"
    return text.rstrip("\n") if recording.special == "no_final_newline" else text


def _write(folder: Path, recording: Recording, table: np.ndarray) -> Path:
    suffix = "csv" if recording.special == "comma_separated" else "txt"
    path = folder / f"{recording.stem}.{suffix}"
    path.write_text(_text(recording, table))
    return path


def _write_faults(folder: Path, seed: int, truth: dict[str, Any]) -> None:
    for number, name in enumerate(_FAULTS):
        recording = Recording(90, number, 5, 5)
        table = _table(recording, seed)
        if name == "unknown_activity":
            table[:, -1] = 13
            truth["unknown_codes"] = ["13"]
            _add(truth, recording, table)
        path = _write(folder, recording, table)
        lines = path.read_text().splitlines(keepends=True)
        if name == "short_row":
            lines[300] = "1\t2\t3\n"
        elif name == "word_in_a_row":
            lines[300] = lines[300].replace("\t", "\tword", 1)
        elif name == "short_rows_everywhere":
            lines[3:] = [line.rpartition("\t")[0] + "\n" for line in lines[3:]]
        elif name == "no_rows":
            lines = lines[:4]
        elif name == "zero_bytes":
            lines = []
        path.write_text("".join(lines))
        if name != "unknown_activity":
            truth["faults"][recording.stem] = {"kind": "damaged", "what": name}


_FAULTS = (
    *("short_row", "word_in_a_row", "short_rows_everywhere", "no_rows", "zero_bytes"),
    "unknown_activity",
)

if __name__ == "__main__":
    make(Path(sys.argv[1]))
