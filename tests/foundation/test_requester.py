"""Which program a thread works for."""

from __future__ import annotations

import threading
from pathlib import Path

from rescalefs import requester
from rescalefs.background import Background
from rescalefs.requester import Openers


def test_a_thread_works_for_nobody_until_it_is_told() -> None:
    assert requester.current() == ()
    with requester.on_behalf_of((7,)):
        assert requester.current() == (7,)
        with requester.on_behalf_of((8, 9)):
            assert requester.current() == (8, 9)
        assert requester.current() == (7,)
    assert requester.current() == ()


def test_work_that_is_carried_to_another_thread_is_for_the_same_program() -> None:
    seen: list[requester.Requesters] = []

    def note() -> None:
        seen.append(requester.current())

    with requester.on_behalf_of((7,)):
        errand = requester.carried(note)
    threads = Background()

    def body(_: threading.Event) -> None:
        errand()
        note()

    threads.start("errand", body)
    threads.close()
    assert seen == [(7,), ()]


def test_who_is_asked_when_it_is_needed() -> None:
    numbers = iter(range(10))
    threads = Background()
    seen: list[requester.Requesters] = []

    def body(_: threading.Event) -> None:
        requester.ask(lambda: (next(numbers),))
        seen.extend([requester.current(), requester.current()])

    threads.start("asked", body)
    threads.close()
    assert seen == [(0,), (1,)]


def test_a_file_is_fetched_for_the_programs_that_opened_it_last() -> None:
    openers = Openers()
    assert openers.of("f") == ()
    for program in (1, 2, 1, *range(10, 17)):
        with requester.on_behalf_of((program,)):
            openers.opened("f")
    assert openers.of("f") == (16, 15, 14, 13, 12, 11, 10, 1)
    for number in range(5000):
        openers.opened(f"other-{number}")
    assert openers.of("f") == ()


def test_only_the_kernels_door_says_who_asks() -> None:
    root = Path(requester.__file__).parent
    setting = [path.name for path in root.rglob("*.py") if "requester.ask(" in path.read_text()]
    assert setting == ["adapter.py"]
