"""A file system that shows a folder and keeps no numbers: FUSE without `use_ino`, as sshfs may be mounted.

`python -m tests.submit.renumbering SOURCE MOUNTPOINT` serves until it is unmounted. The kernel's numbers are
then given in the order in which names are looked up, from the first one on, at each mount anew.
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import fuse

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0


class Passthrough(fuse.Operations):  # type: ignore[misc]  # fusepy ships no types
    """What lies in a folder, for reading and writing."""

    def __init__(self, source: str) -> None:
        self._source = source

    def __call__(self, op: str, path: str, *args: Any) -> Any:
        try:
            return super().__call__(op, self._source + path, *args)
        except fuse.FuseOSError:
            raise
        except OSError as error:
            raise fuse.FuseOSError(error.errno or errno.EIO) from error

    def getattr(self, path: str, _: Any = None) -> dict[str, Any]:
        facts = os.lstat(path)
        names = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_atime", "st_mtime", "st_ctime")
        return {name: getattr(facts, name) for name in names}

    def readdir(self, path: str, _: Any) -> list[str]:
        return [".", "..", *sorted(each.name for each in Path(path).iterdir())]

    def mkdir(self, path: str, mode: int) -> None:
        Path(path).mkdir(mode)

    def rmdir(self, path: str) -> None:
        Path(path).rmdir()

    def unlink(self, path: str) -> None:
        Path(path).unlink()

    def rename(self, old: str, new: str) -> None:
        Path(old).rename(self._source + new)

    def create(self, path: str, mode: int, _: Any = None) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def open(self, path: str, flags: int) -> int:
        return os.open(path, flags)

    def read(self, _: str, size: int, offset: int, handle: int) -> bytes:
        return os.pread(handle, size, offset)

    def write(self, _: str, data: bytes, offset: int, handle: int) -> int:
        return os.pwrite(handle, data, offset)

    def truncate(self, path: str, length: int, _: Any = None) -> None:
        os.truncate(path, length)

    def utimens(self, path: str, times: tuple[float, float] | None = None) -> None:
        os.utime(path, times)

    def chmod(self, path: str, mode: int) -> None:
        Path(path).chmod(mode)

    def release(self, _: str, handle: int) -> None:
        os.close(handle)


@contextmanager
def renumbered(source: Path, mountpoint: Path, before: tuple[str, ...] = ()) -> Iterator[Path]:
    """Mount it; the names of ``before`` are looked up first, so all others get higher numbers."""
    mountpoint.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "tests.submit.renumbering", str(source), str(mountpoint)]
    process = subprocess.Popen(command, cwd=ROOT)
    try:
        end = time.monotonic() + PATIENCE
        while not mountpoint.is_mount():
            assert process.poll() is None, "the file system ended"
            assert time.monotonic() < end, "it is not mounted in time"
            time.sleep(0.02)
        for name in before:
            (mountpoint / name).stat()
        yield mountpoint
    finally:
        for _ in range(50):  # a thread that watches it may take a moment to let go
            if subprocess.run(["fusermount3", "-u", str(mountpoint)], capture_output=True).returncode == 0:
                break
            time.sleep(0.05)
        with suppress(subprocess.TimeoutExpired):
            process.wait(PATIENCE)
        process.kill()
        process.wait()


if __name__ == "__main__":
    fuse.FUSE(Passthrough(sys.argv[1]), sys.argv[2], foreground=True, nothreads=True, entry_timeout=0.0)
