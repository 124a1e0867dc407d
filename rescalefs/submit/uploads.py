"""Sends the files of drops: several at once, none twice, in constant memory."""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from rescalefs.clock import Clock
from rescalefs.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    RescaleFSError,
    Throttled,
    Unauthenticated,
    UnexpectedAnswer,
)
from rescalefs.submit import packing
from rescalefs.submit.diary import mishap
from rescalefs.submit.journal import Journal, Upload
from rescalefs.submit.machine import Drop
from rescalefs.submit.pace import outlook, retry_delay
from rescalefs.submit.parcels import Parcel
from rescalefs.submit.report import Progress
from rescalefs.submit.service import JobService
from rescalefs.submit.settings import SubmitSettings
from rescalefs.submit.streams import ContentChanged, ParcelStream, TrailingHash

log = logging.getLogger(__name__)

_RATE_AFTER = 3.0  # seconds of sending before the time left is told
_REMEDY = "Remove the file, or ask who runs the server, or a proxy in between, which files pass"
_MOST_DENIALS = 3  # of one file (401, 403) with a key that the server takes
_DENIED_FOR = 120.0  # seconds from the first to the last of them: a proxy may be out of order for a moment


@dataclass(slots=True)
class Denials:
    """How often the server refused one file with a key that it takes."""

    since: float  # monotonic
    count: int = 0


@dataclass
class Batch:
    """The parcels of one drop on their way. Its fields are guarded by the depot."""

    drop_id: str
    fingerprint: str  # of the folder that the parcels were made from
    folder: Callable[[], Path]  # where the drop lies now: it may be renamed meanwhile
    parcels: Sequence[Parcel]
    todo: deque[int]
    ids: list[str | None]
    size: int  # bytes of all parcels
    began: float = 0.0
    on_the_way: dict[int, ParcelStream | None] = field(default_factory=dict)
    done_bytes: int = 0
    reused_bytes: int = 0  # of those, what the server had already
    done_files: int = 0
    reused: int = 0
    failures: int = 0
    due: float = 0.0
    changed: bool = False
    refused: tuple[str, ...] = ()
    denials: dict[int, Denials] = field(default_factory=dict)

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens: all is sent, or sending the rest makes no sense."""
        return not self.on_the_way and not self.goes_on

    @property
    def goes_on(self) -> bool:
        """Whether there is something left to send, and sense in sending it."""
        return bool(self.todo) and not self.changed and not self.refused


class Depot:
    """Holds the parcels of all drops that upload, and hands them out in turn. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()  # guards _batches and all in them
        self._batches: dict[str, Batch] = {}  # who is handed out next comes first

    def open(self, drop: Drop, parcels: Sequence[Parcel], folder: Callable[[], Path]) -> None:
        """Begin to send; what was begun for the drop before it changed is sent no more."""
        count, size = len(parcels), sum(parcel.size for parcel in parcels)
        with self._lock:
            todo = deque(range(count))
            self._batches[drop.id] = Batch(
                drop.id,
                drop.fingerprint,
                folder,
                parcels,
                todo,
                [None] * count,
                size,
                self._clock.monotonic(),
            )

    def drops(self) -> frozenset[str]:
        """The drops of which it has parcels."""
        with self._lock:
            return frozenset(self._batches)

    def close(self, drop_id: str) -> None:
        """Send no more of it. What is on the way arrives, and is remembered."""
        with self._lock:
            self._batches.pop(drop_id, None)

    def result(self, drop: Drop) -> Batch | None:
        """The batch of the drop as it is now, once that is over."""
        with self._lock:
            batch = self._current(drop)
            return batch if batch is not None and batch.is_over else None

    def needs_a_desk(self, drop: Drop) -> bool:
        """Whether someone has to begin its batch, or to conclude it."""
        with self._lock:
            batch = self._current(drop)
            return batch is None or batch.is_over

    def _current(self, drop: Drop) -> Batch | None:
        batch = self._batches.get(drop.id)
        return batch if batch is not None and batch.fingerprint == drop.fingerprint else None

    def is_over(self, batch: Batch) -> bool:
        """Whether someone has to conclude it."""
        with self._lock:
            return batch.is_over

    def take(self) -> tuple[Batch, int] | None:
        """The next parcel to send, if one is due."""
        now = self._clock.monotonic()
        with self._lock:
            for drop_id, batch in self._batches.items():
                if batch.goes_on and batch.due <= now:
                    index = batch.todo.popleft()
                    batch.on_the_way[index] = None
                    self._batches[drop_id] = self._batches.pop(drop_id)
                    return batch, index
        return None

    def wait_time(self) -> float:
        """Seconds until a parcel that failed is due again; a long time where none is."""
        now = self._clock.monotonic()
        with self._lock:
            # Without those that are given up: of a drop that was deleted, nobody comes to conclude them, and
            # a wait of nothing for what is never handed out would keep every core busy.
            waits = [batch.due - now for batch in self._batches.values() if batch.goes_on]
        return max(0.0, min([*waits, 60.0]))

    def progress(self, drop_id: str) -> Progress:
        """How far a drop is."""
        with self._lock:
            batch = self._batches.get(drop_id)
            if batch is None:
                return Progress(0, 0, 0, 0)
            sent = sum(stream.tell() for stream in batch.on_the_way.values() if stream is not None)
            done, took = batch.done_bytes + sent, self._clock.monotonic() - batch.began
            fresh = done - batch.reused_bytes
            # In the first seconds a rate says little; and what was there already says nothing about the line.
            left = (batch.size - done) * took / fresh if fresh > 0 and took >= _RATE_AFTER else None
            return Progress(batch.done_files, len(batch.parcels), done, batch.size, left)

    def under_way(self, batch: Batch, index: int, stream: ParcelStream) -> None:
        """Show how far a parcel is."""
        with self._lock:
            batch.on_the_way[index] = stream

    def arrived(self, batch: Batch, index: int, file_id: str, reused: bool) -> None:
        """The server has it."""
        with self._lock:
            batch.on_the_way.pop(index, None)
            batch.ids[index] = file_id
            batch.done_files += 1
            batch.done_bytes += batch.parcels[index].size
            batch.reused += reused
            batch.reused_bytes += batch.parcels[index].size if reused else 0
            batch.failures = 0

    def put_back(self, batch: Batch, index: int, asked: float | None) -> float:
        """It failed, and is to be tried again; return in how many seconds."""
        with self._lock:
            batch.on_the_way.pop(index, None)
            batch.todo.appendleft(index)
            batch.failures += 1
            delay = retry_delay(batch.failures, random.random(), asked)
            batch.due = self._clock.monotonic() + delay
            return delay

    def denied(self, batch: Batch, index: int) -> float | None:
        """Count a refusal of a parcel. Return the least seconds to the next attempt; None: there is none."""
        now = self._clock.monotonic()
        with self._lock:
            denials = batch.denials.setdefault(index, Denials(now))
            denials.count += 1
            if denials.count >= _MOST_DENIALS and now - denials.since >= _DENIED_FOR:
                return None
            # The first one may be a proxy's that stumbled. Then slowly, because each attempt sends the file.
            return 0.0 if denials.count == 1 else _DENIED_FOR / 2

    def hurry(self) -> None:
        """Have what failed tried again now, because its cause is gone."""
        with self._lock:
            for batch in self._batches.values():
                batch.due = 0.0

    def give_up(self, batch: Batch, index: int, refused: tuple[str, ...] = ()) -> None:
        """The drop changed meanwhile, or the server will not have this file."""
        with self._lock:
            batch.on_the_way.pop(index, None)
            batch.changed = not refused
            batch.refused = refused


class Carrier:
    """Takes parcels from the depot to the server. Thread-safe: any number of threads may call `carry_one`."""

    def __init__(
        self,
        service: JobService,
        settings: SubmitSettings,
        clock: Clock,
        journal: Journal,
        depot: Depot,
        trouble: Callable[[str, str, str], None],
        well: Callable[[str], None],
        ring: Callable[[], None] = lambda: None,
    ) -> None:
        self._service = service
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._depot = depot
        self._trouble = trouble  # drop id, what keeps its uploads, what is next
        self._well = well  # drop id
        self._ring = ring  # a batch may be over

    def carry_one(self) -> bool:
        """Send one parcel, whatever comes of it; tell whether there was one to send."""
        taken = self._depot.take()
        if taken is None:
            return False
        batch, index = taken
        parcel = batch.parcels[index]
        try:
            file_id, reused = self._deliver(batch, index, parcel)
        except (ContentChanged, packing.Shrunk, FileNotFoundError, NotADirectoryError):
            self._depot.give_up(batch, index)
        except InvalidRequest as error:
            problems = tuple(f"{parcel.name}: {each}" for each in error.problems)
            self._depot.give_up(batch, index, problems or (f"{parcel.name}: {error}",))
        except (Unauthenticated, Forbidden) as error:
            self._denied(batch, index, error)
        except (RescaleFSError, OSError) as error:
            asked = error.retry_after if isinstance(error, Throttled) else None
            self._put_back(batch, index, str(error), asked)
        except Exception as error:  # noqa: BLE001  # one file's, of whatever kind, is not the end of the others
            self._put_back(batch, index, mishap(log, "sending a file", batch.drop_id, error))
        except BaseException:  # the thread ends; what it had in hand is still to be sent
            self._depot.put_back(batch, index, None)
            raise
        else:
            self._depot.arrived(batch, index, file_id, reused)
            self._well(batch.drop_id)
        if self._depot.is_over(batch):
            self._ring()
        return True

    def _denied(self, batch: Batch, index: int, error: RescaleFSError) -> None:
        """Reject the drop once the server has refused the file for long, with a key that it takes.

        With a bad key the file waits for a renewed one, and `status` says what the server says of the key.
        """
        try:
            self._service.user()
        except (RescaleFSError, OSError) as trouble:
            self._put_back(batch, index, str(trouble))
            return
        except Exception as trouble:  # noqa: BLE001  # contained, as in `carry_one`
            self._put_back(batch, index, mishap(log, "asking whose key it is", batch.drop_id, trouble))
            return
        wait = self._depot.denied(batch, index)
        if wait is not None:
            self._put_back(batch, index, str(error), wait)
            return
        name = batch.parcels[index].name
        why = f"{name}: the server takes the API key and refuses this file ({error}). {_REMEDY}"
        self._depot.give_up(batch, index, (why,))

    def _put_back(self, batch: Batch, index: int, what: str, asked: float | None = None) -> None:
        delay = self._depot.put_back(batch, index, asked)
        name = batch.parcels[index].name
        self._trouble(batch.drop_id, f"{name}: {what}", outlook("trying", delay, self._clock.now()))

    def _deliver(self, batch: Batch, index: int, parcel: Parcel) -> tuple[str, bool]:
        known = self._known(batch, parcel)
        if known is not None:
            return known, True
        folder = batch.folder()
        trail = TrailingHash(parcel, folder, self._clock)
        with ParcelStream(parcel, folder) as stream, closing(trail):
            self._depot.under_way(batch, index, stream)
            file = self._service.upload(parcel.name, stream, parcel.size, parcel.type_id, trail.follow)
            if stream.tell() != parcel.size:
                raise UnexpectedAnswer(f"the server took {stream.tell()} of {parcel.size} bytes")
            sha512 = trail.sha512_of(stream)
        if file.sha512 is not None and file.sha512 != sha512:
            raise UnexpectedAnswer("other bytes arrived at the server than were sent")
        self._remember(file.id, parcel, sha512)
        return file.id, False

    def _known(self, batch: Batch, parcel: Parcel) -> str | None:
        """The id of the same bytes on the server, sent before under the same name."""
        candidates = self._journal.uploads(parcel.name, parcel.type_id, parcel.size)
        if not candidates:
            return None  # so a new file is read only once
        same = [each for each in candidates if each.mark == parcel.mark]
        if not same:
            with closing(TrailingHash(parcel, batch.folder(), self._clock)) as trail:
                sha512 = trail.sha512()
            same = [each for each in candidates if each.sha512 == sha512]
        for each in same:
            if self._still_there(each):
                self._remember(each.file_id, parcel, each.sha512)
                return each.file_id
        return None

    def _still_there(self, upload: Upload) -> bool:
        # Without its sign: what comes from the future was noted while the machine's clock was wrong.
        if abs(self._clock.now() - upload.at) < timedelta(seconds=self._settings.trust_upload):
            return True
        try:
            there = self._service.file(upload.file_id).is_uploaded
        except (NotFound, Forbidden):
            there = False
        if not there:
            self._journal.forget(upload.file_id)
        return there

    def _remember(self, file_id: str, parcel: Parcel, sha512: str) -> None:
        now = self._clock.now()
        self._journal.remember(
            Upload(file_id, parcel.name, parcel.type_id, parcel.size, sha512, parcel.mark, now)
        )
