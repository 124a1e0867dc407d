"""A server between us and the simulator: it keeps the real answers, and makes some of them odd."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rescalefs.simulator import Simulator, SimulatorSettings
from tests.api.scripted import Asked, Reply, ScriptedServer, scripted
from tests.canary import CANARY
from tests.fuzz.mutations import encoded, mutated, odd_bytes, packed

_KEPT = ("content-type", "content-range", "retry-after", "accept-ranges")


class OddServer:
    """Answers as the simulator does, but for what `random` changes. Without it, all is right."""

    def __init__(self, simulator: Simulator, server: ScriptedServer) -> None:
        self.url = server.url
        self.api_key = simulator.api_key
        self._seed: int | None = None
        self._share = 0.0  # of the answers that are changed
        self._asked: Counter[str] = Counter()
        self._target = simulator.url.partition("//")[2]
        self._lock = threading.Lock()  # guards _known, and what is drawn
        self._known: dict[tuple[str, str, str], Reply] = {}
        server.answering = self._answer

    @contextmanager
    def being(self, seed: int) -> Iterator[Random]:
        """Odd in the way of this seed, the same for equal questions; then all is right again."""
        random = Random(seed)
        with self._lock:
            self._seed, self._share = seed, random.choice([0.1, 0.5, 1.0])
            self._asked.clear()
        try:
            yield random
        finally:
            self.be_right()

    def forget(self) -> None:
        """Ask the simulator afresh."""
        with self._lock:
            self._known.clear()

    def be_right(self) -> None:
        """Change no answer any more."""
        with self._lock:
            self._seed = None

    def _answer(self, asked: Asked) -> Reply:
        key = (asked.method, asked.target, asked.headers.get("Range", ""))
        with self._lock:
            reply = self._known.get(key) if asked.method == "GET" else None
        if reply is None:
            reply = self._passed_on(asked)
        with self._lock:
            self._known[key] = reply
            if self._seed is None:
                return reply
            what = f"{asked.method} {asked.target}"
            self._asked[what] += 1
            # Of its own: questions come on several threads, in an order that differs.
            random = Random(f"{self._seed} {what} {self._asked[what]}")
            return self._odd(reply, random) if random.random() < self._share else reply

    def _passed_on(self, asked: Asked) -> Reply:
        connection = http.client.HTTPConnection(self._target, timeout=30)
        names = ("authorization", "content-type", "range", "accept")
        headers = {name: value for name, value in asked.headers.items() if name.lower() in names}
        try:
            connection.request(asked.method, asked.target, asked.body or None, headers)
            answer = connection.getresponse()
            kept = {name: value for name, value in answer.getheaders() if name.lower() in _KEPT}
            return Reply(answer.status, answer.read(), kept)
        finally:
            connection.close()

    def _odd(self, reply: Reply, random: Random) -> Reply:
        body, headers, status, cut = reply.body, dict(reply.headers), reply.status, None
        kind = random.randrange(10)
        if kind < 7:
            body = _odd_document(body, random)
        elif kind == 7:
            body = odd_bytes(body, random)
        elif kind == 8:
            body, headers["Content-Encoding"] = packed(body, random)
        else:
            status = random.choice([200, 204, 206, 301, 400, 401, 403, 404, 409, 416, 418])
            headers["Location"] = random.choice(["/api/v2/users/me/", "http://elsewhere.invalid/", "\x80://"])
        if random.random() < 0.05:
            cut = random.randrange(len(body) + 1)
        return Reply(status, body, headers, cut=cut)


def _odd_document(body: bytes, random: Random) -> bytes:
    try:
        document: Any = json.loads(body)
    except ValueError:
        return odd_bytes(body, random)
    return encoded(mutated(document, random))


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """An account with finished jobs, one of them of several runs."""
    settings = SimulatorSettings(port=0, data=tmp_path_factory.mktemp("account"), api_key=CANARY)
    with Simulator(settings) as simulator:
        add = simulator.world.add_finished_job
        add("wing 42", {"out.log": b"done\n", "mesh/a.msh": b"1 2 3\n", "mesh/b.msh": b"4 5 6\n"})
        add("wing 42", {"out.log": b"other\n"})
        add("odd \u202e/name", {"x" * 200: b""})
        yield simulator


@pytest.fixture(scope="module")
def odd(account: Simulator) -> Iterator[OddServer]:
    with scripted() as server:
        yield OddServer(account, server)


@pytest.fixture
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name.lower()))
    monkeypatch.setenv("HOME", str(tmp_path))
