"""Copies of files that running jobs write."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rescalefs.background import Background
from rescalefs.errors import NotFound
from rescalefs.mirror import LiveCopies, Mirror, Report, Selection, Transfers
from rescalefs.model import LiveFile, Run
from tests.fakes import FakeClock, MemorySource
from tests.mirror.rounds import shelf_in
from tests.tree.account import FakeService, file, minutes, tree_of

ENOUGH = 8  # looks


class Tail:
    """What a running job writes: a line more at each look; ends ``stop`` after `ENOUGH` of them."""

    def __init__(self, stop: threading.Event, whole: bool = False) -> None:
        self.stop = stop
        self.whole = whole  # this server does not know ranges
        self.looks: dict[str, int] = {}
        self.gone: set[str] = set()

    @contextmanager
    def open_tail(self, file: LiveFile, start: int) -> Iterator[Body]:
        looks = self.looks[file.path] = self.looks.get(file.path, 0) + 1
        if looks == ENOUGH:
            self.stop.set()
        if file.path in self.gone:
            raise NotFound("the run has ended")
        yield Body(
            "".join(f"line {number}\n" for number in range(looks)).encode(), 0 if self.whole else start
        )


class Body:
    def __init__(self, content: bytes, start: int) -> None:
        self.start = start
        self.total: int | None = len(content)
        self._new = content[start:]

    def __iter__(self) -> Iterator[bytes]:
        return iter([self._new])


def copies(tail: Tail, folder: Path, clock: FakeClock, count: int = 1) -> LiveCopies:
    """Copies that have been followed once."""
    live = LiveCopies(tail, shelf_in(folder), clock)
    (folder / "parts").mkdir()
    for number in range(count):
        live.follow(f"jobs/a/live/log{number}", LiveFile("a", "1", f"log{number}"))
    return live


def test_a_copy_is_at_most_two_seconds_behind_between_two_rounds(tmp_path: Path) -> None:
    stop, clock = threading.Event(), FakeClock()
    copies(Tail(stop), tmp_path, clock).keep_up(stop)
    assert (tmp_path / "jobs/a/live/log0").read_text().splitlines() == [f"line {n}" for n in range(ENOUGH)]
    assert clock.waits == [1.0] * (ENOUGH - 1)


def test_many_copies_are_looked_after_more_rarely(tmp_path: Path) -> None:
    stop, clock = threading.Event(), FakeClock()
    copies(Tail(stop), tmp_path, clock, count=40).keep_up(stop)
    assert set(clock.waits) == {4.0}


def test_what_has_ended_is_left_to_the_rounds(tmp_path: Path) -> None:
    stop, clock = threading.Event(), FakeClock()
    tail = Tail(stop)
    live = copies(tail, tmp_path, clock, count=2)
    tail.gone.add("log0")
    live.keep_up(stop)
    assert tail.looks == {"log0": 2, "log1": ENOUGH}
    assert (tmp_path / "jobs/a/live/log0").read_text() == "line 0\n"


def test_a_file_that_the_server_sends_whole_is_left_to_the_rounds(tmp_path: Path) -> None:
    stop, clock = threading.Event(), FakeClock()
    tail = Tail(stop)
    live = copies(tail, tmp_path, clock, count=2)
    tail.whole = True
    assert live.follow("jobs/a/live/log0", LiveFile("a", "1", "log0")) == len("line 1\n")
    tail.whole = False
    live.keep_up(stop)
    assert tail.looks == {"log0": 2, "log1": ENOUGH}
    assert (tmp_path / "jobs/a/live/log0").read_text() == "line 0\nline 1\n"


def test_what_is_finished_is_brought_up_to_date_once_more_and_no_more(tmp_path: Path) -> None:
    stop, clock = threading.Event(), FakeClock()
    tail = Tail(stop)
    live = copies(tail, tmp_path, clock, count=2)
    live.follow("jobs/b/live/log", LiveFile("b", "1", "b.log"))
    tail.gone.add("log0")
    with pytest.raises(NotFound):  # the run has ended, and its outputs are not there yet
        live.follow("jobs/a/live/log0", LiveFile("a", "1", "log0"))
    tail.gone.clear()
    live.finish("jobs/a/live/")
    live.keep_up(stop)
    assert tail.looks == {"log0": 3, "log1": 2, "b.log": ENOUGH}
    assert (tmp_path / "jobs/a/live/log0").read_text() == "line 0\nline 1\nline 2\n"


def mirror_of(
    service: FakeService, folder: Path, clock: FakeClock, live: bool = True, dry_run: bool = False
) -> Mirror:
    shelf = shelf_in(folder)
    (folder / "parts").mkdir()
    copies = LiveCopies(Tail(threading.Event()), shelf, clock)
    transfers = Transfers(MemorySource({}), shelf.parts, clock, Background(), 1)
    return Mirror(
        tree_of(service, clock), shelf, transfers, Selection(live=live), clock, copies, dry_run=dry_run
    )


def of_a_job(folder: Path) -> set[str]:
    """The copies of what it writes."""
    live = [*folder.glob("jobs/a/live/**/*"), *folder.glob("jobs/a/runs/*/live/**/*")]
    return {path.relative_to(folder / "jobs/a").as_posix() for path in live if path.is_file()}


def look(mirror: Mirror, service: FakeService, times: int) -> int:
    """Look so many times for files that were begun; return how many requests each look took."""
    stop, before, asked = threading.Event(), service.total, service.requests["directory_contents"]

    def listed(method: str) -> None:
        if service.requests["directory_contents"] == asked + times:
            stop.set()

    service.on_request = listed
    mirror.look_for_begun(stop)
    service.on_request = lambda _: None
    return (service.total - before) // times


@pytest.mark.parametrize("runs", [1, 2])
def test_a_file_that_a_job_begins_is_here_two_seconds_later(tmp_path: Path, runs: int) -> None:
    service, clock = FakeService(), FakeClock()
    service.add("a", status="Executing")
    if runs == 2:
        service.all_runs["a"] = (Run("1", minutes(1), minutes(2)), Run("2", minutes(2)))
    key, live = ("a", "live") if runs == 1 else ("a/2", "runs/2/live")
    service.working[key] = ("log",)
    mirror = mirror_of(service, tmp_path, clock)
    mirror.round((service.all["a"],), Report())
    assert of_a_job(tmp_path) == {f"{live}/log"}
    service.working[key] = ("log", "fields/begun")
    clock.waits.clear()
    assert look(mirror, service, 1) == 1
    assert of_a_job(tmp_path) == {f"{live}/log", f"{live}/fields/begun"}
    assert clock.waits == [1.5]


def test_a_job_that_ended_is_looked_at_no_more_and_many_more_rarely(tmp_path: Path) -> None:
    service, clock = FakeService(), FakeClock()
    for name in "abcdefghij":
        service.add(name, status="Executing")
    mirror = mirror_of(service, tmp_path, clock)
    mirror.round(service.jobs(), Report())
    clock.waits.clear()
    assert look(mirror, service, 10) == 1
    assert clock.waits == [3.0]
    service.add("a")
    mirror.round(service.jobs(), Report())
    clock.waits.clear()
    assert look(mirror, service, 9) == 1
    assert clock.waits == [pytest.approx(2.7)]


@pytest.mark.parametrize("live", [True, False])
def test_an_output_in_a_folder_called_live_is_an_output(tmp_path: Path, live: bool) -> None:
    service = FakeService()
    service.add("a")
    service.files["a"] = (file("1", "live/u"), file("2", "u/live/u"))
    told: list[str] = []
    mirror = mirror_of(service, tmp_path, FakeClock(), live, dry_run=True)
    report = Report(lambda act, path, _: told.append(path) if act == "fetch" else None)
    mirror.round((service.all["a"],), report)
    assert told == ["jobs/a/outputs/live/u", "jobs/a/outputs/u/live/u"]
