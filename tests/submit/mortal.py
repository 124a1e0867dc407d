"""Daemons that die when told to: `python -m tests.submit.mortal`, one order per line of its input.

The process imports everything once and forks for each order, so that a life costs its work and no start-up.
A life is the drop folder's whole service with its threads, on the real client over HTTP; it lacks only the
kernel's door. It writes every point that it passes (journal events, noted uploads, requests) into a file,
kills itself with SIGKILL at the one it was told, and ends when every job that it expects has ended.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import re
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests.adapters

from rescalefs.api import ApiSettings, RescaleClient
from rescalefs.background import Background
from rescalefs.clock import SystemClock, Wake
from rescalefs.submit import Submitter
from rescalefs.submit.journal import Journal, JournalFailed
from tests.submit.rig import make_settings

SPEED = 10.0  # times as fast as the machine's clock: retries and settling are not what is tested
LONGEST = 60.0  # seconds of a life; only something broken takes as long
Pass = Callable[[str], None]


class FastClock(SystemClock):
    """The machine's time, but whoever waits waits a tenth of it."""

    def monotonic(self) -> float:
        return super().monotonic() * SPEED

    def wait(self, wake: Wake, seconds: float) -> bool:
        return super().wait(wake, seconds / SPEED)


class Points:
    """Writes down each point, and dies at one of them. Thread-safe."""

    def __init__(self, file: Path, fatal: str | None) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._fatal = fatal
        self._lock = threading.Lock()  # guards _seen
        self._seen: Counter[str] = Counter()

    def __call__(self, name: str) -> None:
        with self._lock:
            self._seen[name] += 1
            point = f"{name} #{self._seen[name]}"
            os.write(self._file, f"{point}\n".encode())
            if point == self._fatal:
                os.kill(os.getpid(), signal.SIGKILL)


def live(order: dict[str, Any]) -> None:
    """One life of the daemon."""
    root = Path(order["root"])
    passed = Points(root / "points", order["fatal"])
    _watch_journal(passed, order.get("full", ""))
    _watch_requests(passed)
    clock = FastClock()
    api = ApiSettings(order["url"], order["key"], read_timeout=20.0, patience=30.0 * SPEED)
    client = RescaleClient(api, clock)
    settings = make_settings(
        root,
        rescan=5.0,
        poll_least=1.0,
        poll_most=1.0,
        trust_upload=0.0,
        uploads=1,
        desks=1,
        doubt=20.0,  # the simulator shows at once what was done
        lag=5.0,
    )
    background = Background()
    submitter = Submitter(client, settings, clock, background)
    submitter.start()
    end = clock.monotonic() + LONGEST * SPEED
    while not _is_over(submitter, order["drops"]):
        if clock.monotonic() > end or background.stopping:
            print([each.status for each in submitter.drops()], file=sys.stderr)
            os._exit(3)
        _be_the_user(submitter, settings.folder)
        clock.wait(threading.Event(), 0.2)
    background.close()
    submitter.close()
    client.close()


def _is_over(submitter: Submitter, drops: int) -> bool:
    reports = submitter.drops()
    return len(reports) >= drops and all(each.state.is_terminal for each in reports)


def _be_the_user(submitter: Submitter, folder: Path) -> None:
    """Mend what is rejected and let go of what is held, as people do."""
    for report in submitter.drops():
        mended = folder.parent / f"{report.folder}.mended.json"
        if report.state.value in {"rejected", "saved"} and mended.exists():
            target = folder / report.folder / "job.json"
            if target.read_bytes() != mended.read_bytes():
                target.write_bytes(mended.read_bytes())


def _watch_journal(passed: Pass, full: str) -> None:
    """``full`` is the event for which the disk has no room, once."""
    append, remember = Journal.append, Journal.remember
    told: list[str] = []

    def appending(self: Journal, drop: Any, event: Any, at: Any) -> Any:
        name = type(event).__name__
        passed(f"before event {name}")
        if name == full and not told:
            told.append(name)
            raise JournalFailed(f"cannot write the journal: {os.strerror(errno.ENOSPC)}")
        after = append(self, drop, event, at)
        passed(f"after event {name}")
        return after

    def remembering(self: Journal, upload: Any) -> None:
        passed("before noting an upload")
        remember(self, upload)
        passed("after noting an upload")

    Journal.append = appending  # type: ignore[method-assign]  # this process has no other purpose
    Journal.remember = remembering  # type: ignore[method-assign]


def _watch_requests(passed: Pass) -> None:
    """``after`` is when the server has acted, and nothing of its answer has been read by us."""
    send = requests.adapters.HTTPAdapter.send

    def sending(self: Any, request: Any, *args: Any, **options: Any) -> Any:
        path = re.sub(r"/(jobs|files)/\w{5,6}/", r"/\1/ID/", request.path_url.partition("?")[0])
        passed(f"before {request.method} {path}")
        answer = send(self, request, *args, **options)
        passed(f"after {request.method} {path}")
        return answer

    requests.adapters.HTTPAdapter.send = sending  # type: ignore[method-assign]  # the same


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            gc.disable()  # a fifth of a life's cost, and it ends before there is much to collect
            try:
                live(json.loads(line))
                code = 0
            finally:
                sys.stderr.flush()
                if code:
                    sys.excepthook(*sys.exc_info())
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
