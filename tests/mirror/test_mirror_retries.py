"""Which files are fetched again in the next round, and which rest for a while."""

from __future__ import annotations

import errno
import os
from typing import cast

from rescalefs.mirror.retries import Retries
from rescalefs.mirror.shelf import Shelf
from rescalefs.model import RemoteFile
from tests.fakes import FakeClock

SMALL = RemoteFile("s", "s", "b.txt", 5)
LARGE = RemoteFile("l", "l", "a.bin", 5000)
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Disk:
    def __init__(self, left: int) -> None:
        self.left = left

    def free(self) -> int:
        return self.left


def test_a_file_that_another_one_left_no_room_for_is_fetched_in_the_next_round() -> None:
    """The other one is removed between the failure and the look at what is free: that is no larger later."""
    disk, clock = Disk(1000), FakeClock()
    retries = Retries(cast("Shelf", disk), clock)
    retries.did_not_fit(SMALL, FULL)
    assert retries.why_not(SMALL) == ""
    retries.did_not_fit(LARGE, FULL)
    assert "5000 bytes" in retries.why_not(LARGE)
    disk.left = 6000
    assert retries.why_not(LARGE) == ""


def test_a_file_that_would_fit_and_never_does_rests_all_the_same() -> None:
    """A quota, for example, which no look at what is free shows."""
    clock = FakeClock()
    retries = Retries(cast("Shelf", Disk(1 << 40)), clock)
    for _ in range(3):
        assert retries.why_not(LARGE) == ""
        retries.did_not_fit(LARGE, FULL)
    assert retries.why_not(LARGE) != ""
    clock.advance(61)
    assert retries.why_not(LARGE) == ""
