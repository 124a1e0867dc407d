"""Connections to a server, opened before there is even a client to use them."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit
from urllib.request import getproxies

from rescalefs.dialing import Dialer

_PORTS = {"http": 80, "https": 443}


class OpenedAhead:
    """So many TCP connections to one host, to be opened on other threads and used by an HTTP client.

    A client takes longer to import than a connection to open, most of the time. Thread-safe. Where a
    proxy is configured, or the address is none, or the server is not there, there are none.
    """

    def __init__(self, url: str, count: int, timeout: float) -> None:
        """Nothing is opened yet: `open_one` is to be called ``count`` times; ``timeout`` is in seconds."""
        self._address = None if getproxies() else _address(url)
        self._timeout = timeout
        self._dialer = Dialer()
        self._ready = threading.Condition()  # guards all that follows
        self._awaited = count
        self._open: list[socket.socket] = []
        self._is_closed = False

    def open_one(self) -> None:
        """Open one of them. Never raises: whoever takes none opens one, and hears why it cannot."""
        opened = None
        if self._address is not None:
            with contextlib.suppress(OSError, UnicodeError):  # the latter of a name that is no host's
                opened = self._dialer.connect(*self._address, self._timeout)
        with self._ready:
            self._awaited -= 1
            if opened is not None:
                self._open.append(opened)
            is_closed = self._is_closed
            self._ready.notify_all()
        if is_closed:
            self.close()

    def take(self, host: str, port: int) -> socket.socket | None:
        """One of them, which is the caller's from then on; None if there is none to this address."""
        if self._address != (host.strip("[]").lower(), port):
            return None
        with self._ready:
            self._ready.wait_for(lambda: self._open or not self._awaited or self._is_closed)
            return self._open.pop() if self._open else None

    def close(self) -> None:
        """Close those that nobody took, and those still to come."""
        with self._ready:
            self._is_closed = True
            left, self._open = self._open, []
            self._ready.notify_all()
        for each in left:
            each.close()


def _address(url: str) -> tuple[str, int] | None:
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme)
    except ValueError:
        return None
    return (parts.hostname, port) if parts.hostname and port else None
