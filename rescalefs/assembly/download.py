"""All that `rescalefs download` needs: outputs of one job, without a mount."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rescalefs.ahead import OpenedAhead
from rescalefs.assembly.memory import keep_few_arenas
from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.config import Settings, resolve_account
from rescalefs.errors import NotFound, Unreachable
from rescalefs.model import RemoteFile, is_terminal

if TYPE_CHECKING:  # what takes its time to import is imported while connections open and the server thinks
    from rescalefs.mirror import Choice, Report, Sink, Stream, Transfers

MOST_CONNECTIONS = 32  # what `auto` means here: nobody waits for one file, so more are always of use
# Nobody knows how many contents an hour the service gives out. Many small files would run into a guess of
# ours long before they run into the service's own limit, which is then honoured.
UNMETERED = frozenset({"file-access"})
_BEFOREHAND = 8  # connections, besides that of the list, that are opened at once: enough to fill most lines
_LOOK = 1.0  # seconds between two looks whether the list can still come
_LISTED_LATE = 60.0  # seconds after an end in which outputs may not be listed: a script of Rescale's waits 45
_LATE_LOOK = 2.0  # seconds between two questions for them
_WEEK = 7 * 86_400.0  # seconds for which a part stays after its last writer
_OPENING = 2.0  # seconds; who isn't reached by then is asked as usual, and with patience


def connections_for(settings: Settings) -> int:
    """How many requests at once."""
    return MOST_CONNECTIONS if settings.connections == "auto" else settings.connections


class Download:
    """Made, then `choose`, then `to_folder` or `to_sink`, then `close`.

    Connections are opened before anything else, and the files asked for as soon as there is a client.
    """

    def __init__(self, settings: Settings, job_id: str, heard: Callable[[int], None]) -> None:
        keep_few_arenas()
        self._settings = settings
        self._job_id = job_id
        self._heard = heard
        self._clock = SystemClock()
        account = resolve_account(settings.profile, settings.profile_was_chosen)
        self._background = Background()
        self._undo = ExitStack()
        beforehand = min(_BEFOREHAND, connections_for(settings))
        ahead = OpenedAhead(account.base_url, beforehand + 1, min(_OPENING, settings.connect_timeout))
        self._undo.callback(ahead.close)
        for number in range(beforehand + 1):
            self._background.start(f"download-open-{number}", lambda _: ahead.open_one())
        from rescalefs.assembly.client import client_for

        self._client = client_for(settings, account, self._clock, unmetered=UNMETERED, opened=ahead.take)
        self._undo.callback(self._client.close)
        self._transport: Transfers | Stream | None = None
        self._stopped = False
        self._listed: Future[tuple[RemoteFile, ...]] = Future()
        self._background.start("download-list", self._list)
        for number in range(beforehand):
            self._background.start(f"download-connect-{number}", lambda _: self._client.connect())

    @property
    def server(self) -> str:
        """Its address."""
        return self._client.base_url

    def choose(self, patterns: Sequence[str]) -> list[Choice]:
        """See `rescalefs.mirror.choose`. Raises `NoSuchPath` where there is no such job."""
        # All that is needed later, too: now the server has something to do.
        from rescalefs.mirror import Ledger, Shelf, Transfers, choose, fetch_all, no_such_job  # noqa: F401

        try:
            return choose(self._list_of_files(), self._job_id, patterns)
        except NotFound:
            raise no_such_job(self._client, self._job_id) from None

    def _list_of_files(self) -> tuple[RemoteFile, ...]:
        """Wait for the list, which comes or fails within the time limits of its requests."""
        while not wait((self._listed,), _LOOK).done:
            if self._background.stopping and not self._listed.done():
                raise Unreachable("the list of files did not come: told to end")
        return self._listed.result(0)

    def _outputs(self, stop: threading.Event) -> tuple[RemoteFile, ...]:
        """The outputs; where a job that has just ended lists none, ask again: they may be listed late."""
        began = self._clock.monotonic()
        files = self._client.output_files(self._job_id)
        while not files and self._clock.monotonic() - began < _LISTED_LATE and self._ended_just_now():
            if self._clock.wait(stop, _LATE_LOOK):
                break
            files = self._client.output_files(self._job_id)
        return files

    def _ended_just_now(self) -> bool:
        """Whether the job ran, and ended less than a minute ago. Every job that ran has its console log."""
        statuses = self._client.statuses(self._job_id)
        if not statuses or not is_terminal(statuses[-1].status):
            return False
        age = (self._clock.now() - statuses[-1].date).total_seconds()
        return age < _LISTED_LATE and any(each.status.lower() == "executing" for each in statuses)

    def to_folder(self, choices: Sequence[Choice], folder: Path, report: Report) -> None:
        """Download into a folder; what fails is in the report."""
        from rescalefs.mirror import Ledger, Shelf, Transfers, fetch_all, parts_of

        folder.mkdir(parents=True, exist_ok=True)
        parts = parts_of(folder)
        ledger = Ledger(None)
        self._undo.callback(ledger.close)
        transfers = self._transport = Transfers(
            self._client,
            parts,
            self._clock,
            self._background,
            connections_for(self._settings),
            verify=self._settings.verify != "off",
            heard=self._heard,
        )
        transfers.start()
        if self._stopped:
            transfers.close()
        shelf = Shelf(folder, ledger, parts)
        fetch_all(choices, shelf, transfers, report)
        # What was interrupted stays, to go on from. Other downloads may be at work here: they hold locks.
        shelf.sweep_parts(self._clock.now().timestamp() - _WEEK)
        with suppress(OSError):  # it is not empty
            parts.rmdir()

    def to_sink(self, choices: Sequence[Choice], sink: Sink) -> None:
        """Hand the bytes of all files to ``sink``, in order; raise what went wrong."""
        from rescalefs.mirror import Stream

        stream = self._transport = Stream(
            self._client,
            self._clock,
            self._background,
            connections_for(self._settings),
            verify=self._settings.verify != "off",
            heard=self._heard,
        )
        stream.start()
        stream.write([choice.file for choice in choices], sink)

    def stop(self) -> None:
        """Give up. From any thread."""
        self._stopped = True
        if self._transport is not None:
            self._transport.close()
        self._client.close()

    def close(self) -> None:
        """Let go of everything; raise the first crash of a thread, if there was one."""
        try:
            self.stop()
            self._background.close()
        finally:
            self._undo.close()

    def _list(self, stop: threading.Event) -> None:
        try:
            self._listed.set_result(self._outputs(stop))
        except BaseException as error:  # noqa: BLE001  # whatever it is, it is raised to who chooses
            self._listed.set_exception(error)
