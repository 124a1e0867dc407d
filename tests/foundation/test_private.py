"""Folders of ours are closed to other users, each one on the way."""

from __future__ import annotations

import ast
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from rescalefs.private import make_private

PACKAGE = Path(__file__).parents[2] / "rescalefs"

# The user's own folders, which are made as the user's umask says; and the simulator's, a server of its own.
OPEN = {
    "assembly/download.py": "the folder that --to names",
    "assembly/mirror.py": "the folder that sync keeps",
    "mirror/shelf.py": "folders of jobs below it",
    "reading/blocks.py": "below the cache's own folder, which is closed",
}


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_every_folder_that_is_made_is_closed_and_those_that_exist_stay(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir(mode=0o755)
    make_private(tmp_path / "home" / "state" / "rescalefs" / "account")
    modes = {
        each.name: stat.S_IMODE(each.stat().st_mode)
        for each in (tmp_path / "home", *sorted((tmp_path / "home").rglob("*")))
    }
    assert modes == {"home": 0o755, "state": 0o700, "rescalefs": 0o700, "account": 0o700}
    make_private(tmp_path / "home" / "state" / "rescalefs" / "account")


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        make_private(tmp_path / "file" / "folder")


def test_only_folders_of_the_users_own_are_made_in_another_way() -> None:
    found = set()
    for module in PACKAGE.rglob("*.py"):
        name = module.relative_to(PACKAGE).as_posix()
        if name.startswith("simulator/"):
            continue
        for call in ast.walk(ast.parse(module.read_text())):
            if isinstance(call, ast.Call) and any(word.arg == "parents" for word in call.keywords):
                found.add(name)
    assert found == set(OPEN)
