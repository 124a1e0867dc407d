"""The life of a mount: made, said to be ready, served, taken away, and nothing left behind."""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from rescalefs import logs, signals, surroundings
from rescalefs.background import Background, Ending
from rescalefs.clock import Clock, SystemClock, never
from rescalefs.errors import CannotMount
from rescalefs.mount import claims
from rescalefs.mount.libfuse import Refused, advised
from rescalefs.mount.mountpoint import (
    SUBTYPE,
    absolute,
    check_fuse,
    clear_stale,
    detach,
    is_mounted,
    mount_at,
    prepare,
)
from rescalefs.mount.notify import VARIABLE, Notifier

if TYPE_CHECKING:
    from rescalefs.mount.filesystem import FileSystem  # it pulls in the tree, which `umount` can do without

log = logging.getLogger(__name__)

_PREFIX = "rescalefs: "  # of the one line in which the command line tells why it failed
_CREDENTIALS = struct.Struct("iII")  # struct ucred of unix(7): process, user, group
_POLL = 0.05  # seconds between two looks at whether a process has ended
_WATCH = 500  # ms between two looks at whether the watch of the connection is to end


@dataclass(frozen=True, slots=True)
class MountSettings:
    """How the kernel is asked to mount."""

    allow_other: bool = False  # let other users in; the kernel then checks modes and owners for us
    read_only: bool = False
    inode32: bool = False  # inode numbers below 2^32, for 32-bit programs
    attr_timeout: float = 1.0  # s: after that `tail -f` sees a live file grow
    entry_timeout: float = (
        1.0  # s: after that a name that went away in the backing directory is gone here, too
    )
    max_background: int = (
        64  # readahead requests under way; the kernel's 12 are few where each waits for a network
    )
    patience: float = 30.0  # s for the end, before the mount is torn away from what still uses it

    def options(self) -> Mapping[str, Any]:
        """mount.fuse(8)'s options."""
        return {
            "fsname": SUBTYPE,
            "subtype": SUBTYPE,
            "ro": self.read_only,
            "allow_other": self.allow_other,
            # Only then: for one user the backing directory's own refusals are exact, and writes elsewhere
            # are refused with EROFS, where the kernel, going by the mode, would say EACCES.
            "default_permissions": self.allow_other,
            "use_ino": True,
            "big_writes": True,  # 128 KiB at a time; without, 4 KiB
            "atomic_o_trunc": True,  # O_TRUNC comes with the open, not as a truncate of its own before it
            "attr_timeout": self.attr_timeout,
            "entry_timeout": self.entry_timeout,
            "negative_timeout": 0,  # the overlays rely on it: an absent name is asked for again
            "max_background": self.max_background,
        }


def nothing() -> None:
    """What a hook does by default."""


def mount_foreground(
    mountpoint: Path,
    filesystem: FileSystem,
    settings: MountSettings,
    *,
    on_start: Callable[[], None] = nothing,
    on_ready: Callable[[], None] = nothing,
    on_stop: Callable[[], None] = nothing,
    ending: Ending | None = None,
) -> None:
    """Mount, serve, and return when the mount is gone: by umount, a signal, or because ``ending`` was asked.

    ``on_start`` runs when the kernel first speaks to us: start threads there. ``on_ready`` runs once the
    mount has answered from outside. ``on_stop`` runs when the end has come or was asked for: make what waits
    for the network give up, since libfuse lets every operation under way finish first.
    Whoever set NOTIFY_SOCKET is told when it is ready. Off the main thread signals go their usual way.
    """
    mountpoint = absolute(mountpoint)
    check_fuse(settings.allow_other)
    adapter = _adapter()
    claims.claim(mountpoint)
    was_made = prepare(mountpoint)
    try:
        session = _Session(mountpoint, settings, ending or Ending(), Notifier.from_environment())
        session.run(adapter, filesystem, on_start, on_ready, on_stop)
    finally:
        if was_made:
            with contextlib.suppress(OSError):
                mountpoint.rmdir()


class _Session:
    """One mount, from the main thread's view. libfuse has a thread of its own, so signals stay Python's."""

    def __init__(self, mountpoint: Path, settings: MountSettings, ending: Ending, notifier: Notifier) -> None:
        self._mountpoint = mountpoint
        self._settings = settings
        self._ending = ending
        self._notifier = notifier
        self._answers = threading.Event()  # the kernel speaks to us, or never will
        self._gone = threading.Event()
        self._failure: BaseException | None = None

    def run(
        self,
        adapter: ModuleType,
        filesystem: FileSystem,
        on_start: Callable[[], None],
        on_ready: Callable[[], None],
        on_stop: Callable[[], None],
    ) -> None:
        def serve(_: threading.Event) -> None:
            try:
                adapter.serve(
                    filesystem,
                    str(self._mountpoint),
                    self._settings.options(),
                    lambda: self._start(on_start),
                    self._ending,
                    self._settings.allow_other,
                    self._settings.inode32,
                    lambda device: threads.start("fuse-watch", self._watch(device)),
                )
            except (Refused, RuntimeError) as error:
                self._failure = self._failure or error
            finally:
                self._gone.set()
                self._answers.set()
                self._ending.ask()

        threads = Background(patience=self._settings.patience)
        outside = self._mountpoint.stat().st_dev
        numbers = (*signals.ENDING, *signals.not_ignored([signals.HANG_UP]))  # nohup(1) has SIGHUP ignored
        with signals.reported(self._asked, numbers, patience=3 * self._settings.patience):
            threads.start("fuse", serve)
            try:
                while not (self._answers.wait(_POLL) or self._ending.is_asked):
                    pass
                if self._is_answering(outside):
                    on_ready()
                    self._notifier.ready(f"mounted on {self._mountpoint}")
                self._ending.wait()
            finally:
                self._notifier.stopping(f"leaving {self._mountpoint}")
                on_stop()
                self._end()
                threads.close()
        clear_stale(self._mountpoint)  # libfuse's own way needs fusermount, and that reads /etc/mtab
        self._complain()

    def _asked(self, number: int) -> None:
        """Runs on a thread of its own, when a signal came."""
        self._ending.ask()
        log.info("%s: ending", signal.Signals(number).name)

    def _start(self, on_start: Callable[[], None]) -> None:
        """libfuse's init: it cannot fail, so what fails here is kept and ends the mount."""
        try:
            on_start()
        except BaseException as error:  # noqa: BLE001  (raised by run)
            self._failure = error
            self._ending.ask()
        self._answers.set()

    def _watch(self, device: int) -> Callable[[threading.Event], None]:
        """Ask for the end once the kernel has cut the connection, because the mount is gone.

        libfuse's loop sees that, too, and then waits for each operation under way: a read that waits for the
        network would keep the daemon, and `rescalefs umount`, for as long as a read may take. After a lazy
        unmount the connection lasts until the last file is closed, so its readers are not disturbed.
        """

        def body(stop: threading.Event) -> None:
            poller = select.poll()
            poller.register(device, 0)  # POLLERR alone (fuse_dev_poll in Linux's fs/fuse/dev.c)
            while not stop.is_set() and not self._gone.is_set():
                if poller.poll(_WATCH):
                    self._ending.ask()
                    return

        return body

    def _is_answering(self, outside: int) -> bool:
        if self._ending.is_asked or self._failure is not None:
            return False
        return not self._gone.is_set() and self._mountpoint.stat().st_dev != outside

    def _end(self) -> None:
        """Take the mount away if it is still there."""
        self._ending.is_asked = True
        if self._gone.is_set():
            return
        with contextlib.suppress(OSError):
            os.statvfs(self._mountpoint)  # the adapter sees that the end was asked for, and tells libfuse
        if not self._gone.wait(self._settings.patience):
            log.error("%s: some operation does not end; leaving it behind", self._mountpoint)
            with contextlib.suppress(CannotMount):
                detach(self._mountpoint, lazy=True)

    def _complain(self) -> None:
        if isinstance(self._failure, Refused):
            raise CannotMount(f"cannot mount on {self._mountpoint}: {advised(str(self._failure))}")
        if isinstance(self._failure, RuntimeError):
            raise CannotMount(f"the mount on {self._mountpoint} ended: libfuse failed, and said why above")
        if self._failure is not None:
            raise self._failure


def _adapter() -> ModuleType:
    """The one module that needs libfuse. Raises CannotMount with what to install."""
    from rescalefs.mount import adapter

    return adapter


def mount_background(
    command: Sequence[str],
    mountpoint: Path,
    log_file: Path,
    *,
    patience: float = 60.0,
    clock: Clock | None = None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Start ``command`` (a `rescalefs mount --foreground`) as a daemon; return its pid once it answers.

    Its messages go to ``log_file``. Raise CannotMount with the last of them when it ends first, or does not
    answer within ``patience`` seconds; then nothing of it is left.
    """
    clock = clock or SystemClock()
    environment = surroundings.without_the_folder(environment)
    # In memory until the daemon is up, so that its last words are known where no disk takes them.
    with os.fdopen(os.memfd_create("rescalefs-mount"), "w+b") as messages, _news() as news:
        with signals.deferred():
            daemon = subprocess.Popen(  # noqa: S603  (our own command line)
                command,
                cwd="/",  # a daemon keeps no folder busy, and imports nothing from one
                stdin=subprocess.DEVNULL,
                stdout=messages,
                stderr=messages,
                start_new_session=True,
                env={**environment, VARIABLE: _address(news), logs.VARIABLE: str(log_file)},
            )
        try:
            why_not = _await_ready(daemon, news, clock, patience)
        except BaseException:
            _put_down(daemon, mountpoint)
            raise
        if why_not is not None:
            _put_down(daemon, mountpoint)
        said = os.pread(messages.fileno(), logs.MOST_BYTES, 0)
    _write_down(log_file, said)
    if why_not is None:
        daemon.returncode = 0  # it lives on without us; Popen would warn that it was forgotten
        return daemon.pid
    raise CannotMount(_last_words(said) or f"cannot mount on {mountpoint}: {why_not}")


def umount(mountpoint: Path, *, clock: Clock | None = None, patience: float = 60.0) -> None:
    """Unmount, and return once the mount is gone and its daemon has ended, with everything it had to write.

    Raise CannotMount when nothing of ours is mounted there, when it is in use (and by whom), or when the
    daemon is stopped, or takes longer than ``patience`` seconds.
    """
    clock = clock or SystemClock()
    mountpoint = absolute(mountpoint)
    entry = mount_at(mountpoint)
    daemon = claims.daemon_of(mountpoint)
    if entry is None:
        more = f": {claims.left_behind(daemon)}" if daemon is not None else ""
        raise CannotMount(f"nothing is mounted on {mountpoint}{more}")
    if not entry.is_ours:
        raise CannotMount(f"{mountpoint} is not ours: {entry.source} ({entry.kind}) is mounted there")
    try:
        detach(mountpoint)
    except CannotMount as error:
        if daemon is None or not claims.is_stopped(daemon.pid):
            raise
        raise CannotMount(
            f"{error}. Its daemon, process {daemon.pid}, is stopped, and programs that wait for it keep it "
            f"in use. To have them go on: kill -CONT {daemon.pid}"
        ) from error
    deadline = clock.monotonic() + patience
    while daemon is not None and claims.is_running(daemon.pid):
        if claims.is_stopped(daemon.pid):
            raise CannotMount(
                f"{mountpoint} is unmounted, but process {daemon.pid} cannot end: it is stopped. "
                f"To have it end: kill -CONT {daemon.pid}"
            )
        if clock.monotonic() > deadline:
            raise CannotMount(
                f"{mountpoint} is unmounted, but its daemon has not ended in {patience:.0f} s: "
                f"{claims.left_behind(daemon)}"
            )
        clock.wait(never(), _POLL)


def _news() -> socket.socket:
    """Where the daemon says that it is ready: an address without a file, so that no folder has to take one.

    The kernel chooses it. Other users can see and use such addresses, so each sender is looked at.
    """
    news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    news.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    news.bind("")
    return news


def _address(news: socket.socket) -> str:
    """The address in the form of NOTIFY_SOCKET, with @ for the zero byte at the beginning."""
    name: bytes = news.getsockname()
    return f"@{name[1:].decode()}"


def _says_ready(news: socket.socket) -> bool:
    """Whether the next message is from a process of ours, and says so."""
    text, extras, _, _ = news.recvmsg(4096, socket.CMSG_SPACE(_CREDENTIALS.size))
    users = [_CREDENTIALS.unpack(data)[1] for _, kind, data in extras if kind == socket.SCM_CREDENTIALS]
    return b"READY=1" in text.splitlines() and users == [os.geteuid()]


def _await_ready(
    daemon: subprocess.Popen[bytes], news: socket.socket, clock: Clock, patience: float
) -> str | None:
    """None once it is ready; else why it never will be."""
    deadline = clock.monotonic() + patience
    news.settimeout(_POLL)
    while clock.monotonic() < deadline:
        with contextlib.suppress(TimeoutError):
            if _says_ready(news):
                return None
        if daemon.poll() is not None:
            return f"the daemon ended with exit code {daemon.returncode}"
    return f"no answer within {patience:.0f} s"


def _put_down(daemon: subprocess.Popen[bytes], mountpoint: Path) -> None:
    if daemon.poll() is None:
        daemon.terminate()
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait(10)
    if is_mounted(mountpoint):
        clear_stale(absolute(mountpoint))


def _write_down(log_file: Path, said: bytes) -> None:
    """Keep in the log what a daemon said before it was up, or did not come up."""
    if said:
        with contextlib.suppress(OSError):  # a full disk; the caller has the words
            descriptor = logs.open_log(log_file)
            try:
                logs.write_all(descriptor, said)
            finally:
                os.close(descriptor)


def _last_words(said: bytes) -> str:
    """The end of what was said, for people: just why the command failed, if it said so."""
    lines = [line for line in said.decode(errors="replace").splitlines() if line.strip()]
    if lines and lines[-1].startswith(_PREFIX):
        return lines[-1].removeprefix(_PREFIX)
    return "\n".join(lines[-5:])
