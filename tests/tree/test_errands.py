"""Errands are run, on few threads, and on none when there are none."""

from __future__ import annotations

import threading

from rescalefs.background import Background
from rescalefs.tree.errands import Errands


def test_before_the_start_an_errand_is_done_at_once() -> None:
    ran: list[str] = []
    errands = Errands(Background(), 2)
    errands.run(lambda: ran.append(threading.current_thread().name))
    assert ran == [threading.current_thread().name]
    assert not errands.in_background


def test_no_more_threads_than_said_work_and_all_errands_are_run() -> None:
    background = Background()
    errands = Errands(background, 2)
    errands.start()
    gate, all_ran = threading.Event(), threading.Semaphore(0)
    both_busy = threading.Barrier(3)
    threads: set[int] = set()

    def first_two() -> None:
        both_busy.wait(30)
        gate.wait(30)
        all_ran.release()

    def others() -> None:
        threads.add(threading.get_ident())
        all_ran.release()

    for _ in range(2):
        errands.run(first_two)
    both_busy.wait(30)
    for _ in range(20):
        errands.run(others)
    assert not threads
    gate.set()
    assert all(all_ran.acquire(timeout=30) for _ in range(22))
    assert len(threads) <= 2
    background.close()


def test_a_crew_that_went_home_comes_back() -> None:
    background = Background()
    errands = Errands(background, 1)
    errands.start()
    for _ in range(50):
        ran = threading.Event()
        errands.run(ran.set)
        assert ran.wait(30)
    background.close()


def test_after_the_end_nothing_is_begun() -> None:
    background = Background()
    errands = Errands(background, 1)
    errands.start()
    background.close()
    ran: list[int] = []
    errands.run(lambda: ran.append(1))
    assert not ran


def test_an_errand_that_raises_ends_alone() -> None:
    background = Background()
    errands = Errands(background, 1)
    errands.start()
    ran = threading.Event()

    def strange() -> None:
        raise OverflowError("date value out of range")

    for _ in range(3):
        errands.run(strange)
    errands.run(ran.set)
    assert ran.wait(30)
    background.close()  # raises what ended a thread
