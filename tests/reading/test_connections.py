from __future__ import annotations

from rescalefs.reading.connections import MOST, Pace


def settle(pace: Pace, rate_of: dict[int, float] | float, seconds: float = 60.0) -> int:
    """Run it against a network that gives so many bytes per second, by the number of connections."""
    now = 0.0
    while now < seconds:
        now += 0.05
        rate = rate_of if isinstance(rate_of, float) else rate_of[pace.limit]
        pace.note(now, int(rate * 0.05), pace.limit)
    return pace.limit


def test_a_fixed_number_stays() -> None:
    pace = Pace(10)
    pace.answered(0.04)
    assert settle(pace, {10: 1e9}) == pace.urgent_limit == pace.most == 10


def test_more_connections_are_opened_for_as_long_as_they_bring_more() -> None:
    pace = Pace("auto")
    pace.answered(0.04)
    assert settle(pace, {number: number * 20e6 for number in range(MOST + 1)}, 5.0) == MOST - 2


def test_a_server_nearby_needs_few() -> None:
    pace = Pace("auto")
    pace.answered(0.0005)
    # It tries more now and then; most of the time it stays where it was.
    assert settle(pace, 1e9, 4.0) == 4


def test_no_more_connections_than_are_useful_under_a_cap() -> None:
    pace = Pace("auto")
    pace.answered(0.04)
    assert settle(pace, {number: min(150e6, number * 20e6) for number in range(MOST + 1)}, 4.0) == 8


def test_what_new_connections_bring_is_judged_once_they_bring_it() -> None:
    """Under a cap that eight connections fill: their own start must not look like the next step's success."""
    pace = Pace("auto")
    pace.answered(0.04)
    limits = set()
    pace.note(0.0, 1000, 1)
    for step in range(80):
        now = step * 0.02
        pace.note(now, int(0.02 * (150e6 if now > 0.08 else 20e6)), pace.limit)
        limits.add(pace.limit)
    assert limits == {8, 16}
    assert pace.limit == 8


def test_somebody_who_waits_finds_a_connection_free() -> None:
    pace = Pace("auto")
    assert pace.limit < pace.urgent_limit <= MOST


def test_time_in_which_not_every_connection_was_needed_tells_nothing() -> None:
    pace = Pace("auto")
    pace.answered(0.04)
    for number in range(100):
        pace.note(number * 0.1, 1000, 3)
    assert pace.limit == 8


def test_the_next_request_goes_out_a_round_trip_before_the_last_byte() -> None:
    pace = Pace(10)
    assert pace.lead == 0
    pace.answered(0.04)
    pace.transferred(20_000_000, 1.0)
    assert pace.lead == 800_000
    assert pace.threads > 10
