"""Programs that map files into memory, shared and read-only, as polars, DuckDB and numpy do."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rescalefs.mount.handshake import kernel_maps_everything
from tests.mounted.conftest import MountNow

pytestmark = pytest.mark.fuse

MAPS = kernel_maps_everything()  # before Linux 6.6 the kernel refuses, and docs/semantics.md says so
PAGE = mmap.PAGESIZE
# Maps what fstat(2) says, and prints it. A process of its own, because a wrong size would end it by SIGBUS.
MAP = """
import mmap, os, sys
with open(sys.argv[1], "rb") as file:
    size = os.fstat(file.fileno()).st_size
    with mmap.mmap(file.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
        sys.stdout.buffer.write(mapping[:])
"""


@pytest.fixture
def mounted(tmp_path: Path, mount: MountNow) -> Path:
    """A mount in which `files.tsv` and `residuals.csv` show what `views` says."""
    (tmp_path / "backing").mkdir()
    (tmp_path / "views").mkdir()
    mountpoint = tmp_path / "mnt"
    mount(["-m", "tests.mounted.drop_daemon", str(mountpoint), str(tmp_path / "backing")], mountpoint)
    return mountpoint


def mapped(path: Path) -> bytes | None:
    """What another program finds in a shared mapping; None where the kernel has none of this file."""
    done = subprocess.run(
        [sys.executable, "-c", MAP, str(path)], capture_output=True, check=False, timeout=60
    )
    if not MAPS:
        assert b"[Errno 19]" in done.stderr
        return None
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("name", "view"), [("files.tsv", "text"), ("residuals.csv", "live")])
def test_each_new_mapping_shows_the_file_as_it_is_now_and_as_long_as_stat_says(
    mounted: Path, name: str, view: str
) -> None:
    source, file = mounted.parent / "views" / view, mounted / name
    content = b""
    for length in (10, 3 * PAGE, PAGE - 1, 200_001):
        # A live file only grows; a text may also get shorter.
        content = content + os.urandom(length) if view == "live" else os.urandom(length)
        source.write_bytes(content)
        expire(file, len(content))
        assert mapped(file) in {content, None}


def expire(file: Path, size: int) -> None:
    """Return once the kernel asks for the size again: it believes the last one for a second."""
    while file.stat().st_size != size:
        pass


def test_a_text_that_changes_while_it_is_mapped_stays_whole(mounted: Path) -> None:
    file, source = mounted / "files.tsv", mounted.parent / "views" / "text"
    old, new = os.urandom(40 * PAGE), os.urandom(3 * PAGE)
    source.write_bytes(old)
    with file.open("rb") as opened:
        if MAPS:
            size = os.fstat(opened.fileno()).st_size
            with mmap.mmap(opened.fileno(), size, mmap.MAP_SHARED, mmap.PROT_READ) as mapping:
                assert mapping[:PAGE] == old[:PAGE]
                source.write_bytes(new)
                assert file.stat().st_size == size
                assert mapping[:] == mapped(file) == old
        else:
            with pytest.raises(OSError, match="No such device"):
                mmap.mmap(opened.fileno(), len(old), mmap.MAP_SHARED, mmap.PROT_READ)
            source.write_bytes(new)
    expire(file, len(new))
    assert mapped(file) in {new, None}


@pytest.mark.parametrize("same_size", [True, False])
def test_a_file_below_submit_that_is_changed_in_the_backing_directory_is_seen_where_it_is_open(
    mounted: Path, same_size: bool
) -> None:
    below, file = mounted.parent / "backing" / "case.inp", mounted / "submit" / "case.inp"
    old = os.urandom(2 * PAGE)
    new = os.urandom(len(old) if same_size else 5 * PAGE)
    below.write_bytes(old)
    with (
        file.open("rb", buffering=0) as opened,
        mmap.mmap(opened.fileno(), len(old), prot=mmap.PROT_READ) as seen,
    ):
        assert opened.read() == seen[:] == old
        with below.open("r+b") as changed:  # in place, as `rsync --inplace` over ssh does
            changed.write(new)
        while os.pread(opened.fileno(), len(new), 0) != new:  # for a second the kernel believes the old date
            pass
        assert seen[:] == new[: len(old)]
