"""The account for programs: its tree, and any bytes of its files. Behind `rescalefs.fsspec`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

from rescalefs.assembly.client import account_of, client_for
from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.config import Places, load_settings
from rescalefs.model import RemoteFile
from rescalefs.reading import OpenFile, ReadEngine, ReadingSettings
from rescalefs.tree import Sorting, Tree, TreeSettings


class Library:
    """Reads the account. Its threads run from the beginning to `close`. Thread-safe."""

    def __init__(self, flags: Mapping[str, object]) -> None:
        """``flags`` as of `rescalefs mount`; None where one was not given."""
        settings = load_settings(flags)
        account = account_of(settings)
        places = Places.of(account.name, settings.cache_dir)
        clock = SystemClock()
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

    def close(self) -> None:
        """End the threads."""
        self._engine.close()
        self._client.close()
        self._background.close()
