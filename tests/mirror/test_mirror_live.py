"""Copies of files that running jobs write."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rescalefs.errors import NotFound
from rescalefs.mirror import Ledger, LiveCopies, Shelf
from rescalefs.model import LiveFile
from tests.fakes import FakeClock

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
    live = LiveCopies(tail, Shelf(folder, Ledger(None), folder / "parts"), clock)
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


def test_what_is_forgotten_is_written_no_more(tmp_path: Path) -> None:
    stop, clock = threading.Event(), FakeClock()
    tail = Tail(stop)
    live = copies(tail, tmp_path, clock, count=2)
    live.follow("jobs/b/live/log", LiveFile("b", "1", "b.log"))
    live.forget("jobs/a/live/")
    live.keep_up(stop)
    assert tail.looks == {"log0": 1, "log1": 1, "b.log": ENOUGH}
