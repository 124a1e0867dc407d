"""All that serves one mount."""

from __future__ import annotations

import importlib.util
import logging
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from rescalefs import __version__
from rescalefs.assembly.client import account_of, client_for
from rescalefs.assembly.facts import Facts
from rescalefs.assembly.folder import submit_settings
from rescalefs.assembly.memory import keep_few_arenas
from rescalefs.assembly.openers import SourceByOpeners
from rescalefs.assembly.ownfiles import LogTail, config_text
from rescalefs.assembly.places import key_of, places_of, recorded_owner
from rescalefs.assembly.renewal import Renewal
from rescalefs.assembly.tails import Tails
from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.config import Account, Places, Settings
from rescalefs.descriptors import Descriptors
from rescalefs.errors import ApiError, BadSettings, Forbidden, Misconfigured, Unauthenticated
from rescalefs.model import User
from rescalefs.mount import DropFolder, FileSystem, OpenFiles
from rescalefs.reading import ReadEngine, ReadingSettings
from rescalefs.reading.live import LiveFiles
from rescalefs.requester import Openers
from rescalefs.submit import Submitter
from rescalefs.tree import Sorting, Tree, TreeSettings

if TYPE_CHECKING:
    from wsgiref.simple_server import WSGIServer

    from rescalefs.assembly.metrics import Metrics

log = logging.getLogger(__name__)

_FIRST_LOOK = 3.0  # seconds that a mount waits for the server before it goes up without


class Daemon:
    """All that serves one mount. Made, then started, stopped and closed, in this order."""

    def __init__(self, settings: Settings, mountpoint: Path, on_crash: Callable[[], None]) -> None:
        keep_few_arenas()
        self._settings = settings
        self._mountpoint = mountpoint
        self._clock = SystemClock()
        self._since = self._clock.now()
        self._began = self._clock.monotonic()
        self._account = account_of(settings)
        # Asked before anything is opened, because whose key it is decides which cache is shown.
        user, trouble = self._first_look()
        places = places_of(settings, self._account, user)
        self._background = Background(on_crash)
        self._log = LogTail(self._clock)
        self._metrics_server = self._listening(settings.metrics_port)
        self._client = client_for(settings, self._account, self._clock)
        # Raised: the usual limit, 1024, is for programs that use select(2), which this one does not.
        descriptors = Descriptors.of_this_process(raised=True)
        openers = Openers()
        source = SourceByOpeners(self._client, openers)
        self._engine = ReadEngine(
            source, _reading(settings, places), self._clock, self._background, descriptors
        )
        self._tree = Tree(
            self._client,
            self._clock,
            self._background,
            TreeSettings(
                directory=places.listings,
                poll_every=settings.poll_every,
                sorting=Sorting(settings.split_types, settings.hide_types),
            ),
            self._engine.verification,
            self._own_texts(),
        )
        self._journal = places.journal
        tails = Tails(self._client, self._client, self._tree.output_of, self._clock)
        self._live = LiveFiles(tails, self._clock, places.live, descriptors=descriptors)
        places.make(for_drops=not settings.read_only)
        self._undo = ExitStack()
        folder = _drop_folder(places, self._undo)
        open_files = OpenFiles(folder)
        self._submitter = Submitter(
            self._client,
            submit_settings(settings, self._account, places),
            self._clock,
            self._background,
            unfinished=open_files.why_unfinished,
            heard=self._tree.heard,
            made=self._tree.made,
            concluded=self._tree.concluded,
            user=None if settings.read_only else user,
        )
        self._renewal = Renewal(
            settings,
            self._account,
            self._clock,
            known=lambda account: recorded_owner(settings, account),
            take=self._take_key,
            is_refused=lambda: isinstance(self._tree.last_error, (Unauthenticated, Forbidden)),
        )
        self._drops = DropFolder(
            folder,
            self._submitter,
            open_files,
            self._clock,
            changed=self._submitter.nudge,
            quiet=settings.settle_time,
            descriptors=descriptors,
        )
        self.filesystem = FileSystem(
            self._tree,
            self._engine,
            self._live,
            self._drops,
            keep_unconfirmed=settings.verify == "off",
            cached=lambda: self._engine.cache_usage().used,
            takes_drops=lambda: self._submitter.takes_drops,
            clock=self._clock,
            openers=openers,
            xattrs=settings.xattrs,
            checks_acls=settings.allow_other,
        )
        logging.getLogger("rescalefs").addHandler(self._log)
        if trouble is not None:
            self._tree.failed(trouble)

    def _first_look(self) -> tuple[User | None, ApiError | None]:
        """Whose key it is, or why that is not known. Raises if the server refuses the key, or if a setting
        keeps us from the server. A server that is merely away is no reason not to mount.
        """
        client = client_for(self._settings, self._account, self._clock, _FIRST_LOOK)
        try:
            return client.user(), None
        except (Unauthenticated, Forbidden, Misconfigured):
            raise
        except ApiError as error:
            log.warning("%s; mounting with what is known from before", error)
            return None, error
        finally:
            client.close()

    def start(self) -> None:
        """Start the threads."""
        self._engine.start()
        self._tree.start()
        if self._metrics_server is not None:
            from rescalefs.assembly.metrics import serve

            serve(self._metrics_server, self._background)
        if not self._settings.read_only:
            self._submitter.start()
        self._background.start("renewed-key", self._renewal.run)

    def _take_key(self, account: Account, user: User) -> None:
        """Go on with a renewed key of this account, which is recorded before it is used."""
        places_of(self._settings, account, user)
        self._account = account
        self._client.take_key(account.api_key)
        self._submitter.renew(key_of(account), user)

    def stop(self) -> None:
        """Make everything that waits for the server give up."""
        self._engine.close()
        self._client.close()

    def close(self) -> None:
        """Join the threads and let go of everything; raise the first crash if there was one."""
        try:
            self._background.close()
        finally:
            self._live.close()
            self._submitter.close()
            self._drops.close()
            self._undo.close()
            if self._metrics_server is not None:
                self._metrics_server.server_close()
            logging.getLogger("rescalefs").removeHandler(self._log)

    def _own_texts(self) -> Mapping[str, Callable[[], bytes]]:
        """What is in `.rescalefs/`; there are metrics with prometheus_client, which is an extra."""
        texts: dict[str, Callable[[], bytes]] = {
            "status": self._status,
            "config": lambda: config_text(self._settings, self._account),
            "log": self._log.text,
            "counters.json": lambda: self._facts().as_json(),
        }
        if importlib.util.find_spec("prometheus_client") is not None:
            texts["metrics"] = lambda: self._metrics.text()
        return texts

    @cached_property
    def _metrics(self) -> Metrics:
        # Imported when somebody looks: it takes 5 MiB, and most daemons are never asked.
        from rescalefs.assembly.metrics import Metrics

        return Metrics(self._facts)

    def _listening(self, port: int | None) -> WSGIServer | None:
        """What will serve metrics, if that is wanted; raise `BadSettings` if it cannot be."""
        if port is None:
            return None
        try:
            return self._metrics.listen(port)
        except ModuleNotFoundError as error:
            raise BadSettings(
                f"metrics_port needs {error.name}; install it: pip install 'rescalefs[metrics]'"
            ) from error

    def _facts(self) -> Facts:
        usage, counters, asked = self._engine.cache_usage(), self._engine.counters(), self._tree.counters()
        drops = [report for report in self._submitter.drops() if report.here]
        about = {name.removeprefix("requests_"): count for name, count in asked.items() if name != "jobs"}
        return Facts(
            version=__version__,
            account=self._account.name,
            server=self._account.base_url,
            started=self._since.timestamp(),
            age=self._clock.monotonic() - self._began,
            reachable=not self._tree.offline,
            trouble=str(self._tree.last_error) if self._tree.last_error else None,
            jobs=asked["jobs"],
            requests={**about, "contents": counters.requests},
            bytes_fetched=counters.bytes_fetched,
            blocks_found=counters.blocks_found,
            blocks_missed=counters.blocks_missed,
            connections=counters.connections,
            connection_limit=counters.connection_limit,
            cache_used=usage.used,
            cache_limit=usage.limit,
            drops=Counter(report.state.value for report in drops),
            under_way={each.folder: each.status for each in drops if not each.state.is_terminal},
        )

    def _status(self) -> bytes:
        """`.rescalefs/status`: a line for each thing a person asks about. `rescalefs status` prints it."""
        usage, counters = self._engine.cache_usage(), self._engine.counters()
        lines = {
            "mounted on": str(self._mountpoint),
            "account": self._account.name,
            "server": f"{self._account.base_url} ({self._reached()})",
            "since": f"{self._since:%Y-%m-%dT%H:%M:%SZ}",
            "process": str(os.getpid()),
            "version": __version__,
            "verify": self._settings.verify,
            "connections": str(self._settings.connections),
            "jobs": str(self._tree.counters()["jobs"]),
            "cache": f"{_human(usage.used)} of {_human(usage.limit)}",
            "fetched": f"{_human(counters.bytes_fetched)} in {counters.requests} requests",
            "drops": self._drops_by_state(),
            "drop folder": str(self._drops.folder),
            "journal": str(self._journal),
            "drops are submitted by": "nobody: --read-only"
            if self._settings.read_only
            else self._submitter.actor,
        }
        return "".join(f"{name}: {value}\n" for name, value in lines.items()).encode(
            "utf-8", "surrogateescape"
        )

    def _reached(self) -> str:
        refusal = self._renewal.refusal
        return f"{self._connection()}{'; ' * bool(refusal)}{refusal}"

    def _connection(self) -> str:
        error = self._tree.last_error
        if self._tree.offline:
            return f"not reached: {error}" if error else "not reached"
        return f"in trouble: {error}" if error else "reached"

    def _drops_by_state(self) -> str:
        states = Counter(report.state.value for report in self._submitter.drops() if report.here)
        return ", ".join(f"{count} {state}" for state, count in sorted(states.items())) or "none"


def _drop_folder(places: Places, undo: ExitStack) -> Path:
    """What submit/ shows. Where the home never had a drop folder and takes none, that is an empty one."""
    if places.drops.is_dir():
        return places.drops
    return Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="rescalefs-")))


def _reading(settings: Settings, places: Places) -> ReadingSettings:
    return ReadingSettings(
        cache_dir=places.blocks,
        cache_size=settings.cache_size,
        connections=settings.connections,
        verify=settings.verify,
        deadline=settings.deadline,
    )


def _human(size: int) -> str:
    """Bytes as `du -h` would say."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
