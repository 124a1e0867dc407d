"""The bytes of answers, as they arrive: checked to be those that were asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from rescalefs.api.transport import StreamedAnswer
from rescalefs.errors import ApiError, UnexpectedAnswer, Unreachable

NOT_SATISFIABLE = 416  # the range begins at or after the end

_NUMBER = "[0-9]{1,19}"
# The unit in any case: RFC 9110, 14.1.
_CONTENT_RANGE = re.compile(rf"bytes (?:({_NUMBER})-({_NUMBER})|\*)/({_NUMBER}|\*)", re.IGNORECASE)


class RangeBody:
    """The bytes ``[start, stop)`` of a file as they arrive, whatever the server made of the Range header.

    A 206 must be for what was asked; of a 200, what comes before is skipped and what comes after is cut.
    """

    def __init__(self, answer: StreamedAnswer, what: str, start: int, stop: int) -> None:
        self._answer = answer
        self._what = what
        self._skip = 0
        self.start = start
        self.total: int | None = None  # the size of the file, as this answer tells it
        if answer.status == NOT_SATISFIABLE:
            self.total = _content_range(answer, what)[2]
            if self.total is not None and self.total > start:
                raise UnexpectedAnswer(f"{what}: the server has byte {start} and refuses to send it")
            self.stop = start
        elif answer.status == 206:
            if _is_encoded(answer):
                raise UnexpectedAnswer(f"{what}: the server sends a range of something compressed")
            first, end, self.total = _content_range(answer, what)
            expected = stop if self.total is None else min(stop, self.total)
            if first != start or end != expected:
                raise UnexpectedAnswer(
                    f"{what}: asked for bytes {start} to {stop - 1}, the server sends {first} to {end - 1}"
                )
            self.stop = end
        else:
            self.total = _length(answer)
            self._skip = start
            self.stop = stop if self.total is None else max(start, min(stop, self.total))

    def __iter__(self) -> Iterator[bytes]:
        """Chunks in order. Raises `Unreachable` or `TimedOut` where the transfer breaks or ends short."""
        size = left = self.stop - self.start
        if not left:
            return
        skip = self._skip
        arriving = iter(self._answer)
        for chunk in arriving:
            if skip >= len(chunk):
                skip -= len(chunk)
                continue
            piece = chunk[skip : skip + left] if skip or len(chunk) > left else chunk
            skip = 0
            left -= len(piece)
            yield piece
            if not left:
                break
        if left:
            raise Unreachable(f"{self._what}: the transfer ended after {size - left} of {size} bytes")
        if self._answer.status == 206:
            # A body in chunks has an end mark after its last byte; unread, it costs the connection. All that
            # was asked for has come by now: if the mark does not, that is no failure.
            with suppress(ApiError):
                next(arriving, None)


class TailBody:
    """The bytes of a live file from `start` on; where the server ignored the range, `start` is 0."""

    is_final = False  # the run may write more

    def __init__(self, answer: StreamedAnswer, what: str, asked: int) -> None:
        self._answer = answer
        self.start = asked if answer.status in (206, NOT_SATISFIABLE) else 0
        self.total: int | None = None
        if answer.status in (206, NOT_SATISFIABLE):
            first, _, self.total = _content_range(answer, what)
            if answer.status == 206 and first != asked:
                raise UnexpectedAnswer(
                    f"{what}: asked for the bytes from {asked} on, the server sends them from {first} on"
                )

    def __iter__(self) -> Iterator[bytes]:
        return iter(()) if self._answer.status == NOT_SATISFIABLE else iter(self._answer)


def _content_range(answer: StreamedAnswer, what: str) -> tuple[int, int, int | None]:
    """First byte, end (exclusive) and total size; (0, 0, total) for `bytes */total`."""
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("content-range", "").strip())
    if found is None:
        if answer.status == NOT_SATISFIABLE:
            return 0, 0, None
        raise UnexpectedAnswer(f"{what}: the server sends a range and does not say which")
    first, last, total = found.groups()
    end = int(last) + 1 if last else 0
    return int(first or 0), end, None if total == "*" else int(total)


def _length(answer: StreamedAnswer) -> int | None:
    """The length of the body, where the server tells and it is that of the bytes themselves."""
    told = answer.headers.get("content-length", "")
    return int(told) if re.fullmatch(_NUMBER, told) and not _is_encoded(answer) else None


def _is_encoded(answer: StreamedAnswer) -> bool:
    return answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity")
