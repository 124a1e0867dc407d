"""The log of a command that runs for long: equal lines are folded, files bounded, and logging never waits.

The line that a thread logs is put into a queue, and the thread `log` writes it. So a terminal that is stopped
or a pipe without a reader holds up the log and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rescalefs.background import Background
from rescalefs.clock import Clock, SystemClock
from rescalefs.containment import contained
from rescalefs.private import make_private

with contextlib.suppress(ImportError):  # Windows: there, no daemon has a log file of its own
    import fcntl

log = logging.getLogger(__name__)

# In the environment of a daemon that `rescalefs mount` starts: the file that its log is to go on in.
VARIABLE = "_RESCALEFS_LOG_FILE"
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MOST_BYTES = 2_000_000  # of one file; with the older ones it is four times as much
OLDER_FILES = 3

_WINDOW = 60.0  # [s] until it is first written how many lines were folded; twice as long each time after that
_LONGEST_WINDOW = 3600.0  # [s]
_MOST_TEXTS = 20  # different lines of one kind that are written before they count as more of the same
_MOST_KINDS = 500  # a program has fewer; a library that builds its messages itself may have any number
_LONGEST_TEXT = 500  # characters of a line that is quoted in a count
_MOST_WAITING = 5000  # lines that may wait to be written
_TICK = 1.0  # [s] between two looks at what is to be counted, and at how large the file is
_PATIENCE = 2.0  # [s] for the last lines to be written at the end


class LineFormatter(logging.Formatter):
    """Formats a record so that only its own first line looks like one of the log.

    Names from the server and of files may hold line ends and terminal escapes. In a message, each control
    character is written as an escape, such as ``\\n``. Of a traceback, the lines are kept and indented.
    """

    def __init__(self) -> None:
        super().__init__(FORMAT)

    def format(self, record: logging.LogRecord) -> str:
        first, *rest = super().format(record).split("\n")
        return "\n".join([_harmless(first), *(f"  {_harmless(line)}" for line in rest)])

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        return _harmless(super().formatMessage(record))


@dataclass(slots=True)
class _Kind:
    """The lines of one place in the program."""

    since: float
    window: float = _WINDOW
    texts: set[str] = field(default_factory=set)
    folded: int = 0
    last: str = ""


class Folds:
    """Decides which lines are written. Not thread-safe; a logging handler's own lock guards it.

    Lines are of one kind when logger, level and message without its values are equal. The first 20 different
    lines of a kind are written. All others are counted. The count is written after a minute, then after 2, 4,
    ... and 60 minutes. A kind that was quiet for as long begins anew. Lines of level DEBUG are all written,
    because a user has asked for every operation.
    """

    def __init__(self) -> None:
        self._kinds: dict[tuple[str, int, str], _Kind] = {}

    def takes(self, record: logging.LogRecord, now: float) -> bool:
        """Whether the line is to be written; otherwise it has been counted."""
        if record.levelno <= logging.DEBUG:
            return True
        text = _text(record)
        key = (record.name, record.levelno, str(record.msg))
        if key not in self._kinds and len(self._kinds) >= _MOST_KINDS:
            key = (record.name, record.levelno, "")
        kind = self._kinds.setdefault(key, _Kind(now))
        if text not in kind.texts and len(kind.texts) < _MOST_TEXTS:
            kind.texts.add(text)
            return True
        kind.folded += 1
        kind.last = text
        return False

    def due(self, now: float) -> list[logging.LogRecord]:
        """The counts that are to be written now; they begin anew."""
        found = []
        for key, kind in list(self._kinds.items()):
            if now - kind.since < kind.window:
                continue
            if not kind.folded:
                self._kinds.pop(key, None)
                continue
            found.append(_count(key, kind, now))
            kind.since, kind.window, kind.folded = now, min(2 * kind.window, _LONGEST_WINDOW), 0
        return found

    def counted(self, now: float) -> list[logging.LogRecord]:
        """The counts as they are; they go on."""
        return [_count(key, kind, now) for key, kind in list(self._kinds.items()) if kind.folded]


class Sink(Protocol):
    """Where lines go."""

    def write(self, data: bytes) -> None:
        """Write, or leave it: nothing is raised."""
        ...

    def tick(self) -> None:
        """Called every second."""
        ...


class StandardError:
    """Standard error, without Python's buffer, whose lock would be held while a reader does not read."""

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError, ValueError):
            if sys.stderr.fileno() == 2:
                write_all(2, data)
                return
        with contextlib.suppress(OSError, ValueError):  # replaced by something without a descriptor
            sys.stderr.write(data.decode(errors="replace"))

    def tick(self) -> None:
        """Nothing to do."""


class _Nowhere:
    """No file takes the log. What standard error is given would otherwise grow in memory."""

    def __init__(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        os.close(nowhere)

    def write(self, data: bytes) -> None:
        """Leave it."""

    def tick(self) -> None:
        """Nothing to do."""


class LogFile:
    """A file of at most ``most`` bytes, and some older ones, for the owner alone. Standard error goes there.

    What libfuse and the interpreter write goes into the file directly. Therefore its size is looked at every
    second, and a new file takes the place of standard output and standard error as well. Several daemons
    may write into one file: a lock on it decides which of them puts the new one in its place.
    """

    def __init__(self, path: Path, most: int = MOST_BYTES) -> None:
        self._path = path
        self._most = most
        self._descriptor = open_log(path)

    def take_over(self) -> None:
        """Take what standard error has been given so far, if that is a file in memory, and become it."""
        with contextlib.suppress(OSError):
            said = os.pread(2, self._most, 0)
            os.ftruncate(2, 0)  # our parent writes down what is left there
            self.write(said)
        self._take_standard_streams()

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):  # a full disk
            if os.fstat(self._descriptor).st_size + len(data) > self._most:
                self._turn()
            write_all(self._descriptor, data)

    def tick(self) -> None:
        with contextlib.suppress(OSError):
            if os.fstat(self._descriptor).st_size > self._most or not self._is_current():
                self._turn()

    def _turn(self) -> None:
        """Begin a new file, unless another daemon just did: then take that."""
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        try:
            if self._is_current():
                rotate(self._path)
            fresh = open_log(self._path)
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        os.dup2(fresh, self._descriptor, inheritable=False)
        os.close(fresh)
        self._take_standard_streams()

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _take_standard_streams(self) -> None:
        for stream in (1, 2):
            os.dup2(self._descriptor, stream)


def open_log(path: Path) -> int:
    """A descriptor that appends to the file, which its owner alone may read."""
    make_private(path.parent)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except PermissionError:  # its mode forbids it, also to its owner, unless that is root
        path.chmod(0o600)
        descriptor = os.open(path, flags, 0o600)
    with contextlib.suppress(OSError):  # of an older version, which let the umask decide
        os.fchmod(descriptor, 0o600)
    return descriptor


def rotate(path: Path) -> None:
    """Give the file and its older ones the next number each; the oldest is removed."""
    for number in range(OLDER_FILES, 0, -1):
        older = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
        with contextlib.suppress(FileNotFoundError):
            older.replace(path.with_name(f"{path.name}.{number}"))


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of it; raise OSError."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


class LogWriter(logging.Handler):
    """Folds lines and queues them; `run`, on a thread of its own, writes them."""

    def __init__(self, sink: Sink, clock: Clock) -> None:
        super().__init__()
        self.setFormatter(LineFormatter())
        self._sink = sink
        self._clock = clock
        self._folds = Folds()  # guarded by the handler's own lock, which is re-entrant and held over no I/O
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._lost = 0  # lines that found the queue full
        self._next_tick = 0.0
        self._is_over = False

    def emit(self, record: logging.LogRecord) -> None:
        if self._folds.takes(record, self._clock.monotonic()):
            self._put(record)

    def go_on_in(self, path: Path) -> None:
        """Write into a file from here on, and have standard error go there, too.

        For a daemon that is up. Where there can be no file, its log is in `.rescalefs/log` alone.
        """
        try:
            file = LogFile(path)
        except OSError as error:
            log.warning("cannot write %s: %s; .rescalefs/log has the end of the log", path, error.strerror)
            self._sink = _Nowhere()
            return
        file.take_over()
        self._sink = file

    def run(self, stop: threading.Event) -> None:
        """Write until ``stop`` is set, and then what is left."""
        while not stop.is_set():
            with contained(log, "writing the log"):
                self._write_waiting(_TICK / 10)
                if self._clock.monotonic() >= self._next_tick:
                    self._next_tick = self._clock.monotonic() + _TICK
                    self._count(last=False)
                    self._sink.tick()
        self._count(last=True)
        self._write_waiting(0)
        self._is_over = True

    def write_rest(self) -> None:
        """Write what came after the end of `run`. Where that is stuck at its reader, nothing is written."""
        if self._is_over:
            self._write_waiting(0)

    def _put(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() >= _MOST_WAITING:
            self._lost += 1
            return
        try:
            self._lines.put(self.format(record) + "\n")
        except Exception:  # noqa: BLE001  # a message and its values that do not fit
            self._lines.put(f"{record.levelname} {record.name}: {record.msg}\n")

    def _count(self, *, last: bool) -> None:
        self.acquire()
        try:
            now = self._clock.monotonic()
            for record in self._folds.counted(now) if last else self._folds.due(now):
                self._put(record)
        finally:
            self.release()

    def _write_waiting(self, seconds: float) -> None:
        """What waits, in one piece; wait for it so long at most."""
        lines: list[str] = []
        with contextlib.suppress(queue.Empty):
            lines.append(self._lines.get(timeout=seconds) if seconds else self._lines.get_nowait())
            while len(lines) < _MOST_WAITING:
                lines.append(self._lines.get_nowait())
        lost, self._lost = self._lost, 0
        if lost:
            lines.append(f"{lost} lines were left out here: they came faster than they could be written\n")
        if lines:
            self._sink.write("".join(lines).encode(errors="backslashreplace"))


@contextmanager
def written() -> Iterator[LogWriter]:
    """While the block runs, all that is logged goes through a `LogWriter`, to standard error at first."""
    writer = LogWriter(StandardError(), SystemClock())
    root = logging.getLogger()
    before = root.handlers[:]
    background = Background(patience=_PATIENCE)
    background.start("log", writer.run)
    root.handlers[:] = [writer]
    try:
        yield writer
    finally:
        background.close()  # while the writer is in place: a complaint about its thread must not wait, either
        root.handlers[:] = before
        writer.write_rest()


def _harmless(text: str) -> str:
    """The text with an escape in place of each character that is none to read: controls, and the like."""
    return "".join(c if c.isprintable() or _is_broken(c) else _escape(c) for c in text)


def _is_broken(character: str) -> bool:
    """Whether it is half of a character: a byte of a name that is not UTF-8. It has its escape on writing."""
    return "\ud800" <= character <= "\udfff"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _text(record: logging.LogRecord) -> str:
    """The line without its time; of an error with a traceback, the error belongs to it."""
    try:
        text = record.getMessage()
    except Exception:  # noqa: BLE001  # a message and its values that do not fit
        text = str(record.msg)
    if record.exc_info and record.exc_info[1] is not None:
        text += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
    return text[:_LONGEST_TEXT]


def _count(key: tuple[str, int, str], kind: _Kind, now: float) -> logging.LogRecord:
    name, level, _ = key
    lines = "line" if kind.folded == 1 else "lines"
    text = f"{kind.folded} more {lines} like this in {now - kind.since:.0f} s, the last: {kind.last}"
    return logging.makeLogRecord(
        {"name": name, "levelno": level, "levelname": logging.getLevelName(level), "msg": text}
    )
