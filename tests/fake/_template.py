"""A made raw tree of a source. Copy to <name>.py beside it; write as the release does.

The files are written by other people's libraries (here wfdb), never through `climb_hf`: a reader
and its test data must not share their mistakes. What is returned is what the battery holds the
reader against (`climb_hf.testing.Subject` tells every key).
"""

from __future__ import annotations

import csv
import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import wfdb

RATE_HZ = 250
GAIN = 200  # codes per mV
RHYTHMS = ("SR", "SR", "AF", "SR", "SVT", "SR")
CLASS_OF = {"SR": "normal", "AF": "afib", "SVT": "other"}


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Args:
        root: folder to write into; made if absent.
        n: number of good records.
        seed: of the waveforms.
        with_faults: also list a record without files, and one whose signal is cut short.
    """
    folder = root / "my-source"
    folder.mkdir(parents=True, exist_ok=True)
    truth: dict[str, Any] = {
        "classes": ["normal", "afib", "other"],
        "layouts": ["the release"],
        "unknown_codes": [],
        "records": {},
        "faults": {},
    }
    rows = []
    for number in range(n):
        record, rhythm = f"rec{number:04d}", RHYTHMS[number % len(RHYTHMS)]
        patient, age = f"p{number // 2:03d}", 40 + number
        values = _write_signal(folder, record, np.random.default_rng([seed, number]))
        rows.append([record, patient, age, "female" if number % 2 else "male", rhythm])
        truth["records"][record] = {
            "labels": [CLASS_OF[rhythm]],
            "native": [rhythm],
            "patient_id": patient,
            "age": float(age),
            "sex": rows[-1][3],
            "signal_sha1": hashlib.sha1(values.tobytes()).hexdigest(),
        }
    if with_faults:
        rows += [["rec9001", "p901", 50, "male", "SR"], ["rec9002", "p902", 50, "male", "SR"]]
        truth["faults"] = {"rec9001": {"kind": "missing"}, "rec9002": {"kind": "damaged"}}
        _write_signal(folder, "rec9002", np.random.default_rng(seed))
        cut = (folder / "rec9002.dat").read_bytes()[:1000]
        (folder / "rec9002.dat").write_bytes(cut)
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["record", "patient", "age", "sex", "rhythm"], *rows])
    return truth


def _write_signal(folder: Path, record: str, rng: np.random.Generator) -> np.ndarray:
    """Writes ten seconds of two leads; returns their values, float32, shape (leads, time), mV."""
    time = np.arange(10 * RATE_HZ) / RATE_HZ
    beats = np.sin(2 * np.pi * 1.2 * time)[:, None] ** 15 * [0.8, 1.1]
    codes = np.rint((beats + rng.normal(0, 0.02, (len(time), 2))) * GAIN).astype(np.int16)
    wfdb.wrsamp(
        record,
        fs=RATE_HZ,
        units=["mV", "mV"],
        sig_name=["I", "II"],
        d_signal=codes,
        fmt=["16", "16"],
        adc_gain=[GAIN, GAIN],
        baseline=[0, 0],
        write_dir=str(folder),
    )
    return np.ascontiguousarray((codes.T / GAIN).astype("<f4"))


if __name__ == "__main__":
    make(Path(sys.argv[1]))
