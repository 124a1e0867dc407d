"""The words of a job's life."""

from __future__ import annotations

from rescalefs.simulator import life


def test_every_status_is_reached_from_saved() -> None:
    reached, waiting = set(), [life.SAVED]
    while waiting:
        status = waiting.pop()
        if status not in reached:
            reached.add(status)
            waiting += life.TRANSITIONS[status]
    assert reached == set(life.TRANSITIONS)


def test_every_active_job_can_be_stopped_and_ends() -> None:
    for status in life.TRANSITIONS:
        if life.is_active(status) and status not in (life.STOPPING, life.FORCE_STOP):
            assert life.may_follow(status, life.STOPPING)
    assert life.TRANSITIONS[life.STOPPING] == {life.FORCE_STOP, life.COMPLETED}
    assert life.TRANSITIONS[life.FORCE_STOP] == {life.COMPLETED}
    assert life.is_finished(life.COMPLETED)
    assert life.is_finished(life.FAILED)


def test_a_saved_job_is_neither_active_nor_finished() -> None:
    assert not life.is_active(life.SAVED)
    assert not life.is_finished(life.SAVED)


def test_nothing_follows_a_status_that_is_made_up() -> None:
    assert life.is_finished("Levitating")
    assert not life.may_follow("Levitating", life.COMPLETED)
