from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rescalefs.reading.ranges import Grid, Span, each_leaf, leaves_between, lowest, runs

SPANS = st.builds(lambda start, length: Span(start, start + length), st.integers(0, 500), st.integers(0, 500))


@given(SPANS, st.integers(1, 64))
def test_the_parts_of_a_span_are_the_span_and_cross_no_boundary(span: Span, step: int) -> None:
    parts = list(span.split(step))
    assert [byte for part in parts for byte in range(part.start, part.stop)] == list(
        range(span.start, span.stop)
    )
    assert all(part and part.start // step == (part.stop - 1) // step for part in parts)


@given(SPANS, st.integers(1, 64))
def test_a_widened_span_is_the_smallest_one_with_ends_on_the_grid(span: Span, step: int) -> None:
    wide = span.widened(step)
    assert wide.start % step == wide.stop % step == 0
    assert wide.start <= span.start < wide.start + step
    assert wide.stop - step < span.stop <= wide.stop


@given(st.integers(0, 600), st.integers(1, 9), st.integers(1, 6), SPANS)
def test_the_masks_of_a_span_name_the_leaves_that_it_touches(
    size: int, leaf: int, count: int, span: Span
) -> None:
    grid = Grid(size, leaf * count, leaf)
    named = {
        number * count + each for number in range(grid.blocks) for each in each_leaf(grid.mask(number, span))
    }
    assert named == {byte // leaf for byte in range(span.start, min(span.stop, size))}
    assert sum(grid.length(number) for number in range(grid.blocks)) == size
    touched = {byte // grid.block_size for byte in range(span.start, span.stop)}
    assert set(grid.numbers(span)) == touched


@given(st.integers(1, 2**70))
def test_the_runs_of_a_mask_are_its_leaves(mask: int) -> None:
    found = [leaf for first, behind in runs(mask) for leaf in range(first, behind)]
    assert found == list(each_leaf(mask))
    assert found[0] == lowest(mask)
    assert sum(1 << leaf for leaf in found) == mask


def test_a_single_byte_touches_one_leaf() -> None:
    assert leaves_between(16, 17, 16) == 0b10
    assert leaves_between(15, 17, 16) == 0b11
