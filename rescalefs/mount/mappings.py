"""Which bytes the kernel's pages of a text hold, where programs map it into memory.

The kernel keeps one set of pages and one size for each path, and drops the pages whenever a program maps
the file. A text is opened as it is at that moment, so two programs could share pages of two texts, or map a
size that the text does not have. docs/decisions/0058-mappings.md says how that is avoided.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from rescalefs.clock import Clock
from rescalefs.errors import FileChanged
from rescalefs.tree.nodes import Text

_HOLD = 10.0  # [s] for which a path goes on showing a text that is mapped; a parser needs a second or two
_REMEMBERED = 4096  # paths; a forgotten size only means that a change just before a mapping goes unnoticed


class Sizes:
    """The size that stat(2) gave last for each path, because the kernel believes it. Thread-safe."""

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._lock = threading.Lock()  # guards the table
        self._sizes: dict[str, int] = {}

    def told(self, path: str, size: int) -> None:
        with self._lock:
            self._sizes.pop(path, None)  # so that it is put in again as the newest
            self._sizes[path] = size
            if len(self._sizes) > self._remembered:
                del self._sizes[next(iter(self._sizes))]

    def of(self, path: str) -> int | None:
        """None where it is not known."""
        return self._sizes.get(path)

    def check(self, path: str, offset: int, asked: int, count: int) -> None:
        """Raise FileChanged if a page would end before the size that was given: the kernel adds zeros."""
        size = self.of(path)
        if size is not None and count < min(asked, size - offset):
            raise FileChanged(f"{path}: it is shorter than it was when it was mapped. Open it again")


@dataclass(slots=True, eq=False)
class _Mapped:
    """The text that the pages of one path hold."""

    text: Text
    mappers: set[TextPages] = field(default_factory=set)
    outdated: float | None = None  # since when the path has another text [monotonic s]


class Mappings:
    """The texts that programs have mapped.

    While a text is mapped, `stat` and `open` show it for at most `_HOLD` more seconds once it has changed.
    After that the newest mapping has the pages, and what an older one has not in memory is an error.
    Thread-safe; no text is asked for under the lock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sizes = Sizes()
        self._lock = threading.Lock()  # guards _mapped and what is in it
        self._mapped: dict[str, _Mapped] = {}

    def shown(self, path: str, newest: Text) -> Text:
        """The text that a path shows at this moment: the newest, except where an older one is mapped."""
        if not self._mapped:
            return newest
        with self._lock:
            mapped = self._mapped.get(path)
            if mapped is None or mapped.text == newest:
                return newest
            now = self._clock.monotonic()
            mapped.outdated = now if mapped.outdated is None else mapped.outdated
            if now - mapped.outdated < _HOLD:
                return mapped.text
            del self._mapped[path]
            return newest

    def told(self, path: str, newest: Text) -> Text:
        """The text that a path shows, for stat(2)."""
        text = self.shown(path, newest)
        self._sizes.told(path, len(text.content))
        return text

    def map(self, mapper: TextPages, path: str, opened: Text, newest: Callable[[], Text]) -> Text:
        """The text for the pages of an open file: the one whose size was given, wherever there is one."""
        size = self._sizes.of(path)
        if size not in {None, len(opened.content)}:
            opened = max(opened, newest(), key=lambda text: len(text.content) == size)
        with self._lock:
            mapped = self._mapped.get(path)
            fits = mapped is not None and size in {None, len(mapped.text.content)}
            if mapped is None or not fits:
                mapped = self._mapped[path] = _Mapped(opened)
            mapped.mappers.add(mapper)
            return mapped.text

    def has_pages(self, mapper: TextPages, path: str) -> bool:
        """Whether no other text is in the pages."""
        with self._lock:
            mapped = self._mapped.get(path)
            return mapped is None or mapper in mapped.mappers

    def unmap(self, mapper: TextPages, path: str) -> None:
        with self._lock:
            mapped = self._mapped.get(path)
            if mapped is not None:
                mapped.mappers.discard(mapper)
                if not mapped.mappers:
                    del self._mapped[path]

    def check(self, path: str, offset: int, asked: int, count: int) -> None:
        """Check a size as `Sizes.check` does."""
        self._sizes.check(path, offset, asked, count)


class TextPages:
    """What one open text puts into the kernel's pages. Thread-safe."""

    def __init__(self, mappings: Mappings, path: str, opened: Text, newest: Callable[[], Text]) -> None:
        """``newest`` gives the text of the path now; it may ask the server."""
        self._mappings = mappings
        self._path = path
        self._opened = opened
        self._newest = newest
        self._text: Text | None = None

    def read_into(self, buffer: memoryview, offset: int) -> int:
        """Fill ``buffer`` from ``offset`` on; return the count.

        Raises FileChanged where the pages hold a newer text, and where this one is shorter than `stat` said.
        """
        if self._text is None:
            self._text = self._mappings.map(self, self._path, self._opened, self._newest)
            count = copy_slice(self._text.content, buffer, offset)
            self._mappings.check(self._path, offset, len(buffer), count)
            return count
        if not self._mappings.has_pages(self, self._path):
            raise FileChanged(f"{self._path}: another program has mapped a newer version. Open it again")
        return copy_slice(self._text.content, buffer, offset)

    def close(self) -> None:
        if self._text is not None:
            self._mappings.unmap(self, self._path)


def copy_slice(text: bytes, buffer: memoryview, offset: int) -> int:
    """Fill ``buffer`` with ``text`` from ``offset`` on; return the count."""
    piece = text[offset : offset + len(buffer)]
    buffer[: len(piece)] = piece
    return len(piece)
