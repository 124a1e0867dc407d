"""Files that grow while they are read."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rescalefs.errors import NotFound
from rescalefs.model import LiveFile
from rescalefs.mount import MountSettings
from rescalefs.reading.live import LiveFiles, OpenLiveFile
from tests.fakes import FakeClock

LOG = LiveFile("aabbcc", "1", "residuals.log")


@dataclass
class Body:
    """One answer."""

    start: int
    content: bytes
    total: int | None
    is_final: bool = False

    def __iter__(self) -> Iterator[bytes]:
        piece = max(3, len(self.content) // 20)
        for at in range(0, len(self.content), piece):
            yield self.content[at : at + piece]


@dataclass
class Cluster:
    """A live file in memory; counts what it sends."""

    content: bytes = b""
    knows_ranges: bool = True
    gone: bool = False
    sent: list[int] = field(default_factory=list)

    @contextmanager
    def open_tail(self, file: LiveFile, start: int) -> Iterator[Body]:
        if self.gone:
            raise NotFound(f"{file.path}: the run has ended")
        if not self.knows_ranges:
            start = 0
        body = Body(start, self.content[start:], len(self.content) if self.knows_ranges else None)
        self.sent.append(len(body.content))
        yield body


def read(file: OpenLiveFile, offset: int = 0, count: int = 1000) -> bytes:
    buffer = bytearray(count)
    return bytes(buffer[: file.read_into(memoryview(buffer), offset)])


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_growing_file_is_read_as_far_as_it_goes(tmp_path: Path, knows_ranges: bool) -> None:
    clock, cluster = FakeClock(), Cluster(b"step 1\n", knows_ranges)
    files = LiveFiles(cluster, clock, tmp_path)
    file = files.open(LOG)
    assert (file.look().size, read(file)) == (7, b"step 1\n")
    cluster.content += b"step 2\n"
    assert read(file) == b"step 1\n"  # within the pause: what is known
    clock.advance(1)
    assert (file.look().size, read(file, 7)) == (14, b"step 2\n")
    file.close()
    files.close()


def test_what_tail_sees_is_at_most_two_seconds_old_and_costs_a_request_a_second(tmp_path: Path) -> None:
    clock, cluster = FakeClock(), Cluster(b"")
    files = LiveFiles(cluster, clock, tmp_path)
    file = files.open(LOG)
    held = MountSettings().attr_timeout  # what the kernel may show is as old as this on top
    ticks = 200  # of a twentieth of a second; a line a second
    for tick in range(ticks):
        clock.advance(0.05)
        if tick % 20 == 0:
            cluster.content += b"step %d\n" % tick
            due = clock.monotonic() + 2.0 - held
        seen = read(file)
        assert cluster.content.startswith(seen)
        if clock.monotonic() >= due - 1e-9:
            assert seen == cluster.content
    assert len(cluster.sent) <= ticks * 0.05 + 2
    file.close()
    files.close()


def test_only_what_is_new_is_sent(tmp_path: Path) -> None:
    clock, cluster = FakeClock(), Cluster(b"x" * 100)
    files = LiveFiles(cluster, clock, tmp_path)
    for _ in range(3):
        files.look(LOG)
        clock.advance(1)
        cluster.content += b"y"
    assert cluster.sent == [100, 101, 102], "of a short file all, to see whether it is still that file"
    cluster.content += b"z" * 100_000
    files.look(LOG)
    clock.advance(1)
    cluster.content += b"y"
    files.look(LOG)
    assert cluster.sent[-1] == 257
    files.close()


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_file_that_was_begun_anew_is_read_anew(tmp_path: Path, knows_ranges: bool) -> None:
    clock, cluster = FakeClock(), Cluster(b"a long first file", knows_ranges)
    files = LiveFiles(cluster, clock, tmp_path)
    file = files.open(LOG)
    clock.advance(1)
    cluster.content = b"short"
    assert (file.look().size, read(file)) == (5, b"short")
    file.close()
    files.close()


def test_what_is_open_stays_readable_when_the_run_has_ended(tmp_path: Path) -> None:
    clock, cluster = FakeClock(), Cluster(b"done\n")
    files = LiveFiles(cluster, clock, tmp_path)
    file = files.open(LOG)
    cluster.gone = True
    clock.advance(1000)
    assert read(file) == b"done\n"
    with pytest.raises(NotFound):
        files.look(LiveFile("aabbcc", "1", "other.log"))
    files.close()
    assert read(file) == b"done\n"
    file.close()


def test_what_nobody_looks_at_is_forgotten(tmp_path: Path) -> None:
    clock, cluster = FakeClock(), Cluster(b"12345")
    files = LiveFiles(cluster, clock, tmp_path)
    files.look(LOG)
    clock.advance(100)
    files.look(LiveFile("aabbcc", "1", "other.log"))
    files.look(LOG)
    assert cluster.sent == [5, 5, 5]  # the third one afresh, from the start
    files.close()


def test_many_readers_share_one_request(tmp_path: Path) -> None:
    asked, answer = threading.Event(), threading.Event()

    class Slow(Cluster):
        @contextmanager
        def open_tail(self, file: LiveFile, start: int) -> Iterator[Body]:
            asked.set()
            assert answer.wait(10)
            with super().open_tail(file, start) as body:
                yield body

    cluster = Slow(b"12345")
    files = LiveFiles(cluster, FakeClock(), tmp_path)
    sizes: list[int] = []
    readers = [threading.Thread(target=lambda: sizes.append(files.look(LOG).size)) for _ in range(4)]
    readers[0].start()
    assert asked.wait(10)
    for reader in readers[1:]:
        reader.start()
    answer.set()
    for reader in readers:
        reader.join(10)
    assert sizes == [5, 5, 5, 5]
    assert cluster.sent == [5]
    files.close()


def test_the_time_is_when_it_was_first_seen_to_be_of_its_size(tmp_path: Path) -> None:
    clock, cluster = FakeClock(), Cluster(b"step 1\n")
    files = LiveFiles(cluster, clock, tmp_path)
    seen = files.look(LOG).changed
    clock.advance(10)
    assert files.look(LOG).changed == seen
    cluster.content += b"step 2\n"
    clock.advance(10)
    assert files.look(LOG).changed == clock.now()
    files.close()
