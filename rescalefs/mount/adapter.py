"""The only importer of fusepy: its callbacks, translated; what they mean is decided in filesystem.py.

Needs libfuse 2 to be imported. Five of fusepy's own methods are replaced because they cost too much or lose
something; docs/decisions/0010-fusepy.md says which and why.
"""

from __future__ import annotations

import codecs
import ctypes
import errno
import logging
import os
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from rescalefs import requester
from rescalefs.errors import PathError, RescaleFSError
from rescalefs.mount import libfuse
from rescalefs.mount.attributes import Attributes, Owner
from rescalefs.mount.errnos import errno_for
from rescalefs.mount.filesystem import FileSystem
from rescalefs.mount.handshake import replace_main
from rescalefs.mount.inodes import SmallInodes
from rescalefs.mount.syscalls import Moment

with libfuse.named():
    import fuse

log = logging.getLogger(__name__)


class Asked(Protocol):
    """Whether the end of the mount has been asked for; `background.Ending` knows."""

    is_asked: bool


def serve(
    filesystem: FileSystem,
    mountpoint: str,
    options: Mapping[str, Any],
    started: Callable[[], None],
    ending: Asked,
    checks_acls: bool = False,
    inode32: bool = False,
    connected: Callable[[int], None] = lambda _: None,
) -> None:
    """Mount, and answer the kernel until the mount is gone; raise Refused when it could not be mounted.

    Where libfuse ends with an error later, or cannot say why it refused, that is fusepy's RuntimeError.

    ``started`` is called once the kernel talks to us. Once ``ending`` is asked for, the next
    statvfs(2) on the mount ends it: libfuse can be told only from within one of its own threads.
    ``checks_acls``: the kernel checks permissions, and is to go by access control lists as well.
    ``inode32``: all inode numbers are below 2^32.
    ``connected`` is called before that with the descriptor of /dev/fuse, on Linux.
    """
    _serving.connected = connected
    _serving.checks_acls = checks_acls
    _serving.refusal = ""
    try:
        Kernel(
            Adapter(filesystem, started, ending, SmallInodes() if inode32 else None),
            mountpoint,
            raw_fi=True,
            encoding=PATHS,
            foreground=True,
            **options,
        )
    except RuntimeError as error:
        if _serving.refusal:
            raise libfuse.Refused(_serving.refusal) from error
        raise


# --- paths: bytes to the kernel, and all of them must come back as they went

PATHS = "rescalefs_paths"


def _paths_codec(name: str) -> codecs.CodecInfo | None:
    """UTF-8 that keeps what is not UTF-8. fusepy takes the name of an encoding, and no error handler."""
    if name != PATHS:
        return None
    return codecs.CodecInfo(
        encode=lambda text, _="strict": codecs.utf_8_encode(text, "surrogateescape"),
        decode=lambda data, _="strict": codecs.utf_8_decode(data, "surrogateescape", True),
        name=PATHS,
    )


codecs.register(_paths_codec)


# --- libfuse's table of callbacks


class _Table(ctypes.Structure):
    """fusepy's ends with FUSE 2.8. libfuse 2.9 goes on, and the last one is worth having."""

    _fields_ = [
        *fuse.fuse_operations._fields_,
        ("poll", ctypes.c_void_p),
        ("write_buf", ctypes.c_void_p),
        ("read_buf", ctypes.c_void_p),
        ("flock", ctypes.c_void_p),
        (
            "fallocate",
            ctypes.CFUNCTYPE(
                ctypes.c_int,
                ctypes.c_char_p,
                ctypes.c_int,
                fuse.c_off_t,
                fuse.c_off_t,
                ctypes.POINTER(fuse.fuse_file_info),
            ),
        ),
    ]


fuse.fuse_operations = _Table  # FUSE.__init__ fills whatever stands under this name


class _Serving(threading.local):
    """What the thread that calls libfuse's main function wants to know. Of use to `serve` alone."""

    connected: Callable[[int], None] = staticmethod(lambda _: None)
    checks_acls = False
    refusal = ""  # what libfuse said when it could not mount

    def refused(self, words: str) -> None:
        self.refusal = words


_serving = _Serving()
if sys.platform == "linux":
    # fusepy has no public way to its library.
    replace_main(
        fuse._libfuse,  # noqa: SLF001
        lambda device: _serving.connected(device),
        _serving.refused,
        lambda: _serving.checks_acls,
    )

_view = ctypes.pythonapi.PyMemoryView_FromMemory
_view.restype = ctypes.py_object
_view.argtypes = [ctypes.c_void_p, ctypes.c_ssize_t, ctypes.c_int]
_READ, _WRITE = 0x100, 0x200  # PyBUF_READ, PyBUF_WRITE


class _Thread(threading.local):
    """What a thread of libfuse knows of itself, for as long as its Python state lives."""

    kept = False


_thread = _Thread()
_ensure = ctypes.pythonapi.PyGILState_Ensure
_ensure.argtypes = []
_ensure.restype = ctypes.c_int
# Each costs about 20 KB, also when libfuse ends the thread; it keeps ten, and more only while they are busy.
_to_keep = iter(range(128))


def _calling_program() -> requester.Requesters:
    """The process group of the program whose call this thread of libfuse answers."""
    _, _, process = fuse.fuse_get_context()
    if not process:  # it is of another namespace, or it is the kernel itself
        return requester.OURSELVES
    try:
        return (os.getpgid(process),)
    except OSError:  # it has ended by now
        return (process,)


def _keep_state() -> None:
    """Have this thread keep its Python state when the callback returns.

    ctypes makes one for each callback on a thread that Python did not start, and throws it away: with the
    mapping and unmapping of its stack, a quarter of what `ls -l` cost (docs/performance.md). Ensured once
    more than it is released, it stays.
    """
    _thread.kept = True
    requester.ask(_calling_program)
    if next(_to_keep, None) is not None:
        _ensure()


class Kernel(fuse.FUSE):  # type: ignore[misc]  # fusepy ships no types
    """fusepy's side towards libfuse, where its own way is not good enough.

    Every callback runs on a thread of libfuse, for which `threading.local` may not survive.
    """

    operations: Adapter

    @staticmethod
    def _wrapper(function: Callable[..., int | None], *args: Any) -> int:
        """Every callback passes here, so only errnos we chose reach the kernel, and never an empty success.

        fusepy's own compares ``errno > 0``, and a `requests.ConnectionError` has None there.
        """
        if not _thread.kept:
            _keep_state()
        try:
            return function(*args) or 0
        except BaseException as error:  # noqa: BLE001  (an exception that passed into C would be lost)
            return -_reported(error, function.__name__, args)

    def getattr(self, path: bytes, buffer: Any) -> None:
        _fill(buffer.contents, self.operations.filesystem.attributes(_text(path)))
        if self.operations.inodes is not None:
            buffer.contents.st_ino = self.operations.inodes(buffer.contents.st_ino)

    def fgetattr(self, _path: bytes | None, buffer: Any, info: Any) -> None:
        _fill(buffer.contents, self.operations.filesystem.handle_attributes(info.contents.fh))
        if self.operations.inodes is not None:
            buffer.contents.st_ino = self.operations.inodes(buffer.contents.st_ino)

    def read(self, _path: bytes | None, buffer: Any, size: int, offset: int, info: Any) -> int:
        """Straight into the buffer that goes to the kernel; fusepy would have the bytes copied twice.

        The kernel names the program that reads (`lock_owner`), except where it fills pages, which all share.
        """
        view = _view(ctypes.addressof(buffer.contents), size, _WRITE)
        opened = info.contents
        return self.operations.filesystem.read_into(opened.fh, view, offset, not opened.lock_owner)

    def write(self, _path: bytes | None, buffer: Any, size: int, offset: int, info: Any) -> int:
        view = _view(ctypes.addressof(buffer.contents), size, _READ)
        return self.operations.filesystem.write(info.contents.fh, view, offset)

    def readdir(self, _path: bytes | None, buffer: Any, add: Any, _offset: int, info: Any) -> None:
        """Names with their types and inodes, so that `ls` and `find` need not ask for each."""
        entry = fuse.c_stat()
        reference = ctypes.byref(entry)
        add(buffer, b".", None, 0)
        add(buffer, b"..", None, 0)
        inodes = self.operations.inodes
        for name, inode, mode in self.operations.filesystem.entries(info.contents.fh):
            entry.st_ino = inode if inodes is None else inodes(inode)
            entry.st_mode = mode
            if add(buffer, name.encode("utf-8", "surrogateescape"), reference, 0):
                raise MemoryError("libfuse has no room for a directory")

    def getxattr(self, path: bytes, name: bytes, value: Any, size: int) -> int:
        """The kernel asks for `security.capability` before writes, which need not wait for an exception."""
        if name.startswith(b"security."):
            return -errno.EOPNOTSUPP
        found: int = super().getxattr(path, name, value, size)
        return found

    def ftruncate(self, _path: bytes | None, length: int, info: Any) -> None:
        self.operations.filesystem.truncate_handle(info.contents.fh, length)

    def flush(self, _path: bytes | None, info: Any) -> None:
        self.operations.filesystem.flush(info.contents.fh)

    def fallocate(self, _path: bytes | None, mode: int, offset: int, length: int, info: Any) -> None:
        self.operations.filesystem.allocate(info.contents.fh, mode, offset, length)

    def utimens(self, path: bytes, times: Any) -> None:
        """As two numbers each: fusepy adds them up, and "now" and "leave it" are lost in the sum."""
        self.operations.utimens(_text(path), _moment(times.contents.actime), _moment(times.contents.modtime))


class Adapter(fuse.Operations):  # type: ignore[misc]
    """The callbacks that need no more than fusepy gives. What is None is absent: the kernel stops asking."""

    use_ns = True
    flag_nullpath_ok = True  # what is open is known by its handle, also when it has no name any more
    flag_nopath = True
    flag_utime_omit_ok = True  # `touch -a` changes one time and leaves the other

    bmap = None
    ioctl = None
    lock = None  # the kernel keeps locks by itself

    def __init__(
        self,
        filesystem: FileSystem,
        started: Callable[[], None],
        ending: Asked,
        inodes: SmallInodes | None = None,
    ) -> None:
        self.filesystem = filesystem
        self.inodes = inodes
        self._started = started
        self._ending = ending
        self._is_root = os.geteuid() == 0

    # Only their presence counts for fusepy: `Kernel` answers these itself.
    fallocate = True
    flush = read = readdir = write = True

    def init(self, _path: str) -> None:
        self._started()

    def statfs(self, _path: str) -> dict[str, int]:
        if self._ending.is_asked:
            fuse.fuse_exit()
        space = self.filesystem.space()
        return {name: getattr(space, name) for name in dir(space) if name.startswith("f_")}

    def access(self, path: str, mode: int) -> None:
        self.filesystem.access(path, mode)

    def readlink(self, path: str) -> str:
        return self.filesystem.read_link(path)

    def open(self, path: str, info: Any) -> None:
        opened = self.filesystem.open(path, info.flags)
        info.fh = opened.handle
        info.keep_cache = opened.keep_cache
        info.direct_io = opened.direct_io

    def create(self, path: str, mode: int, info: Any) -> None:
        info.fh = self.filesystem.create(path, info.flags, mode, self._caller()).handle

    def release(self, _path: str | None, info: Any) -> None:
        self.filesystem.close(info.fh)

    def fsync(self, _path: str | None, only_data: int, info: Any) -> None:
        self.filesystem.sync(info.fh, bool(only_data))

    def opendir(self, path: str) -> int:
        return self.filesystem.open_folder(path)

    def releasedir(self, _path: str | None, handle: int) -> None:
        self.filesystem.close_folder(handle)

    def fsyncdir(self, _path: str | None, _only_data: int, handle: int) -> None:
        self.filesystem.sync_folder(handle)

    def truncate(self, path: str, length: int) -> None:
        self.filesystem.truncate(path, length)

    def mknod(self, path: str, mode: int, device: int) -> None:
        self.filesystem.make_node(path, mode, device, self._caller())

    def mkdir(self, path: str, mode: int) -> None:
        self.filesystem.make_folder(path, mode, self._caller())

    def symlink(self, path: str, target: str) -> None:
        self.filesystem.symlink(path, target, self._caller())

    def link(self, path: str, existing: str) -> None:
        self.filesystem.link(existing, path)

    def unlink(self, path: str) -> None:
        self.filesystem.unlink(path)

    def rmdir(self, path: str) -> None:
        self.filesystem.remove_folder(path)

    def rename(self, old: str, new: str) -> None:
        self.filesystem.rename(old, new)

    def chmod(self, path: str, mode: int) -> None:
        self.filesystem.change_mode(path, mode)

    def chown(self, path: str, uid: int, gid: int) -> None:
        self.filesystem.change_owner(path, uid, gid)

    def getxattr(self, path: str, name: str) -> bytes:
        return self.filesystem.extended_attribute(path, name)

    def listxattr(self, path: str) -> list[str]:
        return self.filesystem.extended_attributes(path)

    def setxattr(self, path: str, name: str, value: bytes, flags: int) -> None:
        self.filesystem.set_extended_attribute(path, name, value, flags)

    def removexattr(self, path: str, name: str) -> None:
        self.filesystem.remove_extended_attribute(path, name)

    def utimens(self, path: str, accessed: Moment, modified: Moment) -> None:
        self.filesystem.change_times(path, accessed, modified)

    def _caller(self) -> Owner | None:
        """Whose the new thing is to be; None where nobody but we can ask, or we could not give it away."""
        if not self._is_root:
            return None
        uid, gid, _ = fuse.fuse_get_context()
        return Owner(uid, gid)


def _reported(error: BaseException, operation: str, args: tuple[Any, ...]) -> int:
    """The errno for an error, once the log has it: what we foresaw briefly, the rest with its traceback."""
    about = args[0] if isinstance(args[0], bytes) else b"an open file"
    if isinstance(error, PathError) or (isinstance(error, OSError) and error.errno):
        log.debug("%s %r: %s", operation, about, error)
    elif isinstance(error, RescaleFSError):
        log.warning("%s %r: %s", operation, about, error)
    else:
        log.error("unforeseen failure in %s %r", operation, about, exc_info=error)
    return errno_for(error)


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _moment(time: Any) -> Moment:
    return time.tv_sec, time.tv_nsec


def _fill(target: Any, attributes: Attributes) -> None:
    """Write into libfuse's struct stat, which it has zeroed."""
    (
        target.st_mode,
        target.st_ino,
        target.st_nlink,
        target.st_uid,
        target.st_gid,
        target.st_size,
        target.st_blocks,
        target.st_blksize,
        accessed,
        modified,
        changed,
        target.st_rdev,
    ) = attributes
    time = target.st_atimespec
    time.tv_sec, time.tv_nsec = divmod(accessed, 1_000_000_000)
    time = target.st_mtimespec
    time.tv_sec, time.tv_nsec = divmod(modified, 1_000_000_000)
    time = target.st_ctimespec
    time.tv_sec, time.tv_nsec = divmod(changed, 1_000_000_000)
