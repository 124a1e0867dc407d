"""The API key of every test's account, and the search for it in all that the tests leave.

A key belongs into the profile file, the keyring and the memory of a process. Found in another file or in
captured output (logs, journals, caches, listings, pickles, error reports), it fails the tests.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from pathlib import Path

CANARY = "0ca7a91e" * 5  # 40 hex digits, as a real key

# Where a key belongs: the profile; the tests' own keyring; what the simulator, which is the server, keeps.
_MAY_HOLD_IT = frozenset({"apiconfig", "keyring.json", "api_key"})
_SMALL = 1 << 16  # bytes: sooner read than mapped
_LARGEST = 1 << 30  # bytes; nothing of ours that may hold text is larger


def leaks(folder: Path) -> list[str]:
    """Files below ``folder``, on the same disk, that hold the key and should not."""
    return [str(path) for path in _files(folder) if path.name not in _MAY_HOLD_IT and _holds_key(path)]


def _files(folder: Path) -> Iterator[Path]:
    device = folder.stat().st_dev
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if _is_on(Path(parent, name), device)]
        yield from (Path(parent, name) for name in names)


def _is_on(path: Path, device: int) -> bool:
    try:
        return path.lstat().st_dev == device
    except OSError:
        return False


def _holds_key(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False  # a link, or removed this very moment
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= _LARGEST:
            return False
        if found.st_size <= _SMALL:
            return CANARY.encode() in os.read(descriptor, _SMALL)
        if found.st_blocks == 0:
            return False  # a hole, which holds nothing
        with mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ) as content:
            return content.find(CANARY.encode()) >= 0
    except (OSError, ValueError):
        return False  # emptied this very moment
    finally:
        os.close(descriptor)
