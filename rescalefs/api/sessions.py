"""Sessions of requests: made alike, kept for the next who needs one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
import requests.adapters

from rescalefs import __version__

CHUNK = 1 << 18  # bytes; iter_content at this size is as fast as reading the socket (docs/decisions/0005)


class Sessions:
    """Lends sessions, each to one thread at a time, and keeps their connections open in between.

    Not thread-locals: FUSE calls us on threads of C, for which Python makes new thread-locals at every call.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _idle and _closed
        self._idle: list[requests.Session] = []
        self._closed = False

    @contextmanager
    def lent(self, fresh: bool = False) -> Iterator[requests.Session]:
        """A session; a ``fresh`` one has no connection that the server might have closed just now."""
        with self._lock:
            session = self._idle.pop() if self._idle and not fresh else None
        session = session or _new_session()
        try:
            yield session
        finally:
            with self._lock:
                keep = not (fresh or self._closed)
                if keep:
                    self._idle.append(session)
            if not keep:
                session.close()

    def close(self) -> None:
        """Close the connections: those not in use now, the others when they are given back."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()


def _new_session() -> requests.Session:
    session = requests.Session()
    session.headers["User-Agent"] = f"rescalefs/{__version__}"
    session.headers["Accept-Encoding"] = "identity"  # lengths and ranges are of the bytes themselves
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(pool_connections=4, pool_maxsize=1))
    return session


class KeyAuth(requests.auth.AuthBase):
    """Puts the key into the header. As an object, so that `~/.netrc` can't take its place."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Token {self._key}"
        return request

    def __repr__(self) -> str:
        return "KeyAuth()"


def no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """For other hosts. Given explicitly, it keeps `~/.netrc` out as well."""
    request.headers.pop("Authorization", None)
    return request


class _Adapter(requests.adapters.HTTPAdapter):
    """Sends bodies in large pieces: http.client's 16 KiB cost half of an upload's speed."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, blocksize=CHUNK)
