"""A server that answers as it is told, on a free port of the loopback: replies in order, or by a function."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True)
class Asked:
    """One request, as it arrived."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int  # the client's port: the same for requests on one connection

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass(frozen=True)
class Reply:
    """What is sent back. Content-Length is that of the whole body, whatever of it is sent."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    drop: bool = False  # the connection is closed without an answer
    cut: int | None = None  # after so many bytes of the body the connection is closed
    hang: threading.Event | None = None  # after the part that is sent: nothing, until it is set
    has_length: bool = True  # False: the body ends where the connection does


def reply(document: Any = None, status: int = 200, **headers: str) -> Reply:
    """A JSON answer; ``Retry_After`` stands for `Retry-After`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps({} if document is None else document).encode(), named)


Answering = Callable[[Asked], Reply]


class ScriptedServer:
    """Answers by ``script`` first, then by ``answering``; notes what it was asked. Thread-safe."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._lock = threading.Lock()  # guards _script, asked and _open
        self._script: deque[Reply] = deque()
        self._open: set[socket.socket] = set()
        self.asked: list[Asked] = []
        self.answering: Answering = lambda _: reply()
        self.before_body: Callable[[], object] = lambda: None  # is called before a request's body is read
        self._server = _Server(self)
        self._scheme = "http"
        if tls is not None:
            self._scheme = "https"
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def connections(self) -> int:
        """How many it has accepted. In order: who has an answer has had all earlier ones counted."""
        return self._server.connections

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        return f"{self._scheme}://{self.address}"

    def script(self, *replies: Reply) -> None:
        """These are the next answers, whatever is asked."""
        with self._lock:
            self._script.extend(replies)

    def take(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked.append(asked)
            if self._script:
                return self._script.popleft()
        return self.answering(asked)

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.add(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.discard(connection)

    def close(self) -> None:
        """Refuse connections from now on, and cut those that are open."""
        self._server.shutdown()
        self._thread.join()
        with self._lock:
            still_open = list(self._open)
        for each in still_open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # so that closing joins them

    def __init__(self, script: ScriptedServer) -> None:
        self.script = script
        self.connections = 0
        super().__init__(("127.0.0.1", 0), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        accepted = super().get_request()
        self.connections += 1
        return accepted

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle are what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer in two writes would wait 40 ms for the delayed ACK
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.script.opened(self.connection)

    def finish(self) -> None:
        self.server.script.closed(self.connection)
        with suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name in http.server
        """Say nothing."""

    def answer(self) -> None:
        self.server.script.before_body()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        asked = Asked(self.command, self.path, dict(self.headers.items()), body, self.client_address[1])
        reply = self.server.script.take(asked)
        if reply.drop:
            self.close_connection = True
            return
        self.send_response_only(reply.status)  # without a Date of its own, because the clock is a fake
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.status != 204 and reply.has_length:
            self.send_header("Content-Length", str(len(reply.body)))
        self.end_headers()
        self.wfile.write(reply.body if reply.cut is None else reply.body[: reply.cut])
        self.wfile.flush()
        if reply.hang is not None:
            reply.hang.wait()
        if reply.cut is not None or not reply.has_length:
            self.close_connection = True

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = answer  # noqa: N815  # its names in http.server


@contextmanager
def scripted(tls: ssl.SSLContext | None = None) -> Iterator[ScriptedServer]:
    """A server that is closed at the end."""
    server = ScriptedServer(tls)
    try:
        yield server
    finally:
        server.close()


def refused_url() -> str:
    """An address at which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


def page(items: list[Any], count: int | None = None, following: str | None = None) -> Reply:
    """One page of a list."""
    document: dict[str, Any] = {"results": items, "next": following}
    return reply(document if count is None else {**document, "count": count})


def ranged(content: bytes) -> Answering:
    """Answers as a good server does for this file, ranges and all."""

    def answer(asked: Asked) -> Reply:
        told = asked.headers.get("Range", "")
        if not told:
            return Reply(200, content)
        first, _, last = told.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last or len(content) - 1) + 1, len(content))
        if start >= len(content):
            return Reply(416, b"", {"Content-Range": f"bytes */{len(content)}"})
        headers = {"Content-Range": f"bytes {start}-{stop - 1}/{len(content)}"}
        return Reply(206, content[start:stop], headers)

    return answer
