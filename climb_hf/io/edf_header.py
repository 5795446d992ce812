"""Headers of EDF and BDF files: which signals they hold, at what rate, and whether all is there.

The layout is that of the EDF specification (Kemp et al. 1992) and of EDF+ (Kemp and Olivan 2003).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TypeVar

from climb_hf.errors import CorruptFileError
from climb_hf.io.header import is_lfs_pointer, lfs_message
from climb_hf.io.memory import remember

_FIXED = 256  # bytes before those of the signals, and for each signal
_WIDTHS = (16, 80, 8, 8, 8, 8, 8, 80, 8, 32)  # of a signal's fields, in their order
_BYTES = {"EDF": 2, "BDF": 3}  # of a sample
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class EdfSignal:
    """One signal of an EDF or BDF file.

    Attributes:
        start: index of its first sample within a data record.
        per_record: samples in a data record.
        gain, offset: physical = (code - offset) / gain.
    """

    label: str
    unit: str
    start: int
    per_record: int
    gain: float
    offset: float


@dataclass(frozen=True)
class EdfHeader:
    """What the header of an EDF or BDF file says.

    Attributes:
        kind: `EDF` or `BDF`.
        n_bytes: size of the header.
        record_s: seconds of a data record.
        record_samples: samples of all signals in a data record.
        signals: those of the rate that most signals have, annotations left out.
        left_out: label -> why a signal is not among them.
    """

    kind: str
    n_bytes: int
    n_records: int
    record_s: float
    record_samples: int
    signals: tuple[EdfSignal, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def channels(self) -> tuple[str, ...]:
        """The labels of the signals."""
        return tuple(signal.label for signal in self.signals)

    @property
    def rate_hz(self) -> float:
        """Samples per second of the signals."""
        return self.signals[0].per_record / self.record_s

    @property
    def duration_s(self) -> float:
        """How long the recording is."""
        return self.n_records * self.record_s

    @property
    def record_bytes(self) -> int:
        """Size of a data record."""
        return self.record_samples * _BYTES[self.kind]


@remember(files=64)
def read_edf_header(path: Path) -> EdfHeader:
    """Reads the header of an EDF or BDF file, and looks whether its records are all there.

    Raises:
        CorruptFileError: if the file is another, is shorter than its header says, or has gaps.
    """
    with path.open("rb") as file:
        fixed = file.read(_FIXED)
        kind = _kind(path, fixed)
        n_signals = _number(path, "number of signals", fixed[252:256], int)
        if n_signals < 1:
            raise CorruptFileError(f"{path.name} holds no signals. Fetch the file again.")
        table = file.read(_FIXED * n_signals)
    if len(table) < _FIXED * n_signals:
        raise CorruptFileError(f"{path.name} ends within its header. Fetch the file again.")
    record_s = _number(path, "duration of a data record", fixed[244:252], float)
    columns = _columns(table, n_signals)
    sizes = [_number(path, "samples in a data record", text, int) for text in columns[8]]
    if record_s <= 0 or min(sizes) < 0 or not sum(sizes):
        raise CorruptFileError(f"{path.name} has data records without samples.")
    signals, left_out = _signals(path, columns, sizes, record_s)
    n_bytes = _FIXED * (n_signals + 1)
    n_records = _records(path, kind, fixed, n_bytes, sum(sizes))
    header = EdfHeader(kind, n_bytes, n_records, record_s, sum(sizes), signals, left_out)
    if fixed[192:197] in (b"EDF+D", b"BDF+D"):
        _check_gaps(path, header, columns[0], sizes)
    return header


def _kind(path: Path, fixed: bytes) -> str:
    if is_lfs_pointer(path):
        raise CorruptFileError(lfs_message(path))
    if len(fixed) < _FIXED:
        raise CorruptFileError(f"{path.name} has {len(fixed)} bytes, which is no EDF file.")
    if fixed[:8] == b"\xffBIOSEMI":
        return "BDF"
    if fixed[:8].strip() != b"0":
        raise CorruptFileError(f"{path.name} is no EDF or BDF file: it begins {fixed[:8]!r}.")
    return "EDF"


def _number(path: Path, what: str, text: bytes, kind: Callable[[str], Number]) -> Number:
    try:
        found = kind(text.decode("latin-1").strip("\0 ").replace(",", "."))
    except ValueError as error:
        raise CorruptFileError(f"{path.name}: {what} reads {text!r}, no number.") from error
    if not math.isfinite(found):
        raise CorruptFileError(f"{path.name}: {what} reads {text!r}, no finite number.")
    return found


def _columns(table: bytes, n_signals: int) -> list[list[bytes]]:
    """The signals' fields, each for all signals."""
    found, at = [], 0
    for width in _WIDTHS:
        found.append([table[at + width * i : at + width * (i + 1)] for i in range(n_signals)])
        at += width * n_signals
    return found


def _records(path: Path, kind: str, fixed: bytes, n_bytes: int, samples: int) -> int:
    """How many data records there are; a recorder that was cut off writes -1 for their number."""
    told = _number(path, "number of data records", fixed[236:244], int)
    held = (path.stat().st_size - n_bytes) / (samples * _BYTES[kind])
    if told == -1:
        told = int(held)
    if told < 1:
        raise CorruptFileError(f"{path.name} holds no data records. Fetch the file again.")
    if held < told:
        raise CorruptFileError(
            f"{path.name} holds {held:.1f} of the {told} data records that its header names: it "
            "was cut off. Fetch the file again."
        )
    return told


def _signals(
    path: Path, columns: list[list[bytes]], sizes: list[int], record_s: float
) -> tuple[tuple[EdfSignal, ...], dict[str, str]]:
    """The signals of the commonest rate, and why others are not among them."""
    labels = [text.decode("latin-1").strip("\0 ") for text in columns[0]]
    units = [text.decode("latin-1").strip("\0 ") for text in columns[2]]
    starts = [0, *accumulate(sizes)]
    plain = [index for index, label in enumerate(labels) if not _annotates(label)]
    if not plain:
        raise CorruptFileError(f"{path.name} holds annotations only.")
    usual = Counter(sizes[index] for index in plain).most_common(1)[0][0]
    found, left_out = [], {}
    for index in plain:
        scale = _scale(*(column[index] for column in columns[3:7]))
        if sizes[index] != usual:
            rates = (sizes[index] / record_s, usual / record_s)
            left_out[labels[index]] = "at {:g} Hz where most signals have {:g} Hz".format(*rates)
        elif scale is None:
            left_out[labels[index]] = "without a range of physical and digital values"
        else:
            where = (starts[index], sizes[index])
            found.append(EdfSignal(labels[index], units[index], *where, *scale))
    if not found:
        raise CorruptFileError(f"{path.name}: no signal has a range of physical values.")
    return tuple(found), left_out


def _annotates(label: str) -> bool:
    return label in ("EDF Annotations", "BDF Annotations")


def _scale(*texts: bytes) -> tuple[float, float] | None:
    """Gain and offset of a signal from its physical and digital extremes."""
    try:
        values = [float(text.decode("latin-1").strip("\0 ").replace(",", ".")) for text in texts]
    except ValueError:
        return None
    low, high, code_low, code_high = values
    if not all(map(math.isfinite, values)) or low == high or code_low == code_high:
        return None
    gain = (code_high - code_low) / (high - low)
    return gain, code_low - low * gain


def _check_gaps(path: Path, header: EdfHeader, labels: list[bytes], sizes: list[int]) -> None:
    """Raises where the records of a discontinuous file do not follow each other after all.

    Each record says when it begins, at the start of its first annotation signal.
    """
    starts = [0, *accumulate(sizes)]
    ours = next((i for i, text in enumerate(labels) if b"Annotations" in text), None)
    if ours is None:
        raise CorruptFileError(f"{path.name} is discontinuous, without saying where its gaps are.")
    width = _BYTES[header.kind]
    begins = []
    with path.open("rb") as file:
        for record in range(header.n_records):
            file.seek(header.n_bytes + record * header.record_bytes + starts[ours] * width)
            text = file.read(sizes[ours] * width).split(b"\x14")[0].split(b"\x15")[0]
            begins.append(_number(path, f"start of data record {record}", text, float))
    for record, (before, after) in enumerate(pairwise(begins)):
        if abs(after - before - header.record_s) > 0.5 / header.rate_hz:
            raise CorruptFileError(
                f"{path.name} is discontinuous: data record {record + 1} begins at {after:g} s, "
                f"where {before + header.record_s:g} s would follow on. Cut the file at its gaps."
            )
