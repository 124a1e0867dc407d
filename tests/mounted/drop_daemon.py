"""A mount of a drop folder: `python -m tests.mounted.drop_daemon MOUNTPOINT BACKING [QUIET]`.

What it tells about a drop stands in files beside the backing directory: ``views/<drop>.{status,log,job}``.
`files.tsv` shows what is in ``views/text``, and `residuals.csv`, a live file, what is in ``views/live``.
"""

from __future__ import annotations

import itertools
import logging
import signal
import sys
import threading
from pathlib import Path

import requests

from rescalefs.clock import SystemClock
from rescalefs.errors import Forbidden, NotYetUploaded, RescaleFSError, TimedOut, Unreachable, WrongBytes
from rescalefs.model import LiveFile, RemoteFile
from rescalefs.mount import DropFolder, FileSystem, MountSettings, OpenFiles, mount_foreground
from rescalefs.tree.nodes import LiveNode, Text, TextNode
from tests.mount.trees import WHEN, FixedTree, MemoryFile, MemoryLive, MemoryReading, remote, text
from tests.mount.trees import folder as make_folder

GOOD = bytes(range(256)) * 2000  # several of the kernel's reads


class FileViews:
    """DropViews as files, so that a test in another process can say what is told."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def status(self, drop: str) -> bytes | None:
        return self._read(f"{drop}.status")

    def log(self, drop: str) -> bytes | None:
        return self._read(f"{drop}.log")

    def job_id(self, drop: str) -> str | None:
        job = self._read(f"{drop}.job")
        return None if job is None else job.decode()

    def can_stop(self, drop: str) -> bool:
        return (self._folder / f"{drop}.running").exists()

    def stop(self, drop: str) -> None:
        (self._folder / f"{drop}.running").rename(self._folder / f"{drop}.stopped")

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except OSError:
            return None


class BlockedFile(MemoryFile):
    """Its read tells that it has begun, through a FIFO, and waits until the mount is asked to end."""

    def __init__(self, began: Path, content: bytes) -> None:
        super().__init__(content)
        self._began = began
        self._reads = itertools.count()
        self._released = threading.Event()

    def read_into(self, buffer: memoryview, offset: int) -> int:
        if next(self._reads) == 0:  # the kernel reads ahead, and nobody would listen
            self._began.write_text("reading")
        self._released.wait()
        raise Unreachable("the mount is ending")

    def release(self) -> None:
        self._released.set()


class MeasuredFile(MemoryFile):
    """Writes down how many bytes each of its reads asks for, a line each."""

    def __init__(self, sizes: Path) -> None:
        super().__init__(GOOD)
        self._sizes = sizes

    def read_into(self, buffer: memoryview, offset: int) -> int:
        with self._sizes.open("a") as sizes:
            sizes.write(f"{len(buffer)}\n")
        return super().read_into(buffer, offset)


class FilesOnDisk(dict[str, bytes]):
    """The bytes of files, as they are when they are asked for."""

    def __missing__(self, path: str) -> bytes:
        return Path(path).read_bytes()


def shown(file: Path) -> Text:
    """A text that a test can change."""
    return Text(file.read_bytes(), file.stat().st_mtime_ns) if file.exists() else Text(b"", WHEN)


def main(mountpoint: str, backing: str, quiet: str = "0.3") -> None:
    logging.basicConfig(level=logging.INFO)
    folder = Path(backing)
    views = folder.parent / "views"
    blocked = BlockedFile(
        views / "began", b"not of the size that is listed, so without pages of the kernel's"
    )
    in_pages = BlockedFile(views / "began", GOOD)
    files: dict[str, MemoryFile | RescaleFSError] = {
        "good": MemoryFile(GOOD),
        "cut": MemoryFile(GOOD, stops_at=200_000),
        "broken": MemoryFile(GOOD, failure=requests.ConnectionError("an OSError without errno")),
        "wrong": MemoryFile(GOOD, failure=WrongBytes("hash")),
        "slow": MemoryFile(GOOD, failure=TimedOut("no answer")),
        "mistaken": MemoryFile(GOOD, failure=ZeroDivisionError("a mistake of ours")),
        "unfinished": NotYetUploaded("upload runs"),
        "forbidden": Forbidden("not your file"),
        "blocked": blocked,
        "blocked-in-pages": in_pages,
        "measured": MeasuredFile(views / "sizes"),
    }
    outputs = {name: remote(RemoteFile(name, name, name, len(GOOD), "ab")) for name in files}
    tree = FixedTree(
        {
            "outputs": make_folder("outputs", outputs),
            "status": text("status", b"Completed\n"),
            "files.tsv": TextNode(4713, lambda: shown(views / "text")),
            "residuals.csv": LiveNode(4712, WHEN, LiveFile("aBc", "1", str(views / "live"))),
        }
    )
    drops = DropFolder(folder, FileViews(views), OpenFiles(folder), SystemClock(), quiet=float(quiet))

    def release() -> None:
        blocked.release()
        in_pages.release()

    filesystem = FileSystem(tree, MemoryReading(files), MemoryLive(FilesOnDisk()), drops)
    mount_foreground(Path(mountpoint), filesystem, MountSettings(), on_stop=release)
    drops.close()
    ignored = next(line for line in Path("/proc/self/status").read_text().splitlines() if "SigIgn" in line)
    print(
        "SIGPIPE ends it" if not int(ignored.split()[1], 16) >> (signal.SIGPIPE - 1) & 1 else "well",
        flush=True,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
