"""One file from a host to a part file: resumed where it was cut, and checked before it is named."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from climb_hf.errors import CorruptFileError, DownloadError
from climb_hf.fetch.places import digests, shown, writing
from climb_hf.fetch.web import Temporary, Web

if TYPE_CHECKING:
    import httpx2

KEPT = "what was fetched is kept: run the same command again"


@dataclass(frozen=True)
class RemoteFile:
    """A file that a host offers.

    Attributes:
        path: where it belongs, relative to the source's folder.
        urls: addresses of it, the next one tried where a host refuses one.
        n_bytes: size that the host states, or None.
        digest: what the host or the card publishes, `sha256:<hex>` or `md5:<hex>`, or None.
    """

    path: str
    urls: tuple[str, ...]
    n_bytes: int | None = None
    digest: str | None = None


@dataclass(frozen=True)
class Fetched:
    """A part file that is whole and right.

    Attributes:
        n_bytes: its size.
        sha256: its digest in hex.
        origin: the address that gave it, without its query.
    """

    n_bytes: int
    sha256: str
    origin: str


class Stopped(Exception):
    """The user, or a failure elsewhere, ended the download; the part is kept."""


def fetch(
    web: Web,
    file: RemoteFile,
    part: Path,
    told: Callable[[int], None] = lambda _: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Fetched:
    """Fetches a file into `part`, going on with what lies there.

    Args:
        told: is called with the number of bytes that came, a negative one where some are dropped.
        stopped: is asked after each chunk whether to end.

    Raises:
        AccessError: when the host refuses.
        CorruptFileError: when what came is not what was promised, twice; the part is gone then.
        DownloadError: when the host cannot be reached, or the disk is full; the part is kept.
        Stopped: when `stopped` says so.
    """
    for url in file.urls[:-1]:
        try:
            return _Transfer(web, file, url, part, told, stopped).run()
        except DownloadError:
            continue
    return _Transfer(web, file, file.urls[-1], part, told, stopped).run()


class _Transfer:
    def __init__(
        self,
        web: Web,
        file: RemoteFile,
        url: str,
        part: Path,
        told: Callable[[int], None],
        stopped: Callable[[], bool],
    ) -> None:
        self.web, self.file, self.url, self.part = web, file, url, part
        self.told, self.stopped = told, stopped
        self.note = part.with_name(part.name + ".json")
        self.counted = 0

    def run(self) -> Fetched:
        complaint = ""
        for _ in range(2):  # what was resumed may be damaged; whole and wrong twice is the host
            self.web.patiently(self._attempt, self.file.path, gained=self._size)
            fetched, complaint = self._checked()
            if fetched is not None:
                return fetched
            self._drop()
        raise CorruptFileError(
            f"{shown(self.url)}: {complaint}. It was fetched twice and is not kept. The host's "
            "list and its file disagree: tell the host, or try again later."
        )

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _count(self, size: int) -> None:
        self.told(size - self.counted)
        self.counted = size

    def _drop(self) -> None:
        self.part.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)
        self._count(0)

    def _usable(self) -> tuple[int, dict[str, Any]]:
        """Bytes that can be gone on with, and what was noted of the file that they are of."""
        size = self._size()
        try:
            note = json.loads(self.note.read_text("utf-8")) if size else {}
        except (OSError, ValueError):
            note = {}
        same = note.get("promised") == [self.file.path, self.file.n_bytes, self.file.digest]
        # Without a digest, only the host can tell that its file is still the same.
        known = bool(self.file.digest or note.get("etag") or note.get("modified"))
        if not (size and same and known):
            self._drop()
            return 0, {}
        return size, note

    def _attempt(self) -> None:
        have, note = self._usable()
        self._count(have)
        if have and have == self.file.n_bytes:
            return
        headers = {}
        if have:
            headers["Range"] = f"bytes={have}-"
            validator = note.get("etag") or note.get("modified")
            if validator:
                headers["If-Range"] = validator
        with self.web.open(self.url, headers) as answer:
            if answer.status_code == 416:
                if _total(answer) == have:
                    return
                self._drop()
                raise Temporary("the file of the host became shorter", 0.0)
            start = self._start(answer, have, note)
            _check_kind(answer, self.url, self.file)
            if start == 0:
                self._begin(answer)
            self._receive(answer, start)

    def _start(self, answer: httpx2.Response, have: int, note: dict[str, Any]) -> int:
        """Where the body of an answer belongs: behind what is there, or at the beginning."""
        if answer.status_code == 200:
            return 0
        spans = re.fullmatch(r"bytes (\d+)-(\d+)/(\d+|\*)", answer.headers.get("content-range", ""))
        right = (
            spans is not None
            and int(spans[1]) == have
            and (spans[3] == "*" or note.get("total") in (None, int(spans[3])))
            and note.get("etag") in (None, _etag(answer))
        )
        if not right:
            self._drop()
            raise Temporary("the file of the host changed, or another part of it came", 0.0)
        return have

    def _begin(self, answer: httpx2.Response) -> None:
        self._drop()
        length = answer.headers.get("content-length", "")
        note = {
            "promised": [self.file.path, self.file.n_bytes, self.file.digest],
            "total": int(length) if length.isdigit() else None,
            "etag": _etag(answer),
            "modified": answer.headers.get("last-modified"),
        }
        with writing(self.part, KEPT):
            self.part.parent.mkdir(parents=True, exist_ok=True)
            self.note.write_text(json.dumps(note), "utf-8")

    def _receive(self, answer: httpx2.Response, start: int) -> None:
        with writing(self.part, KEPT), self.part.open("ab" if start else "wb") as file:
            for chunk in answer.iter_raw():
                file.write(chunk)
                file.flush()
                self._count(self.counted + len(chunk))
                if self.stopped():
                    raise Stopped
                if self.file.n_bytes is not None and self.counted > self.file.n_bytes:
                    return  # more than is listed: no need to see the end of it

    def _checked(self) -> tuple[Fetched | None, str]:
        """The file if it is as promised, else what is wrong with it."""
        size = self._size()
        name, _, wanted = (self.file.digest or "").partition(":")
        found = digests(self.part, "sha256", *([name] if name else [])) if size else {}
        if size == 0 and self.file.n_bytes != 0:
            return None, "the host sent an empty file"
        if size == 0:
            with writing(self.part, KEPT):
                self.part.touch()
            found = digests(self.part, "sha256", *([name] if name else []))
        if name and found[name] != wanted.lower():
            return None, f"its {name} should be {wanted}, but is {found[name]}"
        if self.file.n_bytes is not None and size != self.file.n_bytes:
            return None, f"the host lists {self.file.n_bytes:,} bytes, but {size:,} came"
        self.note.unlink(missing_ok=True)
        return Fetched(size, found["sha256"], shown(self.url)), ""


def _etag(answer: httpx2.Response) -> str | None:
    """A strong ETag: a weak one promises nothing about bytes."""
    value = answer.headers.get("etag")
    return value if value and not value.startswith("W/") else None


def _total(answer: httpx2.Response) -> int | None:
    found = re.search(r"/(\d+)$", answer.headers.get("content-range", ""))
    return int(found[1]) if found else None


def _check_kind(answer: httpx2.Response, url: str, file: RemoteFile) -> None:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/html" and not re.search(r"\.html?$", file.path, re.IGNORECASE):
        raise DownloadError(
            f"{shown(url)}: the host sent a web page in place of {file.path}; perhaps one to log "
            "in or to accept terms. Open the address in a browser and do what it asks for."
        )
    packed = answer.headers.get("content-encoding", "identity").lower()
    # Some servers say so of files that are gzip themselves, and then mean just the file.
    if packed != "identity" and not re.search(r"\.(gz|tgz)$", file.path, re.IGNORECASE):
        raise DownloadError(f"{shown(url)}: the host packs the file ({packed}), unasked.")
