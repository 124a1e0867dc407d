"""What a person hears while a command waits for the server."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import click

from rescalefs.background import Background
from rescalefs.clock import Clock, SystemClock

if TYPE_CHECKING:
    from rescalefs.api import RescaleClient

_SOON = 2.5  # seconds; a person who sees nothing for longer believes that the command hangs
_RETRIES = "rescalefs.api.transport"  # the logger of attempts that failed


class NoRetries(logging.Filter):
    """Leaves out the attempts that failed: a command that gives up says so in one line, at its end."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.name != _RETRIES or record.levelno >= logging.ERROR


@contextmanager
def waiting_shown(
    server: str, told: threading.Event | None = None, clock: Clock | None = None
) -> Iterator[None]:
    """On a terminal, say which server is waited for, where the block takes more than some seconds.

    That is said once for each ``told``, which is set by it.
    """
    told = told or threading.Event()
    if told.is_set() or not sys.stderr.isatty():
        yield
        return
    is_over = threading.Event()

    def say_it_late(_: threading.Event) -> None:
        if not (clock or SystemClock()).wait(is_over, _SOON):
            told.set()
            with suppress(OSError):  # the terminal is gone
                click.echo(f"rescalefs: waiting for {server}; Ctrl-C ends it", err=True)

    with closing(Background()) as background:
        background.start("waiting", say_it_late)
        try:
            yield
        finally:
            is_over.set()


def watched(client: RescaleClient) -> RescaleClient:
    """A client that says on a terminal, once, that it waits for the server."""
    return cast("RescaleClient", _Watched(client)) if sys.stderr.isatty() else client


class _Watched:
    """Passes all calls on to a client, and watches how long they take."""

    def __init__(self, client: RescaleClient) -> None:
        self._client = client
        self._told = threading.Event()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return self._timed(found) if callable(found) and name != "close" else found

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            with waiting_shown(self._client.base_url, self._told):
                return method(*arguments, **named)

        return timed
