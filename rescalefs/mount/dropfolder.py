"""submit/: a local directory seen through the mount, with our names laid over it."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

from rescalefs.clock import Clock
from rescalefs.descriptors import SPENT, Descriptors
from rescalefs.mount import syscalls
from rescalefs.mount.attributes import FILE_MODE, LINK_MODE, Attributes, Owner, described, from_backing
from rescalefs.mount.handles import OpenControl, OpenLog, OpenText, OpenThing
from rescalefs.mount.mappings import Mappings, TextPages
from rescalefs.mount.openfiles import OpenFiles, is_within
from rescalefs.mount.overlays import DropViews, Kind, Overlay, Overlays
from rescalefs.tree.nodes import Text

log = logging.getLogger(__name__)

_WALK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIN = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# The kernel has dealt with these before it asks. O_APPEND: it names the offset of each write, and a shared
# mapping writes pages wherever they are, which a descriptor in append mode would put at the end.
# O_DIRECT: our buffers are not aligned the way a disk wants them.
_NOT_OURS = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_DIRECT

# What libfuse calls a file that is removed while it is open (fuse.c, hidden_name).
_HIDDEN = re.compile(r"\.fuse_hidden[0-9a-f]{8}([0-9a-f]{8})")
_STEP = 64  # by how much libfuse's count of such names may differ from ours: several threads make them

_TEXT_MODE = stat.S_IFREG | FILE_MODE | stat.S_IWUSR  # taking writes, or `cp` over an old `status` would fail
# What a program asked for that no disk can do, or what this process has no descriptor for. All other errors
# mean that the file is not what was meant.
_CALLERS_MISTAKES = (
    frozenset({errno.EINVAL, errno.EBADF, errno.EOPNOTSUPP, errno.EINTR, errno.EAGAIN}) | SPENT
)
# Access control lists, as extended attributes.
ACLS = frozenset({"system.posix_acl_access", "system.posix_acl_default"})
_OVERLAY_MODES = {
    Kind.STATE: _TEXT_MODE,
    Kind.LOG: _TEXT_MODE,
    Kind.LINK: stat.S_IFLNK | LINK_MODE,
    Kind.CONTROL: stat.S_IFREG | stat.S_IWUSR,
}


class Entry(NamedTuple):
    """A name in a directory. Of ``mode`` only the type counts."""

    name: str
    inode: int
    mode: int


class Place:
    """A name in an open directory: what the *at system calls take. Nothing between is followed."""

    __slots__ = ("_descriptors", "_root", "folder", "name")

    def __init__(self, root: int, path: str, descriptors: Descriptors) -> None:
        self._descriptors = descriptors
        self._root = self.folder = root
        *between, self.name = path.split("/")
        self.name = self.name or "."
        try:
            for name in between:
                below = self._opened(name, _WALK, 0)
                self.close()
                self.folder = below
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        if self.folder != self._root:
            os.close(self.folder)
            self.folder = self._root

    def __enter__(self) -> Place:  # noqa: PYI034  (Self is in Python since 3.11)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def stat(self) -> os.stat_result:
        return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)

    def open(self, flags: int, mode: int = 0o600) -> int:
        return self._opened(self.name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode)

    def _opened(self, name: str, flags: int, mode: int) -> int:
        return self._descriptors.retried(lambda: os.open(name, flags, mode, dir_fd=self.folder))

    def unlink(self) -> None:
        os.unlink(self.name, dir_fd=self.folder)


class BackingFile:
    """A file of the backing directory, open. What its disk refuses is raised, and reported to `OpenFiles`."""

    def __init__(
        self,
        descriptor: int,
        files: OpenFiles,
        closed: Callable[[str], None] | None,
        descriptors: Descriptors,
        unpin: Callable[[str], None],
    ) -> None:
        """``closed`` is called with the name it had last, after it was open for writing; None: read-only.

        ``unpin`` is called with libfuse's name of a removed file when its last descriptor is closed.
        """
        self._unpin = unpin
        self._descriptor = descriptor
        self._descriptors = descriptors
        self._files = files
        self._closed = closed
        self._has_written = False

    def attributes(self) -> Attributes:
        return from_backing(os.fstat(self._descriptor))

    def read_into(self, buffer: memoryview, offset: int) -> int:
        return os.preadv(self._descriptor, [buffer], offset)

    read_page = read_into

    def write(self, data: memoryview, offset: int) -> int:
        self._has_written = True
        with self._reporting():
            return os.pwrite(self._descriptor, data, offset)

    def truncate(self, length: int) -> None:
        with self._reporting():
            os.ftruncate(self._descriptor, length)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        syscalls.allocate(self._descriptor, mode, offset, length)

    def sync(self, only_data: bool) -> None:
        with self._reporting():
            (os.fdatasync if only_data else os.fsync)(self._descriptor)

    def flush(self) -> None:
        """Have the backing disk say now what it would say at close(2), as NFS and quotas do.

        A close of a second descriptor of the open file makes the kernel call the file system's own flush.
        """
        if self._closed is not None:
            with self._reporting():
                os.close(self._descriptors.retried(lambda: os.dup(self._descriptor)))

    def close(self) -> None:
        """The program that wrote has had its close(2) answered, so an error here can only be recorded."""
        path = self._files.closed(self._descriptor, self._has_written)
        hidden = self._files.closed_nameless(self._descriptor)
        if hidden is not None:
            self._unpin(hidden)
        try:
            os.close(self._descriptor)
        except OSError as error:
            log.warning("%s in the drop folder: closing it failed: %s", path or "a removed file", error)
        if self._closed is not None and path is not None:
            self._closed(path)

    @contextlib.contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if self._closed is not None and error.errno not in _CALLERS_MISTAKES:
                log.warning("the disk of the drop folder refused to write a file: %s", error)
                self._files.failed(self._descriptor, error)
            raise


class BackingFolder:
    """A directory of the backing directory, open, with our names in it."""

    def __init__(self, descriptor: int, overlays: list[Overlay], descriptors: Descriptors) -> None:
        self._descriptor = descriptor
        self._descriptors = descriptors
        self._overlays = {overlay.name: overlay for overlay in overlays}

    def entries(self) -> Iterator[Entry]:
        taken = set()
        with self._descriptors.retried(lambda: os.scandir(self._descriptor)) as found:  # which takes one more
            for each in found:
                kind = _type_of(each)
                if each.name in self._overlays and not stat.S_ISDIR(kind):
                    continue
                taken.add(each.name)
                yield Entry(each.name, each.inode(), kind)
        for name, overlay in self._overlays.items():
            if name not in taken:
                yield Entry(name, overlay.inode, stat.S_IFLNK if overlay.kind is Kind.LINK else stat.S_IFREG)

    def sync(self) -> None:
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


class DropFolder:
    """Behaves as the local directory it is; `docs/semantics.md` lists the few differences.

    Paths are relative to it ("" is the folder itself) and never lead out: what lies between is walked name
    by name, and no symbolic link is followed on the way or at its end; the kernel has resolved them before.
    What the backing directory refuses is passed on with its own errno. Thread-safe.
    """

    def __init__(
        self,
        folder: Path,
        views: DropViews,
        files: OpenFiles,
        clock: Clock,
        changed: Callable[[Path], None] = lambda _: None,
        quiet: float = 2.0,
        descriptors: Descriptors | None = None,
    ) -> None:
        """``changed`` is told what was written or renamed. ``quiet`` is the settle time: see `Overlays`.

        ``descriptors`` is what the process may have open; None: what the system says at this moment.
        """
        self._descriptors = descriptors or Descriptors.of_this_process(raised=False)
        self.folder = folder
        self._files = files
        self._changed = changed
        self._mappings = Mappings(clock)
        self._overlays = Overlays(views, files.is_busy_below, clock, quiet)
        self._views = views
        self._owner = Owner.of_this_process()
        self._umask = _umask()
        self._root = os.open(folder, _WALK)
        self._lock = threading.Lock()  # guards _hidden and _count
        self._hidden: dict[str, int | Attributes] = {}  # libfuse's name -> a pin of the nameless file
        self._count = 0  # of the newest of libfuse's names

    def close(self) -> None:
        """Give the descriptors back; nothing works afterwards."""
        with self._lock:
            hidden, self._hidden = self._hidden, {}
        for pin in hidden.values():
            _unpin(pin)
        os.close(self._root)

    def _place(self, path: str) -> Place:
        return Place(self._root, path, self._descriptors)

    # --- what is there

    def attributes(self, path: str) -> Attributes:
        hidden = self._hidden.get(path) if self._hidden else None
        if hidden is not None:
            return hidden if isinstance(hidden, Attributes) else from_backing(os.fstat(hidden))
        overlay = self._overlay(path)
        if overlay is not None:
            return self._described(overlay, self._mappings.told(path, overlay.text))
        with self._place(path) as place:
            return from_backing(place.stat())

    def read_link(self, path: str) -> str:
        overlay = self._overlay(path)
        if overlay is not None and overlay.kind is Kind.LINK:
            return os.fsdecode(overlay.content)
        with self._place(path) as place:
            return os.readlink(place.name, dir_fd=place.folder)

    def access(self, path: str, mode: int) -> None:
        if self._overlay(path) is None:
            with self._reaching(path) as reachable:
                if not os.access(reachable, mode, effective_ids=True):
                    raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def open_folder(self, path: str) -> BackingFolder:
        with self._place(path) as place:
            descriptor = place.open(_LIST)
        is_drop = bool(path) and "/" not in path
        return BackingFolder(descriptor, self._overlays.of(path) if is_drop else [], self._descriptors)

    def space(self) -> os.statvfs_result:
        return os.statvfs(self._root)

    # --- files

    def open(self, path: str, flags: int) -> OpenThing:
        """Open what is there. What is written to one of our names lands in the folder, and stays covered."""
        overlay = self._overlay(path)
        writing = flags & os.O_ACCMODE != os.O_RDONLY
        hidden = self._hidden.get(path) if self._hidden else None
        if isinstance(hidden, int):  # by /proc/<pid>/fd, the one way to it
            pin, wanted = f"/proc/self/fd/{hidden}", flags & ~_NOT_OURS & ~os.O_NOFOLLOW | os.O_CLOEXEC
            reopened = self._descriptors.retried(lambda: os.open(pin, wanted))
            self._files.opened_nameless(reopened, path)
            return BackingFile(reopened, self._files, None, self._descriptors, self._unpin)
        if overlay is not None and (not writing or overlay.kind is Kind.CONTROL):
            return self._open_overlay(path, overlay)
        with self._place(path) as place:
            create = os.O_CREAT if overlay is not None else 0
            descriptor = place.open(flags & ~_NOT_OURS | create, 0o644)
        return self._opened(descriptor, path, writing, emptied=bool(flags & os.O_TRUNC))

    def is_overlay(self, path: str) -> bool:
        return self._overlay(path) is not None

    def create(self, path: str, flags: int, mode: int, caller: Owner | None = None) -> OpenThing:
        overlay = self._overlay(path)
        if overlay is not None and overlay.kind is Kind.CONTROL:  # it has come into being this very moment
            return self._open_overlay(path, overlay)
        with self._place(path) as place:
            descriptor = place.open(flags & ~_NOT_OURS | os.O_CREAT | flags & os.O_EXCL, mode)
            self._give(place, caller, mode)
        self._overlays.touched(path)
        return self._opened(descriptor, path, writing=True, emptied=True)

    def truncate(self, path: str, length: int) -> None:
        with self._covered(path), self._reaching(path) as reachable:
            os.truncate(reachable, length)
        self._tell(path)

    # --- names

    def make_node(self, path: str, mode: int, device: int, caller: Owner | None = None) -> None:
        with self._place(path) as place:
            os.mknod(place.name, mode, device, dir_fd=place.folder)
            self._give(place, caller, mode)
        self._tell(path)

    def make_folder(self, path: str, mode: int, caller: Owner | None = None) -> None:
        with self._place(path) as place:
            os.mkdir(place.name, mode, dir_fd=place.folder)
            self._give(place, caller, mode)
        if "/" not in path:
            self._overlays.made(path)
        self._tell(path)

    def symlink(self, path: str, target: str, caller: Owner | None = None) -> None:
        with self._place(path) as place:
            os.symlink(target, place.name, dir_fd=place.folder)
            self._give(place, caller, LINK_MODE)
        self._tell(path)

    def link(self, old: str, new: str) -> None:
        if self._overlay(old) is not None:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        with self._place(old) as source, self._place(new) as target:
            os.link(
                source.name,
                target.name,
                src_dir_fd=source.folder,
                dst_dir_fd=target.folder,
                follow_symlinks=False,
            )
        self._tell(new)

    def unlink(self, path: str) -> None:
        with self._lock:
            hidden = self._hidden.pop(path, None)
        if hidden is not None:
            _unpin(hidden)
            return
        with self._covered(path), self._place(path) as place:
            place.unlink()
        self._overlays.removed(path)
        self._tell(path)

    def remove_folder(self, path: str) -> None:
        with self._place(path) as place:
            try:
                os.rmdir(place.name, dir_fd=place.folder)
            except OSError as error:
                if error.errno != errno.ENOTEMPTY or not self._remove_covered(path):
                    raise
                os.rmdir(place.name, dir_fd=place.folder)
        self._unpin_below(path)
        if "/" not in path:
            self._overlays.forget(path)
        self._tell(path)

    def rename(self, old: str, new: str) -> None:
        overlay = self._overlay(old)
        if self._is_hiding(old, new):
            is_counted = self._is_counted(new)
            if overlay is not None or self._files.is_open(old):
                self._hide(old, new, overlay)
                return
            if is_counted and self._files.was_just_closed(old):
                self.unlink(old)
                return
        if overlay is not None:
            # Not a file that could be moved. `mv` then copies what is shown and removes it here, which works.
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        with self._place(old) as source, self._place(new) as target:
            os.rename(source.name, target.name, src_dir_fd=source.folder, dst_dir_fd=target.folder)
        self._files.renamed(old, new)
        self._rename_hidden(old, new)
        if "/" not in old:
            self._overlays.renamed(old, new)
        self._tell(old)
        self._tell(new)

    # --- attributes

    def change_mode(self, path: str, mode: int) -> None:
        with self._covered(path), self._reaching(path) as reachable:
            Path(reachable).chmod(mode)

    def change_owner(self, path: str, uid: int, gid: int) -> None:
        with self._covered(path), self._reaching(path) as reachable:
            os.chown(reachable, uid, gid)

    def change_times(self, path: str, accessed: syscalls.Moment, modified: syscalls.Moment) -> None:
        with self._covered(path), self._reaching(path) as reachable:
            syscalls.set_times(reachable, accessed, modified)

    # --- extended attributes

    def extended_attribute(self, path: str, name: str) -> bytes:
        """One of the backing directory's. Names of ours have none (ENODATA)."""
        _check_kept(name)
        if self._overlay(path) is not None:
            raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))
        with self._reaching(path) as reachable:
            return os.getxattr(reachable, name)

    def extended_attributes(self, path: str) -> list[str]:
        """The names of those that can be read and set here."""
        if self._overlay(path) is not None:
            return []
        with self._reaching(path) as reachable:
            return [name for name in os.listxattr(reachable) if _is_kept(name)]

    def set_extended_attribute(self, path: str, name: str, value: bytes, flags: int) -> None:
        _check_kept(name)
        with self._covered(path), self._reaching(path) as reachable:
            os.setxattr(reachable, name, value, flags)

    def remove_extended_attribute(self, path: str, name: str) -> None:
        _check_kept(name)
        with self._covered(path), self._reaching(path) as reachable:
            os.removexattr(reachable, name)

    # --- our names

    def _overlay(self, path: str) -> Overlay | None:
        """What is laid over this path; nothing over a directory, whose content it would take away.

        `control` is laid over nothing: there are programs whose main input has that name.
        """
        overlay = self._overlays.find(path)
        if overlay is None:
            return None
        try:
            with self._place(path) as place:
                hidden = not stat.S_ISDIR(place.stat().st_mode) and overlay.kind is not Kind.CONTROL
                return overlay if hidden else None
        except FileNotFoundError:
            return overlay

    @contextlib.contextmanager
    def _covered(self, path: str) -> Iterator[None]:
        """What is done to one of our names is done to what it covers, and succeeds when it covers nothing."""
        try:
            yield
        except FileNotFoundError:
            if self._overlays.find(path) is None:
                raise

    def _described(self, overlay: Overlay, text: Text) -> Attributes:
        mode = _OVERLAY_MODES[overlay.kind]
        return described(mode, overlay.inode, self._owner, len(text.content), text.modified_ns)

    def _open_overlay(self, path: str, overlay: Overlay) -> OpenThing:
        if overlay.kind is Kind.CONTROL:
            attributes = self._described(overlay, overlay.text)
            return OpenControl(attributes, {"stop": lambda: self._views.stop(overlay.drop)})
        text = self._mappings.shown(path, overlay.text)
        pages = TextPages(self._mappings, path, text, lambda: self._newest(path, text))
        attributes = self._described(overlay, text)
        if overlay.kind is Kind.LOG:
            return OpenLog(text.content, lambda: self._views.log(overlay.drop), attributes, pages)
        return OpenText(text.content, attributes, pages)

    def _newest(self, path: str, otherwise: Text) -> Text:
        overlay = self._overlay(path)
        return otherwise if overlay is None else overlay.text

    def _remove_covered(self, path: str) -> bool:
        """Remove what our names cover in a drop, if nothing else is in it; tell whether that was so."""
        if "/" in path:
            return False
        return self._remove_only(path, {overlay.name for overlay in self._overlays.of(path)})

    def _remove_only(self, path: str, names: set[str]) -> bool:
        """Remove files of these names from a folder, if nothing else is in it; tell whether that was so."""
        with self._place(path) as place:
            folder = place.open(_LIST)
        try:
            with self._descriptors.retried(lambda: os.scandir(folder)) as found:
                there = {each.name: each.is_dir(follow_symlinks=False) for each in found}
            if not there or any(there.values()) or not there.keys() <= names:
                return False
            for name in there:
                os.unlink(name, dir_fd=folder)
        finally:
            os.close(folder)
        return True

    # --- files removed while open

    def _is_hiding(self, old: str, new: str) -> bool:
        """Whether this is libfuse removing an open file, which it does by another name beside the old one."""
        folder, _, name = old.rpartition("/")
        new_folder, _, new_name = new.rpartition("/")
        return folder == new_folder and bool(_HIDDEN.fullmatch(new_name)) and ".fuse_hidden" not in name

    def _hide(self, old: str, new: str, overlay: Overlay | None) -> None:
        """Remove ``old`` for real, and keep what fstat(2) on the open file has to be told under ``new``.

        Left as libfuse wants it, a file of that name would stand in the folder, and `rmdir` would fail.
        """
        kept: int | Attributes
        if overlay is not None:
            kept = self._described(overlay, overlay.text)
            self.unlink(old)
        else:
            with self._place(old) as place:
                kept = place.open(_PIN)
                place.unlink()
        with self._lock:
            self._hidden[new] = kept
        if overlay is None:
            if not self._files.removed(old, new):  # it was closed meanwhile, which libfuse may not have seen
                self._unpin(new)
            self._tell(old)

    def _is_counted(self, new: str) -> bool:
        """Whether the number in the name is one that libfuse may give now.

        For libfuse a file is open until our `close` has returned, and only then it looks whether the file has
        such a name and is to be removed. One that gets the name after that look would stay for ever, so we
        remove it. A program's own rename to such a name (a backup that is put back) is told by its number.
        """
        found = _HIDDEN.fullmatch(new.rpartition("/")[2])
        number = int(found[1], 16) if found else 0
        with self._lock:
            fits = abs(number - self._count) <= _STEP
            self._count = max(self._count, number) if fits else self._count
        return fits

    def _rename_hidden(self, old: str, new: str) -> None:
        with self._lock:
            for path in [path for path in self._hidden if is_within(path, old)]:
                self._hidden[new + path[len(old) :]] = self._hidden.pop(path)

    def _unpin(self, hidden: str) -> None:
        """Nothing asks for this file any more. libfuse may have missed that it has to remove it."""
        with self._lock:
            pin = self._hidden.pop(hidden, None)
        if pin is not None:
            _unpin(pin)

    def _unpin_below(self, path: str) -> None:
        """libfuse can't reach the files any more that were removed in a folder that is gone, too."""
        with self._lock:
            gone = [self._hidden.pop(each) for each in list(self._hidden) if is_within(each, path)]
        for pin in gone:
            _unpin(pin)

    # --- the rest

    @contextlib.contextmanager
    def _reaching(self, path: str) -> Iterator[str]:
        """A path by which calls that know no dir_fd reach exactly this, a symbolic link included."""
        hidden = self._hidden.get(path)
        if isinstance(hidden, int):
            yield f"/proc/self/fd/{hidden}"
            return
        with self._place(path) as place, _pinned(place) as reachable:
            yield reachable

    def _opened(self, descriptor: int, path: str, writing: bool, emptied: bool = False) -> BackingFile:
        self._files.opened(descriptor, path, writing, emptied)
        closed = self._tell if writing else None
        return BackingFile(descriptor, self._files, closed, self._descriptors, self._unpin)

    def _give(self, place: Place, caller: Owner | None, mode: int) -> None:
        """Make what was just created the caller's, with exactly the mode the kernel asked for."""
        if caller is not None and caller != self._owner:
            inherits = os.fstat(place.folder).st_mode & stat.S_ISGID
            os.chown(
                place.name,
                caller.uid,
                -1 if inherits else caller.gid,
                dir_fd=place.folder,
                follow_symlinks=False,
            )
        if mode & self._umask and not stat.S_ISLNK(found := place.stat().st_mode):
            with _pinned(place) as reachable:
                Path(reachable).chmod(stat.S_IMODE(mode) | found & stat.S_ISGID)

    def _tell(self, path: str) -> None:
        self._overlays.touched(path)
        self._changed(self.folder / path)


def _is_kept(name: str) -> bool:
    """Whether an extended attribute is the user's: some of `security.` and `trusted.` give rights."""
    return name.startswith("user.") or name in ACLS


def _check_kept(name: str) -> None:
    if not _is_kept(name):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))


def _type_of(entry: os.DirEntry[str]) -> int:
    """The type bits, without a stat(2) for the three that nearly everything is."""
    if entry.is_symlink():
        return stat.S_IFLNK
    if entry.is_dir(follow_symlinks=False):
        return stat.S_IFDIR
    if entry.is_file(follow_symlinks=False):
        return stat.S_IFREG
    return stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)


@contextlib.contextmanager
def _pinned(place: Place) -> Iterator[str]:
    """A path by which calls that know no dir_fd reach exactly what is at this place, and follow nothing."""
    pin = place.open(_PIN)
    try:
        yield f"/proc/self/fd/{pin}"
    finally:
        os.close(pin)


def _unpin(pin: int | Attributes) -> None:
    if isinstance(pin, int):
        os.close(pin)


def _umask() -> int:
    """This process's own: the kernel takes it off modes that the caller's was taken off already."""
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("Umask:")
    )
    return int(line.split()[1], 8)
