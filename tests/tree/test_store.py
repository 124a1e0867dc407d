"""Answers survive on disk, or are absent; never anything between."""

from __future__ import annotations

import logging
import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rescalefs.model import Job, JobDetail, JobStatus, RemoteFile
from rescalefs.tree import store
from rescalefs.tree.store import Document, Drawer
from tests.tree.account import file, minutes

FILES: tuple[RemoteFile, ...] = (file("a", "d/a"), file("b", at=None, sha512=None, size=None, uploaded=False))
DOCUMENT = Document(FILES, minutes(3), 15.0)


def drawer(directory: Path | None) -> Drawer[tuple[RemoteFile, ...]]:
    return Drawer(directory, "outputs", tuple[RemoteFile, ...])


def only_file(directory: Path) -> Path:
    (path,) = (directory / "outputs").iterdir()
    return path


def test_what_was_saved_is_loaded_by_the_next_process(tmp_path: Path) -> None:
    drawer(tmp_path).save("XkpTse", DOCUMENT)
    assert drawer(tmp_path).load("XkpTse") == DOCUMENT
    assert drawer(tmp_path).load("other") is None


def test_every_noun_that_is_kept_comes_back_as_it_was(tmp_path: Path) -> None:
    job = Job("XkpTse", "wing", "Completed", minutes(1), "a@b.c", "Stopped", "p", ("openfoam",))
    for content, value in (
        (tuple[tuple[Job, ...], tuple[Job, ...]], ((job,), ())),
        (JobDetail, JobDetail(job, FILES, {"A": "b"}, None, b"{}\n")),
        (tuple[JobStatus, ...], (JobStatus("Pending", minutes(0)), JobStatus("Failed", minutes(1), "why"))),
    ):
        kept: Drawer[object] = Drawer(tmp_path, "any", content)
        kept.save("key", Document(value, minutes(3), None))
        assert kept.load("key") == Document(value, minutes(3), None)


def test_keys_that_differ_by_case_are_two_files_also_where_the_disk_ignores_case(tmp_path: Path) -> None:
    for key in ("aB", "Ab"):
        drawer(tmp_path).save(key, Document((file(key),), minutes(3), None))
    assert len({path.name.lower() for path in (tmp_path / "outputs").iterdir()}) == 2


def test_only_the_user_can_read_what_is_kept(tmp_path: Path) -> None:
    drawer(tmp_path / "new").save("a", DOCUMENT)
    path = only_file(tmp_path / "new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_a_damaged_file_is_absent(tmp_path: Path, data: st.DataObject) -> None:
    kept = drawer(tmp_path)
    kept.save("a", DOCUMENT)
    path = only_file(tmp_path)
    whole = path.read_bytes()
    where = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        damaged = whole[:where]
    else:
        damaged = whole[:where] + bytes([whole[where] ^ data.draw(st.integers(1, 255))]) + whole[where + 1 :]
    path.write_bytes(damaged)
    assert kept.load("a") is None
    kept.save("a", DOCUMENT)
    assert kept.load("a") == DOCUMENT


def test_another_format_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawer(tmp_path).save("a", DOCUMENT)
    monkeypatch.setattr(store, "FORMAT", store.FORMAT + 1)
    assert drawer(tmp_path).load("a") is None


def test_a_value_of_another_shape_is_absent(tmp_path: Path) -> None:
    other: Drawer[str] = Drawer(tmp_path, "outputs", str)
    other.save("a", Document("text", minutes(0), None))
    assert drawer(tmp_path).load("a") is None


def test_an_answer_under_another_keys_name_is_absent(tmp_path: Path) -> None:
    kept = drawer(tmp_path)
    kept.save("a", DOCUMENT)
    path = only_file(tmp_path)
    kept.save("b", DOCUMENT)
    (other,) = set((tmp_path / "outputs").iterdir()) - {path}
    path.replace(other)
    assert kept.load("b") is None


def test_what_is_removed_or_cleared_is_gone(tmp_path: Path) -> None:
    kept = drawer(tmp_path)
    for key in "abc":
        kept.save(key, DOCUMENT)
    kept.remove("a")
    kept.remove("never there")
    assert (kept.load("a"), kept.load("b")) == (None, DOCUMENT)
    kept.clear()
    assert not list((tmp_path / "outputs").iterdir())


def test_a_disk_that_takes_nothing_is_said_once_and_fails_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "outputs").write_text("in the way")
    kept = drawer(tmp_path)
    with caplog.at_level(logging.WARNING):
        kept.save("a", DOCUMENT)
        kept.save("b", DOCUMENT)
    assert len(caplog.records) == 1
    assert kept.load("a") is None
    kept.clear()


def test_what_a_killed_writer_left_is_removed_once_it_is_old(tmp_path: Path) -> None:
    kept = drawer(tmp_path)
    kept.save("a", DOCUMENT)
    leftover = only_file(tmp_path).with_name("x.answer.1-2.part")
    leftover.touch()
    os.utime(leftover, (minutes(0).timestamp(),) * 2)
    kept.tidy(minutes(30))
    assert leftover.exists()
    kept.tidy(minutes(61) + timedelta(seconds=1))
    assert not leftover.exists()
    assert kept.load("a") == DOCUMENT


def test_without_a_directory_nothing_is_kept() -> None:
    kept = drawer(None)
    kept.save("a", DOCUMENT)
    kept.remove("a")
    kept.clear()
    assert kept.load("a") is None
