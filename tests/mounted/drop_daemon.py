"""A mount of a drop folder: `python -m tests.mounted.drop_daemon MOUNTPOINT BACKING [QUIET]`.

What it tells about a drop stands in files beside the backing directory: ``views/<drop>.{status,log,job}``.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from rescalefs.clock import SystemClock
from rescalefs.mount import DropFolder, FileSystem, MountSettings, OpenFiles, mount_foreground
from tests.mount.trees import FixedTree, MemoryReading


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

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except OSError:
            return None


def main(mountpoint: str, backing: str, quiet: str = "0.3") -> None:
    logging.basicConfig(level=logging.INFO)
    folder = Path(backing)
    drops = DropFolder(
        folder, FileViews(folder.parent / "views"), OpenFiles(folder), SystemClock(), quiet=float(quiet)
    )
    filesystem = FileSystem(FixedTree({}), MemoryReading(), drops)
    mount_foreground(Path(mountpoint), filesystem, MountSettings())
    drops.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
