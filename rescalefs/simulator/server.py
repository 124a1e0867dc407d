"""The simulator as a whole: a data folder, a world, a scheduler, and the API behind a socket."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import secrets
import socket
import tempfile
import threading
import uuid
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import final

import uvicorn
from starlette.types import Scope

from rescalefs import signals
from rescalefs.background import Background, Ending
from rescalefs.clock import Clock, SystemClock
from rescalefs.exclusion import Taken, exclusive
from rescalefs.simulator.faults import FaultScript, read_script
from rescalefs.simulator.paging import PageSizes
from rescalefs.simulator.routes import Gate, application
from rescalefs.simulator.scheduler import Scheduler
from rescalefs.simulator.settings import CannotServe, SimulatorSettings
from rescalefs.simulator.throttle import SCOPES, Throttle
from rescalefs.simulator.traffic import TrafficLog
from rescalefs.simulator.world import World

log = logging.getLogger(__name__)

START_PATIENCE = 30.0  # seconds
TICK = 0.1  # seconds; ten ticks make the second in which uvicorn renews the Date header
KEEP_ALIVE = 60  # seconds an idle connection is kept, as services behind a load balancer do


@final
class Simulator:
    """A running service. `start` returns once it answers; `close` ends it and every command it runs.

    What it holds survives both `close` and a kill -9, if the settings name a data folder.
    """

    def __init__(self, settings: SimulatorSettings, clock: Clock | None = None) -> None:
        self.settings = settings
        self.faults = FaultScript()
        self.traffic = TrafficLog()
        self._clock = clock or SystemClock()
        self._held = ExitStack()  # closed from the last to the first
        self._server: _Server | None = None
        self._ending = Ending()
        self.world: World
        self.scheduler: Scheduler
        self.url: str
        self.api_key: str
        self.data: Path

    def start(self) -> None:
        """Serve; `CannotServe` says why that cannot be."""
        with ExitStack() as held:
            self._start(held)
            self._held = held.pop_all()

    def close(self) -> None:
        """End all. Safe to call twice."""
        self._held.close()

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def wait(self) -> None:
        """Return when `end` was called, or something crashed; `close` then raises what it was."""
        self._ending.wait()

    def end(self) -> None:
        """Let `wait` return. From any thread."""
        self._ending.ask()

    def _start(self, held: ExitStack) -> None:
        settings = self.settings
        check_host(settings.host, allow_remote=settings.allow_remote)
        check_throttles(settings)
        if settings.faults is not None:
            self.faults.add(*read_script(settings.faults))
        self.data = settings.data or _temporary_folder(held)
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        _lock(self.data, held)
        listening = _listen(settings.host, settings.port)
        held.callback(listening.close)
        self.url = _url(listening)
        self.api_key = settings.api_key or _kept_word(self.data / "api_key", lambda: secrets.token_hex(20))
        mark = _kept_word(self.data / "identity", lambda: uuid.uuid4().hex)

        self.world = World(self.data, self._clock)
        held.callback(self.world.close)
        scratch = self.data / "scratch"
        self.scheduler = Scheduler(self.world, settings, scratch, mark, self._clock, self.url)
        app = application(
            self.world,
            self.scheduler,
            settings,
            Gate(self.api_key, Throttle(settings.throttles, self._clock), self.scheduler.is_key),
            PageSizes(settings.page_size, settings.max_page_size),
            self.faults,
            self.traffic,
            self._sever,
        )
        server = _Server(app)
        self._server = server
        background = Background(on_crash=self._crashed)
        held.callback(background.close)
        held.callback(self.scheduler.halt)
        held.callback(server.end)
        self.scheduler.start(background)
        background.start("simulator-server", lambda _: server.run(sockets=[listening]))
        server.has_begun.wait(START_PATIENCE)
        if not server.started:
            raise CannotServe(f"the server did not start within {START_PATIENCE:.0f} s; the log may say why")
        log.info("the simulator serves %s, data in %s", self.url, self.data)

    def _crashed(self) -> None:
        self.scheduler.halt()
        if self._server is not None:
            self._server.end()
        self._ending.ask()

    def _sever(self, scope: Scope, at_once: bool) -> None:
        if self._server is not None:
            self._server.sever(scope["client"], at_once=at_once)


def _temporary_folder(held: ExitStack) -> Path:
    try:
        return Path(held.enter_context(tempfile.TemporaryDirectory(prefix="rescalefs-")))
    except OSError as error:
        raise CannotServe(
            f"there is no folder for the simulator's data ({error.strerror}). Pass --data DIR, or set TMPDIR"
        ) from error


def serve(settings: SimulatorSettings, on_serving: Callable[[Simulator], None]) -> None:
    """Serve until SIGTERM or SIGINT; ``on_serving`` is called once it answers. In the main thread only."""
    simulator = Simulator(settings)
    with signals.reported(lambda _: simulator.end()), simulator:
        on_serving(simulator)
        simulator.wait()


class _Server(uvicorn.Server):
    """uvicorn, in a thread of ours: says when it serves, and ends without waiting for its clients."""

    def __init__(self, app: object) -> None:
        super().__init__(
            uvicorn.Config(
                app,  # type: ignore[arg-type]  # an ASGI application
                http="h11",  # httptools and uvloop were no faster here: docs/decisions/0004-simulator.md
                loop="asyncio",
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=5,
            )
        )
        self.has_begun = threading.Event()  # to serve, or to end
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=sockets)
        self.has_begun.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets=sockets)

    async def main_loop(self) -> None:
        """As uvicorn's own, but told to end it does so at once: tests start and end many servers."""
        self._ending = asyncio.Event()
        self._loop = asyncio.get_running_loop()  # from here on, `end` sets the event
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._ending.wait(), TICK)

    def end(self) -> None:
        """Stop serving soon. From any thread."""
        self.should_exit = True
        self.has_begun.set()
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop has ended already
                self._loop.call_soon_threadsafe(self._ending.set)

    def sever(self, client: object, *, at_once: bool) -> None:
        """Close the connection of that client: at once, or after what was written. On the loop's thread."""
        for connection in list(self.server_state.connections):
            if connection.client == client:  # type: ignore[union-attr]
                transport = connection.transport
                transport.abort() if at_once else transport.close()


def check_host(host: str, *, allow_remote: bool) -> None:
    """Return if it is fit to listen on: the loopback, unless others are allowed. `CannotServe` if not."""
    if allow_remote:
        return
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except OSError as error:
        raise CannotServe(f"cannot listen on {host}: {error}") from error
    if not all(ipaddress.ip_address(address.partition("%")[0]).is_loopback for address in found):
        raise CannotServe(
            f"{host} is not the loopback. The simulator runs any command that it is sent; "
            "if others may really reach it, pass --allow-remote"
        )


def check_throttles(settings: SimulatorSettings) -> None:
    """Return if each limit is for a scope there is; `CannotServe` if not."""
    unknown = sorted(set(settings.throttles) - set(SCOPES))
    if unknown:
        raise CannotServe(f"no throttle scope {', '.join(unknown)}; there are {', '.join(SCOPES)}")


def _lock(data: Path, held: ExitStack) -> None:
    try:
        held.enter_context(exclusive(data / "lock"))
    except Taken as error:
        raise CannotServe(f"another simulator uses {data}. End it, or pass another --data folder") from error


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise CannotServe(f"cannot listen on {host}: {error}") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(1024)
    except OSError as error:
        listening.close()
        reason = error.strerror or error
        raise CannotServe(f"cannot listen on {host} port {port}: {reason}. Choose another --port") from error
    return listening


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _kept_word(path: Path, make: Callable[[], str]) -> str:
    """The word in a file that only we may read; made up when there is none yet."""
    if not path.exists():
        fresh = path.with_suffix(".new")
        fresh.touch(mode=0o600)
        try:
            fresh.write_text(make() + "\n")
        except OSError as error:
            error.filename = str(path)  # a full disk is reported by the file's descriptor, without a name
            raise
        fresh.replace(path)
    return path.read_text().strip()
