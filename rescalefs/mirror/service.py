"""What this room needs of others besides the tree and ranges of files; tests hand it fakes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from rescalefs.model import LiveFile


class TailBody(Protocol):
    """The bytes of a live file from `start` on: what was asked for, or 0 where the server sends all of it."""

    @property
    def start(self) -> int: ...

    @property
    def total(self) -> int | None: ...

    def __iter__(self) -> Iterator[bytes]: ...


class LiveSource(Protocol):
    """Gives what running jobs write."""

    def open_tail(self, file: LiveFile, start: int) -> AbstractContextManager[TailBody]: ...


class DropViews(Protocol):
    """What is known of the folders in the drop folder, by their names."""

    def status(self, drop: str) -> bytes | None: ...

    def log(self, drop: str) -> bytes | None: ...

    def job_id(self, drop: str) -> str | None: ...
