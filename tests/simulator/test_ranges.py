"""The `Range` header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.simulator.ranges import Slice, Unsatisfiable, asked_range


@given(size=st.integers(1, 1000), first=st.integers(0, 999), length=st.integers(1, 1000))
def test_a_closed_range_is_cut_to_the_file(size: int, first: int, length: int) -> None:
    header = f"bytes={first}-{first + length - 1}"
    if first >= size:
        with pytest.raises(Unsatisfiable):
            asked_range(header, size)
    else:
        assert asked_range(header, size) == Slice(first, min(first + length, size))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=90-", Slice(90, 100)),
        ("bytes=-10", Slice(90, 100)),
        ("bytes=-500", Slice(0, 100)),
        ("Bytes=0-0", Slice(0, 1)),
        (None, None),
        ("", None),
        ("bytes=-", None),
        ("bytes=5-2", None),
        ("bytes=0-1,4-5", None),
        ("items=0-1", None),
    ],
)
def test_what_is_no_single_range_of_bytes_gets_the_whole_file(
    header: str | None, expected: Slice | None
) -> None:
    assert asked_range(header, 100) == expected


def test_nothing_of_an_empty_file_can_be_asked_for() -> None:
    for header in ("bytes=0-0", "bytes=-1"):
        with pytest.raises(Unsatisfiable):
            asked_range(header, 0)
