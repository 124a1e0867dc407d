from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rescalefs.errors import (
    FileChanged,
    IsADirectory,
    NoSuchPath,
    NotADirectory,
    NotYetUploaded,
    ReadOnly,
    SizeUnknown,
)
from rescalefs.model import LiveFile, RemoteFile
from rescalefs.mount import DropFolder, FileSystem, OpenFiles
from rescalefs.mount.errnos import errno_for
from rescalefs.reading import Verification
from rescalefs.tree import nodes
from tests.fakes import FakeClock
from tests.mount.trees import (
    WHEN,
    WRITTEN,
    FixedTree,
    FixedViews,
    MemoryFile,
    MemoryLive,
    MemoryReading,
    folder,
    remote,
    text,
)

BYTES = os.urandom(5000)
RESULT = RemoteFile("f1", "result.dat", "result.dat", len(BYTES), "ab" * 64)


class Mount:
    """A file system over a small tree, and a drop folder in a real directory."""

    def __init__(self, backing: Path) -> None:
        outputs: dict[str, nodes.Node] = {
            "result.dat": remote(RESULT),
            "growing": remote(RESULT, final=False),
            "pending": remote(RemoteFile("f2", "pending", "pending", 10)),
            "unmeasured": remote(RemoteFile("f1", "unmeasured", "unmeasured", None)),
        }
        job: dict[str, nodes.Node] = {"status": text("s", b"Completed\n"), "outputs": folder("o", outputs)}
        job["residuals.log"] = nodes.LiveNode(4712, WHEN, LiveFile("aBc", "1", "residuals.log"))
        entries: dict[str, nodes.Node] = {
            "jobs": folder("jobs", {"aBc": folder("aBc", job)}),
            "latest": nodes.LinkNode(4711, WHEN, "jobs/aBc"),
        }
        self.file = MemoryFile(BYTES)
        self.reading = MemoryReading({"f1": self.file, "f2": NotYetUploaded("later")})
        self.live = MemoryLive({"residuals.log": b"step 1\n"})
        self.views = FixedViews()
        self.files = OpenFiles(backing)
        self.drops = DropFolder(backing, self.views, self.files, FakeClock())
        self.tree = FixedTree(entries)
        self.fs = FileSystem(self.tree, self.reading, self.live, self.drops)

    def read(self, handle: int, size: int, offset: int = 0) -> bytes:
        buffer = bytearray(size)
        return bytes(buffer[: self.fs.read_into(handle, memoryview(buffer), offset)])


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    mount = Mount(tmp_path)
    yield mount
    mount.drops.close()


def test_what_stat_tells_of_the_tree_is_true(mount: Mount) -> None:
    result = mount.fs.attributes("/jobs/aBc/outputs/result.dat")
    assert (result.mode, result.size, result.blocks, result.links) == (stat.S_IFREG | 0o644, 5000, 10, 1)
    assert (result.uid, result.gid, result.mtime_ns) == (os.geteuid(), os.getegid(), WHEN)
    root = mount.fs.attributes("/")
    assert (root.mode, root.inode, root.links) == (stat.S_IFDIR | 0o755, 1, 2 + 2)
    link = mount.fs.attributes("/latest")
    assert (link.mode, link.size, link.inode) == (stat.S_IFLNK | 0o777, len("jobs/aBc"), 4711)
    assert mount.fs.attributes("/jobs/aBc/status").size == len(b"Completed\n")
    assert stat.S_ISDIR(mount.fs.attributes("/submit").mode)
    assert mount.fs.read_link("/latest") == "jobs/aBc"


def test_a_folder_lists_each_name_with_the_type_and_inode_that_stat_tells(mount: Mount) -> None:
    for path in ("/", "/jobs/aBc", "/jobs/aBc/outputs"):
        handle = mount.fs.open_folder(path)
        for name, inode, mode in mount.fs.entries(handle):
            told = mount.fs.attributes(f"{path.rstrip('/')}/{name}")
            assert (inode, stat.S_IFMT(mode)) == (told.inode, stat.S_IFMT(told.mode))
        mount.fs.sync_folder(handle)
        mount.fs.close_folder(handle)


def test_a_remote_file_is_read_and_closed(mount: Mount) -> None:
    opened = mount.fs.open("/jobs/aBc/outputs/result.dat", os.O_RDONLY)
    assert not opened.direct_io
    assert mount.read(opened.handle, 100, 4950) == BYTES[4950:]
    assert mount.fs.handle_attributes(opened.handle).size == 5000
    mount.fs.close(opened.handle)
    assert mount.file.closed
    assert mount.fs.open("/jobs/aBc/outputs/result.dat", os.O_RDONLY).keep_cache


@pytest.mark.parametrize(
    ("verdict", "kept"),
    [
        (Verification.YES, True),
        (Verification.UNAVAILABLE, True),
        (Verification.PARTIAL, False),
        (Verification.NO, False),
        (Verification.FAILED, False),
    ],
)
def test_the_kernel_keeps_only_what_was_confirmed(mount: Mount, verdict: Verification, kept: bool) -> None:
    mount.reading.verdict = verdict
    for trusting in (False, True):
        fs = FileSystem(mount.tree, mount.reading, mount.live, mount.drops, keep_unconfirmed=trusting)
        fs.close(fs.open("/jobs/aBc/outputs/result.dat", os.O_RDONLY).handle)
        assert fs.open("/jobs/aBc/outputs/result.dat", os.O_RDONLY).keep_cache is (kept or trusting)


def test_what_may_still_change_goes_past_the_kernels_pages(mount: Mount) -> None:
    assert mount.fs.open("/jobs/aBc/outputs/growing", os.O_RDONLY).direct_io
    assert mount.fs.open("/jobs/aBc/outputs/unmeasured", os.O_RDONLY).direct_io
    assert mount.fs.open("/jobs/aBc/status", os.O_RDONLY).direct_io


def test_a_size_that_the_listing_does_not_tell_is_asked_for_and_never_shown_as_0(mount: Mount) -> None:
    assert mount.fs.attributes("/jobs/aBc/outputs/unmeasured").size == len(BYTES)
    mount.reading.files["f1"] = SizeUnknown("the server does not tell")
    with pytest.raises(SizeUnknown) as raised:
        mount.fs.attributes("/jobs/aBc/outputs/unmeasured")
    assert errno_for(raised.value) == errno.EAGAIN


def test_a_text_is_as_it_was_when_it_was_opened(mount: Mount) -> None:
    now = [b"Executing\n"]
    tree = FixedTree({"status": nodes.TextNode(9, lambda: nodes.Text(now[0], WHEN))})
    mount.fs = FileSystem(tree, mount.reading, mount.live, mount.drops)
    opened = mount.fs.open("/status", os.O_RDONLY)
    now[0] = b"Completed, at last\n"
    assert mount.read(opened.handle, 100) == b"Executing\n"
    assert mount.fs.attributes("/status").size == len(now[0])


def test_errors_of_the_tree_and_the_reader_pass(mount: Mount) -> None:
    with pytest.raises(NoSuchPath):
        mount.fs.attributes("/jobs/none")
    with pytest.raises(NotYetUploaded):
        mount.fs.open("/jobs/aBc/outputs/pending", os.O_RDONLY)
    with pytest.raises(NotADirectory):
        mount.fs.open_folder("/jobs/aBc/status")
    with pytest.raises(IsADirectory):
        mount.fs.open("/jobs", os.O_RDONLY)
    with pytest.raises(OSError, match="Invalid argument"):
        mount.fs.read_link("/jobs")
    opened = mount.fs.open("/jobs/aBc/outputs/result.dat", os.O_RDONLY)
    mount.file.failure = FileChanged("another version")
    with pytest.raises(FileChanged):
        mount.read(opened.handle, 10)


STATUS = "/jobs/aBc/status"


@pytest.mark.parametrize(
    "call",
    [
        lambda fs: fs.open(STATUS, os.O_WRONLY),
        lambda fs: fs.open(STATUS, os.O_RDWR),
        lambda fs: fs.open(STATUS, os.O_RDONLY | os.O_TRUNC),
        lambda fs: fs.create("/jobs/new", os.O_WRONLY, 0o644),
        lambda fs: fs.make_folder("/new", 0o755),
        lambda fs: fs.make_folder("/submit", 0o755),
        lambda fs: fs.make_folder("/submitted", 0o755),
        lambda fs: fs.make_node("/x", stat.S_IFIFO, 0),
        lambda fs: fs.symlink("/x", "y"),
        lambda fs: fs.link(STATUS, "/jobs/x"),
        lambda fs: fs.unlink(STATUS),
        lambda fs: fs.remove_folder("/submit"),
        lambda fs: fs.rename(STATUS, "/jobs/x"),
        lambda fs: fs.rename("/submit/x", "/jobs/x"),
        lambda fs: fs.rename("/submit", "/jobs/x"),
        lambda fs: fs.truncate(STATUS, 0),
        lambda fs: fs.change_mode(STATUS, 0o777),
        lambda fs: fs.change_owner(STATUS, 0, 0),
        lambda fs: fs.change_times(STATUS, (0, 0), (0, 0)),
        lambda fs: fs.access(STATUS, os.W_OK),
    ],
)
def test_only_the_drop_folder_takes_writes(mount: Mount, call: Callable[[FileSystem], object]) -> None:
    with pytest.raises(ReadOnly, match="only submit/ takes writes"):
        call(mount.fs)


def test_moving_out_of_the_tree_means_copying(mount: Mount) -> None:
    for call in (mount.fs.rename, mount.fs.link):
        with pytest.raises(OSError, match=r".") as caught:
            call(STATUS, "/submit/x")
        assert errno_for(caught.value) == errno.EXDEV


def test_access_tells_what_may_be_done(mount: Mount) -> None:
    mount.fs.access(STATUS, os.R_OK)
    mount.fs.access("/jobs", os.R_OK | os.X_OK)
    with pytest.raises(PermissionError):
        mount.fs.access(STATUS, os.X_OK)
    with pytest.raises(NoSuchPath):
        mount.fs.access("/jobs/none", os.F_OK)
    mount.fs.access("/submit", os.W_OK)


def test_a_file_is_dropped(mount: Mount, tmp_path: Path) -> None:
    fs = mount.fs
    fs.make_folder("/submit/wing", 0o755)
    handle = fs.create("/submit/wing/x", os.O_RDWR, 0o640).handle
    assert fs.write(handle, memoryview(b"hello world"), 0) == 11
    assert mount.files.why_unfinished(tmp_path / "wing")
    fs.sync(handle, only_data=False)
    fs.truncate_handle(handle, 5)
    fs.allocate(handle, 1, 0, 4096)  # FALLOC_FL_KEEP_SIZE
    assert fs.handle_attributes(handle).size == 5
    assert mount.read(handle, 100) == b"hello"
    fs.close(handle)
    assert not mount.files.why_unfinished(tmp_path / "wing")
    assert (tmp_path / "wing" / "x").read_bytes() == b"hello"
    fs.truncate("/submit/wing/x", 1)
    fs.change_mode("/submit/wing/x", 0o600)
    fs.change_owner("/submit/wing/x", -1, os.getegid())
    fs.change_times("/submit/wing/x", (1, 2), (3, 4))
    told = fs.attributes("/submit/wing/x")
    assert (told.size, told.mode & 0o777) == (1, 0o600)
    assert (told.atime_ns, told.mtime_ns) == (1_000_000_002, 3_000_000_004)
    assert not fs.open("/submit/wing/x", os.O_RDONLY).direct_io
    disk = os.statvfs(tmp_path)
    assert (fs.space().f_frsize, fs.space().f_files) == (disk.f_frsize, disk.f_files)
    assert fs.space().f_blocks == fs.space().f_bfree  # nothing is cached


def test_a_live_file_grows_under_whoever_has_it_open(mount: Mount) -> None:
    opened = mount.fs.open("/jobs/aBc/residuals.log", os.O_RDONLY)
    assert opened.direct_io
    assert mount.fs.handle_attributes(opened.handle).size == 7
    assert mount.read(opened.handle, 100) == b"step 1\n"
    mount.live.files["residuals.log"] += b"step 2\n"
    assert mount.fs.attributes("/jobs/aBc/residuals.log").size == 14
    assert mount.fs.handle_attributes(opened.handle).mtime_ns == nodes.nanoseconds(WRITTEN)
    assert mount.read(opened.handle, 100, 7) == b"step 2\n"
    assert mount.read(opened.handle, 100, 14) == b""
    mount.fs.close(opened.handle)


def test_a_live_file_that_is_open_is_found_by_its_path_until_it_is_closed(mount: Mount) -> None:
    path = "/jobs/aBc/residuals.log"
    opened = [mount.fs.open(path, os.O_RDONLY).handle for _ in range(2)]
    mount.tree.take_away(path)
    for handle in opened:
        assert mount.fs.attributes(path).size == 7
        with pytest.raises(NoSuchPath):
            mount.fs.open(path, os.O_RDONLY)
        mount.fs.close(handle)
    with pytest.raises(NoSuchPath):
        mount.fs.attributes(path)


def test_a_live_file_is_not_written_to(mount: Mount) -> None:
    with pytest.raises(ReadOnly):
        mount.fs.open("/jobs/aBc/residuals.log", os.O_WRONLY)
