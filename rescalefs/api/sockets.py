"""The sockets that are open, so that all who wait on them can be made to give up at once."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any
from weakref import WeakSet

import urllib3
import urllib3.connection

from rescalefs.api.bounds import BoundedResponse, Bounds
from rescalefs.clock import Since
from rescalefs.dialing import Dialer, keep_alive
from rescalefs.forks import in_each_child

# (host, port) -> a connection that somebody has opened already, if there is one.
Opened = Callable[[str, int], socket.socket | None]


def none_opened(_host: str, _port: int) -> socket.socket | None:
    """What there is to take where nobody has opened any: nothing."""
    return None


_LONGEST_IDLE = 30.0
"""Seconds after which an idle connection is not used again. Firewalls and NAT forget one after a minute or
more, without a word to either end; servers close them after 60 s (load balancers) or 75 s (nginx)."""


class OpeningPool(urllib3.HTTPConnectionPool):
    """A pool that can open a connection before there is a request. Its answers keep to bounds.

    A connection that has been idle for long, also while the machine slept, is not used again.
    """

    bounds: Bounds | None = None  # of the session that uses the pool; set before each request

    def _put_conn(self, conn: Any) -> None:
        if conn is not None and self.bounds is not None:
            conn.idle_since = self.bounds.moment()
        super()._put_conn(conn)

    def _get_conn(self, timeout: float | None = None) -> Any:
        # _get_conn is private, and the one place through which each connection comes before it is used.
        connection: Any = super()._get_conn(timeout)
        idle_since: Since | None = getattr(connection, "idle_since", None)
        if idle_since is not None and idle_since.seconds() > _LONGEST_IDLE:
            connection.close()  # it connects again when it is used
        if self.bounds is not None:
            # http.client makes its answers of this, also those of a proxy to CONNECT.
            connection.response_class = partial(BoundedResponse, self.bounds)
            self.bounds.use(connection)
        return connection

    def open_one(self, timeout: float) -> None:
        connection = self._get_conn(timeout)
        try:
            connection.timeout = timeout
            connection.connect()
        finally:
            self._put_conn(connection)  # one that is not connected is connected by the request


_all: WeakSet[OpenSockets] = WeakSet()


class OpenSockets:
    """Knows the sockets of connections made by its pools. Thread-safe."""

    def __init__(self, opened: Opened = none_opened) -> None:
        """``opened`` is asked first, before a connection is opened."""
        self._opened = opened
        self._dialer = Dialer()
        self._lock = threading.Lock()  # guards _open and _is_cut
        # Sockets, not connections: an answer that ends its connection keeps only the socket.
        self._open: WeakSet[socket.socket] = WeakSet()
        self._is_cut = False
        _all.add(self)

    def leave_to_parent(self) -> None:
        """Close a child's copies of what its parent has open. The parent's connections stay as they are."""
        for each in list(self._open):
            # Detached, so that no object closes the number later, when it is that of another file.
            if (copy := each.detach()) >= 0:
                os.close(copy)

    def cut(self) -> None:
        """End every transfer, also those yet to begin. Who waits gets an error now, not at its time limit."""
        with self._lock:
            self._is_cut = True
            still_open = list(self._open)
        for each in still_open:
            _shut_down(each)

    def pools(self) -> dict[str, type[urllib3.HTTPConnectionPool]]:
        """What a urllib3 `PoolManager` is to make its pools of, by scheme."""
        note, new = self._note, self._new

        # _new_conn is private, and what urllib3's own connections through SOCKS override.
        class Plain(urllib3.connection.HTTPConnection):
            def _new_conn(self) -> socket.socket:
                return new(self)

            def connect(self) -> None:
                super().connect()
                note(self.sock)

        class Secure(urllib3.connection.HTTPSConnection):
            def _new_conn(self) -> socket.socket:
                return new(self)

            def connect(self) -> None:
                super().connect()
                note(self.sock)

            def send(self, data: Any) -> None:
                try:
                    super().send(data)
                except ssl.SSLEOFError as error:
                    # What plain TCP says then; urllib3 knows it, and reads what the server said before.
                    raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from error

            @property
            def is_connected(self) -> bool:
                # urllib3 takes anything to be read for the end. TLS 1.3 sends tickets after the handshake.
                return super().is_connected or _has_nothing_to_say(self.sock)

        class PlainPool(OpeningPool, urllib3.HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(OpeningPool, urllib3.HTTPSConnectionPool):
            ConnectionCls = Secure

        return {"http": PlainPool, "https": SecurePool}

    def _new(self, connection: Any) -> socket.socket:
        """A socket for one of urllib3's connections, which raises what urllib3's own would."""
        opened = self._opened(connection.host, connection.port)
        if opened is not None:
            opened.settimeout(connection.timeout)
            return opened
        # The name with a dot at its end, if it has one: then no search domains are tried.
        host = connection._dns_host.strip("[]")  # noqa: SLF001
        try:
            host.encode("idna")
            return self._dialer.connect(host, connection.port, connection.timeout)
        except UnicodeError:
            raise urllib3.exceptions.LocationParseError(f"'{host}', label empty or too long") from None
        except socket.gaierror as error:
            raise urllib3.exceptions.NameResolutionError(connection.host, connection, error) from error
        except TimeoutError as error:
            told = f"Connection to {connection.host} timed out. (connect timeout={connection.timeout})"
            raise urllib3.exceptions.ConnectTimeoutError(connection, told) from error
        except OSError as error:
            told = f"Failed to establish a new connection: {error}"
            raise urllib3.exceptions.NewConnectionError(connection, told) from error

    def _note(self, connected: Any) -> None:
        if not isinstance(connected, socket.socket):
            return  # TLS through a proxy that is itself reached over TLS: ends at its time limit
        keep_alive(connected)  # also what was made by others: ahead of time, or through SOCKS
        with self._lock:
            self._open.add(connected)
            too_late = self._is_cut
        if too_late:
            _shut_down(connected)


def _leave_to_parent() -> None:
    for each in list(_all):
        each.leave_to_parent()


in_each_child(_leave_to_parent)


def keeping_bounds(kind: type[urllib3.HTTPConnectionPool]) -> type[urllib3.HTTPConnectionPool]:
    """A kind of pool like this one, whose answers keep to bounds as well."""
    return type(kind.__name__, (OpeningPool, kind), {"ConnectionCls": kind.ConnectionCls})


def _has_nothing_to_say(connected: Any) -> bool:
    """Whether what has come are words of TLS itself. What was meant for us is lost: the connection is then
    thrown away."""
    if not isinstance(connected, ssl.SSLSocket):
        return False
    limit = connected.gettimeout()
    try:
        connected.settimeout(0)
        connected.recv(1)
    except ssl.SSLWantReadError:
        return True
    except OSError:
        return False
    finally:
        connected.settimeout(limit)
    return False


def _shut_down(connected: socket.socket) -> None:
    with suppress(OSError):  # it may have ended by itself just now
        # Not SSLSocket's own: that takes the TLS state away from the thread that is reading.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
