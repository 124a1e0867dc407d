"""Files on their way to the server: streamed, once, and with honest errors."""

from __future__ import annotations

import io
import re
import socket
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from rescalefs.api import ApiSettings, RescaleClient
from rescalefs.errors import ApiError, InvalidRequest, NotFound, Throttled, Unreachable
from rescalefs.model import FileType
from tests.api.conftest import MakeClient
from tests.api.scripted import Asked, Reply, ScriptedServer, reply

LARGE = 64 << 20
FILE = {"id": "aBc", "name": "wing.stl", "typeId": 1}


def form_of(asked: Asked) -> dict[str, bytes]:
    """The parts of a multipart form, by the name of their field."""
    boundary = re.search(r"boundary=(.+)", asked.headers["Content-Type"])
    assert boundary is not None
    parts = asked.body.split(b"--" + boundary[1].encode())[1:-1]
    fields = {}
    for part in parts:
        head, _, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        assert name is not None
        fields[name[1].decode()] = content.removesuffix(b"\r\n")
    return fields


def test_the_answer_to_an_upload_has_time_by_its_size() -> None:
    settings = ApiSettings("http://127.0.0.1", "a" * 40, read_timeout=60.0)
    assert settings.patience_after_upload(0) == 60.0
    assert settings.patience_after_upload(1_000_000_000) == 160.0
    assert settings.patience_after_upload(20_000_000_000) == 600.0
    patient = ApiSettings("http://127.0.0.1", "a" * 40, read_timeout=900.0)
    assert patient.patience_after_upload(0) == 900.0


def is_whole(asked: Asked) -> bool:
    """Whether all came that was announced; a server refuses what did not."""
    return len(asked.body) == int(asked.headers["Content-Length"])


class Broken(io.RawIOBase):
    """Gives a few bytes and then fails."""

    def __init__(self, error: Exception) -> None:
        self._left, self._error = 3, error

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        if not self._left:
            raise self._error
        self._left -= 1
        return min(len(buffer), 10)


@pytest.mark.parametrize("status", [200, 201])
def test_the_file_is_one_part_of_a_form_beside_its_type(
    server: ScriptedServer, client: RescaleClient, status: int
) -> None:
    server.script(reply(FILE, status))
    content = bytes(range(256)) * 5000
    file = client.upload("wing.stl", io.BytesIO(content), len(content), FileType.SCRIPT)
    assert (file.id, file.name) == ("aBc", "wing.stl")
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/api/v2/files/contents/")
    assert form_of(asked) == {"type_id": b"4", "file": content}


def test_progress_goes_from_nothing_to_all(server: ScriptedServer, client: RescaleClient) -> None:
    server.script(reply(FILE, 201))
    heard: list[int] = []
    client.upload("x", io.BytesIO(bytes(2 << 20)), 2 << 20, progress=heard.append)
    assert heard == sorted(heard)
    assert len(set(heard)) > 3
    assert (heard[0] < 2 << 20, heard[-1]) == (True, 2 << 20)


def test_only_the_listed_bytes_of_a_file_that_grows_are_sent(
    server: ScriptedServer, client: RescaleClient
) -> None:
    server.script(reply(FILE, 201))
    client.upload("x", io.BytesIO(b"0123456789"), 4)
    assert form_of(server.asked[0])["file"] == b"0123"


class Zeros(io.RawIOBase):
    """As many zeros as are asked for."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        return len(buffer)


@contextmanager
def sink() -> Iterator[tuple[str, list[int]]]:
    """A server that takes one request and keeps nothing of it but its length; then it hangs up."""
    lengths: list[int] = []

    def take() -> None:
        connection, _ = listening.accept()
        buffer = bytearray(1 << 16)
        total = 0
        with connection:
            while total < LARGE and (count := connection.recv_into(buffer)):
                total += count
        lengths.append(total)

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        thread = threading.Thread(target=take)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", lengths
        thread.join()


def test_a_large_file_is_sent_in_constant_memory(connect: MakeClient) -> None:
    with sink() as (url, lengths):
        client = connect(url)
        tracemalloc.start()
        try:
            with pytest.raises(Unreachable):
                client.upload("x", Zeros(), LARGE)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    (received,) = lengths
    assert received >= LARGE
    assert peak < 4 << 20


@pytest.mark.parametrize(
    "error", [FileNotFoundError(2, "gone"), OSError(5, "the disk"), LookupError("changed")]
)
def test_what_reading_the_file_raises_is_not_the_networks_fault(
    server: ScriptedServer, client: RescaleClient, error: Exception
) -> None:
    with pytest.raises(type(error)) as raised:
        client.upload("x", Broken(error), 1000)
    assert raised.value is error
    assert not any(is_whole(asked) for asked in server.asked)


def test_what_hearing_of_progress_raises_is_not_the_networks_fault(
    server: ScriptedServer, client: RescaleClient
) -> None:
    error = FileNotFoundError(2, "gone")

    def hear(sent: int) -> None:
        raise error

    with pytest.raises(FileNotFoundError) as raised:
        client.upload("x", io.BytesIO(b"0123"), 4, progress=hear)
    assert raised.value is error
    assert not any(is_whole(asked) for asked in server.asked)


def test_a_file_that_ends_early_is_not_sent_as_if_it_were_whole(
    server: ScriptedServer, client: RescaleClient
) -> None:
    with pytest.raises(OSError, match="ended 6 bytes early"):
        client.upload("x", io.BytesIO(b"0123"), 10)
    assert not any(is_whole(asked) for asked in server.asked)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply({"detail": "busy"}, 503), ApiError),
        (reply({"detail": "later"}, 429, Retry_After="1"), Throttled),
        (reply({"file": ["too large"]}, 400), InvalidRequest),
        (Reply(drop=True), Unreachable),
        (reply({}, 404), NotFound),
    ],
)
def test_a_file_is_sent_once_whatever_comes_of_it(
    server: ScriptedServer, client: RescaleClient, answer: Reply, error: type[ApiError]
) -> None:
    server.script(answer)
    with pytest.raises(error):
        client.upload("x", io.BytesIO(b"0123"), 4)
    assert len(server.asked) == 1


@pytest.mark.parametrize("name", ['say "hi".txt', "Überdruck.inp", "a;b=c", "two\nlines"])
def test_odd_names_stay_one_field_of_the_form(
    server: ScriptedServer, client: RescaleClient, name: str
) -> None:
    server.script(reply(FILE, 201))
    client.upload(name, io.BytesIO(b"0123"), 4)
    assert form_of(server.asked[0])["file"] == b"0123"
    assert set(form_of(server.asked[0])) == {"type_id", "file"}


def test_a_line_on_which_a_piece_takes_longer_than_connecting_may_is_slow_and_not_broken(
    server: ScriptedServer, connect: MakeClient
) -> None:
    server.script(reply(FILE, 201))
    never = threading.Event()
    server.before_body = lambda: never.wait(0.2)  # real time, because the limit is the socket's own
    slow = connect(server.url, connect_timeout=0.05, read_timeout=30.0)
    slow.upload("x", io.BytesIO(bytes(LARGE)), LARGE)  # more than the sockets' buffers hold
    assert is_whole(server.asked[0])
