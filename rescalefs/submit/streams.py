"""The bytes of a parcel on their way, and their SHA-512, for which the sending never waits."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Generator
from pathlib import Path
from typing import cast

import xxhash

from rescalefs.clock import Clock
from rescalefs.submit import packing
from rescalefs.submit.folder import open_listed
from rescalefs.submit.listing import Entry
from rescalefs.submit.parcels import Parcel

_PIECE = 1 << 19  # bytes read and hashed at once: they stay in the core's cache in between
_MOST = 2  # pieces hashed from one call to the next: after a stall, the line is not kept waiting for long


class ContentChanged(Exception):
    """A file is not the one that was listed, or did not stay as it was. Caught by the carrier."""


class ParcelStream(io.RawIOBase):
    """The bytes of a parcel, and a quick digest of those read. Can be rewound, for another attempt."""

    def __init__(self, parcel: Parcel, folder: Path) -> None:
        super().__init__()
        self._parcel = parcel
        self._folder = folder
        self._start()

    def _start(self) -> None:
        self._parts = self._all_parts()
        self._part: packing.Part | None = None
        self._position = 0
        self._hash = xxhash.xxh3_128()

    @property
    def xxh3(self) -> bytes:
        """XXH3-128 of what was read so far."""
        return self._hash.digest()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Back to the start, or stay; nothing else is needed."""
        bases = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._parcel.size}
        target = bases[whence] + offset
        if target == 0:
            self._parts.close()
            self._start()
        elif target != self._position:
            raise io.UnsupportedOperation("a parcel is read from its start to its end")
        return target

    def readinto(self, buffer: object) -> int:
        target = memoryview(cast("bytearray", buffer)).cast("B")
        count = 0
        while target and not count:
            self._part = self._part or next(self._parts, None)
            if self._part is None:
                return 0
            count = self._part.readinto(target) or 0
            if not count:
                self._part = None
        self._hash.update(target[:count])
        self._position += count
        return count

    def close(self) -> None:
        self._parts.close()
        super().close()

    def _all_parts(self) -> Generator[packing.Part, None, None]:
        if self._parcel.is_archive:
            return packing.archive(self._parcel.members, self._open)
        return packing.content(self._parcel.members[0], self._open)

    def _open(self, entry: Entry) -> io.FileIO:
        """The listed file itself: not one that took its place, and not what a link was turned to since."""
        file = open_listed(self._folder, entry)
        if file is None:
            raise ContentChanged(entry.path)
        return file


class TrailingHash:
    """The SHA-512 of a parcel, from a reading of its own that follows the sending and may fall behind.

    What it follows is still in the kernel's cache. It goes on only in time that the line leaves, and ends its
    reading after the last byte is sent. That both readings got the same bytes, their XXH3-128 tell. For
    one thread.
    """

    def __init__(self, parcel: Parcel, folder: Path, clock: Clock) -> None:
        self._size = parcel.size
        self._name = parcel.name
        self._clock = clock
        self._reading = ParcelStream(parcel, folder)
        self._hash = hashlib.sha512()
        self._buffer = memoryview(bytearray(min(_PIECE, parcel.size)))
        self._turned = clock.monotonic()  # when `follow` was called last
        self._turn = 0.0  # seconds from call to call, smoothed
        self._cost = 0.0  # seconds that a byte took to read and hash
        self._least = 0.0  # the same, when nothing else kept us

    def close(self) -> None:
        self._reading.close()

    @property
    def position(self) -> int:
        """How many bytes it has hashed."""
        return self._reading.tell()

    def follow(self, sent: int) -> None:
        """So many bytes are sent: hash of them what can be hashed while the kernel sends what it has taken.

        From call to call passes the time that a piece takes on the line, hashing included, as long as hashing
        is not what takes it. On a line that takes twice the time that hashing takes, or more, it keeps pace.
        """
        began = self._clock.monotonic()
        self._turn += (began - self._turned - self._turn) / 8  # the line stalls, and takes much at once
        self._turned = began
        self._cost = max(self._least, self._cost / 2)  # one slow piece is no reason to stop for good
        for _ in range(_MOST):
            length = min(len(self._buffer), sent - self.position)
            # Twice: so that the line is never kept waiting, and hashing never takes itself for a slow line.
            if length <= 0 or self._clock.monotonic() - began + 2 * self._cost * length > self._turn:
                return
            self._advance(length)

    def sha512(self) -> str:
        """Read and hash what is left."""
        while (length := min(len(self._buffer), self._size - self.position)) > 0:
            self._advance(length)
        return self._hash.hexdigest()

    def sha512_of(self, sent: ParcelStream) -> str:
        """Of the bytes that were sent; `ContentChanged` if those are not what there is now."""
        digest = self.sha512()
        if self._reading.xxh3 != sent.xxh3:
            raise ContentChanged(self._name)
        return digest

    def _advance(self, length: int) -> None:
        """Hash the next bytes, so many of them."""
        began, filled = self._clock.monotonic(), 0
        while filled < length:
            filled += self._reading.readinto(self._buffer[filled:length])
        self._hash.update(self._buffer[:length])
        self._cost = (self._clock.monotonic() - began) / length
        self._least = min(self._cost, self._least or self._cost)
