"""Requests an hour."""

from __future__ import annotations

import heapq

import pytest

from rescalefs.api.limits import Limits, Turn, scope_of


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "jobs/aBc/submit/", "job-submission"),
        ("POST", "jobs/", "user"),
        ("POST", "jobs/aBc/stop/", "user"),
        ("GET", "jobs/", "jobs-usage"),
        ("GET", "jobs/aBc/statuses/", "jobs-usage"),
        ("GET", "files/aBc/contents/", "file-access"),
        ("GET", "files/aBc/lines/", "file-access"),
        ("GET", "files/", "file-access"),
        ("GET", "files/aBc/", "file-access"),
        ("POST", "files/contents/", "uploads"),
        ("GET", "users/me/", "user"),
    ],
)
def test_requests_count_where_the_service_counts_them(method: str, path: str, scope: str) -> None:
    assert scope_of(method, path) == scope


def spent(limits: Limits, scope: str, now: float) -> int:
    """How many requests go out at once, at one moment."""
    count = 0
    while limits.take(scope, now) == 0:
        count += 1
    return count


@pytest.mark.parametrize(
    ("scope", "share"), [("job-submission", 850), ("file-access", 76_500), ("user", 6_120)]
)
def test_an_hour_gives_the_share_that_is_ours_and_then_says_how_long_to_wait(scope: str, share: int) -> None:
    limits = Limits()
    assert spent(limits, scope, 100.0) == share
    wait = limits.take(scope, 100.0)
    assert 0 < wait <= 3600 / share + 0.01
    assert limits.take(scope, 100.0 + wait) == 0
    assert limits.take("another", 100.0) == 0


def test_who_waits_as_told_never_gets_more_than_the_share() -> None:
    limits = Limits()
    now, sent = 0.0, spent(Limits(), "job-submission", 0.0)
    assert spent(limits, "job-submission", now) == sent
    after = 0
    while now < 3600:
        wait = limits.take("job-submission", now)
        after += wait == 0
        now += wait
    assert after <= sent + 1  # what came back in an hour


def test_a_closed_scope_opens_at_the_moment_that_was_told_and_others_stay_open() -> None:
    limits = Limits()
    limits.close("jobs-usage", until=130.0)
    assert limits.take("jobs-usage", 100.0) == 30.0
    limits.close("jobs-usage", until=110.0)  # an earlier word does not shorten it
    assert limits.take("jobs-usage", 129.0) == 1.0
    assert limits.take("file-access", 100.0) == 0
    assert limits.take("jobs-usage", 130.0) == 0


def test_uploads_wait_for_a_429_alone() -> None:
    limits = Limits()
    assert all(limits.take("uploads", 0.0) == 0 for _ in range(20_000))
    limits.close("uploads", 7.0)
    assert limits.take("uploads", 0.0) == 7.0


def test_in_an_unmetered_scope_only_the_server_makes_us_wait() -> None:
    limits = Limits(frozenset({"file-access"}))
    assert all(limits.take("file-access", 0.0) == 0 for _ in range(20_000))
    limits.close("file-access", 7.0)
    assert limits.take("file-access", 0.0) == 7.0
    assert limits.take("file-access", 7.0) == 0


def test_a_program_that_walks_over_everything_leaves_a_quarter_for_others() -> None:
    limits = Limits()
    walk, person = (4711,), (4712,)
    taken = 0
    while limits.take("user", 0.0, walk) == 0:
        taken += 1
    assert limits.is_walk(walk, 0.0)
    assert not limits.is_walk(person, 0.0)
    assert taken == 200 + int(6_120 * 0.75)  # it is not known for a walk before it has caused 200 requests
    assert all(limits.take("user", 0.0, person) == 0 for _ in range(200))
    assert spent(limits, "user", 0.0) == 6_120 - taken - 200


def test_a_walk_goes_on_as_fast_as_its_part_comes_back_and_others_still_can_ask() -> None:
    limits, now, taken = Limits(), 0.0, 0
    while now < 600:
        wait = limits.take("user", now, (4711,))
        taken += wait == 0
        now += wait
    assert taken == pytest.approx(200 + 6_120 * 0.75 * (1 + 600 / 3600), rel=0.01)
    assert spent(limits, "user", now) > 1000


def test_who_asks_now_and_then_is_no_walk_and_neither_is_work_for_one_who_does() -> None:
    limits = Limits()
    for second in range(0, 36_000, 10):
        assert limits.take("jobs-usage", float(second), (4712,)) == 0
        assert not limits.is_walk((4712,), float(second))
    spent_by = [limits.take("jobs-usage", 36_000.0, (4711,)) for _ in range(300)]
    assert not any(spent_by)
    assert limits.is_walk((4711,), 36_000.0)
    assert not limits.is_walk((4711, 4712), 36_000.0)
    assert not limits.is_walk((), 36_000.0)
    assert not limits.is_walk((4711,), 36_000.0 + 120)


@pytest.mark.parametrize("requesters", [(4711,), ()])
def test_of_many_that_wait_the_one_that_waits_longest_goes_first(requesters: tuple[int, ...]) -> None:
    limits = Limits()
    while limits.take("user", 0.0, requesters) == 0:
        pass
    line = [
        (0.001 * number, number, 0.001 * number, Turn()) for number in range(32)
    ]  # next, who, since, turn
    waited, served = 0.0, list[int]()
    while len(served) < 200:
        now, number, since, turn = heapq.heappop(line)
        wait = limits.take("user", now, requesters, turn)
        if not wait:
            waited, turn = max(waited, now - since), Turn()
            served.append(number)
            since, wait = now + 0.1, 0.1  # and then the next one of this reader
        heapq.heappush(line, (now + wait, number, since, turn))
    assert served[:32] == sorted(served[:32])
    assert {served.count(number) for number in range(32)} <= {6, 7}
    assert waited < 32 * 3600 / (6_120 * 0.75) + 1


def test_a_request_that_waits_no_more_holds_none_up() -> None:
    limits = Limits()
    while limits.take("user", 0.0, (4711,)) == 0:
        pass
    gone, next_one = Turn(), Turn()
    assert 0 < limits.take("user", 0.0, (4711,), gone) <= 0.8
    assert 0.7 < limits.take("user", 0.0, (4711,), next_one) <= 0.8  # after the one before it
    limits.leave(gone)
    assert limits.take("user", 0.8, (4711,), next_one) == 0
    assert limits.take("user", 0.8, (4712,), Turn()) == 0  # a person waits for no walk


def test_no_more_than_a_thousand_programs_are_remembered() -> None:
    limits = Limits()
    for program in range(3000):
        limits.take("jobs-usage", float(program), (program,))
    assert len(limits._appetites) <= 1001
