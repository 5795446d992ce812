"""What was fetched for a source: path, size, digest, origin and time of every file, as JSON.

Each finished file is one line of a journal, written before the file gets its name; the manifest
takes the journal in at the end of a download. So nothing is lost when a process is killed.
"""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from climb_hf.errors import DownloadError, ManifestError
from climb_hf.fetch.places import STATE, safe_path, writing

VERSION = 1
BY_HAND = "placed by hand"


@dataclass(frozen=True)
class Entry:
    """One file.

    Attributes:
        path: relative to the source's folder.
        n_bytes: its size.
        sha256: its digest in hex.
        origin: the address that it came from, or `BY_HAND`.
        promised: the digest that the host or the card published, as in `RemoteFile`, or None.
        time: when it was fetched, UTC in ISO 8601; told, never decided by.
        archive: path of the archive that it was unpacked from, or None.
        unpacked: of an archive: its files are there, and itself no longer has to be.
    """

    path: str
    n_bytes: int
    sha256: str
    origin: str
    time: str
    promised: str | None = None
    archive: str | None = None
    unpacked: bool = False


@dataclass(frozen=True)
class Manifest:
    """The files of one source.

    Attributes:
        source: its name.
        licence: the name of its licence.
        accepted: when the user said that its terms are accepted, or None.
        complete: whether the last download ended.
        selection: what that download was asked for, in words of the command line.
        entries: by path.
    """

    source: str
    licence: str = ""
    accepted: str | None = None
    complete: bool = True
    selection: str = ""
    entries: Mapping[str, Entry] = field(default_factory=dict)

    def on_disk(self) -> Iterator[Entry]:
        """Yields the files that have to lie there."""
        return (entry for entry in self.entries.values() if not entry.unpacked)


def now() -> str:
    """Returns the time in UTC, to seconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def place(folder: Path) -> Path:
    """Returns where the manifest of a source's folder lies."""
    return folder / STATE / "manifest.json"


def _journal(folder: Path) -> Path:
    return folder / STATE / "journal.jsonl"


def load(folder: Path, source: str) -> Manifest | None:
    """Returns the manifest with what the journal adds, or None where nothing was fetched.

    Raises:
        ManifestError: when it is damaged, of another version, or of another source.
    """
    path = place(folder)
    found = _read(path, source) if path.exists() else None
    added = {entry.path: entry for entry in _journalled(_journal(folder))}
    if not added:
        return found
    before = found or Manifest(source)
    return replace(before, entries={**before.entries, **added}, complete=False)


def _read(path: Path, source: str) -> Manifest:
    try:
        facts = json.loads(path.read_text("utf-8"))
        version = facts["version"]
        if version != VERSION:
            raise ManifestError(
                f"{path} is of version {version!r}, and this climb-hf reads version {VERSION}. Use "
                "the climb-hf that wrote it, or move it away and run `climb-hf download` again: "
                "files that are there are checked and kept."
            )
        if facts["source"] != source:
            raise ManifestError(f"{path} is of source {facts['source']!r}, not of {source!r}.")
        entries = [_entry(one, str(path)) for one in facts.pop("files")]
        del facts["version"]
        return Manifest(**facts, entries={entry.path: entry for entry in entries})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(
            f"{path} is damaged ({type(error).__name__}). Move it away and run `climb-hf download` "
            "again: files that are there are checked and kept."
        ) from error


def _entry(facts: Any, told_by: str) -> Entry:
    entry = Entry(**facts)
    safe_path(entry.path, told_by)
    return entry


def _journalled(path: Path) -> Iterator[Entry]:
    if not path.exists():
        return
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            yield _entry(json.loads(line), str(path))
        except (ValueError, TypeError):  # the line that a killed process left half written
            continue


def note(folder: Path, entries: Iterable[Entry]) -> None:
    """Adds entries to the journal, whole lines at once.

    Raises:
        DownloadError: when they cannot be written.
    """
    path = _journal(folder)
    lines = "".join(json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in entries)
    with writing(path, "run the same command again"), path.open("ab") as file:
        # A line that was left half written must not swallow the first of these.
        file.write(("\n" + lines).encode())


def save(folder: Path, manifest: Manifest) -> None:
    """Writes the manifest in one move, and clears the journal.

    Raises:
        DownloadError: when it cannot be written.
    """
    facts = {"version": VERSION, **asdict(replace(manifest, entries={}))}
    del facts["entries"]
    entries = sorted(manifest.entries.values(), key=lambda entry: entry.path)
    facts["files"] = [asdict(entry) for entry in entries]
    path = place(folder)
    new = path.with_suffix(".new")
    with writing(path, "run the same command again"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with new.open("w", encoding="utf-8") as file:
            json.dump(facts, file, ensure_ascii=False, indent=1)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        _journal(folder).unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a source's folder for one process.

    Raises:
        DownloadError: when another one holds it, or it cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(folder / STATE / "lock", timeout=0)
    with writing(folder, "run the same command again"):
        (folder / STATE).mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise DownloadError(f"another process is fetching into {folder}. Let it end.") from None
    try:
        yield
    finally:
        lock.release()
