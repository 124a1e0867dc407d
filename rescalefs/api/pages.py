"""Lists: their pages fetched side by side and joined, within limits, each entry once."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Generic, TypeVar

from rescalefs import requester
from rescalefs.api import wire
from rescalefs.api.transport import LARGEST_PAGE, Answer, Request, Transport
from rescalefs.errors import NotFound, Stopping, TimedOut, UnexpectedAnswer

W = TypeVar("W")
V = TypeVar("V")

_PAGE_SIZE = 1000  # what we ask for; the length that comes is what counts
_LARGEST_LIST = 2 << 30  # bytes of all pages: 1.5 million files of 1.4 KiB
_PAGES_AHEAD = 2  # pages under way or waiting, for each that is fetched at a time
_LONGEST_WAIT = 600.0  # seconds for the next page: its requests have limits, and others may go before it
_PAGE_OF = re.compile(r"[?&]page=(\d{1,9})(?:&|$)")

Params = Mapping[str, str | int]


class Lists:
    """Fetches lists. Thread-safe."""

    def __init__(self, transport: Transport, pages_at_once: int, longest: int) -> None:
        """A list of more than ``longest`` entries is an error."""
        self._transport = transport
        self._pages_at_once = pages_at_once
        self._pages_ahead = _PAGES_AHEAD * pages_at_once
        self._longest = longest
        self._lock = threading.Lock()  # guards _pool and _closed
        self._pool: ThreadPoolExecutor | None = None  # of threads that fetch pages; made when there are some
        self._closed = False

    def close(self) -> None:
        """A list under way raises `Stopping`, and so does one that is asked for later."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)

    def all(
        self,
        path: str,
        kind: type[W],
        made: Callable[[W], V | None],
        params: Params,
        rather_none: bool = False,
    ) -> tuple[V, ...]:
        """What is ``made`` of each entry of a list, once. One that changed while its pages came in is asked
        for once more. Entries that make no sense are left out, and so are those of which None is made.

        ``rather_none`` is as for `wire.sensible`. Made page by page: a long list takes more memory as it
        comes than as it is kept.
        """
        for _ in range(2):
            listing = _Listing(self._transport, path, kind, made, params)
            count, found = self._joined(listing)
            unique = {each.identity: each for each in found}
            if count is None or len(unique) == count:
                break
        return wire.sensible(unique.values(), f"GET {path}", rather_none)

    def _joined(self, listing: _Listing[W, V]) -> tuple[int | None, list[wire.Entry[V]]]:
        """The entries of all pages, one after the other, and how many the server says there are.

        An empty page ends the list, whatever the server says of others. Pages that the count does not tell of
        are followed by what each names as the next.
        """
        last = listing.page(1)
        count, at, items = last.count, 1, list(last.entries)
        if count is not None and items and count > len(items):
            self._check_length(listing, count)
            for last in self._in_parallel(listing.page, range(2, 1 - -count // len(items))):
                at += 1
                items += last.entries
                if not last.entries:
                    break
        while last.entries and last.next:
            at = listing.number_of_next(last, at)
            last = listing.page(at)
            items += last.entries
            self._check_length(listing, len(items))
        return count, items

    def _check_length(self, listing: _Listing[W, V], entries: int) -> None:
        if entries > self._longest:
            raise UnexpectedAnswer(f"{listing}: a list of {entries} entries is longer than any should be")

    def _in_parallel(self, act: Callable[[int], W], numbers: range) -> Iterator[W]:
        """The results in order. The first error ends it, and what has not begun is left.

        Few are begun ahead of the one that is awaited: neither a count that is made up nor a long list
        takes memory for pages to come, and lists that are fetched at the same time take turns.
        """
        if len(numbers) < 2:
            yield from map(act, numbers)
            return
        futures: deque[Future[W]] = deque()
        left = iter(numbers)
        try:
            while True:
                futures += self._begin(act, islice(left, self._pages_ahead - len(futures)))
                if not futures:
                    return
                yield futures[0].result(_LONGEST_WAIT)
                futures.popleft()
        except FutureTimeout:
            raise TimedOut(f"a page of a list did not come within {_LONGEST_WAIT:.0f} s") from None
        except CancelledError:
            raise _stopping() from None
        finally:
            for future in futures:
                future.cancel()

    def _begin(self, act: Callable[[int], W], numbers: Iterable[int]) -> list[Future[W]]:
        with self._lock:  # also while they are queued, which waits for nothing: a closed pool takes none
            if self._closed:
                raise _stopping()
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._pages_at_once, "rescalefs-pages")
            return [self._pool.submit(requester.carried(partial(act, number))) for number in numbers]


@dataclass(frozen=True, slots=True)
class _Page(Generic[V]):
    entries: list[wire.Entry[V]]
    count: int | None = None
    next: str | None = None


class _Listing(Generic[W, V]):
    """One list that is being fetched, perhaps by several threads."""

    def __init__(
        self,
        transport: Transport,
        path: str,
        kind: type[W],
        made: Callable[[W], V | None],
        params: Params,
    ) -> None:
        self._transport = transport
        self._path = path
        self._kind = kind
        self._made = made
        self._params = params
        self._sizes: list[int] = []  # of the pages so far, in bytes; to add one is one step

    def __str__(self) -> str:
        return f"GET {self._path}"

    def page(self, number: int) -> _Page[V]:
        """One page; an empty one if the list has become shorter."""
        asked = {**self._params, "page": number, "page_size": _PAGE_SIZE}
        try:
            return self._transport.request(Request("GET", self._path, params=asked), self._read, LARGEST_PAGE)
        except NotFound:
            if number == 1:
                raise
            return _Page([])

    def number_of_next(self, page: _Page[V], number: int) -> int:
        """The number of what page ``number`` names as the next. Raises `UnexpectedAnswer` if it is none.

        Only the number is taken, so no answer can send us to another server; it goes up, so none in a circle.
        """
        found = _PAGE_OF.search(page.next or "")
        if found is None or int(found[1]) <= number:
            raise UnexpectedAnswer(f"{self}: what page {number} names as the next is none")
        return int(found[1])

    def _read(self, answer: Answer) -> _Page[V]:
        self._sizes.append(len(answer.content))
        if sum(self._sizes) > _LARGEST_LIST:
            raise UnexpectedAnswer(f"{self}: a list of more than {_LARGEST_LIST >> 20} MiB")
        page = wire.decode(answer.content, wire.Page, str(self))
        return _Page(wire.each_entry(page.results, self._kind, self._made), page.count, page.next)


def _stopping() -> Stopping:
    return Stopping("rescalefs is stopping")
