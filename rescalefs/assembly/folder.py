"""Submission of one folder, wherever it lies, without a mount."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from rescalefs.assembly.client import account_of, client_for
from rescalefs.assembly.dropat import backing_folder
from rescalefs.assembly.places import key_of
from rescalefs.assembly.siblings import account_that_knows
from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.config import Account, Places, Settings, load_settings
from rescalefs.submit import (
    Awaited,
    DropReport,
    JobSpec,
    Limits,
    Rejection,
    SubmitSettings,
    plan,
    submit_folder,
)

log = logging.getLogger(__name__)

Watch = Callable[[DropReport], None]


def submit_settings(settings: Settings, account: Account, places: Places) -> SubmitSettings:
    """Where drops of the account lie and are remembered."""
    usual = SubmitSettings(
        folder=places.drops,
        journal=places.journal,
        account=places.journal.parent.name,
        key=key_of(account),
        settle_time=settings.settle_time,
    )
    return dataclasses.replace(
        usual,
        # Who looks for new jobs more often than usual wants to see more of the running ones, too.
        poll_least=min(usual.poll_least, settings.poll_every),
        on_finished=settings.on_finished,
        on_finished_limit=settings.on_finished_limit,
        notify=settings.notify,
        limits=Limits(cost=settings.max_cost),
    )


class OneFolder:
    """Submits folders without a mount, remembered in the same journal as the account's drops."""

    def __init__(self, profile: str | None, max_cost: str | None = None) -> None:
        self._all_settings = settings = load_settings({"profile": profile, "max_cost": max_cost})
        self._account = account = account_of(settings)
        self._clock = SystemClock()
        self._client = client_for(settings, account, self._clock)
        self._settings = self._settings_of(account.name)

    @property
    def server(self) -> str:
        """Its address."""
        return self._client.base_url

    def _settings_of(self, name: str) -> SubmitSettings:
        """For the journal of an account, by its name in paths."""
        places = Places.of(name, self._all_settings.cache_dir)
        return submit_settings(self._all_settings, self._account, places)

    def plan(self, folder: Path, *, hold: bool, name: str | None) -> JobSpec | Rejection | Awaited:
        """What would be sent. Sends nothing."""
        return plan(backing_folder(folder), self._client, self._settings, self._clock, hold=hold, name=name)

    def submit(
        self,
        folder: Path,
        *,
        wait: bool,
        hold: bool,
        name: str | None,
        progress: Callable[[DropReport], None],
    ) -> DropReport:
        """Make exactly one job of the folder; see `rescalefs.submit.submit_folder`."""
        settings, real = self._settings, backing_folder(folder)
        known_to = account_that_knows(real, settings.journal, settings.key, self._client)
        if known_to is not None:
            log.info("%s was submitted as %s before, which is the same account", folder, known_to)
            settings = self._settings_of(known_to)
        with closing(Background()) as background:
            return submit_folder(
                real,
                self._client,
                settings,
                self._clock,
                background,
                wait=wait,
                hold=hold,
                name=name,
                progress=progress,
            )

    def close(self) -> None:
        self._client.close()
