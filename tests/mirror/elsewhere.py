"""Runs rescalefs as if the system lacked what only Linux, or only POSIX, has, for `test_mirror_elsewhere`.

Not the same as another system: there a file that is open cannot be removed, and names have other rules.

    python -m tests.mirror.elsewhere JOB DOWNLOADED READ SYNCED
"""

from __future__ import annotations

import fcntl
import importlib
import os
import pkgutil
import signal
import sys
import types
from pathlib import Path

# Libraries keep what they need: it is our own code that has to do without.
import diskcache
import filelock
import fsspec
import platformdirs
import requests
import watchdog.observers

_LINUX_ALONE = ("memfd_create", "O_TMPFILE", "copy_file_range", "posix_fadvise", "splice", "eventfd")
_POSIX_ALONE = (
    *(
        "preadv",
        "pwritev",
        "pread",
        "pwrite",
        "sendfile",
        "fdatasync",
        "killpg",
        "getuid",
        "geteuid",
        "getgid",
    ),
    *("O_CLOEXEC", "O_NONBLOCK", "O_DIRECTORY", "O_NOFOLLOW", "statvfs", "mkfifo", "fork", "chown", "lchown"),
)
_MODULES = ("fcntl", "pwd", "grp", "resource", "termios")
_FOR_POSIX = ("rescalefs.mount", "rescalefs.assembly.daemon", "rescalefs.simulator", "rescalefs.__main__")
_KNOWN = (diskcache, filelock, fsspec, platformdirs, requests, watchdog)


def strip() -> None:
    """Take it away, from all but those who are here already."""
    for module in (os, signal):
        _leave_to_others(module)
    for name in (*_LINUX_ALONE, *_POSIX_ALONE):
        if hasattr(os, name):
            delattr(os, name)
    for name in ("SIGURG", "SIGKILL", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        delattr(signal, name)
    vars(os)["link"] = _no_links
    for name in _MODULES:
        vars(sys)["modules"][name] = None  # whoever imports it now gets an ImportError
    sys.modules["msvcrt"] = types.SimpleNamespace(locking=_locking, LK_NBLCK=2)  # type: ignore[assignment]


def _leave_to_others(module: types.ModuleType) -> None:
    """Give whoever has imported a module a copy of it."""
    kept = types.ModuleType(module.__name__)
    vars(kept).update(vars(module))
    for user in tuple(sys.modules.values()):
        if type(user) is types.ModuleType and user not in (sys.modules[__name__], module):
            names = [name for name, value in vars(user).items() if value is module]
            vars(user).update(dict.fromkeys(names, kept))


def _no_links(*_: object, **__: object) -> None:
    raise NotImplementedError("no hard links here")


def _locking(descriptor: int, _mode: int, _count: int) -> None:
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def run(job: str, downloaded: str, read: str, synced: str) -> int:
    """Download, read a large file in pieces through the engine and its cache, and stay with `sync`."""
    import rescalefs
    from rescalefs.cli.main import main
    from rescalefs.reading import positioned

    assert positioned.read_into is positioned._seek_and_read
    for module in pkgutil.walk_packages(rescalefs.__path__, "rescalefs."):
        if not module.name.startswith(_FOR_POSIX):
            importlib.import_module(module.name)
    code = main(["download", job, "--to", downloaded])
    with fsspec.open(f"rescale://jobs/{job}/outputs/big.bin", "rb") as file:
        Path(read).write_bytes(file.read())
    return code or main(["sync", synced])


if __name__ == "__main__":
    strip()
    sys.exit(run(*sys.argv[1:]))
