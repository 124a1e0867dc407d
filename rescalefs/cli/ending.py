"""Ends a command that runs on its own threads: at SIGINT or SIGTERM, once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click

from rescalefs.background import Background, Ending


@contextmanager
def ended_by_signals(stop: Callable[[], None], at_once: bool = False) -> Iterator[Ending]:
    """While the block runs, a signal calls ``stop`` on a thread of its own. It tells whether one came.
    With ``at_once`` it also raises `click.Abort` in the main one, wherever that is.

    On its own thread: a handler runs between two instructions of the main one, which may hold the very lock
    that ``stop`` wants. A second SIGINT ends the process as usual.
    """
    ending, over = Ending(), threading.Event()

    def on_signal(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        ending.ask()
        if at_once:
            raise click.Abort

    def wait(_: threading.Event) -> None:
        ending.wait()
        if not over.is_set():
            stop()

    background = Background()
    background.start("signals", wait)
    before = {number: signal.signal(number, on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        over.set()
        ending.ask()
        background.close()
