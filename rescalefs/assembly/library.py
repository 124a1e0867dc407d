"""The account for programs: its tree, and any bytes of its files. Behind `rescalefs.fsspec`."""

from __future__ import annotations

import atexit
import os
import queue
import threading
from collections.abc import Mapping
from contextlib import closing

from rescalefs.assembly.client import account_of, client_for
from rescalefs.assembly.places import places_of
from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.config import load_settings
from rescalefs.model import RemoteFile
from rescalefs.reading import OpenFile, ReadEngine, ReadingSettings
from rescalefs.tree import Sorting, Tree, TreeSettings

_LOOK_AGAIN = 60.0  # seconds; a limit of the wait, which a note ends at once


class Library:
    """Reads the account. Its threads run from the beginning to `close`, or to the end of the program.

    Thread-safe. A forked child must not use it: it has none of the threads.
    """

    def __init__(self, flags: Mapping[str, object]) -> None:
        """``flags`` as of `rescalefs mount`; None where one was not given."""
        settings = load_settings(flags)
        account = account_of(settings)
        places = places_of(settings, account)
        clock = SystemClock()
        self._process = os.getpid()
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
        places.make()
        self._engine.start()
        self.tree.start()
        self._background.start("library", self._close_when_abandoned)
        atexit.register(self._close_at_exit)

    def open(self, file: RemoteFile) -> OpenFile:
        """See `ReadEngine.open`."""
        return self._engine.open(file)

    def size(self, file: RemoteFile) -> int:
        with closing(self._engine.open(file)) as opened:
            return opened.size

    def read(self, file: RemoteFile, start: int | None, end: int | None) -> bytes:
        """The bytes that the slice ``[start:end]`` means."""
        with closing(self._engine.open(file)) as opened:
            begin, stop, _ = slice(start, end).indices(opened.size)
            buffer = bytearray(max(0, stop - begin))
            return bytes(buffer[: opened.read_into(memoryview(buffer), begin)])

    def abandon(self) -> None:
        """Have a thread of the library close it. For finalizers: takes no lock, and waits for nothing."""
        self._notes.put(None)

    def close(self) -> None:
        """End the threads."""
        atexit.unregister(self._close_at_exit)
        self._notes.put(None)
        self._engine.close()
        self._client.close()
        self._background.close()

    def _close_when_abandoned(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                self._notes.get(timeout=_LOOK_AGAIN)
            except queue.Empty:
                continue
            self.close()
            return

    def _close_at_exit(self) -> None:
        if os.getpid() == self._process:  # a fork copied locks that other threads held, and not the threads
            self.close()
