"""A file system that refuses on demand: `python -m tests.mounted.refusing_disk MOUNTPOINT BACKING`.

It passes everything on to BACKING. While the file ``BACKING/../refuse`` holds ``<operation> <errno>``,
that operation (`write`, `flush`, `fsync`) fails so, as a quota, a full disk or a network file system would.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import fuse


class RefusingDisk(fuse.Operations):  # type: ignore[misc]  # fusepy ships no types
    use_ns = True

    def __init__(self, backing: Path) -> None:
        self._backing = backing
        self._orders = backing.parent / "refuse"

    def _at(self, path: str) -> Path:
        return self._backing / path[1:]

    def _refuse(self, operation: str) -> None:
        try:
            name, _, number = self._orders.read_text().partition(" ")
        except FileNotFoundError:
            return
        if name == operation:
            raise fuse.FuseOSError(int(number))

    def getattr(self, path: str, _handle: int | None = None) -> dict[str, Any]:
        found = os.lstat(self._at(path))
        names = ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks")
        times = {f"st_{each}time": getattr(found, f"st_{each}time_ns") for each in "amc"}
        return {name: getattr(found, name) for name in names} | times

    def readdir(self, path: str, _handle: int) -> list[str]:
        return [".", "..", *(each.name for each in self._at(path).iterdir())]

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._at(path))
        return {name: getattr(found, name) for name in dir(found) if name.startswith("f_")}

    def mkdir(self, path: str, mode: int) -> None:
        self._at(path).mkdir(mode)

    def rmdir(self, path: str) -> None:
        self._at(path).rmdir()

    def unlink(self, path: str) -> None:
        self._at(path).unlink()

    def rename(self, old: str, new: str) -> None:
        self._at(old).rename(self._at(new))

    def chmod(self, path: str, mode: int) -> None:
        self._at(path).chmod(mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(self._at(path), uid, gid)

    def utimens(self, path: str, times: tuple[int, int]) -> None:
        os.utime(self._at(path), ns=times)

    def truncate(self, path: str, length: int, _handle: int | None = None) -> None:
        os.truncate(self._at(path), length)

    def open(self, path: str, flags: int) -> int:
        return os.open(self._at(path), flags)

    def create(self, path: str, mode: int, _info: Any = None) -> int:
        return os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def read(self, _path: str, size: int, offset: int, handle: int) -> bytes:
        return os.pread(handle, size, offset)

    def write(self, _path: str, data: bytes, offset: int, handle: int) -> int:
        self._refuse("write")
        return os.pwrite(handle, data, offset)

    def flush(self, _path: str, _handle: int) -> None:
        self._refuse("flush")

    def fsync(self, _path: str, _only_data: int, _handle: int) -> None:
        self._refuse("fsync")

    def release(self, _path: str, handle: int) -> None:
        os.close(handle)


def main(mountpoint: str, backing: str) -> None:
    fuse.FUSE(RefusingDisk(Path(backing)), mountpoint, foreground=True, nothreads=True, use_ino=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
