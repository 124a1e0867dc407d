"""Our own names in a drop: `status`, `status.log`, `job` and `control`, over what the folder holds."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from rescalefs.clock import Clock
from rescalefs.tree.nodes import Text, inode_of


class DropViews(Protocol):
    """What is told about drops; ``drop`` is a folder name directly below submit/. None: nothing to tell."""

    def status(self, drop: str) -> bytes | None: ...

    def log(self, drop: str) -> bytes | None: ...

    def job_id(self, drop: str) -> str | None: ...

    def can_stop(self, drop: str) -> bool:
        """Whether it has a job that has not ended."""
        ...

    def stop(self, drop: str) -> None:
        """Stop that job. May wait for the network."""
        ...


class Kind(enum.Enum):
    """How an overlay behaves."""

    STATE = "state"  # a text that is replaced
    LOG = "log"  # a text that grows
    LINK = "link"
    CONTROL = "control"  # takes orders; not listed, and gives way to a file of this name


_KINDS = {"status": Kind.STATE, "status.log": Kind.LOG, "job": Kind.LINK, "control": Kind.CONTROL}
_LISTED = [name for name, kind in _KINDS.items() if kind is not Kind.CONTROL]


@dataclass(frozen=True, slots=True)
class Overlay:
    """One of our names in one drop, as it is now."""

    drop: str
    name: str
    kind: Kind
    content: bytes  # of a link, its target
    changed_ns: int

    @property
    def text(self) -> Text:
        return Text(self.content, self.changed_ns)

    @property
    def inode(self) -> int:
        return inode_of("overlay", self.drop, self.name)


class Overlays:
    """Which of our names are to be seen in which drop.

    A drop that is just being made through the mount shows none until it has been left alone for ``quiet``
    seconds, and a name that was removed stays away as long. Else `cp -r` of a finished drop would fail: it
    creates `status` with O_EXCL, and the kernel refuses that by itself when the name can be looked up.
    """

    def __init__(self, views: DropViews, busy: Callable[[str], bool], clock: Clock, quiet: float) -> None:
        self._views = views
        self._busy = busy
        self._clock = clock
        self._quiet = quiet
        self._lock = threading.Lock()  # guards the three tables
        self._made: dict[str, float] = {}  # drop being made -> when it was last touched
        self._removed: dict[str, float] = {}  # path -> when
        self._seen: dict[str, tuple[bytes, int]] = {}  # path -> content, and since when it is so

    def find(self, path: str) -> Overlay | None:
        """The overlay at a path below submit/, if one is to be seen there."""
        drop, slash, name = path.partition("/")
        kind = _KINDS.get(name)
        if not slash or kind is None or self._is_hidden(drop, path):
            return None
        content = self._content(drop, kind)
        return None if content is None else Overlay(drop, name, kind, content, self._since(path, content))

    def of(self, drop: str) -> list[Overlay]:
        """All that are listed in a drop."""
        found = (self.find(f"{drop}/{name}") for name in _LISTED)
        return [overlay for overlay in found if overlay is not None]

    def made(self, drop: str) -> None:
        """The drop's folder has just been made."""
        with self._lock:
            self._made[drop] = self._clock.monotonic()

    def touched(self, path: str) -> None:
        """Something at this path changed."""
        drop = path.partition("/")[0]
        if drop in self._made:
            self.made(drop)

    def removed(self, path: str) -> None:
        """The name was removed by someone who may make it anew at once."""
        with self._lock:
            self._removed[path] = self._clock.monotonic()

    def forget(self, drop: str) -> None:
        """The drop is gone, or has another name."""
        with self._lock:
            self._made.pop(drop, None)
            for name in _KINDS:
                self._removed.pop(f"{drop}/{name}", None)
                self._seen.pop(f"{drop}/{name}", None)

    def renamed(self, old: str, new: str) -> None:
        """A drop still being made stays one under its new name."""
        being_made = old in self._made
        self.forget(old)
        self.forget(new)
        if being_made:
            self.made(new)

    def _content(self, drop: str, kind: Kind) -> bytes | None:
        if kind is Kind.STATE:
            return self._views.status(drop)
        if kind is Kind.LOG:
            return self._views.log(drop)
        if kind is Kind.CONTROL:
            return b"" if self._views.can_stop(drop) else None
        job_id = self._views.job_id(drop)
        return None if job_id is None else f"../../jobs/{job_id}".encode()

    def _is_hidden(self, drop: str, path: str) -> bool:
        if not self._made and not self._removed:
            return False
        busy = self._busy(drop)
        with self._lock:
            since = self._clock.monotonic() - self._quiet
            if drop in self._made:
                if busy or self._made[drop] > since:
                    return True
                del self._made[drop]
            if path in self._removed:
                if self._removed[path] > since:
                    return True
                del self._removed[path]
        return False

    def _since(self, path: str, content: bytes) -> int:
        with self._lock:
            seen = self._seen.get(path)
            if seen is None or seen[0] != content:
                seen = self._seen[path] = (content, int(self._clock.now().timestamp() * 1e9))
            return seen[1]
