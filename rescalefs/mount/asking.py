"""Asks files and folders that may never answer: in a child, which is left behind when it waits for too long.

A process that touches a mount waits for the mount's daemon. Where that daemon is stopped or hangs, no time
limit and no signal ends the wait, not even SIGKILL once the daemon has taken the request. So no command of
ours touches a mount itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rescalefs import surroundings

LIMIT = 5.0  # seconds; a daemon that lives answers in milliseconds, from memory
_Question = Literal["look", "read", "disk"]
# What the child runs, without our package: 15 ms. It answers each path with an error number, a length, and so
# many bytes.
_CHILD = """
import os, sys
def disk(path):
    os.statvfs(path)
def look(path):
    os.stat(path)
def read(path):
    with open(path, "rb") as file:
        return file.read()
ask, out = locals()[sys.argv[1]], sys.stdout.buffer
for path in sys.stdin.buffer.read().split(b"\\0"):
    try:
        number, found = 0, ask(path) or b""
    except OSError as error:
        number, found = error.errno, b""
    out.write(b"%d %d\\n%b" % (number, len(found), found))
    out.flush()
"""


def read_all(paths: Sequence[Path], limit: float = LIMIT) -> list[bytes | OSError]:
    """What each of these files holds, or why that is not known; ETIMEDOUT for those that do not answer."""
    return _asked("read", paths, limit)


def read(path: Path, limit: float = LIMIT) -> bytes:
    """What a file holds. Raises OSError, ETIMEDOUT where it does not answer in ``limit`` seconds."""
    (answer,) = read_all([path], limit)
    if isinstance(answer, OSError):
        raise answer
    return answer


def look(path: Path, limit: float = LIMIT) -> None:
    """Return if there is something at a path, by whatever links. Raises OSError as `read` does."""
    _check("look", path, limit)


def ask_for_space(path: Path, limit: float = LIMIT) -> None:
    """Have a mount say how full it is, which the kernel never answers from memory. Raises as `read` does."""
    _check("disk", path, limit)


def _check(question: _Question, path: Path, limit: float) -> None:
    (answer,) = _asked(question, [path], limit)
    if isinstance(answer, OSError):
        raise answer


def _asked(question: _Question, paths: Sequence[Path], limit: float) -> list[bytes | OSError]:
    if not paths:
        return []
    child = subprocess.Popen(  # noqa: S603  (this very Python)
        [sys.executable, "-I", "-S", "-c", _CHILD, question],
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # left behind, it would keep the reader of ours waiting
        start_new_session=True,  # Ctrl-C is for us
        env=surroundings.for_children({}),
    )
    try:
        said, _ = child.communicate(b"\0".join(map(os.fsencode, paths)), limit)
    except subprocess.TimeoutExpired as late:
        said = late.output or b""
    finally:
        _leave(child)
    return list(_answers(said, paths))


def _leave(child: subprocess.Popen[bytes]) -> None:
    """End it, and do not wait for that: it may be where no signal reaches it."""
    child.kill()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):  # what it was to be told, it is not told
                pipe.close()
    if child.poll() is None:
        child.returncode = -1  # it is left behind on purpose; Popen would warn of that


def _answers(said: bytes, paths: Sequence[Path]) -> list[bytes | OSError]:
    found: list[bytes | OSError] = []
    for path in paths:
        line, newline, rest = said.partition(b"\n")
        number, length = map(int, line.split()) if newline else (errno.ETIMEDOUT, 0)
        if len(rest) < length:
            number, length, rest = errno.ETIMEDOUT, 0, b""
        found.append(OSError(number, os.strerror(number), str(path)) if number else rest[:length])
        said = rest[length:]
    return found
