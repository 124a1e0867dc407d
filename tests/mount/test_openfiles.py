from __future__ import annotations

from pathlib import Path

from rescalefs.mount.openfiles import OpenFiles

FOLDER = Path("/backing")


def test_a_drop_is_busy_while_a_file_in_it_is_open_for_writing() -> None:
    files = OpenFiles(FOLDER)
    files.opened(5, "wing/mesh/a", writing=True)
    files.opened(6, "tail/b", writing=False)
    assert files.is_busy(FOLDER / "wing")
    assert files.is_busy(FOLDER / "wing" / "mesh" / "a")
    assert files.is_busy(FOLDER)
    assert not files.is_busy(FOLDER / "win")
    assert not files.is_busy(FOLDER / "tail")
    assert not files.is_busy(Path("/elsewhere"))
    assert files.closed(5) == "wing/mesh/a"
    assert not files.is_busy(FOLDER)


def test_a_rename_takes_the_open_files_along() -> None:
    files = OpenFiles(FOLDER)
    files.opened(5, "wing/a", writing=True)
    files.opened(6, "wing-2/a", writing=True)
    files.renamed("wing", "tail")
    assert not files.is_busy(FOLDER / "wing")
    assert files.is_busy(FOLDER / "tail")
    assert files.is_busy(FOLDER / "wing-2")
    assert files.is_open("tail/a")
    assert files.closed(5) == "tail/a"


def test_a_file_without_a_name_keeps_no_drop_busy() -> None:
    files = OpenFiles(FOLDER)
    files.opened(5, "wing/a", writing=True)
    files.removed("wing/a")
    assert not files.is_busy(FOLDER / "wing")
    assert files.closed(5) is None
