"""WFDB header files in every dialect that the ECG releases use.

Headers are read here because they are the index of these releases, and because `wfdb` 4.3 neither
accepts the early record lines (`E00001.mat 12 500 5000 05-May-2020 ...`) nor notices a record line
that is fused with the first lead line; it also takes 4 ms for twelve lines.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from climb_hf.errors import CorruptFileError

# Here and not beside the readers of samples, so that cards need no numpy.
STANDARD_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
# Bits of a sample in the formats that store one number after another (WFDB signal(5)).
PLAIN_BITS = {"16": 16, "61": 16, "80": 8, "212": 12, "24": 24, "32": 32}
_LFS = b"version https://git-lfs"
_GAIN = re.compile(r"(?P<gain>[\d.eE+-]+)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<unit>\S+))?")
_FORMAT = re.compile(
    r"(?P<code>\d+)(?:x(?P<per_frame>\d+))?(?::(?P<skew>\d+))?(?:\+(?P<skip>\d+))?"
)
_DIGITS = re.compile(r"\d+")


_REMEMBERED = 100_000  # headers; they take some 30 MB
_TICK_NS = 1_000_000_000


class Lead(NamedTuple):
    """One signal line of a header.

    Attributes:
        code: WFDB format of the samples.
        per_frame: samples of this lead in a frame.
        skew: frames that this lead lags behind.
        skip: bytes before the first sample.
        gain: adu per unit; 0 in the file means 200, the WFDB default.
        baseline: code of 0 physical; where the file does not say, its ADC zero.
    """

    file: str
    code: str
    per_frame: int
    skew: int
    skip: int
    gain: float
    baseline: int
    unit: str
    initial: int
    checksum: int
    name: str


class Storage(NamedTuple):
    """How the samples of a plain record lie in their one file, and what they mean.

    Attributes:
        channels, units, gain, baseline: one entry per lead.
    """

    code: str
    skip: int
    n_samples: int | None
    rate_hz: float
    channels: tuple[str, ...]
    units: tuple[str, ...]
    gain: tuple[float, ...]
    baseline: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """A WFDB header.

    Attributes:
        record: record name, without a file extension.
        rate_hz: samples per second and lead.
        n_samples: samples per lead, or None if the header does not say.
        comments: the `# Key: value` lines, keys in lower case.
        early: whether the record line is of the early kind (extension in the name).
    """

    path: Path
    record: str
    rate_hz: float
    n_samples: int | None
    leads: tuple[Lead, ...]
    comments: Mapping[str, str]
    early: bool = False

    @property
    def signature(self) -> str:
        """Equal for headers of equal signals: length, first samples and checksums of all leads."""
        parts = (f"{lead.name.lower()}:{lead.initial}:{lead.checksum}" for lead in self.leads)
        return f"{self.n_samples};" + ";".join(sorted(parts))

    @cached_property
    def file_names(self) -> set[str]:
        """The signal files that the leads name."""
        return {lead.file for lead in self.leads}

    @cached_property
    def storage(self) -> Storage | None:
        """How the leads are stored, if all alike, a sample a frame, in a format of `PLAIN_BITS`."""
        ways = {lead[1:5] for lead in self.leads}
        code, per_frame, skew, skip = next(iter(ways))
        if len(ways) > 1 or code not in PLAIN_BITS or (per_frame, skew) != (1, 0):
            return None
        facts = [(lead.name, lead.unit, lead.gain, lead.baseline) for lead in self.leads]
        return _shared(code, skip, self.n_samples, self.rate_hz, *zip(*facts, strict=True))


def read_header(path: Path) -> Header:
    """Reads one WFDB header.

    Raises:
        CorruptFileError: if the file is no header, or lists another number of leads than it
            promises (two public records have their first two lines fused).
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"cannot read {path.name}: {error.strerror}.") from error
    if raw.startswith(_LFS):
        raise CorruptFileError(lfs_message(path))
    lines = [line.strip() for line in raw.decode("utf-8", "replace").splitlines()]
    signal_lines = [line for line in lines if line and not line.startswith("#")]
    if not signal_lines:
        raise CorruptFileError(f"{path.name} holds no record line. Fetch the file again.")
    record, n_leads, rate_hz, n_samples = _record_line(path, signal_lines[0])
    leads = tuple(_lead_line(path, line) for line in signal_lines[1:])
    if len(leads) != n_leads:
        raise CorruptFileError(
            f"{path.name} promises {n_leads} leads and lists {len(leads)} "
            "(a lost line break, or lines cut off). Fetch the file again."
        )
    header = Header(
        path=path,
        record=Path(record).stem,
        rate_hz=rate_hz,
        n_samples=n_samples,
        leads=leads,
        comments=_comments(lines),
        early=Path(record).suffix != "",
    )
    _remember(header)
    return header


@lru_cache(maxsize=1024)
def _shared(*facts: Any) -> Storage:
    """One object for the many records of a release that are stored alike."""
    return Storage(*facts)


_stored: dict[str, tuple[tuple[int, int, int], Storage]] = {}


def _remember(header: Header) -> None:
    """Keeps what a later reading of the samples needs: an index reads every header before."""
    storage = header.storage if len(header.file_names) == 1 else None
    state = _state(header.path)
    # A file may change again within one tick of the clock that stamps it.
    if storage is None or state is None or time.time_ns() - max(state[:2]) < _TICK_NS:
        return
    if len(_stored) >= _REMEMBERED:
        _stored.clear()
    _stored[str(header.path)] = state, storage


def remembered(path: Path) -> Storage | None:
    """Returns the storage of a header of one signal file, if it was read and is unchanged since."""
    known = _stored.get(str(path))
    return known[1] if known is not None and known[0] == _state(path) else None


def _state(path: Path) -> tuple[int, int, int] | None:
    """Both times and the size of a file: another one as soon as its content is."""
    try:
        found = os.stat(path)  # noqa: PTH116 (Path.stat takes longer than the call itself)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size


def _record_line(path: Path, line: str) -> tuple[str, int, float, int | None]:
    fields = line.split()
    try:
        name, n_leads = fields[0], int(fields[1])
        rate_hz = float(re.split(r"[/(]", fields[2])[0]) if len(fields) > 2 else 250.0
        n_samples = int(_DIGITS.match(fields[3])[0]) if len(fields) > 3 else None  # type: ignore[index]
    except (IndexError, ValueError, TypeError) as error:
        raise CorruptFileError(f"{path.name}: record line {line[:60]!r} is malformed.") from error
    if "/" in name or n_leads < 1 or not 0 < rate_hz < math.inf:
        raise CorruptFileError(f"{path.name}: record line {line[:60]!r} is not of a plain record.")
    return name, n_leads, rate_hz, n_samples


def _lead_line(path: Path, line: str) -> Lead:
    fields = line.split(maxsplit=8)
    try:
        file, kind, scale, _, zero, initial, checksum, _, name = fields
        code, per_frame, skew, skip = _storage(kind)
        gain, baseline, unit = _scale(scale)
        zero_at = int(zero) if baseline is None else baseline
        first, total = int(initial), int(checksum)
        # By position: keywords take twice the time, and this runs for every lead of an index.
        return Lead(file, code, per_frame, skew, skip, gain, zero_at, unit, first, total, name)
    except ValueError as error:
        raise CorruptFileError(f"{path.name}: lead line {line[:60]!r} is malformed.") from error


# The lines of a release repeat a few words of these two fields over and over.
@lru_cache(maxsize=1024)
def _storage(field: str) -> tuple[str, int, int, int]:
    """Format, samples a frame, skew and bytes to skip."""
    found = _FORMAT.fullmatch(field)
    per_frame = int(found["per_frame"] or 1) if found else 0
    if found is None or per_frame < 1:
        raise ValueError(f"{field!r} is no format")
    return found["code"], per_frame, int(found["skew"] or 0), int(found["skip"] or 0)


@lru_cache(maxsize=1024)
def _scale(field: str) -> tuple[float, int | None, str]:
    """Gain, baseline where it is written, and unit."""
    found = _GAIN.fullmatch(field)
    if found is None:
        raise ValueError(f"{field!r} is no gain")
    baseline = int(found["baseline"]) if found["baseline"] else None
    return float(found["gain"]) or 200.0, baseline, found["unit"] or "mV"


def _comments(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        if line.startswith("#"):
            key, colon, value = line.lstrip("#").partition(":")
            if colon:
                found.setdefault(key.strip().lower(), value.strip())
    return found


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is the text that git-lfs leaves in place of the data."""
    with path.open("rb") as file:
        return file.read(len(_LFS)) == _LFS


def lfs_message(path: Path) -> str:
    """Returns what is to be said of such a file."""
    return (
        f"{path.name} is a git-lfs pointer, not the data: the mirror was cloned without its "
        "large files. Run `git lfs pull` there."
    )


def check_signal_file(header: Header, path: Path, n_bytes: int) -> None:
    """Compares the size of the one signal file of a header with what the header promises.

    Raises:
        CorruptFileError: if it is a git-lfs pointer, shorter than promised or, in format 16,
            longer.
    """
    first = header.leads[0]
    per_frame = sum(lead.per_frame for lead in header.leads)
    check_size(path, n_bytes, first.code, first.skip, per_frame, header.n_samples)


def check_size(
    path: Path, n_bytes: int, code: str, skip: int, per_frame: int, n_samples: int | None
) -> None:
    """As `check_signal_file`, for a file with `per_frame` samples, of all leads, in a frame."""
    if n_bytes < 1024 and is_lfs_pointer(path):
        raise CorruptFileError(lfs_message(path))
    if code not in PLAIN_BITS or n_samples is None:
        return
    frame_bits = PLAIN_BITS[code] * per_frame
    wanted = skip + -(-frame_bits * n_samples // 8)
    if n_bytes < wanted or (n_bytes > wanted and code == "16"):
        held = max(n_bytes - skip, 0) * 8 / frame_bits
        raise CorruptFileError(
            f"header promises {n_samples} samples, {path.name} holds {held:g}. "
            "Fetch the file again."
        )
