"""Requests an hour."""

from __future__ import annotations

import pytest

from rescalefs.api.limits import Limits, scope_of


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
        ("GET", "files/aBc/", "user"),
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
    ("scope", "share"), [("job-submission", 850), ("file-access", 6_120), ("never heard of", 6_120)]
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
