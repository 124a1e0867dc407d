"""What reading needs of the client: one ranged answer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Protocol

from rescalefs.errors import SizeUnknown
from rescalefs.model import LARGEST_SIZE, RemoteFile


class Body(Protocol):
    """The bytes ``[start, stop)`` of a file, as they arrive.

    Iterating raises an `ApiError` when the transfer breaks; the reader resumes at the byte where it broke.
    """

    @property
    def start(self) -> int: ...

    @property
    def stop(self) -> int:
        """Where this answer ends: before what was asked for only if the file ends there."""
        ...

    @property
    def total(self) -> int | None:
        """The file's size as this answer tells it."""
        ...

    def __iter__(self) -> Iterator[bytes]: ...


class Source(Protocol):
    """Where the bytes come from. Thread-safe: many ranges are open at once."""

    def open_range(self, file: RemoteFile, start: int, stop: int) -> AbstractContextManager[Body]:
        """Ask for ``[start, stop)``; leaving the context early abandons the rest of the answer."""
        ...


def size_of(source: Source, file: RemoteFile) -> int:
    """The size of a file in bytes, asked of the server where its listing does not tell.

    Raises `SizeUnknown` where the server does not tell it either, and what asking raised.
    """
    if file.size is not None:
        return file.size
    with source.open_range(file, 0, 1) as body:
        total = body.total
    if total is None or not 0 <= total <= LARGEST_SIZE:
        raise SizeUnknown(f"{file.path}: the server does not tell how large it is; try again later")
    return total
