"""Which names are one on a disk: `Mesh.msh` and `mesh.msh` on FAT, for example."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import NamedTuple

from rescalefs.errors import UserError


class SameName(UserError):
    """Another path, which is wanted as well, is the same name on this disk."""

    def __init__(self, other: str) -> None:
        super().__init__(
            f"on this disk it is the same name as {other}. Fetch it into another folder "
            "(rescalefs download), or leave one of the two out"
        )
        self.other = other


class Merged(NamedTuple):
    """A folder that is the same as another one on this disk."""

    path: str
    other: str

    def __str__(self) -> str:
        return f"on this disk it is the same folder as {self.other}; the files of both are in there"


class Names:
    """The names that are wanted below one folder, and those of them that are one on this disk.

    For one thread. Disks differ in this. So the disk itself is asked: `are_one` says of two names that are
    alike whether they are one there.
    """

    def __init__(self, are_one: Callable[[str, str], bool]) -> None:
        self._are_one = are_one
        self._claimed: defaultdict[str, list[str]] = defaultdict(list)  # by loose path
        self._folders: set[str] = set()
        self.merged: list[Merged] = []

    def claim(self, path: str) -> None:
        """Have a path for a file. Raises `SameName` where another file or folder has it."""
        folder = ""
        for name in path.split("/")[:-1]:
            folder = f"{folder}/{name}" if folder else name
            self._enter(folder)
        other = self.claimant(path)
        if other is not None:
            raise SameName(other)
        self._claimed[_loose(path)].append(path)

    def claimant(self, path: str) -> str | None:
        """The other path that has claimed the name of this one; None if there is none."""
        alike = self._claimed.get(_loose(path), ())
        return next((known for known in alike if known != path and self._is_one(known, path)), None)

    def _enter(self, folder: str) -> None:
        if folder in self._folders:
            return
        other = self.claimant(folder)
        if other is not None and other not in self._folders:
            raise SameName(other)
        if other is not None:
            self.merged.append(Merged(folder, other))
        self._folders.add(folder)
        self._claimed[_loose(folder)].append(folder)

    def _is_one(self, path: str, other: str) -> bool:
        pairs = zip(path.split("/"), other.split("/"), strict=True)
        return all(one == two or self._are_one(one, two) for one, two in pairs)


def alike(names: Iterable[str]) -> list[list[str]]:
    """Those of the names that may be one on some disk, group by group."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[_loose(name)].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _loose(path: str) -> str:
    """Paths that may be one on some disk have this in common.

    Disks fold case by tables of their own, keep NFC or NFD, and drop dots and blanks at the end of a name.
    """
    folded = unicodedata.normalize("NFD", path).upper().casefold()
    return "/".join(name.rstrip(". ") for name in unicodedata.normalize("NFD", folded).split("/"))
