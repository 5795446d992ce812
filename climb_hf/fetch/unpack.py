"""Archives to files, inside their folder only: no way out of it, no links, no bombs.

Everything goes to a folder aside first. So an unpacking that was cut is done again, and a bad
archive leaves nothing.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from climb_hf.errors import CorruptFileError, DownloadError
from climb_hf.fetch.places import inside, safe_path, writing

_ARCHIVE = re.compile(r"(.+?)\.(zip|tar|tgz|tar\.(gz|bz2|xz))", re.IGNORECASE)
_CHUNK = 1 << 20
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)


@dataclass(frozen=True)
class Limits:
    """What an archive may grow to.

    Attributes:
        ratio: unpacked bytes for one of the archive; pictures give 1 to 3, tables and masks more.
        floor_bytes: unpacked size that is let pass whatever the ratio.
        n_files: in one archive.
    """

    ratio: float = 200.0
    floor_bytes: int = 1 << 26
    n_files: int = 5_000_000


@dataclass(frozen=True)
class Member:
    """A file that came out of an archive: its path there, size and digest."""

    path: str
    n_bytes: int
    sha256: str


def folder_for(path: str) -> str | None:
    """Returns the folder that an archive is unpacked into, beside it; None for no archive."""
    found = _ARCHIVE.fullmatch(path)
    return found[1] if found else None


def unpack(archive: Path, aside: Path, limits: Limits | None = None) -> list[Member]:
    """Unpacks an archive into the new folder `aside`; what lay there is removed first.

    Raises:
        CorruptFileError: for a path that leads out, a link, a device, a name that stands twice, an
            encrypted or damaged archive, or one that grows beyond `limits`.
        DownloadError: when there is no room.
    """
    limits = limits or Limits()
    shutil.rmtree(aside, ignore_errors=True)
    try:
        with writing(aside, "the archive is kept"):
            aside.mkdir(parents=True)
            return _unpacked(archive, aside, limits)
    except _BROKEN as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise CorruptFileError(
            f"{archive} is a damaged archive ({type(error).__name__})."
        ) from error
    except (CorruptFileError, DownloadError):
        shutil.rmtree(aside, ignore_errors=True)
        raise


def move_in(aside: Path, into: Path, members: list[Member]) -> None:
    """Gives unpacked files their names: in one move, or one by one where some are there.

    Raises:
        DownloadError: when they cannot be moved.
        CorruptFileError: when a link in `into` leads out of it.
    """
    with writing(into, "the archive is kept: run the same command again"):
        into.parent.mkdir(parents=True, exist_ok=True)
        if not into.exists():
            aside.replace(into)
            return
        for member in members:
            place = inside(into, member.path)
            place.parent.mkdir(parents=True, exist_ok=True)
            (aside / member.path).replace(place)
    shutil.rmtree(aside, ignore_errors=True)


def _unpacked(archive: Path, aside: Path, limits: Limits) -> list[Member]:
    allowed = max(limits.floor_bytes, int(archive.stat().st_size * limits.ratio))
    members: dict[str, Member] = {}
    total = 0
    for name, size, stream in _members(archive):
        path = safe_path(name, str(archive))
        if path in members:
            raise CorruptFileError(f"{archive} holds {path!r} twice.")
        if len(members) >= limits.n_files:
            raise CorruptFileError(f"{archive} holds more than {limits.n_files:,} files.")
        _check_growth(archive, total + size, allowed)
        if size > shutil.disk_usage(aside).free:
            raise DownloadError(f"{archive}: no room for {path} ({size:,} bytes) beside it.")
        place = aside / path
        place.parent.mkdir(parents=True, exist_ok=True)
        made, digest = 0, hashlib.sha256()
        with stream, place.open("xb") as file:
            while chunk := stream.read(_CHUNK):
                made += len(chunk)
                _check_growth(archive, total + made, allowed)  # what is declared may be a lie
                digest.update(chunk)
                file.write(chunk)
        total += made
        members[path] = Member(path, made, digest.hexdigest())
    if not members:
        raise CorruptFileError(f"{archive} holds no file.")
    return list(members.values())


def _check_growth(archive: Path, total: int, allowed: int) -> None:
    if total > allowed:
        raise CorruptFileError(
            f"{archive} would grow to more than {allowed:,} bytes, from "
            f"{archive.stat().st_size:,}: an archive bomb? It was not unpacked."
        )


def _members(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Name, declared size and content of each file; folders are left out, links refused."""
    return _of_zip(archive) if zipfile.is_zipfile(archive) else _of_tar(archive)


def _of_zip(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with zipfile.ZipFile(archive) as opened:
        listed = [one for one in opened.infolist() if not one.is_dir()]
        for one in listed:
            safe_path(one.filename, str(archive))
            kind = stat.S_IFMT(one.external_attr >> 16)
            if kind not in (0, stat.S_IFREG):
                raise _no_file(archive, one.filename)
            if one.flag_bits & 1:
                raise CorruptFileError(
                    f"{archive} is encrypted: unpack it by hand with the host's password."
                )
        for one in listed:
            try:
                yield one.filename, one.file_size, opened.open(one)
            except NotImplementedError as error:
                raise CorruptFileError(
                    f"{archive}: {one.filename} is packed by {error}."
                ) from error


def _of_tar(archive: Path) -> Iterator[tuple[str, int, IO[bytes]]]:
    with tarfile.open(archive) as opened:
        for one in opened:
            name = one.name.removeprefix("./")
            if one.isdir():
                if name not in ("", "."):
                    safe_path(name.rstrip("/"), str(archive))
                continue
            stream = opened.extractfile(one) if one.isreg() else None
            if stream is None:
                raise _no_file(archive, one.name)
            yield name, one.size, stream


def _no_file(archive: Path, name: str) -> CorruptFileError:
    return CorruptFileError(
        f"{archive}: {name!r} is a link or a device, which can lead out of the folder. It was not "
        "unpacked."
    )
