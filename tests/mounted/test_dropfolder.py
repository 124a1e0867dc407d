"""submit/ through the kernel: ordinary tools and system calls find a local directory there."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import signal
import stat
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from rescalefs.errors import CannotMount
from rescalefs.mount import is_mounted, umount
from tests.mounted.conftest import Mounted, MountNow

pytestmark = pytest.mark.fuse

DAEMON = ["-m", "tests.mounted.drop_daemon"]


@dataclass
class Drops:
    """A mounted drop folder, seen from both sides."""

    mounted: Mounted
    path: Path  # submit/ in the mount
    backing: Path
    views: Path

    def tell(self, drop: str, **views: str) -> None:
        """Let the daemon tell this about a drop: ``status=``, ``log=``, ``job=``."""
        for name, content in views.items():
            (self.views / f"{drop}.{name}").write_text(content)

    def finished(self, name: str) -> Path:
        """A drop that was put into the backing directory and has all three of our names."""
        (self.backing / name / "mesh").mkdir(parents=True)
        (self.backing / name / "job.json").write_text("{}")
        (self.backing / name / "mesh" / "wing.msh").write_bytes(os.urandom(300_000))
        self.tell(name, status="Completed\n", log="12:00 waiting\n12:01 Completed\n", job="aBcDe")
        return self.path / name


@pytest.fixture
def drops(tmp_path: Path, mount: MountNow) -> Drops:
    return start(tmp_path, mount, quiet="0.3")


@pytest.fixture
def patient_drops(tmp_path: Path, mount: MountNow) -> Drops:
    """A drop just made stays without our names for as long as the test takes."""
    return start(tmp_path, mount, quiet="3600")


def start(tmp_path: Path, mount: MountNow, quiet: str) -> Drops:
    backing, views = tmp_path / "backing", tmp_path / "views"
    backing.mkdir()
    views.mkdir()
    mountpoint = tmp_path / "mnt"
    mounted = mount([*DAEMON, str(mountpoint), str(backing), quiet], mountpoint)
    return Drops(mounted, mountpoint / "submit", backing, views)


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Run a tool that has to succeed and to keep quiet on stderr."""
    done = subprocess.run(
        [str(each) for each in command], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, ""), command
    return done.stdout


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def fails_with(number: int, call: Callable[[], object]) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        call()
    assert caught.value.errno == number, caught.value


# --- tools


def test_a_folder_copied_in_arrives_byte_for_byte(drops: Drops, tmp_path: Path) -> None:
    source = tmp_path / "wing"
    (source / "deep" / "er").mkdir(parents=True)
    (source / "deep" / "er" / "mesh").write_bytes(os.urandom(2_000_001))
    (source / "empty").touch()
    (source / "link").symlink_to("deep/er/mesh")
    run("cp", "-a", source, drops.path)
    run("diff", "-r", "--no-dereference", source, drops.path / "wing")
    run("diff", "-r", "--no-dereference", source, drops.backing / "wing")


def test_rsync_a_leaves_nothing_to_do_for_a_second_rsync(drops: Drops, tmp_path: Path) -> None:
    source = tmp_path / "wing"
    source.mkdir()
    (source / "a").write_bytes(os.urandom(100_000))
    (source / "b").symlink_to("a")
    os.link(source / "a", source / "c")
    os.utime(source / "a", ns=(1_111_111_111_123_456_789, 1_222_222_222_987_654_321))
    run("rsync", "-aH", f"{source}/", f"{drops.path}/wing/")
    assert run("rsync", "-aHi", f"{source}/", f"{drops.path}/wing/") == ""
    assert run("rsync", "-aHic", f"{drops.path}/wing/", f"{source}/") == ""


def test_tar_unpacks_into_it(drops: Drops, tmp_path: Path) -> None:
    source = tmp_path / "wing"
    source.mkdir()
    (source / "status").write_text("a user's own file of this name")
    (source / "input").write_bytes(os.urandom(50_000))
    run("tar", "-cf", tmp_path / "wing.tar", "-C", tmp_path, "wing")
    run("tar", "-xf", tmp_path / "wing.tar", "-C", drops.path)
    run("diff", "-r", source, drops.backing / "wing")


def test_mv_within_and_out_of_it(drops: Drops, tmp_path: Path) -> None:
    (drops.path / "a").mkdir()
    (drops.path / "a" / "x").write_text("x")
    run("mv", drops.path / "a", drops.path / "b")
    run("mv", drops.path / "b" / "x", drops.path / "y")
    run("mv", drops.path / "y", drops.path / "b" / "z")
    run("mv", drops.path / "b", tmp_path / "out")
    assert (tmp_path / "out" / "z").read_text() == "x"
    assert list(drops.backing.iterdir()) == []


def test_sparse_files_stay_sparse(drops: Drops) -> None:
    run("truncate", "-s", "1G", drops.path / "big")
    run("dd", "if=/dev/zero", f"of={drops.path}/holes", "bs=4k", "count=1", "seek=100000", "status=none")
    for name in ("big", "holes"):
        seen, real = (drops.path / name).stat(), (drops.backing / name).stat()
        assert (seen.st_size, seen.st_blocks) == (real.st_size, real.st_blocks)
        assert seen.st_blocks * 512 < 100_000


def test_touch_sets_nanoseconds_and_one_time_alone(drops: Drops) -> None:
    file = drops.path / "x"
    run("touch", "-d", "2001-02-03T04:05:06.123456789Z", file)
    assert file.stat().st_mtime_ns == 981_173_106_123_456_789
    run("touch", "-a", "-d", "1960-01-01T00:00:00.5Z", file)
    assert file.stat().st_mtime_ns == 981_173_106_123_456_789
    assert file.stat().st_atime_ns == -315_619_199_500_000_000
    before = file.stat().st_atime_ns
    run("touch", "-m", file)
    assert file.stat().st_atime_ns == before
    assert file.stat().st_mtime_ns > 1_700_000_000 * 10**9
    link = drops.path / "link"
    link.symlink_to("x")
    run("touch", "-h", "-d", "2005-01-01T00:00:00Z", link)
    assert link.lstat().st_mtime == 1_104_537_600
    assert file.stat().st_mtime_ns > 1_700_000_000 * 10**9


def test_df_tells_of_the_disk_that_takes_the_bytes(drops: Drops) -> None:
    assert os.statvfs(drops.path).f_files == os.statvfs(drops.backing).f_files
    assert "rescalefs" in run("df", drops.mounted.path)


# --- system calls


def test_a_name_can_be_created_exclusively_only_once(drops: Drops) -> None:
    os.close(os.open(drops.path / "x", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    fails_with(errno.EEXIST, lambda: os.open(drops.path / "x", os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    fails_with(errno.EEXIST, lambda: (drops.path / "x").mkdir())
    fails_with(errno.ENOTDIR, lambda: os.open(drops.path / "x", os.O_DIRECTORY))
    fails_with(errno.ENOENT, lambda: os.open(drops.path / "no" / "x", os.O_CREAT))


def test_two_that_append_do_not_overwrite_each_other(drops: Drops) -> None:
    with (
        (drops.path / "log").open("ab", buffering=0) as one,
        (drops.path / "log").open("ab", buffering=0) as two,
    ):
        for number in range(20):
            (one if number % 2 else two).write(b"%02d\n" % number)
    assert (drops.backing / "log").read_bytes() == b"".join(b"%02d\n" % number for number in range(20))


def test_an_open_file_outlives_its_name(drops: Drops) -> None:
    (drops.path / "wing").mkdir()
    with (drops.path / "wing" / "x").open("w+b", buffering=0) as file:
        file.write(b"before")
        (drops.path / "wing" / "x").unlink()
        assert list((drops.backing / "wing").iterdir()) == []
        file.write(b" and after")
        assert os.fstat(file.fileno()).st_size == 16
        assert os.fstat(file.fileno()).st_nlink == 0
        os.fchmod(file.fileno(), 0o600)
        file.truncate(9)
        assert os.pread(file.fileno(), 100, 0) == b"before an"
        (drops.path / "wing").rmdir()
        assert os.pread(file.fileno(), 100, 0) == b"before an"


def test_renaming_over_an_open_file_replaces_it(drops: Drops) -> None:
    (drops.path / "new").write_text("new")
    (drops.path / "old").write_text("old")
    with (drops.path / "old").open() as file:
        (drops.path / "new").rename(drops.path / "old")
        assert file.read() == "old"
    assert (drops.path / "old").read_text() == "new"
    assert [each.name for each in drops.backing.iterdir()] == ["old"]


def test_a_shared_mapping_writes_through(drops: Drops) -> None:
    with (drops.path / "x").open("w+b") as file:
        file.truncate(10_000)
        with mmap.mmap(file.fileno(), 10_000) as view:
            view[5_000:5_005] = b"hello"
            view.flush()
    assert (drops.backing / "x").read_bytes()[4_999:5_006] == b"\0hello\0"


def test_mode_owner_and_links_are_the_backing_files_own(drops: Drops) -> None:
    file = drops.path / "x"
    os.close(os.open(file, os.O_CREAT | os.O_WRONLY, 0o751))
    assert stat.S_IMODE(file.stat().st_mode) == 0o751 & ~_umask()
    file.chmod(0o4610)
    os.link(file, drops.path / "y")
    seen, real = (drops.path / "y").stat(), (drops.backing / "x").stat()
    assert seen.st_mode == real.st_mode
    assert (seen.st_ino, seen.st_nlink, seen.st_uid, seen.st_gid) == (
        real.st_ino,
        2,
        real.st_uid,
        real.st_gid,
    )
    os.chown(file, os.getuid(), os.getgid())
    assert file.samefile(drops.path / "y")


def test_all_the_bits_of_a_mode_arrive_when_the_caller_has_no_umask(drops: Drops) -> None:
    script = "import os,sys; os.umask(0); os.mkdir('d', 0o777); os.close(os.open('f', os.O_CREAT, 0o666))"
    run("python3", "-c", script, cwd=drops.path)
    assert stat.S_IMODE((drops.backing / "d").stat().st_mode) == 0o777
    assert stat.S_IMODE((drops.backing / "f").stat().st_mode) == 0o666


def test_fifos_can_be_made_and_used(drops: Drops) -> None:
    os.mkfifo(drops.path / "pipe")
    assert stat.S_ISFIFO((drops.backing / "pipe").stat().st_mode)
    reader = subprocess.Popen(["cat", drops.path / "pipe"], stdout=subprocess.PIPE)
    (drops.path / "pipe").write_bytes(b"through")
    assert reader.communicate()[0] == b"through"


def test_space_is_allocated_and_holes_are_punched(drops: Drops) -> None:
    run("fallocate", "-l", "1M", drops.path / "x")
    assert (drops.backing / "x").stat().st_blocks >= 2048
    run("fallocate", "--punch-hole", "-o", "0", "-l", "512K", drops.path / "x")
    assert (drops.backing / "x").stat().st_blocks < 2048


def test_sync_and_locks_work(drops: Drops) -> None:
    with (drops.path / "x").open("w") as file:
        file.write("x")
        file.flush()
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    folder = os.open(drops.path, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def test_names_of_255_bytes_and_names_that_are_no_text(drops: Drops) -> None:
    for name in (b"n" * 255, b"caf\xe9", b"\xff\xfe", "grün".encode(), b"a\nb", b"-rf", b" "):
        (drops.path / os.fsdecode(name)).write_text("x")
        (drops.path / "link").symlink_to(os.fsdecode(name))
        assert (drops.path / "link").read_text() == "x"
        (drops.path / "link").unlink()
        assert os.fsdecode(name) in names(drops.path)
        assert os.fsdecode(name) in names(drops.backing)
    fails_with(errno.ENAMETOOLONG, lambda: (drops.path / ("n" * 256)).touch())


def test_paths_of_nearly_path_max_work_and_longer_ones_are_refused(drops: Drops) -> None:
    inside = os.open(drops.path, os.O_RDONLY | os.O_DIRECTORY)
    path = "/".join(["d" * 200] * 20)
    try:
        for depth in range(1, 21):
            os.mkdir("/".join(["d" * 200] * depth), dir_fd=inside)
        longest = f"{path}/" + "f" * (4095 - len(path) - 1)
        os.close(os.open(longest, os.O_CREAT | os.O_WRONLY, dir_fd=inside))
        assert os.stat(longest, dir_fd=inside).st_size == 0
        fails_with(errno.ENAMETOOLONG, lambda: os.stat(f"{longest}f", dir_fd=inside))
    finally:
        os.close(inside)
    run("rm", "-r", drops.path / ("d" * 200))
    assert list(drops.backing.iterdir()) == []


def test_dot_and_dot_dot_are_as_on_a_disk(drops: Drops) -> None:
    (drops.path / "a" / "b").mkdir(parents=True)
    assert (drops.path / "a" / "b" / "..").stat().st_ino == (drops.path / "a").stat().st_ino
    assert os.path.samefile(drops.path / "a" / "..", drops.path)  # noqa: PTH121  (pathlib would resolve it)
    fails_with(errno.EINVAL, lambda: os.rmdir(f"{drops.path}/a/."))  # noqa: PTH106  (pathlib drops the dots)
    fails_with(errno.ENOTEMPTY, lambda: os.rmdir(f"{drops.path}/a/b/.."))  # noqa: PTH106
    fails_with(errno.EBUSY, lambda: os.rename(f"{drops.path}/a/.", drops.path / "c"))  # noqa: PTH104
    fails_with(errno.EINVAL, lambda: (drops.path / "a").rename(drops.path / "a" / "b" / "c"))


def test_a_removed_file_is_reached_by_its_descriptor(drops: Drops) -> None:
    with (drops.path / "x").open("w+b", buffering=0) as file:
        file.write(b"abc")
        (drops.path / "x").unlink()
        assert Path(f"/proc/self/fd/{file.fileno()}").read_bytes() == b"abc"


def test_nothing_crosses_its_border(drops: Drops) -> None:
    (drops.path / "x").touch()
    fails_with(errno.EROFS, lambda: (drops.path / "x").rename(drops.mounted / "x"))
    fails_with(errno.EROFS, lambda: drops.path.rename(drops.mounted / "elsewhere"))
    fails_with(errno.EROFS, lambda: drops.path.rmdir())
    fails_with(errno.EROFS, lambda: (drops.mounted / "x").touch())
    fails_with(errno.EROFS, lambda: (drops.mounted / "x").mkdir())
    fails_with(errno.EROFS, lambda: (drops.mounted / "x").symlink_to("y"))
    assert not os.access(drops.mounted.path, os.W_OK)
    assert os.access(drops.path, os.W_OK)


def test_ten_thousand_names_are_listed(drops: Drops) -> None:
    (drops.backing / "many").mkdir()
    for number in range(10_000):
        (drops.backing / "many" / f"file-{number:05}").touch()
    assert len(names(drops.path / "many")) == 10_000
    assert run("find", drops.path / "many", "-type", "f").count("\n") == 10_000


# --- our names


def test_our_names_show_what_is_told(drops: Drops) -> None:
    wing = drops.finished("wing")
    assert (wing / "status").read_text() == "Completed\n"
    assert (wing / "status.log").read_text().endswith("Completed\n")
    assert (wing / "job").readlink() == Path("../../jobs/aBcDe")
    assert names(wing) == ["job", "job.json", "mesh", "status", "status.log"]
    assert (wing / "status").stat().st_size == 10
    drops.tell("wing", status="Stopped, and a longer text\n")
    assert (wing / "status").read_text() == "Stopped, and a longer text\n"


def test_files_that_are_removed_as_they_are_closed_leave_nothing(drops: Drops) -> None:
    """git and Vim do that all day. Without care, one in some hundred stays as `.fuse_hidden…`."""
    (drops.path / "wing").mkdir()

    def make_and_remove(name: str) -> None:
        for _ in range(300):
            (drops.path / "wing" / name).write_text("a")
            (drops.path / "wing" / name).unlink()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make_and_remove, "abcd"))
    (drops.path / "wing").rmdir()
    assert list(drops.backing.iterdir()) == []


def test_a_finished_drop_is_copied_with_our_names_and_removed_again(patient_drops: Drops) -> None:
    drops = patient_drops
    wing = drops.finished("wing")
    drops.tell("copy", status="waiting\n", log="waiting\n", job="other")
    run("cp", "-r", wing, drops.path / "copy")
    assert (drops.backing / "copy" / "status").read_text() == "Completed\n"
    run("cp", "-rT", wing, drops.path / "copy")
    run("rm", "-r", drops.path / "copy")
    assert not (drops.backing / "copy").exists()


def test_copying_onto_a_drop_that_shows_our_names_succeeds(drops: Drops, tmp_path: Path) -> None:
    wing = drops.finished("wing")
    other = drops.finished("other")
    drops.tell("other", status="running\n")
    run("cp", "-rT", wing, other)
    assert (other / "status").read_text() == "running\n"
    assert (drops.backing / "other" / "status").read_text() == "Completed\n"
    run("rsync", "-a", f"{wing}/", f"{other}/")
    assert (other / "status").read_text() == "running\n"
    run("rm", "-r", other)
    run("rm", "-rf", wing)
    assert list(drops.backing.iterdir()) == []


def test_our_names_can_be_removed_and_moved_away(drops: Drops, tmp_path: Path) -> None:
    wing = drops.finished("wing")
    run("mv", wing / "status", tmp_path / "kept")
    assert (tmp_path / "kept").read_text() == "Completed\n"
    run("mv", wing / "status.log", wing / "kept")
    assert (drops.backing / "wing" / "kept").read_text().endswith("Completed\n")


def test_a_drop_of_which_only_our_names_are_left_can_be_removed(drops: Drops) -> None:
    (drops.backing / "wing").mkdir()
    (drops.backing / "wing" / "status").write_text("carried along by a copy")
    drops.tell("wing", status="waiting\n")
    assert names(drops.path / "wing") == ["status"]
    (drops.path / "wing").rmdir()
    assert list(drops.backing.iterdir()) == []


def test_echo_stop_into_control_stops_the_job(drops: Drops) -> None:
    wing = drops.finished("wing")
    drops.tell("wing", running="")
    fails_with(errno.EINVAL, lambda: (wing / "control").write_text("halt"))
    assert (drops.views / "wing.running").exists()
    assert "control" not in names(wing)
    run("cp", "-r", wing, drops.path / "copy")
    assert not (drops.backing / "copy" / "control").exists()
    run("sh", "-c", "echo stop > control", cwd=wing)
    assert (drops.views / "wing.stopped").exists()
    assert not (wing / "control").exists()


def test_tail_follows_the_log(drops: Drops) -> None:
    wing = drops.finished("wing")
    tail = subprocess.Popen(
        ["tail", "-n", "+1", "-s", "0.05", "-f", wing / "status.log"], stdout=subprocess.PIPE, text=True
    )
    assert tail.stdout is not None
    try:
        assert tail.stdout.readline() == "12:00 waiting\n"
        assert tail.stdout.readline() == "12:01 Completed\n"
        drops.tell("wing", log="12:00 waiting\n12:01 Completed\n12:02 outputs: 3\n")
        assert tail.stdout.readline() == "12:02 outputs: 3\n"
        run("rm", "-r", wing)
    finally:
        tail.terminate()
        tail.communicate()
    assert not wing.exists()


# --- the mount's own life


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_it_even_while_a_file_is_open(drops: Drops, number: signal.Signals) -> None:
    (drops.path / "x").write_text("x")
    file = os.open(drops.path / "x", os.O_RDONLY)
    try:
        assert drops.mounted.signal(number) == 0
    finally:
        with contextlib.suppress(OSError):
            os.close(file)
    assert not is_mounted(drops.mounted.path)
    assert not drops.mounted.path.exists()  # it was made for the mount


def test_umount_returns_when_the_daemon_has_ended(drops: Drops) -> None:
    with (drops.path / "x").open("w") as file:
        file.write("x")
        file.flush()
        with pytest.raises(CannotMount, match=rf"in use by .*\({os.getpid()}\)"):
            umount(drops.mounted.path)
    umount(drops.mounted.path)
    assert drops.mounted.daemon.wait(1) == 0
    with pytest.raises(CannotMount, match="nothing is mounted"):
        umount(drops.mounted.path)


def test_a_killed_daemons_mount_is_cleared_by_the_next(drops: Drops, mount: MountNow) -> None:
    (drops.path / "x").write_text("kept")
    drops.mounted.signal(signal.SIGKILL)
    assert is_mounted(drops.mounted.path)
    again = mount([*DAEMON, str(drops.mounted.path), str(drops.backing)], drops.mounted.path)
    assert (again / "submit" / "x").read_text() == "kept"
    assert again.unmount() == 0


def test_a_second_daemon_for_one_mountpoint_is_refused(drops: Drops, mount: MountNow) -> None:
    with pytest.raises(pytest.fail.Exception, match=f"already mounted by process {drops.mounted.daemon.pid}"):
        mount([*DAEMON, str(drops.mounted.path), str(drops.backing)], drops.mounted.path)
    assert is_mounted(drops.mounted.path)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
