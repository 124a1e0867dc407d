"""Owns every thread we start, and carries the wish to end to them."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import Callable

from rescalefs.clock import Clock
from rescalefs.containment import contained

log = logging.getLogger(__name__)

Body = Callable[[threading.Event], None]

_LOOK = 1.0  # [s] the longest that one wait for the end lasts, so that even a lost wake-up costs no more
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0  # [s] after a round that failed
_NICE = 10  # beside a thread that does not yield, about a tenth of a core's time


class Background:
    """Starts threads, ends them together, and reports the first crash.

    A body takes the ``stop`` event and returns soon after it is set. When a body raises, ``stop`` is set
    for all, ``on_crash`` is called once, and `close` raises what it raised: nothing dies quietly.
    Not promised: that a body which ignores ``stop`` ends; `close` says which one did not.
    """

    def __init__(self, on_crash: Callable[[], None] | None = None, patience: float = 10.0) -> None:
        self._stop = threading.Event()
        self._on_crash = on_crash
        self._patience = patience  # seconds that close() gives each thread
        self._lock = threading.Lock()  # guards _threads and _crash
        self._threads: list[threading.Thread] = []
        self._crash: BaseException | None = None

    @property
    def stopping(self) -> bool:
        """Whether the threads have been told to end."""
        return self._stop.is_set()

    def start(self, name: str, body: Body, yielding: bool = False) -> None:
        """Run ``body(stop)`` in a thread called ``name``; after `close`, do nothing.

        A ``yielding`` thread lets the others have the processors first, where a thread can (Linux).
        """
        thread = threading.Thread(
            target=self._run, args=(name, body, yielding), name=f"rescalefs-{name}", daemon=True
        )
        with self._lock:
            if self._stop.is_set():
                return
            self._threads = [each for each in self._threads if each.is_alive() or each.ident is None]
            self._threads.append(thread)
        thread.start()

    def close(self, patience: float | None = None) -> None:
        """Set ``stop``, join every thread, and raise the first crash if there was one. Safe to call twice.

        With ``patience``, in seconds for each thread, one that does not end in time is no news for the log.
        """
        self._stop.set()
        with self._lock:
            threads, self._threads = self._threads, []
        for thread in threads:
            if thread is threading.current_thread() or thread.ident is None:
                continue
            thread.join(self._patience if patience is None else patience)
            if thread.is_alive():
                level = logging.WARNING if patience is None else logging.DEBUG
                log.log(level, "thread %s did not end within %.0f s", thread.name, self._patience)
        with self._lock:
            crash, self._crash = self._crash, None
        if crash is not None:
            raise crash

    def _run(self, name: str, body: Body, yielding: bool) -> None:
        try:
            if yielding:
                _be_nice()
            body(self._stop)
        except BaseException as error:  # whatever it is, close() raises it
            log.exception("thread %s crashed; the others are told to end", name)
            with self._lock:
                first = self._crash is None
                if first:
                    self._crash = error
            self._stop.set()
            if first and self._on_crash is not None:
                self._on_crash()


class Rounds:
    """Does something again and again until the end: the loop of a thread that works on items from outside.

    What a round raises ends that round, not the thread: it is logged once with its traceback, and the next
    round follows after a pause that grows while rounds fail. Items are to be contained one by one within the
    round; this is the net below them.
    """

    def __init__(self, clock: Clock, logger: logging.Logger, what: str) -> None:
        self._clock = clock
        self._log = logger
        self._what = what
        self._failures = 0

    def run(self, step: Callable[[], object], stop: threading.Event) -> None:
        """Call ``step`` until ``stop`` is set. ``step`` waits for what there is to do, with a limit."""
        while not stop.is_set():
            failed = self._failures
            with contained(self._log, self._what, failed=self._count):
                step()
            if self._failures == failed:
                self._failures = 0
            else:
                pause = _FIRST_PAUSE * 2.0 ** min(self._failures - 1, 16)
                self._clock.wait(stop, min(pause, _LONGEST_PAUSE))

    def _count(self, _: Exception) -> None:
        self._failures += 1


class Ending:
    """The wish to end something. `ask` may be called from any thread, `wait` by several.

    `ask` does not wait for a lock, so that it may also run where Python runs code at any moment.
    """

    def __init__(self) -> None:
        self.is_asked = False
        self._asked: queue.SimpleQueue[None] = queue.SimpleQueue()  # its put() is re-entrant, as documented

    def ask(self) -> None:
        self.is_asked = True
        self._asked.put(None)

    def wait(self) -> None:
        """Return once it has been asked for."""
        while not self.is_asked:
            with contextlib.suppress(queue.Empty):
                self._asked.get(timeout=_LOOK)
        self._asked.put(None)  # for the others that wait


def _be_nice() -> None:
    """Raise this thread's nice value, which anyone may; Linux has one for each thread (sched(7))."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + _NICE)
