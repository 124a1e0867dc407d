from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from rescalefs.mount.openfiles import OpenFiles

FOLDER = Path("/backing")


def test_a_drop_is_busy_while_a_file_in_it_is_open_for_writing() -> None:
    files = OpenFiles(FOLDER)
    files.opened(5, "wing/mesh/a", writing=True)
    files.opened(6, "tail/b", writing=False)
    assert files.why_unfinished(FOLDER / "wing")
    assert files.why_unfinished(FOLDER / "wing" / "mesh" / "a")
    assert files.why_unfinished(FOLDER)
    assert not files.why_unfinished(FOLDER / "win")
    assert not files.why_unfinished(FOLDER / "tail")
    assert not files.why_unfinished(Path("/elsewhere"))
    assert files.closed(5) == "wing/mesh/a"
    assert not files.why_unfinished(FOLDER)


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    (tmp_path / "wing").mkdir()
    return tmp_path


def failed_write(files: OpenFiles, backing: Path, name: str) -> int:
    """Open a file of the backing directory for writing, and have the disk refuse; return the descriptor."""
    descriptor = os.open(backing / name, os.O_CREAT | os.O_WRONLY)
    files.opened(descriptor, name, writing=True, emptied=True)
    files.failed(descriptor, OSError(errno.ENOSPC, "No space left on device"))
    return descriptor


def close(files: OpenFiles, descriptor: int, has_written: bool = True) -> None:
    files.closed(descriptor, has_written)
    os.close(descriptor)


def rewritten(files: OpenFiles, backing: Path, name: str, has_written: bool = True) -> None:
    descriptor = os.open(backing / name, os.O_WRONLY)
    files.opened(descriptor, name, writing=True)
    close(files, descriptor, has_written)


def test_a_file_that_could_not_be_written_holds_its_drop_up_until_it_was(backing: Path) -> None:
    files = OpenFiles(backing)
    close(files, failed_write(files, backing, "wing/mesh"))
    why = "until mesh is written again, or removed: writing it failed (No space left on device)"
    assert files.why_unfinished(backing / "wing") == why
    assert files.why_unfinished(backing / "tail") == ""
    rewritten(files, backing, "wing/mesh", has_written=False)  # `touch` does not mend it
    assert files.why_unfinished(backing / "wing") == why
    rewritten(files, backing, "wing/mesh")
    assert files.why_unfinished(backing / "wing") == ""


def test_a_writer_from_before_the_failure_does_not_mend_it(backing: Path) -> None:
    files = OpenFiles(backing)
    other = os.open(backing / "wing" / "mesh", os.O_CREAT | os.O_WRONLY)
    files.opened(other, "wing/mesh", writing=True)
    close(files, failed_write(files, backing, "wing/mesh"))
    close(files, other)
    assert "mesh" in files.why_unfinished(backing / "wing")


def test_a_failure_goes_with_its_file(backing: Path) -> None:
    files = OpenFiles(backing)
    close(files, failed_write(files, backing, "wing/mesh"))
    (backing / "wing" / "mesh").rename(backing / "wing" / "grid")
    files.renamed("wing/mesh", "wing/grid")
    assert "until grid is" in files.why_unfinished(backing / "wing")
    (backing / "wing" / "new").write_text("whole")
    (backing / "wing" / "new").rename(backing / "wing" / "grid")
    files.renamed("wing/new", "wing/grid")
    assert files.why_unfinished(backing / "wing") == ""


@pytest.mark.parametrize("mended", [Path.unlink, lambda file: file.write_text("all of it")])
def test_what_is_mended_in_the_backing_directory_counts_too(
    backing: Path, mended: Callable[[Path], object]
) -> None:
    files = OpenFiles(backing)
    close(files, failed_write(files, backing, "wing/mesh"))
    mended(backing / "wing" / "mesh")
    assert files.why_unfinished(backing / "wing") == ""


def test_a_rename_takes_the_open_files_along() -> None:
    files = OpenFiles(FOLDER)
    files.opened(5, "wing/a", writing=True)
    files.opened(6, "wing-2/a", writing=True)
    files.renamed("wing", "tail")
    assert not files.why_unfinished(FOLDER / "wing")
    assert files.why_unfinished(FOLDER / "tail")
    assert files.why_unfinished(FOLDER / "wing-2")
    assert files.is_open("tail/a")
    assert files.closed(5) == "tail/a"


def test_a_file_without_a_name_keeps_no_drop_busy() -> None:
    files = OpenFiles(FOLDER)
    files.opened(5, "wing/a", writing=True)
    files.removed("wing/a", "wing/.fuse_hidden0000000a00000001")
    assert not files.why_unfinished(FOLDER / "wing")
    assert files.closed(5) is None
