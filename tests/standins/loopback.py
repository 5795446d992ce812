"""A threaded HTTP server on this machine's loopback, with a log and with faults that are asked for.

What it is for: a stand-in of a service, by real requests over real sockets, so that a client's own
headers, retries and range requests are met. An `app` answers; this module reads the request whole,
writes exact lengths, serves `Range`, and lets a test break one answer on purpose.

What it does not cover: TLS, compression, HTTP/2, proxies, speed.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True)
class Request:
    """One request, read whole.

    Attributes:
        origin: name of the server that got it.
        path: as sent, still quoted, without its query.
        query: values by name.
        headers: by name in lower case.
    """

    origin: str
    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Returns the body as JSON; an empty one is {}."""
        return json.loads(self.body or b"{}")

    @property
    def token(self) -> str | None:
        """The bearer token, if there is one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme == "Bearer" else None


@dataclass(frozen=True)
class Response:
    """One answer. A `ranged` body is served in parts where a part is asked for."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    ranged: bool = False

    @classmethod
    def json(cls, value: Any, status: int = 200, **headers: str) -> Response:
        """Returns an answer that holds a value as JSON."""
        typed = {"Content-Type": "application/json", **headers}
        return cls(status, typed, json.dumps(value).encode())


@dataclass
class Fault:
    """What goes wrong with requests that match, a number of times; then it is used up.

    Attributes:
        method: of the requests.
        path: a pattern that their path holds.
        status: answered in place of the app's answer, with `headers`.
        cut: bytes of the body after which the connection is closed.
        drop: whether the connection is closed before the answer, the app not asked.
        corrupt: whether the last byte of the body is another one.
        times: how often.
    """

    method: str
    path: str
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
    drop: bool = False
    corrupt: bool = False
    times: int = 1


App = Callable[[Request], Response]


class Loopback:
    """Servers of one app, each an origin of its own, on free ports.

    Args:
        app: answers every request.
        hosts: name of each origin to the host name it goes by. With `127.0.0.1` and `localhost`
            clients take them for different hosts, as they are in life.

    Attributes:
        log: every request with the status of its answer, in the order in which they were answered.
        faults: those that wait; a test appends to it.
    """

    def __init__(self, app: App, hosts: Mapping[str, str]) -> None:
        self.app = app
        self.log: list[tuple[Request, int]] = []
        self.faults: list[Fault] = []
        self._lock = threading.Lock()
        self._servers = {name: self._server(name) for name in hosts}
        self.urls = {
            name: f"http://{host}:{self._servers[name].server_address[1]}"
            for name, host in hosts.items()
        }
        self._threads = [
            threading.Thread(target=one.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
            for one in self._servers.values()
        ]
        for thread in self._threads:
            thread.start()

    def _server(self, origin: str) -> ThreadingHTTPServer:
        handler = type("Handler", (_Handler,), {"loopback": self, "origin": origin})
        return ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def close(self) -> None:
        """Stops the servers."""
        for one in self._servers.values():
            one.shutdown()
            one.server_close()
        for thread in self._threads:
            thread.join(timeout=5)

    def asked(self, method: str, path: str) -> list[Request]:
        """Returns the requests of a method whose path holds a pattern."""
        return [r for r, _ in self.log if r.method == method and re.search(path, r.path)]

    def fault_of(self, request: Request) -> Fault | None:
        """Returns the fault that a request meets, and counts it."""
        with self._lock:
            for one in self.faults:
                if one.method == request.method and re.search(one.path, request.path):
                    one.times -= 1
                    self.faults = [fault for fault in self.faults if fault.times > 0]
                    return one
        return None

    def note(self, request: Request, status: int) -> None:
        """Writes a request into the log."""
        with self._lock:
            self.log.append((request, status))


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    loopback: Loopback
    origin: str

    def log_message(self, *_: Any) -> None:
        """Prints nothing: there is a log."""

    def _read(self) -> Request:
        headers = {name.lower(): value for name, value in self.headers.items()}
        if "chunked" in headers.get("transfer-encoding", "").lower():
            body = b"".join(iter(self._chunk, b""))
        else:
            body = self.rfile.read(int(headers.get("content-length") or 0))
        split = urlsplit(self.path)
        query = parse_qs(split.query, keep_blank_values=True)
        return Request(self.origin, self.command, split.path, query, headers, body)

    def _chunk(self) -> bytes:
        size = int(self.rfile.readline().split(b";")[0], 16)
        chunk = self.rfile.read(size)
        self.rfile.readline()
        return chunk

    def _answer(self) -> None:
        request = self._read()
        fault = self.loopback.fault_of(request)
        if fault is not None and fault.drop:
            self.loopback.note(request, 0)
            self.close_connection = True
            return
        if fault is not None and fault.status is not None:
            response = Response(fault.status, fault.headers)
        else:
            response = _in_part(self.loopback.app(request), request)
        self.loopback.note(request, response.status)
        self._write(request, response, fault)

    def _write(self, request: Request, response: Response, fault: Fault | None) -> None:
        body = response.body
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if "Content-Length" not in response.headers:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if request.method == "HEAD":
            return
        if fault is not None and fault.corrupt:
            body = body[:-1] + bytes([body[-1] ^ 1])
        if fault is not None and fault.cut is not None:
            self.wfile.write(body[: fault.cut])
            self.wfile.flush()
            time.sleep(0.05)  # so that the client has read them when the connection ends
            self.close_connection = True
            return
        self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _answer


def _in_part(response: Response, request: Request) -> Response:
    """The part of a body that `Range` asks for: 206, or 416 where it lies behind the end."""
    asked = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if not response.ranged or response.status != 200 or asked is None:
        return response
    total, first = len(response.body), int(asked[1])
    last = min(int(asked[2] or total - 1), total - 1)
    if first > last:
        return Response(416, {"Content-Range": f"bytes */{total}"})
    headers = {**response.headers, "Content-Range": f"bytes {first}-{last}/{total}"}
    return Response(206, headers, response.body[first : last + 1])
