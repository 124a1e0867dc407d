"""A scripted server, and clients for it whose clock only moves when somebody waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from rescalefs.api import ApiSettings, RescaleClient
from rescalefs.clock import Clock
from tests.api.scripted import KEY, ScriptedServer, scripted
from tests.fakes import FakeClock

MakeClient = Callable[..., RescaleClient]


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No proxy, no `~/.netrc`, no bundle of certificates but the test's own."""
    for name in (
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "no_proxy",
        "requests_ca_bundle",
        "curl_ca_bundle",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NETRC", raising=False)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted() as running:
        yield running


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def connect(clock: FakeClock) -> Iterator[MakeClient]:
    """Makes clients, and closes them: `connect(url, patience=10)`."""
    with ExitStack() as held:

        def make(url: str, its_clock: Clock | None = None, **settings: Any) -> RescaleClient:
            client = RescaleClient(ApiSettings(url, KEY, **settings), its_clock or clock)
            held.callback(client.close)
            return client

        yield make


@pytest.fixture
def client(server: ScriptedServer, connect: MakeClient) -> RescaleClient:
    """A client of the scripted server."""
    return connect(server.url)
