"""The drop folder held against a plain directory: same operations, same outcomes, same content."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hypothesis import given, settings
from hypothesis import strategies as st

from rescalefs.mount import DropFolder, OpenFiles
from tests.fakes import FakeClock
from tests.mount.trees import FixedViews

NAMES = ("a", "b", "job", "status")
PATHS = [*NAMES, *(f"{one}/{two}" for one in NAMES for two in NAMES), "a/b/c", "a/b/status"]
paths = st.sampled_from(PATHS)


class Disk(Protocol):
    """What both can do."""

    def create(self, path: str) -> None: ...
    def append(self, path: str, data: bytes) -> None: ...
    def truncate(self, path: str, length: int) -> None: ...
    def make_folder(self, path: str) -> None: ...
    def symlink(self, path: str, target: str) -> None: ...
    def link(self, old: str, new: str) -> None: ...
    def rename(self, old: str, new: str) -> None: ...
    def unlink(self, path: str) -> None: ...
    def remove_folder(self, path: str) -> None: ...
    def change_mode(self, path: str, mode: int) -> None: ...


class Plain:
    """A directory, and system calls. No symbolic link is followed: the kernel does that before it asks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def create(self, path: str) -> None:
        os.close(os.open(self._at(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))

    def append(self, path: str, data: bytes) -> None:
        file = os.open(self._at(path), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW)
        os.write(file, data)
        os.close(file)

    def truncate(self, path: str, length: int) -> None:
        place = self._at(path)
        if place.is_symlink():
            raise OSError(errno.EINVAL, "a link has no length")
        os.truncate(place, length)

    def make_folder(self, path: str) -> None:
        self._at(path).mkdir(mode=0o755)

    def symlink(self, path: str, target: str) -> None:
        self._at(path).symlink_to(target)

    def link(self, old: str, new: str) -> None:
        os.link(self._at(old), self._at(new), follow_symlinks=False)

    def rename(self, old: str, new: str) -> None:
        self._at(old).rename(self._at(new))

    def unlink(self, path: str) -> None:
        self._at(path).unlink()

    def remove_folder(self, path: str) -> None:
        self._at(path).rmdir()

    def change_mode(self, path: str, mode: int) -> None:
        place = self._at(path)
        if place.is_symlink():
            raise OSError(errno.EOPNOTSUPP, "a link has no mode")
        place.chmod(mode)

    def _at(self, path: str) -> Path:
        place = self._folder
        *between, name = path.split("/")
        for each in between:
            place /= each
            # Of two paths the first is resolved before the second is looked at.
            if not stat.S_ISDIR(place.lstat().st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "no directory on the way")
        return place / name


class Served:
    """The same through a drop folder."""

    def __init__(self, drops: DropFolder) -> None:
        self._drops = drops
        self.symlink = drops.symlink
        self.truncate = drops.truncate
        self.link = drops.link
        self.rename = drops.rename
        self.unlink = drops.unlink
        self.remove_folder = drops.remove_folder
        self.change_mode = drops.change_mode

    def create(self, path: str) -> None:
        self._drops.create(path, os.O_WRONLY | os.O_EXCL, 0o644).close()

    def append(self, path: str, data: bytes) -> None:
        thing = self._drops.open(path, os.O_WRONLY | os.O_APPEND)
        thing.write(memoryview(data), thing.attributes().size)  # the kernel names the end of the file
        thing.close()

    def make_folder(self, path: str) -> None:
        self._drops.make_folder(path, 0o755)


Operation = Callable[[Disk], None]

operations = st.one_of(
    st.builds(lambda path: lambda disk: disk.create(path), paths),
    st.builds(lambda path, data: lambda disk: disk.append(path, data), paths, st.binary(max_size=20)),
    st.builds(lambda path, length: lambda disk: disk.truncate(path, length), paths, st.integers(0, 5000)),
    st.builds(lambda path: lambda disk: disk.make_folder(path), paths),
    st.builds(lambda path, target: lambda disk: disk.symlink(path, target), paths, paths),
    st.builds(lambda old, new: lambda disk: disk.link(old, new), paths, paths),
    st.builds(lambda old, new: lambda disk: disk.rename(old, new), paths, paths),
    st.builds(lambda path: lambda disk: disk.unlink(path), paths),
    st.builds(lambda path: lambda disk: disk.remove_folder(path), paths),
    st.builds(lambda path, mode: lambda disk: disk.change_mode(path, mode), paths, st.integers(0o700, 0o777)),
)


def outcome(operation: Operation, disk: Disk) -> int | None:
    try:
        operation(disk)
    except OSError as error:
        return error.errno
    return None


def content(folder: Path) -> dict[str, object]:
    """All that is in a directory, by path."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name, told = path.relative_to(folder).as_posix(), path.lstat()
        if path.is_symlink():
            found[name] = os.fspath(path.readlink())
        elif path.is_dir():
            found[name] = stat.filemode(told.st_mode)
        else:
            found[name] = (stat.filemode(told.st_mode), told.st_nlink, path.read_bytes())
    return found


def seen(drops: DropFolder, path: str = "") -> set[str]:
    """All paths that the drop folder lists."""
    folder = drops.open_folder(path)
    found: set[str] = set()
    for entry in folder.entries():
        below = f"{path}/{entry.name}".lstrip("/")
        assert stat.S_IFMT(drops.attributes(below).mode) == stat.S_IFMT(entry.mode)
        found |= {below}
        if stat.S_ISDIR(entry.mode):
            found |= seen(drops, below)
    folder.close()
    return found


@settings(max_examples=150, deadline=None)
@given(st.lists(operations, max_size=25))
def test_any_operations_have_the_outcome_that_a_plain_directory_has(sequence: list[Operation]) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        ours, plain = Path(temporary, "ours"), Path(temporary, "plain")
        ours.mkdir()
        plain.mkdir()
        drops = DropFolder(ours, FixedViews(), OpenFiles(ours), FakeClock())
        try:
            for operation in sequence:
                assert outcome(operation, Served(drops)) == outcome(operation, Plain(plain))
                assert content(ours) == content(plain)
            assert seen(drops) == set(content(plain))
        finally:
            drops.close()
