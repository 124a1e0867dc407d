"""When the next piece of a file is asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rescalefs.background import Background
from rescalefs.mirror import Transfers
from rescalefs.mirror.part import Part
from rescalefs.model import RemoteFile
from tests.fakes import FakeClock

MIB = 1 << 20
SIZE = 12 * MIB
PATIENCE = 30.0


@dataclass
class _Body:
    source: _FarSource
    number: int
    start: int
    stop: int
    total: int = SIZE

    def __iter__(self) -> Iterator[bytes]:
        for position in range(self.start, self.stop, MIB):
            is_last = position + MIB >= self.stop
            # What a line is like is learnt from the first piece; the third was not asked for in vain.
            if is_last and self.number == 1:
                self.source.third_was_early = self.source.third.wait(PATIENCE)
            self.source.clock.advance(0.05)
            yield bytes(min(MIB, self.stop - position))


class _FarSource:
    """Answers after 40 ms, a MiB every 50."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.third = threading.Event()
        self.third_was_early = False
        self._asked = 0

    @contextmanager
    def open_range(self, _file: RemoteFile, start: int, stop: int) -> Iterator[_Body]:
        number, self._asked = self._asked, self._asked + 1
        if number == 2:
            self.third.set()
        self.clock.advance(0.04)
        yield _Body(self, number, start, stop)


def test_on_a_far_line_the_next_piece_is_asked_for_before_the_last_bytes_of_the_one_before(
    tmp_path: Path,
) -> None:
    clock, background = FakeClock(), Background()
    source = _FarSource(clock)
    transfers = Transfers(source, tmp_path, clock, background, connections=1)
    transfers.start()
    failures: list[object] = []

    def done(part: Part | None, failure: Exception | None) -> None:
        failures.append(failure)
        if part is not None:
            part.discard()

    transfers.add(RemoteFile("f", "f", "f", SIZE), "f", done)
    transfers.drain()
    transfers.close()
    background.close()
    assert failures == [None]
    assert source.third_was_early
