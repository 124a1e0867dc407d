"""A loopback file system that behaves as other disks do: `python -m tests.otherdisks MOUNT BACKING ERRNO`.

It passes everything on to BACKING, except for what the file ``BACKING.quirks`` (JSON, see `Quirks`) says. A
test writes that file anew with `Disk.become`; the next operation follows it. Whether locks are refused (with
ERRNO; 0: not) is fixed at the mount, because the kernel asks then who keeps them.
"""

from __future__ import annotations

import codecs
import contextlib
import ctypes
import dataclasses
import errno
import json
import os
import subprocess
import sys
import time
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import fuse

ROOT = Path(__file__).parents[1]
PATIENCE = 30.0  # seconds for the mount to answer
_FAT_REFUSES = frozenset(':?*"<>|\\') | {chr(number) for number in range(32)}


@dataclass(frozen=True)
class Quirks:
    """How a disk differs from an ordinary one."""

    folds: bool = False  # names that differ in case are one; the first spelling stays
    form: Literal["", "NFC", "NFD"] = (
        ""  # NFC or NFD: names are kept in this form, whatever form they are asked for in
    )
    strips: bool = False  # dots and spaces at the end of a name are left out, as by vfat and SMB
    rounds: int = 0  # seconds to which dates are rounded down
    shift: int = 0  # seconds by which dates read back differ from those written
    fat_names: bool = False  # `:` and the like, and names of more than 255 UTF-16 units, are refused
    links: bool = True
    symlinks: bool = True
    modes: bool = True  # False: chmod is refused
    max_size: int = 0  # bytes of the largest file
    direct: bool = False  # no shared mapping, as SQLite's write-ahead log needs
    refuse: dict[str, int] = dataclasses.field(default_factory=dict)  # operation -> errno

    @property
    def merges(self) -> bool:
        """Whether different names may be one."""
        return self.folds or bool(self.form) or self.strips

    def key(self, name: str) -> str:
        """Names with one key are one name."""
        kept = self.kept(name)
        return unicodedata.normalize(self.form or "NFC", kept.casefold()) if self.folds else kept

    def kept(self, name: str) -> str:
        """How a new name is kept."""
        if self.strips:
            name = name.rstrip(". ") or name
        return unicodedata.normalize(self.form, name) if self.form else name


class OtherDisk(fuse.Operations):  # type: ignore[misc]  # fusepy ships no types
    use_ns = True

    def __init__(self, backing: Path) -> None:
        self._backing = backing
        self._orders = Path(f"{backing}.quirks")
        self._known = ""
        self._quirks = Quirks()

    def __call__(self, operation: str, *arguments: Any) -> Any:
        orders = self._orders.read_text()  # not its date: that is the same for some milliseconds
        if orders != self._known:
            self._known, self._quirks = orders, Quirks(**json.loads(orders))
        if operation in self._quirks.refuse:
            raise fuse.FuseOSError(self._quirks.refuse[operation])
        return super().__call__(operation, *arguments)

    def _at(self, path: str) -> Path:
        """The backing file of a path, whatever its spelling there."""
        place = self._backing
        for name in path.split("/")[1:]:
            if not name:
                continue
            if self._quirks.fat_names and not _is_fat_name(name):
                raise fuse.FuseOSError(errno.EINVAL)
            place /= self._spelling(place, name) if self._quirks.merges else name
        return place

    def _spelling(self, folder: Path, name: str) -> str:
        key = self._quirks.key(name)
        with contextlib.suppress(OSError):
            for known in sorted(each.name for each in folder.iterdir()):
                if self._quirks.key(known) == key:
                    return known
        return self._quirks.kept(name)

    def getattr(self, path: str, info: Any = None) -> dict[str, Any]:
        found = os.fstat(info.fh) if info else os.lstat(self._at(path))
        names = ("st_mode", "st_ino", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks")
        times = {f"st_{each}time": self._date(getattr(found, f"st_{each}time_ns")) for each in "amc"}
        return {name: getattr(found, name) for name in names} | times

    def _date(self, nanoseconds: int) -> int:
        unit = self._quirks.rounds * 10**9
        return (nanoseconds // unit * unit if unit else nanoseconds) + self._quirks.shift * 10**9

    def readdir(self, path: str, _handle: int) -> list[str]:
        return [
            ".",
            "..",
            *(each.name for each in self._at(path).iterdir()),
        ]  # with no word of what kind each is

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

    def link(self, target: str, source: str) -> None:
        if not self._quirks.links:
            raise fuse.FuseOSError(errno.EPERM)
        os.link(self._at(source), self._at(target))

    def symlink(self, target: str, source: str) -> None:
        if not self._quirks.symlinks:
            raise fuse.FuseOSError(errno.EPERM)
        self._at(target).symlink_to(source)

    def readlink(self, path: str) -> str:
        return str(self._at(path).readlink())

    def chmod(self, path: str, mode: int) -> None:
        if not self._quirks.modes:
            raise fuse.FuseOSError(errno.EPERM)
        self._at(path).chmod(mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        os.chown(self._at(path), uid, gid)

    def utimens(self, path: str, times: tuple[int, int]) -> None:
        back = self._quirks.shift * 10**9
        os.utime(self._at(path), ns=(times[0] - back, times[1] - back))

    def truncate(self, path: str, length: int, info: Any = None) -> None:
        self._fits(length)
        os.truncate(info.fh if info else self._at(path), length)

    def _fits(self, size: int) -> None:
        if self._quirks.max_size and size > self._quirks.max_size:
            raise fuse.FuseOSError(errno.EFBIG)

    def open(self, path: str, info: Any) -> int:
        return self._opened(os.open(self._at(path), info.flags & ~os.O_APPEND), info)

    def create(self, path: str, mode: int, info: Any) -> int:
        return self._opened(os.open(self._at(path), os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode), info)

    def _opened(self, descriptor: int, info: Any) -> int:
        info.fh, info.direct_io = descriptor, self._quirks.direct
        return 0

    def read(self, _path: str, size: int, offset: int, info: Any) -> bytes:
        return os.pread(info.fh, size, offset)

    def write(self, _path: str, data: bytes, offset: int, info: Any) -> int:
        self._fits(offset + len(data))
        return os.pwrite(info.fh, data, offset)

    def flush(self, _path: str, _info: Any) -> None:
        """Called at each close."""

    def fsync(self, _path: str, _only_data: int, _info: Any) -> None:
        """Nothing is kept back."""

    def release(self, _path: str, info: Any) -> None:
        os.close(info.fh)


class Lockless(OtherDisk):
    """Refuses locks of both kinds."""

    refusal = errno.ENOLCK

    def lock(self, *_: Any) -> int:
        raise fuse.FuseOSError(self.refusal)

    def flock(self, *_: Any) -> int:
        raise fuse.FuseOSError(self.refusal)


class _WithFlock(ctypes.Structure):
    """fusepy's table of callbacks ends before the one for `flock`."""

    _fields_ = [
        *fuse.fuse_operations._fields_,
        ("poll", ctypes.c_void_p),
        ("write_buf", ctypes.c_void_p),
        ("read_buf", ctypes.c_void_p),
        ("flock", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int)),
    ]


class _Fuse(fuse.FUSE):  # type: ignore[misc]
    def flock(self, _path: bytes, _info: int, operation: int) -> int:
        return int(self.operations("flock", operation) or 0)

    def lock(self, _path: bytes, _info: int, command: int, lock: int) -> int:
        return int(self.operations("lock", command, lock) or 0)


def _is_fat_name(name: str) -> bool:
    return len(name.encode("utf-16-le", "surrogatepass")) <= 2 * 255 and not _FAT_REFUSES.intersection(name)


def _codec(name: str) -> codecs.CodecInfo | None:
    if name != "test_paths":
        return None
    return codecs.CodecInfo(
        name=name,
        encode=lambda text, _="strict": codecs.utf_8_encode(text, "surrogateescape"),
        decode=lambda data, _="strict": codecs.utf_8_decode(data, "surrogateescape", True),
    )


@dataclass(frozen=True)
class Disk:
    """The mounted file system, as a test sees it."""

    path: Path
    backing: Path

    def become(self, **quirks: Any) -> None:
        """Behave so from now on."""
        fresh = Path(f"{self.backing}.fresh")
        fresh.write_text(json.dumps(dataclasses.asdict(Quirks(**quirks))))
        fresh.replace(f"{self.backing}.quirks")


@contextlib.contextmanager
def mounted(folder: Path, locks: int = 0, **quirks: Any) -> Iterator[Disk]:
    """Such a disk at ``folder/disk``; with ``locks``, both kinds of locks fail with that errno."""
    disk = Disk(folder / "disk", folder / "backing")
    disk.path.mkdir(parents=True)
    disk.backing.mkdir()
    disk.become(**quirks)
    words = [sys.executable, "-m", "tests.otherdisks", str(disk.path), str(disk.backing), str(locks)]
    process = subprocess.Popen(words, cwd=ROOT)
    try:
        _await_mount(disk.path, process)
        yield disk
    finally:
        subprocess.run(["umount", "-l", disk.path] if os.geteuid() == 0 else ["fusermount", "-uz", disk.path])
        process.kill()  # a mount namespace that was made meanwhile would keep it alive
        process.wait(PATIENCE)


def _await_mount(path: Path, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + PATIENCE
    while not os.path.ismount(path):
        assert process.poll() is None, "the file system for the test ended"
        assert time.monotonic() < until
        time.sleep(0.01)


def main(mountpoint: str, backing: str, locks: str) -> None:
    codecs.register(_codec)
    fuse.fuse_operations = _WithFlock
    disk = Lockless(Path(backing)) if int(locks) else OtherDisk(Path(backing))
    Lockless.refusal = int(locks)
    timeouts = dict.fromkeys(("entry_timeout", "attr_timeout", "negative_timeout"), 0)
    _Fuse(
        disk,
        mountpoint,
        foreground=True,
        nothreads=True,
        use_ino=True,
        raw_fi=True,
        encoding="test_paths",
        hard_remove=True,
        **timeouts,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
