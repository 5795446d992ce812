"""A made tree of the IIIC data: the release's arrays, and segments with tables of votes."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.io import savemat

sys.path.append(str(Path(__file__).parent))

import eeg_waves as eeg

CLASSES = ("sz", "lpd", "gpd", "lrda", "grda", "other")
CLASS_OF = dict(enumerate(("other", *CLASSES[:-1])))  # code 0 is other
ROWS = (
    *("Fp1", "F3", "C3", "P3", "F7", "T3", "T5", "O1", "Fz", "Cz"),
    *("Pz", "Fp2", "F4", "C4", "P4", "F8", "T4", "T6", "O2", "EKG"),
)
RATE_HZ = 200
ARRAYS, SEGMENTS = "sparcnet_data", "cut/segments"
FORMS = ("mat", "mat", "transposed", "npy", "40 s", "hdf5", "data", "nan electrode", "no ekg")


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Args:
        root: folder to write into; made if absent.
        n: number of good records, half in the arrays and half as segments.
        seed: of the waves.
        with_faults: also a record for each thing that can be wrong with one.
    """
    layouts = ["arrays of the release", "segments with a table of votes"]
    truth = eeg.new_truth(CLASSES, layouts)
    _write_arrays(root / ARRAYS, max(n // 2, 6), seed, truth, with_faults)
    _write_segments(root / "cut", max(n - n // 2, len(FORMS)), seed, truth, with_faults)
    return truth


def _votes(code: int, number: int) -> list[int]:
    """Counts for codes 0 to 5 with most for `code`."""
    votes = [0] * 6
    votes[code] = 3 + number % 4
    votes[(code + 1) % 6] = 1 + number % 2
    return votes


def _facts(votes: list[int], patient: str, **more: Any) -> dict[str, Any]:
    code = int(np.argmax(votes))
    weights = {CLASS_OF[c]: float(count) for c, count in enumerate(votes) if count}
    known = {"labels": [CLASS_OF[code]], "native": [str(code)], "patient_id": patient}
    return {**known, "weights": weights, **more}


# ---- the release's arrays -----------------------------------------------------------------------


def _write_arrays(
    folder: Path, n: int, seed: int, truth: dict[str, Any], with_faults: bool
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    keys = [f"abn1010{number % 4}_2014{number:04d}" for number in range(n)]
    votes = [_votes(number % 6, number) for number in range(n)]
    signals = [_array_signal(rng, number) for number in range(n)]
    signals[1][3, 500:520] = np.nan
    for key, counts, values in zip(keys, votes, signals, strict=True):
        facts = _facts(counts, key.split("_")[0], signal_sha1=eeg.sha1(values))
        truth["records"][key] = facts
    if with_faults:
        keys += [keys[0], "abn10109_tied", "abn10109_unrated"]
        votes += [votes[0], [0, 2, 2, 0, 0, 0], [0] * 6]
        signals += [signals[0]] * 3
        truth["faults"][keys[0]] = {"kind": "copy"}
        truth["faults"]["abn10109_tied"] = {"kind": "left out"}
        truth["faults"]["abn10109_unrated"] = {"kind": "damaged"}
    np.save(folder / "all_train_X.npy", np.array(signals, "<f4"))
    np.save(folder / "all_train_Y.npy", np.array(votes, float))
    np.save(folder / "all_train_key.npy", np.array(keys))
    # A part of the former, which nobody may read twice.
    for name, rows in (("X", signals), ("Y", votes), ("key", keys)):
        kind = {"X": "<f4", "Y": float, "key": None}[name]
        np.save(folder / f"10_train_{name}.npy", np.array(rows[:2], kind))


def _array_signal(rng: np.random.Generator, number: int) -> np.ndarray:
    time = np.arange(10 * RATE_HZ) / RATE_HZ
    rhythm = 40 * np.sin(2 * np.pi * (1 + number % 6) * time)
    return (rhythm + rng.normal(0, 10, (16, len(time)))).astype("<f4")


# ---- the Kaggle competition ---------------------------------------------------------------------

HMS_COLUMNS = (
    *("eeg_id", "eeg_sub_id", "eeg_label_offset_seconds", "spectrogram_id", "spectrogram_sub_id"),
    *("spectrogram_label_offset_seconds", "label_id", "patient_id", "expert_consensus"),
    *("seizure_vote", "lpd_vote", "gpd_vote", "lrda_vote", "grda_vote", "other_vote"),
)


def make_hms(root: Path, n: int = 8, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes n recordings of 60 s as the Kaggle competition holds them, two windows in each.

    With faults: also a recording that is not there, a window past the end of its recording, a
    recording without one electrode, and one whose file is cut short.
    """
    truth = eeg.new_truth(CLASSES, ["hms"])
    rows = []
    (root / "train_eegs").mkdir(parents=True, exist_ok=True)
    (root / "train_spectrograms").mkdir(exist_ok=True)
    for number in range(n):
        recording, person = 1000 + 7 * number, 40 + number // 2
        values = _segment(seed, 50 + number, 60)
        values[2, 8000:8010] = np.nan  # 40 s on, where the second window has C3
        _write_hms(root / "train_eegs" / f"{recording}.parquet", values)
        for window, offset in enumerate((0, 10)):
            votes = _votes((number + window) % 6, number)
            rows.append(_hms_row(recording, window, offset, person, votes))
            first = (offset + 20) * RATE_HZ
            part = _derived(values[:, first : first + 10 * RATE_HZ])
            facts = _facts(votes, str(person), signal_sha1=eeg.sha1(part))
            truth["records"][f"{recording}/{window}"] = facts
    if with_faults:
        _add_hms_faults(root, truth, rows, _segment(seed, 99, 50))
    with (root / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([HMS_COLUMNS, *rows])
    return truth


def _hms_row(recording: int, window: int, offset: int, person: int, votes: list[int]) -> list[Any]:
    where = [recording, window, float(offset), 9000 + recording, window, float(offset), recording]
    return [*where, person, "Other", *votes[1:], votes[0]]


def _write_hms(path: Path, values: np.ndarray) -> None:
    columns = {name: row.astype("<f4") for name, row in zip(ROWS, values, strict=False)}
    pq.write_table(pa.table(columns), path)


def _add_hms_faults(root: Path, truth: dict[str, Any], rows: list[Any], values: np.ndarray) -> None:
    cases = {9001: "missing", 9002: "damaged", 9003: "damaged", 9004: "damaged"}
    for recording, kind in cases.items():
        offset = 40 if recording == 9002 else 0
        rows.append(_hms_row(recording, 0, offset, 40, _votes(1, 0)))
        truth["faults"][f"{recording}/0"] = {"kind": kind}
        path = root / "train_eegs" / f"{recording}.parquet"
        if kind != "missing":
            _write_hms(path, values[:12] if recording == 9003 else values)
        if recording == 9004:
            path.write_bytes(path.read_bytes()[:5000])


# ---- segments -----------------------------------------------------------------------------------


def _write_segments(
    folder: Path, n: int, seed: int, truth: dict[str, Any], with_faults: bool
) -> None:
    rated, counted = {}, {}
    for number in range(n):
        form = FORMS[number] if number < len(FORMS) else "mat"
        key = f"sparcnet_subject{number % 4:04d}_{number}"
        votes = _votes((number * 5) % 6, number)
        values = _segment(seed, number, 40 if form == "40 s" else 50)
        if form == "nan electrode":
            values[ROWS.index("C3"), 4500:4600] = np.nan
        elif form == "no ekg":
            values[-1] = np.nan
        _write_segment(folder / "segments" / f"{number % 3}", key, values, form)
        person = {"sex": "female", "age": 61.0} if number % 4 == 1 else {"sex": None, "age": None}
        middle = _derived(values)
        facts = _facts(votes, f"subject{number % 4:04d}", signal_sha1=eeg.sha1(middle), **person)
        truth["records"][key] = facts
        truth["specials"].setdefault(form, key)
        (counted if form == "npy" else rated)[key] = votes
    if with_faults:
        _add_faults(folder, seed, truth, rated)
    _write_labels(folder, rated, counted)
    with (folder / "demographics.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["patient", "sex", "age"], ["subject0001", "F", "61"]])


def _segment(seed: int, number: int, seconds: int) -> np.ndarray:
    """Twenty rows of whole microvolts that change every fourth sample, so that they pack well."""
    rng = np.random.default_rng([seed, 7, number])
    steps = rng.integers(-12, 13, (len(ROWS), seconds * RATE_HZ // 4)) * 4
    return np.repeat(steps, 4, axis=1).astype(float)


def _derived(values: np.ndarray) -> np.ndarray:
    """The 16 derivations of the middle ten seconds."""
    at = {name.upper(): row for row, name in enumerate(ROWS)}
    first = (values.shape[1] - 10 * RATE_HZ) // 2
    part = values[:, first : first + 10 * RATE_HZ]
    pairs = (pair.split("-") for pair in eeg.DERIVATIONS)
    return np.array([part[at[one]] - part[at[other]] for one, other in pairs], "<f4")


def _write_segment(folder: Path, key: str, values: np.ndarray, form: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{key}.mat"
    if form == "npy":
        np.save(path.with_suffix(".npy"), values.astype("<i2"))
    elif form == "hdf5":
        _write_hdf5(path, values)
    elif form == "transposed":
        savemat(path, {"seg": values.T}, do_compression=True)
    else:
        name = "data" if form == "data" else "seg"
        savemat(path, {name: values, "Fs": 200.0}, do_compression=True)


def _write_hdf5(path: Path, values: np.ndarray) -> None:
    """Writes MATLAB 7.3: HDF5 behind 512 bytes of text, axes in MATLAB's order."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file.create_dataset("seg", data=values.T, compression="gzip")
    text = b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM"
    with path.open("r+b") as file:
        file.write(text.ljust(512, b"\0"))


def _write_labels(folder: Path, rated: dict[str, list[int]], counted: dict[str, list[int]]) -> None:
    """Writes labels.mat with a column for each of 20 raters, labels.csv with counts."""
    keys = np.empty((len(rated), 1), dtype=object)
    table = np.full((len(rated), 20), np.nan)
    for row, (key, votes) in enumerate(rated.items()):
        keys[row, 0] = key
        given = [code for code, count in enumerate(votes) for _ in range(count)]
        table[row, 2 : 2 + len(given)] = given
    savemat(folder / "labels.mat", {"keys": keys, "Y": table}, do_compression=True)
    with (folder / "labels.csv").open("w", newline="") as file:
        # Columns in an order of their own: they go by their names.
        names = ["key", "patient", "sz", "lpd", "gpd", "lrda", "grda", "other"]
        rows = [[key, key.split("_")[1], *votes[1:], votes[0]] for key, votes in counted.items()]
        csv.writer(file).writerows([names, *rows])


def _add_faults(
    folder: Path, seed: int, truth: dict[str, Any], rated: dict[str, list[int]]
) -> None:
    segments = folder / "segments" / "9"
    small = _segment(seed, 900, 12)
    cases = {
        "no_segment": ("missing", _votes(1, 0)),
        "no_votes": ("damaged", None),
        "unrated": ("damaged", [0] * 6),
        "tied": ("left out", [0, 2, 0, 2, 0, 0]),
        "nineteen_rows": ("damaged", _votes(1, 0)),
        "no_matlab_file": ("damaged", _votes(1, 0)),
        "other_variable": ("damaged", _votes(1, 0)),
        "text": ("damaged", _votes(1, 0)),
    }
    for number, (name, (kind, votes)) in enumerate(cases.items()):
        key = f"sparcnet_subject09{number:02d}_{number}"
        truth["faults"][key] = {"kind": kind, "what": name}
        if votes is not None:
            rated[key] = votes
        if name != "no_segment":
            held = small[:19] if name == "nineteen_rows" else small
            _write_segment(segments, key, held, "data" if name == "text" else "mat")
        path = segments / f"{key}.mat"
        if name == "no_matlab_file":
            path.write_bytes(b"not a MATLAB file" * 20)
        elif name == "other_variable":
            savemat(path, {"other": small})
        elif name == "text":
            savemat(path, {"seg": np.array(["text"])})


if __name__ == "__main__":
    make(Path(sys.argv[1]))
