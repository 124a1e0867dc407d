"""An API without a socket and without threads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.types import Scope

from rescalefs.simulator.faults import FaultScript
from rescalefs.simulator.paging import PageSizes
from rescalefs.simulator.routes import Gate, application
from rescalefs.simulator.scheduler import Scheduler
from rescalefs.simulator.settings import SimulatorSettings
from rescalefs.simulator.throttle import Throttle
from rescalefs.simulator.traffic import TrafficLog
from rescalefs.simulator.world import World
from tests.fakes import FakeClock
from tests.simulator.asgi import Answer, ask

KEY = "0123456789abcdef0123456789abcdef01234567"


_worlds: list[World] = []  # of the test that runs


class Api:
    """The application on a world of its own. Nothing is scheduled: submitted jobs stay Pending."""

    def __init__(
        self,
        data: Path,
        throttles: dict[str, int] | None = None,
        settings: SimulatorSettings | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.world = World(data, self.clock)
        _worlds.append(self.world)
        self.faults = FaultScript()
        self.traffic = TrafficLog()
        self.severed: list[bool] = []
        settings = settings or SimulatorSettings()
        self.scheduler = Scheduler(self.world, settings, data / "scratch", "mark", self.clock)
        self.app = application(
            self.world,
            self.scheduler,
            settings,
            Gate(KEY, Throttle(throttles or {}, self.clock)),
            PageSizes(10, 1000),
            self.faults,
            self.traffic,
            self._sever,
        )

    def _sever(self, _: Scope, at_once: bool) -> None:
        self.severed.append(at_once)

    def ask(
        self,
        method: str,
        path: str,
        document: Any = None,
        *,
        headers: dict[str, str] | None = None,
        body: bytes = b"",
        key: str | None = KEY,
    ) -> Answer:
        """Ask for a path below `/api/v2/`, or for one with a slash in front."""
        if document is not None:
            body = json.dumps(document).encode()
        authorization = {} if key is None else {"Authorization": f"Token {key}"}
        url = path if path.startswith("/") else f"/api/v2/{path}"
        return ask(self.app, method, url, body, {**authorization, **(headers or {})})

    def get(self, path: str) -> Any:
        """The JSON of a 200."""
        answer = self.ask("GET", path)
        assert answer.status == 200, answer.body
        return answer.json


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return Api(tmp_path)


@pytest.fixture(autouse=True)
def _worlds_closed() -> Iterator[None]:
    """Python 3.13 reports a database that is collected before it is closed."""
    yield
    while _worlds:
        _worlds.pop().close()


def definition(command: str = "true", **more: Any) -> dict[str, Any]:
    """A job definition that is fit to be created."""
    analysis = {
        "analysis": {"code": "user_included", "version": "0"},
        "command": command,
        "hardware": {"coreType": "emerald", "coresPerSlot": 1},
        **more.pop("analysis", {}),
    }
    return {"name": "wing", "jobanalyses": [analysis], **more}
