"""What each file operation means for nodes, remote files and the drop folder; knows no FUSE library."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from rescalefs.clock import Clock, SystemClock
from rescalefs.errors import ApiError, IsADirectory, NoSuchPath, NotADirectory, NotFound, ReadOnly
from rescalefs.model import LiveFile, RemoteFile
from rescalefs.mount.attributes import (
    FILE_MODE,
    FOLDER_MODE,
    LINK_MODE,
    Attributes,
    Owner,
    described,
)
from rescalefs.mount.dropfolder import ACLS, BackingFile, DropFolder, Entry
from rescalefs.mount.handles import (
    Handles,
    LiveBytes,
    OpenByPath,
    OpenContent,
    OpenLive,
    OpenRemote,
    OpenText,
    OpenThing,
)
from rescalefs.mount.mappings import Mappings, Sizes, TextPages
from rescalefs.mount.pagecache import PageCache, Pages
from rescalefs.mount.syscalls import Moment
from rescalefs.reading.live import Look
from rescalefs.reading.verification import Verification
from rescalefs.requester import Openers
from rescalefs.tree import nodes
from rescalefs.tree.facts import facts

XATTR_PREFIX = "user.rescale."

_DROPS = "/submit"

_FILE = stat.S_IFREG | FILE_MODE
_FOLDER = stat.S_IFDIR | FOLDER_MODE
_LINK = stat.S_IFLNK | LINK_MODE


class Nodes(Protocol):
    """What this room needs of the tree; `rescalefs.tree.Tree` is one."""

    def node(self, path: str) -> nodes.Node: ...


class Reading(Protocol):
    """What this room needs to read remote files; `rescalefs.reading.ReadEngine` is one."""

    def open(self, file: RemoteFile) -> OpenRemote: ...

    def size(self, file: RemoteFile) -> int: ...

    def verification(self, file: RemoteFile) -> Verification: ...


class Live(Protocol):
    """What this room needs to follow files that grow; `rescalefs.reading.live.LiveFiles` is one."""

    def look(self, file: LiveFile) -> Look: ...

    def open(self, file: LiveFile) -> LiveBytes: ...


class OpenFolder(Protocol):
    """A directory that was opened."""

    def entries(self) -> Iterable[Entry]: ...

    def sync(self) -> None: ...

    def close(self) -> None: ...


class Opened(NamedTuple):
    """What the kernel has to know about an open file."""

    handle: int
    keep_cache: bool = False  # the pages it has from earlier opens are still right
    direct_io: bool = False  # it must not keep pages at all, nor trust the size


class NodeFolder:
    """A directory of the tree as it was when it was opened."""

    def __init__(self, entries: Mapping[str, nodes.Node], drops: DropFolder) -> None:
        self._entries = entries
        self._drops = drops

    def entries(self) -> Iterator[Entry]:
        for name, node in self._entries.items():
            if isinstance(node, nodes.DropFolder):
                yield Entry(name, self._drops.attributes("").inode, stat.S_IFDIR)
            else:
                yield Entry(name, node.inode, _type_of(node))

    def sync(self) -> None:
        """There is nothing that could be lost."""

    def close(self) -> None:
        """There is nothing to give back."""


class FileSystem:
    """The mount's operations. Paths are absolute within the mount; errors are ours, or OSErrors.

    Below submit/ all goes to the drop folder. The rest is the tree, which nobody can write: EROFS.
    Thread-safe: what is shared is frozen, or guards itself.
    """

    def __init__(
        self,
        tree: Nodes,
        reading: Reading,
        live: Live,
        drops: DropFolder,
        keep_unconfirmed: bool = False,
        cached: Callable[[], int] = lambda: 0,
        takes_drops: Callable[[], bool] = lambda: True,
        clock: Clock | None = None,
        openers: Openers | None = None,
        xattrs: bool = False,
        checks_acls: bool = False,
    ) -> None:
        """``keep_unconfirmed``: bytes that were not verified may stay in the kernel too (`--verify off`).

        ``cached`` tells, at once, how many bytes the cache takes on the disk. While ``takes_drops`` is not
        so, because the drop folder is another account's, everything below submit/ is read-only.
        ``openers`` is told which program opens a remote file. ``xattrs``: extended attributes tell what is
        known of files and jobs. ``checks_acls``: the kernel asks for access lists, to check permissions.
        """
        self._tree = tree
        self._reading = reading
        self._live = live
        self._drops = drops
        self._owner = Owner.of_this_process()
        self._pages = PageCache()
        self._mappings = Mappings(clock or SystemClock())
        self._live_sizes = Sizes()
        self._openers = openers or Openers()
        self._xattrs = xattrs
        self._checks_acls = checks_acls
        self._keep_unconfirmed = keep_unconfirmed
        self._cached = cached
        self._takes_drops = takes_drops
        self._files: Handles[OpenThing] = Handles()
        self._folders: Handles[OpenFolder] = Handles()
        self._open_live_files = OpenByPath()

    # --- what is there

    def attributes(self, path: str) -> Attributes:
        if path.startswith(_DROPS) and (below := below_drops(path)) is not None:
            return self._drops.attributes(below)
        try:
            return self._described(path, self._tree.node(path))
        except (NoSuchPath, NotFound):
            handle = self._open_live_files.find(path)
            if handle is None:
                raise
            return self.handle_attributes(handle)

    def handle_attributes(self, handle: int) -> Attributes:
        return self._files[handle].attributes()

    def read_link(self, path: str) -> str:
        below = below_drops(path)
        if below is not None:
            return self._drops.read_link(below)
        node = self._tree.node(path)
        if not isinstance(node, nodes.LinkNode):
            raise _os_error(errno.EINVAL)
        return node.target

    def access(self, path: str, mode: int) -> None:
        below = below_drops(path)
        if below is not None:
            self._drops.access(below, mode)
            return
        node = self._tree.node(path)
        if mode & os.W_OK:
            raise _read_only(path)
        if mode & os.X_OK and not isinstance(node, nodes.Directory):
            raise _os_error(errno.EACCES)

    def space(self) -> os.statvfs_result:
        """Used is what the cache takes; available, what there is on the disk that takes what is dropped."""
        disk = self._drops.space()
        used = -(-self._cached() // (disk.f_frsize or 1))
        fields = [*disk, disk.f_fsid]
        fields[2] = used + disk.f_bfree  # f_blocks
        return os.statvfs_result(fields)

    # --- extended attributes

    def extended_attribute(self, path: str, name: str) -> bytes:
        below = below_drops(path)
        if below is not None:
            return self._drops.extended_attribute(below, name)
        if name in ACLS and self._checks_acls:
            raise _os_error(errno.ENODATA)  # the kernel takes any other error for a refusal
        value = self._facts(path).get(name)
        if value is None:
            raise _os_error(errno.ENODATA)
        return value

    def extended_attributes(self, path: str) -> list[str]:
        """Their names."""
        below = below_drops(path)
        return list(self._facts(path)) if below is None else self._drops.extended_attributes(below)

    def set_extended_attribute(self, path: str, name: str, value: bytes, flags: int) -> None:
        below = below_drops(path)
        if below is None:
            raise _os_error(errno.EOPNOTSUPP)
        self._changeable_drops().set_extended_attribute(below, name, value, flags)

    def remove_extended_attribute(self, path: str, name: str) -> None:
        below = below_drops(path)
        if below is None:
            raise _os_error(errno.EOPNOTSUPP)
        self._changeable_drops().remove_extended_attribute(below, name)

    def _facts(self, path: str) -> Mapping[str, bytes]:
        """What is known of a file or a job. Without ``xattrs`` there are no attributes at all.

        Of a file system that says so, `ls -l` does not ask for the attributes of each file.
        """
        if not self._xattrs:
            raise _os_error(errno.EOPNOTSUPP)
        known = facts(self._tree.node(path), self._reading.verification)
        return {f"{XATTR_PREFIX}{name}": os.fsencode(value) for name, value in known.items()}

    # --- folders

    def open_folder(self, path: str) -> int:
        below = below_drops(path)
        if below is not None:
            return self._folders.put(self._drops.open_folder(below))
        node = self._tree.node(path)
        if not isinstance(node, nodes.Directory):
            raise NotADirectory(path)
        return self._folders.put(NodeFolder(node.entries(), self._drops))

    def entries(self, handle: int) -> Iterable[Entry]:
        return self._folders[handle].entries()

    def sync_folder(self, handle: int) -> None:
        self._folders[handle].sync()

    def close_folder(self, handle: int) -> None:
        self._folders.take(handle).close()

    # --- files

    def open(self, path: str, flags: int) -> Opened:
        below = below_drops(path)
        if below is not None:
            reads = flags & os.O_ACCMODE == os.O_RDONLY and not flags & os.O_TRUNC
            thing = (self._drops if reads else self._changeable_drops()).open(below, flags)
            return Opened(self._files.put(thing), direct_io=not isinstance(thing, BackingFile))
        node = self._tree.node(path)
        if flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC:
            raise _read_only(path)
        if isinstance(node, nodes.TextNode):
            return self._open_text(path, node)
        if isinstance(node, nodes.RemoteNode):
            return self._open_remote(path, node)
        if isinstance(node, nodes.LiveNode):
            return self._open_live(path, node)
        raise IsADirectory(path)

    def create(self, path: str, flags: int, mode: int, caller: Owner | None = None) -> Opened:
        return Opened(self._files.put(self._changeable_drops().create(writable(path), flags, mode, caller)))

    def read_into(self, handle: int, buffer: memoryview, offset: int, in_pages: bool = False) -> int:
        """Fill ``buffer``, which must not be kept; short only where the file ends.

        ``in_pages``: the bytes go into the kernel's pages, and not only to the program that reads.
        """
        thing = self._files[handle]
        return thing.read_page(buffer, offset) if in_pages else thing.read_into(buffer, offset)

    def write(self, handle: int, data: memoryview, offset: int) -> int:
        return self._files[handle].write(data, offset)

    def truncate(self, path: str, length: int) -> None:
        self._changeable_drops().truncate(writable(path), length)

    def truncate_handle(self, handle: int, length: int) -> None:
        self._files[handle].truncate(length)

    def allocate(self, handle: int, mode: int, offset: int, length: int) -> None:
        self._files[handle].allocate(mode, offset, length)

    def sync(self, handle: int, only_data: bool) -> None:
        self._files[handle].sync(only_data)

    def flush(self, handle: int) -> None:
        """A program closes one of its descriptors; an error becomes that of its close(2)."""
        self._files[handle].flush()

    def close(self, handle: int) -> None:
        """The last descriptor is closed; nothing that happens here reaches a program any more."""
        self._open_live_files.closed(handle)
        self._files.take(handle).close()

    # --- names and attributes, in the drop folder alone

    def make_node(self, path: str, mode: int, device: int, caller: Owner | None = None) -> None:
        self._changeable_drops().make_node(writable(path), mode, device, caller)

    def make_folder(self, path: str, mode: int, caller: Owner | None = None) -> None:
        self._changeable_drops().make_folder(writable(path), mode, caller)

    def symlink(self, path: str, target: str, caller: Owner | None = None) -> None:
        self._changeable_drops().symlink(writable(path), target, caller)

    def link(self, old: str, new: str) -> None:
        self._changeable_drops().link(movable(old, new), writable(new))

    def unlink(self, path: str) -> None:
        self._changeable_drops().unlink(writable(path))

    def remove_folder(self, path: str) -> None:
        self._changeable_drops().remove_folder(writable(path))

    def rename(self, old: str, new: str) -> None:
        self._changeable_drops().rename(movable(old, new), writable(new))

    def change_mode(self, path: str, mode: int) -> None:
        self._changeable_drops().change_mode(changeable(path), mode)

    def change_owner(self, path: str, uid: int, gid: int) -> None:
        self._changeable_drops().change_owner(changeable(path), uid, gid)

    def change_times(self, path: str, accessed: Moment, modified: Moment) -> None:
        self._changeable_drops().change_times(changeable(path), accessed, modified)

    def _changeable_drops(self) -> DropFolder:
        if not self._takes_drops():
            raise ReadOnly("submit/: the drops are another account's; .rescalefs/status says whose")
        return self._drops

    # --- the tree's nodes

    def _described(self, path: str, node: nodes.Node) -> Attributes:
        if isinstance(node, nodes.RemoteNode):
            return self._remote(node, self._size_of(node.file))
        if isinstance(node, nodes.Directory):
            return described(_FOLDER, node.inode, self._owner, 0, node.modified_ns, node.links)
        if isinstance(node, nodes.TextNode):
            return self._text(node, self._mappings.told(path, node.seen()))
        if isinstance(node, nodes.LinkNode):
            size = len(os.fsencode(node.target))
            return described(_LINK, node.inode, self._owner, size, node.modified_ns)
        if isinstance(node, nodes.LiveNode):
            return self._looked_at(path, node, self._live.look(node.file))
        return self._drops.attributes("")

    def _text(self, node: nodes.TextNode, text: nodes.Text) -> Attributes:
        return described(_FILE, node.inode, self._owner, len(text.content), text.modified_ns)

    def _remote(self, node: nodes.RemoteNode, size: int) -> Attributes:
        return described(_FILE, node.inode, self._owner, size, node.modified_ns)

    def _size_of(self, file: RemoteFile) -> int:
        """Asks the server where the listing does not tell: of 0, `tar` and `rsync` make an empty file."""
        if file.size:  # nearly all files: a `getattr` of them has to be cheap
            return file.size
        try:
            return self._reading.size(file)
        except OSError as error:  # of a socket, with an errno that is not the application's
            raise ApiError(f"{file.path}: {error}") from error

    def _open_text(self, path: str, node: nodes.TextNode) -> Opened:
        text = self._mappings.shown(path, node.snapshot())
        pages = TextPages(self._mappings, path, text, node.snapshot)
        thing = OpenText(text.content, self._text(node, text), pages)
        return Opened(self._files.put(thing), direct_io=True)

    def _open_remote(self, path: str, node: nodes.RemoteNode) -> Opened:
        self._openers.opened(node.file.id)
        try:
            opened = self._reading.open(node.file)
        except OSError as error:  # of a socket or disk of ours, with an errno that is not the application's
            raise ApiError(f"{path}: {error}") from error
        # With a size the kernel does not know it would cut reads short.
        is_fixed = node.final and node.file.size == opened.size
        lease = (self._pages.lease if is_fixed else self._pages.bypass)(path, opened.version)
        thing = OpenContent(
            path,
            opened,
            self._remote(node, opened.size),
            self._pages,
            lease,
            lambda: self._is_confirmed(node.file),
        )
        return Opened(
            self._files.put(thing),
            keep_cache=lease.pages is Pages.KEEP,
            direct_io=lease.pages is Pages.BYPASS,
        )

    def _open_live(self, path: str, node: nodes.LiveNode) -> Opened:
        opened = self._live.open(node.file)
        thing = OpenLive(path, opened, lambda: self._looked_at(path, node, opened.look()), self._live_sizes)
        handle = self._files.put(thing)
        self._open_live_files.opened(path, handle)
        return Opened(handle, direct_io=True)

    def _looked_at(self, path: str, node: nodes.LiveNode, look: Look) -> Attributes:
        self._live_sizes.told(path, look.size)
        return described(_FILE, node.inode, self._owner, look.size, nodes.nanoseconds(look.changed))

    def _is_confirmed(self, file: RemoteFile) -> bool:
        """Whether the kernel may give out what it keeps of a file without our looking at it again.

        Bytes that nobody has confirmed yet may turn out wrong once the file is read to its end, and then
        pages from an earlier open could not be told from good ones.
        """
        if self._keep_unconfirmed:
            return True
        return self._reading.verification(file) in {Verification.YES, Verification.UNAVAILABLE}


def below_drops(path: str) -> str | None:
    """The path relative to submit/, "" for itself; None for what lies elsewhere."""
    if path == _DROPS:
        return ""
    return path[len(_DROPS) + 1 :] if path.startswith(_DROPS + "/") else None


def writable(path: str) -> str:
    """The same of a name to be made or removed: everything else, submit/ itself included, is read-only."""
    below = below_drops(path)
    if not below:
        raise _read_only(path)
    return below


def changeable(path: str) -> str:
    """The same of something whose mode, owner or times are to be changed."""
    below = below_drops(path)
    if below is None:
        raise _read_only(path)
    return below


def movable(old: str, new: str) -> str:
    """The same of the source of a rename or link. EXDEV makes `mv` and `ln` copy what comes from the tree."""
    if not below_drops(old) and below_drops(new):
        raise _os_error(errno.EXDEV)
    return writable(old)


def _read_only(path: str) -> ReadOnly:
    return ReadOnly(f"{path}: only submit/ takes writes")


def _os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def _type_of(node: nodes.Node) -> int:
    if isinstance(node, nodes.Directory):
        return stat.S_IFDIR
    return stat.S_IFLNK if isinstance(node, nodes.LinkNode) else stat.S_IFREG
