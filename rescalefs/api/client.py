"""One method for each thing we ask of Rescale; pages already joined, answers already in our own nouns."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from rescalefs import model
from rescalefs.api import wire
from rescalefs.api.bodies import NOT_SATISFIABLE, RangeBody, TailBody
from rescalefs.api.forms import Content
from rescalefs.api.settings import ApiSettings
from rescalefs.api.sockets import Opened, none_opened
from rescalefs.api.transport import Request, Transport
from rescalefs.clock import Clock
from rescalefs.errors import ApiError, NotFound, UnexpectedAnswer, Unreachable
from rescalefs.model import FileType, LiveFile, RemoteFile

W = TypeVar("W")
V = TypeVar("V")

_PAGE_SIZE = 1000  # what we ask for; the length that comes is what counts
_MOST_PAGES = 10_000  # of one list; who tells of more is mistaken
_PAGE_OF = re.compile(r"[?&]page=(\d{1,9})(?:&|$)")


class RescaleClient:
    """The account behind one API key. Thread-safe. Every method raises the tree of `ApiError`.

    A job is created at most once per call: when the answer is lost, `create_job` raises, and it may exist.
    """

    def __init__(self, settings: ApiSettings, clock: Clock, opened: Opened = none_opened) -> None:
        """``opened`` is asked for a connection to a host and port before one is opened."""
        self._transport = Transport(settings, clock, opened)
        self._pages_at_once = settings.pages_at_once
        self._lock = threading.Lock()  # guards _pool and _closed
        self._pool: ThreadPoolExecutor | None = None  # of threads that fetch pages; made when there are some
        self._closed = False
        self.base_url = settings.base_url

    def close(self) -> None:
        """End what is under way at once; it raises `Unreachable`, and so does what is asked for later."""
        self._transport.close()
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(cancel_futures=True)

    def connect(self) -> None:
        """Open a connection for a request to come, while there is something else to do. Never raises."""
        self._transport.connect()

    # -- the account

    def user(self) -> model.User:
        """Whose key it is; raises `Unauthenticated` if it is nobody's."""
        return wire.user(self._get("users/me/", wire.User))

    def server_time(self) -> datetime | None:
        """The server's clock, to the second, as its `Date` header tells; None if it doesn't."""
        date = self._transport.request(Request("GET", "users/me/")).headers.get("date")
        try:
            time = parsedate_to_datetime(date or "")
        except ValueError:
            return None
        return time.replace(tzinfo=time.tzinfo or timezone.utc)  # `-0000` is UTC of an unknown place

    def projects(self) -> tuple[model.Project, ...]:
        return tuple(map(wire.project, self._all("users/me/projects/", wire.Project)))

    # -- the catalogue

    def core_types(self) -> tuple[model.CoreType, ...]:
        return tuple(map(wire.core_type, self._all("coretypes/", wire.CoreType)))

    def prices(self) -> tuple[model.ComputePrice, ...]:
        """Prices of all plans and operating systems, the inactive ones included."""
        return wire.prices(self._get("billing/computeprices/", list[wire.ComputePrice]))

    def analyses(self) -> tuple[model.Analysis, ...]:
        return tuple(map(wire.analysis, self._all("analyses/", wire.Analysis)))

    # -- jobs

    def jobs(self, state: str | None = None) -> tuple[model.Job, ...]:
        """All jobs, newest first; with ``state`` those the server counts as such, e.g. `completed`."""
        params = {"state": state} if state else {}
        found = self._each("jobs/", wire.JobSummary, wire.job, params)
        return tuple(
            sorted(found, key=lambda job: job.inserted.timestamp() if job.inserted else 0.0, reverse=True)
        )

    def newest_jobs(self, count: int) -> tuple[model.Job, ...]:
        """The newest jobs, in one request: at most ``count``, fewer where the server's pages are shorter."""
        # v2 lists the newest first (guess); v3 takes `ordering`, and who doesn't know it ignores it.
        params: dict[str, str | int] = {"page": 1, "page_size": count, "ordering": "-dateInserted"}
        page = self._get("jobs/", wire.Page[wire.JobSummary], params)
        return tuple(map(wire.job, page.results[:count]))

    def job(self, job_id: str) -> model.JobDetail:
        request = Request("GET", _path("jobs", job_id))
        return wire.job_detail(self._transport.request(request).content, str(request))

    def create_job(self, definition: Mapping[str, Any]) -> model.Job:
        """Save a job; it does not run yet. Never sent twice. Raises `InvalidRequest` with what is wrong."""
        # Of the answer, no more is looked at than is needed: a job whose answer we reject is in doubt.
        return wire.job(self._send("POST", "jobs/", wire.JobSummary, definition))

    def update_job(self, job_id: str, changes: Mapping[str, Any]) -> model.JobDetail:
        """Change a saved job. On one that has run, the server answers 200 and does nothing."""
        request = Request("PATCH", _path("jobs", job_id), body=_json(changes), headers=_IS_JSON)
        return wire.job_detail(self._transport.request(request).content, str(request))

    def submit_job(self, job_id: str) -> None:
        """Start a saved job. On one that has left its saved state, the server answers 200 and does nothing.

        So it is safe to repeat.
        """
        self._transport.request(Request("POST", _path("jobs", job_id, "submit")))

    def stop_job(self, job_id: str) -> None:
        """Ask for the job to be stopped; it takes a while until it has."""
        self._transport.request(Request("POST", _path("jobs", job_id, "stop")))

    def delete_job(self, job_id: str, with_inputs: bool = False) -> None:
        """Delete a job that is not running; ``with_inputs``: its input files as well.

        `NotFound` may also mean that it is gone by now: an answer was lost, and this was asked again.
        """
        params = {"deleteInputFiles": "true"} if with_inputs else None
        self._transport.request(Request("DELETE", _path("jobs", job_id), params=params))

    def statuses(self, job_id: str) -> tuple[model.JobStatus, ...]:
        """The job's history, oldest first."""
        return self._history(_path("jobs", job_id, "statuses"))

    def cluster_statuses(self, job_id: str) -> tuple[model.JobStatus, ...]:
        """The cluster's history, oldest first."""
        return self._history(_path("jobs", job_id, "cluster_statuses"))

    def output_files(self, job_id: str, search: str | None = None) -> tuple[RemoteFile, ...]:
        """The outputs of all runs, those that are deleted left out; ``search``: a part of their names."""
        params = {"search": search} if search else {}
        return wire.files(self._all(_path("jobs", job_id, "files"), wire.File, params))

    # -- runs

    def runs(self, job_id: str) -> tuple[model.Run, ...]:
        return tuple(map(wire.run, self._all(_path("jobs", job_id, "runs"), wire.Run)))

    def run_files(self, job_id: str, run_id: str) -> tuple[RemoteFile, ...]:
        """The outputs of one run, once it has completed."""
        return wire.files(self._all(_path("jobs", job_id, "runs", run_id, "files"), wire.File))

    def directory_contents(self, job_id: str, run_id: str) -> tuple[str, ...]:
        """The paths in a run's working directory; only while it runs, else `ApiError`."""
        path = _path("jobs", job_id, "runs", run_id, "directory-contents")
        return tuple(entry.path for entry in self._get(path, list[wire.DirectoryEntry]))

    def tail(self, job_id: str, run_id: str, path: str, lines: int) -> tuple[str, ...]:
        """The last lines of a file in a run's working directory, without line ends; only while it runs."""
        where = _tail_path(LiveFile(job_id, run_id, path))
        return tuple(self._get(where, wire.Lines, {"lines": lines}).lines)

    @contextmanager
    def open_tail(self, file: LiveFile, start: int) -> Iterator[TailBody]:
        """The bytes of a live file from ``start`` on, or from 0 where the server ignores Range on `tail/`."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        request = Request("GET", _tail_path(file), headers=headers, accept=frozenset({NOT_SATISFIABLE}))
        with self._transport.stream(request) as answer:
            yield TailBody(answer, str(request), start)

    # -- files

    def file(self, file_id: str) -> RemoteFile:
        return wire.file(self._get(_path("files", file_id), wire.File))

    def lines(self, file_id: str) -> tuple[str, ...]:
        """The lines of a text file, line ends kept."""
        return tuple(self._get(_path("files", file_id, "lines"), wire.Lines).lines)

    def delete_file(self, file_id: str) -> None:
        self._transport.request(Request("DELETE", _path("files", file_id)))

    def upload(
        self,
        name: str,
        content: Content,
        size: int,
        type_id: int = FileType.INPUT,
        progress: Callable[[int], None] | None = None,
    ) -> RemoteFile:
        """Send ``size`` bytes of ``content`` in constant memory; ``progress`` hears how many went out so far.

        Sent once: who tries again opens the content anew, and may leave a file without a job behind.
        """
        # The form field is a guess; the documentation of 2016 passes the type in the part's own headers.
        fields = {"type_id": str(int(type_id))}
        answer = self._transport.upload("files/contents/", name, content, size, fields, progress or _nobody)
        return wire.file(wire.decode(answer.content, wire.File, "POST files/contents/"))

    @contextmanager
    def open_range(self, file: RemoteFile, start: int, stop: int) -> Iterator[RangeBody]:
        """Ask for ``[start, stop)`` of a file; leaving early abandons the rest.

        Only what has not begun is retried: the reader resumes at the byte where a transfer broke.
        """
        request = Request(
            "GET",
            _path("files", file.id, "contents"),
            headers={"Range": f"bytes={start}-{stop - 1}"},
            accept=frozenset({NOT_SATISFIABLE}),
        )
        with self._transport.stream(request) as answer:
            yield RangeBody(answer, str(request), start, stop)

    # -- asking

    def _get(self, path: str, kind: type[W], params: Mapping[str, str | int] | None = None) -> W:
        request = Request("GET", path, params=params)
        return wire.decode(self._transport.request(request).content, kind, str(request))

    def _send(self, method: str, path: str, kind: type[W], body: Mapping[str, Any]) -> W:
        request = Request(method, path, body=_json(body), headers=_IS_JSON, repeatable=False)
        return wire.decode(self._transport.request(request).content, kind, str(request))

    def _history(self, path: str) -> tuple[model.JobStatus, ...]:
        return wire.statuses(self._all(path, wire.StatusEntry), f"GET {path}")

    def _all(self, path: str, kind: type[W], params: Mapping[str, str | int] | None = None) -> list[W]:
        """All items of a list; see `_each`."""
        return self._each(path, kind, _as_it_is, params)

    def _each(
        self,
        path: str,
        kind: type[W],
        made: Callable[[W], V],
        params: Mapping[str, str | int] | None = None,
    ) -> list[V]:
        """What is ``made`` of each item of a list, once. One that changed while its pages came in is asked
        for once more. Made page by page: a long list takes more memory as it comes than as it is kept.
        """
        for _ in range(2):
            count, items = self._joined(path, kind, made, params or {})
            unique = list({_identity(item): item for item in items}.values())
            if count is None or len(unique) == count:
                break
        return unique

    def _joined(
        self, path: str, kind: type[W], made: Callable[[W], V], params: Mapping[str, str | int]
    ) -> tuple[int | None, list[V]]:
        """The pages of a list, one after the other, and the number of items the server says there are."""

        def page(number: int) -> wire.Page[V]:
            asked = {**params, "page": number, "page_size": _PAGE_SIZE}
            try:
                found = self._get(path, wire.Page[kind], asked)  # type: ignore[valid-type]
            except NotFound:
                if number == 1:
                    raise
                return wire.Page(results=[])  # the list has become shorter
            return wire.Page([made(each) for each in found.results], found.count, found.next)

        first = page(1)
        items = list(first.results)
        if first.count is None:
            following, at = first, 1
            while following.next:
                number = _page_number(following.next)
                if number is None or number <= at:
                    raise UnexpectedAnswer(f"GET {path}: what page {at} names as the next is none")
                following, at = page(number), number
                items += following.results
            return None, items
        last = -(-first.count // len(first.results)) if first.results else 1
        if last > _MOST_PAGES:
            raise UnexpectedAnswer(f"GET {path}: a list of {last} pages")
        for each in self._in_parallel(page, range(2, last + 1)):
            items += each.results
        return first.count, items

    def _in_parallel(self, act: Callable[[int], W], numbers: range) -> Iterator[W]:
        """The results in order. The first error ends it, and what has not begun is left."""
        if len(numbers) < 2:
            yield from map(act, numbers)
            return
        futures = self._begin(act, numbers)
        try:
            for future in futures:
                yield future.result()
        except CancelledError:
            raise _stopping() from None
        finally:
            for future in futures:
                future.cancel()

    def _begin(self, act: Callable[[int], W], numbers: range) -> list[Future[W]]:
        with self._lock:  # also while they are queued, which waits for nothing: a closed pool takes none
            if self._closed:
                raise _stopping()
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._pages_at_once, "rescalefs-pages")
            return [self._pool.submit(act, number) for number in numbers]


def _stopping() -> Unreachable:
    return Unreachable("rescalefs is stopping")


def _as_it_is(item: W) -> W:
    return item


def _identity(item: object) -> object:
    """What makes two items of a list the same one: what the service calls them, else all they say."""
    return getattr(item, "id", None) or getattr(item, "code", None) or item


def _page_number(url: str) -> int | None:
    """The `page` of a list's `next`; only the number is taken, so no answer can send us to another server."""
    found = _PAGE_OF.search(url)
    return int(found[1]) if found else None


def _path(*parts: str) -> str:
    """Parts to a path with the slash at its end; names from outside can't add parts, or take some away."""
    for part in parts:
        if part.strip(".") == "":
            raise NotFound(f"{part!r} is no id")
    return "/".join(quote(part, safe="") for part in parts) + "/"


def _tail_path(file: LiveFile) -> str:
    return _path("jobs", file.job_id, "runs", file.run_id, "tail", *file.path.strip("/").split("/"))


_IS_JSON = {"Content-Type": "application/json"}


def _json(document: Mapping[str, Any]) -> bytes:
    try:
        return msgspec.json.encode(document)
    except (TypeError, msgspec.MsgspecError) as error:
        raise ApiError(f"this can't be sent as JSON: {error}") from error


def _nobody(_: int) -> None:
    """Hears the progress that nobody asked for."""
