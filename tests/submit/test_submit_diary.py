from __future__ import annotations

import itertools
from datetime import datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from rescalefs.submit.diary import MOST_BYTES, Diary, log_line

AT = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


def fail_for(diary: Diary, seconds: int, what: str, every: int = 60, start: int = 0) -> None:
    for now in range(start, start + seconds, every):
        diary.trouble(what, AT + timedelta(seconds=now), float(now))


def test_tries_that_fail_alike_are_told_at_first_and_then_ever_more_rarely_with_their_number() -> None:
    diary = Diary()
    fail_for(diary, 86_400, "not reached (port 51234)")
    lines = diary.lines
    assert lines == (
        "2026-11-24T12:00:00+00:00\tnot reached (port 51234)",
        "2026-11-24T12:10:00+00:00\tnot reached (port 51234) (11 times since 2026-11-24T12:00:00+00:00)",
        "2026-11-24T12:50:00+00:00\tnot reached (port 51234) (51 times since 2026-11-24T12:00:00+00:00)",
        "2026-11-24T15:30:00+00:00\tnot reached (port 51234) (211 times since 2026-11-24T12:00:00+00:00)",
        "2026-11-25T02:10:00+00:00\tnot reached (port 51234) (851 times since 2026-11-24T12:00:00+00:00)",
    )
    diary.well(AT + timedelta(days=1), 86_400.0)
    assert diary.lines[-1] == "2026-11-25T12:00:00+00:00\tthat is over, after 1440 tries in 24 h 0 min"


def test_troubles_that_differ_only_in_numbers_or_come_in_turn_are_folded_too() -> None:
    diary = Diary()
    for now in range(0, 86_400, 5):
        what = ("cut off after 3.25 s".replace("3.25", str(now)), "502 Bad Gateway", "timed out")[now % 3]
        diary.trouble(what, AT, float(now))
        if now % 2:
            diary.well(AT, float(now))
    assert len(diary.lines) < 20


def test_no_more_than_a_few_kinds_of_trouble_are_told_apart() -> None:
    diary = Diary()
    for now in range(2000):
        diary.trouble("x" * now, AT, float(now))
    assert len(diary.lines) < 20


def test_a_trouble_after_a_quiet_hour_is_told_again_at_once() -> None:
    diary = Diary()
    fail_for(diary, 300, "not reached")
    diary.well(AT, 300.0)
    fail_for(diary, 300, "not reached", start=5000)
    assert [line.split("\t")[1] for line in diary.lines] == ["not reached", "not reached"]


def test_a_line_that_is_too_long_is_cut() -> None:
    assert len(log_line(AT, "x" * 10_000_000)) < 2100


def test_of_a_log_that_would_grow_too_large_the_middle_is_left_out_and_what_befell_the_job_is_kept() -> None:
    diary = Diary()
    sizes = []
    for number in range(4000):
        diary.add([log_line(AT, f"the folder changed, {number}")])
        if number % 40 == 0:
            diary.add([log_line(AT, f"Executing {number}")], weighty=True)
        sizes.append(len(diary.text().encode()))
    assert max(sizes) <= MOST_BYTES + 100
    said = [line.split("\t")[1] for line in diary.lines]
    assert said[:2] == ["the folder changed, 0", "Executing 0"]
    assert said[-1] == "the folder changed, 3999"
    assert [line for line in said if line.startswith("Executing")] == [
        f"Executing {number}" for number in range(0, 4000, 40)
    ]
    assert len([line for line in said if line.endswith("lines are left out here")]) == 1
    shrunk = sum(after < before for before, after in itertools.pairwise(sizes))
    assert shrunk < 20, "between two cuts, lines are only added"


def test_even_of_weighty_lines_alone_no_log_grows_too_large() -> None:
    diary = Diary()
    diary.add((log_line(AT, f"Executing {number}") for number in range(4000)), weighty=True)
    assert len(diary.text().encode()) <= MOST_BYTES + 100
    assert diary.lines[0].endswith("Executing 0")
    assert diary.lines[-1].endswith("Executing 3999")


@given(st.lists(st.tuples(st.integers(0, 3000), st.booleans()), max_size=300))
def test_what_is_left_out_and_what_is_kept_are_all_there_was(lines: list[tuple[int, bool]]) -> None:
    diary = Diary()
    for number, (length, weighty) in enumerate(lines):
        diary.add([f"{number} {'x' * length}"], weighty)
    kept = [line for line in diary.lines if not line.startswith("…")]
    left_out = sum(int(line.split("\t")[1].split()[0]) for line in diary.lines if line.startswith("…"))
    assert len(kept) + left_out == len(lines)
    assert kept == sorted(kept, key=lambda line: int(line.split()[0]))
    assert len(diary.text().encode()) == sum(len(line.encode()) + 1 for line in diary.lines)
