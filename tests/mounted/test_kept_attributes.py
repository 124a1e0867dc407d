"""submit/ keeps access control lists and the user's attributes as the backing directory does."""

from __future__ import annotations

import errno
import os
import struct
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from rescalefs.mount.dropfolder import ACLS
from tests.mounted.account import MountedAccount, as_nobody
from tests.mounted.conftest import MountNow

pytestmark = pytest.mark.fuse

ACCESS, DEFAULT = sorted(ACLS)
ALL = 0xFFFFFFFF


def acl(*entries: tuple[int, int, int]) -> bytes:
    """Entries of tag, permissions and id, as the kernel takes them (<linux/posix_acl_xattr.h>)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


# The owner reads and writes, user 1000 reads, the group nothing; the mask allows all that.
LIST = acl((1, 6, ALL), (2, 4, 1000), (4, 0, ALL), (16, 6, ALL), (32, 0, ALL))


@dataclass
class Sides:
    """The same disk, seen through the mount and plainly."""

    submit: Path
    backing: Path
    plain: Path

    @property
    def both(self) -> tuple[Path, Path]:
        return self.submit, self.plain


@pytest.fixture
def sides(tmp_path: Path, mount: MountNow) -> Sides:
    backing, plain = tmp_path / "backing", tmp_path / "plain"
    for folder in (backing, plain, tmp_path / "views"):
        folder.mkdir()
    mountpoint = tmp_path / "mnt"
    mount(["-m", "tests.mounted.drop_daemon", str(mountpoint), str(backing)], mountpoint)
    return Sides(mountpoint / "submit", backing, plain)


def ended(call: Callable[[], object]) -> int:
    """The errno with which a call ends; 0 for none."""
    try:
        call()
    except OSError as error:
        return error.errno or 0
    return 0


def outcome(path: Path, name: str, value: bytes) -> tuple[int, bytes, list[str]]:
    """What setting an attribute ends with, what is read back, and which names there are of those we keep."""
    try:
        os.setxattr(path, name, value)
        read = os.getxattr(path, name)
    except OSError as error:
        return error.errno or 0, b"", []
    return 0, read, [each for each in os.listxattr(path) if each.startswith("user.") or each in ACLS]


def test_attributes_are_kept_where_the_disk_of_the_backing_directory_keeps_them(sides: Sides) -> None:
    found = []
    for folder in sides.both:
        (folder / "mesh.msh").write_bytes(b"mesh")
        (folder / "deep").mkdir()
        found.append(
            [
                outcome(folder / "mesh.msh", "user.origin", b"gmsh 4.12\0\xff"),
                outcome(folder / "mesh.msh", "user.empty", b""),
                outcome(folder / "mesh.msh", ACCESS, LIST),
                outcome(folder / "deep", DEFAULT, LIST),
                outcome(folder / "mesh.msh", DEFAULT, LIST),
                outcome(folder / "mesh.msh", "user.huge", bytes(70_000)),
                (folder / "mesh.msh").stat().st_mode,
            ]
        )
    assert found[0] == found[1]


def test_an_attribute_can_be_replaced_and_removed_with_the_disks_own_errors(sides: Sides) -> None:
    found = []
    for folder in sides.both:
        file = folder / "mesh.msh"
        file.write_bytes(b"mesh")
        calls: list[Callable[[], object]] = [
            partial(os.setxattr, file, "user.a", b"3", os.XATTR_CREATE),
            partial(os.setxattr, file, "user.b", b"3", os.XATTR_REPLACE),
            partial(os.removexattr, file, "user.a"),
            partial(os.removexattr, file, "user.a"),
            partial(os.getxattr, file, "user.a"),
            partial(os.getxattr, file, ACCESS),
        ]
        set_twice = [outcome(file, "user.a", b"1"), outcome(file, "user.a", b"22")]
        found.append((set_twice, [ended(call) for call in calls]))
    assert found[0] == found[1]


@pytest.mark.parametrize("command", ["cp -a SOURCE TARGET", "rsync -aAX SOURCE/ TARGET"])
def test_a_folder_with_lists_and_attributes_is_copied_without_an_error(sides: Sides, command: str) -> None:
    source = sides.plain / "source"
    (source / "deep").mkdir(parents=True)
    (source / "deep" / "mesh.msh").write_bytes(b"mesh")
    for path, name, value in (
        (source / "deep" / "mesh.msh", "user.origin", b"gmsh"),
        (source / "deep" / "mesh.msh", ACCESS, LIST),
        (source / "deep", DEFAULT, LIST),
    ):
        outcome(path, name, value)
    endings = []
    for folder in sides.both:
        target = folder / "wing"
        words = command.replace("SOURCE", str(source)).replace("TARGET", str(target)).split()
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        file = target / "deep" / "mesh.msh"
        kept = {
            name: os.getxattr(file, name) for name in os.listxattr(file) if name in (ACCESS, "user.origin")
        }
        endings.append((done.returncode, done.stderr, kept, file.stat().st_mode))
    assert endings[0] == endings[1]
    assert endings[0][0] == 0


def test_attributes_that_give_rights_to_programs_are_refused(sides: Sides) -> None:
    file = sides.submit / "run"
    file.write_bytes(b"#!/bin/sh\n")
    # The kernel itself keeps some of them from an ordinary user: EPERM for a change, ENODATA for a look.
    numbers = (errno.EOPNOTSUPP,) if os.geteuid() == 0 else (errno.EOPNOTSUPP, errno.EPERM, errno.ENODATA)
    refused = "|".join(map(os.strerror, numbers))
    for name in ("security.other", "trusted.overlay.opaque", "security.selinux", "system.other"):
        with pytest.raises(OSError, match=refused):
            os.setxattr(file, name, b"x")
        with pytest.raises(OSError, match=refused):
            os.getxattr(file, name)
    assert os.listxattr(sides.backing / "run") == []


def test_no_link_is_followed_and_a_file_that_was_removed_while_open_keeps_its_attributes(
    sides: Sides,
) -> None:
    outside = sides.plain / "outside"
    outside.write_bytes(b"not ours")
    (sides.backing / "link").symlink_to(outside)
    with pytest.raises(OSError, match=r"not permitted|not supported"):
        os.setxattr(sides.submit / "link", "user.a", b"1", follow_symlinks=False)
    assert os.listxattr(outside) == []
    expected = outcome(sides.plain / "outside", "user.a", b"1")
    with (sides.submit / "open").open("wb") as file:
        (sides.submit / "open").unlink()
        assert ended(lambda: os.setxattr(file.fileno(), "user.a", b"1")) == expected[0]
        assert os.listxattr(file.fileno()) == expected[2]


def test_names_of_ours_have_no_attributes_and_take_those_of_what_they_cover(sides: Sides) -> None:
    (sides.backing / "wing").mkdir()
    (sides.backing / "wing" / "status").write_text("covered\n")
    (sides.backing.parent / "views" / "wing.status").write_text("Completed\n")
    status = sides.submit / "wing" / "status"
    while status.read_text() != "Completed\n":
        pass
    os.setxattr(status, "user.a", b"1")
    assert os.listxattr(status) == []
    with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
        os.getxattr(status, "user.a")
    assert os.listxattr(sides.backing / "wing" / "status") == ["user.a"]


def test_outside_of_submit_there_are_none(sides: Sides) -> None:
    for call in (
        os.listxattr,
        lambda path: os.getxattr(path, ACCESS),
        lambda path: os.setxattr(path, "user.a", b""),
    ):
        with pytest.raises(OSError, match=os.strerror(errno.EOPNOTSUPP)):
            call(sides.submit.parent / "outputs" / "good")


@pytest.fixture
def reachable(account: MountedAccount) -> MountedAccount:
    """An account that other users may look into, if root runs the test."""
    account.run("umount", str(account.root))
    return account


def test_with_allow_other_the_kernel_goes_by_the_lists(reachable: MountedAccount) -> None:
    """Root becomes another user; for an ordinary user, who cannot, the lists are kept as without the flag."""
    is_root = os.geteuid() == 0
    reachable.mount(*(("--allow-other",) if is_root else ()))
    drop = reachable.root / "submit" / "wing"
    drop.mkdir()
    drop.parent.chmod(0o755)
    lists = {
        "granted": acl((1, 6, ALL), (2, 4, 65534), (4, 0, ALL), (16, 4, ALL), (32, 0, ALL)),
        "denied": acl((1, 6, ALL), (2, 0, 65534), (4, 4, ALL), (16, 4, ALL), (32, 4, ALL)),
    }
    for name, entries in lists.items():
        (drop / name).write_text(name)
        (reachable.work / name).write_text(name)
        assert outcome(drop / name, ACCESS, entries) == outcome(reachable.work / name, ACCESS, entries)
    if is_root and os.listxattr(drop / "granted"):
        assert as_nobody(reachable.root, "cat", "submit/wing/granted").stdout == "granted"
        assert "Permission denied" in as_nobody(reachable.root, "cat", "submit/wing/denied").stderr
        assert as_nobody(reachable.root, "cat", ".rescalefs/status").returncode == 0
