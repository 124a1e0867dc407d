"""Pure: what lies in a dropped folder, as of one look at it."""

from __future__ import annotations

import bisect
import enum
import fnmatch
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rescalefs.submit.remains import Remains

JOB_FILE = "job.json"

OUR_NAMES = frozenset({"status", "status.log", "job"})
"""What rescalefs shows in a drop beside what is really there; never inputs, even where real."""


class Kind(enum.Enum):
    """What an entry is, with links already followed as far as they may be."""

    FILE = "a file"
    FOLDER = "a folder"
    LINK_OUT = "a link that leaves the folder"
    LINK_TO_FOLDER = "a link to a folder"
    LINK_LOOP = "a link to itself, or to a folder that it lies in"
    BROKEN_LINK = "a link to nothing"
    TOO_DEEP = "a folder with a path that is too long to look into"
    SPECIAL = "neither a file nor a folder"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file or folder of a drop."""

    path: str  # below the drop, with `/`
    kind: Kind
    size: int = 0
    modified_ns: int = 0
    changed_ns: int = 0
    inode: int = 0
    readable: bool = True
    executable: bool = False

    @property
    def mark(self) -> str:
        """Differs when the content may; a modification time that was set back does not hide a write."""
        return f"{self.inode}-{self.size}-{self.modified_ns}-{self.changed_ns}"

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file or folder of a drop that is not sent, because it is no input by its name."""

    path: str
    remains: Remains


def _path(entry: Entry | LeftOut) -> str:
    return entry.path


@dataclass(frozen=True)
class Listing:
    """All entries of a drop but job.json and what is left out; sorted by path."""

    entries: tuple[Entry, ...] = ()
    job_file: Entry | None = None
    left_out: tuple[LeftOut, ...] = ()  # a folder stands for all in it
    by_path: Mapping[str, Entry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.entries, key=_path))
        object.__setattr__(self, "entries", ordered)
        object.__setattr__(self, "by_path", {entry.path: entry for entry in ordered})
        object.__setattr__(self, "left_out", tuple(sorted(self.left_out, key=_path)))

    @property
    def fingerprint(self) -> str:
        """Equal for two looks between which nothing was changed, added, renamed or removed.

        The change time of the inode is left out: a mere `chmod` is not a new content to check. Of the files
        that a transfer writes only the names count, because only their going matters.
        """
        digest = hashlib.sha256()
        for entry in (*self.entries, *((self.job_file,) if self.job_file else ())):
            facts = (entry.path, entry.kind.name, entry.size, entry.modified_ns, entry.inode, entry.readable)
            digest.update(repr(facts).encode("utf-8", "surrogateescape"))
        for path in self.transfers:
            digest.update(repr((path, "transfer")).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    @property
    def transfers(self) -> tuple[str, ...]:
        """Files that a transfer is writing, or left when it broke off."""
        return tuple(each.path for each in self.left_out if each.remains.is_transfer)

    def below(self, folder: str) -> tuple[Entry, ...]:
        """Everything in ``folder``, at any depth."""
        first = bisect.bisect_left(self.entries, f"{folder}/", key=_path)
        last = bisect.bisect_left(self.entries, f"{folder}0", key=_path)  # 0 follows / among characters
        return self.entries[first:last]

    def matching(self, pattern: str) -> tuple[Entry, ...]:
        """The files that a pattern of the shell names."""
        wanted = Pattern(pattern)
        return tuple(each for each in self.entries if each.kind is not Kind.FOLDER and wanted.fits(each.path))


class Pattern:
    """A pattern of the shell for paths; `*` stays within one folder, `**/` does not."""

    def __init__(self, pattern: str) -> None:
        self._steps = _steps(pattern)

    def fits(self, path: str) -> bool:
        """Whether it names this path."""
        return _fits(self._steps, path.split("/"))


def _steps(pattern: str) -> list[re.Pattern[str] | None]:
    """What each folder of a path, and its name, must match; None for any number of folders."""
    return [
        None if step == "**" else re.compile(fnmatch.translate(step), re.DOTALL)
        for step in pattern.split("/")
    ]


def _fits(steps: Sequence[re.Pattern[str] | None], parts: Sequence[str]) -> bool:
    reached = _and_past_any(steps, {0})
    for part in parts:
        passed = set()
        for number in reached - {len(steps)}:
            step = steps[number]
            if step is None:
                passed.add(number)
            elif step.match(part):
                passed.add(number + 1)
        reached = _and_past_any(steps, passed)
    return len(steps) in reached


def _and_past_any(steps: Sequence[re.Pattern[str] | None], reached: set[int]) -> set[int]:
    """``reached``, and where it leads to without another folder."""
    found = set(reached)
    for number in sorted(reached):
        end = number
        while end < len(steps) and steps[end] is None:
            end += 1
            found.add(end)
    return found


def is_pattern(path: str) -> bool:
    """Whether ``path`` has wildcards in it."""
    return any(mark in path for mark in "*?[")


def total_size(entries: Iterable[Entry]) -> int:
    """Bytes of all of them together."""
    return sum(entry.size for entry in entries)
