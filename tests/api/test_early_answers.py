"""What a server says while a file is still being sent to it is read and believed."""

from __future__ import annotations

import io
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rescalefs.api.bounds import is_final
from rescalefs.clock import SystemClock
from rescalefs.errors import ApiError, Forbidden, InvalidRequest, Unauthenticated, UnexpectedAnswer
from tests.api.conftest import MakeClient
from tests.api.peers import Authority, answer, talker

LARGE = 32 << 20


class Zeros(io.RawIOBase):
    """As many zeros as are asked for; counts them."""

    def __init__(self) -> None:
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        self.given += len(buffer)
        return len(buffer)


def refusing(
    says: bytes, tls: ssl.SSLContext | None, then: Callable[[socket.socket], object]
) -> Callable[[socket.socket], None]:
    """Answers after 64 KiB of a request, and then does what front servers do."""

    def act(peer: socket.socket) -> None:
        if tls is not None:
            peer = tls.wrap_socket(peer, server_side=True)
        with peer:
            taken = 0
            while taken < 1 << 16:
                taken += len(peer.recv(4096))
            peer.sendall(says)
            then(peer)

    return act


def closing(peer: socket.socket) -> None:
    """With data that nobody read, so the other end gets a reset."""


def lingering(peer: socket.socket) -> None:
    """As nginx: what still comes is read and thrown away."""
    while peer.recv(1 << 16):
        pass


@pytest.mark.parametrize(
    ("secure", "then"),
    [(False, closing), (False, lingering), (True, lingering)],
    ids=["reset", "plain", "tls"],
)
@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("413 Payload Too Large", InvalidRequest),
        ("401 Unauthorized", Unauthenticated),
        ("403 Forbidden", Forbidden),
    ],
)
def test_a_refusal_in_the_middle_of_a_file_is_told_and_the_rest_is_not_sent(
    connect: MakeClient,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
    secure: bool,
    then: Callable[[socket.socket], object],
    status: str,
    error: type[ApiError],
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
    tls = authority.server("127.0.0.1") if secure else None
    content = Zeros()
    with talker(refusing(answer(status), tls, then)) as address:
        client = connect(f"http{'s' * secure}://{address}", SystemClock(), read_timeout=20.0)
        with pytest.raises(error, match=status[:3]):
            client.upload("x", content, LARGE)
        client.close()
    assert content.given < LARGE


def test_a_file_that_is_taken_before_its_end_is_not_believed_to_be_there(connect: MakeClient) -> None:
    says = b'HTTP/1.1 201 Created\r\nContent-Length: 26\r\n\r\n{"id": "aBc", "name": "x"}'
    with talker(refusing(says, None, lingering)) as address:
        client = connect(f"http://{address}", SystemClock(), read_timeout=20.0)
        with pytest.raises(UnexpectedAnswer, match="before all of it was sent"):
            client.upload("x", Zeros(), LARGE)
        client.close()


def test_an_interim_answer_does_not_end_the_sending(connect: MakeClient) -> None:
    arrived = threading.Event()

    def act(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        taken = 8192  # what may have come with the head
        while taken < LARGE:
            taken += len(peer.recv(1 << 16))
        arrived.set()
        peer.sendall(b'HTTP/1.1 201 Created\r\nContent-Length: 26\r\n\r\n{"id": "aBc", "name": "x"}')
        lingering(peer)

    with talker(act) as address:
        client = connect(f"http://{address}", SystemClock(), read_timeout=20.0)
        assert client.upload("x", Zeros(), LARGE).id == "aBc"
        client.close()
    assert arrived.is_set()


@pytest.mark.parametrize(
    ("head", "final"),
    [
        (b"", False),
        (b"HTTP/1.1 4", False),
        (b"HTTP/1.1 413 Payload", True),
        (b"HTTP/1.1 100 Continue\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 413 P", True),
        (b"SSH-2.0-OpenSSH", True),
    ],
)
def test_an_answer_is_final_unless_it_is_interim(head: bytes, final: bool) -> None:
    assert is_final(head) is final


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder: Path = tmp_path_factory.mktemp("authority")
    return Authority(folder)
