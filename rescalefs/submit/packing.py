"""A subfolder as one tar archive: the same files give the same bytes, and the size is known beforehand.

Not compressed, so that the size needs no second pass and sending it needs no room on disk. Owners, times and
all permissions but "executable" are left out: a copy of the folder packs into the same archive, and is not
sent again.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Generator, Iterable, Sequence
from typing import Protocol

from rescalefs.submit.listing import Entry, Kind

_END = 2 * tarfile.BLOCKSIZE  # zeros that end an archive
_EPOCH = 315532800  # 1980-01-01: the earliest time that every unpacker and build tool takes


class Part(Protocol):
    """A run of the bytes, or an open file."""

    def readinto(self, buffer: memoryview, /) -> int | None: ...


class OpenFile(Part, Protocol):
    """An open file."""

    def close(self) -> None: ...


class Opens(Protocol):
    """Opens a member for reading, having made sure that it is the one that was listed."""

    def __call__(self, entry: Entry, /) -> OpenFile: ...


class Shrunk(Exception):
    """A file ended before the length that was listed. Caught by `uploads`."""


def size(members: Sequence[Entry]) -> int:
    """Bytes of the whole archive."""
    return sum(len(header(each)) + _padded(each.size) for each in members) + _END


def mark(members: Iterable[Entry]) -> str:
    """Differs when the archive's bytes may."""
    digest = hashlib.sha256()
    for each in members:
        digest.update(f"{each.path}\0{each.mark}\0{each.executable}\0".encode())
    return digest.hexdigest()


def header(entry: Entry) -> bytes:
    """What stands before the member's content."""
    info = tarfile.TarInfo(entry.path)
    info.mtime = _EPOCH
    if entry.kind is Kind.FOLDER:
        info.type = tarfile.DIRTYPE
        info.mode = 0o755
    else:
        info.size = entry.size
        info.mode = 0o755 if entry.executable else 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


def archive(members: Iterable[Entry], open_member: Opens) -> Generator[Part, None, None]:
    """The archive, part by part; each is read to its end before the next one is asked for."""
    for each in members:
        yield io.BytesIO(header(each))
        if each.kind is Kind.FILE:
            yield from content(each, open_member)
            yield io.BytesIO(bytes(_padded(each.size) - each.size))
    yield io.BytesIO(bytes(_END))


def content(entry: Entry, open_member: Opens) -> Generator[Part, None, None]:
    """One part: exactly as many bytes of the file as were listed. The file is closed after it."""
    file = open_member(entry)
    try:
        yield _Listed(file, entry)
    finally:
        file.close()


class _Listed:
    """A file up to the size that was listed. Raises `Shrunk` where it ends before."""

    def __init__(self, file: Part, entry: Entry) -> None:
        self._file = file
        self._path = entry.path
        self._left = entry.size

    def readinto(self, buffer: memoryview) -> int:
        if not self._left:
            return 0
        count = self._file.readinto(buffer[: self._left])
        if not count:
            raise Shrunk(self._path)
        self._left -= count
        return count


def _padded(length: int) -> int:
    return -(-length // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
