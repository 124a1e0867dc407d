"""Answers are asked for once, kept while they are worth something, and not waited for without a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rescalefs.background import Background
from rescalefs.clock import Clock, SystemClock
from rescalefs.errors import (
    ApiError,
    Forbidden,
    HeldBack,
    NotFound,
    ServerFailed,
    TimedOut,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
)
from rescalefs.tree.answers import Answers, Desk, Kind, Said
from rescalefs.tree.errands import Errands
from rescalefs.tree.health import Health
from rescalefs.tree.store import Drawer
from tests.fakes import FakeClock

LIVE, USABLE, REST = 4.0, 8.0, 5.0


class Server:
    """Says how often it was asked, as its answer."""

    def __init__(self) -> None:
        self.asked = 0
        self.holds: float | None = None
        self.failure: ApiError | None = None
        self.on_ask: Callable[[], None] = lambda: None

    def ask(self, key: str) -> Said[str]:
        self.asked += 1
        number = self.asked
        self.on_ask()
        if self.failure is not None:
            raise self.failure
        return Said(f"{key}{number}", self.holds)


def answers_of(
    server: Server,
    clock: Clock,
    errands: Errands | None = None,
    directory: Path | None = None,
    memory: int = 100,
) -> Answers[str]:
    desk = Desk(clock, Health(clock), errands or Errands(Background(), 2), REST, patience=3.0, deadline=60.0)
    kind: Kind[str] = Kind(server.ask, Drawer(directory, "test", str), LIVE, USABLE, memory)
    return Answers(kind, desk)


def test_a_fresh_answer_costs_no_request() -> None:
    server, clock = Server(), FakeClock()
    answers = answers_of(server, clock)
    assert answers.known("a") is None
    assert answers.get("a", ended=False) == "a1"
    clock.advance(LIVE - 0.1)
    assert answers.get("a", ended=False) == "a1"
    clock.advance(0.1)
    assert answers.get("a", ended=False) == answers.known("a") == "a2"
    assert answers.requests == 2


def test_an_answer_from_before_the_end_is_worth_nothing_after_it() -> None:
    server = Server()
    answers = answers_of(server, FakeClock())
    assert answers.get("a", ended=False) == "a1"
    server.holds = 100.0
    assert answers.get("a", ended=True) == "a2"


def test_an_answer_from_after_the_end_holds_as_long_as_it_says() -> None:
    server, clock = Server(), FakeClock()
    server.holds = 1000.0
    answers = answers_of(server, clock)
    answers.get("a", ended=True)
    clock.advance(999)
    assert answers.get("a", ended=True) == "a1"
    clock.advance(1)
    assert answers.get("a", ended=True) == "a2"


def test_the_last_known_answer_is_given_while_the_server_is_away() -> None:
    server, clock = Server(), FakeClock()
    answers = answers_of(server, clock)
    answers.get("a", ended=False)
    server.failure = Unreachable("gone")
    clock.advance(10_000)
    assert answers.get("a", ended=False) == "a1"
    assert answers.get("a", ended=True) == "a1"
    asked = server.asked
    assert answers.get("a", ended=False) == "a1"
    assert server.asked == asked  # requests rest
    server.failure = None
    clock.advance(60)
    assert answers.get("a", ended=False) != "a1"


def test_what_was_never_known_raises_and_is_not_asked_for_again_at_once() -> None:
    for failure in (Unreachable("gone"), ServerFailed("500"), Unauthenticated("401"), NotFound("404")):
        server, clock = Server(), FakeClock()
        answers = answers_of(server, clock)
        server.failure = failure
        for _ in range(3):
            with pytest.raises(type(failure)):
                answers.get("a", ended=False)
        assert server.asked == 1
        clock.advance(REST)
        server.failure = None
        assert answers.get("a", ended=False) == "a2"


def test_a_server_that_is_away_is_not_asked_about_other_things_either() -> None:
    server = Server()
    answers = answers_of(server, FakeClock())
    server.failure = Unreachable("gone")
    for key in "abc":
        with pytest.raises(Unreachable, match="gone"):
            answers.get(key, ended=False)
    assert server.asked == 1


@pytest.mark.parametrize("failure", [Unauthenticated("401"), Forbidden("403"), NotFound("404")])
def test_a_refusal_takes_the_place_of_what_was_known(failure: ApiError, tmp_path: Path) -> None:
    server, clock = Server(), FakeClock()
    answers = answers_of(server, clock, directory=tmp_path)
    answers.get("a", ended=False)
    server.failure = failure
    clock.advance(100)
    for _ in range(2):
        with pytest.raises(type(failure)):
            answers.get("a", ended=False)
    clock.advance(REST)
    with pytest.raises(type(failure)):
        answers.get("a", ended=False)
    server.failure = None
    clock.advance(REST)
    assert answers.get("a", ended=False) == "a4"


def test_every_caller_has_an_error_of_its_own() -> None:
    server = Server()
    answers = answers_of(server, FakeClock())
    server.failure = ServerFailed("500")
    raised = []
    for _ in range(2):
        with pytest.raises(ServerFailed) as caught:
            answers.get("a", ended=False)
        raised.append(caught.value)
    assert raised[0] is not raised[1]
    assert str(raised[0]) == "500"


def test_an_amended_answer_is_as_old_as_it_was(tmp_path: Path) -> None:
    server, clock = Server(), FakeClock()
    answers = answers_of(server, clock, directory=tmp_path)
    answers.amend("a", str.upper)
    assert answers.known("a") is None
    answers.get("a", ended=False)
    answers.amend("a", str.upper)
    assert answers.get("a", ended=False) == "A1"
    assert answers_of(server, clock, directory=tmp_path).get("a", ended=False) == "A1"
    clock.advance(LIVE)
    assert answers.get("a", ended=False) == "a2"


def test_what_is_forgotten_is_asked_for_again(tmp_path: Path) -> None:
    server, clock = Server(), FakeClock()
    answers = answers_of(server, clock, directory=tmp_path)
    answers.get("a", ended=False)
    answers.forget("a")
    assert answers.get("a", ended=False) == "a2"
    answers.get("b", ended=False)
    answers.forget_all()
    assert [answers.get(key, ended=False) for key in "ab"] == ["a4", "b5"]


def test_a_restart_remembers_answers_and_their_ages(tmp_path: Path) -> None:
    server, clock = Server(), FakeClock()
    server.holds = 100.0
    answers_of(server, clock, directory=tmp_path).get("a", ended=True)
    clock.advance(99)
    assert answers_of(server, clock, directory=tmp_path).get("a", ended=True) == "a1"
    clock.advance(1)
    assert answers_of(server, clock, directory=tmp_path).get("a", ended=True) == "a2"


def test_after_a_restart_without_a_server_the_last_known_is_given(tmp_path: Path) -> None:
    server, clock = Server(), FakeClock()
    answers_of(server, clock, directory=tmp_path).get("a", ended=False)
    clock.advance(10_000)
    server.failure = Unreachable("gone")
    restarted = answers_of(server, clock, directory=tmp_path)
    assert restarted.get("a", ended=False) == "a1"
    with pytest.raises(Unreachable):
        restarted.get("b", ended=False)


def test_the_least_used_answers_leave_memory_and_come_back_from_disk(tmp_path: Path) -> None:
    server, clock = Server(), FakeClock()
    server.holds = 1000.0
    answers = answers_of(server, clock, directory=tmp_path, memory=5)
    for key in "abcde":
        answers.get(key, ended=True)
        clock.advance(1)
    answers.get("a", ended=True)
    answers.get("f", ended=True)
    assert {key for key in "abcdef" if answers.known(key)} == {"a", "d", "e", "f"}
    assert answers.get("b", ended=True) == "b2"
    assert server.asked == 6


def test_an_answer_too_large_for_memory_is_kept_all_the_same() -> None:
    server = Server()
    answers = answers_of(server, FakeClock(), memory=0)
    answers.get("a", ended=False)
    assert answers.get("a", ended=False) == "a1"


class Gate:
    """Holds a request at the server until it is opened."""

    def __init__(self, server: Server) -> None:
        self.reached = threading.Semaphore(0)
        self._open = threading.Event()
        server.on_ask = self._hold

    def _hold(self) -> None:
        self.reached.release()
        assert self._open.wait(30)

    def open(self) -> None:
        self._open.set()


class CountedClock(SystemClock):
    """Real time, and word of everyone who begins to wait."""

    def __init__(self) -> None:
        self.waiting = threading.Semaphore(0)

    def wait(self, wake: object, seconds: float) -> bool:
        self.waiting.release()
        assert isinstance(wake, threading.Event)
        return wake.wait(seconds)


@pytest.mark.parametrize("failure", [None, ServerFailed("500")])
def test_threads_that_want_the_same_share_one_request_and_its_error(failure: ApiError | None) -> None:
    server, clock = Server(), CountedClock()
    server.failure = failure
    answers = answers_of(server, clock)
    gate = Gate(server)

    def ask() -> str:
        try:
            return answers.get("a", ended=False)
        except ServerFailed as error:
            return str(error)

    with ThreadPoolExecutor(8) as pool:
        results = [pool.submit(ask) for _ in range(8)]
        assert gate.reached.acquire(timeout=30)
        for _ in range(7):
            assert clock.waiting.acquire(timeout=30)
        gate.open()
        assert {result.result(30) for result in results} == {"a1" if failure is None else "500"}
    assert server.asked == 1


class Running:
    """Answers whose errands run in the background, under a clock that the test moves."""

    def __init__(self) -> None:
        self.server, self.clock, self.background = Server(), FakeClock(), Background()
        errands = Errands(self.background, 2)
        errands.start()
        self.answers = answers_of(self.server, self.clock, errands)


def test_a_usable_answer_is_given_at_once_and_renewed_in_the_background() -> None:
    running = Running()
    running.answers.get("a", ended=False)
    running.clock.advance(LIVE)
    gate = Gate(running.server)
    assert running.answers.get("a", ended=False) == "a1"
    assert gate.reached.acquire(timeout=30)
    assert running.answers.get("a", ended=False) == "a1"  # and not asked for twice
    gate.open()
    running.background.close()
    assert running.answers.known("a") == "a2"
    assert running.server.asked == 2


def test_an_older_answer_is_given_when_patience_ends() -> None:
    running = Running()
    running.answers.get("a", ended=False)
    running.clock.advance(USABLE)
    gate = Gate(running.server)
    assert running.answers.get("a", ended=False) == "a1"
    assert running.clock.waits == [3.0]
    gate.open()
    running.background.close()


def test_what_ended_is_waited_for_longer() -> None:
    running = Running()
    running.answers.get("a", ended=False)
    gate = Gate(running.server)
    assert running.answers.get("a", ended=True) == "a1"
    assert running.clock.waits == [60.0]
    gate.open()
    running.background.close()


def test_nobody_waits_for_ever_for_another_threads_request() -> None:
    server, clock = Server(), FakeClock()
    answers = answers_of(server, clock)
    gate = Gate(server)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(answers.get, "a", ended=False)
        assert gate.reached.acquire(timeout=30)
        with pytest.raises(TimedOut):
            answers.get("a", ended=False)
        gate.open()
        assert first.result(30) == "a1"


def test_an_answer_that_was_forgotten_on_its_way_is_not_kept() -> None:
    server = Server()
    answers = answers_of(server, FakeClock())
    gate = Gate(server)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(answers.get, "a", ended=False)
        assert gate.reached.acquire(timeout=30)
        answers.forget("a")
        gate.open()
        assert first.result(30) == "a1"
    assert answers.get("a", ended=False) == "a2"


class MeddlingClock(FakeClock):
    """Lets something happen at the next question about the time: between two steps of who asks it."""

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: Callable[[], object] | None = None

    def monotonic(self) -> float:
        meanwhile, self.meanwhile = getattr(self, "meanwhile", None), None
        if meanwhile is not None:
            meanwhile()
        return super().monotonic()


def test_an_answer_that_came_while_one_looked_is_not_asked_for_again() -> None:
    server, clock = Server(), MeddlingClock()
    answers = answers_of(server, clock)
    answers.get("a", ended=False)
    clock.advance(LIVE)
    clock.meanwhile = lambda: setattr(clock, "meanwhile", lambda: answers.get("a", ended=False))
    assert answers.get("a", ended=False) == "a2"
    assert server.asked == 2


def test_a_failure_that_came_while_one_looked_is_not_asked_for_again() -> None:
    server, clock = Server(), MeddlingClock()
    server.failure = ServerFailed("500")
    answers = answers_of(server, clock)

    def other() -> None:
        with pytest.raises(ServerFailed):
            answers.get("a", ended=False)

    clock.meanwhile = other
    with pytest.raises(ServerFailed):
        answers.get("a", ended=False)
    assert server.asked == 1


def test_an_answer_that_came_while_one_looked_on_disk_is_the_better_one(tmp_path: Path) -> None:
    server, clock = Server(), MeddlingClock()
    server.holds = 1000.0
    answers_of(server, clock, directory=tmp_path).get("a", ended=True)
    answers = answers_of(server, clock, directory=tmp_path)
    clock.meanwhile = lambda: answers.refresh("a")
    assert answers.get("a", ended=True) == "a2"


def test_a_failure_of_something_that_was_forgotten_on_its_way_is_not_remembered() -> None:
    server = Server()
    answers = answers_of(server, FakeClock())
    server.failure = NotFound("404")
    server.on_ask = lambda: answers.forget("a")
    for _ in range(2):
        with pytest.raises(NotFound):
            answers.get("a", ended=False)
    assert server.asked == 2


def test_a_renewal_shares_the_request_that_is_under_way() -> None:
    server, clock = Server(), CountedClock()
    answers = answers_of(server, clock)
    gate = Gate(server)
    with ThreadPoolExecutor(2) as pool:
        renewals = [pool.submit(answers.refresh, "a") for _ in range(2)]
        assert gate.reached.acquire(timeout=30)
        assert clock.waiting.acquire(timeout=30)
        gate.open()
        for renewal in renewals:
            renewal.result(30)
    assert server.asked == 1


def test_remembered_failures_do_not_grow_without_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rescalefs.tree.answers._MANY_FAILURES", 3)
    server, clock = Server(), FakeClock()
    server.failure = NotFound("404")
    answers = answers_of(server, clock)
    for number in range(10):
        with pytest.raises(NotFound):
            answers.get(str(number), ended=False)
        clock.advance(REST)
    assert len(answers._failures) <= 3


def test_a_renewal_raises_what_went_wrong_and_leaves_what_was_known() -> None:
    server = Server()
    answers = answers_of(server, FakeClock())
    answers.refresh("a")
    assert answers.known("a") == "a1"
    server.failure = ServerFailed("500")
    with pytest.raises(ServerFailed):
        answers.refresh("a")
    assert answers.known("a") == "a1"


def test_an_answer_of_which_nothing_can_be_made_is_an_error_for_all_who_wait() -> None:
    server, clock = Server(), FakeClock()

    def strange() -> None:
        raise OverflowError("date value out of range")

    server.on_ask = strange
    answers = answers_of(server, clock)
    with pytest.raises(UnexpectedAnswer, match="date value out of range"):
        answers.get("a", ended=False)
    with pytest.raises(UnexpectedAnswer):
        answers.refresh("a")
    server.on_ask = lambda: None
    clock.advance(REST + 1)
    assert answers.get("a", ended=False) == "a3"


def test_a_known_answer_is_given_while_the_server_sends_nonsense() -> None:
    server, clock = Server(), FakeClock()
    answers = answers_of(server, clock)
    assert answers.get("a", ended=False) == "a1"

    def strange() -> None:
        raise RecursionError

    server.on_ask = strange
    clock.advance(USABLE + 1)
    assert answers.get("a", ended=False) == "a1"


def test_a_program_that_had_its_part_leaves_no_failure_to_others() -> None:
    server, clock = Server(), FakeClock()
    answers = answers_of(server, clock)
    server.failure = HeldBack("too many files")
    with pytest.raises(HeldBack):
        answers.get("a", ended=False)
    server.failure = None
    assert answers.get("a", ended=False) == "a2"


def test_failures_are_forgotten_before_they_are_too_many() -> None:
    server, clock = Server(), FakeClock()
    answers = answers_of(server, clock)
    server.failure = NotFound("404")
    for number in range(5000):
        with pytest.raises(NotFound):
            answers.get(f"key-{number}", ended=False)
    assert len(answers._failures) <= 4096
    assert answers.is_absent("key-4999")
    clock.advance(REST)
    assert not answers.is_absent("key-4999")
