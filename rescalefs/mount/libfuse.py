"""libfuse 2: where it is, its helper fusermount, and what both complain about when they cannot mount.

fusepy looks for the library with `ctypes.util.find_library`, which asks ldconfig or a compiler. A container
often has neither of them, though the library is there.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from rescalefs import surroundings
from rescalefs.errors import CannotMount
from rescalefs.mount.mountpoint import INSTALL, unmounter

VARIABLE = "FUSE_LIBRARY_PATH"  # fusepy's own; a user may set it
_HELPER = "fusermount"  # libfuse 2 starts it by this name, from /bin or from a folder of PATH
_STDERR = 2
_MOST_WORDS = 64 << 10  # [bytes]

_CONTAINER = (
    "In a container: docker run --device /dev/fuse --cap-add SYS_ADMIN --security-opt apparmor=unconfined. "
    "In a user namespace: it needs a mount namespace, too (unshare --map-root-user --mount)"
)
# What a message of libfuse or fusermount contains -> what to do about it. Others say it themselves.
_REMEDIES = {
    "failed to exec fusermount": f"Install FUSE: {INSTALL}",
    "Operation not permitted": _CONTAINER,
    "no write access": "Choose a folder of your own",
    "mounting over filesystem type": "Choose a folder on a disk of this machine",
}


class Unloadable(CannotMount):
    """The loader does not load libfuse 2: why, and what to do."""

    def __init__(self, why: str, remedy: str) -> None:
        super().__init__(f"{why}. {remedy}")
        self.why = why
        self.remedy = remedy


class Refused(Exception):
    """libfuse could not mount. The text is what it said, or what fusermount said, in one line."""


def find(load: Callable[[str], object] = ctypes.CDLL) -> str:
    """The name or path by which the loader loads libfuse 2.

    Raises Unloadable with the loader's own words.
    """
    complaints = []
    for name in _candidates():
        complaint = _complaint_about(name, load)
        if complaint is None:
            return name
        complaints.append(complaint)
    told = "; ".join(dict.fromkeys(complaints)) or "there is no library of that name"
    why = f"libfuse 2 cannot be loaded ({told})"
    if os.environ.get(VARIABLE):
        raise Unloadable(why, f"Unset {VARIABLE}, or have it name the library")
    raise Unloadable(why, f"Install it: {INSTALL}")


def _complaint_about(name: str, load: Callable[[str], object]) -> str | None:
    try:
        load(name)
    except OSError as error:
        return str(error)
    return None


def _candidates() -> Iterator[str]:
    if chosen := os.environ.get(VARIABLE):
        yield chosen
        return
    if sys.platform == "linux":
        yield "libfuse.so.2"
    for name in ("fuse4x", "osxfuse", "fuse"):  # where fusepy itself looks; the first two are of macOS
        if found := ctypes.util.find_library(name):
            yield found


@contextlib.contextmanager
def named() -> Iterator[None]:
    """Have fusepy load what `find` finds, when it is imported in the block. Raises Unloadable."""
    found, before = find(), os.environ.get(VARIABLE)
    if sys.platform == "darwin":  # where it is named, fusepy does not load what it depends on
        yield
        return
    os.environ[VARIABLE] = found
    try:
        yield
    finally:
        _put_back(VARIABLE, before)


@contextlib.contextmanager
def helped(beside: Path = Path("/bin")) -> Iterator[None]:
    """Have libfuse find fusermount in the block also where only `fusermount3` is installed.

    They are one program with two names. The package fuse3 of Debian has both, those of Fedora and Arch have
    the new one alone. ``beside`` is where libfuse looks first.
    """
    program = unmounter()
    if program is None or surroundings.program(_HELPER) is not None or (beside / _HELPER).exists():
        yield
        return
    with tempfile.TemporaryDirectory(prefix="rescalefs-") as folder:
        Path(folder, _HELPER).symlink_to(program)
        before = os.environ.get("PATH")
        os.environ["PATH"] = os.pathsep.join([before or os.defpath, folder])
        try:
            yield
        finally:
            _put_back("PATH", before)


@contextlib.contextmanager
def overheard() -> Iterator[Callable[[], str]]:
    """Give a function that returns what was written to standard error in the block, in one line.

    libfuse and fusermount say there, and nowhere else, why they cannot mount. It is written to the real
    standard error when the block ends.
    """
    kept = os.dup(_STDERR)
    with os.fdopen(os.memfd_create("rescalefs-libfuse"), "rb") as words:
        os.dup2(words.fileno(), _STDERR)
        try:
            yield lambda: _one_line(os.pread(words.fileno(), _MOST_WORDS, 0))
        finally:
            os.dup2(kept, _STDERR)
            os.close(kept)
            with contextlib.suppress(OSError):  # a log on a full disk is no reason not to mount
                os.write(_STDERR, os.pread(words.fileno(), _MOST_WORDS, 0))


def advised(words: str) -> str:
    """What libfuse or fusermount said, and what to do about it."""
    advice = next((remedy for part, remedy in _REMEDIES.items() if part in words), None)
    return f"{words}. {advice}" if advice else words


def _one_line(said: bytes) -> str:
    lines = [line.strip() for line in said.decode(errors="replace").splitlines()]
    return "; ".join(dict.fromkeys(line for line in lines if line))


def _put_back(variable: str, value: str | None) -> None:
    if value is None:
        del os.environ[variable]
    else:
        os.environ[variable] = value
