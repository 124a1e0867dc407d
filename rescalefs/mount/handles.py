"""What is open, by the number the kernel knows it by."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from collections.abc import Callable, Mapping
from typing import Generic, Protocol, TypeVar

from rescalefs.errors import ContentError, WrongBytes
from rescalefs.mount.attributes import Attributes
from rescalefs.mount.mappings import Sizes, TextPages, copy_slice
from rescalefs.mount.pagecache import Lease, PageCache
from rescalefs.reading.live import Look


class OpenRemote(Protocol):
    """What this room needs of an open remote file; `rescalefs.reading.OpenFile` is one."""

    @property
    def size(self) -> int: ...

    @property
    def version(self) -> str:
        """Another word once bytes given before may not belong to those given now."""
        ...

    def read_into(self, buffer: memoryview, offset: int) -> int: ...

    def close(self) -> None: ...


class LiveBytes(Protocol):
    """What this room needs of an open live file; `rescalefs.reading.live.OpenLiveFile` is one."""

    def look(self) -> Look: ...

    def read_into(self, buffer: memoryview, offset: int) -> int: ...

    def close(self) -> None: ...


class OpenThing(Protocol):
    """A file that was opened. ``buffer`` and ``data`` are the kernel's: nobody may keep them."""

    def attributes(self) -> Attributes: ...

    def read_into(self, buffer: memoryview, offset: int, /) -> int: ...

    def read_page(self, buffer: memoryview, offset: int, /) -> int:
        """Fill pages of the kernel's, which every program that maps this path shares."""
        ...

    def write(self, data: memoryview, offset: int, /) -> int: ...

    def truncate(self, length: int, /) -> None: ...

    def allocate(self, mode: int, offset: int, length: int, /) -> None: ...

    def sync(self, only_data: bool, /) -> None: ...

    def flush(self) -> None:
        """A program closes one of its descriptors: what this raises, its close(2) fails with."""
        ...

    def close(self) -> None: ...


class ReadOnlyThing:
    """The half of `OpenThing` that everything outside the drop folder shares: it cannot be written."""

    def write(self, _data: memoryview, _offset: int) -> int:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def truncate(self, _length: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def allocate(self, _mode: int, _offset: int, _length: int) -> None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def sync(self, _only_data: bool) -> None:
        """There is nothing that could be lost."""

    def flush(self) -> None:
        """There is nothing that could be lost."""

    def close(self) -> None:
        """There is nothing to give back."""


class OpenText(ReadOnlyThing):
    """A small text as it was when it was opened: no reader sees half of one state and half of another."""

    def __init__(self, text: bytes, attributes: Attributes, pages: TextPages) -> None:
        self._text = text
        self._attributes = attributes
        self._pages = pages

    def attributes(self) -> Attributes:
        return self._attributes

    def read_into(self, buffer: memoryview, offset: int) -> int:
        return copy_slice(self._text, buffer, offset)

    def read_page(self, buffer: memoryview, offset: int) -> int:
        return self._pages.read_into(buffer, offset)

    def close(self) -> None:
        self._pages.close()


class OpenControl(ReadOnlyThing):
    """Takes an order, one word in one write, and returns once it is carried out; any other is EINVAL."""

    def __init__(self, attributes: Attributes, orders: Mapping[str, Callable[[], None]]) -> None:
        self._attributes = attributes
        self._orders = orders

    def attributes(self) -> Attributes:
        return self._attributes

    def read_into(self, _buffer: memoryview, _offset: int) -> int:
        return 0

    read_page = read_into

    def write(self, data: memoryview, _offset: int) -> int:
        order = self._orders.get(bytes(data[:100]).decode("ascii", "replace").strip())
        if order is None or len(data) > 100:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        order()
        return len(data)

    def truncate(self, _length: int) -> None:
        """`echo stop > control` begins with this."""


class OpenLog(ReadOnlyThing):
    """A text that only ever grows: reading past the end looks for more, so that `tail -f` follows it.

    Should it not be a continuation of what was read (another drop has the name now), the old text stays.
    """

    def __init__(
        self, text: bytes, now: Callable[[], bytes | None], attributes: Attributes, pages: TextPages
    ) -> None:
        self._text = text
        self._now = now
        self._attributes = attributes
        self._pages = pages

    def attributes(self) -> Attributes:
        return self._attributes

    def read_into(self, buffer: memoryview, offset: int) -> int:
        if offset + len(buffer) > len(self._text):
            text = self._now()
            if text is not None and text.startswith(self._text):
                self._text = text
        return copy_slice(self._text, buffer, offset)

    def read_page(self, buffer: memoryview, offset: int) -> int:
        return self._pages.read_into(buffer, offset)

    def close(self) -> None:
        self._pages.close()


class OpenContent(ReadOnlyThing):
    """An open remote file. A read is whole or an error: to the kernel a short one means the end of the file.

    Once the bytes turned out wrong, every reader of the same pages gets an error until it opens the file
    again: the kernel may have given it some of them without asking here.
    """

    def __init__(
        self,
        path: str,
        opened: OpenRemote,
        attributes: Attributes,
        cache: PageCache,
        lease: Lease,
        is_confirmed: Callable[[], bool],
    ) -> None:
        """``is_confirmed`` tells, when it is closed, whether what was read is known to be right."""
        self._path = path
        self._opened = opened
        self._attributes = attributes
        self._cache = cache
        self._lease = lease
        self._is_confirmed = is_confirmed
        self._size = opened.size

    def attributes(self) -> Attributes:
        return self._attributes

    def read_into(self, buffer: memoryview, offset: int) -> int:
        if self._lease.spoiled:
            raise self._wrong_before()
        # Asked for before: if it changes meanwhile, the next read is what notices.
        version = self._opened.version
        try:
            count = self._opened.read_into(buffer, offset)
        except WrongBytes:
            self._cache.spoil(self._lease)
            raise
        except (
            OSError
        ) as error:  # of some socket or disk of ours: its errno would tell the application nonsense
            raise ContentError(f"{self._path}: {error}") from error
        expected = min(len(buffer), self._size - offset)
        if count < expected:
            raise ContentError(f"{self._path}: {count} of {expected} bytes at {offset} arrived")
        if not self._cache.accepts(self._lease, version):
            raise self._wrong_before()
        return count

    def read_page(self, buffer: memoryview, offset: int) -> int:
        if not self._cache.joins(self._lease, self._opened.version):
            raise WrongBytes(
                f"{self._path}: another version of it is open. Open it again when that is closed"
            )
        return self.read_into(buffer, offset)

    def close(self) -> None:
        self._cache.release(self._lease, keep=self._is_confirmed())
        self._opened.close()

    def _wrong_before(self) -> WrongBytes:
        return WrongBytes(f"{self._path}: bytes that were read before were wrong. Open it again")


class OpenLive(ReadOnlyThing):
    """An open file that a job still writes to. A short read is the end as far as it is known."""

    def __init__(
        self, path: str, opened: LiveBytes, attributes: Callable[[], Attributes], sizes: Sizes
    ) -> None:
        self._path = path
        self._opened = opened
        self._attributes = attributes
        self._sizes = sizes

    def attributes(self) -> Attributes:
        return self._attributes()

    def read_into(self, buffer: memoryview, offset: int) -> int:
        return self._opened.read_into(buffer, offset)

    def read_page(self, buffer: memoryview, offset: int) -> int:
        count = self._opened.read_into(buffer, offset)
        self._sizes.check(self._path, offset, len(buffer), count)
        return count

    def close(self) -> None:
        self._opened.close()


T = TypeVar("T")


class Handles(Generic[T]):
    """Number -> open thing. Thread-safe without a lock: each step is one operation on a dict or a counter."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._things: dict[int, T] = {}

    def put(self, thing: T) -> int:
        number = next(self._numbers)
        self._things[number] = thing
        return number

    def __getitem__(self, number: int) -> T:
        try:
            return self._things[number]
        except KeyError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None

    def take(self, number: int) -> T:
        """Forget the number and return what it stood for."""
        try:
            return self._things.pop(number)
        except KeyError:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF)) from None

    def __len__(self) -> int:
        return len(self._things)


class OpenByPath:
    """Which handles are open by a path. Thread-safe.

    `fstat` comes to us with the path alone (the kernel sends the handle for other calls only), and has to
    find a file that is open also when its path is gone.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards both
        self._handles: dict[str, list[int]] = {}
        self._paths: dict[int, str] = {}

    def opened(self, path: str, handle: int) -> None:
        with self._lock:
            self._handles.setdefault(path, []).append(handle)
            self._paths[handle] = path

    def closed(self, handle: int) -> None:
        """No matter if it was none of these."""
        with self._lock:
            path = self._paths.pop(handle, None)
            if path is not None:
                self._handles[path].remove(handle)
                if not self._handles[path]:
                    del self._handles[path]

    def find(self, path: str) -> int | None:
        """One that is open; None where none is."""
        with self._lock:
            return next(iter(self._handles.get(path, ())), None)
