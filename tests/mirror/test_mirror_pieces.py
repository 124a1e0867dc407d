from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from rescalefs.mirror.pieces import LARGEST, MIB, SMALLEST, Pace, Piece, Pieces

SIZE = 200 * MIB


@given(
    st.integers(0, SIZE),
    st.lists(
        st.tuples(st.integers(0, SIZE), st.integers(0, SIZE)).map(lambda s: (min(s), max(s))), max_size=6
    ),
    st.integers(0, 99),
)
@settings(max_examples=60)
def test_pieces_cover_what_is_missing_once_and_the_prefix_is_what_is_there(
    size: int, there: list[tuple[int, int]], seed: int
) -> None:
    pieces = Pieces(size, there, takers=4)
    taken: list[Piece] = []
    while (piece := pieces.take()) is not None:
        assert piece.start < piece.stop <= size
        assert piece.stop - piece.start <= LARGEST + SMALLEST
        taken.append(piece)
    spans = sorted([(piece.start, piece.stop) for piece in taken])
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    random.Random(seed).shuffle(taken)
    for piece in taken:
        assert pieces.prefix <= min(each.position for each in taken if each.position < each.stop)
        piece.position = piece.stop
    assert pieces.prefix == size
    assert pieces.is_complete


def test_pieces_become_smaller_towards_the_end() -> None:
    pieces = Pieces(1024 * MIB, takers=16)
    sizes = []
    while (piece := pieces.take()) is not None:
        sizes.append(piece.stop - piece.start)
    assert sizes[0] == 32 * MIB
    assert sizes[-1] <= 2 * SMALLEST
    assert len(sizes) < 200


def test_pieces_are_large_where_each_costs_a_round_trip_and_small_where_it_costs_nothing() -> None:
    pace = Pace()
    unknown = pace.length
    pace.note(wait=0.040, count=20 * MIB, seconds=1.0)
    assert pace.length == 32 * MIB  # 1.6 s for 40 ms
    for _ in range(20):
        pace.note(wait=0.000_5, count=100 * MIB, seconds=1.0)
    assert pace.length == unknown == 4 * MIB
    pace.note(wait=30.0, count=100 * MIB, seconds=1.0)
    assert pace.length == LARGEST
    pieces = Pieces(1024 * MIB)
    piece = pieces.take(pace.length // 8)
    assert piece is not None
    assert piece.stop == LARGEST // 8
