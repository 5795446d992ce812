"""What the made EEG trees share: waves, hand-packed EDF files, and what a reader must find."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

GAIN = 8  # codes per microvolt; a power of two, so that float32 holds every value exactly
LIMITS = ("-4096", "4095.875", "-32768", "32767")  # physical and digital, for that gain
# As the TUH corpora order them.
ELECTRODES = (
    *("FP1", "FP2", "F3", "F4", "C3", "C4", "P3", "P4", "O1", "O2"),
    *("F7", "F8", "T3", "T4", "T5", "T6", "A1", "A2", "FZ", "CZ", "PZ"),
)
EXTRAS = ("EEG EKG1-REF", "PHOTIC-REF")
# The 16 derivations of the card, written out.
DERIVATIONS = (
    *("FP1-F7", "F7-T3", "T3-T5", "T5-O1", "FP2-F8", "F8-T4", "T4-T6", "T6-O2"),
    *("FP1-F3", "F3-C3", "C3-P3", "P3-O1", "FP2-F4", "F4-C4", "C4-P4", "P4-O2"),
)
LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def new_truth(classes: Sequence[str], layouts: Sequence[str]) -> dict[str, Any]:
    """Returns what a reader must find in an empty tree (keys: `climb_hf.testing.Subject`)."""
    return {
        "classes": list(classes),
        "layouts": list(layouts),
        "unknown_codes": [],
        "records": {},
        "faults": {},
        "specials": {},
    }


def label_of(electrode: str, reference: str = "REF") -> str:
    """Returns an electrode's label as the TUH corpora write it."""
    return f"EEG {electrode}-{reference}"


def waves(
    rng: np.random.Generator, n_samples: int, rate_hz: float, hz: float = 10.0
) -> dict[str, np.ndarray]:
    """Returns codes of each TUH channel by its label, int16: a rhythm over slow drifts and noise.

    Args:
        hz: of the rhythm, so that records of one class look alike.
    """
    time = np.arange(n_samples) / rate_hz
    codes = {}
    for label in (*map(label_of, ELECTRODES), *EXTRAS):
        size, phase = rng.uniform(10, 40), rng.uniform(0, 2 * np.pi)
        rhythm = size * np.sin(2 * np.pi * hz * time + phase)
        drift = 20 * np.sin(2 * np.pi * 0.3 * time + rng.uniform(0, 6))
        values = rhythm + drift + rng.normal(0, 4, n_samples)
        codes[label] = np.rint(values * GAIN).astype(np.int16)
    return codes


def derived(codes: Mapping[str, np.ndarray], first: int = 0, last: int | None = None) -> np.ndarray:
    """Returns the 16 derivations of some samples in microvolts, float32, shape (16, time)."""
    rows = []
    for pair in DERIVATIONS:
        one, other = (codes[label_of(name)][first:last].astype(float) for name in pair.split("-"))
        rows.append((one - other) / GAIN)
    return np.ascontiguousarray(rows, dtype="<f4")


def sha1(values: np.ndarray) -> str:
    """Returns the digest of a signal that the battery compares."""
    return hashlib.sha1(np.ascontiguousarray(values, "<f4").tobytes()).hexdigest()


# ---- EDF ----------------------------------------------------------------------------------------


def write_edf(
    path: Path,
    codes: Mapping[str, np.ndarray] | Sequence[tuple[str, np.ndarray]],
    rate_hz: float,
    *,
    record_s: float = 1.0,
    units: Mapping[str, str] | None = None,
    rates: Mapping[str, float] | None = None,
    n_records: int | None = None,
    starts_s: Sequence[float] | None = None,
    patient: str = "X X X X",
) -> None:
    """Writes an EDF file byte by byte (the recipe is that of the source cards, section 0.3).

    Args:
        codes: label -> samples; pairs where a label is there twice.
        rate_hz: of the signals that `rates` does not name.
        units: of the signals that are not in uV.
        n_records: what the header says, where that is not what the file holds.
        starts_s: when each data record begins, for a discontinuous EDF+ file.
        patient: the header's field; latin-1.
    """
    signals = list(codes.items() if isinstance(codes, Mapping) else codes)
    sizes = [round((rates or {}).get(label, rate_hz) * record_s) for label, _ in signals]
    held = min(len(values) // size for (_, values), size in zip(signals, sizes, strict=True))
    labels = [label for label, _ in signals]
    if starts_s is not None:
        labels.append("EDF Annotations")
        sizes.append(16)
    width = [(16, labels), (80, ["Ag/AgCl"] * len(labels))]
    width.append((8, [(units or {}).get(label, "uV") for label in labels]))
    width += [(8, [limit] * len(labels)) for limit in LIMITS]
    width += [(80, ["HP:0.000 Hz"] * len(labels)), (8, sizes), (32, [""] * len(labels))]
    fixed = [(8, "0"), (80, patient), (80, "Startdate 01-JAN-2000 X X X"), (8, "01.01.00")]
    fixed += [(8, "00.00.00"), (8, 256 * (len(labels) + 1))]
    fixed += [(44, "" if starts_s is None else "EDF+D")]
    fixed += [(8, held if n_records is None else n_records), (8, f"{record_s:g}")]
    fixed += [(4, len(labels))]
    text = "".join(f"{value!s:<{size}}"[:size] for size, value in fixed)
    text += "".join(f"{value!s:<{size}}"[:size] for size, column in width for value in column)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(text.encode("latin-1"))
        for record in range(held):
            for (_, values), size in zip(signals, sizes, strict=False):
                file.write(values[record * size : (record + 1) * size].astype("<i2").tobytes())
            if starts_s is not None:
                file.write(f"+{starts_s[record]:g}\x14\x14\0".encode().ljust(32, b"\0"))
