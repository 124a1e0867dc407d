"""The bytes of stored files: one file each, written once, hashed on the way in, in constant memory."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, final

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Digest:
    """How long some bytes are, and what they hash to."""

    size: int
    sha512: str


class Contents:
    """Files named by id below one folder. A file that exists under its id is complete."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)
        for left_over in self._incoming.iterdir():  # of uploads that a crash cut short
            left_over.unlink()

    def path(self, file_id: str) -> Path:
        """Where the bytes of a file are."""
        return self._folder / file_id[:1] / file_id  # 52 folders: ten thousand files are made in a second

    def write(self, file_id: str, chunks: Iterator[bytes] | list[bytes]) -> Digest:
        """Store the bytes under the id."""
        with self.receive(file_id) as incoming:
            for chunk in chunks:
                incoming.write(chunk)
            return incoming.keep()

    def receive(self, file_id: str) -> Incoming:
        """A file to be written piece by piece; closed without `Incoming.keep`, it was never there."""
        return Incoming(self._incoming / file_id, self.path(file_id))

    def link(self, file_id: str, path: Path) -> Digest:
        """Store a file of the same disk without copying it; nobody may write to ``path`` any more."""
        path.chmod(0o644)  # a command may have taken away our own right to read it
        with path.open("rb") as file:
            digest = _digest(file)
        target = self.path(file_id)
        target.parent.mkdir(exist_ok=True)
        os.link(path, target)
        return digest

    def sweep(self, known: Callable[[str], bool]) -> None:
        """Remove files that no record knows: what a crash left between a file and its record."""
        for path in self._folder.glob("?/*"):
            if not known(path.name):
                path.unlink()

    def remove(self, file_id: str) -> None:
        """Drop the bytes; readers that have the file open keep them until they are done."""
        self.path(file_id).unlink(missing_ok=True)


@final
class Incoming:
    """One file on its way in. Used by one thread at a time."""

    def __init__(self, path: Path, target: Path) -> None:
        self._path = path
        self._target = target
        self._file = path.open("xb")
        self._hash = hashlib.sha512()
        self._size = 0
        self._is_kept = False

    def write(self, chunk: bytes) -> None:
        """Append."""
        self._hash.update(chunk)
        self._file.write(chunk)
        self._size += len(chunk)

    def keep(self) -> Digest:
        """It is complete: put it in its place."""
        self._file.close()
        self._target.parent.mkdir(exist_ok=True)
        self._path.replace(self._target)
        self._is_kept = True
        return Digest(self._size, self._hash.hexdigest())

    def close(self) -> None:
        """Drop it, unless it was kept."""
        self._file.close()
        if not self._is_kept:
            self._path.unlink()

    def __enter__(self) -> Incoming:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def generated(size: int, seed: str) -> Iterator[bytes]:
    """``size`` bytes that look random and are the same for the same seed.

    Every 1 MiB differs from every other by its first bytes, so that misplaced blocks are noticed.
    """
    noise = random.Random(seed).randbytes(min(size, CHUNK))
    for number, start in enumerate(range(0, size, CHUNK)):
        mark = number.to_bytes(8, "big")
        yield (mark + noise[len(mark) :])[: size - start]


def copied(path: Path) -> Iterator[bytes]:
    """The bytes of a file, piece by piece."""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk


def _digest(file: BinaryIO) -> Digest:
    digest = hashlib.sha512()
    buffer = memoryview(bytearray(CHUNK))
    while count := file.readinto(buffer):  # type: ignore[attr-defined]  # a buffered reader has it
        digest.update(buffer[:count])
    return Digest(os.fstat(file.fileno()).st_size, digest.hexdigest())
