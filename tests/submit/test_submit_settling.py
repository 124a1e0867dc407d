from __future__ import annotations

from datetime import datetime, timezone

from hypothesis import given
from hypothesis import strategies as st

from rescalefs.submit.pace import outlook, poll_interval, retry_delay
from rescalefs.submit.settling import Arrival, Pace

PACE = Pace(2.0, 60.0)


def arrival(*changes: float) -> Arrival:
    """A folder that changed at these moments."""
    first, *rest = changes
    seen = Arrival("0", "job", first)
    for number, at in enumerate(rest, 1):
        seen = seen.seen(str(number), "job", False, at, PACE)
    return seen


def test_a_folder_settles_two_seconds_after_its_only_change() -> None:
    seen = arrival(10.0)
    assert not seen.is_settled(11.9, PACE)
    assert seen.is_settled(12.0, PACE)


def test_a_fast_copy_is_taken_two_seconds_after_its_end_however_long_it_lasts() -> None:
    assert arrival(*(number / 5 for number in range(1000))).settles_at(PACE) == 999 / 5 + 2.0


def test_a_copy_that_is_slow_is_waited_for_ten_times_as_long_as_it_has_been_slow() -> None:
    assert arrival(0.0, 1.0).settles_at(PACE) == 11.0
    assert arrival(0.0, 1.0, 1.2, 3.2).settles_at(PACE) == 33.2


def test_a_byte_a_second_and_then_a_pause_of_half_a_minute_is_one_copy() -> None:
    seen = arrival(*map(float, range(10)))
    assert not seen.is_settled(9.0 + 59.9, PACE)
    assert seen.is_settled(9.0 + 60.0, PACE)


def test_no_gap_makes_it_wait_longer_than_the_most() -> None:
    assert arrival(0.0, 59.0).settles_at(PACE) == 119.0


def test_a_change_long_after_the_copy_is_a_persons_and_starts_anew() -> None:
    assert arrival(0.0, 9.0, 500.0).settles_at(PACE) == 502.0


def test_the_time_a_person_takes_for_the_job_file_is_no_gap_of_a_copy() -> None:
    before = Arrival("0", "", 0.0).seen("1", "", False, 10.0, PACE).seen("2", "job", False, 20.0, PACE)
    assert before.settles_at(PACE) == 22.0
    assert before.seen("3", "job edited", False, 35.0, PACE).settles_at(PACE) == 37.0


def test_what_is_open_for_writing_does_not_settle() -> None:
    seen = arrival(0.0).seen("0", "job", True, 100.0, PACE)
    assert not seen.is_settled(101.0, PACE)
    assert seen.is_settled(102.0, PACE)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=20))
def test_it_never_settles_within_the_settle_time_of_a_change(gaps: list[int]) -> None:
    moments = [float(sum(gaps[:count])) for count in range(len(gaps) + 1)]
    seen = arrival(*moments)
    assert PACE.least <= seen.settles_at(PACE) - moments[-1] <= PACE.most


@given(st.floats(0, 10**7))
def test_news_of_a_job_is_at_most_a_tenth_late_within_the_bounds(quiet: float) -> None:
    assert 5.0 <= poll_interval(quiet, 5.0, 60.0) <= 60.0
    assert poll_interval(300.0, 5.0, 60.0) == 30.0


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_attempts_come_at_most_a_minute_apart_and_never_at_once(failures: int, jitter: float) -> None:
    assert 1.5 <= retry_delay(failures, jitter) <= 60.0
    assert retry_delay(failures, jitter, asked=300.0) == 300.0


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0, allow_nan=False))
def test_no_wish_of_the_server_lets_a_drop_rest_for_longer_than_an_hour(
    failures: int, jitter: float, asked: float
) -> None:
    assert 1.5 <= retry_delay(failures, jitter, asked) <= 3600.0


def test_status_shows_the_end_of_a_long_wait_because_it_is_written_once() -> None:
    now = datetime(2026, 11, 26, 23, 59, 30, tzinfo=timezone.utc)
    assert outlook("trying", 20.4, now) == "trying again in 20 s"
    assert outlook("asking", 3600.0, now) == "asking again in 3600 s, at 2026-11-27T00:59:30Z"
