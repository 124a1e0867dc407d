"""Connections opened before there is a client, on real sockets of the loopback."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from rescalefs.ahead import OpenedAhead


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def ahead_of(server: socket.socket, count: int) -> OpenedAhead:
    return OpenedAhead(f"http://127.0.0.1:{server.getsockname()[1]}", count, 5.0)


def test_who_takes_one_gets_a_connection_to_the_server_and_the_next_gets_none(
    listening: socket.socket,
) -> None:
    ahead = ahead_of(listening, 1)
    ahead.open_one()
    opened = ahead.take("127.0.0.1", listening.getsockname()[1])
    assert opened is not None
    with opened, listening.accept()[0] as accepted:
        opened.sendall(b"hello")
        assert accepted.recv(5) == b"hello"
    assert ahead.take("127.0.0.1", listening.getsockname()[1]) is None


def test_there_are_none_to_another_address(listening: socket.socket) -> None:
    ahead = ahead_of(listening, 1)
    ahead.open_one()
    assert ahead.take("127.0.0.1", 1) is None
    assert ahead.take("elsewhere.example", listening.getsockname()[1]) is None
    ahead.close()


def test_those_that_nobody_took_are_closed_and_so_are_those_that_come_later(
    listening: socket.socket,
) -> None:
    ahead = ahead_of(listening, 2)
    ahead.open_one()
    ahead.close()
    ahead.open_one()
    assert ahead.take("127.0.0.1", listening.getsockname()[1]) is None
    for _ in range(2):
        with listening.accept()[0] as accepted:
            assert accepted.recv(1) == b""


def test_where_the_server_is_not_there_or_the_address_is_none_nobody_waits() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        port = taken.getsockname()[1]
        for url in (f"http://127.0.0.1:{port}", "http://127.0.0.1:port", "nowhere", "http://.."):
            ahead = OpenedAhead(url, 1, 5.0)
            ahead.open_one()
            assert ahead.take("127.0.0.1", port) is None


def test_past_a_proxy_nothing_is_opened(listening: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.example:3128")
    ahead = ahead_of(listening, 1)
    ahead.open_one()
    assert ahead.take("127.0.0.1", listening.getsockname()[1]) is None
    listening.setblocking(False)
    with pytest.raises(BlockingIOError):
        listening.accept()
