"""Signals that ask a command to end: none is lost, and none is acted on inside a handler.

Python runs a signal's handler in the main thread, between two instructions. A signal that lands just before
the main thread begins to wait for a lock, a queue or a thread, or that the kernel gives to another thread, is
handled only when that wait ends, which may be never: 9 of 120 SIGTERMs were lost so. Here the interpreter
writes each signal into a socket at the very moment at which it comes (`signal.set_wakeup_fd`), and a thread
reads them there. That thread acts, or interrupts the main thread until an exception has been raised there.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from rescalefs.background import Background
from rescalefs.clock import SystemClock

ENDING = (signal.SIGTERM, signal.SIGINT)
HANG_UP = getattr(signal, "SIGHUP", signal.SIGTERM)  # Windows has none

_NUDGE = getattr(signal, "SIGURG", signal.SIGTERM)  # interrupts a wait; ignored wherever no handler is set
_NUDGE_EVERY = 0.05  # [s]
_MOST_CAUSES = 100  # of one error; a chain may be a ring
_DEAF = (
    5.0  # [s] without a reaction: the main thread waits in the kernel, as a read of a mount that hangs does
)

_deferred = 0  # how many `deferred` blocks the main thread is in


class Terminated(BaseException):
    """A signal other than SIGINT asks the command to end. SIGINT raises KeyboardInterrupt."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def behind(error: BaseException) -> KeyboardInterrupt | Terminated | None:
    """What a signal raised, if that is what ``error`` came from.

    Code in C may lose it: an import that it interrupts can end with a SystemError (CPython 3.10).
    """
    each: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if each is None or isinstance(each, (KeyboardInterrupt, Terminated)):
            return each
        each = each.__cause__ or each.__context__
    return None


@contextmanager
def reported(
    act: Callable[[int], None],
    numbers: Sequence[int] = ENDING,
    patience: float = 60.0,
    *,
    again: bool = False,
) -> Iterator[None]:
    """While the block runs, the first signal of ``numbers`` calls ``act(number)``, on a thread of its own.

    With ``again``, a SIGINT that comes after it raises `KeyboardInterrupt` in the main thread. Where the
    block has not been left ``patience`` seconds after the first signal, the process ends at once, with exit
    code 128 + number. Outside of the main thread nothing is done: Python allows handlers there alone.
    """
    yield from _watching(lambda: _Watch(numbers, act, patience, again=again))


@contextmanager
def interrupting(
    numbers: Sequence[int] = ENDING, patience: float = 10.0, *, again: bool = True
) -> Iterator[None]:
    """While the block runs, a signal raises `KeyboardInterrupt` or `Terminated` in the main thread.

    Without ``again`` only the first signal does, so that no other breaks off the cleaning up. Where the block
    has not been left ``patience`` seconds after the first one, or the main thread does not react at all, the
    process ends at once, with exit code 128 + number. Outside of the main thread nothing is done.
    """
    yield from _watching(lambda: _Watch(numbers, None, patience, again=again))


@contextmanager
def deferred() -> Iterator[None]:
    """While the block runs, no signal raises anything in the main thread; it does soon after.

    For the moment between the start of a process and the note that it has to be ended, and for cleaning up.
    """
    global _deferred
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _deferred += 1
    try:
        yield
    finally:
        _deferred -= 1


def not_ignored(numbers: Sequence[int]) -> tuple[int, ...]:
    """The ending signals, except those that our parent has ignored, as nohup(1) does with SIGHUP."""
    return tuple(number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN)


def _watching(made: Callable[[], _Watch]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    watch = made()
    try:
        watch.begin()
        yield
    finally:
        watch.end()


class _Watch:
    """The signals of one block: a handler that only raises, and a thread that does the rest."""

    def __init__(
        self, numbers: Sequence[int], act: Callable[[int], None] | None, patience: float, *, again: bool
    ) -> None:
        self._numbers = tuple(dict.fromkeys(numbers))
        self._act = act
        self._patience = patience
        self._again = again
        self._clock = SystemClock()
        self._main = threading.get_ident()
        self._background = Background()
        self._inbox, self._outbox = socket.socketpair()
        self._before: dict[int, object] = {}
        self._wakeup_before: int | None = None
        self._wanted: int | None = None  # set by the thread: the signal that is to raise something
        self._raised = False  # set by the handler
        self._over = False

    def begin(self) -> None:
        self._outbox.setblocking(False)
        self._background.start("signals", self._watch)
        self._wakeup_before = signal.set_wakeup_fd(self._outbox.fileno(), warn_on_full_buffer=False)
        for number in (*self._numbers, _NUDGE):
            self._before.setdefault(number, signal.signal(number, self._handle))

    def end(self) -> None:
        """Put everything back. From here on nothing is raised."""
        self._over = True
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal has returned
        if self._wakeup_before is not None:
            signal.set_wakeup_fd(self._wakeup_before)
        with contextlib.suppress(BlockingIOError):  # full of signals: the thread ends by `stop`, below
            self._outbox.send(b"\0")
        try:
            self._background.close()
        finally:
            self._inbox.close()
            self._outbox.close()

    def _handle(self, number: int, _: FrameType | None) -> None:
        """Runs inside any line of the main thread: takes no lock, logs nothing."""
        if self._over or _deferred:
            return
        if number == _NUDGE:
            due = None if self._raised else self._wanted
        else:
            due = number if self._act is None and (self._again or not self._raised) else None
        if due is not None:
            self._raised = True
            raise KeyboardInterrupt if due == signal.SIGINT else Terminated(due)

    def _watch(self, stop: threading.Event) -> None:
        number = self._next(stop, None)
        if not number:
            return
        if self._act is None:
            self._wanted = number
        else:
            act = self._act
            self._background.start("ending", lambda _: act(number))
        now = self._clock.monotonic()
        deaf, late = now + _DEAF, now + self._patience
        while not stop.is_set():
            waits = self._wanted is not None and not self._raised and not _deferred
            if waits:
                self._nudge()
            other = self._next(
                stop, _NUDGE_EVERY if self._wanted and not self._raised else max(0.0, late - now)
            )
            if other == 0:
                return
            now = self._clock.monotonic()
            if other == signal.SIGINT and self._again and self._wanted is None:
                self._wanted, deaf = other, now + _DEAF
            elif now >= late or (waits and now >= deaf and not self._raised):
                _end_at_once(number)

    def _next(self, stop: threading.Event, seconds: float | None) -> int | None:
        """The next signal of ours; 0 when the block is over; None after so many seconds."""
        until = None if seconds is None else self._clock.monotonic() + seconds
        while not stop.is_set():
            left = 3600.0 if until is None else until - self._clock.monotonic()
            if left <= 0:
                return None
            self._inbox.settimeout(left)
            try:
                number = self._inbox.recv(1)[0]
            except TimeoutError:
                continue
            if number == 0 or number in self._numbers:
                return number
        return 0

    def _nudge(self) -> None:
        if hasattr(signal, "pthread_kill") and not self._over:
            with contextlib.suppress(OSError):
                signal.pthread_kill(self._main, _NUDGE)


def _end_at_once(number: int) -> None:
    """End the process, which does not do it by itself, with a line about it if standard error takes one."""
    name = signal.Signals(number).name
    words = f"rescalefs: {name} came, and something that cannot be interrupted went on; ended at once\n"
    with contextlib.suppress(OSError, ValueError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, words.encode())
    os._exit(128 + number)
