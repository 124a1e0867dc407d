"""The sockets that are open, so that all who wait on them can be made to give up at once."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Any
from weakref import WeakSet

import urllib3
import urllib3.connection


class OpenSockets:
    """Knows the sockets of connections made by its pools. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _open and _is_cut
        # Sockets, not connections: an answer that ends its connection keeps only the socket.
        self._open: WeakSet[socket.socket] = WeakSet()
        self._is_cut = False

    def cut(self) -> None:
        """End every transfer, also those yet to begin. Who waits gets an error now, not at its time limit."""
        with self._lock:
            self._is_cut = True
            still_open = list(self._open)
        for each in still_open:
            _shut_down(each)

    def pools(self) -> dict[str, type[urllib3.HTTPConnectionPool]]:
        """What a urllib3 `PoolManager` is to make its pools of, by scheme."""
        note = self._note

        class Plain(urllib3.connection.HTTPConnection):
            def connect(self) -> None:
                super().connect()
                note(self.sock)

        class Secure(urllib3.connection.HTTPSConnection):
            def connect(self) -> None:
                super().connect()
                note(self.sock)

        class PlainPool(urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(urllib3.HTTPSConnectionPool):
            ConnectionCls = Secure

        return {"http": PlainPool, "https": SecurePool}

    def _note(self, connected: Any) -> None:
        if not isinstance(connected, socket.socket):
            return  # TLS through a proxy that is itself reached over TLS: ends at its time limit
        with self._lock:
            self._open.add(connected)
            too_late = self._is_cut
        if too_late:
            _shut_down(connected)


def _shut_down(connected: socket.socket) -> None:
    with suppress(OSError):  # it may have ended by itself just now
        # Not SSLSocket's own: that takes the TLS state away from the thread that is reading.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
