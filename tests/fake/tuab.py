"""A made tree of the TUH Abnormal EEG Corpus, v3.0.1."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

sys.path.append(str(Path(__file__).parent))

import eeg_waves as eeg

BASE = "tuh_eeg_abnormal/v3.0.1/edf"
SECONDS = 25  # two windows of 10 s and a remainder
USUAL_HZ = 250.0
RHYTHM_HZ = {"normal": 10.0, "abnormal": 4.0}


class Recording(NamedTuple):
    """One EDF file.

    Attributes:
        part: `train` or `eval`.
        subject: eight letters.
    """

    part: str
    label: str
    subject: str
    visit: int = 1
    rate_hz: float = USUAL_HZ
    special: str = ""

    @property
    def stem(self) -> str:
        return f"{self.subject}_s{self.visit:03d}_t000"

    def path(self, root: Path) -> Path:
        return root / BASE / self.part / self.label / "01_tcp_ar" / f"{self.stem}.edf"


SPECIAL = (
    Recording("train", "normal", "aaaaaaaa", rate_hz=200.0, special="stored_at_200_hz"),
    Recording("train", "abnormal", "aaaaaaab", rate_hz=512.0, special="at_512_hz"),
    Recording("train", "normal", "aaaaaaac", special="subject_under_both_labels"),
    Recording("train", "abnormal", "aaaaaaac", visit=2, special="subject_under_both_labels"),
    Recording("train", "normal", "aaaaaaad", special="extra_at_500_hz"),
    Recording("train", "abnormal", "aaaaaaae", special="newer_names"),
    Recording("eval", "normal", "aaaaaaba", rate_hz=200.0, special="not_ascii"),
    Recording("eval", "abnormal", "aaaaaabb", special="in_millivolts"),
)


def make(root: Path, n: int = 24, seed: int = 0, with_faults: bool = False) -> dict[str, Any]:
    """Writes the tree and returns what a reader must find in it.

    Args:
        root: folder to write into; made if absent.
        n: number of good windows, two a recording; the special cases are always there.
        seed: of the waves.
        with_faults: also write a recording for each thing that can be wrong with one.
    """
    truth = eeg.new_truth(["normal", "abnormal"], ["edf/<train|eval>/<normal|abnormal>/"])
    usual = [
        Recording("train", "abnormal" if number % 2 else "normal", f"aaaaac{_letters(number)}")
        for number in range(n // 2 - len(SPECIAL))
    ]
    for recording in (*SPECIAL, *usual):
        _write(root, recording, seed, truth)
    (root / BASE.split("/")[0] / "AAREADME.txt").write_text("A made tree.\n")
    if with_faults:
        _write_faults(root, seed, truth)
    return truth


def _letters(number: int) -> str:
    return "".join(chr(ord("a") + digit) for digit in divmod(number, 26))


def _codes(recording: Recording, seed: int, seconds: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng([seed, *map(ord, recording.stem)])
    n_samples = round(seconds * recording.rate_hz)
    return eeg.waves(rng, n_samples, recording.rate_hz, RHYTHM_HZ[recording.label])


def _write(root: Path, recording: Recording, seed: int, truth: dict[str, Any]) -> None:
    codes = _codes(recording, seed, SECONDS)
    written, options = dict(codes), {}
    if recording.special == "extra_at_500_hz":
        written["PHOTIC-REF"] = np.repeat(codes["PHOTIC-REF"], 2)
        options["rates"] = {"PHOTIC-REF": 500.0}
    elif recording.special == "newer_names":
        newer = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
        for old, new in newer.items():
            written[eeg.label_of(new)] = written.pop(eeg.label_of(old))
    elif recording.special == "not_ascii":
        options["patient"] = "X X X Ren\xe9e\xb5"
    elif recording.special == "in_millivolts":
        options["units"] = dict.fromkeys(codes, "mV")
    eeg.write_edf(recording.path(root), written, recording.rate_hz, **options)
    if recording.special:
        truth["specials"].setdefault(recording.special, []).append(recording.stem)
    for window in range(2):
        facts = {
            "labels": [recording.label],
            "native": [recording.label],
            "patient_id": recording.subject,
            "split": "test" if recording.part == "eval" else None,
        }
        if recording.rate_hz == 200.0:  # not resampled, so that every value is known exactly
            values = eeg.derived(codes, window * 2000, (window + 1) * 2000)
            facts["signal_sha1"] = eeg.sha1(values)
        truth["records"][f"{recording.stem}/{window}"] = facts


def _write_faults(root: Path, seed: int, truth: dict[str, Any]) -> None:
    """Writes recordings of three seconds, each wrong in one way."""
    for number, name in enumerate(_FAULTS):
        recording = Recording("train", "normal", f"aaaaax{_letters(number)}")
        path = recording.path(root)
        if name == "no_class_folder":
            path = root / BASE / "train" / "01_tcp_ar" / path.name
        codes, options = _spoilt(name, _codes(recording, seed, 3))
        eeg.write_edf(path, codes, USUAL_HZ, **options)
        _spoil_bytes(name, path)
        # What only the samples tell is found window by window.
        record = f"{recording.stem}/0" if name == "no_voltage" else recording.stem
        truth["faults"][record] = {"kind": "damaged", "what": name}


def _spoilt(name: str, codes: Any) -> tuple[Any, dict[str, Any]]:
    """Signals that are wrong in one way, and what of the header is."""
    if name == "electrode_absent":
        del codes["EEG T6-REF"]
    elif name == "electrode_twice":
        return [*codes.items(), ("EEG T8-REF", codes["EEG T4-REF"])], {}
    elif name == "two_references":
        codes["EEG O2-LE"] = codes.pop("EEG O2-REF")
    elif name == "mixed_rates":
        codes["EEG F7-REF"] = np.repeat(codes["EEG F7-REF"], 2)
    headers = {
        "mixed_rates": {"rates": {"EEG F7-REF": 500.0}},
        "no_voltage": {"units": {"EEG F7-REF": "mmHg"}},
        "discontinuous": {"starts_s": (0, 1, 7)},
        "no_records": {"n_records": 0},
    }
    return codes, headers.get(name, {})


def _spoil_bytes(name: str, path: Path) -> None:
    if name == "last_record_cut_off":
        path.write_bytes(path.read_bytes()[:-100])
    elif name == "zero_bytes":
        path.write_bytes(b"")
    elif name == "lfs_pointer":
        path.write_bytes(eeg.LFS_POINTER)


_FAULTS = (
    *("no_class_folder", "electrode_absent", "electrode_twice", "two_references", "mixed_rates"),
    *("no_voltage", "discontinuous", "no_records", "last_record_cut_off", "zero_bytes"),
    "lfs_pointer",
)

if __name__ == "__main__":
    make(Path(sys.argv[1]))
