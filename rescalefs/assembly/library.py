"""The account for programs: its tree, and any bytes of its files. Behind `rescalefs.fsspec`."""

from __future__ import annotations

import atexit
import logging
import queue
import threading
from collections.abc import Mapping
from contextlib import closing

from rescalefs.assembly.client import account_of, client_for
from rescalefs.assembly.places import places_of
from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.config import load_settings
from rescalefs.forks import Process
from rescalefs.model import RemoteFile
from rescalefs.reading import OpenFile, ReadEngine, ReadingSettings
from rescalefs.tree import Node, Sorting, Tree, TreeSettings

log = logging.getLogger(__name__)

_FIRST_LISTING = (
    10.0  # seconds that the first look waits for the server's list; then the stored one has to do
)
_AT_EXIT = (
    0.05  # seconds for each thread to end; what one leaves behind is as after a kill -9, and that is safe
)
_LOOK_AGAIN = 60.0  # seconds; a limit of the wait, which a note ends at once


_at_exit = threading.Event()  # set once the program has ended


def await_exit() -> None:
    """Once the program has ended, hold a thread that still reads until Python ends it; else return at once.

    An error there would be printed as a failure of that thread, after a program that did its work.
    """
    if _at_exit.is_set() and threading.current_thread() is not threading.main_thread():
        threading.Event().wait(_LOOK_AGAIN)


class Library:
    """Reads the account. Its threads run from the beginning to `close`, or to the end of the program.

    Thread-safe. In a forked child it is of no use, because its threads are the parent's: all of it raises
    `OtherProcess` there.
    """

    def __init__(self, flags: Mapping[str, object]) -> None:
        """``flags`` as of `rescalefs mount`; None where one was not given."""
        settings = load_settings(flags)
        account = account_of(settings)
        places = places_of(settings, account)
        clock = SystemClock()
        self.process = Process()
        self._has_listing = False  # the first look waits for one; a hint, so unguarded
        self._notes: queue.SimpleQueue[None] = queue.SimpleQueue()  # one: it was closed or abandoned
        self._background = Background()
        self._client = client_for(settings, account, clock)
        reading = ReadingSettings(
            cache_dir=places.blocks,
            cache_size=settings.cache_size,
            connections=settings.connections,
            verify=settings.verify,
            deadline=settings.deadline,
        )
        self._engine = ReadEngine(self._client, reading, clock, self._background)
        listings = TreeSettings(
            directory=places.listings,
            poll_every=settings.poll_every,
            sorting=Sorting(settings.split_types, settings.hide_types),
        )
        self.tree = Tree(self._client, clock, self._background, listings, self._engine.verification, {})
        places.make(for_drops=False)
        self._engine.start()
        self.tree.start()
        self._background.start("library", self._close_when_abandoned)
        atexit.register(self._close_at_exit)

    def node(self, path: str) -> Node:
        """What is at an absolute path. The first look asks the server which jobs there are and how they are.

        So a new process sees a job that ended a moment ago, whatever an earlier one has stored. Raises as
        `Tree.node` does.
        """
        self.process.check()
        if not self._has_listing:
            self.tree.await_listing(_FIRST_LISTING)
            self._has_listing = True
        return self.tree.node(path)

    def open(self, file: RemoteFile) -> OpenFile:
        """See `ReadEngine.open`."""
        return self._engine.open(file)

    def size(self, file: RemoteFile) -> int:
        """See `ReadEngine.size`."""
        return self._engine.size(file)

    def read(self, file: RemoteFile, start: int | None, end: int | None) -> bytes:
        """The bytes that the slice ``[start:end]`` means."""
        with closing(self._engine.open(file)) as opened:
            begin, stop, _ = slice(start, end).indices(opened.size)
            buffer = bytearray(max(0, stop - begin))
            return bytes(buffer[: opened.read_into(memoryview(buffer), begin)])

    def abandon(self) -> None:
        """Have a thread of the library close it. For finalizers: takes no lock, and waits for nothing."""
        self._notes.put(None)

    def close(self, patience: float | None = None) -> None:
        """End the threads, and wait for each (``patience`` in seconds, if not as usual)."""
        if not self.process.is_this:
            return
        atexit.unregister(self._close_at_exit)
        self._notes.put(None)
        self._engine.close()
        self._client.close()
        self._background.close(patience)

    def _close_when_abandoned(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._notes.get(timeout=_LOOK_AGAIN)
            except queue.Empty:
                continue
            self.close()
            return

    def _close_at_exit(self) -> None:
        # The program has ended: whatever goes wrong from now on is not its failure.
        _at_exit.set()
        try:
            self.close(_AT_EXIT)
        except Exception as error:  # noqa: BLE001
            log.debug("at the end of the program: %r", error)
