"""Is this machine fit? Each check looks at one thing, changes nothing, and says how to mend what it finds.

A check takes the places it looks at as arguments, so that tests show it broken machines.
"""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from rescalefs import surroundings
from rescalefs.cli.finding import Finding, broken, doubtful, fine
from rescalefs.filesystems import lack_words

if TYPE_CHECKING:
    from rescalefs.mount.mountpoint import Condition

_GIB = 1 << 30
_INSTALL_FUSE = "Debian, Ubuntu: apt install fuse3 libfuse2 (libfuse2t64 on 24.04 and later)"
# The drop folder takes a watch for each folder in it, and an instance for each mount; a desktop takes more.
_WATCHES_WANTED = 8192
_INSTANCES_WANTED = 64


def python_version() -> Finding:
    """Which Python it is. That it is new enough shows in that we run at all."""
    return fine("python", f"{platform.python_implementation()} {platform.python_version()}")


def fuse_device(device: Path = Path("/dev/fuse")) -> Finding:
    """The kernel's half of FUSE."""
    check = "fuse device"
    if not device.exists():
        remedy = "modprobe fuse; in a container: docker run --device /dev/fuse --cap-add SYS_ADMIN"
        return broken(check, f"{device} is missing", remedy)
    if not os.access(device, os.R_OK | os.W_OK):
        return broken(check, f"you may not open {device}", f"chmod 666 {device}, as root")
    return fine(check, f"{device} can be opened")


def libfuse(find: Callable[[], str] | None = None) -> Finding:
    """The library that fusepy loads: version 2, under the name of its major version."""
    from rescalefs.mount import libfuse as library

    check = "libfuse 2"
    try:
        return fine(check, f"{(find or library.find)()} loads")
    except library.Unloadable as error:
        return broken(check, error.why, error.remedy)


def mappings(release: str = platform.release()) -> Finding:
    """Whether the kernel maps texts and live files, as polars, DuckDB and numpy ask it to."""
    from rescalefs.mount.handshake import kernel_maps_everything

    check = "shared mappings"
    if kernel_maps_everything(release):
        return fine(check, "of all files")
    found = f"Linux {release} has none of files.tsv and live/ (No such device); Linux 6.6 and later does"
    return doubtful(check, found, "read these files instead of mapping them, or copy them first")


def inode_numbers(inode32: bool) -> Finding:
    """How large inode numbers are. What a program can take is not known here."""
    if inode32:
        return fine("inode numbers", "below 2^32, for 32-bit programs")
    return fine("inode numbers", "64 bits; 32-bit programs that fail with EOVERFLOW need inode32 = true")


def _is_root() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0


def fusermount(
    which: Callable[[str], str | None] = surroundings.program, is_root: bool | None = None
) -> Finding:
    """The set-user-id program through which libfuse mounts for people who aren't root."""
    check = "fusermount"
    path = which("fusermount3") or which("fusermount")
    root = _is_root() if is_root is None else is_root
    if path is None:
        if root:
            return fine(check, "not installed, and root can do without")
        return broken(check, "it is not installed, and only root can mount without it", _INSTALL_FUSE)
    if not (root or Path(path).stat().st_mode & stat.S_ISUID):
        remedy = f"chmod u+s {Path(path).resolve()}, as root"
        return broken(check, f"{path} is not set-user-id, so it may not mount", remedy)
    return fine(check, path)


def allow_other(settings: Path = Path("/etc/fuse.conf"), is_root: bool | None = None) -> Finding:
    """What ``mount --allow-other`` needs."""
    check = "allow other users"
    if _is_root() if is_root is None else is_root:
        return fine(check, "root may")
    try:
        lines = [line.strip() for line in settings.read_text(encoding="utf-8", errors="replace").splitlines()]
    except OSError:
        lines = []
    if "user_allow_other" in lines:
        return fine(check, f"{settings} allows it")
    remedy = f"echo user_allow_other >> {settings}, as root"
    return broken(check, f"{settings} does not have the line user_allow_other", remedy)


def inotify(limits: Path = Path("/proc/sys/fs/inotify")) -> list[Finding]:
    """How many folders and mounts can be watched for drops."""
    return [
        _limit(limits / "max_user_watches", _WATCHES_WANTED),
        _limit(limits / "max_user_instances", _INSTANCES_WANTED),
    ]


def _limit(path: Path, wanted: int) -> Finding:
    check = f"inotify {path.name.removeprefix('max_user_')}"
    try:
        allowed = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return doubtful(check, f"{path} cannot be read", "drops are found by looking, some seconds later")
    if allowed < wanted:
        name = f"fs.inotify.{path.name}"
        return doubtful(check, f"only {allowed} allowed", f"sysctl -w {name}={wanted}, as root")
    return fine(check, f"{allowed} allowed")


def cache_folder(folder: Path, limit: int) -> Finding:
    """Whether there is room for ``limit`` bytes of blocks, for us alone. A bad cache slows reads, no more."""
    check = "cache folder"
    existing = next(each for each in (folder, *folder.parents) if each.exists())
    try:
        with tempfile.TemporaryFile(dir=existing) as probe:
            probe.write(b"rescalefs")
    except OSError as error:
        found = f"{existing} cannot be written to: {error.strerror}; every read asks the server"
        return doubtful(check, found, "choose another folder with --cache-dir")
    if lack := lack_words(existing, "Every read asks the server"):
        return doubtful(check, lack, "choose another folder with --cache-dir")
    if existing == folder and (exposed := _exposed(folder)):
        return doubtful(check, f"{exposed} can be read by others", f"chmod 700 {folder}")
    free = shutil.disk_usage(existing).free + _size_below(folder)
    if free < limit:
        found = f"{folder} has {free / _GIB:.1f} GiB free, and the cache may take {limit / _GIB:.1f} GiB"
        return doubtful(
            check, found, f"--cache-size {max(1, free // _GIB)}G, or another folder with --cache-dir"
        )
    return fine(check, f"{folder}, {free / _GIB:.1f} GiB free")


def _exposed(folder: Path) -> Path | None:
    """A file below ``folder`` that others can read, with no folder on the way there that keeps them out."""
    if not folder.stat().st_mode & 0o011:
        return None
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another mount may just have evicted it
            mode = path.lstat().st_mode
            found = _exposed(path) if stat.S_ISDIR(mode) else None
            if found or (stat.S_ISREG(mode) and mode & 0o044):
                return found or path
    return None


def _size_below(folder: Path) -> int:
    """What is in the cache already: it counts as free, since the cache may take it."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # another mount may just have evicted it
            look = path.lstat()
            total += look.st_blocks * 512 if hasattr(look, "st_blocks") else look.st_size  # Windows
    return total


def mounts(mountpoints: Iterable[Path], condition_of: Callable[[Path], Condition]) -> Finding:
    """Mounts of ours whose daemon was killed, or hangs: what touches them fails, or waits."""
    check = "mounts"
    by_condition: dict[str, list[str]] = {"answers": [], "silent": [], "dead": []}
    for mountpoint in mountpoints:
        by_condition[condition_of(mountpoint).value].append(str(mountpoint))
    alive, silent, dead = by_condition.values()
    if dead or silent:
        found = [f"no process serves {', '.join(dead)} any more"] if dead else []
        found += [f"{', '.join(silent)} does not answer"] if silent else []
        remedy = "; ".join(f"rescalefs umount {mountpoint}" for mountpoint in (*dead, *silent))
        return doubtful(check, "; ".join(found), remedy)
    return fine(check, f"{', '.join(alive)} answers" if alive else "none, and none left behind")
