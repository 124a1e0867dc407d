"""What is mounted where, whether a folder is fit to be mounted on, and how to take a mount away."""

from __future__ import annotations

import contextlib
import enum
import errno
import logging
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rescalefs import surroundings
from rescalefs.errors import CannotMount
from rescalefs.mount import asking

log = logging.getLogger(__name__)

SUBTYPE = "rescalefs"
_TYPE = f"fuse.{SUBTYPE}"
_MOST_LINKS = 40  # as many as Linux follows
_TOOL_LIMIT = 20.0  # seconds for one call of fusermount, which only asks the kernel

INSTALL = "apt-get install fuse3 libfuse2 (libfuse2t64 on Ubuntu 24.04), or dnf install fuse fuse-libs"


@dataclass(frozen=True, slots=True)
class MountEntry:
    """A line of /proc/self/mountinfo."""

    path: Path
    kind: str  # such as ext4, fuse.sshfs
    source: str
    options: frozenset[str] = frozenset()  # of the file system, such as user_id=1000, allow_other

    @property
    def is_ours(self) -> bool:
        return self.kind == _TYPE

    @property
    def is_closed_to_us(self) -> bool:
        """Whether the kernel lets this user see nothing in it, because another user mounted it (fuse(8))."""
        is_fuse = any(each.startswith("user_id=") for each in self.options)
        return is_fuse and self.options.isdisjoint({"allow_other", f"user_id={os.geteuid()}"})


def absolute(mountpoint: Path) -> Path:
    """Its real path, also by way of a symbolic link, without asking a mount that is there.

    A dead mount would not answer. The kernel knows without asking that the root of a mount is no link.
    """
    try:
        whole = Path(os.path.abspath(mountpoint))  # noqa: PTH100  (Path.resolve asks the last name, too)
    except FileNotFoundError as error:
        raise CannotMount(
            f"{mountpoint} begins in the current folder, which was removed. Give the whole path"
        ) from error
    for _ in range(_MOST_LINKS):
        whole = whole.parent.resolve() / whole.name
        try:
            target = whole.readlink()
        except OSError:
            return whole
        whole = Path(os.path.abspath(whole.parent / target))  # noqa: PTH100
    raise CannotMount(f"cannot mount on {mountpoint}: its symbolic links go in a circle")


def mount_at(mountpoint: Path) -> MountEntry | None:
    """What is mounted exactly there; the uppermost, if there are several."""
    wanted = absolute(mountpoint)
    found = None
    for entry in mounts():
        if entry.path == wanted:
            found = entry
    return found


def is_mounted(mountpoint: Path) -> bool:
    """Whether one of our mounts is there, dead or alive."""
    entry = mount_at(mountpoint)
    return entry is not None and entry.is_ours


class Condition(enum.Enum):
    """How the daemon of a mount is, as a question to it shows."""

    ANSWERS = "answers"
    SILENT = "silent"  # it is stopped, or hangs
    DEAD = "dead"


def condition_of(mountpoint: Path) -> Condition:
    """How the daemon of the mount that is there is. Takes `asking.LIMIT` seconds at most."""
    try:
        asking.ask_for_space(mountpoint)
    except TimeoutError:
        return Condition.SILENT
    except OSError as error:
        is_dead = error.errno in {errno.ENOTCONN, errno.ECONNABORTED}
        return Condition.DEAD if is_dead else Condition.ANSWERS
    return Condition.ANSWERS


def is_stale(mountpoint: Path) -> bool:
    """Whether the daemon of the mount that is there has died."""
    return condition_of(mountpoint) is Condition.DEAD


def clear_stale(mountpoint: Path) -> None:
    """Take away what a daemon that was killed left behind."""
    while is_mounted(mountpoint) and is_stale(mountpoint):
        log.warning("%s: its daemon died without unmounting; clearing it", mountpoint)
        detach(mountpoint, lazy=True)


def mounts() -> Iterator[MountEntry]:
    """All of them, in the order they were made (proc(5))."""
    with Path("/proc/self/mountinfo").open(encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            before, _, after = line.partition(" - ")
            kind, source, options, *_ = after.rstrip("\n").split(" ")
            where = Path(_unescaped(before.split(" ")[4]))
            yield MountEntry(where, kind, _unescaped(source), frozenset(options.split(",")))


def our_mounts() -> list[MountEntry]:
    """The mounts of rescalefs that this user may look into."""
    return [entry for entry in mounts() if entry.is_ours and not entry.is_closed_to_us]


def check_fuse(allow_other: bool = False) -> None:
    """Raise CannotMount, with what to do about it, unless this machine can mount at all."""
    device = Path("/dev/fuse")
    if not device.exists():
        raise CannotMount(
            "/dev/fuse is missing: the kernel's FUSE module is not loaded (modprobe fuse), or a container "
            "hides it (docker run --device /dev/fuse --cap-add SYS_ADMIN)"
        )
    if not os.access(device, os.R_OK | os.W_OK):
        raise CannotMount(
            "/dev/fuse may not be opened by you: ask for read and write permission on it "
            "(chmod 666 /dev/fuse, as root)"
        )
    if os.geteuid() == 0:
        return
    if unmounter() is None:
        raise CannotMount(f"fusermount is missing. Install FUSE: {INSTALL}")
    if allow_other and "user_allow_other" not in _lines(Path("/etc/fuse.conf")):
        raise CannotMount("--allow-other needs the line user_allow_other in /etc/fuse.conf")


def prepare(mountpoint: Path) -> bool:
    """Make sure that it can be mounted on, clearing a dead mount of ours; tell whether it made the folder."""
    clear_stale(mountpoint)
    entry = mount_at(mountpoint)
    if entry is not None:
        what = "rescalefs" if entry.is_ours else f"{entry.source} ({entry.kind})"
        way_out = f"rescalefs umount {mountpoint}" if entry.is_ours else f"umount {mountpoint}"
        raise CannotMount(f"cannot mount on {mountpoint}: {what} is already mounted there. First: {way_out}")
    try:
        mountpoint.mkdir(mode=0o700)
        return True
    except FileExistsError:
        _check_folder(mountpoint)
        return False
    except OSError as error:
        raise CannotMount(f"cannot mount on {mountpoint}: {error.strerror}. Make the folder first") from error


def detach(mountpoint: Path, lazy: bool = False) -> None:
    """Take the mount out of the tree; ``lazy`` also while files are open. Raise CannotMount when refused.

    Every way this system has is tried. For an ordinary user fusermount reads /etc/mtab, which containers
    often lack; umount(8) asks the kernel, and lets a user unmount his own FUSE mount. Root needs no program.
    """
    complaints = []
    for way in _ways_out(mountpoint, lazy):
        complaint = way()
        if complaint is None:
            return
        if "busy" in complaint:
            users = ", ".join(holders(mountpoint)) or "some program"
            raise CannotMount(
                f"cannot unmount {mountpoint}: in use by {users}. Leave it, close its files, and try again"
            )
        complaints.append(complaint)
    why = "; ".join(dict.fromkeys(complaints)) or f"there is no program for that. Install FUSE: {INSTALL}"
    raise CannotMount(f"cannot unmount {mountpoint}: {why}")


def _ways_out(mountpoint: Path, lazy: bool) -> Iterator[Callable[[], str | None]]:
    """Functions that unmount it, the usual one first. Each returns None, or why it failed."""
    if (tool := unmounter()) is not None:
        yield partial(_complaint_of, [tool, "-u", *(["-z"] if lazy else []), str(mountpoint)])
    if os.geteuid() == 0 and sys.platform == "linux":
        yield partial(_asked_of_the_kernel, mountpoint, lazy)
    if (umount := surroundings.program("umount")) is not None:
        # With -c it does not look at the mount, which waits for ever where the daemon is stopped.
        quietly = ["-c"] if sys.platform == "linux" else []
        yield partial(_complaint_of, [umount, *quietly, *(["-l"] if lazy else []), str(mountpoint)])


def _complaint_of(command: list[str]) -> str | None:
    result = subprocess.run(  # noqa: S603  (a system tool, with a path that we know)
        command,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TOOL_LIMIT,
        env=surroundings.for_children({"LC_ALL": "C"}),
    )
    return None if result.returncode == 0 else result.stderr.strip() or f"{command[0]} failed"


def _asked_of_the_kernel(mountpoint: Path, lazy: bool) -> str | None:
    from rescalefs.mount import syscalls  # it brings ctypes, which no other command needs

    try:
        syscalls.unmount(str(mountpoint), lazy)
    except OSError as error:
        return f"umount: {error.strerror}"
    return None


def holders(mountpoint: Path, at_most: int = 5) -> list[str]:
    """Who has a file or its working directory there, as far as we may see: `bash (4242)`."""
    inside = str(absolute(mountpoint))
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if any(link == inside or link.startswith(inside + "/") for link in _links(process)):
            name = " ".join(_lines(process / "comm"))
            found.append(f"{name} ({process.name})")
    return found[:at_most]


def unmounter() -> str | None:
    """fusermount, under the name it has here."""
    return surroundings.program("fusermount3") or surroundings.program("fusermount")


_STRAY = "; what was put into submit/ while nothing was mounted was not submitted: move it away"


def _check_folder(mountpoint: Path) -> None:
    try:
        if not stat.S_ISDIR(mountpoint.stat().st_mode):
            raise CannotMount(f"cannot mount on {mountpoint}: it is not a directory. Choose an empty folder")
        if any(mountpoint.iterdir()):
            stray = "" if not (mountpoint / "submit").is_dir() else _STRAY
            raise CannotMount(f"cannot mount on {mountpoint}: it is not empty. Choose an empty folder{stray}")
    except OSError as error:
        raise CannotMount(f"cannot mount on {mountpoint}: {error.strerror}") from error
    if not os.access(mountpoint, os.W_OK):
        raise CannotMount(
            f"cannot mount on {mountpoint}: you may not write to it. Choose a folder of your own"
        )


def _links(process: Path) -> Iterator[str]:
    """Where a process is and what it has open. Reading a link does not ask the file system it leads to."""
    with contextlib.suppress(OSError):
        for link in (process / "cwd", process / "root", *(process / "fd").iterdir()):
            with contextlib.suppress(OSError):
                yield str(link.readlink())


def _lines(file: Path) -> list[str]:
    try:
        return [line.strip() for line in file.read_text(errors="replace").splitlines()]
    except OSError:
        return []


def _unescaped(field: str) -> str:
    r"""mountinfo writes blanks, tabs, newlines and backslashes as \040 and the like."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), field)
