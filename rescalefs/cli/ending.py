"""Ends a command that runs on its own threads: at SIGINT or SIGTERM, once."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from rescalefs import signals
from rescalefs.background import Ending

_PATIENCE = 30.0  # [s] for a command to end after its first signal


@contextmanager
def ended_by_signals(stop: Callable[[], None], at_once: bool = False) -> Iterator[Ending]:
    """While the block runs, a signal calls ``stop`` on a thread of its own. `Ending` knows whether one came.

    With ``at_once`` it also raises `click.Abort` in the main thread, wherever that is: a write to a reader
    that reads no more ends at nothing else. A SIGINT after the first signal raises it in any case.
    """
    ending = Ending()

    def asked(_: int) -> None:
        ending.ask()
        if at_once:
            signal.raise_signal(signal.SIGINT)  # as if it came a second time
        stop()

    try:
        with signals.reported(asked, patience=_PATIENCE, again=True):
            yield ending
    except KeyboardInterrupt as error:
        raise click.Abort from error
