"""Submission of one folder, wherever it lies, without a mount."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from rescalefs.assembly.client import account_of, client_for
from rescalefs.assembly.places import key_of
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
        settings = load_settings({"profile": profile, "max_cost": max_cost})
        account = account_of(settings)
        self._clock = SystemClock()
        self._client = client_for(settings, account, self._clock)
        self._settings = submit_settings(settings, account, Places.of(account.name, settings.cache_dir))

    def plan(self, folder: Path, *, hold: bool, name: str | None) -> JobSpec | Rejection | Awaited:
        """What would be sent. Sends nothing."""
        return plan(folder, self._client, self._settings, self._clock, hold=hold, name=name)

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
        with closing(Background()) as background:
            return submit_folder(
                folder,
                self._client,
                self._settings,
                self._clock,
                background,
                wait=wait,
                hold=hold,
                name=name,
                progress=progress,
            )

    def close(self) -> None:
        self._client.close()
