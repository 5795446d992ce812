"""Files beside a JSONL file: written under names of their own, found by what a line says."""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from climb_hf.errors import CorruptFileError, MissingFileError

# Where in a file its kind stands, and how the file is called then.
_MAGIC = (
    (0, b"\x89PNG", ".png"),
    (0, b"\xff\xd8\xff", ".jpg"),
    (4, b"ftyp", ".mp4"),
    (0, b"RIFF", ".avi"),
    (0, b"\x93NUMPY", ".npy"),
    (0, b"\x1f\x8b", ".gz"),
)


class Beside:
    """The folder of a JSONL file, as one of its lines sees it."""

    def __init__(self, folder: Path, line: str) -> None:
        self.folder, self.line = folder, line

    def path(self, name: Any, key: str) -> Path:
        """Returns where a file that a line names lies.

        Raises:
            CorruptFileError: if the name leads out of the folder, or is none.
            MissingFileError: if nothing is there.
        """
        if not isinstance(name, str) or not name or "\0" in name:
            raise CorruptFileError(f"{self.line}: {key} names {name!r} where a path should be.")
        plain = PurePosixPath(name.replace("\\", "/"))
        if plain.is_absolute() or ".." in plain.parts or ":" in name.partition("/")[0]:
            raise CorruptFileError(
                f"{self.line}: {key} names {name!r}, which leads out of the folder of the file. "
                "Paths are relative to that folder and stay in it."
            )
        found = self.folder / plain
        try:
            there = found.is_file()
        except OSError:  # a name that is too long for a file
            there = False
        if not there:
            raise MissingFileError(f"{self.line}: {key} names {name!r}, and that is not there.")
        return found

    def read(self, name: Any, key: str) -> bytes:
        """Returns the bytes of a file that a line names."""
        return self.path(name, key).read_bytes()


class Files:
    """What is written beside one record; equal bytes once."""

    def __init__(self, folder: Path, row: Mapping[str, Any]) -> None:
        self._folder = folder
        record = row["id"].removeprefix(f"{row['source']}/")
        self._within = "/".join(map(_part, (row["modality"], row["source"], record)))
        self._names: dict[bytes, str] = {}

    def put(self, data: bytes, stem: str) -> str:
        """Writes bytes and returns their path, relative to the folder."""
        digest = hashlib.sha256(data).digest()
        if digest not in self._names:
            name = f"{self._within}/{len(self._names)}_{stem}{_ending(data)}"
            target = self._folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
            self._names[digest] = name
        return self._names[digest]


def _part(name: Any) -> str:
    """A name as a folder; where letters have to go, a digest keeps it apart from others."""
    text = str(name)
    plain = re.sub(r"[^\w.+-]", "_", text, flags=re.ASCII).strip(".")[:100]
    if plain == text and plain:
        return plain
    return f"{plain}-{hashlib.sha256(text.encode('utf-8', 'replace')).hexdigest()[:12]}"


def _ending(data: bytes) -> str:
    found = (end for at, mark, end in _MAGIC if data[at : at + len(mark)] == mark)
    return next(found, ".bin")


def npy_of(array: np.ndarray) -> bytes:
    """Returns an array as the bytes of a .npy file; nothing in it is pickled."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def codes_of(values: np.ndarray, stored: Mapping[str, Any]) -> bytes | None:
    """Returns the samples of a stored series from its values in units; None if they do not fit."""
    kind = np.dtype(stored["dtype"])
    gain, offset = (np.asarray(stored[name], float)[:, None] for name in ("gain", "offset"))
    codes = values.astype(float) * gain + offset
    if kind.kind in "iu":
        codes = np.where(np.isnan(codes), stored["invalid"] or 0, np.rint(codes))
        limits = np.iinfo(kind)
        if codes.size and not (limits.min <= codes.min() and codes.max() <= limits.max):
            return None
    return np.ascontiguousarray(codes.astype(kind)).tobytes()
