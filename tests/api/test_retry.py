"""Whether to ask again, and when."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.api.headers import retry_after
from rescalefs.api.retry import Failure, delay, wait_before_next
from rescalefs.errors import ServerFailed

NOW = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
jitters = st.floats(0, 1, exclude_max=True)


def failure(passing: bool = True, acted: bool = False, retry_after: float | None = None) -> Failure:
    return Failure(ServerFailed("GET jobs/: 503"), passing, acted, retry_after)


def wait(
    what: Failure, failed: int = 1, elapsed: float = 0.0, repeatable: bool = True, jitter: float = 0.0
) -> float | None:
    return wait_before_next(
        what, failed=failed, elapsed=elapsed, patience=60.0, repeatable=repeatable, jitter=jitter
    )


@pytest.mark.parametrize(
    ("passing", "acted", "repeatable", "is_repeated"),
    [
        (True, False, True, True),
        (True, True, True, True),
        (True, False, False, True),  # what cannot have arrived may be sent again, whatever it is
        (True, True, False, False),
        (False, False, True, False),
        (False, True, True, False),
        (False, False, False, False),
        (False, True, False, False),
    ],
)
def test_what_may_have_been_done_is_repeated_only_if_it_may_be_done_twice(
    passing: bool, acted: bool, repeatable: bool, is_repeated: bool
) -> None:
    assert (wait(failure(passing, acted), repeatable=repeatable) is not None) == is_repeated


@given(
    failed=st.integers(1, 10_000),
    elapsed=st.floats(0, 1e6),
    patience=st.floats(0, 1e6),
    retry_after=st.none() | st.floats(0, 1e6),
    jitter=jitters,
)
def test_no_wait_ends_after_patience(
    failed: int, elapsed: float, patience: float, retry_after: float | None, jitter: float
) -> None:
    found = wait_before_next(
        failure(retry_after=retry_after),
        failed=failed,
        elapsed=elapsed,
        patience=patience,
        repeatable=True,
        jitter=jitter,
    )
    assert found is None or (found >= 0 and elapsed + found <= patience)


@given(seconds=st.floats(0, 50), failed=st.integers(1, 50), jitter=jitters)
def test_the_servers_own_word_is_never_cut_short(seconds: float, failed: int, jitter: float) -> None:
    found = wait(failure(retry_after=seconds), failed=failed, jitter=jitter)
    assert found is not None
    assert seconds <= found <= seconds + 0.25


def test_delays_double_up_to_a_limit_and_are_spread_over_half_of_it() -> None:
    assert [delay(failed, 0.0) for failed in (1, 2, 3, 4)] == [0.125, 0.25, 0.5, 1.0]
    assert delay(1, 0.999) == pytest.approx(0.25, abs=0.001)
    assert delay(10**9, 0.0) == 7.5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("nan", None),
        ("0", 0.0),
        ("-5", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0.5", 0.5),
        ("inf", None),
        ("1e999", None),
        ("86400", 3600.0),  # the service counts by the hour
        ("86401", None),  # a mistake
        ("9" * 50, None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("Mon, 01 Jan 2024 00:00:00 +99999999999999999999", None),
        ("Mon, 01 Jan 9999 00:00:00 -2359", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        ("Mon, 31 Dec 9999 23:59:00 -2359", None),
        ("9" * 5000, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, seconds: float | None) -> None:
    assert retry_after(text, NOW) == seconds


@given(st.text())
def test_no_retry_after_does_harm(text: str) -> None:
    found = retry_after(text, NOW)
    assert found is None or 0 <= found <= 3600
