"""Pure: which opens may use the pages that the kernel kept from earlier ones."""

from __future__ import annotations

import enum
import threading
from dataclasses import dataclass, field


class Pages(enum.Enum):
    """How an open stands to the kernel's page cache."""

    KEEP = "keep"  # what is there are bytes of this version
    DROP = "drop"  # start anew, and fill it
    BYPASS = "bypass"  # neither read nor fill it


@dataclass(slots=True, eq=False)
class _Content:
    """What the kernel's pages of one path hold."""

    version: str
    readers: int = 0
    spoiled: bool = False  # some of the pages are known to be wrong


@dataclass(frozen=True, slots=True)
class Lease:
    """One open's share of the pages. `PageCache.release` has to follow, once."""

    path: str
    pages: Pages
    _content: _Content = field(repr=False)

    @property
    def spoiled(self) -> bool:
        """Whether this reader may have been given wrong bytes by the kernel, and must not reach the end."""
        return self._content.spoiled


class PageCache:
    """Remembers whose bytes the kernel's pages of each path are.

    The kernel keeps pages by path, not by version. Two versions open at once would fill the same pages, and
    a reader would get half old and half new; so while one is open, another version goes past the cache.
    The same holds once pages are known to hold wrong bytes.
    """

    def __init__(self, remembered: int = 100_000) -> None:
        self._remembered = remembered  # paths; a forgotten one costs a second read, never a wrong byte
        self._lock = threading.Lock()  # guards _contents and the counts in them
        self._contents: dict[str, _Content] = {}

    def lease(self, path: str, version: str) -> Lease:
        """Decide for one open."""
        with self._lock:
            content = self._contents.get(path)
            if content is not None and content.version == version and not content.spoiled:
                content.readers += 1
                return Lease(path, Pages.KEEP, content)
            if content is not None and content.readers:
                return Lease(path, Pages.BYPASS, _Content(version))
            self._contents.pop(path, None)  # so that it is put in again as the newest
            fresh = self._contents[path] = _Content(version, readers=1)
            self._forget_surplus()
            return Lease(path, Pages.DROP, fresh)

    def spoil(self, lease: Lease) -> None:
        """The bytes were wrong: whoever shares these pages must not read on, and nobody joins them."""
        with self._lock:
            lease._content.spoiled = True  # noqa: SLF001  (a lease is this class's own)

    def release(self, lease: Lease) -> None:
        """The open has ended."""
        with self._lock:
            lease._content.readers -= 1  # noqa: SLF001

    def _forget_surplus(self) -> None:
        if len(self._contents) > self._remembered:
            idle = (path for path, content in self._contents.items() if not content.readers)
            oldest = next(idle, None)
            if oldest is not None:
                del self._contents[oldest]
