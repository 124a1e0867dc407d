"""Answers of the server as of a moment ago.

How old an answer may be depends on whether its job has ended. While the job runs, an answer is *fresh* for
seconds, and *usable* for some more, in which it is given at once and renewed in the background. When the job
has ended, an answer from before the end is worth nothing, and one from after it holds for long.
"""

from __future__ import annotations

import copy
import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Generic, TypeVar

from rescalefs import requester
from rescalefs.clock import Clock
from rescalefs.containment import log_once, shortened
from rescalefs.errors import ApiError, HeldBack, NotFound, TimedOut, UnexpectedAnswer
from rescalefs.forks import Process
from rescalefs.tree.errands import Errands
from rescalefs.tree.health import Health, is_refusal
from rescalefs.tree.store import Document, Drawer

log = logging.getLogger(__name__)

_MANY_FAILURES = 4096
_MANY_ABSENT = 100_000
_KEPT_SHARE = 0.8  # of the memory, when some has to go: so that not every new answer has to make room

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Said(Generic[V]):
    """What the server said."""

    value: V
    holds: float | None = None  # seconds it holds once its job has ended; None: it was asked before the end


class Answer(Generic[V]):
    """One answer that is kept."""

    __slots__ = ("asked", "holds", "used", "value")

    def __init__(self, value: V, asked: float, holds: float | None) -> None:
        self.value = value
        self.asked = asked  # monotonic, when the question was sent: what happened after that is not in it
        self.holds = holds
        self.used = asked  # when it was given last; a race between two readers costs nothing


@dataclass(frozen=True, slots=True)
class _Failure:
    error: ApiError
    until: float  # monotonic; before that the same is not asked again


class _Flight(Generic[V]):
    """A question under way, and what came of it for all who wait."""

    __slots__ = ("answer", "done", "error")

    def __init__(self, answer: Answer[V] | None = None, error: ApiError | None = None) -> None:
        self.answer = answer
        self.error = error
        self.done = threading.Event()
        if answer is not None or error is not None:
            self.done.set()


@dataclass(frozen=True, slots=True)
class Desk:
    """What all kinds of questions share; the times are those of `TreeSettings`."""

    clock: Clock
    health: Health
    errands: Errands
    rest: float
    patience: float
    deadline: float


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class Kind(Generic[V]):
    """What is particular to one kind of question."""

    ask: Callable[[str], Said[V]]
    drawer: Drawer[Any]
    live: float  # seconds for which an answer about a job that has not ended is fresh
    usable: float  # and for which it is usable
    memory: int = 2000  # how much to keep in memory, in the unit of `weigh`
    weigh: Callable[[V], int] = lambda _: 1
    dump: Callable[[V], Any] = _same  # what to store of a value
    restore: Callable[[str, Document[Any]], V] = lambda _, document: document.value
    settle: Callable[[V, V], V] = lambda known, new: (
        known if known == new else new
    )  # what to keep of a new value
    absent: float = 0.0  # seconds for which a 404 is believed, if that is longer than for other failures


class Answers(Generic[V]):
    """The answers to one kind of question, by key: asked for when needed, shared, remembered.

    - A fresh answer is given without a lock and without I/O.
    - Threads that want the same at the same moment share one request, and its error.
    - When the server fails or cannot be reached, the last known answer is given; where there is none, the
      error is raised. A refusal (401, 403, 404) takes the place of what was known.
    - Nothing waits without a limit, and no lock is held while the network or the disk is awaited.
    - In a forked child, what is fresh is given, and all else raises `OtherProcess` at once.
    """

    def __init__(self, kind: Kind[V], desk: Desk) -> None:
        self._process = Process()
        self._kind = kind
        self._desk = desk
        self._clock = desk.clock
        # Guards all below, except that one key of a dict may be read without it.
        self._lock = threading.Lock()
        self._answers: dict[str, Answer[V]] = {}
        self._flights: dict[str, _Flight[V]] = {}
        self._failures: dict[str, _Failure] = {}
        # Keys that were looked for on disk in vain: a hint, added to without the lock (one step of a set),
        # which another process may make wrong.
        self._absent: set[str] = set()
        self._weight = 0
        self._requests = 0

    @property
    def requests(self) -> int:
        """How many questions were sent to the server."""
        return self._requests

    def get(self, key: str, ended: bool) -> V:
        """The answer for ``key``, whose job has ``ended`` or not."""
        answer = self._answers.get(key)
        if answer is not None:
            now = self._clock.monotonic()
            if now - answer.asked < (answer.holds or 0.0 if ended else self._kind.live):
                answer.used = now
                return answer.value
        return self._get_other(key, ended)

    def known(self, key: str) -> V | None:
        """What is in memory, however old; never I/O."""
        answer = self._answers.get(key)
        return None if answer is None else answer.value

    def remembered(self, key: str) -> V | None:
        """What is in memory or on disk, however old; never a request."""
        self._process.check()
        answer = self._answers.get(key)
        if answer is None and key not in self._absent:
            answer = self._stored(key)
            if answer is None and len(self._absent) < _MANY_ABSENT:
                self._absent.add(key)
        return None if answer is None else answer.value

    def is_absent(self, key: str) -> bool:
        """Whether the server said 404 so short a time ago that `get` raises it again."""
        failure = self._failures.get(key)
        if failure is None or not isinstance(failure.error, NotFound):
            return False
        return self._clock.monotonic() < failure.until

    def refresh(self, key: str) -> None:
        """Ask now, whatever is known, unless that is under way; raise what goes wrong."""
        self._process.check()
        with self._lock:
            flight = self._flights.get(key)
            mine = flight is None
            if flight is None:
                flight = self._flights[key] = _Flight()
        if mine:
            self._fly(key, flight)
        else:
            self._clock.wait(flight.done, self._desk.deadline)
        if flight.error is not None:
            raise _raisable(flight.error)

    def amend(self, key: str, change: Callable[[V], V]) -> None:
        """Replace what is known by ``change`` of it, which must be quick; nothing known, nothing done."""
        self._process.check()
        with self._lock:
            answer = self._answers.get(key)
            if answer is None:
                return
            value = change(answer.value)
            if value is answer.value:
                return
            amended = Answer(value, answer.asked, answer.holds)
            self._put(key, amended)
        self._save(key, amended)

    def forget(self, key: str) -> None:
        """Know nothing about ``key`` any more; also not what an answer under way will say."""
        self._process.check()
        with self._lock:
            self._drop(key)
            self._failures.pop(key, None)
            self._flights.pop(key, None)
        self._kind.drawer.remove(key)

    def forget_all(self) -> None:
        """Know nothing any more."""
        self._process.check()
        with self._lock:
            self._answers.clear()
            self._failures.clear()
            self._flights.clear()
            self._weight = 0
        self._kind.drawer.clear()

    def tidy(self) -> None:
        """Remove what a killed process may have left on disk."""
        self._kind.drawer.tidy(self._clock.now())

    # --- when there is no fresh answer

    def _get_other(self, key: str, ended: bool) -> V:
        self._process.check()  # in a forked child, no flight of the parent's ever lands
        failure = self._failures.get(key)
        seen = self._answers.get(key)
        answer = seen
        if failure is not None and is_refusal(failure.error):
            answer = None
        elif seen is None:
            answer = seen = self._stored(key)
        now = self._clock.monotonic()
        if answer is not None and now - answer.asked < (answer.holds or 0.0 if ended else self._kind.live):
            return answer.value
        error = (
            failure.error if failure is not None and now < failure.until else self._desk.health.resting(now)
        )
        if error is None:
            flight, mine = self._board(key, seen, failure)
            return self._await(key, flight, mine, answer, ended)
        if answer is None:
            raise _raisable(error)
        answer.used = now
        return answer.value

    def _await(self, key: str, flight: _Flight[V], mine: bool, answer: Answer[V] | None, ended: bool) -> V:
        """What ``flight`` brings, or the known ``answer`` if that is good enough, or all there is."""
        if mine and answer is not None and self._desk.errands.in_background:
            self._desk.errands.run(requester.carried(partial(self._fly, key, flight)))
        elif mine:
            self._fly(key, flight)
        wait = self._worth_waiting(answer, ended)
        if wait > 0:
            self._clock.wait(flight.done, wait)
        if flight.answer is not None:
            return flight.answer.value
        if answer is not None and not (flight.error is not None and is_refusal(flight.error)):
            return answer.value
        raise _raisable(flight.error or TimedOut("the server has not answered in time"))

    def _worth_waiting(self, answer: Answer[V] | None, ended: bool) -> float:
        if answer is None or (ended and answer.holds is None):
            return self._desk.deadline
        usable = math.inf if ended else self._kind.usable
        return 0.0 if self._clock.monotonic() - answer.asked < usable else self._desk.patience

    def _board(self, key: str, seen: Answer[V] | None, failure: _Failure | None) -> tuple[_Flight[V], bool]:
        """The flight for ``key``, and whether the caller has to fly it.

        If one has ended since the caller looked, and saw ``seen`` and ``failure``, it is that one's result.
        """
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            answer = self._answers.get(key)
            if answer is not None and answer is not seen:
                return _Flight(answer=answer), False
            failed = self._failures.get(key)
            if failed is not None and failed is not failure:
                return _Flight(error=failed.error), False
            flight = self._flights[key] = _Flight()
            return flight, True

    def _fly(self, key: str, flight: _Flight[V]) -> None:
        """Ask the server, keep what it says, and tell all who wait."""
        try:
            self._requests += 1
            asked = self._clock.monotonic()
            said = self._kind.ask(key)
            self._desk.health.succeeded()
            flight.answer = self._landed(key, flight, Answer(said.value, asked, said.holds))
        except ApiError as error:
            self._failed(key, flight, error)
            flight.error = error
        except Exception as error:  # noqa: BLE001  # whatever is made of an answer: those who wait are told
            log_once(log, "an answer of which nothing can be made", error, key)
            odd = UnexpectedAnswer(f"{key}: of the server's answer nothing can be made: {shortened(error)}")
            self._failed(key, flight, odd)
            flight.error = odd
        finally:
            # The result is in its table before the flight leaves its own, so no thread can miss it in both.
            with self._lock:
                if self._flights.get(key) is flight:
                    del self._flights[key]
            flight.done.set()

    def _landed(self, key: str, flight: _Flight[V], answer: Answer[V]) -> Answer[V]:
        with self._lock:
            if self._flights.get(key) is not flight:
                return answer  # forgotten meanwhile: good for those who wait, and not to be kept
            known = self._answers.get(key)
            if known is not None:
                answer.value = self._kind.settle(known.value, answer.value)
            self._put(key, answer)
            self._failures.pop(key, None)
        if known is None or known.value is not answer.value or known.holds != answer.holds:
            self._save(key, answer)
        return answer

    def _failed(self, key: str, flight: _Flight[V], error: ApiError) -> None:
        rests_all = self._desk.health.failed(error)
        if rests_all or isinstance(error, HeldBack):  # another program may ask for the same at once
            return
        now = self._clock.monotonic()
        gone = isinstance(error, NotFound)
        with self._lock:
            if self._flights.get(key) is not flight:
                return
            if len(self._failures) >= _MANY_FAILURES:
                lasting = {name: each for name, each in self._failures.items() if now < each.until}
                self._failures = dict(list(lasting.items())[-_MANY_FAILURES // 2 :])
            rest = self._kind.absent if gone else self._desk.rest
            self._failures[key] = _Failure(error, now + max(rest, self._desk.rest))
            if gone:
                self._drop(key)
        if gone:
            self._kind.drawer.remove(key)

    # --- memory and disk

    def _stored(self, key: str) -> Answer[V] | None:
        """The answer that an earlier process, or we before memory ran short, left on disk."""
        document = self._kind.drawer.load(key)
        if document is None:
            return None
        # A clock that was set back makes no answer younger than new.
        age = max(0.0, (self._clock.now() - document.asked).total_seconds())
        try:
            value = self._kind.restore(key, document)
        except Exception as error:  # noqa: BLE001  # it is a cache: what is odd in it is asked for again
            log_once(log, "a stored answer of which nothing can be made", error, key)
            return None
        answer = Answer(value, self._clock.monotonic() - age, document.holds)
        with self._lock:
            newer = self._answers.get(key)
            if newer is not None:
                return newer
            self._put(key, answer)
        return answer

    def _save(self, key: str, answer: Answer[V]) -> None:
        asked = self._clock.now() - timedelta(seconds=self._clock.monotonic() - answer.asked)
        self._kind.drawer.save(key, Document(self._kind.dump(answer.value), asked, answer.holds))

    def _put(self, key: str, answer: Answer[V]) -> None:
        before = self._answers.get(key)
        if before is not None:
            self._weight -= self._kind.weigh(before.value)
        self._answers[key] = answer
        self._absent.discard(key)
        self._weight += self._kind.weigh(answer.value)
        if self._weight > self._kind.memory:
            self._make_room(key)

    def _make_room(self, newest: str) -> None:
        for key in sorted(self._answers, key=lambda each: self._answers[each].used):
            if self._weight <= self._kind.memory * _KEPT_SHARE:
                return
            if key != newest:
                self._drop(key)

    def _drop(self, key: str) -> None:
        answer = self._answers.pop(key, None)
        if answer is not None:
            self._weight -= self._kind.weigh(answer.value)


def _raisable(error: ApiError) -> ApiError:
    """A copy: an error that several threads raised would gather the tracebacks of all."""
    return copy.copy(error).with_traceback(None)
