"""The only importer of watchdog: what happens in the drop folder -> hints."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from rescalefs.containment import contained

log = logging.getLogger(__name__)

_JOINING = 5.0  # seconds for watchdog's threads to end
_POLLING = 5.0  # seconds between two looks at all files where the kernel does not tell

_READING = frozenset({"opened", "closed_no_write"})  # kinds of events that change nothing


class Hints:
    """Names of drops that something may have happened in, each once. Thread-safe."""

    def __init__(self, bell: Callable[[], None]) -> None:
        self._bell = bell
        self._lock = threading.Lock()  # guards _names
        self._names: set[str] = set()

    def add(self, name: str) -> None:
        """Something may have happened there."""
        with self._lock:
            self._names.add(name)
        self._bell()

    def take(self) -> frozenset[str]:
        """All since the last time."""
        with self._lock:
            names, self._names = self._names, set()
        return frozenset(names)


class Watcher:
    """Tells of changes below a folder while it is started. One may go unnoticed: who must know, looks."""

    def __init__(self, folder: Path, hint: Callable[[Path], None]) -> None:
        self._folder = folder
        self._handler = _Handler(hint)
        self._observer: BaseObserver | None = None

    def start(self) -> None:
        """Watch through the kernel; by looking every few seconds where that cannot be had."""
        try:
            self._observer = self._watching(Observer())
        except OSError as error:  # no inotify instances or watches left, or none on this file system
            log.warning(
                "the kernel cannot watch %s (%s); looking every %.0f s instead. "
                "If there are many folders, raise fs.inotify.max_user_watches",
                self._folder,
                error,
                _POLLING,
            )
            with contextlib.suppress(OSError):  # the folder is gone, or not to be read: the survey says so
                self._observer = self._watching(PollingObserver(timeout=_POLLING))

    def stop(self) -> None:
        """Watch no more. Its threads have ended on return, unless the disk itself keeps them."""
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(_JOINING)
            if self._observer.is_alive():
                log.warning("what watches %s did not end within %.0f s", self._folder, _JOINING)
            self._observer = None

    def _watching(self, observer: BaseObserver) -> BaseObserver:
        observer.schedule(self._handler, str(self._folder), recursive=True)
        observer.start()
        return observer


class _Handler(FileSystemEventHandler):
    def __init__(self, hint: Callable[[Path], None]) -> None:
        self._hint = hint

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.event_type in _READING:
            return
        for path in (event.src_path, event.dest_path):
            with contained(log, "an event in the drop folder"):
                if path:
                    self._hint(Path(os.fsdecode(path)))
