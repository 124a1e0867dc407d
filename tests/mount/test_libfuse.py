"""libfuse 2 and fusermount on machines that have little else."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rescalefs.errors import CannotMount
from rescalefs.mount import libfuse


@pytest.fixture(autouse=True)
def _none_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(libfuse.VARIABLE, raising=False)


def test_the_loader_is_asked_before_ldconfig_and_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: pytest.fail(f"asked for {name}"))
    assert libfuse.find() == "libfuse.so.2"


def test_fusepy_is_imported_where_there_is_neither_ldconfig_nor_a_compiler() -> None:
    """And the name of the library does not stay in the environment, which children inherit."""
    code = (
        "import ctypes.util, os; ctypes.util.find_library = lambda name: None\n"
        f"from rescalefs.mount import adapter; print(os.environ.get({libfuse.VARIABLE!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("None\n", "")


def test_what_the_loader_says_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str) -> None:
        raise OSError(f"{name}: wrong ELF class")

    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(CannotMount, match=r"\(libfuse.so.2: wrong ELF class\)\. Install it: apt-get install"):
        libfuse.find(refuse)


def test_a_library_that_the_user_names_is_taken_or_complained_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(libfuse.VARIABLE, "libc.so.6")
    assert libfuse.find() == "libc.so.6"
    with libfuse.named():
        assert os.environ[libfuse.VARIABLE] == "libc.so.6"
    assert os.environ[libfuse.VARIABLE] == "libc.so.6"
    monkeypatch.setenv(libfuse.VARIABLE, "/no/such.so")
    with pytest.raises(CannotMount, match=r"/no/such\.so.*Unset FUSE_LIBRARY_PATH"):
        libfuse.find()


def test_libfuse_finds_fusermount_where_only_fusermount3_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fusermount3").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    with libfuse.helped(beside=tmp_path / "none"):
        found = shutil.which("fusermount")
        assert found is not None
        assert Path(found).resolve() == Path("/bin/true").resolve()
        assert shutil.which("fusermount3") == str(tmp_path / "fusermount3")
    assert os.environ["PATH"] == str(tmp_path)
    assert not Path(found).exists()


@pytest.mark.parametrize("there", ["on PATH", "beside libfuse", "nowhere"])
def test_path_stays_as_it_is_where_that_helps_nobody(
    there: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = tmp_path / "bin"
    beside.mkdir()
    if there == "on PATH":
        (tmp_path / "fusermount").symlink_to("/bin/true")
    if there == "beside libfuse":
        (tmp_path / "fusermount3").symlink_to("/bin/true")
        (beside / "fusermount").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))
    with libfuse.helped(beside):
        assert os.environ["PATH"] == str(tmp_path)


def test_words_on_standard_error_are_overheard_and_go_on_to_where_they_would_have_gone(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with libfuse.overheard() as said:
        os.write(2, b"fuse: mount failed\n")
        subprocess.run(
            ["sh", "-c", "echo fusermount: not allowed >&2; echo fuse: mount failed >&2"], check=True
        )
        words = said()
    os.write(2, b"later\n")
    assert words == "fuse: mount failed; fusermount: not allowed"
    said_aloud = "fuse: mount failed\nfusermount: not allowed\nfuse: mount failed\nlater\n"
    assert capfd.readouterr().err == said_aloud


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("fuse: failed to exec fusermount: No such file or directory", "Install FUSE: apt-get install fuse3"),
        (
            "fusermount: mount failed: Operation not permitted",
            "In a container: docker run --device /dev/fuse",
        ),
        ("fuse: failed to open /dev/fuse: Operation not permitted", "In a container: docker run"),
        ("fusermount: user has no write access to mountpoint /x", "Choose a folder of your own"),
        ("fusermount3: mounting over filesystem type 0x65 is forbidden", "on a disk of this machine"),
    ],
)
def test_a_refusal_that_is_known_comes_with_what_to_do(words: str, advice: str) -> None:
    assert libfuse.advised(words).startswith(f"{words}. {advice}"[: len(words) + 2])
    assert advice in libfuse.advised(words)


def test_a_refusal_that_is_not_known_stands_for_itself() -> None:
    words = "fusermount: too many FUSE filesystems mounted; mount_max=N can be set in /etc/fuse.conf"
    assert libfuse.advised(words) == words
