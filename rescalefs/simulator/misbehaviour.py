"""Lets a request go wrong as the fault script says; knows nothing of what is asked or answered."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rescalefs.simulator.faults import (
    LAG,
    AnyEffect,
    Bandwidth,
    Corrupt,
    Cut,
    Drop,
    FaultScript,
    Hang,
    IgnoreRange,
    Lag,
    Latency,
    Redirect,
    Short,
    Status,
    WrongContentRange,
)

# Closes the connection of a request: at once, or once what was written has been sent.
Sever: TypeAlias = Callable[[Scope, bool], None]

PIECE = 1 << 16  # bytes; a slow body comes in pieces of at most this


class Misbehaviour:
    """Between the network and the application."""

    def __init__(self, app: ASGIApp, script: FaultScript, sever: Sever) -> None:
        self._app = app
        self._script = script
        self._sever = sever

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/simulator/"):
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        asked = headers.get(b"range", b"").decode("latin-1") or None
        effects = self._script.take(scope["method"], scope["path"], asked)
        for effect in effects:
            if isinstance(effect, Latency):
                await asyncio.sleep(effect.seconds)
        for effect in effects:
            if isinstance(effect, (Status, Drop, Hang, Redirect)):
                await self._refuse(effect, scope, receive, send)
                return
        if any(isinstance(effect, IgnoreRange) for effect in effects):
            kept = [(name, value) for name, value in scope["headers"] if name != b"range"]
            scope = {**scope, "headers": kept}
        lags = [effect.seconds for effect in effects if isinstance(effect, Lag)]
        if lags:
            scope = {**scope, LAG: max(lags)}
        spoiled = _Spoiled(effects, send)
        try:
            await self._app(scope, receive, spoiled.send)
        except _Cut:
            await self._close(scope, receive, at_once=False)

    async def _refuse(self, effect: AnyEffect, scope: Scope, receive: Receive, send: Send) -> None:
        if isinstance(effect, (Status, Drop)) and effect.acted:
            await self._app(scope, receive, _discard)
        if isinstance(effect, Status):
            await _error(effect)(scope, receive, send)
        elif isinstance(effect, Redirect):
            query = scope["query_string"].decode("latin-1")
            target = f"{effect.to}{scope['path']}{'?' + query if query else ''}"
            await Response(b"", 302, {"Location": target})(scope, receive, send)
        elif isinstance(effect, Hang):
            await _until_gone(receive)
        else:
            await self._close(scope, receive, at_once=True)

    async def _close(self, scope: Scope, receive: Receive, *, at_once: bool) -> None:
        self._sever(scope, at_once)
        await _until_gone(receive)  # so that the server does not take the missing end for a mistake


class _Cut(Exception):
    """As much of the body as was to be sent has been sent."""


class _Spoiled:
    """A `send` that changes what passes through it."""

    def __init__(self, effects: Sequence[AnyEffect], send: Send) -> None:
        self._effects = effects
        self._send = send
        self._start = 0  # where in the file the body begins
        self._passed = 0  # bytes of the body so far
        self._length: int | None = None  # of the body; None: it ends when it ends
        self._is_cut = False

    async def send(self, message: Message) -> None:
        """Pass a message on, or what the faults leave of it; `_Cut` when that was all."""
        if message["type"] == "http.response.start":
            await self._send(self._spoil_head(message))
            return
        body = bytes(message.get("body", b"")) if self._effects else message.get("body", b"")
        more = message.get("more_body", False)
        for effect in self._effects:
            body, more = self._spoil_body(effect, body, more)
        self._passed += len(message.get("body", b""))
        await self._send_paced(body, more or self._is_cut)
        if self._is_cut:
            raise _Cut

    def _spoil_head(self, message: Message) -> Message:
        headers = {name.lower(): value for name, value in message["headers"]}
        if found := re.match(rb"bytes (\d+)-(\d+)/(\d+)", headers.get(b"content-range", b"")):
            self._start = int(found[1])
        for effect in self._effects:
            if isinstance(effect, WrongContentRange) and found:
                first, last = int(found[1]) + effect.shift, int(found[2]) + effect.shift
                headers[b"content-range"] = b"bytes %d-%d/%d" % (first, last, int(found[3]))
            if isinstance(effect, Short) and b"content-length" in headers:
                self._length = max(0, int(headers[b"content-length"]) - effect.by)
                headers[b"content-length"] = b"%d" % self._length
        return {**message, "headers": list(headers.items())}

    def _spoil_body(self, effect: AnyEffect, body: bytes, more: bool) -> tuple[bytes, bool]:
        if isinstance(effect, Corrupt):
            place = effect.at - self._start - self._passed
            if 0 <= place < len(body):
                wrong = bytes([body[place] ^ 0xFF])
                body = body[:place] + wrong + body[place + 1 :]
        elif isinstance(effect, Short) and self._length is not None:
            body = body[: max(0, self._length - self._passed)]
        elif isinstance(effect, Cut) and self._passed + len(body) >= effect.after:
            body = body[: max(0, effect.after - self._passed)]
            self._is_cut = True
        return body, more

    async def _send_paced(self, body: bytes, more: bool) -> None:
        rates = [effect.bytes_per_second for effect in self._effects if isinstance(effect, Bandwidth)]
        if rates:
            for start in range(0, len(body), PIECE):
                piece = body[start : start + PIECE]
                await asyncio.sleep(len(piece) / min(rates))
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            body = b""
        await self._send({"type": "http.response.body", "body": body, "more_body": more})


def _error(effect: Status) -> Response:
    headers = {} if effect.retry_after is None else {"Retry-After": _text(effect.retry_after)}
    if effect.html:
        return HTMLResponse(f"<h1>{effect.status}</h1>", effect.status, headers)
    body = msgspec.json.encode({"detail": f"Status {effect.status}, as the fault script says."})
    return Response(body, effect.status, headers, media_type="application/json")


def _text(retry_after: float | str) -> str:
    return retry_after if isinstance(retry_after, str) else f"{retry_after:g}"


async def _discard(_: Message) -> None:
    """Send nothing."""


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
