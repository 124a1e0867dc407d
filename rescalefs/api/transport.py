"""HTTP to one server: time limits, turns, retries, redirects; only errors of ours come out."""

from __future__ import annotations

import dataclasses
import logging
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urljoin, urlsplit

import requests
import tenacity

from rescalefs import requester
from rescalefs.api.bounds import LARGEST_HEAD, Bounds
from rescalefs.api.complaints import complaints, without_signatures
from rescalefs.api.failures import BROKEN, AttemptFailed, error_for, failure_of, understanding
from rescalefs.api.forms import Content, FileForm
from rescalefs.api.headers import date, or_none, retry_after, whole_number
from rescalefs.api.limits import Limits, Turn, scope_of
from rescalefs.api.retry import RETRIED_STATUSES, Failure, wait_before_next
from rescalefs.api.sessions import CHUNK, LARGE_CHUNK, SMALL_CHUNK, KeyAuth, Session, Sessions, no_auth
from rescalefs.api.settings import ApiSettings, host_of, is_loopback, is_safe_url
from rescalefs.api.sockets import Opened, none_opened
from rescalefs.api.way import Way, way_to
from rescalefs.clock import Clock
from rescalefs.errors import (
    ApiError,
    HeldBack,
    Misconfigured,
    Stopping,
    Throttled,
    TimedOut,
    UnexpectedAnswer,
    Unreachable,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

LARGEST_ANSWER = 8 << 20  # bytes, unpacked; of what is not a list
LARGEST_PAGE = 32 << 20  # bytes, unpacked; the 1,000 entries of a page take 1 to 2 MiB
LARGEST_WHOLE = (
    192 << 20
)  # bytes, unpacked; of what has all its entries in one answer: a job's 100,000 inputs
_REDIRECTS = 5
_LONGEST_COMPLAINT = 1 << 14  # bytes of an error answer that are looked at
_COMPLAINING = 10.0  # seconds that an error answer may take: it is read for its words alone
_LEFTOVER = 2.0  # seconds for a body that is read for nothing but to keep its connection
_BESIDE = 1 << 18  # bytes that may come beside a body: what frames its chunks, and what is read ahead
SILENCE = 10.0  # seconds without a byte in a body that is resumed where it broke
_SOON = 5.0  # seconds for the first byte of an answer to a GET, at the first attempt
_FORGETTING = 0.9  # of the slowest answer lately, what is left of it after each other answer
_QUICKLY = 0.1  # seconds for a chunk
_SLOWLY = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as often as it is sent."""

    method: str
    path: str  # below /api/v2/, with the slash at its end that the documentation demands
    params: Mapping[str, str | int] | None = None
    headers: Mapping[str, str] | None = None
    body: Any = None
    repeatable: bool = True  # may be sent again though the server may have acted on it
    accept: frozenset[int] = frozenset()  # statuses besides 2xx that the caller understands
    connect_timeout: float | None = (
        None  # seconds; None: the settings'. Also for sending each piece of the body
    )
    read_timeout: float | None = None  # seconds; None: the settings'

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@dataclass(slots=True)
class _Call:
    """One request with all its attempts."""

    began: float  # monotonic
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer, read whole."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class StreamedAnswer:
    """A successful answer whose bytes are read as they arrive."""

    def __init__(
        self,
        response: requests.Response,
        request: Request,
        clock: Clock,
        bounds: Bounds,
        seconds: float,
        broken: Callable[[], None] = lambda: None,
    ) -> None:
        """Each chunk may take ``seconds``; they are set anew in ``bounds`` before it is read.

        ``broken`` is called when nothing more comes.
        """
        self._broken = broken
        self._response = response
        self._request = request
        self._clock = clock
        self._bounds = bounds
        self._seconds = seconds
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    def __iter__(self) -> Iterator[bytes]:
        """Chunks of at most `LARGE_CHUNK` bytes. Raises `Unreachable` or `TimedOut` where it breaks, and
        `UnexpectedAnswer` where the answer makes no sense."""
        chunks = self._in_chunks() if self._response.raw.chunked else self._growing()
        try:
            while True:
                with understanding(str(self._request)):
                    chunk = next(chunks, None)
                if chunk is None:
                    return
                yield chunk
        except AttemptFailed as failed:
            if isinstance(failed.failure.error, TimedOut):
                self._broken()
            raise failed.failure.error from failed

    def _in_chunks(self) -> Iterator[bytes]:
        """Yield the body as the server cut it: each of its chunks, or `CHUNK` bytes of one that is larger."""
        arriving = self._response.iter_content(CHUNK)
        while True:
            self._allow(CHUNK)
            chunk = next(arriving, None)
            if chunk is None:
                return
            yield chunk

    def _growing(self) -> Iterator[bytes]:
        """Large chunks while they come quickly, for fewer turns of Python's lock; else small ones, which show
        progress on a slow line, and lose little if one does not come in time."""
        size = SMALL_CHUNK
        while True:
            self._allow(size)
            asked = self._clock.monotonic()
            chunk = self._response.raw.read(size, decode_content=True)
            if not chunk:
                return
            took = self._clock.monotonic() - asked
            if took < _QUICKLY:
                size = CHUNK if size == SMALL_CHUNK else LARGE_CHUNK
            else:
                size = CHUNK if took < _SLOWLY else SMALL_CHUNK
            yield chunk

    def _allow(self, size: int) -> None:
        self._bounds.set(self._seconds, size + _BESIDE)


class Transport:
    """Sends requests below ``<base url>/api/v2/``. Thread-safe; every call ends within the set limits."""

    def __init__(self, settings: ApiSettings, clock: Clock, opened: Opened = none_opened) -> None:
        self._settings = settings
        self._clock = clock
        self._base = settings.base_url.rstrip("/") + "/api/v2/"
        self._limits = Limits(settings.unmetered)
        self._sessions = Sessions(clock, opened)
        self._stopping = threading.Event()
        self._slowest = 0.0  # s: the longest wait for an answer lately; a hint, so unguarded
        self._down = False  # the last word from the network was that there is no server; a hint, so unguarded

    def __repr__(self) -> str:
        return f"Transport({self._base})"

    def request(self, request: Request, read: Callable[[Answer], T], most: int = LARGEST_ANSWER) -> T:
        """Send it, read the answer of at most ``most`` bytes, and give what ``read`` makes of it.

        Retries within the settings' patience. Raises the tree of `ApiError`, whatever ``read`` raises.
        """
        call = _Call(self._clock.monotonic())

        def once() -> T:
            with self._opened(request, call) as (response, bounds):
                return self._read(response, request, bounds, most, read)

        return self._persistently(request, once)

    @contextmanager
    def stream(self, request: Request, read: Callable[[StreamedAnswer], T]) -> Iterator[T]:
        """Send it and give what ``read`` makes of an answer whose bytes are still to come. The head is waited
        for and retried as in `request`; what breaks after that is raised to the reader of the bytes."""
        call = _Call(self._clock.monotonic())
        with ExitStack() as opened:

            def once() -> T:
                with ExitStack() as attempt:
                    response, bounds = attempt.enter_context(self._opened(request, call))
                    bounds.limit_silence(min(SILENCE, self._settings.read_timeout))
                    with understanding(str(request)):
                        body = read(self._streamed(response, request, bounds))
                    opened.push(attempt.pop_all())
                    return body

            yield self._persistently(request, once)

    def upload(
        self,
        path: str,
        name: str,
        content: Content,
        size: int,
        fields: Mapping[str, str],
        progress: Callable[[int], None],
        read: Callable[[Answer], T],
    ) -> T:
        """POST ``content`` as the form's part `file`, in constant memory. Sent once (docs/decisions/0005).

        What reading ``content`` or ``progress`` raises is raised as it is: it says nothing about the server.
        """
        form = FileForm(fields, name, content, size, progress, self._clock)
        headers = {"Content-Type": form.content_type}
        request = Request(
            "POST",
            path,
            headers=headers,
            body=form,
            repeatable=False,
            # On a slow line, a piece may take longer to leave than a connection may take to be made.
            connect_timeout=max(self._settings.connect_timeout, self._settings.read_timeout),
            read_timeout=self._settings.patience_after_upload(size),
        )
        try:
            with self._opened(request, _Call(self._clock.monotonic())) as (response, bounds):
                if not form.is_whole:
                    raise _unexpected(f"{request}: the server took the file before all of it was sent")
                return self._read(response, request, bounds, LARGEST_ANSWER, read)
        except AttemptFailed as error:
            if form.failure is not None:
                raise form.failure from None
            raise error.failure.error from error

    def connect(self) -> None:
        """Open a connection to the server for a request to come. Where that fails, the request will tell."""
        timeout = self._settings.connect_timeout
        with suppress(AttemptFailed, Misconfigured), understanding(f"GET {self._base}"):
            self._sessions.connect(self._base, timeout)

    def take_key(self, api_key: str) -> None:
        """Send another key from now on."""
        self._settings = dataclasses.replace(self._settings, api_key=api_key)

    def close(self) -> None:
        """End every wait and every transfer; what is asked for later raises `Stopping`."""
        self._stopping.set()
        self._sessions.close()

    @property
    def _longest(self) -> float:
        """Seconds for one call with all its attempts; the last one may begin when patience ends."""
        return self._settings.patience + self._settings.read_timeout

    def _read(
        self,
        response: requests.Response,
        request: Request,
        bounds: Bounds,
        most: int,
        read: Callable[[Answer], T],
    ) -> T:
        """What ``read`` makes of an answer that is in time as a whole, not each of its bytes alone."""
        with understanding(str(request)):
            bounds.tighten(bounds.seconds(), most + _BESIDE)
            content = self._whole(response, request, bounds, most)
            return read(Answer(response.status_code, response.headers, content))

    def _whole(self, response: requests.Response, request: Request, bounds: Bounds, most: int) -> bytes:
        pieces, size = [], 0
        # read1: what has come, without waiting for more; what iter_content gives only once a chunk is full.
        # Of a compressed body no more is unpacked at a time either.
        while piece := response.raw.read1(CHUNK, decode_content=True):
            pieces.append(piece)
            size += len(piece)
            if size > most:
                raise _unexpected(f"{request}: the server's answer has more than {most} bytes")
            bounds.seconds()  # what is unpacked for ever reads nothing
        return b"".join(pieces)

    # -- retries

    def _persistently(self, request: Request, once: Callable[[], T]) -> T:
        began = self._clock.monotonic()
        waits = [0.0]

        def may_repeat(state: tenacity.RetryCallState) -> bool:
            error = state.outcome.exception() if state.outcome else None
            if not isinstance(error, AttemptFailed) or self._stopping.is_set():
                return False
            wait = wait_before_next(
                error.failure,
                failed=state.attempt_number,
                elapsed=self._clock.monotonic() - began,
                patience=self._patience(error.failure.error),
                repeatable=request.repeatable,
                jitter=random.random(),
            )
            waits.append(wait or 0.0)
            return wait is not None

        def tell(state: tenacity.RetryCallState) -> None:
            level = logging.DEBUG if state.attempt_number < 3 else logging.WARNING
            error = state.outcome.exception() if state.outcome else None
            log.log(
                level, "%s; asking again in %.1f s (attempt %d)", error, waits[-1], state.attempt_number + 1
            )

        def sleep(seconds: float) -> None:
            self._clock.wait(self._stopping, seconds)

        retrying = tenacity.Retrying(
            retry=may_repeat, wait=lambda _: waits[-1], sleep=sleep, before_sleep=tell
        )
        try:
            answer: T = retrying(once)
        except AttemptFailed as failed:
            if self._stopping.is_set():  # what was cut by us says nothing about the server
                raise Stopping(f"{request}: rescalefs is stopping") from failed
            self._heard(isinstance(failed.failure.error, Unreachable))
            raise failed.failure.error from failed
        self._heard(False)
        return answer

    def _patience(self, error: ApiError) -> float:
        """While the server is known to be gone, one attempt has to do: else each `ls` waits for minutes."""
        settings = self._settings
        if not isinstance(error, Unreachable):
            return settings.patience
        if self._down:
            return 0.0
        return settings.patience if settings.unreached is None else min(settings.unreached, settings.patience)

    def _heard(self, gone: bool) -> None:
        if self._down != gone and not self._stopping.is_set():
            self._down = gone
            log.warning("%s is %s", self._base, "not reached" if gone else "reached again")

    # -- one attempt; failures are raised as AttemptFailed

    @contextmanager
    def _opened(self, request: Request, call: _Call) -> Iterator[tuple[requests.Response, Bounds]]:
        """Wait for our turn, send, and check the answer's status. Its body has not been read.

        The head has to come in time for the ``call`` that this is an attempt of.
        """
        call.attempts += 1
        if self._stopping.is_set():
            raise self._ended(request)
        scope = scope_of(request.method, request.path)
        self._wait_for_turn(request, scope)
        # A kept connection may just have been closed by the server, and then nobody could tell whether
        # what must not be sent twice has arrived: so that goes out on a fresh one. So does what failed
        # before, because what ended one connection may have ended all.
        fresh = call.attempts > 1 or not request.repeatable
        with self._sessions.lent(fresh, kept=request.repeatable) as session:
            bounds = session.bounds
            bounds.set(call.began + self._longest - self._clock.monotonic(), LARGEST_HEAD)
            bounds.limit_silence(self._silence(request, call))
            bounds.early.clear()
            if isinstance(
                request.body, FileForm
            ):  # which may take hours; what follows its last piece may not
                patience = self._settings.patience_after_upload(len(request.body))
                request.body.sending = partial(bounds.set, patience, LARGEST_HEAD)
                request.body.is_answered = bounds.is_answered
            asked = self._clock.monotonic()
            with self._noticing_silence(), understanding(str(request)), bounds.kept_until_answered():
                response = self._send(session, request)
            if request.method == "GET":
                self._slowest = max(self._clock.monotonic() - asked, self._slowest * _FORGETTING)
            try:
                with understanding(str(request)):
                    self._check(response, request, scope, bounds)
                yield response, bounds
            finally:
                response.close()  # closes the connection, too, if the body was not read to its end

    def _silence(self, request: Request, call: _Call) -> float | None:
        """Seconds that the first byte of an answer may take; None: the settings' limit alone.

        A connection that has died in silence must not cost the whole limit, so what may be asked again at any
        time is asked again soon, by a fresh connection, and then with more patience: the server may be slow.
        How slow it was lately is remembered.
        """
        if request.method != "GET":
            return None
        expected = max(_SOON * 3.0 ** (call.attempts - 1), 2 * self._slowest)
        return min(expected, self._settings.read_timeout)

    @contextmanager
    def _noticing_silence(self) -> Iterator[None]:
        """Use no idle connection any more after one did not answer."""
        try:
            yield
        except AttemptFailed as failed:
            if isinstance(failed.failure.error, TimedOut):
                self._sessions.distrust()
            raise

    def _streamed(self, response: requests.Response, request: Request, bounds: Bounds) -> StreamedAnswer:
        return StreamedAnswer(
            response, request, self._clock, bounds, self._longest, broken=self._sessions.distrust
        )

    def _wait_for_turn(self, request: Request, scope: str) -> None:
        turn = Turn()
        try:
            self._wait_in_line(request, scope, turn)
        finally:
            self._limits.leave(turn)

    def _wait_in_line(self, request: Request, scope: str, turn: Turn) -> None:
        began, requesters = self._clock.monotonic(), requester.current()
        while (wait := self._limits.take(scope, now := self._clock.monotonic(), requesters, turn)) > 0:
            if now - began + wait > self._settings.patience:
                error = self._used_up(request, wait, self._limits.is_walk(requesters, now))
                raise AttemptFailed(Failure(error, passing=False, acted=False))
            if self._clock.wait(self._stopping, wait):
                raise self._ended(request)

    @staticmethod
    def _used_up(request: Request, wait: float, by_walk: bool) -> Throttled:
        if by_walk:
            return HeldBack(
                f"{request}: the program looks at too many files; what is left of this hour is kept for "
                f"others. Again in {wait:.0f} s",
                wait,
            )
        return Throttled(f"{request}: the requests of this hour are used up; again in {wait:.0f} s", wait)

    def _ended(self, request: Request) -> AttemptFailed:
        stopping = Stopping(f"{request}: rescalefs is stopping")
        return AttemptFailed(Failure(stopping, passing=False, acted=False))

    def _send(self, session: Session, request: Request) -> requests.Response:
        """Send, and follow redirects by hand: the key goes to our server only, and nothing to plain http."""
        url, params = self._base + request.path, request.params
        home = urlsplit(url)[:2]  # scheme, and host with port
        for _ in range(_REDIRECTS + 1):
            response = self._sent(session, request, url, params, urlsplit(url)[:2] == home)
            if not response.is_redirect or request.method != "GET":
                return response
            _let_go(response, session.bounds)
            url, params = self._redirected(url, response.headers["location"], request), None
        raise _unexpected(f"{request}: more than {_REDIRECTS} redirects")

    def _sent(
        self,
        session: Session,
        request: Request,
        url: str,
        params: Mapping[str, str | int] | None,
        is_ours: bool,
    ) -> requests.Response:
        """Send it to one address, by the way that this machine's settings name. ``is_ours``: with the key."""
        way = Way(url, None, self._settings.address_origin, is_ours)
        try:
            way = way_to(url, self._settings.address_origin, is_ours)
            return session.request(
                request.method,
                url,
                params=params,
                headers=request.headers,
                data=request.body,
                auth=KeyAuth(self._settings.api_key) if is_ours else no_auth,
                proxies={} if way.proxy is None else {"all": way.proxy.url},
                timeout=(
                    request.connect_timeout or self._settings.connect_timeout,
                    request.read_timeout or self._settings.read_timeout,
                ),
                allow_redirects=False,
                stream=True,
            )
        except Misconfigured as error:
            raise AttemptFailed(Failure(error, passing=False, acted=False)) from error
        except BROKEN as error:
            failure = failure_of(error, str(request), way, self._sessions.truster.origin)
            if isinstance(failure.error, Misconfigured):
                self._sessions.truster.forget()
            raise AttemptFailed(failure) from error

    def _redirected(self, url: str, location: str, request: Request) -> str:
        """Where a redirect leads, if one may go there: to https, or from this very machine to itself."""
        location = requests.utils.requote_uri(location)
        try:
            target = urljoin(url, location)
        except ValueError:
            target = location
        if is_safe_url(target) and (urlsplit(target).scheme == "https" or is_loopback(host_of(url))):
            return target
        where = without_signatures(self._without_key(location))[:100]
        raise _unexpected(f"{request}: the server redirects to {where!r}, which is not https")

    def _check(self, response: requests.Response, request: Request, scope: str, bounds: Bounds) -> None:
        """Raise what the status stands for."""
        status = response.status_code
        if 200 <= status < 300 or status in request.accept:
            return
        # By the server's own clock, because the machine's may be wrong by hours.
        then = date(response.headers.get("date")) or self._clock.now()
        wait = retry_after(response.headers.get("retry-after"), then)
        bounds.tighten(_COMPLAINING, _LONGEST_COMPLAINT + _BESIDE)
        text = _beginning(response, bounds).decode("utf-8", "replace")
        # Before anything is cut to length: half a key is a secret, too.
        kind = response.headers.get("content-type", "")
        said = or_none(lambda text: complaints(text, kind))(self._without_key(text)) or ()
        if status == 429:
            self._limits.close(scope, self._clock.monotonic() + (wait or 0.0))
        error = error_for(status, str(request), said, wait)
        passing, acted = status in RETRIED_STATUSES, status != 429
        raise AttemptFailed(Failure(error, passing, acted, wait))

    def _without_key(self, text: str) -> str:
        return text.replace(self._settings.api_key, "<key>") if self._settings.api_key else text


def _unexpected(message: str) -> AttemptFailed:
    return AttemptFailed(Failure(UnexpectedAnswer(message), passing=False, acted=True))


def _let_go(response: requests.Response, bounds: Bounds) -> None:
    """Done with an answer whose body nobody reads. A short one is read, so that its connection lives on."""
    size = whole_number(response.headers.get("content-length"))
    if size is not None and size <= _LONGEST_COMPLAINT:
        with bounds.tightened(_LEFTOVER, _LONGEST_COMPLAINT + _BESIDE):
            _beginning(response, bounds)
    response.close()


def _beginning(response: requests.Response, bounds: Bounds) -> bytes:
    """What comes of a body, `_LONGEST_COMPLAINT` bytes of it at most, within ``bounds``. Never raises."""
    found = b""
    with suppress(AttemptFailed), understanding("the body of an answer"):
        while len(found) < _LONGEST_COMPLAINT:
            piece = response.raw.read1(_LONGEST_COMPLAINT - len(found), decode_content=True)
            if not piece:
                break
            found += piece
            bounds.seconds()
    return found
