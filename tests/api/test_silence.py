"""Connections that die without a word: they cost seconds, and nothing that must not be sent twice is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest

from rescalefs.api import RescaleClient
from rescalefs.api import transport as transport_module
from rescalefs.clock import SystemClock
from rescalefs.errors import TimedOut, Unreachable
from rescalefs.model import RemoteFile
from tests.api.conftest import MakeClient
from tests.api.peers import Gateway, gateway
from tests.api.scripted import Asked, Reply, ScriptedServer, page, ranged, reply, scripted
from tests.fakes import FakeClock

USER = {"email": "me@example.com"}
CONTENT = bytes(range(256)) * 4096
FILE = RemoteFile("aBcDeF", "x.bin", "x.bin", len(CONTENT))


@pytest.fixture
def between(server: ScriptedServer) -> Iterator[Gateway]:
    """What is between the client and the server."""
    server.answering = lambda _: reply(USER)
    with gateway(server.address) as running:
        yield running


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits of these tests, a tenth of the real ones."""
    monkeypatch.setattr(transport_module, "_SOON", 0.5)
    monkeypatch.setattr(transport_module, "SILENCE", 0.5)


class SleepyClock(FakeClock):
    """A machine that can be suspended: then its monotonic clock stands still, and the wall clock goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.slept = timedelta()

    def now(self) -> datetime:
        return super().now() + self.slept


def test_a_connection_that_died_in_silence_costs_one_short_wait(
    between: Gateway, connect: MakeClient, server: ScriptedServer
) -> None:
    client = connect(f"http://{between.address}", SystemClock(), read_timeout=60.0)
    client.user()
    between.forget()
    assert client.user().email == "me@example.com"  # within the test's own limit: 60 s would be the error
    assert between.accepted == 2, "by a fresh connection"
    client.user()
    assert between.accepted == 2, "which is kept"


def test_all_connections_that_died_at_once_are_paid_for_once(between: Gateway, connect: MakeClient) -> None:
    client = connect(f"http://{between.address}", SystemClock(), read_timeout=60.0)
    for _ in range(4):
        client.connect()
    client.user()
    between.forget()
    client.user()
    assert between.accepted == 5
    client.user()
    assert between.accepted == 5, "the other three were not tried, one after the other"


def test_a_transfer_that_falls_silent_ends_soon_at_the_byte_where_it_fell(
    between: Gateway, connect: MakeClient, server: ScriptedServer
) -> None:
    half = len(CONTENT) // 2
    over = threading.Event()
    server.script(
        Reply(
            206, CONTENT, {"Content-Range": f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}"}, cut=half, hang=over
        )
    )
    client = connect(f"http://{between.address}", SystemClock(), read_timeout=60.0)
    got = bytearray()
    try:
        with client.open_range(FILE, 0, len(CONTENT)) as body, pytest.raises(TimedOut):
            got.extend(each for chunk in body for each in chunk)
    finally:
        over.set()
    server.answering = ranged(CONTENT)
    with client.open_range(FILE, len(got), len(CONTENT)) as body:
        got += b"".join(body)
    assert bytes(got) == CONTENT


def test_a_server_that_is_slow_is_given_more_time_each_time_and_then_remembered(
    server: ScriptedServer, connect: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "_SOON", 0.05)

    def slow(asked: Asked) -> Reply:
        threading.Event().wait(0.3)  # each answer takes so long
        return reply(USER)

    server.answering = slow
    client = connect(server.url, SystemClock(), read_timeout=60.0)
    client.user()
    asked = len(server.asked)
    assert asked >= 2, "0.05 s, 0.15 s, 0.45 s and so on were allowed"
    client.user()
    assert len(server.asked) == asked + 1, "by then it is known to be slow"


def test_what_would_make_a_job_is_sent_once_and_waited_for_with_all_patience(
    server: ScriptedServer, connect: MakeClient
) -> None:
    gate = threading.Event()

    def slow(asked: Asked) -> Reply:
        gate.wait(0.3)
        return reply({"id": "aBc", "name": "wing"})

    server.answering = slow
    client = connect(server.url, SystemClock(), read_timeout=60.0)
    assert client.create_job({"name": "wing"}).id == "aBc"
    client.submit_job("aBc")
    assert [asked.path for asked in server.asked] == ["/api/v2/jobs/", "/api/v2/jobs/aBc/submit/"]


def test_a_creation_on_a_path_that_died_is_an_error_and_not_a_second_job(
    between: Gateway, connect: MakeClient, server: ScriptedServer
) -> None:
    client = connect(f"http://{between.address}", SystemClock(), read_timeout=0.2, patience=0.5)
    client.user()
    between.passing = False
    with pytest.raises(TimedOut):
        client.create_job({"name": "wing"})
    assert between.accepted == 2


@pytest.mark.parametrize("asleep", [False, True])
def test_a_connection_that_was_idle_for_long_is_not_used_again(
    server: ScriptedServer, connect: MakeClient, asleep: bool
) -> None:
    """Also where the machine slept meanwhile, in which its monotonic clock stands still."""
    clock = SleepyClock()
    server.answering = lambda _: reply(USER)
    client = connect(server.url, clock)
    client.user()
    clock.advance(20)
    client.user()
    assert server.connections == 1
    if asleep:
        clock.slept = timedelta(hours=8)
    else:
        clock.advance(40)
    client.user()
    assert server.connections == 2


def test_a_wall_clock_that_is_set_back_keeps_no_connection_for_ever(
    server: ScriptedServer, connect: MakeClient
) -> None:
    clock = SleepyClock()
    server.answering = lambda _: reply(USER)
    client = connect(server.url, clock)
    client.user()
    clock.slept = -timedelta(days=400)
    client.user()
    clock.advance(40)
    client.user()
    assert server.connections == 2


def test_every_socket_is_kept_alive_however_it_was_opened(
    server: ScriptedServer, connect: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rescalefs.api.sockets import OpenSockets

    seen: list[int] = []
    note = OpenSockets._note

    def noting(self: OpenSockets, connected: socket.socket) -> None:
        note(self, connected)
        seen.append(connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))

    monkeypatch.setattr(OpenSockets, "_note", noting)
    server.answering = lambda _: reply(USER)
    port = int(server.address.partition(":")[2])
    client = RescaleClient(
        connect(server.url)._settings, SystemClock(), lambda *_: socket.create_connection(("127.0.0.1", port))
    )
    client.user()
    client.close()
    connect(server.url).user()
    assert len(seen) == 2
    assert all(seen)


def test_work_goes_on_by_itself_after_all_connections_were_cut_and_the_host_has_another_address(
    connect: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a change of the network, or of the server's place."""
    with scripted() as before, scripted() as after:
        ports = [int(each.address.partition(":")[2]) for each in (before, after)]
        here = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", ports[0]))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_args, **_options: here)
        for each in (before, after):
            each.answering = lambda _: reply(USER)
        client = connect(f"http://localhost:{ports[0]}", patience=5.0)
        client.user()
        before.close()
        with pytest.raises(Unreachable):
            client.user()
        here[0] = (socket.AF_INET, 1, 6, "", ("127.0.0.1", ports[1]))
        assert client.user().email == "me@example.com"
        assert len(after.asked) == 1


def test_a_listing_of_many_pages_outlives_a_gateway_that_forgets(
    between: Gateway, connect: MakeClient, server: ScriptedServer
) -> None:
    def pages(asked: Asked) -> Reply:
        number = int(asked.query["page"])
        return page([{"id": f"j{number}", "name": "x"}], count=6)

    server.answering = pages
    client = connect(f"http://{between.address}", SystemClock(), read_timeout=60.0, pages_at_once=3)
    assert len(client.jobs()) == 6
    between.forget()
    assert len(client.jobs()) == 6
