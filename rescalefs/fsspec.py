"""The account for pandas, Dask and friends: `rescale://jobs/<id>/outputs/...`, through fsspec.

    pandas.read_csv("rescale://jobs/aBcDeF/outputs/forces.csv")
    fsspec.filesystem("rescale").glob("jobs/*/outputs/*.csv")

Needs the extra `rescalefs[fsspec]`. Paths are those of a mount. Bytes come through the same engine, verified
and cached; a read that ends a file raises `OSError` where its checksum does not agree. Read-only.

File systems and open files can be pickled, and used in a forked child: there they begin anew, with threads
and connections of their own.
"""

from __future__ import annotations

import io
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, TypeVar

from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from rescalefs.errors import ContentError, NoSuchPath, NotADirectory, NotFound, RescaleFSError
from rescalefs.forks import Process, generation
from rescalefs.tree import Directory, LinkNode, LiveNode, Node, RemoteNode, TextNode

if TYPE_CHECKING:
    from rescalefs.assembly.library import Library
    from rescalefs.model import RemoteFile
    from rescalefs.reading import OpenFile

T = TypeVar("T")

_LINKS = 8  # that one path may lead through
_LINES_AHEAD = 256 << 10  # bytes read at once for a loop over lines


class RescaleFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec ships no types
    """The tree of a mount, as far as it is for reading.

    ``profile``, ``cache_dir``, ``connections`` and ``verify`` are as the flags of `rescalefs mount`; which
    account it is follows from them, from the settings and from the environment, on each machine anew: an
    object that travels to a worker carries no key.
    """

    protocol = "rescale"
    root_marker = ""
    cachable = True

    def __init__(
        self,
        profile: str | None = None,
        cache_dir: str | None = None,
        connections: int | str | None = None,
        verify: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._flags = {
            "profile": profile,
            "cache_dir": cache_dir,
            "connections": connections,
            "verify": verify,
        }
        # By process. Those of the parent are kept, so that nothing of theirs is finalised in a child.
        self._engines: dict[int, _Engine] = {}

    @property
    def _library(self) -> Library:
        """Made when it is first of use in a process: an object that is only passed on starts no threads."""
        engine = self._engines.get(generation()) or self._engines.setdefault(generation(), _Engine())
        with engine.lock:
            if engine.library is None:
                from rescalefs.assembly.library import Library

                engine.library = Library(self._flags)
                # The collector may call it in the middle of any line, also of one that holds a lock of ours.
                weakref.finalize(self, _abandon, engine.library).atexit = False
            return engine.library

    def close(self) -> None:
        """End the threads of this process. What is open cannot be read any more; a new look begins anew."""
        engine = self._engines.pop(generation(), None)
        if engine is not None and engine.library is not None:
            engine.library.close()

    def invalidate_cache(self, path: str | None = None) -> None:
        """Ask the server afresh when something is looked at next."""
        names = self._strip_protocol(path).split("/") if path else []
        self._library.tree.forget(names[1] if len(names) > 1 and names[0] == "jobs" else None)
        super().invalidate_cache(path)

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        path = self._strip_protocol(path)
        return self._info(path, self._node(path))

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        path = self._strip_protocol(path)
        node = self._node(path)
        if isinstance(node, Directory):
            where = f"{path}/" if path else ""
            entries = translated(path, node.entries)
            found = [
                self._info(f"{where}{name}", self._through(each, f"{where}{name}") or each)
                for name, each in sorted(entries.items())
                if name != "submit" and not isinstance(each, LiveNode)
            ]
        else:
            found = [self._info(path, node)]
        return found if detail else [each["name"] for each in found]

    def walk(
        self,
        path: str,
        maxdepth: int | None = None,
        topdown: bool = True,
        on_error: Any = None,
        **options: Any,
    ) -> Iterator[tuple[str, Any, Any]]:
        """What fsspec's gives, except that a folder that cannot be listed is an error unless it is absent.

        fsspec leaves such a folder out, so that `find` and `glob` tell of no files while the server is gone.
        """
        found: Iterator[tuple[str, Any, Any]] = super().walk(
            path, maxdepth, topdown, on_error or _raise_unless_absent, **options
        )
        return found

    def exists(self, path: str, **_: Any) -> bool:
        """Whether there is something; `OSError` where the server does not say. fsspec's own says no then."""
        return self._type(path) is not None

    def isdir(self, path: str) -> bool:
        """Whether there is a folder; `OSError` where the server does not say."""
        return self._type(path) == "directory"

    def isfile(self, path: str) -> bool:
        """Whether there is a file; `OSError` where the server does not say."""
        return self._type(path) == "file"

    def _type(self, path: str) -> str | None:
        try:
            found: str = self.info(path)["type"]
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found

    def checksum(self, path: str) -> str:
        """The version of a file: another one where its bytes are others."""
        node = self._node(self._strip_protocol(path))
        return node.file.version if isinstance(node, RemoteNode) else str(super().checksum(path))

    def modified(self, path: str) -> datetime:
        """When it changed last, in UTC."""
        when: datetime = self.info(path)["mtime"]
        return when

    def _open(
        self, path: str, mode: str = "rb", block_size: int | None = None, **options: Any
    ) -> io.BufferedIOBase | RescaleFile:
        if mode != "rb":
            raise OSError(f"{path}: the account is read-only here; drop a folder, or use rescalefs submit")
        node = self._node(self._strip_protocol(path))
        if isinstance(node, TextNode):
            return io.BytesIO(translated(path, node.snapshot).content)
        if not isinstance(node, RemoteNode):
            raise IsADirectoryError(path)
        return RescaleFile(self, path, node, block_size, options)

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The bytes ``[start, end)``; negative numbers count from the end."""
        node = self._node(self._strip_protocol(path))
        if isinstance(node, TextNode):
            return translated(path, node.snapshot).content[start:end]
        if not isinstance(node, RemoteNode):
            raise IsADirectoryError(path)
        return translated(path, lambda: self._library.read(node.file, start, end))

    def _node(self, path: str) -> Node:
        """What is at a path, at the end of links."""
        for _ in range(_LINKS):
            link = self._first_link(path)
            if link is None:
                return translated(path, lambda path=path: self._library.node(f"/{path}"))  # type: ignore[misc]
            where, node = link
            path = _joined(where, node.target) + path[len(where) :]
        raise FileNotFoundError(path)

    def _first_link(self, path: str) -> tuple[str, LinkNode] | None:
        """The first link on the way; jobs/ holds none, and is where nearly all paths begin."""
        names = path.split("/")
        if names[0] == "jobs":
            return None
        for count in range(1, len(names) + 1):
            where = "/".join(names[:count])
            node = translated(path, lambda where=where: self._library.node(f"/{where}"))  # type: ignore[misc]
            if isinstance(node, LinkNode):
                return where, node
        return None

    def _through(self, node: Node, path: str) -> Node | None:
        """What a link leads to; None where that is nothing."""
        try:
            return self._node(path) if isinstance(node, LinkNode) else node
        except FileNotFoundError:
            return None

    def _size(self, file: RemoteFile) -> int | None:
        """None, as fsspec has it, where the server does not tell, or does not have all of the file yet."""
        try:
            return self._library.size(file)
        except ContentError:
            return None

    def _info(self, path: str, node: Node) -> dict[str, Any]:
        info: dict[str, Any] = {"name": path, "size": 0, "type": "directory", "ino": node.inode}
        if isinstance(node, RemoteNode):
            size = translated(path, lambda: self._size(node.file))
            info |= {"size": size, "type": "file", "sha512": node.file.sha512}
        elif isinstance(node, TextNode):
            text = translated(path, node.snapshot)
            info |= {"size": len(text.content), "type": "file"}
        elif not isinstance(node, Directory):
            info["type"] = "other"
        modified_ns = translated(path, lambda: node.modified_ns)
        info["mtime"] = datetime.fromtimestamp(modified_ns / 1e9, tz=timezone.utc)
        return info


class _Engine:
    """What serves a file system in one process."""

    def __init__(self) -> None:
        self.lock = (
            threading.Lock()
        )  # guards library; making one asks neither the network nor much of the disk
        self.library: Library | None = None


class RescaleFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec ships no types
    """An output, opened. The engine caches and reads ahead, so fsspec need not.

    A pickled one opens the same version of the same file again, at the same position, without a look at any
    folder.
    """

    def __init__(
        self,
        fs: RescaleFileSystem,
        path: str,
        node: RemoteNode,
        block_size: int | None,
        options: Mapping[str, Any],
    ) -> None:
        self._node = node
        self._process = Process()
        self._file = translated(path, lambda: fs._library.open(node.file))  # noqa: SLF001  # of one module
        self._ahead = b""  # of the file, from _ahead_at on: what lines are taken from
        self._ahead_at = 0
        # What fsspec's own copy of an open file is made with: its cache, and what it believes the size to be.
        kept = {name: value for name, value in options.items() if name not in ("cache_type", "size")}
        super().__init__(
            fs, path, "rb", block_size or "default", cache_type="none", size=self._file.size, **kept
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (self.fs, self.path, self._node, self.blocksize, dict(self.kwargs), self.loc)

    def readuntil(self, char: bytes = b"\n", blocks: int | None = None) -> bytes:
        """The bytes up to and with ``char``, or to the end. `readline` and loops over lines use it."""
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if len(char) != 1:  # it may begin in one piece and end in the next
            found: bytes = super().readuntil(char, blocks)
            return found
        parts: list[bytes] = []
        while True:
            ahead, at = self._ahead, self.loc - self._ahead_at
            if not 0 <= at < len(ahead):
                ahead, at = self._read_ahead(), 0
            end = ahead.find(char, at)
            stop = len(ahead) if end < 0 else end + 1
            parts.append(ahead[at:stop] if at or stop < len(ahead) else ahead)
            self.loc += stop - at
            if end >= 0 or not ahead:
                return b"".join(parts)

    def _read_ahead(self) -> bytes:
        self._ahead_at = self.loc
        self._ahead = self._fetch_range(self.loc, self.loc + _LINES_AHEAD) if self.loc < self.size else b""
        return self._ahead

    def _fetch_range(self, start: int, end: int) -> bytes:
        buffer = bytearray(max(0, min(end, self.size) - start))
        file = self._opened_here()
        count = translated(self.path, lambda: file.read_into(memoryview(buffer), start))
        return bytes(buffer[:count])

    def _opened_here(self) -> OpenFile:
        """The file, opened by this process: what a forked child has of its parent's gives no bytes."""
        if not self._process.is_this:
            self._file = translated(self.path, lambda: self.fs._library.open(self._node.file))  # noqa: SLF001
            self._process = Process()
        return self._file

    def close(self) -> None:
        """Leave the file. Takes no lock: `__del__` calls this, and so do objects around this one."""
        if not self.closed and self._process.is_this:
            self._file.close()
        super().close()


def _reopened(
    fs: RescaleFileSystem,
    path: str,
    node: RemoteNode,
    block_size: int,
    options: Mapping[str, Any],
    position: int,
) -> RescaleFile:
    """A pickled file, in the process that it has come to."""
    file = RescaleFile(fs, path, node, block_size, options)
    file.seek(position)
    return file


def _abandon(library: Library) -> None:
    if library.process.is_this:
        library.abandon()


def _raise_unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _joined(link: str, target: str) -> str:
    """Where a link at ``link`` leads."""
    names = link.split("/")[:-1]
    for name in target.split("/"):
        names = names[:-1] if name == ".." else [*names, name]
    return "/".join(names)


def translated(path: str, act: Callable[[], T]) -> T:
    """Do it; what programs for local files expect comes in place of our errors."""
    try:
        return act()
    except (NoSuchPath, NotFound) as error:
        raise FileNotFoundError(path) from error
    except NotADirectory as error:
        raise NotADirectoryError(path) from error
    except RescaleFSError as error:
        from rescalefs.assembly.library import await_exit

        await_exit()
        raise OSError(f"{path}: {error}") from error
