from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rescalefs.descriptors import Descriptors
from rescalefs.mount import DropFolder, OpenFiles
from rescalefs.mount.attributes import Owner
from tests.fakes import FakeClock
from tests.mount.trees import FixedViews


class Drops:
    """A drop folder over a real directory, and what it told."""

    def __init__(self, backing: Path) -> None:
        backing.mkdir()
        self.descriptors = Descriptors(1024)
        self.backing = backing
        self.views = FixedViews()
        self.files = OpenFiles(backing)
        self.clock = FakeClock()
        self.told: list[str] = []
        self.folder = DropFolder(
            backing,
            self.views,
            self.files,
            self.clock,
            changed=lambda path: self.told.append(path.relative_to(backing).as_posix()),
            descriptors=self.descriptors,
        )

    def names(self, path: str) -> list[str]:
        opened = self.folder.open_folder(path)
        try:
            return sorted(entry.name for entry in opened.entries())
        finally:
            opened.close()


@pytest.fixture
def drops(tmp_path: Path) -> Iterator[Drops]:
    drops = Drops(tmp_path / "backing")
    yield drops
    drops.folder.close()


def test_symbolic_links_are_not_followed_on_the_way(drops: Drops, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x").write_text("secret")
    (drops.backing / "way-out").symlink_to(tmp_path / "secret")
    (drops.backing / "file").symlink_to(tmp_path / "secret" / "x")
    folder = drops.folder
    for call in (
        lambda: folder.attributes("way-out/x"),
        lambda: folder.open("way-out/x", os.O_RDONLY),
        lambda: folder.unlink("way-out/x"),
        lambda: folder.open("file", os.O_RDONLY),
        lambda: folder.open_folder("way-out"),
        lambda: folder.create("file", os.O_WRONLY, 0o600),
        lambda: folder.truncate("file", 0),
        lambda: folder.change_mode("file", 0o777),
    ):
        with pytest.raises(OSError, match=r".") as caught:
            call()
        assert caught.value.errno in {errno.ENOTDIR, errno.ELOOP, errno.EINVAL, errno.EOPNOTSUPP}
    assert (tmp_path / "secret" / "x").read_text() == "secret"
    assert folder.read_link("file") == str(tmp_path / "secret" / "x")


def test_times_and_owner_of_a_link_are_its_own(drops: Drops) -> None:
    (drops.backing / "x").touch()
    before = (drops.backing / "x").stat().st_mtime_ns
    drops.folder.symlink("link", "x")
    drops.folder.change_times("link", (1, 0), (2, 0))
    drops.folder.change_owner("link", os.geteuid(), -1)
    assert (drops.backing / "link").lstat().st_mtime == 2
    assert (drops.backing / "x").stat().st_mtime_ns == before


def test_every_change_is_told(drops: Drops) -> None:
    folder = drops.folder
    folder.make_folder("wing", 0o755)
    thing = folder.create("wing/x", os.O_WRONLY, 0o644)
    drops.told.clear()
    thing.write(memoryview(b"x"), 0)
    assert drops.told == []
    thing.close()
    assert drops.told == ["wing/x"]
    folder.open("wing/x", os.O_RDONLY).close()
    assert drops.told == ["wing/x"]
    drops.told.clear()
    folder.rename("wing", "tail")
    folder.link("tail/x", "tail/y")
    folder.unlink("tail/x")
    assert drops.told == ["wing", "tail", "tail/y", "tail/x"]


def test_a_file_written_while_its_drop_is_renamed_is_told_by_its_new_name(drops: Drops) -> None:
    drops.folder.make_folder("wing", 0o755)
    thing = drops.folder.create("wing/x", os.O_WRONLY, 0o644)
    drops.folder.rename("wing", "tail")
    assert drops.files.why_unfinished(drops.backing / "tail")
    drops.told.clear()
    thing.close()
    assert drops.told == ["tail/x"]


def test_writing_to_our_names_lands_in_the_folder_and_is_not_shown(drops: Drops) -> None:
    (drops.backing / "wing").mkdir()
    drops.views.statuses["wing"] = b"waiting\n"
    thing = drops.folder.open("wing/status", os.O_WRONLY | os.O_TRUNC)
    thing.write(memoryview(b"what a copy carries along"), 0)
    thing.close()
    assert (drops.backing / "wing" / "status").read_bytes() == b"what a copy carries along"
    assert drops.folder.attributes("wing/status").size == len(b"waiting\n")
    assert drops.names("wing") == ["status"]


def test_what_is_done_to_our_names_succeeds_also_where_they_cover_nothing(drops: Drops) -> None:
    (drops.backing / "wing").mkdir()
    drops.views.statuses["wing"] = b"waiting\n"
    folder = drops.folder
    folder.change_mode("wing/status", 0o600)
    folder.change_owner("wing/status", -1, -1)
    folder.change_times("wing/status", (0, 0), (0, 0))
    folder.truncate("wing/status", 0)
    folder.access("wing/status", os.W_OK)
    folder.unlink("wing/status")
    assert drops.names("wing") == []
    with pytest.raises(FileNotFoundError):
        folder.unlink("wing/other")
    folder.remove_folder("wing")
    assert list(drops.backing.iterdir()) == []


def test_our_names_are_not_moved_nor_linked(drops: Drops) -> None:
    (drops.backing / "wing").mkdir()
    drops.views.statuses["wing"] = b"waiting\n"
    for call in (drops.folder.rename, drops.folder.link):
        with pytest.raises(OSError, match=r".") as caught:
            call("wing/status", "wing/x")
        assert caught.value.errno == errno.EXDEV


def test_stop_written_into_control_stops_and_any_other_word_is_refused(drops: Drops) -> None:
    (drops.backing / "wing").mkdir()
    drops.views.running.add("wing")
    drops.folder.truncate("wing/control", 0)  # as `echo stop > control` begins
    control = drops.folder.open("wing/control", os.O_WRONLY)
    for wrong in (b"", b"\n", b"halt\n", b"stop it", b"STOP", b"s" * 5000):
        with pytest.raises(OSError, match="Invalid argument"):
            control.write(memoryview(wrong), 0)
    assert drops.views.stopped == []
    assert control.write(memoryview(b"stop\n"), 0) == 5
    control.close()
    assert drops.views.stopped == ["wing"]
    assert drops.names("wing") == [], "it is not listed, so no copy carries it along"
    assert list((drops.backing / "wing").iterdir()) == []
    drops.folder.unlink("wing/control")
    assert drops.views.stopped == ["wing"], "removing it stops nothing"


def test_a_users_own_file_called_control_is_only_a_file(drops: Drops) -> None:
    (drops.backing / "wing").mkdir()
    with pytest.raises(FileNotFoundError):
        drops.folder.attributes("wing/control")
    drops.folder.create("wing/control", os.O_WRONLY, 0o644).close()
    drops.views.running.add("wing")
    thing = drops.folder.open("wing/control", os.O_WRONLY)
    thing.write(memoryview(b"stop"), 0)
    thing.close()
    assert drops.views.stopped == []
    assert (drops.backing / "wing" / "control").read_bytes() == b"stop"


def test_a_directory_of_one_of_our_names_stays_reachable(drops: Drops) -> None:
    (drops.backing / "wing" / "status").mkdir(parents=True)
    (drops.backing / "wing" / "status" / "x").touch()
    drops.views.statuses["wing"] = b"waiting\n"
    assert stat.S_ISDIR(drops.folder.attributes("wing/status").mode)
    assert drops.names("wing") == ["status"]
    assert drops.names("wing/status") == ["x"]
    with pytest.raises(OSError, match="not empty"):
        drops.folder.remove_folder("wing")


def test_a_drop_with_anything_but_our_names_is_not_removed(drops: Drops) -> None:
    (drops.backing / "wing").mkdir()
    (drops.backing / "wing" / "status").write_text("covered")
    (drops.backing / "wing" / "x").touch()
    drops.views.statuses["wing"] = b"waiting\n"
    with pytest.raises(OSError, match="not empty"):
        drops.folder.remove_folder("wing")
    assert sorted(os.listdir(drops.backing / "wing")) == ["status", "x"]  # noqa: PTH208


HIDDEN = ".fuse_hidden0000000400000001"


def test_a_file_removed_while_open_leaves_no_other_name(drops: Drops) -> None:
    (drops.backing / "wing").mkdir()
    (drops.backing / "wing" / "x").write_bytes(b"hello")
    thing = drops.folder.open("wing/x", os.O_RDWR)
    drops.folder.rename("wing/x", f"wing/{HIDDEN}")  # libfuse's way to remove what is open
    assert drops.names("wing") == []
    assert not drops.files.why_unfinished(drops.backing)
    assert drops.folder.attributes(f"wing/{HIDDEN}").size == 5
    drops.folder.change_mode(f"wing/{HIDDEN}", 0o600)
    assert thing.attributes().mode & 0o777 == 0o600
    drops.folder.rename("wing", "tail")
    assert drops.folder.attributes(f"tail/{HIDDEN}").links == 0
    thing.close()
    with pytest.raises(FileNotFoundError):
        drops.folder.attributes(f"tail/{HIDDEN}")


def test_a_users_own_file_of_such_a_name_is_only_a_file(drops: Drops) -> None:
    (drops.backing / "x").write_bytes(b"precious")
    drops.folder.rename("x", HIDDEN)
    assert (drops.backing / HIDDEN).read_bytes() == b"precious"
    drops.folder.rename(HIDDEN, HIDDEN[:-1] + "2")
    assert drops.names("") == [HIDDEN[:-1] + "2"]


def test_a_file_that_libfuse_still_takes_for_open_is_removed_and_not_renamed(drops: Drops) -> None:
    drops.folder.make_folder("wing", 0o755)
    drops.folder.create("wing/x", os.O_RDWR, 0o600).close()
    drops.folder.rename("wing", "tail")
    drops.folder.rename("tail/x", f"tail/{HIDDEN}")  # it was closed here, and not yet there
    assert drops.names("tail") == []
    drops.folder.remove_folder("tail")


@pytest.mark.parametrize("name", [f".{HIDDEN}.Ab12Cd", "x"])
def test_a_users_own_file_of_such_a_name_that_was_just_written_is_kept(drops: Drops, name: str) -> None:
    file = drops.folder.create(name, os.O_RDWR, 0o600)
    file.write(memoryview(b"precious"), 0)
    file.close()
    put_back = HIDDEN if "fuse" in name else ".fuse_hidden0000000a00001234"  # a number of another mount
    drops.folder.rename(name, put_back)
    assert (drops.backing / put_back).read_bytes() == b"precious"


def test_libfuses_numbers_are_followed_however_far_they_go(drops: Drops) -> None:
    drops.folder.make_folder("wing", 0o755)
    for number in range(1, 200):
        with contextlib.closing(drops.folder.create("wing/open", os.O_RDWR, 0o600)):
            drops.folder.rename("wing/open", f"wing/.fuse_hidden00000004{2 * number:08x}")
        drops.folder.create("wing/closed", os.O_RDWR, 0o600).close()
        drops.folder.rename("wing/closed", f"wing/.fuse_hidden00000004{2 * number + 1:08x}")
        assert drops.names("wing") == []


def test_a_users_own_file_of_such_a_name_keeps_its_folder(drops: Drops) -> None:
    (drops.backing / "wing").mkdir()
    (drops.backing / "wing" / "x").write_bytes(b"precious")
    drops.folder.rename("wing/x", f"wing/{HIDDEN}")
    with pytest.raises(OSError, match="not empty"):
        drops.folder.remove_folder("wing")


def test_a_removed_file_keeps_a_descriptor_only_while_it_is_open(drops: Drops) -> None:
    """libfuse does not remove its name where it has heard of the close too early."""
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    thing = drops.folder.create("x", os.O_RDWR, 0o600)
    drops.folder.rename("x", HIDDEN)
    again = drops.folder.open(HIDDEN, os.O_RDONLY)
    thing.close()
    assert drops.folder.attributes(HIDDEN).links == 0
    again.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_removed_file_that_is_open_can_be_opened_again(drops: Drops) -> None:
    drops.folder.make_folder("wing", 0o755)
    thing = drops.folder.create("wing/x", os.O_RDWR, 0o600)
    thing.write(memoryview(b"abc"), 0)
    drops.folder.rename("wing/x", f"wing/{HIDDEN}")
    again = drops.folder.open(f"wing/{HIDDEN}", os.O_RDONLY)
    buffer = bytearray(3)
    assert again.read_into(memoryview(buffer), 0) == 3
    assert buffer == b"abc"
    again.close()
    thing.close()


def test_a_folder_removed_with_a_hidden_file_in_it_keeps_no_descriptor(drops: Drops) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    drops.folder.make_folder("wing", 0o755)
    thing = drops.folder.create("wing/x", os.O_RDWR, 0o600)
    drops.folder.rename("wing/x", f"wing/{HIDDEN}")
    drops.folder.remove_folder("wing")
    thing.close()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_what_another_user_makes_is_that_users(drops: Drops) -> None:
    is_root = os.geteuid() == 0  # only root may give files away; for others it is their own in any case
    nobody = Owner(65534, 65534) if is_root else Owner(os.geteuid(), os.getegid())
    shared = 12345 if is_root else os.getegid()
    drops.folder.make_folder("wing", 0o755, nobody)
    drops.folder.create("wing/x", os.O_WRONLY, 0o644, nobody).close()
    drops.folder.symlink("wing/link", "x", nobody)
    drops.folder.make_node("wing/pipe", stat.S_IFIFO | 0o600, 0, nobody)
    for name in ("wing", "wing/x", "wing/link", "wing/pipe"):
        found = (drops.backing / name).lstat()
        assert (found.st_uid, found.st_gid) == nobody
    (drops.backing / "shared").mkdir()
    os.chown(drops.backing / "shared", -1, shared)
    (drops.backing / "shared").chmod(0o2777)
    drops.folder.make_folder("shared/x", 0o777, nobody)
    found = (drops.backing / "shared" / "x").stat()
    assert (found.st_gid, found.st_mode & 0o7777) == (shared, 0o2777)


def write_a_file_and_look(folder: DropFolder) -> list[str]:
    """Each way in which descriptors are opened."""
    folder.make_folder("wing", 0o755)
    file = folder.create("wing/mesh.msh", os.O_WRONLY, 0o644)
    file.write(memoryview(b"abc"), 0)
    file.flush()
    file.close()
    folder.change_mode("wing/mesh.msh", 0o600)
    reader = folder.open("wing/mesh.msh", os.O_RDONLY)
    assert reader.read_into(memoryview(bytearray(3)), 0) == 3
    reader.close()
    opened = folder.open_folder("wing")
    try:
        return [entry.name for entry in opened.entries() if stat.S_ISREG(entry.mode)]
    finally:
        opened.close()


def test_where_no_descriptor_is_left_some_are_closed_for_the_drop_folder(
    drops: Drops, monkeypatch: pytest.MonkeyPatch
) -> None:
    used_up, refused = [True], []

    def refusing(act: Callable[..., Any]) -> Callable[..., Any]:
        def refuse(*arguments: Any, **options: Any) -> Any:
            if used_up[0]:
                refused.append(act.__name__)
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            used_up[0] = True  # the one that was closed is in use again
            return act(*arguments, **options)

        return refuse

    def close_one() -> None:
        used_up[0] = False

    drops.descriptors.reclaim_with(close_one)
    with monkeypatch.context() as patched:
        for act in (os.open, os.dup, os.scandir):
            patched.setattr(os, act.__name__, refusing(act))
        assert "mesh.msh" in write_a_file_and_look(drops.folder)
    assert {"open", "dup", "scandir"} <= set(refused)
    assert drops.files.why_unfinished(drops.backing / "wing") == ""


def test_a_close_for_which_there_is_no_descriptor_says_nothing_of_the_file(
    drops: Drops, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    drops.folder.make_folder("wing", 0o755)
    file = drops.folder.create("wing/mesh.msh", os.O_WRONLY, 0o644)
    with monkeypatch.context() as patched:
        patched.setattr(os, "dup", refuse)
        with pytest.raises(OSError, match="Too many open files"):
            file.flush()
    file.close()
    assert drops.files.why_unfinished(drops.backing / "wing") == ""
