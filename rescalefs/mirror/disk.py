"""What the disk of a mirror does with names: asked of it by trying, because nothing else tells."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# What FAT, exFAT, NTFS and SMB shares refuse, and what only some servers do: those names are tried.
_ODD = re.compile(r'[<>:"|?*\\\x00-\x1f]|[. ]$')
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_LONG = 140  # bytes; the least that a file system in use takes (eCryptfs: 143)


class Disk:
    """Tries names in a folder of ours on that disk. Thread-safe; each answer is asked for once."""

    def __init__(self, folder: Path) -> None:
        """``folder`` need not be there yet; while it is not, every name counts as one of its own."""
        self._folder = folder
        self._lock = threading.Lock()  # guards both
        self._one: dict[tuple[str, str], bool] = {}
        self._refused: dict[str, str] = {}

    def are_one(self, one: str, other: str) -> bool:
        """Whether two names are one file there."""
        key = (min(one, other), max(one, other))
        with self._lock:
            known = self._one.get(key)
        if known is not None:
            return known
        answer = False
        try:
            # An error of the second: it takes no such name at all, which `refusal` reports.
            with self._scratch() as scratch, suppress(OSError):
                (scratch / one).touch()
                answer = os.path.lexists(scratch / other)
        except OSError:  # full, read-only, or not there: ask again
            return False
        with self._lock:
            self._one[key] = answer
        return answer

    def refusal(self, path: str) -> str:
        """Why the disk cannot hold one of the names of a path; "" if it can."""
        for name in path.split("/"):
            kind = _kind(name)
            why = self._why_not(kind) if kind else ""
            if why:
                return f"this disk takes no file called {name!r} ({why})"
        return ""

    def _why_not(self, name: str) -> str:
        with self._lock:
            known = self._refused.get(name)
        if known is not None:
            return known
        answer = ""
        try:
            with self._scratch() as scratch:
                try:
                    (scratch / name).touch()
                except OSError as error:
                    is_absent = error.errno == errno.ENOENT  # what exfat-fuse says: nothing is missing
                    answer = "not allowed there" if is_absent else str(error.strerror)
        except OSError:
            return ""
        with self._lock:
            self._refused[name] = answer
        return answer

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(".names", dir=self._folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _kind(name: str) -> str:
    """A name that the disk takes where it takes this one; "" where every disk takes it."""
    try:
        length = len(name.encode())
    except UnicodeEncodeError:
        return name  # not UTF-8
    if length > _LONG or _RESERVED.fullmatch(name):
        return name
    odd = {found[0] for found in _ODD.finditer(name[:-1])}
    last = name[-1:] if _ODD.search(name[-1:]) else ""
    return f"n{''.join(sorted(odd))}n{last}" if odd or last else ""
