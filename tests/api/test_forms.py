"""A file as a form: what is sent, in pieces of which size."""

from __future__ import annotations

import io
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from rescalefs.api.forms import PIECE, FileForm
from rescalefs.api.sessions import CHUNK
from tests.fakes import FakeClock


class Dribbling(io.RawIOBase):
    """Gives at most ``most`` bytes at once."""

    def __init__(self, content: bytes, most: int) -> None:
        self._content, self._most = io.BytesIO(content), most

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        return self._content.readinto(buffer[: self._most])


@given(st.binary(max_size=200), st.integers(1, 50))
def test_a_form_is_as_long_as_it_says_and_holds_the_file_between_its_own_lines(
    content: bytes, most: int
) -> None:
    heard: list[int] = []
    source = Dribbling(content, most)
    form = FileForm({"type_id": "1"}, "a", source, len(content), heard.append, FakeClock())
    first, *middle, last = [bytes(piece) for piece in form]
    assert b"".join(middle) == content
    assert len(form) == len(first) + len(content) + len(last)
    boundary = form.content_type.partition("boundary=")[2].encode()
    assert (first.count(boundary), last) == (2, b"\r\n--" + boundary + b"--\r\n")
    assert heard[-1:] == ([len(content)] if content else [])


def test_pieces_are_large_on_a_quick_line_and_small_on_a_slow_one() -> None:
    clock = FakeClock()
    size = 10 * PIECE
    pieces = iter(FileForm({}, "a", io.BytesIO(bytes(size)), size, lambda _: None, clock))
    next(pieces)
    seconds = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    lengths = []
    for took in seconds:
        lengths.append(len(next(pieces)))
        clock.advance(took)
    assert lengths[0] == CHUNK
    for took, (_, after) in zip(seconds, pairwise(lengths), strict=False):
        assert after == (PIECE if took == 0.0 else CHUNK)
