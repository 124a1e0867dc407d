"""The bytes of an answer, whatever the server made of the Range header."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests import Response

from rescalefs.api import RangeBody, TailBody
from rescalefs.api.bounds import Bounds
from rescalefs.api.sessions import CHUNK, LARGE_CHUNK, SMALL_CHUNK
from rescalefs.api.transport import Request, StreamedAnswer
from rescalefs.errors import TimedOut, UnexpectedAnswer, Unreachable
from tests.fakes import FakeClock

WHAT = "GET files/aBc/contents/"


class Answered:
    """An answer that has arrived: its body comes in pieces of ``size`` bytes."""

    def __init__(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"", size: int = 3
    ) -> None:
        self.status = status
        self.headers = headers or {}
        self._body, self._size = body, size
        self.given = 0  # bytes that were asked for
        self.is_exhausted = False

    def __iter__(self) -> Iterator[bytes]:
        for start in range(0, len(self._body), self._size):
            piece = self._body[start : start + self._size]
            self.given += len(piece)
            yield piece
        self.is_exhausted = True


class Line:
    """A response whose bytes come at so many a second, by the clock; it notes how many it was asked for."""

    status_code = 206
    headers: Mapping[str, str] = {}
    chunked = False

    def __init__(self, clock: FakeClock, rates: list[float]) -> None:
        self._clock = clock
        self._rates = iter(rates)
        self.asked: list[int] = []
        self.raw = self

    def read(self, size: int, decode_content: bool) -> bytes:  # urllib3's name
        rate = next(self._rates, None)
        if rate is None:
            return b""
        self.asked.append(size)
        self._clock.advance(size / rate)
        return bytes(size)


def test_chunks_are_large_while_they_come_quickly_and_small_on_a_slow_line() -> None:
    """So that on a slow line what came is given away soon."""
    clock = FakeClock()
    line = Line(clock, [50e6, 50e6, 50e6, 50e6, 1e6, 1e6, 1e4, 50e6, 50e6, 50e6])
    answer = StreamedAnswer(cast("Response", line), Request("GET", WHAT), clock, Bounds(clock), 60.0)
    assert [len(chunk) for chunk in answer] == line.asked
    least, small, large = SMALL_CHUNK, CHUNK, LARGE_CHUNK
    assert line.asked == [least, small, large, large, large, small, small, least, small, large]
    assert small <= 256 << 10


def body_of(answer: Answered, start: int, stop: int) -> RangeBody:
    return RangeBody(cast("StreamedAnswer", answer), WHAT, start, stop)


def tail_of(answer: Answered, start: int) -> TailBody:
    return TailBody(cast("StreamedAnswer", answer), WHAT, start)


@st.composite
def ranges(draw: st.DrawFn) -> tuple[bytes, int, int, int]:
    content = draw(st.binary(min_size=1, max_size=60))
    start = draw(st.integers(0, len(content) - 1))
    return content, start, draw(st.integers(start + 1, len(content) + 20)), draw(st.integers(1, 70))


@given(ranges(), st.sampled_from(["206", "206 without total", "200", "200 without length"]))
def test_every_answer_gives_the_same_slice_of_the_file(
    wanted: tuple[bytes, int, int, int], kind: str
) -> None:
    content, start, stop, size = wanted
    end = min(stop, len(content))
    if kind.startswith("206"):
        total = "*" if kind.endswith("total") else str(len(content))
        stop = end if total == "*" else stop
        told = {"content-range": f"bytes {start}-{end - 1}/{total}"}
        answer = Answered(206, told, content[start:end], size)
    else:
        stop = end if kind.endswith("length") else stop
        told = {} if kind.endswith("length") else {"content-length": str(len(content))}
        answer = Answered(200, told, content, size)
    body = body_of(answer, start, stop)
    assert (body.start, body.stop) == (start, end)
    assert b"".join(body) == content[start:end]


def test_of_a_whole_file_no_more_is_read_than_was_asked_for() -> None:
    answer = Answered(200, {"content-length": "1000"}, bytes(1000), size=10)
    assert len(b"".join(body_of(answer, 5, 15))) == 10
    assert answer.given == 20


def test_the_unit_of_a_range_may_be_written_in_any_case() -> None:
    answer = Answered(206, {"content-range": "Bytes 0-5/6"}, b"abcdef")
    assert b"".join(body_of(answer, 0, 6)) == b"abcdef"


def test_a_range_is_read_to_its_end_mark_so_that_its_connection_can_be_used_again() -> None:
    answer = Answered(206, {"content-range": "bytes 0-5/6"}, b"abcdef")
    assert b"".join(body_of(answer, 0, 6)) == b"abcdef"
    assert answer.is_exhausted


def test_an_end_mark_that_does_not_come_takes_nothing_from_a_body_that_did() -> None:
    class Unended(Answered):
        def __iter__(self) -> Iterator[bytes]:
            yield from super().__iter__()
            raise TimedOut("no end mark")

    told = {"content-range": "bytes 0-5/6"}
    assert b"".join(body_of(Unended(206, told, b"abcdef"), 0, 6)) == b"abcdef"
    with pytest.raises(TimedOut):  # one byte less, and it is a failure
        b"".join(body_of(Unended(206, told, b"abcde"), 0, 6))


@pytest.mark.parametrize(
    "told",
    [
        "bytes 1-10/100",
        "bytes 0-8/100",
        "bytes 0-10/100",
        "bytes 0-9/5",  # it ends after the file does
        "bytes 5-3/100",
        "bytes */100",
        "bytes 0-9",
        "items 0-9/100",
        "",
        "bytes 0-9/" + "9" * 5000,
    ],
)
def test_a_range_that_is_not_what_was_asked_for_is_refused(told: str) -> None:
    with pytest.raises(UnexpectedAnswer, match=WHAT):
        body_of(Answered(206, {"content-range": told}, bytes(10)), 0, 10)


def test_a_range_of_something_compressed_is_refused() -> None:
    headers = {"content-range": "bytes 0-9/10", "content-encoding": "gzip"}
    with pytest.raises(UnexpectedAnswer, match="compressed"):
        body_of(Answered(206, headers, bytes(10)), 0, 10)
    headers["content-encoding"] = "identity"
    assert b"".join(body_of(Answered(206, headers, bytes(10)), 0, 10)) == bytes(10)


def test_the_length_of_something_compressed_is_not_that_of_the_file() -> None:
    headers = {"content-length": "3", "content-encoding": "gzip"}
    body = body_of(Answered(200, headers, b"0123456789"), 2, 6)
    assert (body.total, b"".join(body)) == (None, b"2345")


def test_a_range_behind_the_end_is_empty_and_tells_the_size() -> None:
    body = body_of(Answered(416, {"content-range": "bytes */7"}, b"sorry"), 7, 20)
    assert (body.start, body.stop, body.total, list(body)) == (7, 7, 7, [])
    assert body_of(Answered(416), 7, 20).total is None


def test_a_refusal_of_bytes_that_there_are_is_an_error() -> None:
    with pytest.raises(UnexpectedAnswer, match="byte 6"):
        body_of(Answered(416, {"content-range": "bytes */7"}), 6, 20)


@pytest.mark.parametrize("status", [200, 206])
def test_a_body_that_ends_early_gives_what_came_and_then_says_how_much_that_was(status: int) -> None:
    headers = {"content-range": "bytes 0-9/10", "content-length": "10"}
    chunks: list[bytes] = []
    with pytest.raises(Unreachable, match=f"{WHAT}: the transfer ended after 7 of 10 bytes"):
        chunks.extend(body_of(Answered(status, headers, b"0123456"), 0, 10))
    assert b"".join(chunks) == b"0123456"


def test_a_file_that_grows_is_given_from_where_it_is_known_or_from_its_start() -> None:
    ranged = tail_of(Answered(206, {"content-range": "bytes 4-6/7"}, b"456"), 4)
    assert (ranged.start, ranged.total, b"".join(ranged)) == (4, 7, b"456")
    whole = tail_of(Answered(200, {}, b"0123456"), 4)
    assert (whole.start, whole.total, b"".join(whole)) == (0, None, b"0123456")
    nothing_new = tail_of(Answered(416, {"content-range": "bytes */4"}, b"sorry"), 4)
    assert (nothing_new.start, nothing_new.total, list(nothing_new)) == (4, 4, [])


def test_a_file_that_grows_is_not_given_from_somewhere_else() -> None:
    with pytest.raises(UnexpectedAnswer, match="from 4 on, the server sends them from 3 on"):
        tail_of(Answered(206, {"content-range": "bytes 3-6/7"}, b"3456"), 4)
