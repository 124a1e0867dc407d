"""A tree, a read engine and views of drops as small as can be, for tests of what the mount makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

from rescalefs.errors import NoSuchPath, NotADirectory, RescaleFSError
from rescalefs.model import LiveFile, RemoteFile
from rescalefs.reading import Verification
from rescalefs.reading.live import Look
from rescalefs.tree import nodes

WHEN = 1_700_000_000_123_456_789
WRITTEN = datetime(2026, 11, 24, 12, tzinfo=timezone.utc)


def folder(path: str, entries: Mapping[str, nodes.Node]) -> nodes.FixedDirectory:
    return nodes.FixedDirectory(nodes.inode_of(path), WHEN, entries)


def text(path: str, content: bytes) -> nodes.TextNode:
    return nodes.TextNode(nodes.inode_of(path), lambda: nodes.Text(content, WHEN))


def remote(file: RemoteFile, final: bool = True) -> nodes.RemoteNode:
    return nodes.RemoteNode(nodes.inode_of(file.id), WHEN, file, final)


class FixedTree:
    """A tree whose root has fixed entries, and submit/."""

    def __init__(self, entries: Mapping[str, nodes.Node]) -> None:
        drops = nodes.DropFolder(nodes.inode_of("submit"), WHEN)
        self._root = nodes.FixedDirectory(nodes.ROOT_INODE, WHEN, {**entries, "submit": drops})

        self._gone: set[str] = set()

    def take_away(self, path: str) -> None:
        """There is no such path any more."""
        self._gone.add(path)

    def node(self, path: str) -> nodes.Node:
        if path in self._gone:
            raise NoSuchPath(path)
        node: nodes.Node = self._root
        for name in path.strip("/").split("/") if path != "/" else ():
            if not isinstance(node, nodes.Directory):
                raise NotADirectory(path)
            found = node.find(name)
            if found is None:
                raise NoSuchPath(path)
            node = found
        return node


@dataclass
class MemoryFile:
    """An open remote file whose bytes are at hand, or fail as told."""

    content: bytes
    failure: BaseException | None = None
    stops_at: int | None = None  # reads end there, as a broken engine's would
    closed: bool = False
    version: str = "v"

    @property
    def size(self) -> int:
        return len(self.content)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        if self.failure is not None:
            raise self.failure
        piece = self.content[: self.stops_at][offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self.closed = True


@dataclass
class MemoryReading:
    """A read engine over a dict: file id -> what opening it gives, or raises."""

    files: dict[str, MemoryFile | RescaleFSError] = field(default_factory=dict)
    verdict: Verification = Verification.YES

    def size(self, file: RemoteFile) -> int:
        return file.size if file.size is not None else self.open(file).size

    def verification(self, file: RemoteFile) -> Verification:
        return self.verdict

    def open(self, file: RemoteFile) -> MemoryFile:
        found = self.files[file.id]
        if isinstance(found, BaseException):
            raise found
        return found


@dataclass
class MemoryLive:
    """Live files over a dict: path -> what the job has written so far."""

    files: dict[str, bytes] = field(default_factory=dict)

    def look(self, file: LiveFile) -> Look:
        return Look(len(self.files[file.path]), WRITTEN)

    def open(self, file: LiveFile) -> MemoryLiveFile:
        return MemoryLiveFile(self, file)


@dataclass
class MemoryLiveFile:
    """An open one of them."""

    live: MemoryLive
    file: LiveFile
    closed: bool = False

    def look(self) -> Look:
        return self.live.look(self.file)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        piece = self.live.files[self.file.path][offset : offset + len(buffer)]
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self.closed = True


@dataclass
class FixedViews:
    """What is told about drops, as dicts by the drop's name."""

    statuses: dict[str, bytes] = field(default_factory=dict)
    logs: dict[str, bytes] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)
    running: set[str] = field(default_factory=set)
    stopped: list[str] = field(default_factory=list)

    def can_stop(self, drop: str) -> bool:
        return drop in self.running

    def stop(self, drop: str) -> None:
        self.stopped.append(drop)

    def status(self, drop: str) -> bytes | None:
        return self.statuses.get(drop)

    def log(self, drop: str) -> bytes | None:
        return self.logs.get(drop)

    def job_id(self, drop: str) -> str | None:
        return self.jobs.get(drop)
