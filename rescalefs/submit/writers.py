"""Whether a program has a file open for writing, also one that writes past the mount."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    HAS_LEASES = False
else:
    HAS_LEASES = hasattr(fcntl, "F_SETLEASE")  # Linux alone


def first_written_to(folder: Path, paths: Iterable[str]) -> str | None:
    """The first of these files that somebody on this machine has open for writing.

    Asks the kernel for a read lease on each, which it grants only where nobody writes, and gives it back at
    once. Files that are not ours, file systems without leases (NFS, most of FUSE) and systems without them
    (macOS, Windows) tell nothing: None.
    """
    if not HAS_LEASES:
        return None
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            if _is_written_to(f"{folder}/{path}"):
                return path
    return None


def _is_written_to(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise
    except OSError:  # a link, or not readable: others judge that
        return False
    try:
        # Whoever opens it for writing in this very moment makes the kernel send us a signal: by default one
        # that ends the process, with this one nothing.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False
