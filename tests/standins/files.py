"""Hosts of files on loopback: ranges or none, slow, cut, changed, locked; lists as hosts give them.

    host = Files({"/a/b.zip": b"..."})
    Web(origins={"https://physionet.org": host.url}, pause=lambda _: None)
    host.close()

A body is served as it was put in, by its path; `json` and `sums` put lists in. Every answer has an
`ETag` over the content. What breaks is asked for by `Loopback`'s faults, or by the attributes here.

What it does not cover: what the real hosts answer beyond the fields that are put in; compression;
HTTP/2. TLS only by `tls=`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import sys
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, unquote

from loopback import Loopback, Request, Response


def _quiet(*_: Any) -> None:
    """Says nothing of clients that went away; a test sees what they did."""
    if not isinstance(sys.exception(), ConnectionError | ssl.SSLError):
        raise


class Files:
    """One host, and a second origin for redirects.

    Args:
        files: content by path.
        certificate: a PEM file with key and certificate: then the host speaks TLS.

    Attributes:
        web: the servers, with their log and their faults.
        url, storage: the two origins.
        ranges: whether parts are served.
        etags: whether answers carry one.
        users: name to password; where any is given, others are refused.
        slow_s: what each answer takes.
        redirected: whether each file is served by the second origin, with a signature.
    """

    def __init__(self, files: Mapping[str, bytes] | None = None, certificate: str = "") -> None:
        self.files = dict(files or {})
        self.kinds: dict[str, str] = {}
        self.ranges = True
        self.etags = True
        self.users: dict[str, str] = {}
        self.refusal = 401
        self.slow_s = 0.0
        self.redirected = False
        self.web = Loopback(self._answer, {"files": "127.0.0.1", "storage": "localhost"})
        self.url, self.storage = self.web.urls["files"], self.web.urls["storage"]
        for server in self.web._servers.values():
            server.handle_error = _quiet  # type: ignore[method-assign]
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server = self.web._servers["files"]
            server.socket = context.wrap_socket(server.socket, server_side=True)
            self.url = self.url.replace("http://127.0.0.1", "https://localhost")

    def close(self) -> None:
        """Stops the servers."""
        self.web.close()

    def json(self, path: str, value: Any) -> None:
        """Puts a JSON answer in."""
        self.files[path] = json.dumps(value).encode()

    def sums(self, folder: str, files: Mapping[str, bytes]) -> None:
        """Puts files into a folder, with their SHA256SUMS.txt as PhysioNet writes it."""
        lines = [f"{hashlib.sha256(body).hexdigest()} {name}\n" for name, body in files.items()]
        self.files[f"{folder}SHA256SUMS.txt"] = "".join(lines).encode()
        self.files.update({folder + name: body for name, body in files.items()})

    def bodies(self, path: str) -> list[Request]:
        """Returns the requests of a file's bytes."""
        return [r for r, _ in self.web.log if r.method == "GET" and unquote(r.path) == path]

    def _answer(self, request: Request) -> Response:
        if self.slow_s:
            time.sleep(self.slow_s)
        path = unquote(request.path)
        if request.origin == "files" and self.users and not self._known(request):
            return Response(self.refusal, {"Content-Type": "text/html"}, b"<html>who?</html>")
        if path not in self.files:
            return Response(404)
        listed = path.endswith("SHA256SUMS.txt") or "/api" in path
        if self.redirected and request.origin == "files" and not listed:
            there = f"{self.storage}{quote(path)}?X-Signature=signed-word"
            return Response(302, {"Location": there})
        body = self.files[path]
        headers = {"Content-Type": self.kinds.get(path, "application/octet-stream")}
        if self.etags:
            headers["ETag"] = f'"{hashlib.md5(body).hexdigest()}"'
        if self.ranges:
            headers["Accept-Ranges"] = "bytes"
        same = request.headers.get("if-range") in (None, headers.get("ETag"))
        return Response(200, headers, body, ranged=self.ranges and same)

    def _known(self, request: Request) -> bool:
        scheme, _, word = request.headers.get("authorization", "").partition(" ")
        pair = base64.b64decode(word).decode() if scheme == "Basic" else ""
        name, _, password = pair.partition(":")
        return self.users.get(name) == password and bool(name)
