"""Servers that send too slowly, too much, or nonsense: each call ends, in bounds, with an error of ours.

The slow ones move the clock by a second with each byte, so that hours pass in a moment. Their bytes
never end: a call that has no limit of its own would not return.
"""

from __future__ import annotations

import io
import json
import re
import socket
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress

import pytest

from rescalefs.api import RangeBody, RescaleClient
from rescalefs.clock import SystemClock
from rescalefs.errors import ApiError, NotFound, ServerFailed, TimedOut, UnexpectedAnswer
from rescalefs.model import RemoteFile
from tests.api.conftest import MakeClient
from tests.api.scripted import Asked, Reply, ScriptedServer, page, reply
from tests.fakes import FakeClock

MIB = 1 << 20
FILE = RemoteFile("aBcDeF", "out.log", "out.log", size=100)
USER = {"email": "a@b.c"}

# What is done with a connection once a whole request has come.
Answering = Callable[[socket.socket], None]


class RawServer:
    """Says whatever bytes it is told to; threads end with it."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()  # guards _open
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        with self._lock:
            still_open = list(self._open)
        for each in still_open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection = self._listening.accept()[0]
                with self._lock:
                    self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            incoming = connection.makefile("rb")
            with incoming:
                head = b"".join(iter(incoming.readline, b"\r\n"))
                length = re.search(rb"(?i)content-length: *(\d+)", head)
                incoming.read(int(length[1]) if length else 0)
                self._answering(connection)


@contextmanager
def raw(answering: Answering) -> Iterator[str]:
    server = RawServer(answering)
    try:
        yield server.url
    finally:
        server.close()


def trickle(clock: FakeClock, beginning: bytes, tick: bytes) -> Answering:
    """The beginning at once, then a tick a second, for ever."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(beginning)
        while True:
            clock.advance(1.0)
            connection.sendall(tick)

    return answer


OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: 60000\r\n\r\n"
SLOW = {
    "status line": (b"HTTP/1.1 200 ", b"O"),
    "headers": (OK, b"X-A: b\r\n"),
    "a header that never ends": (OK + b"X-A: ", b"b"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "103 Early Hints": (b"HTTP/1.1 103 Early Hints\r\n", b"Link: a\r\n"),
    "a good body": (OK + LENGTH, b" "),
    "a body without an end": (OK + b"\r\n", b" "),
    "chunks of one byte": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "the size of a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n5;", b"a"),
    "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X: y\r\n"),
    "early hints": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 1000),
    "an error's body": (b"HTTP/1.1 500 X\r\n" + LENGTH, b"a"),
    "a refusal's body": (b"HTTP/1.1 404 X\r\n" + LENGTH, b"a"),
    "a body of 429": (b"HTTP/1.1 429 X\r\nRetry-After: 1\r\n" + LENGTH, b"a"),
    "a redirect's body": (
        b"HTTP/1.1 302 X\r\nLocation: /api/v2/users/me/\r\nContent-Length: 600\r\n\r\n",
        b"a",
    ),
    "a compressed body": (OK + b"Content-Encoding: deflate\r\n" + LENGTH, b"\x00\x00\x00\xff\xff"),
}
CALLS: dict[str, Callable[[RescaleClient], object]] = {
    "whoami": lambda client: client.user(),
    "a list": lambda client: client.jobs(),
    "create": lambda client: client.create_job({"name": "x"}),
    "upload": lambda client: client.upload("x", io.BytesIO(b"content"), 7),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("where", SLOW)
def test_what_comes_a_byte_a_second_ends_within_the_limits(
    where: str, call: str, connect: MakeClient, clock: FakeClock
) -> None:
    with raw(trickle(clock, *SLOW[where])) as url:
        client = connect(url, patience=20.0, read_timeout=20.0, upload_answer=60.0)
        with pytest.raises(ApiError):
            CALLS[call](client)
        client.close()


@pytest.mark.parametrize(
    "where", ["status line", "headers", "a header that never ends", "100 Continue", "103 Early Hints"]
)
def test_a_slow_head_of_a_file_ends_within_the_limits(
    where: str, connect: MakeClient, clock: FakeClock
) -> None:
    with raw(trickle(clock, *SLOW[where])) as url:
        client = connect(url, patience=20.0, read_timeout=20.0)
        with pytest.raises(ApiError), client.open_range(FILE, 0, 100) as body:
            b"".join(body)
        client.close()


def test_a_file_that_comes_a_byte_a_second_gives_what_came_and_ends(
    connect: MakeClient, clock: FakeClock
) -> None:
    head = b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-999999/1000000\r\nContent-Length: 1000000\r\n\r\n"
    some_came = threading.Event()

    def answer(connection: socket.socket) -> None:
        connection.sendall(head + bytes(20_000))
        some_came.wait(60)
        trickle(clock, b"", b"x")(connection)

    got: list[bytes] = []
    with raw(answer) as url:
        client = connect(url, patience=20.0, read_timeout=20.0)
        with pytest.raises(TimedOut), client.open_range(FILE, 0, 1_000_000) as body:
            got.extend(_noting(body, some_came))
        client.close()
    assert len(b"".join(got)) >= 16_384


def _noting(body: RangeBody, came: threading.Event) -> Iterator[bytes]:
    for chunk in body:
        yield chunk
        came.set()


def test_of_an_error_that_never_comes_to_its_end_what_came_is_told(
    server: ScriptedServer, connect: MakeClient
) -> None:
    ended = threading.Event()
    server.script(
        Reply(404, b"no such user" + bytes(100), {"Content-Type": "text/plain"}, cut=12, hang=ended)
    )
    try:
        with pytest.raises(NotFound, match="no such user"):
            connect(server.url, read_timeout=0.2).user()
    finally:
        ended.set()


# -- too much


def endless(beginning: bytes, piece: bytes) -> Answering:
    """The beginning, then the same piece for ever, as fast as it goes."""

    def answer(connection: socket.socket) -> None:
        connection.sendall(beginning)
        while True:
            connection.sendall(piece)

    return answer


BIG = b"a" * (1 << 16)
EMPTY = b"\x00\x00\x00\xff\xff"  # a block of deflate that holds nothing
ENDLESS = {
    "status line": (b"HTTP/1.1 200 ", BIG),
    "headers": (OK, b"X-A: " + BIG[:1000] + b"\r\n"),
    "100 Continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
    "103 Early Hints": (b"HTTP/1.1 103 Early Hints\r\n", b"Link: a\r\n" * 100),
    "a good body": (OK + b"\r\n", BIG),
    "a claimed body": (OK + b"Content-Length: 999999999999999999\r\n\r\n", BIG),
    "a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffff\r\n", BIG),
    "the size of a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n5;", BIG),
    "trailers": (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n", b"X: " + b"y" * 997 + b"\r\n"),
    "an error's body": (b"HTTP/1.1 500 X\r\n\r\n", BIG),
    "a compressed body of nothing": (
        OK + b"Content-Encoding: deflate\r\n\r\n",
        b"\x00\x00\x00\xff\xff" * 1000,
    ),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("where", ENDLESS)
def test_what_never_ends_is_given_up(where: str, call: str, connect: MakeClient) -> None:
    with raw(endless(*ENDLESS[where])) as url:
        client = connect(url, patience=0.0)
        with pytest.raises((UnexpectedAnswer, ServerFailed, ApiError)):
            CALLS[call](client)
        client.close()


TRAILER = b"X: " + b"y" * 995 + b"\r\n"  # 1000 bytes


@pytest.mark.parametrize(("count", "given_up"), [(250, False), (300, True)])
@pytest.mark.parametrize("call", ["create", "whoami"])
def test_trailers_are_limited_as_headers_are_however_large_the_body_may_be(
    call: str, count: int, given_up: bool, connect: MakeClient
) -> None:
    body = json.dumps({"email": "a@b.c", "id": "aBcDeF", "name": "j"}).encode()
    answer = OK + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(body), body)
    with raw(lambda connection: connection.sendall(answer + TRAILER * count + b"\r\n")) as url:
        client = connect(url, patience=0.0)
        with pytest.raises(UnexpectedAnswer, match="larger than any") if given_up else nullcontext():
            CALLS[call](client)
        client.close()


def test_interim_answers_of_every_kind_are_passed_over(connect: MakeClient) -> None:
    body = json.dumps(USER).encode()
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    with raw(lambda connection: connection.sendall(interim + interim + answer)) as url:
        client = connect(url, patience=0.0)
        assert client.user().email == "a@b.c"
        client.close()


def bomb(size: int) -> bytes:
    """So many bytes of a JSON text, compressed a thousandfold."""
    packer = zlib.compressobj(9)
    piece = b" " * MIB
    packed = [packer.compress(b'{"email": "')]
    packed += [packer.compress(piece) for _ in range(size // MIB)]
    return b"".join([*packed, packer.compress(b'"}'), packer.flush()])


def test_an_answer_that_unpacks_to_more_than_there_may_be_is_refused(
    server: ScriptedServer, client: RescaleClient
) -> None:
    packed = bomb(64 * MIB)
    assert len(packed) < MIB
    server.script(Reply(200, packed, {"Content-Encoding": "deflate"}))
    with pytest.raises(UnexpectedAnswer, match=r"GET users/me/: .*more than"):
        client.user()


def test_a_job_with_many_inputs_may_be_larger_than_other_answers(
    server: ScriptedServer, client: RescaleClient
) -> None:
    inputs = [{"id": f"f{number}", "name": "x" * 500} for number in range(20_000)]
    document = {"id": "aBcDeF", "name": "j", "jobanalyses": [{"inputFiles": inputs}]}
    server.answering = lambda _: reply(document)
    assert client.create_job({"name": "j"}).id == "aBcDeF"
    assert len(client.job("aBcDeF").inputs) == 20_000


def test_an_error_that_unpacks_to_more_than_there_may_be_is_cut(
    server: ScriptedServer, connect: MakeClient
) -> None:
    server.script(Reply(404, bomb(64 * MIB), {"Content-Encoding": "deflate"}))
    with pytest.raises(NotFound) as failure:
        connect(server.url).user()
    assert len(str(failure.value)) < 1000


def test_a_compressed_answer_of_an_ordinary_size_is_read(
    server: ScriptedServer, client: RescaleClient
) -> None:
    server.script(Reply(200, zlib.compress(json.dumps(USER).encode()), {"Content-Encoding": "deflate"}))
    assert client.user().email == "a@b.c"


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("Retry-After", "Mon, 01 Jan 2024 00:00:00 +99999999999999999999"),
        ("Retry-After", "9" * 5000),
        ("Content-Type", "\xff" * 3000),
        ("Content-Encoding", "gzip, deflate, gzip, deflate, gzip, deflate, gzip"),
        ("Content-Encoding", "gzip"),
        ("Content-Length", "9" * 5000),
        ("Content-Length", "-5"),
        ("Content-Length", "5, 6"),
        ("Transfer-Encoding", "chunked, chunked"),
        ("Set-Cookie", "a=b; expires=Mon, 01 Jan 99999999999999 00:00:00 GMT; Max-Age=1e999"),
        ("Location", "http://[::1"),
        ("Location", "\x00%zz://" + "a" * 5000),
        ("Date", "\x00"),
    ],
)
@pytest.mark.parametrize("status", [200, 302, 404, 429, 503])
def test_no_header_raises_what_is_not_ours(
    header: str, value: str, status: int, server: ScriptedServer, connect: MakeClient
) -> None:
    body = json.dumps(USER).encode()
    server.answering = lambda _: Reply(status, body, {header: value}, has_length=header[-6:] != "Length")
    client = connect(server.url, patience=1.0)
    for call in (client.user, client.server_time, client.connect):
        with suppress(ApiError):
            call()


# -- lists


def test_an_empty_page_ends_a_list_whatever_it_names_as_the_next(
    server: ScriptedServer, client: RescaleClient
) -> None:
    def endless_list(asked: Asked) -> Reply:
        number = int(asked.query["page"])
        return page([{"id": "p", "name": "x"}] if number == 1 else [], following=f"?page={number + 1}")

    server.answering = endless_list
    assert [each.id for each in client.projects()] == ["p"]
    assert len(server.asked) == 2


def test_an_empty_first_page_ends_a_list_that_tells_of_many(
    server: ScriptedServer, client: RescaleClient
) -> None:
    server.answering = lambda _: page([], count=100_000, following="?page=2")
    assert client.projects() == ()
    assert len(server.asked) <= 2  # once more, as the count does not agree


def test_a_list_that_goes_on_and_on_is_given_up(server: ScriptedServer, connect: MakeClient) -> None:
    def endless_list(asked: Asked) -> Reply:
        number = int(asked.query["page"])
        items = [{"id": f"{number}-{each}", "name": "x"} for each in range(100)]
        return page(items, following=f"https://elsewhere.invalid/?page={number + 1}")

    server.answering = endless_list
    with pytest.raises(UnexpectedAnswer, match="longer than any should be"):
        connect(server.url, longest_list=1000).projects()
    assert len(server.asked) == 11


def test_a_list_whose_count_is_too_small_is_followed_to_its_end(
    server: ScriptedServer, client: RescaleClient
) -> None:
    def lying(asked: Asked) -> Reply:
        number = int(asked.query["page"])
        following = f"?page={number + 1}" if number < 3 else None
        return page([{"id": f"p{number}", "name": "x"}], count=1, following=following)

    server.answering = lying
    assert [each.id for each in client.projects()] == ["p1", "p2", "p3"]


def test_odd_entries_are_left_out_on_every_page_and_logged_once(
    server: ScriptedServer, client: RescaleClient, caplog: pytest.LogCaptureFixture
) -> None:
    def odd(asked: Asked) -> Reply:
        number = int(asked.query["page"])
        return page([{"id": f"p{number}"}, {"name": "no id"}, number], count=9)

    server.answering = odd
    assert [each.id for each in client.projects()] == ["p1", "p2", "p3"]
    logged = [record for record in caplog.records if "left out" in record.getMessage()]
    assert len(logged) <= 2  # for two kinds of oddness; none if an earlier test had them


def test_an_answer_that_raises_what_nobody_foresaw_is_an_error_of_ours(
    server: ScriptedServer, client: RescaleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def strange(*_: object) -> None:
        raise OverflowError("date value out of range")

    monkeypatch.setattr("rescalefs.api.wire.user", strange)
    server.answering = lambda _: reply(USER)
    with pytest.raises(UnexpectedAnswer, match=r"GET users/me/: .*OverflowError"):
        client.user()


def test_a_small_upload_without_an_answer_ends_soon(connect: MakeClient) -> None:
    ended = threading.Event()

    def answer(connection: socket.socket) -> None:
        while connection.recv(1 << 16):
            pass
        ended.set()

    with raw(answer) as url:
        client = connect(url, SystemClock(), read_timeout=0.2)  # the client's 600 s would outlast the test
        with pytest.raises(TimedOut):
            client.upload("x", io.BytesIO(b"content"), 7)
        client.close()
    assert ended.wait(30)
