"""A server that cannot be reached is left alone for a while, not for long."""

from __future__ import annotations

import logging

import pytest

from rescalefs.errors import (
    ApiError,
    Forbidden,
    HeldBack,
    NotFound,
    ServerFailed,
    Throttled,
    TimedOut,
    Unauthenticated,
    Unreachable,
)
from rescalefs.tree.health import Health, is_refusal
from tests.fakes import FakeClock


def rests(clock: FakeClock, health: Health) -> float:
    """For how many seconds all requests rest; moves the hands there."""
    seconds = 0.0
    while health.resting(clock.monotonic()) is not None:
        clock.advance(0.5)
        seconds += 0.5
    return seconds


def test_a_program_that_had_its_part_keeps_no_other_from_asking() -> None:
    clock = FakeClock()
    health = Health(clock)
    assert not health.failed(HeldBack("too many files", 30.0))
    assert health.resting(clock.monotonic()) is None
    assert health.last_error is None


def test_each_failure_in_a_row_doubles_the_rest_up_to_a_limit() -> None:
    clock = FakeClock()
    health = Health(clock)
    found = []
    for _ in range(6):
        assert health.failed(Unreachable("gone"))
        found.append(rests(clock, health))
    assert found == [1, 2, 4, 8, 15, 15]


def test_failures_of_requests_that_went_out_together_count_once() -> None:
    clock = FakeClock()
    health = Health(clock)
    for _ in range(8):
        health.failed(Unreachable("gone"))
    assert rests(clock, health) == 1


def test_one_slow_answer_is_no_reason_to_rest_and_two_in_a_row_are() -> None:
    clock = FakeClock()
    health = Health(clock)
    assert not health.failed(TimedOut("slow"))
    health.succeeded()
    assert not health.failed(TimedOut("slow"))
    assert not health.offline
    assert health.failed(TimedOut("slow"))
    assert health.offline
    assert rests(clock, health) == 1
    assert health.failed(TimedOut("slow"))
    assert rests(clock, health) == 2


def test_an_answer_ends_the_rest() -> None:
    clock = FakeClock()
    health = Health(clock)
    error = Unreachable("gone")
    health.failed(error)
    assert health.offline
    assert health.last_error is error
    assert health.last_error_at == clock.now()
    health.succeeded()
    assert not health.offline
    assert health.last_error is None
    assert health.resting(clock.monotonic()) is None
    health.failed(error)
    assert rests(clock, health) == 1


def test_a_throttled_client_rests_as_told() -> None:
    clock = FakeClock()
    health = Health(clock)
    health.failed(Throttled("429", retry_after=42))
    assert rests(clock, health) == 42


@pytest.mark.parametrize("error", [ServerFailed("500"), Forbidden("403"), Unauthenticated("401")])
def test_a_bad_answer_lets_others_ask(error: ApiError) -> None:
    clock = FakeClock()
    health = Health(clock)
    assert not health.failed(error)
    assert health.resting(clock.monotonic()) is None
    assert health.last_error is error
    assert not health.offline


def test_that_a_job_does_not_exist_is_no_trouble() -> None:
    health = Health(FakeClock())
    health.failed(NotFound("404"))
    assert health.last_error is None


def test_refusals_are_answers_that_say_no() -> None:
    assert [is_refusal(each("")) for each in (NotFound, Unauthenticated, Forbidden)] == [True] * 3
    assert [is_refusal(each("")) for each in (Unreachable, TimedOut, ServerFailed, Throttled)] == [False] * 4


def test_being_away_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    clock = FakeClock()
    health = Health(clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            health.failed(Unreachable("gone"))
            clock.advance(100)
    assert len(caplog.records) == 1
