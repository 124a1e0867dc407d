"""Notes every request and what was sent for it, so that a test can count them."""

from __future__ import annotations

import threading
from collections import Counter, deque
from dataclasses import dataclass, replace

from starlette.types import ASGIApp, Message, Receive, Scope, Send

ENTRY = "rescalefs.simulator.entry"  # where a request's entry is, in its ASGI scope
UNKNOWN = "(no such path)"
KEPT = 20_000  # requests; the counts go on for ever


@dataclass(slots=True)
class Entry:
    """One request. Changed by the one task that answers it."""

    method: str
    path: str
    query: str
    range: str | None
    route: str = UNKNOWN  # the pattern of the path
    status: int = 0  # 0: no answer was begun
    sent: int = 0  # bytes of the body


class TrafficLog:
    """What came and what went, since the start or the last `clear`. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards all below
        self._entries: deque[Entry] = deque(maxlen=KEPT)
        self._counts: Counter[str] = Counter()
        self._sent: Counter[str] = Counter()

    def add(self, entry: Entry) -> None:
        """Note a request that has been answered, or given up."""
        key = f"{entry.method} {entry.route}"
        with self._lock:
            self._entries.append(entry)
            self._counts[key] += 1
            self._sent[key] += entry.sent

    def entries(self) -> list[Entry]:
        """The newest requests, oldest first."""
        with self._lock:
            return [replace(entry) for entry in self._entries]

    def counts(self) -> dict[str, int]:
        """`GET /api/v2/jobs/{job_id}/` -> how many."""
        with self._lock:
            return dict(self._counts)

    def bytes_sent(self) -> dict[str, int]:
        """The same, in bytes of the answers' bodies."""
        with self._lock:
            return dict(self._sent)

    def clear(self) -> None:
        """Begin anew."""
        with self._lock:
            self._entries.clear()
            self._counts.clear()
            self._sent.clear()


class Traffic:
    """Passes every request on and notes it. Adds the last slash of a path, which some clients leave out."""

    def __init__(self, app: ASGIApp, log: TrafficLog) -> None:
        self._app = app
        self._log = log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        entry = Entry(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("latin-1"),
            range=headers[b"range"].decode("latin-1") if b"range" in headers else None,
        )

        length: int | None = None  # of the body, where the answer says so
        is_noted = False

        async def noting(message: Message) -> None:
            nonlocal length, is_noted
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                length = _content_length(message)
            else:
                entry.sent += len(message.get("body", b""))
                is_last = entry.sent == length or not message.get("more_body", False)
                if is_last and not is_noted:
                    # Before it is sent: whoever has the whole answer finds the request counted.
                    self._log.add(entry)
                    is_noted = True
            await send(message)

        path = scope["path"] if scope["path"].endswith("/") else scope["path"] + "/"
        try:
            await self._app({**scope, "path": path, ENTRY: entry}, receive, noting)
        finally:
            if not is_noted:  # cut short, or never answered
                self._log.add(entry)


def _content_length(start: Message) -> int | None:
    for name, value in start["headers"]:
        if name.lower() == b"content-length":
            return int(value)
    return None
