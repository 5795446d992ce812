"""A made tree of the TUH EEG Events Corpus, v2.0.1."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parent))

import eeg_waves as eeg

BASE = "tuh_eeg_events/v2.0.1/edf"
CLASSES = ("SPSW", "GPED", "PLED", "EYEM", "ARTF", "BCKG")  # codes 1 to 6
RATE_HZ = 250
SECONDS = 24
RHYTHM_HZ = (7.0, 1.5, 2.5, 1.0, 25.0, 10.0)  # of a recording, by the class of its first event
Row = tuple[int, float, float, int]  # channel, start, stop, code


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Args:
        root: folder to write into; made if absent.
        n: number of good windows, about; the special cases are always there.
        seed: of the waves.
        with_faults: also write a recording for each thing that can be wrong with one.
    """
    truth = eeg.new_truth(CLASSES, ["edf/<train|eval>/<subject or visit>/"])
    # Three channels agree on one second, a fourth says something else of it.
    same = [(1, 10.0, 11.0, 1), (2, 10.0, 11.0, 1), (5, 10.0, 11.0, 1), (9, 10.0, 11.0, 6)]
    # The window of the first begins before the recording, that of the last ends after it.
    edges = [(0, 0.5, 1.5, 2), (3, 12.3, 13.3, 3), (4, 22.5, 23.5, 4)]
    _write(root, "train", "aaaaaaar", "aaaaaaar_00000001", same, seed, truth)
    _write(root, "train", "aaaaaaar", "aaaaaaar_00000002", edges, seed, truth)
    _write(root, "train", "aaaaaaas", "aaaaaaas_00000001", [(13, 8.0, 9.0, 5)], seed, truth)
    _write(root, "eval", "000", "bckg_000_a_", [(6, 9.5, 10.5, 6), (7, 9.5, 10.5, 6)], seed, truth)
    _write(root, "eval", "001", "spsw_001_a_1", [(2, 4.1, 5.1, 1), (2, 5.1, 6.1, 6)], seed, truth)
    for number in range(max(n - 9, 0) // 4):
        codes = [(number + step) % 6 + 1 for step in range(4)]
        rows = [(step, 3.0 + 5 * step, 4.0 + 5 * step, code) for step, code in enumerate(codes)]
        subject = f"aaaaab{chr(97 + number // 26)}{chr(97 + number % 26)}"
        _write(root, "train", subject, f"{subject}_00000001", rows, seed, truth)
    truth["specials"] = {
        "three_channels": "aaaaaaar_00000001/0",
        "edges": "aaaaaaar_00000002",
        "one_line": "aaaaaaas_00000001/0",
    }
    if with_faults:
        _write_faults(root, seed, truth)
    return truth


def _write(
    root: Path,
    part: str,
    folder: str,
    stem: str,
    rows: Sequence[Row],
    seed: int,
    truth: dict[str, Any],
) -> None:
    rng = np.random.default_rng([seed, *map(ord, stem)])
    codes = eeg.waves(rng, SECONDS * RATE_HZ, RATE_HZ, RHYTHM_HZ[rows[0][3] - 1])
    path = root / BASE / part / folder / f"{stem}.edf"
    eeg.write_edf(path, codes, RATE_HZ)
    _write_rec(path, rows)
    first: dict[tuple[float, int], int] = {}
    for number, (_, start_s, _, code) in enumerate(rows):
        first.setdefault((start_s, code), number)
    for (start_s, code), number in first.items():
        begin = round((start_s - 2) * RATE_HZ)
        recorded = eeg.derived(codes, max(begin, 0), min(begin + 5 * RATE_HZ, SECONDS * RATE_HZ))
        truth["records"][f"{stem}/{number}"] = {
            "labels": [CLASSES[code - 1]],
            "native": [str(code)],
            "patient_id": folder if part == "train" else f"eval_{folder}",
            "split": "test" if part == "eval" else None,
            "signal_sha1": eeg.sha1(recorded),
        }


def _write_rec(path: Path, rows: Sequence[Row]) -> None:
    text = "".join(f"{channel},{start:g},{stop:g},{code}\n" for channel, start, stop, code in rows)
    path.with_suffix(".rec").write_text(text)
    # What the release holds besides, and nobody needs.
    path.with_name(f"{path.stem}_ch000.lab").write_text("0 100000 bckg\n")


def _write_faults(root: Path, seed: int, truth: dict[str, Any]) -> None:
    rng = np.random.default_rng([seed, 99])
    codes = eeg.waves(rng, 6 * RATE_HZ, RATE_HZ)
    inside: Row = (1, 2.0, 3.0, 6)
    for number, name in enumerate(_FAULTS):
        stem = f"aaaaaxa{'abcdefgh'[number]}_00000001"
        path = root / BASE / "train" / stem.split("_")[0] / f"{stem}.edf"
        held = {k: v for k, v in codes.items() if (name, k) != ("electrode_absent", "EEG T6-REF")}
        eeg.write_edf(path, held, RATE_HZ)
        record, fault = stem, {"kind": "damaged", "what": name}
        if name == "no_rec":
            pass
        elif name == "empty_rec":
            path.with_suffix(".rec").write_text("")
        elif name == "word_in_rec":
            path.with_suffix(".rec").write_text("1,2.0,3.0,6\n1,three,4.0,6\n")
        elif name == "short_row_in_rec":
            path.with_suffix(".rec").write_text("1,2.0,3.0,6\n1,3.0\n")
        elif name == "event_past_the_end":
            _write_rec(path, [inside, (1, 5.5, 6.5, 6)])
            record = f"{stem}/1"
            truth["records"][f"{stem}/0"] = _facts(stem, "6", ["BCKG"])
        elif name == "unknown_label":
            _write_rec(path, [(1, 2.0, 3.0, 7)])
            truth["records"][f"{stem}/0"] = _facts(stem, "7", [])
            truth["unknown_codes"] = ["7"]
            continue
        else:
            _write_rec(path, [inside])
        truth["faults"][record] = fault


def _facts(stem: str, code: str, labels: list[str]) -> dict[str, Any]:
    return {"labels": labels, "native": [code], "patient_id": stem.split("_")[0], "split": None}


_FAULTS = (
    *("no_rec", "empty_rec", "word_in_rec", "short_row_in_rec", "event_past_the_end"),
    *("unknown_label", "electrode_absent"),
)

if __name__ == "__main__":
    make(Path(sys.argv[1]))
