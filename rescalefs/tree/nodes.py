"""Pure: what a path can be. The mount asks a node for its attributes, its entries or its bytes.

    Node
    ├── Directory     entries by name, perhaps asked of the server
    ├── RemoteNode    a file whose bytes are on the server
    ├── LiveNode      a file that a running job may still write to
    ├── TextNode      a file whose bytes we write ourselves
    ├── LinkNode      a symbolic link
    └── DropFolder    the mark of submit/, whose content the mount serves from a local directory

Every node has an ``inode``, the same for the same thing as long as it exists, also after a restart, and
``modified_ns``, when it changed last, in nanoseconds since the epoch.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TypeAlias

import xxhash

from rescalefs.model import LiveFile, RemoteFile

ROOT_INODE = 1
LINKS_UNKNOWN = 1  # what Linux file systems say that do not count; `find` then believes nothing about it

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)


class Directory(abc.ABC):
    """A directory."""

    __slots__ = ()

    @property
    @abc.abstractmethod
    def inode(self) -> int: ...

    @property
    @abc.abstractmethod
    def modified_ns(self) -> int:
        """As far as it is known: never asks the server."""

    @property
    def links(self) -> int:
        """2 and one for each sub-directory, or `LINKS_UNKNOWN`: never asks the server."""
        return LINKS_UNKNOWN

    @abc.abstractmethod
    def entries(self) -> Mapping[str, Node]:
        """All names, and what each is. May ask the server, and raise its `ApiError`."""

    def find(self, name: str) -> Node | None:
        """What ``name`` is; None where nothing is. May know more names than `entries` shows."""
        return self.entries().get(name)


class FixedDirectory(Directory):
    """A directory whose entries are at hand."""

    __slots__ = ("_entries", "_inode", "_links", "_modified_ns")

    def __init__(self, inode: int, modified_ns: int, entries: Mapping[str, Node]) -> None:
        """``entries`` belongs to the directory from now on."""
        self._inode = inode
        self._modified_ns = modified_ns
        self._entries = entries
        self._links = 2 + sum(isinstance(entry, (Directory, DropFolder)) for entry in entries.values())

    @property
    def inode(self) -> int:
        return self._inode

    @property
    def modified_ns(self) -> int:
        return self._modified_ns

    @property
    def links(self) -> int:
        return self._links

    def entries(self) -> Mapping[str, Node]:
        return self._entries

    def find(self, name: str) -> Node | None:
        return self._entries.get(name)


@dataclass(frozen=True, slots=True)
class RemoteNode:
    """A file on the server."""

    inode: int
    modified_ns: int
    file: RemoteFile
    final: bool  # this path will not get other bytes: the kernel may keep them


@dataclass(frozen=True, slots=True)
class LiveNode:
    """A file in the working directory of a job that runs. Its size is known to whoever reads it."""

    inode: int
    modified_ns: int  # when it was first seen
    file: LiveFile


@dataclass(frozen=True, slots=True)
class Text:
    """The bytes of a text file at one moment, and the date of the newest thing they tell."""

    content: bytes
    modified_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class TextNode:
    """A file whose bytes come from what is known of the account.

    Asked again, it gives the same bytes until what it tells has changed. `snapshot` gives bytes and date
    that belong together. May ask the server, and raise its `ApiError`.
    """

    inode: int
    snapshot: Callable[[], Text]
    glance: Callable[[], Text] | None = None  # for `stat`, where what is read costs requests of its own

    def seen(self) -> Text:
        """What `stat` tells."""
        return (self.glance or self.snapshot)()

    @property
    def modified_ns(self) -> int:
        return self.seen().modified_ns

    @property
    def size(self) -> int:
        return len(self.seen().content)

    def text(self) -> bytes:
        return self.snapshot().content


@dataclass(frozen=True, slots=True)
class LinkNode:
    """A symbolic link."""

    inode: int
    modified_ns: int
    target: str


@dataclass(frozen=True, slots=True)
class DropFolder:
    """The mark of submit/."""

    inode: int
    modified_ns: int


Node: TypeAlias = Directory | RemoteNode | LiveNode | TextNode | LinkNode | DropFolder


def inode_of(*identity: str) -> int:
    """64 bits that depend on the identity alone; never 0, which means none, nor 1, which is the root's."""
    # Each part goes in with its length, so that ("ab", "c") and ("a", "bc") are two things.
    joined = "".join([f"{len(part)}:{part}" for part in identity])
    number = xxhash.xxh3_64_intdigest(joined.encode("utf-8", "surrogatepass"))
    return number if number > ROOT_INODE else number + 2


def nanoseconds(moment: datetime | None, otherwise: int = 0) -> int:
    """An aware ``moment`` since the epoch, exact to the microsecond; ``otherwise`` where there is none."""
    if moment is None:
        return otherwise
    return (moment - _EPOCH) // _MICROSECOND * 1000
