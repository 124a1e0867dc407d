"""One request to the API, and its answer: what lies between Starlette and the endpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import anyio.to_thread
import msgspec
from starlette.requests import Request
from starlette.responses import Response

from rescalefs.simulator.definition import Invalid
from rescalefs.simulator.faults import LAG
from rescalefs.simulator.paging import InvalidPage, PageSizes, page_of
from rescalefs.simulator.uploads import BadUpload
from rescalefs.simulator.world import NoSuchRecord

T = TypeVar("T")


class Refused(Exception):
    """The request is answered with an error: ``{"detail": …}``."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Call:
    """What an endpoint is told of a request."""

    method: str
    parts: Mapping[str, str]  # of the path, by the names in its pattern
    query: Mapping[str, str]
    body: Any  # the JSON that was sent; None where there was none
    headers: Mapping[str, str]
    url: str  # absolute, without the query
    root: str  # scheme and host
    sizes: PageSizes
    lag: float = 0.0  # seconds: jobs that are younger are not known to this answer

    @property
    def api(self) -> str:
        """The address of the API's root, with its slash."""
        return f"{self.root}/api/v2/"

    @property
    def fields(self) -> dict[str, Any]:
        """The body as fields; a 400 if it is something else."""
        if self.body is None:
            return {}
        if not isinstance(self.body, dict):
            raise Invalid({"non_field_errors": ["Invalid data. Expected a dictionary."]})
        return self.body

    def page(self, items: Sequence[T], show: Callable[[T], Any]) -> Response:
        """The page of a list that was asked for."""
        return answer(page_of(items, show, self.query, self.url, self.sizes))


Endpoint = Callable[[Call], Response]


def answer(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(msgspec.json.encode(document), status, headers=headers, media_type="application/json")


def empty(status: int) -> Response:
    """An answer without a body."""
    return Response(b"", status)


def failure(error: Exception) -> Response:
    """The service's words for what went wrong; an error it has no words for is raised again."""
    if isinstance(error, Refused):
        return answer({"detail": error.detail}, error.status, error.headers)
    if isinstance(error, NoSuchRecord):
        return answer({"detail": "Not found."}, 404)
    if isinstance(error, InvalidPage):
        return answer({"detail": "Invalid page."}, 404)
    if isinstance(error, (Invalid, BadUpload)):
        return answer(error.problems, 400)
    raise error


async def handled(request: Request, endpoint: Endpoint, sizes: PageSizes) -> Response:
    """What the endpoint answers. It runs in a thread: it may hash, and wait for the disk."""
    try:
        call = Call(
            method=request.method,
            parts=request.path_params,
            query=request.query_params,
            body=await _json(request),
            headers=request.headers,
            url=str(request.url.replace(query="")),
            root=f"{request.url.scheme}://{request.url.netloc}",
            sizes=sizes,
            lag=request.scope.get(LAG, 0.0),
        )
        return await anyio.to_thread.run_sync(endpoint, call)
    except Exception as error:  # noqa: BLE001 - failure() raises what it has no answer for
        return failure(error)


async def _json(request: Request) -> Any:
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return None
    body = await request.body()
    if not body.strip():
        return None
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise Refused(400, f"JSON parse error - {error}") from error
