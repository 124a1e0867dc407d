"""The whole API as a Starlette application: which path is which endpoint, and what every request passes."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from rescalefs.simulator.account_routes import AccountRoutes
from rescalefs.simulator.call import Endpoint, answer, handled
from rescalefs.simulator.control_routes import ControlRoutes
from rescalefs.simulator.faults import FaultScript
from rescalefs.simulator.file_routes import FileRoutes
from rescalefs.simulator.job_routes import JobRoutes
from rescalefs.simulator.misbehaviour import Misbehaviour, Sever
from rescalefs.simulator.paging import PageSizes
from rescalefs.simulator.scheduler import Scheduler
from rescalefs.simulator.settings import SimulatorSettings
from rescalefs.simulator.throttle import Throttle, scope_of
from rescalefs.simulator.traffic import ENTRY, Traffic, TrafficLog
from rescalefs.simulator.world import World

API = "/api/v2/"
API_V3 = "/api/v3/"
CONTROL = "/simulator/"
ACCEPTED_SCHEMES = ("token", "bearer")
CHALLENGE = {"WWW-Authenticate": "Token"}
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")  # Starlette adds HEAD


class Gate:
    """Lets in who has the key, as often as the throttle allows."""

    def __init__(
        self, api_key: str, throttle: Throttle, is_job_key: Callable[[str], bool] = lambda _: False
    ) -> None:
        """``is_job_key``: whether a key is that of a job that runs."""
        self._api_key = api_key.encode()
        self._is_job_key = is_job_key
        self._throttle = throttle

    def check(self, request: Request, pattern: str, methods: Iterable[str]) -> Response | None:
        """None if the request may pass; else the answer it gets. Control endpoints are not throttled."""
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() not in ACCEPTED_SCHEMES:
            return _refusal(401, "Authentication credentials were not provided.", CHALLENGE)
        key = key.strip()
        if not (hmac.compare_digest(key.encode(), self._api_key) or self._is_job_key(key)):
            return _refusal(401, "Invalid token.", CHALLENGE)
        denied = None if pattern.startswith(CONTROL) else self._take(request.method, pattern)
        if denied is not None:
            return denied
        allowed = {*methods}
        if request.method not in allowed and not (request.method == "HEAD" and "GET" in allowed):
            headers = {"Allow": ", ".join(sorted(allowed))}
            return _refusal(405, f'Method "{request.method}" not allowed.', headers)
        return None

    def _take(self, method: str, pattern: str) -> Response | None:
        denied = self._throttle.take(scope_of(method, pattern))
        if denied is None:
            return None
        headers = {
            "Retry-After": str(denied.retry_after),
            "X-RateLimit-Limit": str(denied.limit),
            "X-RateLimit-Remaining": "0",
        }
        detail = f"Request was throttled. Expected available in {denied.retry_after} seconds."
        return _refusal(429, detail, headers)


def application(
    world: World,
    scheduler: Scheduler,
    settings: SimulatorSettings,
    gate: Gate,
    sizes: PageSizes,
    faults: FaultScript,
    traffic: TrafficLog,
    sever: Sever,
) -> ASGIApp:
    """All endpoints, behind the gate, the faults and the log of the traffic."""
    jobs, files = JobRoutes(world, scheduler, settings), FileRoutes(world)
    account = AccountRoutes(world, settings)

    routes = [
        *(_upload_route(root, files, gate) for root in (API, API_V3)),
        # The same answers at newer addresses: clients mix them.
        *(
            route
            for root in (API, API_V3)
            for table in (account.table(), files.table(), jobs.table())
            for route in _routes(root, table, gate, sizes)
        ),
        *_routes(API_V3, {"ping/": {"GET": lambda _: answer({"status": "ok"})}}, gate, sizes),
        *_routes(CONTROL, ControlRoutes(world, faults, traffic).table(), gate, sizes),
    ]
    app = Starlette(routes=routes, exception_handlers={404: _unknown_path})
    app.router.redirect_slashes = False  # a redirect would lose the body of a POST; Traffic adds the slash
    return Traffic(Misbehaviour(app, faults, sever), traffic)


def _refusal(status: int, detail: str, headers: Mapping[str, str]) -> Response:
    return answer({"detail": detail}, status, headers)


def _routes(
    root: str, table: Mapping[str, Mapping[str, Endpoint]], gate: Gate, sizes: PageSizes
) -> list[Route]:
    return [_route(root + path, endpoints, gate, sizes) for path, endpoints in table.items()]


def _route(pattern: str, endpoints: Mapping[str, Endpoint], gate: Gate, sizes: PageSizes) -> Route:
    async def respond(request: Request) -> Response:
        request.scope[ENTRY].route = pattern
        refusal = gate.check(request, pattern, endpoints)
        if refusal is not None:
            return refusal
        method = "GET" if request.method == "HEAD" else request.method
        return await handled(request, endpoints[method], sizes)

    return Route(pattern, respond, methods=METHODS)


def _upload_route(root: str, files: FileRoutes, gate: Gate) -> Route:
    """`files/contents/`: the one endpoint whose request is too long to be read before it is answered."""
    pattern = f"{root}files/contents/"
    created = {"POST": 201, "PUT": 200}

    async def respond(request: Request) -> Response:
        request.scope[ENTRY].route = pattern
        refusal = gate.check(request, pattern, created)
        return refusal or await files.upload(request, created[request.method])

    return Route(pattern, respond, methods=METHODS)


async def _unknown_path(_: Request, __: Exception) -> Response:
    """A path that is no endpoint is answered by the web framework below the API: in HTML, and without asking
    for the key."""
    return HTMLResponse("<h1>Not Found</h1><p>The requested resource was not found on this server.</p>", 404)
