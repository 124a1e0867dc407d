"""Names, dates and tries on disks of other kinds, in this process; see `test_other_disks` for real mounts."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.errors import Unreachable
from rescalefs.mirror import DropNotes, LiveCopies, Selection
from rescalefs.mirror.dates import is_redated
from rescalefs.mirror.names import Names, SameName, alike
from rescalefs.mirror.part import Part
from rescalefs.mirror.shelf import Standing
from rescalefs.model import LiveFile
from tests.fakes import FakeClock, Fault
from tests.mirror.rounds import NoTails, Rounds, output, rounds, shelf_in

HOUR, SECOND = 3600 * 10**9, 10**9
THEN = 1_700_000_000 * SECOND


# --- dates


def shift(path: Path, seconds: float) -> None:
    """Date a file as a disk would that counts in 2 s and moved its dates."""
    found = path.stat().st_mtime_ns // (2 * SECOND) * 2 * SECOND + int(seconds * SECOND)
    os.utime(path, ns=(found, found))


@pytest.mark.parametrize("version", ["id-3-2026", f"id-{hashlib.sha512(b'old').hexdigest()}"])
@pytest.mark.parametrize("seconds", [0, 3600, -3600])
def test_an_old_version_of_ours_is_replaced_though_the_disk_moved_its_date(
    tmp_path: Path, seconds: int, version: str
) -> None:
    shelf = shelf_in(tmp_path)
    shelf.parts.mkdir()

    def put(content: bytes, version: str) -> bool:
        with Part(shelf.parts, "a", resumable=False) as part:
            part.write(content, 0)
            return shelf.place("a", part, version, THEN + 1_234_567)

    assert put(b"old", version)
    assert shelf.write("status", b"Executing\n", THEN + SECOND) is Standing.MISSING
    for name in ("a", "status"):
        shift(tmp_path / name, seconds)
    assert shelf.standing("a", "another", 5, None) is Standing.OLD
    assert put(b"newer", "another")
    assert (tmp_path / "a").read_bytes() == b"newer"
    assert shelf.write("status", b"Completed\n", THEN) is Standing.OLD
    assert (tmp_path / "status").read_bytes() == b"Completed\n"
    shift(tmp_path / "status", seconds)
    assert shelf.remove("status")


def test_a_file_that_a_person_changed_is_kept_whatever_its_date(tmp_path: Path) -> None:
    with rounds(tmp_path / "to", {"a": b"server"}, NoTails()) as here:
        here.service.add("a", name="a")
        here.service.files["a"] = (output("a", b"server"),)
        here.round()
        mine = here.folder / "jobs/a/outputs/a"
        before = mine.stat().st_mtime_ns
        for seconds in (1, 3600, -3600, 7200):
            mine.write_bytes(b"person")
            os.utime(mine, ns=(before, before))
            shift(mine, seconds)
            here.mirror._rests.clear()
            here.round()
            assert here.of("keep") == ["jobs/a/outputs/a"]
            assert mine.read_bytes() == b"person"


@pytest.mark.parametrize("content_agrees", [True, False])
@pytest.mark.parametrize("moved", [0, HOUR, -HOUR])
@pytest.mark.parametrize("rounded", [-2 * SECOND, -SECOND, 0, SECOND])
def test_rounding_and_the_hour_of_summer_are_the_disks_own(
    content_agrees: bool, moved: int, rounded: int
) -> None:
    assert is_redated(THEN, THEN + moved + rounded, content_agrees)


@given(st.integers(min_value=0, max_value=30 * 86_400 * 1000))
def test_no_other_date_is_taken_for_ours_where_the_content_is_not_known(milliseconds: int) -> None:
    distance = milliseconds * 10**6
    is_near = any(abs(distance - hour) <= 2 * SECOND for hour in (0, HOUR))
    for now in (THEN + distance, THEN - distance):
        assert is_redated(THEN, now, content_agrees=False) == (is_near and now % (10**7) == 0)


# --- names


def one_where(fold: str) -> Names:
    """Names on a disk that folds so."""
    return Names(lambda one, other: getattr(one, fold)() == getattr(other, fold)())


def test_a_folder_and_a_file_that_are_one_cannot_both_be() -> None:
    names = one_where("lower")
    names.claim("jobs/a/outputs/Out")
    with pytest.raises(SameName, match=r"same name as jobs/a/outputs/Out"):
        names.claim("jobs/a/outputs/out/b")
    names.claim("jobs/a/outputs/Run/b")
    with pytest.raises(SameName):
        names.claim("jobs/a/outputs/RUN")
    assert not names.merged


@given(st.lists(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)))
def test_names_that_a_disk_may_take_for_one_are_alike(names: list[str]) -> None:
    for name in names:
        for other in {name.lower(), name.upper(), name.swapcase(), f"{name}.", f"{name} "} - {name}:
            assert [name, other] in alike([name, other])


def test_names_that_differ_in_case_are_two_where_the_disk_keeps_them_apart(tmp_path: Path) -> None:
    contents = {"A": b"1", "a": b"2", "Out/x": b"3", "out/x": b"4"}
    with rounds(tmp_path / "to", contents, NoTails()) as here:
        here.service.add("a", name="a")
        here.service.files["a"] = tuple(output(name, content) for name, content in contents.items())
        assert here.round()["fail"] == 0
        assert here.outputs() == contents


def test_two_jobs_whose_ids_are_one_do_not_share_a_folder(tmp_path: Path) -> None:
    with rounds(tmp_path / "to", {"a": b"1", "b": b"2"}, NoTails()) as here:
        here.shelf.disk.are_one = lambda one, other: one.lower() == other.lower()  # type: ignore[method-assign]
        here.service.add("aB", name="old")
        here.service.files["aB"] = (output("a", b"1"),)
        here.round()
        here.service.add("Ab", name="new", at=60)
        here.service.files["Ab"] = (output("b", b"2"),)
        here.round()
        assert here.of("fail") == ["jobs/Ab"]
        assert here.outputs("aB") == {"a": b"1"}
        assert here.outputs("Ab") == {}


# --- how often a file that fails is fetched


def fetches(here: Rounds, minutes: int) -> list[int]:
    """The minutes in which a round asks for content, with a round each minute."""
    found = []
    for minute in range(minutes):
        before = len(here.source.requests)
        here.round()
        if len(here.source.requests) > before:
            found.append(minute)
        here.clock.advance(60)
    return found


def test_a_file_whose_bytes_are_wrong_is_told_in_each_round_and_fetched_ever_more_rarely(
    tmp_path: Path,
) -> None:
    with rounds(tmp_path / "to", {"a": b"wrong"}, NoTails()) as here:
        here.service.add("a", name="a")
        here.service.files["a"] = (output("a", b"right"),)
        tried = fetches(here, 200)
        assert tried == [0, 1, 2, 4, 8, 16, 32, 64, 124, 184]
        assert here.of("fail") == ["jobs/a/outputs/a"]
        here.source.contents["a"] = b"right"
        assert fetches(here, 100) == [44]
        assert here.outputs() == {"a": b"right"}


def test_what_the_network_did_is_tried_again_within_a_minute(tmp_path: Path) -> None:
    with rounds(tmp_path / "to", {"a": b"right"}, NoTails()) as here:
        here.service.add("a", name="a")
        here.service.files["a"] = (output("a", b"right"),)
        here.source.misbehave(*(Fault(error=Unreachable("no route")) for _ in range(5 * 7)))
        assert fetches(here, 12) == list(range(8))
        assert here.outputs() == {"a": b"right"}


# --- what is left out of a round


def test_a_narrower_choice_of_jobs_removes_no_link_of_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "to"
    with rounds(folder, {}, NoTails()) as here:
        for job in ("a", "b"):
            here.service.add(job, name=job)
        here.round()
        here.mirror._selection = Selection(jobs=("typo",))
        for _ in range(5):
            here.clock.advance(400)
            here.round()
            assert here.of("remove") == []
            assert {path.name for path in (folder / "by-name").iterdir()} == {"a", "b"}


# --- copies of live files


class Grown:
    """A live file, and what is asked of it."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.asked: list[int] = []

    @contextmanager
    def open_tail(self, _file: LiveFile, start: int) -> Iterator[Grown]:
        self.asked.append(start)
        self.start, self.total, self._new = start, len(self.content), self.content[start:]
        yield self

    def __iter__(self) -> Iterator[bytes]:
        for position in range(0, len(self._new), 3):
            yield self._new[position : position + 3]


@contextmanager
def followed(folder: Path, content: bytes) -> Iterator[tuple[Grown, LiveCopies, Path]]:
    source = Grown(content)
    (folder / "parts").mkdir()
    live = LiveCopies(source, shelf_in(folder), FakeClock())
    assert live.follow("live/log", LiveFile("a", "1", "log")) == len(content)
    yield source, live, folder / "live/log"


@pytest.mark.parametrize("change", [b"MINE\nlines\n", b"first\nlines\nand mine\n", b"first"])
def test_a_copy_of_a_live_file_that_a_person_changed_stays(tmp_path: Path, change: bytes) -> None:
    with followed(tmp_path, b"first\nlines\n") as (source, live, copy):
        copy.write_bytes(change)
        source.content += b"more\n"
        del source.asked[:]
        for _ in range(3):
            assert live.follow("live/log", LiveFile("a", "1", "log")) is None
        assert copy.read_bytes() == change
        assert source.asked in ([], [0])  # it is compared once, and not in every second


@pytest.mark.parametrize("added", [0, 4, 7])
def test_a_copy_that_a_kill_left_larger_than_its_note_goes_on(tmp_path: Path, added: int) -> None:
    with followed(tmp_path, b"first\nlines\n") as (source, live, copy):
        source.content += b"more\nand more\n"
        with copy.open("ab") as file:
            file.write(source.content[12 : 12 + added])
        os.utime(copy, ns=(1, 1))
        live.follow("live/log", LiveFile("a", "1", "log"))
        assert copy.read_bytes() == source.content


def test_a_drop_on_a_disk_without_links_has_its_status_and_names_its_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Views:
        def status(self, drop: str) -> bytes | None:
            return b"Executing\n"

        def log(self, drop: str) -> bytes | None:
            return b"sent\n"

        def job_id(self, drop: str) -> str | None:
            return "aBcDeF"

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "symlink_to", refuse)
    (tmp_path / "submit/wing").mkdir(parents=True)
    notes = DropNotes(shelf_in(tmp_path), Views())
    for _ in range(3):
        notes.write()
    assert (tmp_path / "submit/wing/status").read_bytes() == b"Executing\n"
    assert caplog.messages == [
        "submit/wing/job cannot be made (Operation not permitted); the job is jobs/aBcDeF"
    ]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_disk_that_cannot_sync_or_date_a_file_takes_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    def forbid(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    shelf = shelf_in(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse)
    monkeypatch.setattr(os, "utime", forbid)
    assert shelf.write("a", b"text", THEN) is Standing.MISSING
    assert (tmp_path / "a").read_bytes() == b"text"
    assert shelf.is_ours("a")


def test_a_file_that_is_too_large_for_the_disk_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = os.lseek

    def lseek(descriptor: int, position: int, how: int) -> int:
        if position > 4:  # as FAT beyond 4 GiB
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        return usual(descriptor, position, how)

    monkeypatch.setattr(os, "lseek", lseek)
    with rounds(tmp_path / "to", {"large": b"large", "fits": b"fits"}, NoTails()) as here:
        here.service.add("a", name="a")
        here.service.files["a"] = (output("large", b"large"), output("fits", b"fits"))
        assert fetches(here, 3) == [0]
        assert [request[0] for request in here.source.requests] == ["fits"]
        assert here.of("fail") == ["jobs/a/outputs/large"]
        assert here.outputs() == {"fits": b"fits"}
