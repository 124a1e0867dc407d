"""Questions to what may never answer."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from rescalefs.mount import asking
from rescalefs.mount.mountpoint import Condition, condition_of


def test_what_answers_is_told_and_what_fails_is_an_error_of_its_own(tmp_path: Path) -> None:
    content = os.urandom(300_000) + b"\n7 7\n"
    (tmp_path / "a\nb").write_bytes(content)
    found, none, folder, empty = asking.read_all(
        [tmp_path / "a\nb", tmp_path / "none", tmp_path, Path("/dev/null")]
    )
    assert found == content
    assert isinstance(none, FileNotFoundError)
    assert isinstance(folder, IsADirectoryError)
    assert empty == b""
    assert asking.read_all([]) == []
    assert asking.read(tmp_path / "a\nb") == content
    with pytest.raises(FileNotFoundError, match="none"):
        asking.look(tmp_path / "none")


def test_what_does_not_answer_costs_the_limit_and_keeps_what_was_said_before(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    os.mkfifo(tmp_path / "silent")  # to open it waits until a writer does
    said, silent, after = asking.read_all([tmp_path / f for f in ("file", "silent", "file")], limit=1.0)
    assert said == b"x" * 100_000
    assert [each.errno for each in (silent, after) if isinstance(each, OSError)] == 2 * [errno.ETIMEDOUT]
    with pytest.raises(TimeoutError, match="silent"):
        asking.read(tmp_path / "silent", limit=0.5)


def test_a_file_system_that_says_how_full_it_is_answers() -> None:
    assert condition_of(Path("/proc")) is Condition.ANSWERS
    assert condition_of(Path("/none")) is Condition.ANSWERS  # no dead mount, whatever it is
