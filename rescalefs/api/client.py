"""One method for each thing we ask of Rescale; pages already joined, answers already in our own nouns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar
from urllib.parse import quote

import msgspec

from rescalefs import model
from rescalefs.api import headers, wire
from rescalefs.api.bodies import NOT_SATISFIABLE, RangeBody, TailBody
from rescalefs.api.forms import Content
from rescalefs.api.pages import Lists, Params
from rescalefs.api.settings import ApiSettings
from rescalefs.api.sockets import Opened, none_opened
from rescalefs.api.transport import LARGEST_ANSWER, LARGEST_PAGE, LARGEST_WHOLE, Answer, Request, Transport
from rescalefs.clock import Clock
from rescalefs.errors import ApiError, Forbidden, NotFound, UnexpectedAnswer
from rescalefs.forks import generation
from rescalefs.model import FileType, LiveFile, RemoteFile

W = TypeVar("W")
V = TypeVar("V")


class _Connected:
    """What one process needs to send requests."""

    def __init__(self, settings: ApiSettings, clock: Clock, opened: Opened) -> None:
        self.transport = Transport(settings, clock, opened)
        self.lists = Lists(self.transport, settings.pages_at_once, settings.longest_list)

    def close(self) -> None:
        self.transport.close()
        self.lists.close()


class RescaleClient:
    """The account behind one API key. Every method raises the tree of `ApiError`.

    Thread-safe, also across a fork: a child makes connections of its own, and leaves its parent's alone.

    A job is created at most once per call: when the answer is lost, `create_job` raises, and it may exist.
    """

    def __init__(self, settings: ApiSettings, clock: Clock, opened: Opened = none_opened) -> None:
        """``opened`` is asked for a connection to a host and port before one is opened."""
        self._settings = settings
        self._clock = clock
        self._is_closed = False
        # By process. Those of the parent are kept, so that nothing of theirs is finalised in a child.
        self._connected = {generation(): _Connected(settings, clock, opened)}
        self.base_url = settings.base_url

    @property
    def _here(self) -> _Connected:
        """This very process' connections: on its parent's, a child would read its parent's answers."""
        here = self._connected.get(generation())
        if here is None:
            here = self._connected.setdefault(
                generation(), _Connected(self._settings, self._clock, none_opened)
            )
            if self._is_closed:
                here.close()
        return here

    @property
    def _transport(self) -> Transport:
        return self._here.transport

    @property
    def _lists(self) -> Lists:
        return self._here.lists

    def close(self) -> None:
        """End what is under way at once; it raises `Stopping`, and so does what is asked for later."""
        self._is_closed = True
        self._here.close()

    def take_key(self, api_key: str) -> None:
        """Send another key with all requests from now on: the account's old one was replaced."""
        self._settings = dataclasses.replace(self._settings, api_key=api_key)  # for children to come
        self._transport.take_key(api_key)

    def connect(self) -> None:
        """Open a connection for a request to come, while there is something else to do. Never raises."""
        self._transport.connect()

    # -- the account

    def user(self) -> model.User:
        """Whose key it is; raises `Unauthenticated` if it is nobody's."""
        return self._ask(Request("GET", "users/me/"), wire.User, wire.user)

    def server_time(self) -> datetime | None:
        """The server's clock, to the second, as its `Date` header tells; None if it doesn't."""
        request = Request("GET", "users/me/")
        return self._transport.request(request, lambda answer: headers.date(answer.headers.get("date")))

    def projects(self) -> tuple[model.Project, ...]:
        return self._all("users/me/projects/", wire.Project, wire.project, rather_none=True)

    # -- the catalogue

    def core_types(self) -> tuple[model.CoreType, ...]:
        return self._all("coretypes/", wire.CoreType, wire.core_type, rather_none=True)

    def prices(self) -> tuple[model.ComputePrice, ...]:
        """Prices of all plans and operating systems, the inactive ones included.

        Empty where an administrator hides them from the members of a workspace (Rescale's documentation). The
        service then answers with an empty list or 403 (guess).
        """
        path = "billing/computeprices/"
        try:
            listed = self._get(path, list[msgspec.Raw], most=LARGEST_PAGE)
        except Forbidden:
            return ()
        return wire.entries(listed, wire.ComputePrice, wire.price, f"GET {path}", rather_none=True)

    def analyses(self) -> tuple[model.Analysis, ...]:
        return self._all("analyses/", wire.Analysis, wire.analysis, rather_none=True)

    # -- jobs

    def jobs(self, state: str | None = None) -> tuple[model.Job, ...]:
        """All jobs, newest first; with ``state`` those the server counts as such, e.g. `completed`."""
        params = {"state": state} if state else {}
        found = self._all("jobs/", wire.JobSummary, wire.job, params)
        return tuple(
            sorted(found, key=lambda job: job.inserted.timestamp() if job.inserted else 0.0, reverse=True)
        )

    def newest_jobs(self, count: int) -> tuple[model.Job, ...]:
        """The newest jobs, in one request: at most ``count``, fewer where the server's pages are shorter."""
        # v2 lists the newest first (guess); v3 takes `ordering`, and who doesn't know it ignores it.
        params: dict[str, str | int] = {"page": 1, "page_size": count, "ordering": "-dateInserted"}
        page = self._get("jobs/", wire.Page, params, LARGEST_PAGE)
        return wire.entries(page.results[:count], wire.JobSummary, wire.job, "GET jobs/")

    def job(self, job_id: str) -> model.JobDetail:
        return self._detail(Request("GET", _path("jobs", job_id)), job_id)

    def create_job(self, definition: Mapping[str, Any]) -> model.Job:
        """Save a job; it does not run yet. Never sent twice. Raises `InvalidRequest` with what is wrong."""
        # Of the answer, no more is looked at than is needed: a job whose answer we reject is in doubt.
        request = Request("POST", "jobs/", body=_json(definition), headers=_IS_JSON, repeatable=False)
        return self._transport.request(
            request,
            lambda answer: wire.created_job(answer.content, str(request)),
            LARGEST_WHOLE,
        )

    def update_job(self, job_id: str, changes: Mapping[str, Any]) -> model.JobDetail:
        """Change a saved job. On one that has run, the server answers 200 and does nothing."""
        return self._detail(
            Request("PATCH", _path("jobs", job_id), body=_json(changes), headers=_IS_JSON), job_id
        )

    def submit_job(self, job_id: str) -> None:
        """Start a saved job. On one that has left its saved state, the server answers 200 and does nothing.

        So it is safe to repeat. That is announced to become 400 (a notebook of Rescale's, 2023): then,
        after `InvalidRequest`, a status of the job means that it was submitted, perhaps by this very call.
        """
        self._do(Request("POST", _path("jobs", job_id, "submit")))

    def stop_job(self, job_id: str) -> None:
        """Ask for the job to be stopped; it takes a while until it has."""
        self._do(Request("POST", _path("jobs", job_id, "stop")))

    def delete_job(self, job_id: str, with_inputs: bool = False) -> None:
        """Delete a job that is not running; ``with_inputs``: its input files as well.

        `NotFound` may also mean that it is gone by now: an answer was lost, and this was asked again.
        """
        params = {"deleteInputFiles": "true"} if with_inputs else None
        self._do(Request("DELETE", _path("jobs", job_id), params=params))

    def statuses(self, job_id: str) -> tuple[model.JobStatus, ...]:
        """The job's history, oldest first."""
        return self._history(_path("jobs", job_id, "statuses"))

    def cluster_statuses(self, job_id: str) -> tuple[model.JobStatus, ...]:
        """The cluster's history, oldest first."""
        return self._history(_path("jobs", job_id, "cluster_statuses"))

    def output_files(self, job_id: str, search: str | None = None) -> tuple[RemoteFile, ...]:
        """The outputs of all runs, those that are deleted left out; ``search``: a part of their names."""
        params = {"search": search} if search else {}
        return self._all(_path("jobs", job_id, "files"), wire.File, wire.listed_file, params)

    def machines(self, job_id: str) -> tuple[model.Machine, ...]:
        """The machines of the job's cluster while it runs (a notebook and scripts of Rescale's employees)."""
        return self._all(_path("jobs", job_id, "instances"), wire.Instance, wire.machine)

    # -- tags

    def tags(self, job_id: str) -> tuple[str, ...]:
        """The words on a job, in the order of the server (a bare list: scripts of its employees)."""
        path = _path("jobs", job_id, "tags")
        return wire.entries(self._get(path, list[msgspec.Raw]), wire.Tag, wire.tag, f"GET {path}")

    def add_tag(self, job_id: str, name: str) -> None:
        """Put a word on a job; safe to repeat. Those in a new job are ignored (Interlink)."""
        self._do(Request("POST", _path("jobs", job_id, "tags"), body=_json({"name": name}), headers=_IS_JSON))

    def remove_tag(self, job_id: str, name: str) -> None:
        """Take a word off a job. `NotFound` may also mean that it is off: an answer was lost."""
        self._do(
            Request("DELETE", _path("jobs", job_id, "tags"), body=_json({"name": name}), headers=_IS_JSON)
        )

    # -- runs

    def runs(self, job_id: str) -> tuple[model.Run, ...]:
        return self._all(_path("jobs", job_id, "runs"), wire.Run, wire.run)

    def run_files(self, job_id: str, run_id: str) -> tuple[RemoteFile, ...]:
        """The outputs of one run, once it has completed."""
        return self._all(_path("jobs", job_id, "runs", run_id, "files"), wire.File, wire.listed_file)

    def directory_contents(self, job_id: str, run_id: str) -> tuple[str, ...]:
        """The paths in a run's working directory; only while it runs, else `ApiError`."""
        path = _path("jobs", job_id, "runs", run_id, "directory-contents")
        listed = self._get(path, list[msgspec.Raw], most=LARGEST_WHOLE)
        return wire.entries(listed, wire.DirectoryEntry, lambda entry: entry.path, f"GET {path}")

    def tail(self, job_id: str, run_id: str, path: str, lines: int) -> tuple[str, ...]:
        """The last lines of a file in a run's working directory, without line ends; only while it runs."""
        where = _tail_path(LiveFile(job_id, run_id, path))
        return tuple(self._get(where, wire.Lines, {"lines": lines}, LARGEST_PAGE).lines)

    @contextmanager
    def open_tail(self, file: LiveFile, start: int) -> Iterator[TailBody]:
        """The bytes of a live file from ``start`` on, or from 0 where the server ignores Range on `tail/`."""
        wanted = {"Range": f"bytes={start}-"} if start else {}
        request = Request("GET", _tail_path(file), headers=wanted, accept=frozenset({NOT_SATISFIABLE}))
        with self._transport.stream(request, lambda answer: TailBody(answer, str(request), start)) as body:
            yield body

    # -- files

    def file(self, file_id: str) -> RemoteFile:
        return self._ask(Request("GET", _path("files", file_id)), wire.File, wire.file)

    def lines(self, file_id: str) -> tuple[str, ...]:
        """The lines of a text file, line ends kept."""
        return tuple(self._get(_path("files", file_id, "lines"), wire.Lines, most=LARGEST_PAGE).lines)

    def delete_file(self, file_id: str) -> None:
        self._do(Request("DELETE", _path("files", file_id)))

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
        path = "files/contents/"
        return self._transport.upload(
            path,
            name,
            content,
            size,
            fields,
            progress or _nobody,
            lambda answer: wire.file(wire.decode(answer.content, wire.File, f"POST {path}")),
        )

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
        with self._transport.stream(
            request, lambda answer: RangeBody(answer, str(request), start, stop)
        ) as body:
            yield body

    def end_of(self, file: RemoteFile, most: int) -> bytes:
        """The last bytes of a file, at most so many, by one Range request; not verified."""
        size = file.size if file.size is not None else self.file(file.id).size
        if not size:
            return b""
        with self.open_range(file, max(0, size - most), size) as body:
            return b"".join(body)

    # -- asking

    def _do(self, request: Request) -> None:
        """What is answered with nothing of interest."""
        self._transport.request(request, lambda _: None)

    def _ask(self, request: Request, kind: type[W], made: Callable[[W], V], most: int = LARGEST_ANSWER) -> V:
        """What is ``made`` of the answer. All of it within the transport: what it raises is an `ApiError`."""
        return self._transport.request(
            request, lambda answer: made(wire.decode(answer.content, kind, str(request))), most
        )

    def _get(
        self,
        path: str,
        kind: type[W],
        params: Params | None = None,
        most: int = LARGEST_ANSWER,
    ) -> W:
        return self._ask(Request("GET", path, params=params), kind, _as_it_is, most)

    def _detail(self, request: Request, job_id: str) -> model.JobDetail:
        def read(answer: Answer) -> model.JobDetail:
            found = wire.job_detail(answer.content, str(request))
            if found.job.id != job_id:
                raise UnexpectedAnswer(f"{request}: the server answers with another job, {found.job.id}")
            return found

        return self._transport.request(request, read, LARGEST_WHOLE)

    def _all(
        self,
        path: str,
        kind: type[W],
        made: Callable[[W], V | None],
        params: Params | None = None,
        rather_none: bool = False,
    ) -> tuple[V, ...]:
        """See `Lists.all`."""
        return self._lists.all(path, kind, made, params or {}, rather_none)

    def _history(self, path: str) -> tuple[model.JobStatus, ...]:
        return wire.history(self._all(path, wire.StatusEntry, wire.status))


def _as_it_is(item: W) -> W:
    return item


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
