"""The real clock, and the one that tests move."""

from __future__ import annotations

import threading
from datetime import timedelta, timezone

from rescalefs.clock import Clock, SystemClock, never
from tests.fakes import FakeClock


def test_the_wall_clock_is_aware_and_in_utc() -> None:
    assert SystemClock().now().tzinfo is timezone.utc


def test_a_wait_ends_at_once_when_it_is_woken() -> None:
    wake = threading.Event()
    wake.set()
    clocks: list[Clock] = [SystemClock(), FakeClock()]
    for clock in clocks:
        assert clock.wait(wake, 3600)


def test_a_wait_that_nobody_ends_takes_its_time() -> None:
    clock = FakeClock()
    before = clock.now()
    assert not clock.wait(never(), 3600)
    assert clock.now() - before == timedelta(hours=1)
    assert not SystemClock().wait(never(), 0.0)


def test_a_negative_wait_is_none() -> None:
    assert not SystemClock().wait(never(), -1)
