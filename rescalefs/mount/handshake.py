"""The first message between the kernel and libfuse, in which they agree on what they can do.

libfuse 2.9 (2013) does not know what newer kernels can do. Here its answer to FUSE_INIT goes to the kernel
with these requests added, each only where the kernel offers it:

- FUSE_MAX_PAGES (FUSE protocol 7.28, Linux 4.20): the kernel asks for more than 128 KiB at once;
  docs/decisions/0039-larger-requests.md.
- FUSE_AUTO_INVAL_DATA (7.20, Linux 3.11): the kernel drops the pages of a file whose size or time changed.
- FUSE_POSIX_ACL (7.26, Linux 4.9), where the kernel checks permissions: it goes by access lists as well then.
- FUSE_HANDLE_KILLPRIV_V2 (7.33, Linux 5.11), where it does not: it need not ask before each write whether
  the file gives rights to programs, because the backing disk takes them away.
- FUSE_DIRECT_IO_ALLOW_MMAP (7.39, Linux 6.6): files that are opened with direct_io can be mapped as shared;
  docs/decisions/0058-mappings.md.
"""

from __future__ import annotations

import ctypes
import os
import re
import struct
from collections.abc import Callable
from typing import Any

from rescalefs.mount.libfuse import helped, overheard

MAX_PAGES = 256  # of 4 KiB: the kernel asks for 1 MiB at once, if whoever reads does; it takes no more
# <linux/fuse.h>. The flags above bit 31 are in a second word, which FUSE_INIT_EXT announces.
FUSE_AUTO_INVAL_DATA = 1 << 12
FUSE_POSIX_ACL = 1 << 20
FUSE_MAX_PAGES = 1 << 22
FUSE_HANDLE_KILLPRIV_V2 = 1 << 28
FUSE_INIT_EXT = 1 << 30
FUSE_DIRECT_IO_ALLOW_MMAP = 1 << 36
_WANTED = FUSE_AUTO_INVAL_DATA | FUSE_MAX_PAGES | FUSE_DIRECT_IO_ALLOW_MMAP
_WORD = 0xFFFFFFFF
_REQUEST_SIZE = 0x21000  # what libfuse's own channel takes: a header, and 128 KiB of a write
_HEADER_SIZE = 16  # struct fuse_out_header: length, error, unique
_ANSWER_SIZE = 64  # struct fuse_init_out since 7.23
_LENGTH_AT, _FLAGS_AT = 0, _HEADER_SIZE + 12
_MAX_PAGES_AT, _MORE_FLAGS_AT = _HEADER_SIZE + 28, _HEADER_SIZE + 32
_OFFERED_AT = 40 + 12  # struct fuse_in_header; then struct fuse_init_in's flags
_MORE_OFFERED_AT = 40 + 16

_Pointer = ctypes.c_void_p
_Part = ctypes.c_size_t * 2  # struct iovec: address, length
_Send = ctypes.CFUNCTYPE(ctypes.c_int, _Pointer, ctypes.POINTER(_Part), ctypes.c_size_t)


class _ChannelOperations(ctypes.Structure):
    """struct fuse_chan_ops of <fuse_lowlevel.h>."""

    _fields_ = [("receive", _Pointer), ("send", _Send), ("destroy", _Pointer)]


_PROTOTYPES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "fuse_setup": (_Pointer, (ctypes.c_int, _Pointer, _Pointer, ctypes.c_size_t, *3 * (_Pointer,))),
    "fuse_get_session": (_Pointer, (_Pointer,)),
    "fuse_session_next_chan": (_Pointer, (_Pointer, _Pointer)),
    "fuse_session_process": (None, (_Pointer, ctypes.c_char_p, ctypes.c_size_t, _Pointer)),
    "fuse_chan_new": (_Pointer, (_Pointer, ctypes.c_int, ctypes.c_size_t, _Pointer)),
    "fuse_chan_fd": (ctypes.c_int, (_Pointer,)),
    "fuse_chan_destroy": (None, (_Pointer,)),
    "fuse_loop_mt": (ctypes.c_int, (_Pointer,)),
    "fuse_unmount": (None, (_Pointer, _Pointer)),
    "fuse_destroy": (None, (_Pointer,)),
}


def replace_main(
    libfuse: Any,
    connected: Callable[[int], None],
    refused: Callable[[str], None],
    checks_acls: Callable[[], bool] = lambda: False,
) -> None:
    """Have ``libfuse.fuse_main_real`` shake hands as above; it stays as it is where it can't be done.

    ``connected`` is called with the descriptor of /dev/fuse, on the thread that serves, before the first
    message. libfuse closes the descriptor when the mount has ended. ``refused`` is called in its place with
    what libfuse said when it could not mount.
    """
    if not all(hasattr(libfuse, name) for name in _PROTOTYPES):
        return
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(libfuse, name)
        function.restype, function.argtypes = result, arguments

    def fuse_main_real(count: int, words: Any, operations: Any, size: int, data: None) -> int:
        """What libfuse's own does, with threads, and with the first message taken care of."""
        mountpoint, threaded = ctypes.c_char_p(), ctypes.c_int()
        with overheard() as said, helped():
            fuse = libfuse.fuse_setup(
                count, words, operations, size, ctypes.byref(mountpoint), ctypes.byref(threaded), data
            )
            if not fuse:
                refused(said())
                return 1
        session = libfuse.fuse_get_session(fuse)
        channel = libfuse.fuse_session_next_chan(session, None)
        device = libfuse.fuse_chan_fd(channel)
        connected(device)
        _shake_hands(
            libfuse, session, device, _WANTED | (FUSE_POSIX_ACL if checks_acls() else FUSE_HANDLE_KILLPRIV_V2)
        )
        result = libfuse.fuse_loop_mt(fuse)
        # Not fuse_teardown, which first has SIGPIPE end the process again: a connection that a server had
        # closed, written to at that moment, then ended a daemon with signal 13 in its last milliseconds.
        with helped():
            libfuse.fuse_unmount(mountpoint, channel)
        libfuse.fuse_destroy(fuse)
        return int(result != 0)

    libfuse.fuse_main_real = fuse_main_real


def _shake_hands(libfuse: Any, session: int, device: int, wanted: int) -> None:
    """Take the kernel's first message, have libfuse answer it, and send the answer completed."""
    try:
        request = os.read(device, _REQUEST_SIZE)
    except OSError:
        return  # unmounted already: the loop will find out, too

    def send(_: int, parts: Any, count: int) -> int:
        answer = b"".join(ctypes.string_at(*parts[index]) for index in range(count))
        try:
            os.write(device, completed(request, answer, wanted))
        except OSError as error:
            return -(error.errno or 1)
        return 0

    operations = _ChannelOperations(None, _Send(send), None)
    channel = libfuse.fuse_chan_new(ctypes.byref(operations), device, _REQUEST_SIZE, None)
    libfuse.fuse_session_process(session, request, len(request), channel)
    libfuse.fuse_chan_destroy(channel)


def completed(request: bytes, answer: bytes, wanted: int = _WANTED) -> bytes:
    """FUSE_INIT's answer with what is ``wanted`` and the kernel offers; an error stays what it is.

    Both are whole messages, with their headers, as they go over /dev/fuse.
    """
    wanted &= offered(request)
    if len(answer) <= _HEADER_SIZE or not wanted:
        return answer
    longer = bytearray(answer.ljust(_HEADER_SIZE + _ANSWER_SIZE, b"\0"))
    (flags,) = struct.unpack_from("=I", longer, _FLAGS_AT)
    flags |= wanted & _WORD
    if wanted > _WORD:
        flags |= FUSE_INIT_EXT
        struct.pack_into("=I", longer, _MORE_FLAGS_AT, wanted >> 32)
    if wanted & FUSE_MAX_PAGES:
        struct.pack_into("=H", longer, _MAX_PAGES_AT, MAX_PAGES)
    struct.pack_into("=I", longer, _FLAGS_AT, flags)
    struct.pack_into("=I", longer, _LENGTH_AT, len(longer))
    return bytes(longer)


def offered(request: bytes) -> int:
    """The flags of a kernel's FUSE_INIT, as one number of 64 bits."""
    (flags,) = struct.unpack_from("=I", request, _OFFERED_AT)
    if flags & FUSE_INIT_EXT and len(request) >= _MORE_OFFERED_AT + 4:
        (more,) = struct.unpack_from("=I", request, _MORE_OFFERED_AT)
        flags |= more << 32
    return int(flags)


def kernel_maps_everything(release: str = "") -> bool:
    """Whether a kernel (by default this one) can map files that are opened with direct_io: Linux 6.6."""
    numbers = re.match(r"(\d+)\.(\d+)", release or os.uname().release)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= (6, 6)
