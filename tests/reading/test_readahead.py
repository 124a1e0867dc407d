from __future__ import annotations

import pytest

from rescalefs.reading.ranges import NOWHERE, Span
from rescalefs.reading.readahead import FIRST, SECOND, Readahead, extent_length, reach
from rescalefs.reading.settings import GIB, KIB, MIB

FAR = reach(10)


def sequence(ahead: Readahead, start: int, stop: int, step: int) -> Span:
    for at in range(start, stop, step):
        ahead.note(Span(at, at + step), FAR)
    return ahead.window


def test_a_small_read_at_the_start_wants_half_a_mebibyte() -> None:
    ahead = Readahead(GIB)
    assert sequence(ahead, 0, 16 * KIB, 16 * KIB) == Span(0, FIRST)


def test_head_with_all_of_the_kernels_readahead_stays_below_a_mebibyte() -> None:
    ahead = Readahead(GIB)
    assert sequence(ahead, 0, 16 * KIB + 128 * KIB, 16 * KIB).stop <= MIB


def test_a_large_read_at_the_start_wants_more_at_once() -> None:
    assert sequence(Readahead(GIB), 0, 128 * KIB, 128 * KIB).stop == SECOND


def test_reading_on_widens_the_window_as_far_as_it_goes() -> None:
    window = sequence(Readahead(GIB), 0, MIB, 128 * KIB)
    assert FAR - 24 * MIB < window.stop - MIB <= FAR


def test_the_window_ends_with_the_file() -> None:
    assert sequence(Readahead(3 * MIB), 0, 2 * MIB, 128 * KIB).stop == 3 * MIB


def test_a_seek_closes_the_window() -> None:
    ahead = Readahead(GIB)
    sequence(ahead, 0, MIB, 128 * KIB)
    ahead.note(Span(700 * MIB, 700 * MIB + 4096), FAR)
    assert ahead.window == NOWHERE


def test_reads_at_random_want_nothing_ahead() -> None:
    ahead = Readahead(GIB)
    for number in range(1, 200):
        at = number * 7919 * 4096 % GIB
        ahead.note(Span(at, at + 4096), FAR)
        assert len(ahead.window) <= 128 * KIB


def test_the_same_read_again_moves_nothing() -> None:
    ahead = Readahead(GIB)
    ahead.note(Span(MIB, MIB + 4096), FAR)
    ahead.note(Span(MIB, MIB + 4096), FAR)
    assert ahead.window == NOWHERE


def test_reads_that_overtake_each_other_are_still_a_sequence() -> None:
    ahead = Readahead(GIB)
    step = 128 * KIB
    for at in (0, 2, 1, 4, 3, 6, 5, 8, 7):
        ahead.note(Span(at * step, (at + 1) * step), FAR)
    assert ahead.window.stop > FAR // 2


@pytest.mark.parametrize("step", [128 * KIB, MIB, 3 * MIB, 40 * MIB])
def test_the_window_holds_the_read_itself_and_those_that_it_overtook(step: int) -> None:
    ahead = Readahead(GIB)
    for start in range(0, 400 * MIB, step):
        ahead.note(Span(start, start + step), FAR)
        assert ahead.window.start <= max(0, start - MIB)
        assert ahead.window.stop >= start + step


def test_a_large_read_anywhere_is_wanted_in_full_at_once() -> None:
    ahead = Readahead(GIB)
    ahead.note(Span(500 * MIB, 600 * MIB), FAR)
    assert ahead.window == Span(500 * MIB, 600 * MIB)


def test_the_window_moves_in_steps() -> None:
    ahead = Readahead(GIB)
    stops = {sequence(ahead, at, at + 128 * KIB, 128 * KIB).stop for at in range(0, 64 * MIB, 128 * KIB)}
    assert len(stops) <= 8


@pytest.mark.parametrize("connections", range(1, 33))
def test_a_gibibyte_takes_at_most_64_requests(connections: int) -> None:
    start = requests = 0
    while start < GIB:
        length = min(extent_length(GIB - start, GIB, connections), max(4 * MIB, start))
        start = min(GIB, (start + length) // (4 * MIB) * (4 * MIB))
        requests += 1
    assert requests <= 64


@pytest.mark.parametrize("connections", [1, 4, 10, 16, 32])
@pytest.mark.parametrize("step", [128 * KIB, MIB])
def test_a_gibibyte_takes_at_most_64_requests_also_where_each_is_made_as_soon_as_the_window_allows(
    connections: int, step: int
) -> None:
    ahead = Readahead(GIB)
    asked = requests = 0
    for start in range(0, GIB, step):
        ahead.note(Span(start, start + step), reach(connections))
        edge = ahead.window.stop
        while asked < edge:
            stop = min(edge, asked + min(extent_length(GIB - asked, GIB, connections), max(4 * MIB, asked)))
            whole_blocks = stop // (4 * MIB) * (4 * MIB)
            asked = whole_blocks if asked < whole_blocks and stop < edge else stop
            requests += 1
    assert requests <= 64


def test_extents_get_smaller_towards_the_end_of_the_file() -> None:
    lengths = [extent_length(remaining, GIB, 10) for remaining in range(GIB, 0, -MIB)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] < lengths[0] // 2
