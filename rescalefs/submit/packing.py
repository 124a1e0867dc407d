"""A subfolder as one tar archive: the same files give the same bytes, and the size is known beforehand.

Not compressed, so that the size needs no second pass and sending it needs no room on disk. Owners, times and
all permissions but "executable" are left out: a copy of the folder packs into the same archive, and is not
sent again.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Generator, Iterable, Sequence
from typing import Protocol

from rescalefs.submit.listing import Entry, Kind

_END = 2 * tarfile.BLOCKSIZE  # zeros that end an archive
_EPOCH = 315532800  # 1980-01-01: the earliest time that every unpacker and build tool takes


class Reads(Protocol):
    """An open file."""

    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class Opens(Protocol):
    """Opens a member for reading, having made sure that it is the one that was listed."""

    def __call__(self, entry: Entry, /) -> Reads: ...


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


def stream(members: Iterable[Entry], open_member: Opens, chunk: int) -> Generator[bytes, None, None]:
    """The archive, in pieces of at most ``chunk`` bytes or a header's length."""
    for each in members:
        yield header(each)
        if each.kind is Kind.FILE:
            yield from content(each, open_member, chunk)
            yield bytes(_padded(each.size) - each.size)
    yield bytes(_END)


def content(entry: Entry, open_member: Opens, chunk: int) -> Generator[bytes, None, None]:
    """Exactly as many bytes of the file as were listed."""
    left = entry.size
    file = open_member(entry)
    try:
        while left:
            piece = file.read(min(chunk, left))
            if not piece:
                raise Shrunk(entry.path)
            left -= len(piece)
            yield piece
    finally:
        file.close()


def _padded(length: int) -> int:
    return -(-length // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
