"""Answers of the server on disk, so that `ls` works after a restart without a server.

One file for each answer; written whole and moved into place, so no reader sees half of one. It is a cache: a
file that is damaged, of another format or of another key counts as absent, and a full disk costs a request.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
import xxhash

from rescalefs.containment import log_once
from rescalefs.private import make_private

log = logging.getLogger(__name__)

# Raise it when a stored value would mean something else, or a field without a default was added to the model.
FORMAT = 1

_MAGIC = b"rescalefs tree\n"
_DIGEST_SIZE = 16
_LEFTOVER_AGE = 3600.0  # seconds; no write takes this long, so its writer is dead
_SUFFIX = ".answer"
_PART = ".part"

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Document(Generic[V]):
    """One answer, when it was asked for, and for how many seconds it holds (see `answers.Answer`)."""

    value: V
    asked: datetime
    holds: float | None


class Drawer(Generic[V]):
    """The stored answers of one kind; without a directory, nothing. Safe among threads and processes."""

    def __init__(self, directory: Path | None, kind: str, content: Any) -> None:
        """``content`` is the type of the values, as msgspec understands it."""
        self._directory = None if directory is None else directory / kind
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(tuple[int, str, float, float | None, content])
        self._warned = False

    def load(self, key: str) -> Document[V] | None:
        """What was saved under ``key``; None if nothing usable was."""
        if self._directory is None:
            return None
        path = self._path(self._directory, key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        head, body = data[: len(_MAGIC) + _DIGEST_SIZE], memoryview(data)[len(_MAGIC) + _DIGEST_SIZE :]
        if head != _MAGIC + xxhash.xxh3_128_digest(body):
            log.info("%s is damaged; it will be asked for again", path)
            return None
        try:
            version, saved_key, asked, holds, value = self._decoder.decode(body)
        except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return None  # written by another version, whose values had another shape
        if (version, saved_key) != (FORMAT, key):
            return None
        try:
            return Document(value, datetime.fromtimestamp(asked, timezone.utc), holds)
        except (ValueError, OverflowError, OSError):  # no date that there could be
            return None

    def save(self, key: str, document: Document[V]) -> None:
        """Keep ``document``, if the disk lets us. Not promised: that it survives a power cut."""
        if self._directory is None:
            return
        row = (FORMAT, key, document.asked.timestamp(), document.holds, document.value)
        try:
            body = self._encoder.encode(row)
        except (
            ValueError,
            OverflowError,
            RecursionError,
        ) as error:  # lone surrogates, huge numbers
            log_once(log, "an answer that cannot be stored", error, key)
            return
        path = self._path(self._directory, key)
        part = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}{_PART}")
        try:
            make_private(self._directory)
            with open(part, "wb", opener=_private) as file:
                file.write(_MAGIC + xxhash.xxh3_128_digest(body) + body)
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            level = logging.DEBUG if self._warned else logging.WARNING
            self._warned = True
            log.log(
                level, "cannot keep listings in %s: %s. They will be asked for again", self._directory, error
            )

    def remove(self, key: str) -> None:
        """Forget what was saved under ``key``."""
        if self._directory is not None:
            with contextlib.suppress(OSError):
                self._path(self._directory, key).unlink()

    def clear(self) -> None:
        """Forget everything of this kind."""
        self._remove_files(f"*{_SUFFIX}")

    def tidy(self, now: datetime) -> None:
        """Remove what a writer left that was killed."""
        self._remove_files(f"*{_PART}", now.timestamp() - _LEFTOVER_AGE)

    def _remove_files(self, pattern: str, before: float | None = None) -> None:
        if self._directory is None:
            return
        with contextlib.suppress(OSError):
            for path in self._directory.glob(pattern):
                with contextlib.suppress(OSError):
                    if before is None or path.stat().st_mtime < before:
                        path.unlink()

    @staticmethod
    def _path(directory: Path, key: str) -> Path:
        # A digest: keys that differ only by case are two files also where the disk ignores case.
        return directory / (xxhash.xxh3_128_hexdigest(key.encode("utf-8", "surrogatepass")) + _SUFFIX)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
