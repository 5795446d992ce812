"""WFDB header files in every dialect that the ECG releases use.

`wfdb` reads the samples (`climb_hf.io.signal`); headers are read here because they are the index
of these releases, and because `wfdb` 4.3 neither accepts the early record lines (`E00001.mat 12
500 5000 05-May-2020 ...`) nor notices a record line that is fused with the first lead line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from climb_hf.errors import CorruptFileError

# Here and not beside the readers of samples, so that cards need no numpy.
STANDARD_LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
_LFS = b"version https://git-lfs"
_GAIN = re.compile(r"(?P<gain>[\d.eE+-]+)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<unit>\S+))?")
_FORMAT = re.compile(r"(?P<code>\d+)(?:x\d+)?(?::\d+)?(?:\+(?P<skip>\d+))?")


@dataclass(frozen=True)
class Lead:
    """One signal line of a header.

    Attributes:
        gain: adu per unit; 0 in the file means 200, the WFDB default.
        skip: bytes before the first sample.
    """

    file: str
    code: str
    skip: int
    gain: float
    unit: str
    initial: int
    checksum: int
    name: str


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
        raise CorruptFileError(_lfs_message(path))
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
    return Header(
        path=path,
        record=Path(record).stem,
        rate_hz=rate_hz,
        n_samples=n_samples,
        leads=leads,
        comments=_comments(lines),
        early=Path(record).suffix != "",
    )


def _record_line(path: Path, line: str) -> tuple[str, int, float, int | None]:
    fields = line.split()
    try:
        name, n_leads = fields[0], int(fields[1])
        rate_hz = float(re.split(r"[/(]", fields[2])[0]) if len(fields) > 2 else 250.0
        n_samples = int(re.match(r"\d+", fields[3])[0]) if len(fields) > 3 else None  # type: ignore[index]
    except (IndexError, ValueError, TypeError) as error:
        raise CorruptFileError(f"{path.name}: record line {line[:60]!r} is malformed.") from error
    if "/" in name or n_leads < 1 or rate_hz <= 0:
        raise CorruptFileError(f"{path.name}: record line {line[:60]!r} is not of a plain record.")
    return name, n_leads, rate_hz, n_samples


def _lead_line(path: Path, line: str) -> Lead:
    fields = line.split(maxsplit=8)
    kind = _FORMAT.fullmatch(fields[1]) if len(fields) > 1 else None
    gain = _GAIN.fullmatch(fields[2]) if len(fields) > 2 else None
    if kind is None or gain is None or len(fields) < 9:
        raise CorruptFileError(f"{path.name}: lead line {line[:60]!r} is malformed.")
    try:
        return Lead(
            file=fields[0],
            code=kind["code"],
            skip=int(kind["skip"] or 0),
            gain=float(gain["gain"]) or 200.0,
            unit=gain["unit"] or "mV",
            initial=int(fields[5]),
            checksum=int(fields[6]),
            name=fields[8].strip(),
        )
    except ValueError as error:
        raise CorruptFileError(f"{path.name}: lead line {line[:60]!r} is malformed.") from error


def _comments(lines: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines:
        key, colon, value = line.lstrip("#").partition(":")
        if line.startswith("#") and colon:
            found.setdefault(key.strip().lower(), value.strip())
    return found


def is_lfs_pointer(path: Path) -> bool:
    """Whether a file is the text that git-lfs leaves in place of the data."""
    with path.open("rb") as file:
        return file.read(len(_LFS)) == _LFS


def _lfs_message(path: Path) -> str:
    return (
        f"{path.name} is a git-lfs pointer, not the data: the mirror was cloned without its "
        "large files. Run `git lfs pull` there."
    )


def check_signal_file(header: Header, path: Path, n_bytes: int) -> None:
    """Compares the size of a signal file with what its header promises.

    Raises:
        CorruptFileError: if it is a git-lfs pointer, or shorter or longer than promised.
    """
    first = header.leads[0]
    if n_bytes < 1024 and is_lfs_pointer(path):
        raise CorruptFileError(_lfs_message(path))
    if first.code != "16" or header.n_samples is None:
        return
    frame = 2 * len(header.leads)
    wanted = first.skip + frame * header.n_samples
    if n_bytes != wanted:
        held = max(n_bytes - first.skip, 0) / frame
        raise CorruptFileError(
            f"header promises {header.n_samples} samples, {path.name} holds {held:g}. "
            "Fetch the file again."
        )
