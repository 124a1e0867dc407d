"""Live files when the server, the disk or the descriptors are short of something: every look ends."""

from __future__ import annotations

import contextlib
import errno
import gc
import logging
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rescalefs.descriptors import Descriptors
from rescalefs.errors import NotFound, TimedOut, Unreachable
from rescalefs.model import LiveFile
from rescalefs.reading import live
from rescalefs.reading.live import LiveFiles
from tests.fakes import FakeClock
from tests.reading.test_live import LOG, Body, Cluster, read

MIB = 1 << 20
LIMIT = 20  # seconds; each test takes far less, and one that hangs fails


def numbered(number: int) -> LiveFile:
    return replace(LOG, path=f"f{number}")


def descriptors() -> int:
    """Those that point to a file without a name: others come and go with the test runner."""
    gc.collect()  # what earlier tests left
    return sum("(deleted)" in str(each.readlink()) for each in _open_now())


def _open_now() -> Iterator[Path]:
    for each in Path("/proc/self/fd").iterdir():
        if each.is_symlink():  # the one of this listing is gone again
            yield each


class Raising(Cluster):
    """Raises something once the second reader waits."""

    def __init__(self, error: BaseException, asked: threading.Event, go_on: threading.Event) -> None:
        super().__init__(b"12345")
        self.error: BaseException | None = error
        self.asked, self.go_on = asked, go_on

    @contextmanager
    def open_tail(self, file: LiveFile, start: int) -> Iterator[Body]:
        if self.error is not None:
            self.asked.set()
            assert self.go_on.wait(LIMIT)
            raise self.error
        with super().open_tail(file, start) as body:
            yield body


@pytest.mark.parametrize(
    "error",
    [NotFound("404"), OSError(errno.ECONNRESET, "reset"), RuntimeError("ours"), MemoryError(), SystemExit(1)],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_look_raises_all_who_wait_for_it_get_an_error_and_the_next_look_works(
    tmp_path: Path, error: BaseException
) -> None:
    asked, go_on = threading.Event(), threading.Event()
    cluster = Raising(error, asked, go_on)
    files = LiveFiles(cluster, FakeClock(), tmp_path)

    def look() -> str:
        try:
            files.look(LOG)
        except BaseException as raised:  # noqa: BLE001  # the test compares it
            return type(raised).__name__
        return "nothing"

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(look)
        assert asked.wait(LIMIT)
        second = pool.submit(look)
        while files._growing[LOG]._holders < 2:  # both are at it
            threading.Event().wait(0.001)
        go_on.set()
        told = {first.result(LIMIT), second.result(LIMIT)}
    assert "nothing" not in told
    assert type(error).__name__ in told or "Unreachable" in told
    cluster.error = None
    assert files.look(LOG).size == 5
    files.close()


def test_where_the_disk_takes_nothing_the_size_is_right_and_reading_fails_until_it_does(
    tmp_path: Path,
) -> None:
    clock, cluster = FakeClock(), Cluster(b"x" * (9 * MIB))
    folder = tmp_path / "live"
    folder.write_bytes(b"no folder")
    files = LiveFiles(cluster, clock, folder)
    assert files.look(LOG).size == 9 * MIB
    file = files.open(LOG)
    with pytest.raises(OSError, match="its bytes cannot be kept") as raised:
        read(file, 8 * MIB)
    assert raised.value.errno == errno.EIO
    folder.unlink()
    clock.advance(2)
    assert read(file, 9 * MIB - 5) == b"xxxxx"
    file.close()
    files.close()


def test_a_disk_that_takes_nothing_is_a_warning_once_in_a_while(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, cluster = FakeClock(), Cluster(b"x" * (9 * MIB))
    (tmp_path / "live").write_bytes(b"no folder")
    files = LiveFiles(cluster, clock, tmp_path / "live")
    for number in range(60):
        files.look(numbered(number % 3))
        clock.advance(10)
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert len(warnings) == 2
    files.close()


def test_without_a_disk_what_is_not_long_is_kept_in_memory(tmp_path: Path) -> None:
    (tmp_path / "live").write_bytes(b"no folder")
    files = LiveFiles(Cluster(b"y" * MIB), FakeClock(), tmp_path / "live")
    file = files.open(LOG)
    assert read(file, MIB - 3) == b"yyy"
    file.close()
    files.close()


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_file_larger_than_the_room_there_is_shows_its_size_and_an_error_instead_of_an_early_end(
    tmp_path: Path, knows_ranges: bool
) -> None:
    cluster = Cluster(b"x" * (8 * MIB), knows_ranges)
    files = LiveFiles(cluster, FakeClock(), tmp_path, limit=6 * MIB)
    file = files.open(LOG)
    assert file.look().size == 8 * MIB
    with pytest.raises(OSError, match="its bytes cannot be kept") as raised:
        read(file, 8 * MIB - 100)
    assert raised.value.errno == errno.ENOSPC
    file.close()
    files.close()


def test_what_is_not_in_use_makes_room_for_what_is_looked_at(tmp_path: Path) -> None:
    clock, cluster = FakeClock(), Cluster(b"x" * (4 * MIB))
    files = LiveFiles(cluster, clock, tmp_path, limit=6 * MIB)
    for number in range(5):
        file = files.open(numbered(number))
        assert read(file, 4 * MIB - 4) == b"xxxx"
        file.close()
    again = files.open(numbered(0))
    assert read(again, 4 * MIB - 4) == b"xxxx"
    again.close()
    files.close()


def test_many_live_files_take_few_descriptors_and_can_all_be_read(tmp_path: Path) -> None:
    cluster = Cluster(b"z" * (70 << 10))  # too long for the memory
    files = LiveFiles(cluster, FakeClock(), tmp_path)
    before = descriptors()
    for number in range(300):
        files.look(numbered(number))
    assert descriptors() - before <= 64
    for number in (0, 299):
        file = files.open(numbered(number))
        assert read(file, (70 << 10) - 2) == b"zz"
        file.close()
    files.close()
    assert descriptors() == before


def test_short_live_files_take_no_descriptor(tmp_path: Path) -> None:
    files = LiveFiles(Cluster(b"line\n"), FakeClock(), tmp_path)
    before = descriptors()
    for number in range(1300):
        files.look(numbered(number))
    assert descriptors() == before
    files.close()


def test_a_file_is_in_use_as_long_as_it_is_fetched(tmp_path: Path) -> None:
    clock = FakeClock()

    class Slow(Cluster):
        @contextmanager
        def open_tail(self, file: LiveFile, start: int) -> Iterator[Body]:
            with super().open_tail(file, start) as body:
                if file == LOG:
                    clock.advance(75)
                    files.look(numbered(1))
                yield body

    files = LiveFiles(Slow(b"12345"), clock, tmp_path)
    assert files.look(LOG).size == 5
    file = files.open(LOG)
    assert read(file) == b"12345"
    file.close()
    files.close()


class Endless:
    """An answer of unknown length that never ends: a piece each second."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.starts: list[int] = []

    @contextmanager
    def open_tail(self, file: LiveFile, start: int) -> Iterator[Endless.Answer]:
        self.starts.append(start)
        yield self.Answer(start, self.clock)

    class Answer:
        total = None
        is_final = False

        def __init__(self, start: int, clock: FakeClock) -> None:
            self.start = start
            self._clock = clock

        def __iter__(self) -> Iterator[bytes]:
            while True:
                self._clock.advance(1)
                yield b"x" * 1000


def test_an_answer_that_never_ends_is_a_time_out_and_the_next_look_goes_on_from_there(tmp_path: Path) -> None:
    endless = Endless(FakeClock())
    files = LiveFiles(endless, endless.clock, tmp_path)
    for _ in range(2):
        with pytest.raises(TimedOut):
            files.look(LOG)
    assert endless.starts[0] == 0
    assert endless.starts[1] > 100_000
    files.close()


def test_who_waits_for_another_threads_look_waits_no_longer_than_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_LOOK", 0.0)
    monkeypatch.setattr(live, "_GRACE", 0.01)
    asked, go_on = threading.Event(), threading.Event()
    files = LiveFiles(Raising(NotFound("404"), asked, go_on), FakeClock(), tmp_path)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(files.look, LOG)
        assert asked.wait(LIMIT)
        with pytest.raises(TimedOut):
            files.look(LOG)
        go_on.set()
        assert isinstance(first.exception(LIMIT), NotFound)
    files.close()


def test_a_run_that_ends_while_its_file_is_fetched_leaves_what_was_known(tmp_path: Path) -> None:
    class Cut(Cluster):
        is_cut = False

        @contextmanager
        def open_tail(self, file: LiveFile, start: int) -> Iterator[Body]:
            with super().open_tail(file, start) as body:
                yield _Cut(body) if self.is_cut else body

    class _Cut(Body):
        def __init__(self, body: Body) -> None:
            super().__init__(body.start, body.content, body.total)

        def __iter__(self) -> Iterator[bytes]:
            yield self.content[:-2]
            raise Unreachable("cut")

    clock, cluster = FakeClock(), Cut(b"step 1\n")
    files = LiveFiles(cluster, clock, tmp_path)
    file = files.open(LOG)
    assert read(file) == b"step 1\n"
    cluster.content += b"step 2\n"
    cluster.is_cut = True
    clock.advance(2)
    assert (file.look().size, read(file)) == (7, b"step 1\n")
    cluster.is_cut = False
    clock.advance(2)
    assert read(file) == b"step 1\nstep 2\n"
    file.close()
    files.close()


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_file_begun_anew_that_is_longer_now_is_read_anew(tmp_path: Path, knows_ranges: bool) -> None:
    clock, cluster = FakeClock(), Cluster(b"the first run\n" * 100, knows_ranges)
    files = LiveFiles(cluster, clock, tmp_path)
    file = files.open(LOG)
    clock.advance(1)
    cluster.content = b"the second run of the solver\n" * 100
    assert read(file, 0, 10_000) == cluster.content
    file.close()
    files.close()


@pytest.mark.parametrize("damage", [lambda fd: os.ftruncate(fd, 10), lambda fd: os.close(fd)])
def test_bytes_that_the_disk_lost_are_fetched_again(tmp_path: Path, damage: Callable[[int], None]) -> None:
    cluster = Cluster(os.urandom(100_000))
    files = LiveFiles(cluster, FakeClock(), tmp_path)
    file = files.open(LOG)
    kept = files._growing[LOG]._seen.now
    assert hasattr(kept, "_fd")
    damage(kept._fd)
    if damage.__code__.co_names == ("os", "close"):
        kept._fd = os.open(os.devnull, os.O_WRONLY)  # nothing can be read from it
    assert read(file, 99_000, 5000) == cluster.content[99_000:]
    file.close()
    files.close()


def test_a_file_whose_run_has_ended_is_not_asked_for_each_second(tmp_path: Path) -> None:
    class Ended(Cluster):
        @contextmanager
        def open_tail(self, file: LiveFile, start: int) -> Iterator[Body]:
            with super().open_tail(file, start) as body:
                body.is_final = True
                yield body

    clock, cluster = FakeClock(), Ended(b"done\n")
    files = LiveFiles(cluster, clock, tmp_path)
    file = files.open(LOG)
    for _ in range(100):
        clock.advance(1)
        assert read(file) == b"done\n"
    assert len(cluster.sent) <= 5
    file.close()
    files.close()


class _Play:
    """Random steps on one live file."""

    def __init__(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.unlink(missing_ok=True)
        self.folder = folder
        self.clock, self.cluster = FakeClock(), Cluster(b"begin")
        self.files = LiveFiles(self.cluster, self.clock, folder, limit=500_000)
        self.file = self.files.open(LOG)

    def append(self, count: int) -> None:
        self.cluster.content += os.urandom(count)

    def rewrite(self, count: int) -> None:
        self.cluster.content = os.urandom(8) * (count // 8)

    def look_at_another(self, count: int) -> None:
        self.files.look(numbered(count % 4))

    def idle(self, _count: int) -> None:
        self.clock.advance(61)

    def reopen(self, _count: int) -> None:
        self.file.close()
        self.files.look(numbered(9))
        self.file = self.files.open(LOG)

    def break_disk(self, _count: int) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.write_bytes(b"")

    def mend_disk(self, _count: int) -> None:
        if self.folder.is_file():
            self.folder.unlink()

    def toggle_ranges(self, _count: int) -> None:
        self.cluster.knows_ranges = not self.cluster.knows_ranges

    def check(self) -> None:
        self.clock.advance(1)
        content = self.cluster.content
        assert self.file.look().size == len(content)
        if len(content) <= 64 << 10:  # what is short needs no disk
            assert read(self.file, 0, 10**6) == content
            return
        with contextlib.suppress(OSError):
            assert read(self.file, 0, 10**6) == content


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                _Play.append,
                _Play.rewrite,
                _Play.look_at_another,
                _Play.idle,
                _Play.reopen,
                _Play.break_disk,
                _Play.mend_disk,
                _Play.toggle_ranges,
            ]
        ),
        st.integers(0, 200_000),
    ),
    max_size=25,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(steps=STEPS)
def test_every_read_is_what_the_file_was_or_an_error(
    tmp_path: Path, steps: list[tuple[Callable[[_Play, int], None], int]]
) -> None:
    play = _Play(tmp_path / "live")
    for step, count in steps:
        step(play, count)
        play.check()
    play.file.close()
    play.files.close()
    spool = play.files._spool
    assert spool.files == spool._on_disk == spool._in_memory == 0


def test_live_files_keep_to_their_share_of_descriptors_and_close_what_others_need(tmp_path: Path) -> None:
    budget = Descriptors(64)
    files = LiveFiles(Cluster(b"z" * (5 * MIB)), FakeClock(), tmp_path, descriptors=budget)
    opened = [files.open(numbered(number)) for number in range(budget.live.most)]
    with pytest.raises(OSError, match="cannot be kept") as raised:
        read(files.open(numbered(99)), 5 * MIB - 10)
    assert raised.value.errno == errno.EMFILE
    assert budget.live.count == budget.live.most
    for each in opened[1:]:
        each.close()
    attempts: list[int] = []

    def act() -> int:
        attempts.append(budget.live.count)
        if len(attempts) == 1:
            raise OSError(errno.EMFILE, "no descriptor left")
        return budget.live.count

    assert budget.retried(act) == 1, "of the file that is still open"
    opened[0].close()
    files.close()
    assert budget.live.count == 0
