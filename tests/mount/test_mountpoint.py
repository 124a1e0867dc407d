from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rescalefs.errors import CannotMount
from rescalefs.mount import mountpoint
from rescalefs.mount.mountpoint import MountEntry, absolute, holders, is_mounted, is_stale, mount_at, prepare


def test_the_systems_own_mounts_are_known_and_are_not_ours() -> None:
    proc = mount_at(Path("/proc"))
    assert proc is not None
    assert (proc.kind, proc.is_ours) == ("proc", False)
    assert not is_mounted(Path("/proc"))
    assert MountEntry(Path("/x"), "fuse.rescalefs", "rescalefs").is_ours
    assert mount_at(Path("/proc/self")) is None
    assert not is_stale(Path("/proc"))


@pytest.mark.parametrize(
    ("options", "closed"),
    [
        (("rw", f"user_id={os.geteuid()}", "group_id=0"), False),
        (("rw", f"user_id={os.geteuid() + 1}", "group_id=0"), True),
        (("rw", f"user_id={os.geteuid() + 1}", "group_id=0", "allow_other"), False),
        (("rw",), False),
    ],
)
def test_a_mount_of_another_user_is_closed_unless_it_allows_others(
    options: tuple[str, ...], closed: bool
) -> None:
    entry = MountEntry(Path("/x"), "fuse.rescalefs", "rescalefs", frozenset(options))
    assert entry.is_closed_to_us is closed


def test_mounts_of_other_users_are_none_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = MountEntry(Path("/x"), "fuse.rescalefs", "rescalefs", frozenset({"user_id=77", "allow_other"}))
    closed = MountEntry(Path("/y"), "fuse.rescalefs", "rescalefs", frozenset({"user_id=77"}))
    monkeypatch.setattr(mountpoint, "mounts", lambda: iter([shared, closed]))
    assert mountpoint.our_mounts() == [shared]


def test_blanks_in_a_mountpoint_are_read_as_mountinfo_writes_them() -> None:
    assert mountpoint._unescaped(r"/mnt/a\040b\011\134040") == "/mnt/a b\t\\040"


def test_the_real_path_is_found_without_touching_the_mountpoint_itself(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert absolute(tmp_path / "link" / "mnt") == (tmp_path / "real" / "mnt").resolve()
    assert absolute(tmp_path / "real" / ".." / "mnt") == tmp_path.resolve() / "mnt"


def test_a_folder_that_is_missing_is_made_and_one_that_is_there_is_used(tmp_path: Path) -> None:
    assert prepare(tmp_path / "mnt")
    assert not prepare(tmp_path / "mnt")


def test_what_is_not_fit_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place, why in [
        (tmp_path, "it is not empty. Choose an empty folder"),
        (tmp_path / "file", "it is not a directory"),
        (tmp_path / "no" / "mnt", "No such file or directory. Make the folder first"),
        (Path("/proc"), r"is already mounted there\. First: umount /proc"),
    ]:
        with pytest.raises(CannotMount, match=rf"cannot mount on {place}: .*{why}"):
            prepare(place)


def test_who_is_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with (tmp_path / "x").open():
        assert any(f"({os.getpid()})" in name for name in holders(tmp_path))
    with subprocess.Popen(["cat"], cwd=tmp_path, stdin=subprocess.PIPE) as inside:
        assert f"cat ({inside.pid})" in holders(tmp_path)
    assert holders(tmp_path / "other") == []


def test_detaching_what_is_not_mounted_says_so(tmp_path: Path) -> None:
    with pytest.raises(CannotMount, match=f"cannot unmount {tmp_path}: ."):
        mountpoint.detach(tmp_path)


def test_folders_dropped_while_nothing_was_mounted_are_pointed_out(tmp_path: Path) -> None:
    (tmp_path / "submit" / "wing").mkdir(parents=True)
    with pytest.raises(CannotMount, match="was not submitted: move it away"):
        prepare(tmp_path)


def test_a_closed_fuse_device_is_refused_with_the_command_that_opens_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(CannotMount, match=r"may not be opened by you.*\(chmod 666 /dev/fuse, as root\)"):
        mountpoint.check_fuse()
