"""Opens TCP connections: by whichever address of a host answers first, and so that a dead one is noticed.

A name often has addresses of IPv6 and IPv4, and a network may swallow all packets to one kind. So a second
address is tried while the first has not answered, as RFC 8305 ("happy eyeballs") says, and the address that
answered is the first one next time.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from rescalefs.clock import Clock, SystemClock

Address = tuple[int, Any]  # family, and what `connect` takes
Resolve = Callable[[str, int], Sequence[Address]]

_STAGGER = 0.25  # s before the next address is tried, too (RFC 8305, section 8)
_REMEMBERED = 64  # hosts
_UNDER_WAY = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY})

# A peer that is gone answers no probe. They also keep a firewall from forgetting the connection: many do so
# after some minutes of silence, and then drop its packets without a word.
_FIRST_PROBE, _NEXT_PROBE, _PROBES = 15, 5, 4  # s, s, count
# Not less: the kernel counts it for a peer, too, that is there and takes no bytes for a while (measured on
# Linux 6.1), as a server does that stores what it was sent. It is what a piece of an upload may take.
_UNANSWERED = 60_000  # ms


def resolved(host: str, port: int) -> list[Address]:
    """The addresses of a host, in the system's order, kinds in turn. Raises what `getaddrinfo` raises."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))
    first = [each for each in addresses if each[0] == addresses[0][0]]
    others = [each for each in addresses if each[0] != addresses[0][0]]
    shorter = min(len(first), len(others))
    turns = [each for pair in zip(first, others, strict=False) for each in pair]
    return turns + first[shorter:] + others[shorter:]


def keep_alive(connected: socket.socket) -> None:
    """Have the kernel notice when the other end of a connection is gone, as far as this system can."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    options = {
        "TCP_KEEPIDLE": _FIRST_PROBE,
        "TCP_KEEPINTVL": _NEXT_PROBE,
        "TCP_KEEPCNT": _PROBES,
        "TCP_USER_TIMEOUT": _UNANSWERED,
    }
    for name, value in options.items():
        if hasattr(socket, name):
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Dialer:
    """Connects to hosts, and remembers which of their addresses answered. Thread-safe."""

    def __init__(self, resolve: Resolve = resolved, clock: Clock | None = None) -> None:
        self._resolve = resolve
        self._clock = clock or SystemClock()  # the kernel's time passes, whatever a test's does
        self._lock = threading.Lock()  # guards _answered
        self._answered: OrderedDict[tuple[str, int], Address] = OrderedDict()

    def connect(self, host: str, port: int, timeout: float | None) -> socket.socket:
        """A connection, with ``timeout`` [s] for it to be made and for what is done with it later.

        Raises `OSError`: of the resolver, `TimeoutError`, or what the first address said.
        """
        addresses = self._in_order(host, port)
        made, address = _first(addresses, timeout, self._clock)
        with self._lock:
            self._answered[host, port] = address
            self._answered.move_to_end((host, port))
            while len(self._answered) > _REMEMBERED:
                self._answered.popitem(last=False)
        made.settimeout(timeout)
        keep_alive(made)
        return made

    def _in_order(self, host: str, port: int) -> list[Address]:
        addresses = list(self._resolve(host, port))
        with self._lock:
            before = self._answered.get((host, port))
        if before in addresses:  # else the host has moved
            addresses.remove(before)
            addresses.insert(0, before)
        return addresses


def _first(
    addresses: Sequence[Address], timeout: float | None, clock: Clock
) -> tuple[socket.socket, Address]:
    """The connection that is made first; the others are given up."""
    deadline = None if timeout is None else clock.monotonic() + timeout
    waiting = list(addresses)
    failures: list[OSError] = []
    with ExitStack() as given_up:
        selector = given_up.enter_context(_selector())
        while waiting or selector.get_map():
            now = clock.monotonic()
            if deadline is not None and now >= deadline:
                raise TimeoutError("timed out")
            if waiting:
                _begin(waiting.pop(0), selector, given_up, failures)
            pause = None if deadline is None else deadline - now
            if waiting:
                pause = min(_STAGGER, pause) if pause is not None else _STAGGER
            if not selector.get_map():
                continue  # it failed at once: the next one, please
            for key, _ in selector.select(pause):
                trying, address = key.data
                selector.unregister(trying)
                code = trying.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if code == 0:
                    return socket.socket(fileno=trying.detach()), address
                failures.append(OSError(code, os.strerror(code)))
    raise failures[0] if failures else OSError("the host has no addresses")


def _begin(
    address: Address, selector: selectors.BaseSelector, given_up: ExitStack, failures: list[OSError]
) -> None:
    try:
        trying = given_up.enter_context(socket.socket(address[0], socket.SOCK_STREAM))
        trying.setblocking(False)
        code = trying.connect_ex(address[1])
    except OSError as error:
        failures.append(error)
        return
    if code and code not in _UNDER_WAY:
        failures.append(OSError(code, os.strerror(code)))
        return
    selector.register(trying, selectors.EVENT_WRITE, (trying, address))


def _selector() -> selectors.BaseSelector:
    """One that takes no descriptor of its own, and any number of a descriptor, where there is such a one."""
    kind: Any = getattr(selectors, "PollSelector", selectors.SelectSelector)
    made: selectors.BaseSelector = kind()
    return made
