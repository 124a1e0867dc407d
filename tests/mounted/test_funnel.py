"""What goes wrong below reaches the application as the error we chose, and never as an empty success."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.mounted.conftest import PATIENCE, Mounted, MountNow
from tests.mounted.drop_daemon import GOOD

pytestmark = pytest.mark.fuse


@pytest.fixture
def mounted(tmp_path: Path, mount: MountNow) -> Mounted:
    (tmp_path / "backing").mkdir()
    (tmp_path / "views").mkdir()
    (tmp_path / "views" / "live").touch()
    command = ["-m", "tests.mounted.drop_daemon", str(tmp_path / "mnt"), str(tmp_path / "backing")]
    return mount(command, tmp_path / "mnt")


def test_a_good_file_is_read_whole_and_again_and_at_any_offset(mounted: Mounted) -> None:
    file = mounted / "outputs" / "good"
    assert file.read_bytes() == GOOD
    assert file.read_bytes() == GOOD
    with file.open("rb", buffering=0) as opened:
        assert os.pread(opened.fileno(), 70_000, 131_000) == GOOD[131_000:201_000]
        assert os.pread(opened.fileno(), 10, len(GOOD)) == b""
    assert (mounted / "status").read_bytes() == b"Completed\n"


def test_the_kernel_asks_for_more_at_once_than_libfuse_2_knows_of(mounted: Mounted, tmp_path: Path) -> None:
    with (mounted / "outputs" / "measured").open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_SEQUENTIAL)  # as `cat`, `cp` and `sort` do
        assert file.read() == GOOD
    sizes = [int(line) for line in (tmp_path / "views" / "sizes").read_text().split()]
    assert max(sizes) > 128 << 10


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("broken", errno.EIO),
        ("cut", errno.EIO),
        ("wrong", errno.EIO),
        ("mistaken", errno.EIO),
        ("slow", errno.ETIMEDOUT),
        ("unfinished", errno.EAGAIN),
        ("forbidden", errno.EACCES),
    ],
)
def test_a_read_that_fails_is_an_error(mounted: Mounted, tmp_path: Path, name: str, number: int) -> None:
    with pytest.raises(OSError, match=r".") as caught:
        (mounted / "outputs" / name).read_bytes()
    assert caught.value.errno == number
    copied = subprocess.run(
        ["cp", mounted / "outputs" / name, tmp_path / "copy"], capture_output=True, check=False
    )
    assert copied.returncode == 1
    assert os.strerror(number).encode() in copied.stderr


def test_a_signal_ends_it_even_while_a_read_waits_for_the_network(mounted: Mounted, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "views" / "began")
    with subprocess.Popen(["cat", mounted / "outputs" / "blocked"], stderr=subprocess.PIPE) as reader:
        assert (tmp_path / "views" / "began").read_text() == "reading"
        assert mounted.signal(signal.SIGTERM) == 0
        _, said = reader.communicate()
        assert b"Input/output error" in said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_reader_that_is_killed_leaves_though_its_read_never_ends(
    mounted: Mounted, tmp_path: Path, number: signal.Signals
) -> None:
    os.mkfifo(tmp_path / "views" / "began")
    with subprocess.Popen(["cat", mounted / "outputs" / "blocked-in-pages"]) as reader:
        assert (tmp_path / "views" / "began").read_text() == "reading"
        reader.send_signal(number)
        assert reader.wait(PATIENCE) == -number  # nothing but the end of the mount would end the read
    assert (mounted / "outputs" / "good").read_bytes() == GOOD
    assert mounted.signal(signal.SIGTERM) == 0


@pytest.mark.parametrize("way", ["signal", "unmount"])
def test_a_connection_that_breaks_at_the_end_does_not_end_the_daemon(mounted: Mounted, way: str) -> None:
    assert (mounted.signal(signal.SIGTERM) if way == "signal" else mounted.unmount()) == 0
    assert mounted.said().splitlines()[-1] == "well"


def test_the_jobs_tree_can_be_listed_and_is_read_only(mounted: Mounted) -> None:
    done = subprocess.run(["ls", "-lR", mounted.path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "good" in done.stdout
    assert f"{len(GOOD)}" in done.stdout
    with pytest.raises(OSError, match="Read-only"):
        (mounted / "outputs" / "good").write_bytes(b"x")
    with pytest.raises(OSError, match="Read-only"):
        (mounted / "outputs" / "good").unlink()
    found = (mounted / "outputs").stat()
    assert (found.st_nlink, found.st_uid) == (2, os.geteuid())
