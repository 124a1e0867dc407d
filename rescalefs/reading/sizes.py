"""The sizes of files that a listing does not give: asked of the server, and remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TypeVar

from rescalefs.clock import Clock
from rescalefs.errors import SizeUnknown
from rescalefs.model import RemoteFile
from rescalefs.reading.source import Source, size_of

V = TypeVar("V")

_MANY = 50_000  # sizes; some 200 bytes each
_REST = 10.0  # seconds before a server that does not tell a size is asked for it again


class Sizes:
    """Asks for each size once. Thread-safe; no lock is held over the network.

    Two threads that want one size at the same moment may both ask. A server that does not tell a size is
    asked again after a rest, because the reason may pass.
    """

    def __init__(self, source: Source, clock: Clock) -> None:
        self._source = source
        self._clock = clock
        self._lock = threading.Lock()  # guards both
        self._known: OrderedDict[str, int] = OrderedDict()  # by version
        self._unknown: OrderedDict[str, tuple[float, SizeUnknown]] = OrderedDict()  # since when, by version

    def size(self, file: RemoteFile) -> int:
        """The size in bytes. Raises `SizeUnknown`, and what asking raises."""
        version, now = file.version, self._clock.monotonic()
        with self._lock:
            known = self._known.get(version)
            since, error = self._unknown.get(version, (0.0, None))
        if known is not None:
            return known
        if error is not None and now - since < _REST:
            raise SizeUnknown(*error.args)
        try:
            size = size_of(self._source, file)
        except SizeUnknown as failure:
            with self._lock:
                _remember(self._unknown, version, (now, failure))
            raise
        with self._lock:
            self._unknown.pop(version, None)
            _remember(self._known, version, size)
        return size


def _remember(table: OrderedDict[str, V], version: str, value: V) -> None:
    table[version] = value
    table.move_to_end(version)
    if len(table) > _MANY:
        table.popitem(last=False)
