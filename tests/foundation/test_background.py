"""Threads end together, and no crash is lost."""

from __future__ import annotations

import logging
import os
import sys
import threading
from queue import Queue

import pytest

from rescalefs.background import Background, Ending


def test_close_ends_every_body_and_waits_for_it() -> None:
    ended: list[str] = []
    background = Background()

    def waits(stop: threading.Event) -> None:
        stop.wait()
        ended.append(threading.current_thread().name)

    for name in ("one", "two"):
        background.start(name, waits)
    background.close()
    assert sorted(ended) == ["rescalefs-one", "rescalefs-two"]
    assert background.stopping


def test_a_crash_stops_the_others_and_close_raises_it(caplog: pytest.LogCaptureFixture) -> None:
    told = threading.Event()
    other_ended = threading.Event()
    background = Background(on_crash=told.set)

    def waits(stop: threading.Event) -> None:
        stop.wait()
        other_ended.set()

    def crashes(_: threading.Event) -> None:
        raise ValueError("the disk is gone")

    background.start("waits", waits)
    with caplog.at_level(logging.CRITICAL):
        background.start("crashes", crashes)
        assert told.wait(10)
        assert other_ended.wait(10)
        with pytest.raises(ValueError, match="the disk is gone"):
            background.close()
    background.close()  # a second time: nothing left to raise


def test_only_the_first_crash_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[int] = []
    background = Background(on_crash=lambda: calls.append(1))

    def first(_: threading.Event) -> None:
        raise ValueError("first")

    def second(stop: threading.Event) -> None:
        stop.wait()
        raise KeyError("second")

    with caplog.at_level(logging.CRITICAL):
        background.start("second", second)
        background.start("first", first)
        with pytest.raises(ValueError, match="first"):
            background.close()
    assert calls == [1]


def test_nothing_starts_after_close() -> None:
    ran = threading.Event()
    background = Background()
    background.close()
    background.start("late", lambda stop: ran.set())
    assert not ran.is_set()


def test_a_body_may_close_its_own_background() -> None:
    done = threading.Event()
    background = Background()

    def closes(_: threading.Event) -> None:
        background.close()
        done.set()

    background.start("closes", closes)
    assert done.wait(10)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no nice value of its own")
def test_a_thread_that_yields_lets_the_others_have_the_processors_first() -> None:
    found: Queue[int] = Queue()

    def body(_stop: threading.Event) -> None:
        found.put(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    background = Background()
    background.start("busy", body)
    usual = found.get(timeout=10)
    background.start("modest", body, yielding=True)
    assert found.get(timeout=10) > usual
    background.close()
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == usual


def test_the_end_may_be_asked_for_before_anyone_waits() -> None:
    ending = Ending()
    assert not ending.is_asked
    ending.ask()
    ending.ask()
    ending.wait()
    ending.wait()
    assert ending.is_asked
