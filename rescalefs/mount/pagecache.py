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
    filled: bool = False  # at least one read went into them
    spoiled: bool = False  # some of them are known to be wrong, or may be


@dataclass(slots=True, eq=False)
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

    The kernel keeps pages by path, not by version, and hands them out without asking. Two versions in the
    pages of one path would give a reader half old and half new. So while one version is open another goes
    past the cache, and once the bytes of a version were found wrong, those who share its pages read no
    further. A version is any word that changes when bytes given before may not belong to those given now.
    """

    def __init__(self, remembered: int = 100_000) -> None:
        self._remembered = remembered  # paths; a forgotten one costs a second read, never a wrong byte
        self._lock = threading.Lock()  # guards _contents and what is in them
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

    def bypass(self, path: str, version: str) -> Lease:
        """For an open that must not use pages in any case."""
        return Lease(path, Pages.BYPASS, _Content(version))

    def accepts(self, lease: Lease, version: str) -> bool:
        """Whether bytes of ``version``, just read, may go beside what this reader's pages hold.

        If not, the pages are spoiled.
        """
        content = lease._content  # noqa: SLF001  (a lease is this class's own)
        if content.version == version and content.filled:
            return not content.spoiled
        if lease.pages is Pages.BYPASS:
            return True
        with self._lock:
            if content.filled and content.version != version:
                content.spoiled = True
            content.version = version
            content.filled = True
            return not content.spoiled

    def joins(self, lease: Lease, version: str) -> bool:
        """Whether pages of ``version`` may go into the kernel for an open that bypasses them, but is mapped.

        If another version is in the pages, neither of the two reads on.
        """
        if lease.pages is not Pages.BYPASS:
            return True  # `accepts` decides
        with self._lock:
            present = self._contents.get(lease.path)
            own = lease._content  # noqa: SLF001
            if present is own:
                return not own.spoiled
            if present is None or not present.readers:
                self._contents[lease.path] = own
            elif present.version == version:
                lease._content = own = present  # noqa: SLF001
            else:
                present.spoiled = own.spoiled = True
                return False
            own.readers += 1
            return not own.spoiled

    def spoil(self, lease: Lease) -> None:
        """The bytes were wrong: whoever shares these pages must not read on, and nobody joins them."""
        with self._lock:
            lease._content.spoiled = True  # noqa: SLF001

    def release(self, lease: Lease, keep: bool) -> None:
        """The open has ended. Unless told to ``keep`` the pages, the last one's end is the end of them."""
        with self._lock:
            content = lease._content  # noqa: SLF001
            content.readers -= 1
            if content.readers == 0 and not keep and self._contents.get(lease.path) is content:
                del self._contents[lease.path]

    def _forget_surplus(self) -> None:
        if len(self._contents) > self._remembered:
            idle = (path for path, content in self._contents.items() if not content.readers)
            oldest = next(idle, None)
            if oldest is not None:
                del self._contents[oldest]
