"""The read engine and the client together, against a server that does everything wrong, over real HTTP."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rescalefs.api import ApiSettings, RescaleClient
from rescalefs.errors import FileChanged, RescaleFSError, TimedOut, Unreachable
from rescalefs.model import RemoteFile
from rescalefs.reading import ReadEngine, Verification
from tests.api.scripted import KEY, Asked, Reply, ScriptedServer, ranged, refused_url, scripted
from tests.fakes import FakeClock
from tests.reading.engines import read, read_all, remote, running

CONTENT = bytes(range(251)) * 40  # ten thousand bytes
FILE = remote(CONTENT)
LEAF, BLOCK = 128, 512
READ_TIMEOUT = 0.3  # seconds that the client gives a connection on which nothing comes

Spoil = Callable[[Asked, Reply], Reply]


def cut(after: int) -> Spoil:
    return lambda _, good: replace(good, cut=min(after, max(0, len(good.body) - 1)))


def whole_file(_: Asked, good: Reply) -> Reply:
    return replace(good, status=200, body=CONTENT, headers={})


def shifted(by: int) -> Spoil:
    """Content-Range tells of other bytes than those that come."""

    def spoil(asked: Asked, good: Reply) -> Reply:
        first, _, last = asked.headers["Range"].removeprefix("bytes=").partition("-")
        told = f"bytes {int(first) + by}-{min(int(last), len(CONTENT) - 1) + by}/{len(CONTENT)}"
        return replace(good, headers={"Content-Range": told})

    return spoil


def no_content_range(_: Asked, good: Reply) -> Reply:
    return replace(good, headers={})


def short(by: int) -> Spoil:
    """Fewer bytes than Content-Range promises, and Content-Length agrees with the bytes."""
    return lambda _, good: replace(good, body=good.body[: max(0, len(good.body) - by)])


def fails(status: int, **headers: str) -> Spoil:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda *_: Reply(status, b"<html>busy</html>", {"Content-Type": "text/html", **named})


def dropped(_: Asked, good: Reply) -> Reply:
    return replace(good, drop=True)


def leads_to(url: str) -> Spoil:
    return lambda asked, _: Reply(302, b"", {"Location": url + asked.target})


@dataclass
class Spoiled:
    """A server of one file whose n-th answer is spoiled by the n-th of `spoils`. Thread-safe."""

    server: ScriptedServer
    spoils: deque[Spoil | None] = field(default_factory=deque)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, asked: Asked) -> Reply:
        good = ranged(CONTENT)(asked)
        with self.lock:
            spoil = self.spoils.popleft() if self.spoils else None
        return good if spoil is None else spoil(asked, good)

    def spoil(self, *spoils: Spoil | None) -> None:
        with self.lock:
            self.spoils = deque(spoils)


@pytest.fixture(scope="module")
def spoiled() -> Iterator[Spoiled]:
    with scripted() as server:
        found = Spoiled(server)
        server.answering = found.answer
        yield found


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[ScriptedServer]:
    """Another host that has the file, too."""
    with scripted() as server:
        server.answering = ranged(CONTENT)
        yield server


def on_another_host(server: ScriptedServer) -> str:
    return server.url.replace("127.0.0.1", "localhost")


@contextmanager
def reading(url: str, cache: Path, **chosen: Any) -> Iterator[ReadEngine]:
    """An engine whose client waits between attempts in no time."""
    settings = ApiSettings(url, KEY, connect_timeout=5, read_timeout=READ_TIMEOUT, patience=20)
    with (
        closing(RescaleClient(settings, FakeClock())) as client,
        running(client, cache, leaf_size=LEAF, block_size=BLOCK, **chosen) as engine,
    ):
        yield engine


ONE_BY_ONE = {
    **{f"cut at byte {n}": cut(n) for n in (0, 1, LEAF - 1, LEAF, LEAF + 1, BLOCK, 3 * BLOCK + 7)},
    "200 for 206": whole_file,
    "a later Content-Range": shifted(1),
    "an earlier Content-Range": shifted(-1),
    "no Content-Range": no_content_range,
    "a body short by one": short(1),
    "a body of nothing": short(len(CONTENT)),
    "429": fails(429, Retry_After="1"),
    "429 without a time": fails(429),
    "503": fails(503),
    "500": fails(500),
    "no answer": dropped,
}


@pytest.mark.parametrize("fault", ONE_BY_ONE)
def test_one_fault_costs_time_and_no_byte(spoiled: Spoiled, tmp_path: Path, fault: str) -> None:
    spoiled.spoil(ONE_BY_ONE[fault])
    with reading(spoiled.server.url, tmp_path) as engine:
        assert read_all(engine.open(FILE), 1000) == CONTENT
        assert engine.verification(FILE) is Verification.YES
    assert not spoiled.spoils


@pytest.mark.parametrize("fault", ONE_BY_ONE)
def test_the_same_fault_for_ever_is_an_error_or_costs_no_byte(
    spoiled: Spoiled, tmp_path: Path, fault: str
) -> None:
    spoiled.spoil(*[ONE_BY_ONE[fault]] * 1000)
    with reading(spoiled.server.url, tmp_path) as engine:
        opened = engine.open(FILE)
        try:
            got = read(opened, 700, 2000)
        except RescaleFSError:
            got = CONTENT[700:2000]
        assert got == CONTENT[700:2000]
        spoiled.spoil()
        assert read_all(engine.open(FILE), 1000) == CONTENT


@pytest.mark.parametrize("came", [0, 1, LEAF + 1])
def test_a_server_that_falls_silent_is_asked_again_after_the_time_limit(
    spoiled: Spoiled, tmp_path: Path, came: int
) -> None:
    never = threading.Event()

    def silent(_: Asked, good: Reply) -> Reply:
        return replace(good, cut=came, hang=never)

    spoiled.spoil(silent)
    try:
        with reading(spoiled.server.url, tmp_path) as engine:
            assert read_all(engine.open(FILE), 1000) == CONTENT
    finally:
        never.set()


def test_a_server_that_stays_silent_is_an_error_in_time(spoiled: Spoiled, tmp_path: Path) -> None:
    never = threading.Event()
    spoiled.spoil(*[lambda _, good: replace(good, cut=0, hang=never)] * 50)
    try:
        with reading(spoiled.server.url, tmp_path, connections=1) as engine, pytest.raises(TimedOut):
            read(engine.open(FILE), 700, 710)
    finally:
        never.set()
        spoiled.spoil()


def test_another_host_is_asked_for_the_range_and_never_told_the_key(
    spoiled: Spoiled, elsewhere: ScriptedServer, tmp_path: Path
) -> None:
    spoiled.spoil(*[leads_to(on_another_host(elsewhere))] * 1000)
    with reading(spoiled.server.url, tmp_path) as engine:
        assert read_all(engine.open(FILE), 1000) == CONTENT
    spoiled.spoil()
    assert elsewhere.asked
    for asked in elsewhere.asked:
        assert asked.headers["Range"].startswith("bytes=")
        assert KEY not in str(asked)
        assert "Authorization" not in asked.headers


def test_a_redirect_to_nowhere_is_an_error(spoiled: Spoiled, tmp_path: Path) -> None:
    spoiled.spoil(*[leads_to(refused_url())] * 1000)
    with reading(spoiled.server.url, tmp_path) as engine, pytest.raises(Unreachable):
        read(engine.open(FILE), 0, 10)
    spoiled.spoil()


def test_a_server_with_a_certificate_nobody_signed_gives_no_byte(tmp_path: Path) -> None:
    with scripted(_self_signed(tmp_path)) as server:
        server.answering = ranged(CONTENT)
        with (
            reading(server.url, tmp_path / "cache") as engine,
            pytest.raises(Unreachable, match="certificate"),
        ):
            read(engine.open(FILE), 0, 10)
        assert server.asked == []


def test_a_host_that_does_not_exist_gives_no_byte(tmp_path: Path) -> None:
    with (
        reading("https://rescale.invalid", tmp_path) as engine,
        pytest.raises(Unreachable, match="not reached"),
    ):
        read(engine.open(FILE), 0, 10)


def _self_signed(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@pytest.mark.parametrize("difference", [-1, 1, 1000])
def test_a_file_of_another_size_than_listed_is_a_changed_one(
    spoiled: Spoiled, tmp_path: Path, difference: int
) -> None:
    listed = RemoteFile("f", "f", "out/f", len(CONTENT) + difference)
    with reading(spoiled.server.url, tmp_path) as engine, pytest.raises(FileChanged):
        read(engine.open(listed), 0, 10)


@pytest.mark.parametrize("size", [len(CONTENT) - 300, len(CONTENT) + 300])
@pytest.mark.parametrize("checksum", ["right", None])
def test_a_file_that_is_replaced_while_it_is_open_is_a_changed_one(
    elsewhere: ScriptedServer, tmp_path: Path, size: int, checksum: str | None
) -> None:
    other = bytes(range(250, 0, -1)) * 50
    file = remote(CONTENT, checksum=checksum)
    with reading(elsewhere.url, tmp_path) as engine:
        opened = engine.open(file)
        assert read(opened, 3000, 3010) == CONTENT[3000:3010]
        elsewhere.answering = ranged(other[:size])
        try:
            with pytest.raises(FileChanged):
                read(opened, 8000, 8010)
            assert read(opened, 3000, 3010) == CONTENT[3000:3010]  # never half old and half new
        finally:
            elsewhere.answering = ranged(CONTENT)


SPOILS = st.one_of(
    st.none(),
    st.builds(cut, st.integers(0, 3000)),
    st.builds(short, st.integers(1, 600)),
    st.builds(shifted, st.integers(-300, 300).filter(bool)),
    st.sampled_from(
        [whole_file, no_content_range, fails(429, Retry_After="1"), fails(503), fails(404), dropped]
    ),
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_mixed_faults_give_the_right_bytes_or_an_error(
    data: st.DataObject,
    spoiled: Spoiled,
    elsewhere: ScriptedServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    away = st.sampled_from([leads_to(on_another_host(elsewhere)), leads_to(refused_url())])
    spoiled.spoil(*data.draw(st.lists(SPOILS | away, min_size=1, max_size=12), label="faults"))
    reads = data.draw(st.lists(st.tuples(st.integers(0, 10_100), st.integers(1, 3000)), max_size=5))
    with reading(spoiled.server.url, tmp_path_factory.mktemp("cache")) as engine:
        opened = engine.open(FILE)
        for start, length in [*reads, (0, 6000), (6000, 6000)]:
            try:
                got = read(opened, start, start + length)
            except RescaleFSError:
                continue
            assert got == CONTENT[start : start + length]
    spoiled.spoil()
