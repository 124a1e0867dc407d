from __future__ import annotations

import itertools
import random

from hypothesis import given, settings
from hypothesis import strategies as st

from rescalefs.mirror.pieces import LARGEST, MIB, SMALLEST, Piece, Pieces

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


def sizes(file: int, takers: int = 16) -> list[int]:
    pieces = Pieces(file, takers=takers)
    found = []
    while (piece := pieces.take()) is not None:
        found.append(piece.stop - piece.start)
    return found


def test_pieces_are_small_at_first_and_become_smaller_towards_the_end() -> None:
    found = sizes(1024 * MIB)
    assert len(set(found[:16])) == 1
    assert found[16] == max(found)
    assert found[0] == found[16] // 3
    assert found[-1] <= 2 * SMALLEST
    assert len(found) < 200


def test_pieces_are_larger_where_the_hash_has_time_and_leave_it_twice_the_time_that_it_needs() -> None:
    pieces = Pieces(1024 * MIB, takers=10)
    small = [pieces.take() for _ in range(10)]
    left = pieces.missing
    large = pieces.take(hash_has_time=True)
    assert small[0] is not None
    assert large is not None
    assert large.stop - large.start == left // 20 > 4 * (small[0].stop - small[0].start)


def test_pieces_of_large_files_are_large() -> None:
    found = sizes(100 * 1024 * MIB)
    assert max(found) == LARGEST
    assert len(found) < 2000
