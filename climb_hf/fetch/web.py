"""Requests as a downloader needs them: TLS checked, secrets to their own host only, no surprises.

`httpx2` comes with `huggingface_hub`, so it is there wherever `datasets` is. Redirects are followed
here, one by one, because what is sent along depends on who is asked.
"""

from __future__ import annotations

import email.utils
import json
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin, urlsplit

from climb_hf._version import __version__
from climb_hf.errors import AccessError, DownloadError
from climb_hf.fetch import credentials as users
from climb_hf.fetch.places import shown

if TYPE_CHECKING:
    import httpx2

TRIES = 5  # in a row without a new byte
MAX_WAIT_S = 120.0
_LIST_BYTES = 1 << 28  # a list of files is smaller
_REDIRECTS = 10
_T = TypeVar("_T")


class Temporary(Exception):
    """A request failed in a way that may pass; `wait_s` is what the host asks for."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _WithoutQuery(logging.Filter):
    """Cuts queries out of httpx2's line for each request: there stand signatures of storage."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                re.sub(r"\?.*", "", str(arg)) if type(arg).__name__ == "URL" else arg
                for arg in record.args
            )
        return True


class Web:
    """One pool of connections for all threads.

    Args:
        origins: other servers in place of some, `{"https://host": "http://127.0.0.1:1"}`: a mirror,
            or the stand-in of a test. Credentials go to it as they would to the host.
        credentials: headers for an address; those of the user by default.
        pause: waits so many seconds.
        timeout_s: without a byte.
    """

    def __init__(
        self,
        origins: Mapping[str, str] | None = None,
        credentials: users.Credentials = users.from_user,
        pause: Callable[[float], None] = time.sleep,
        timeout_s: float = 60.0,
    ) -> None:
        import httpx2

        self._origins = dict(origins or {})
        self._credentials = credentials
        self.pause = pause
        quiet = logging.getLogger("httpx2")
        if not any(isinstance(one, _WithoutQuery) for one in quiet.filters):
            quiet.addFilter(_WithoutQuery())
        self._client = httpx2.Client(
            headers={"Accept-Encoding": "identity", "User-Agent": f"climb-hf/{__version__}"},
            follow_redirects=False,
            timeout=timeout_s,
        )

    def close(self) -> None:
        """Closes the connections."""
        self._client.close()

    def __enter__(self) -> Web:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def open(
        self, url: str, headers: Mapping[str, str] | None = None, method: str = "GET"
    ) -> Iterator[httpx2.Response]:
        """Yields an answer of status 200, 206 or 416, its body not read yet.

        Raises:
            Temporary: for what may pass: a lost connection, 429, a server's own error.
            AccessError: for 401 and 403.
            DownloadError: for everything else, certificates that do not hold among it.
        """
        answer = self._followed(url, headers or {}, method)
        try:
            _check_status(answer, url)
            with _lost(url):
                yield answer
        finally:
            answer.close()

    def _followed(self, url: str, headers: Mapping[str, str], method: str) -> httpx2.Response:
        at = url
        for _ in range(_REDIRECTS):
            with _lost(at):
                sent = {**headers, **self._credentials(at)}
                request = self._client.build_request(method, self._actual(at), headers=sent)
                answer = self._client.send(request, stream=True, auth=None)
            to = answer.headers.get("location")
            if answer.status_code not in (301, 302, 303, 307, 308) or not to:
                return answer
            answer.close()
            target = urljoin(at, to)
            if urlsplit(self._actual(at)).scheme == "https" != urlsplit(target).scheme:
                raise DownloadError(f"{shown(at)} leads to {shown(target)}, without TLS.")
            at = target
        raise DownloadError(f"{shown(url)} was redirected {_REDIRECTS} times.")

    def origin(self, url: str) -> str:
        """Returns the server that stands for one, `https://host`; mostly itself."""
        return self._origins.get(url, url)

    def _actual(self, url: str) -> str:
        split = urlsplit(url)
        origin = f"{split.scheme}://{split.netloc}"
        return self._origins.get(origin, origin) + url[len(origin) :]

    def patiently(self, action: Callable[[], _T], what: str, gained: Callable[[], int]) -> _T:
        """Returns what `action` gives, tried again while it is `Temporary`.

        Args:
            what: it is about, for the message.
            gained: counts what is there; tries start anew when that grew.

        Raises:
            DownloadError: after `TRIES` in a row, or when the host asks for too long a wait.
        """
        tries, before = 0, gained()
        while True:
            try:
                return action()
            except Temporary as failure:
                now = gained()
                tries = 1 if now > before else tries + 1
                before = max(before, now)
                wait = failure.wait_s if failure.wait_s is not None else 0.5 * 2**tries
                if tries >= TRIES or wait > MAX_WAIT_S:
                    asked = f", which asks to wait {wait:.0f} s" if wait > MAX_WAIT_S else ""
                    raise DownloadError(
                        f"{what}: {failure}{asked}. What was fetched is kept: "
                        "run the same command again later."
                    ) from failure
                self.pause(wait)

    def text(self, url: str) -> str:
        """Returns a small body as text.

        Raises:
            DownloadError: when it cannot be had, or is no text.
        """

        def read() -> bytes:
            with self.open(url) as answer:
                body = bytearray()
                for chunk in answer.iter_bytes():  # some hosts pack lists, whatever is asked
                    body += chunk
                    if len(body) > _LIST_BYTES:
                        raise DownloadError(f"{shown(url)} is far too long for a list of files.")
                return bytes(body)

        body = self.patiently(read, shown(url), gained=lambda: 0)
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DownloadError(f"{shown(url)} is no text in UTF-8.") from error

    def json(self, url: str) -> Any:
        """Returns a small body's JSON.

        Raises:
            DownloadError: when it cannot be had, or is no JSON.
        """
        try:
            return json.loads(self.text(url))
        except ValueError as error:
            raise DownloadError(
                f"{shown(url)} did not answer with JSON. Its interface may have changed."
            ) from error

    def length(self, url: str) -> int | None:
        """Returns the size that a host states for a file, or None where it states none."""

        def ask() -> int | None:
            with self.open(url, method="HEAD") as answer:
                value = answer.headers.get("content-length", "")
                return int(value) if value.isdigit() else None

        try:
            return self.patiently(ask, shown(url), gained=lambda: 0)
        except DownloadError:  # many hosts refuse HEAD alone; what else is wrong, GET will tell
            return None


@contextmanager
def _lost(url: str) -> Iterator[None]:
    """Tells failures of the transport by kind: their own texts may hold signed addresses."""
    import httpx2

    try:
        yield
    except httpx2.TransportError as error:
        text = str(error)
        if "CERTIFICATE_VERIFY_FAILED" in text:
            found = re.search(r"certificate verify failed: ([\w ,'-]+)", text)
            reason = found[1].strip() if found else "it cannot be verified"
            raise DownloadError(
                f"{shown(url)}: the certificate of the host does not hold ({reason}). Checks of "
                "TLS are not switched off. Behind a proxy of your own set SSL_CERT_FILE; look at "
                "this machine's clock."
            ) from None
        raise Temporary(f"the connection to {shown(url)} failed ({type(error).__name__})") from None
    except httpx2.HTTPError as error:
        raise DownloadError(f"{shown(url)}: {type(error).__name__}.") from None


def _check_status(answer: httpx2.Response, url: str) -> None:
    status = answer.status_code
    if status in (200, 206, 416):
        return
    if status in (401, 403):
        kind = "does not know you" if status == 401 else "refuses you the file"
        raise AccessError(
            f"{shown(url)}: the host {kind} ({status}). If it needs an account, "
            f"{users.advice(url)}; if it has terms, sign them on its page first; then run the same "
            "command again."
        )
    if status in (408, 425, 429) or status >= 500:
        raise Temporary(f"{shown(url)} answered {status}", _retry_after(answer))
    if status in (404, 410):
        raise DownloadError(f"{shown(url)} is not there ({status}). Its release may have moved.")
    raise DownloadError(f"{shown(url)} answered {status} in place of the file.")


def _retry_after(answer: httpx2.Response) -> float | None:
    """`Retry-After` in seconds; a date counts from the host's own clock, where it tells it."""
    value = answer.headers.get("retry-after", "")
    if value.isdigit():
        return float(value)
    then, now = _date(value), _date(answer.headers.get("date", ""))
    if then is None:
        return None
    return max(0.0, then - (time.time() if now is None else now))


def _date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except ValueError:
        return None
