"""Sends the bytes of a file, or the range of it that was asked for."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio.to_thread
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from rescalefs.simulator.ranges import Slice, Unsatisfiable, asked_range

CHUNK = (
    1 << 20
)  # read in a thread and sent as one piece; docs/decisions/0004-simulator.md has the measurement


def deliver(path: Path, range_header: str | None, *, is_head: bool = False) -> Response:
    """The answer to a request for the content of ``path``: 200, 206, or 416."""
    descriptor = os.open(path, os.O_RDONLY)
    size = os.fstat(descriptor).st_size
    try:
        wanted = asked_range(range_header, size)
    except Unsatisfiable:
        os.close(descriptor)
        detail = {"detail": "The requested range lies outside the file."}
        return JSONResponse(detail, status_code=416, headers={"Content-Range": f"bytes */{size}"})
    part = wanted or Slice(0, size)
    headers = {"Content-Length": str(len(part)), "Accept-Ranges": "bytes"}
    if wanted is not None:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{size}"
    return Delivery(descriptor, Slice(0, 0) if is_head else part, 200 if wanted is None else 206, headers)


class Delivery(StreamingResponse):
    """Streams part of an open file, and closes it whatever becomes of the connection."""

    def __init__(self, descriptor: int, part: Slice, status: int, headers: dict[str, str]) -> None:
        self._descriptor = descriptor
        super().__init__(
            _pieces(descriptor, part),
            status_code=status,
            headers=headers,
            media_type="application/octet-stream",
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            os.close(self._descriptor)


async def _pieces(descriptor: int, part: Slice) -> AsyncIterator[bytes]:
    for start in range(part.start, part.stop, CHUNK):
        count = min(CHUNK, part.stop - start)
        yield await anyio.to_thread.run_sync(os.pread, descriptor, count, start)
