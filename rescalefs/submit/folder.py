"""Looks at dropped folders: what lies in them, and which folder is which."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from rescalefs.submit.asking import Asked
from rescalefs.submit.jobfile import NotJson, parse
from rescalefs.submit.listing import JOB_FILE, Entry, Kind, Listing
from rescalefs.submit.parcels import why_unfit
from rescalefs.submit.remains import is_a_systems
from rescalefs.submit.sieve import Sieve

_LARGEST_JOB_FILE = 16 << 20  # bytes
_MOST_LINKS = 40  # that follow each other, as Linux has it (path_resolution(7))
_DONT_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # Windows has the second alone


class FolderTooLarge(Exception):
    """There are more entries than the limit allows. Caught by who looks."""

    def __init__(self, limit: int, first: tuple[Entry, ...]) -> None:
        super().__init__(f"the folder has more than {limit} entries")
        self.first = first


@dataclass(frozen=True, slots=True)
class Identity:
    """Which folder it is, whatever it is called.

    ``born`` tells a folder from a later one that was given the same inode number. It is None where the
    file system does not keep the time (NFS 3, sshfs).
    """

    inode: int
    born: int | None  # nanoseconds


def identity(path: Path) -> Identity:
    """Which folder lies at ``path``; raises OSError where none does."""
    facts = path.stat()
    return Identity(facts.st_ino, _birth_ns(path, facts))


def folders(parent: Path) -> dict[str, tuple[Path, int]]:
    """The folders right below ``parent`` that can be drops, with inodes: no links."""
    found = {}
    with os.scandir(parent) as entries:
        for entry in entries:
            if _may_be_a_drop(entry.name) and entry.is_dir(follow_symlinks=False):
                found[entry.name] = (Path(entry.path), entry.inode())
    return found


def _may_be_a_drop(name: str) -> bool:
    """Whether it is neither hidden, nor a system's own, nor a name that no text can tell of (not UTF-8)."""
    is_text = not any("\ud800" <= each <= "\udfff" for each in name)
    return is_text and not name.startswith(".") and not is_a_systems(name)


def job_file_mark(folder: Path) -> str:
    """Differs when job.json was edited; empty where there is none."""
    entry = job_entry(folder)
    return f"{entry.inode}-{entry.size}-{entry.modified_ns}" if entry else ""


def look(folder: Path, most_entries: int) -> Listing:
    """List ``folder``. What vanishes meanwhile is left out: whoever looks, looks again."""
    entries: list[Entry] = []
    sieve = Sieve(lambda: _asked(folder))
    for entry in _walk(folder, folder.resolve(), sieve):
        if entry is not None:
            entries.append(entry)
        if len(entries) + len(sieve.left_out) > most_entries:
            raise FolderTooLarge(most_entries, tuple(entries))
    return Listing(tuple(entries), job_entry(folder), tuple(sieve.left_out))


def _asked(folder: Path) -> Asked:
    """What job.json names; nothing while it cannot be read, as it is rejected or waited for then."""
    try:
        return Asked(parse(job_file_bytes(folder)))
    except (NotJson, OSError):
        return Asked({})


def job_entry(folder: Path) -> Entry | None:
    """Its job.json, whatever it is: who checks it, refuses what is no file."""
    return entry_of(folder, JOB_FILE)


def entry_of(folder: Path, name: str) -> Entry | None:
    """What lies right in the folder under this name."""
    path = folder / name
    with contextlib.suppress(FileNotFoundError):
        facts = path.lstat()
        if stat.S_ISLNK(facts.st_mode):
            return _linked(path, name, folder.resolve())
        return _plain_entry(name, path, facts)
    return None


def job_file_bytes(folder: Path) -> bytes:
    """What job.json holds; `NotJson` where it is no file that can be read, FileNotFoundError without one."""
    entry = job_entry(folder)
    file = None
    if entry is not None:
        reason, example = why_unfit(entry)
        if reason:
            raise NotJson(reason, example)
        if entry.kind is Kind.FOLDER:
            raise NotJson("is a folder, and a file of this name says what to run", f"mv {JOB_FILE} inputs")
        if entry.size > _LARGEST_JOB_FILE:
            raise NotJson(f"is larger than {_LARGEST_JOB_FILE >> 20} MiB", '"inputFiles": ["*.msh"]')
        file = open_listed(folder, entry)
    if file is None:  # also where it was replaced in this moment: it is looked at afresh
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder / JOB_FILE))
    with file:
        return file.read(_LARGEST_JOB_FILE)


def is_held(folder: Path) -> bool:
    """Whether job.json says that the job is not to be submitted; one that cannot be read may say so."""
    try:
        return bool(parse(job_file_bytes(folder)).get("hold"))
    except (NotJson, OSError):
        return True


def open_listed(folder: Path, entry: Entry) -> FileIO | None:
    """The listed file itself, for reading; None where another one, or no file, took its place.

    Never waits, as opening a pipe would.
    """
    try:
        descriptor = os.open(f"{folder}/{entry.path}", os.O_RDONLY | _DONT_WAIT)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.ELOOP}:  # ENXIO: a socket
            return None
        raise
    facts = os.fstat(descriptor)
    if (facts.st_ino, facts.st_size, facts.st_mtime_ns) == (entry.inode, entry.size, entry.modified_ns):
        return os.fdopen(descriptor, "rb", buffering=0)
    os.close(descriptor)
    return None


def _walk(top: Path, real_top: Path, sieve: Sieve) -> Iterator[Entry | None]:
    """Everything below ``top``, with None for what is left out.

    Not by recursion: folders may be nested deeper than Python calls may.
    """
    folders = [""]
    while folders:
        below = folders.pop()
        try:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(top / below) as found:
                for entry in _entries(found, below, real_top, sieve):
                    yield entry
                    if entry is not None and entry.kind is Kind.FOLDER and entry.readable:
                        folders.append(entry.path)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            yield Entry(below, Kind.TOO_DEEP)


def _entries(
    found: Iterable[os.DirEntry[str]], below: str, real_top: Path, sieve: Sieve
) -> Iterator[Entry | None]:
    for each in found:
        path = f"{below}/{each.name}" if below else each.name
        if path == JOB_FILE:
            continue
        if not sieve.passes(each, path):
            yield None
        else:
            with contextlib.suppress(FileNotFoundError):
                yield _entry(each, path, real_top)


def _entry(each: os.DirEntry[str], path: str, real_top: Path) -> Entry:
    if each.is_symlink():
        return _linked(Path(each.path), path, real_top)
    # Not as a Path: it keeps the parts of each for good, in a table of the interpreter's.
    return _plain_entry(path, each.path, each.stat(follow_symlinks=False))


def _plain_entry(path: str, real: str | Path, facts: os.stat_result) -> Entry:
    """What is not a link."""
    if stat.S_ISREG(facts.st_mode):
        return _file_entry(path, real, facts)
    if stat.S_ISDIR(facts.st_mode):
        readable = os.access(real, os.R_OK | os.X_OK)
        return Entry(path, Kind.FOLDER, inode=facts.st_ino, readable=readable)
    return Entry(path, Kind.SPECIAL, inode=facts.st_ino)


def _linked(link: Path, path: str, real_top: Path) -> Entry:
    """A link to a file within the drop counts as that file; any other is of a kind that is refused."""
    try:
        target = _target_within(real_top, path)
        facts = target.stat()
    except _Elsewhere as error:
        return Entry(path, error.kind)
    except OSError as error:
        return Entry(path, Kind.LINK_LOOP if error.errno == errno.ELOOP else Kind.BROKEN_LINK)
    if target in (link.parent.resolve() / link.name).parents:
        return Entry(path, Kind.LINK_LOOP)
    if stat.S_ISDIR(facts.st_mode):
        return Entry(path, Kind.LINK_TO_FOLDER)
    return _file_entry(path, target, facts) if stat.S_ISREG(facts.st_mode) else Entry(path, Kind.SPECIAL)


class _Elsewhere(Exception):
    """A link leaves the drop. Caught by who follows it."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.kind = kind


def _target_within(top: Path, path: str) -> Path:
    """Where ``path`` below ``top`` leads to, link by link. Raises `_Elsewhere`, or OSError where nothing is.

    Nothing outside of ``top`` is touched: a link may lead to a network disk that does not answer, and the one
    thread that looks at all drops would wait for it for ever.
    """
    steps, reached, followed = path.split("/")[::-1], list[str](), 0
    while steps:
        step = steps.pop()
        if step == ".." and reached:
            reached.pop()
        elif step == "..":
            steps = _inside(top, os.path.join("..", *steps[::-1]))  # noqa: PTH118  # text, not a place
        elif step not in {"", "."}:
            here = top.joinpath(*reached, step)
            if not stat.S_ISLNK(here.lstat().st_mode):
                reached.append(step)
                continue
            followed += 1
            if followed > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(here))
            says = str(here.readlink())
            if says.startswith("/"):
                steps, reached = _inside(top, says), []
            else:
                steps += says.split("/")[::-1]
    return top.joinpath(*reached)


def _inside(top: Path, leads: str) -> list[str]:
    """The steps from ``top`` to where a text leads that leaves it, the last one first: it may come back."""
    target = Path(os.path.normpath(top / leads))
    if target == top or target in top.parents:
        raise _Elsewhere(Kind.LINK_LOOP)
    if top not in target.parents:
        raise _Elsewhere(Kind.LINK_OUT)
    return list(target.relative_to(top).parts[::-1])


def _file_entry(path: str, real: str | Path, facts: os.stat_result) -> Entry:
    return Entry(
        path=path,
        kind=Kind.FILE,
        size=facts.st_size,
        modified_ns=facts.st_mtime_ns,
        changed_ns=facts.st_ctime_ns,
        inode=facts.st_ino,
        readable=os.access(real, os.R_OK),
        executable=bool(facts.st_mode & stat.S_IXUSR),
    )


def keeps_identities(folder: Path) -> bool:
    """Whether a folder has the same number and time of birth as long as it exists, and no other one has both.

    It is False where that is not certain.
    """
    if identity(folder).born is None:
        return False
    if sys.platform != "linux":
        return True
    answer = ctypes.create_string_buffer(512)  # struct statfs has 120 bytes
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(folder), answer) != 0:
        return False
    return ctypes.c_ulong.from_buffer(answer).value & 0xFFFFFFFF in _CERTAIN


# Magic numbers of statfs(2), from linux/magic.h and the file systems' own sources.
_CERTAIN = frozenset(
    {
        0xEF53,  # ext2, ext3, ext4
        0x58465342,  # xfs
        0x9123683E,  # btrfs
        0x2FC12FC1,  # zfs
        0xF2F52010,  # f2fs
        0xCA451A4E,  # bcachefs
        0x01021994,  # tmpfs
    }
)


# statx(2): Python's os.stat does not tell the birth time on Linux.
_AT_FDCWD = -100
_AT_SYMLINK_NOFOLLOW = 0x100
_STATX_BTIME = 0x800
_BTIME_OFFSET = 80  # of stx_btime in struct statx: s64 seconds, u32 nanoseconds; linux/stat.h


def _birth_ns(path: Path, facts: os.stat_result) -> int | None:
    if sys.platform == "darwin":
        return int(facts.st_birthtime * 1e9)
    try:
        statx = ctypes.CDLL(None, use_errno=True).statx
    except (AttributeError, OSError, TypeError):  # a C library without it; TypeError: Windows
        return None
    answer = ctypes.create_string_buffer(256)
    if statx(_AT_FDCWD, os.fsencode(path), _AT_SYMLINK_NOFOLLOW, _STATX_BTIME, answer) != 0:
        return None
    mask = int.from_bytes(answer.raw[0:4], sys.byteorder)
    if not mask & _STATX_BTIME:
        return None
    seconds = int.from_bytes(answer.raw[_BTIME_OFFSET : _BTIME_OFFSET + 8], sys.byteorder, signed=True)
    nanoseconds = int.from_bytes(answer.raw[_BTIME_OFFSET + 8 : _BTIME_OFFSET + 12], sys.byteorder)
    return seconds * 10**9 + nanoseconds
