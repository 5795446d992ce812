"""Where things lie in a source's folder, and which names from outside may become paths in it."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from climb_hf.errors import CorruptFileError, DownloadError

STATE = ".climb"  # hidden, so that no reader of raw files walks it
ORIGINAL = "format=original"  # the one query that says which bytes are meant
_CHUNK = 1 << 20


def safe_path(name: str, told_by: str) -> str:
    """Returns a relative POSIX path from a host's list or an archive, if it stays in its folder.

    Raises:
        CorruptFileError: for `..`, an absolute path, a drive letter, a backslash, a control
            character, an empty part, or a name of our own folder of state.
    """
    parts = name.split("/")
    wrong = (
        not name
        or any(part in ("", ".", "..") for part in parts)
        or re.search(r"[\\\x00-\x1f\x7f]", name) is not None
        or re.match(r"[A-Za-z]:", name) is not None
        or parts[0].casefold() == STATE
    )
    if wrong:
        raise CorruptFileError(
            f"{told_by} names the file {name[:200]!r}, which would not lie in the source's folder. "
            "Nothing was written for it. Tell the host; do not unpack this by hand."
        )
    return name


def inside(folder: Path, path: str) -> Path:
    """Returns where a checked relative path lies, if no link on the way leads out of the folder.

    Raises:
        CorruptFileError: when it does.
    """
    place = folder / path
    if not place.parent.resolve().is_relative_to(folder.resolve()):
        raise CorruptFileError(
            f"{place}: a folder on the way is a link that leads out of {folder}. "
            "Remove the link, or put the data where it leads to."
        )
    return place


def shown(url: str) -> str:
    """Returns an address without user, query and fragment, where secrets and signatures stand."""
    split = urlsplit(url)
    host = split.netloc.rpartition("@")[2]
    query = split.query if split.query == ORIGINAL else ""
    return urlunsplit((split.scheme, host, split.path, query, ""))


def digests(path: Path, *names: str) -> dict[str, str]:
    """Returns digests of a file in hex, by the names of `hashlib`, from one reading."""
    made = {name: hashlib.new(name, usedforsecurity=False) for name in names}
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            for one in made.values():
                one.update(chunk)
    return {name: one.hexdigest() for name, one in made.items()}


@contextmanager
def writing(path: Path, kept: str) -> Iterator[None]:
    """Turns a failure to write into one clear line, which ends with what is `kept`.

    Raises:
        DownloadError: when the disk is full, or the place cannot be written.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, DownloadError):
            raise
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(f"{path}: the disk is full. Free some space; {kept}.") from error
        reason = os.strerror(error.errno) if error.errno else type(error).__name__
        raise DownloadError(f"{path} cannot be written: {reason}.") from error
