"""Connections to hosts of several addresses, some of them dead, on real sockets of the loopback."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from rescalefs import dialing
from rescalefs.dialing import Address, Dialer


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.fixture
def hole() -> Iterator[Address]:
    """An address that swallows what is sent to it: a queue of connections that is full, as Linux drops the
    packets for it, and says nothing."""
    with ExitStack() as held:
        server = held.enter_context(socket.create_server(("127.0.0.2", 0), backlog=0))
        for _ in range(8):
            filling = held.enter_context(socket.socket())
            filling.settimeout(0.05)
            with suppress(TimeoutError):
                filling.connect(server.getsockname())
                continue
            break
        else:
            pytest.fail("the queue does not fill")
        yield (int(socket.AF_INET), server.getsockname())


def at(server: socket.socket) -> Address:
    return (int(server.family), server.getsockname())


def refused() -> Address:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return (int(socket.AF_INET), taken.getsockname())


class Asked(Dialer):
    """A dialer whose resolver gives these addresses."""

    def __init__(self, *addresses: Address) -> None:
        self.addresses = list(addresses)
        super().__init__(lambda _host, _port: self.addresses)


def test_an_address_that_swallows_everything_costs_a_moment_and_only_once(
    hole: Address, listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialer = Asked(hole, at(listening))
    with dialer.connect("rescale.test", 443, 30.0) as made:
        assert made.getpeername() == listening.getsockname()
        assert made.gettimeout() == 30.0
    tried: list[Address] = []
    begin = dialing._begin

    def noting(address: Address, *rest: Any) -> None:
        tried.append(address)
        begin(address, *rest)

    monkeypatch.setattr(dialing, "_begin", noting)
    dialer.connect("rescale.test", 443, 30.0).close()
    assert tried == [at(listening)], "the one that answered is tried first, and no other"


def test_an_address_that_goes_dead_later_is_left_for_the_other(
    hole: Address, listening: socket.socket
) -> None:
    dialer = Asked(at(listening))
    dialer.connect("rescale.test", 443, 30.0).close()
    dialer.addresses = [hole, at(listening)]
    dialer.connect("rescale.test", 443, 30.0).close()
    with socket.create_server(("127.0.0.1", 0)) as other:
        dialer.addresses = [hole, at(other)]  # the host has moved
        with dialer.connect("rescale.test", 443, 30.0) as made:
            assert made.getpeername() == other.getsockname()


def test_an_address_that_refuses_is_left_for_the_next_at_once(listening: socket.socket) -> None:
    dialer = Asked(refused(), refused(), at(listening))
    with dialer.connect("rescale.test", 443, 30.0) as made:
        assert made.getpeername() == listening.getsockname()


def test_where_all_refuse_the_first_refusal_is_raised() -> None:
    with pytest.raises(ConnectionRefusedError):
        Asked(refused(), refused()).connect("rescale.test", 443, 30.0)


def test_where_nothing_answers_the_time_limit_ends_it(hole: Address) -> None:
    with pytest.raises(TimeoutError, match="timed out"):
        Asked(hole, hole).connect("rescale.test", 443, 0.3)


def test_a_host_without_addresses_is_an_error() -> None:
    with pytest.raises(OSError, match="no addresses"):
        Asked().connect("rescale.test", 443, 1.0)


def test_only_the_winner_stays_open(listening: socket.socket) -> None:
    with (
        socket.create_server(("127.0.0.3", 0)) as second,
        Asked(at(listening), at(second)).connect("rescale.test", 443, 5.0),
    ):
        listening.accept()[0].close()
        second.setblocking(False)
        with pytest.raises(BlockingIOError):
            second.accept()


def test_a_connection_is_kept_alive_and_its_end_is_noticed(listening: socket.socket) -> None:
    with Asked(at(listening)).connect("rescale.test", 443, 5.0) as made:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert 0 < made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 30
        assert 0 < made.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) <= 60_000


def test_the_kinds_of_addresses_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    six, four = socket.AF_INET6, socket.AF_INET
    found = [
        (kind, 1, 6, "", (f"{kind.name}-{n}",)) for kind, count in ((six, 3), (four, 2)) for n in range(count)
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: [*found, found[0]])
    names = [address[0] for _, address in dialing.resolved("rescale.test", 443)]
    assert names == ["AF_INET6-0", "AF_INET-0", "AF_INET6-1", "AF_INET-1", "AF_INET6-2"]


def test_what_is_remembered_of_hosts_has_a_limit(listening: socket.socket) -> None:
    dialer = Asked(at(listening))
    accepting = threading.Event()

    def accept() -> None:
        while not accepting.is_set():
            with suppress(OSError):
                listening.accept()[0].close()

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        for number in range(70):
            dialer.connect(f"host-{number}", 443, 5.0).close()
    finally:
        accepting.set()
        Asked(at(listening)).connect("end", 1, 5.0).close()
        thread.join()
    assert len(dialer._answered) == 64
