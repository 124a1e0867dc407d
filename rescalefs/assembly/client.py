"""The client that settings and environment mean."""

from __future__ import annotations

from rescalefs.api import ApiSettings, Opened, RescaleClient, none_opened
from rescalefs.clock import Clock, SystemClock
from rescalefs.config import Account, Settings, load_settings, resolve_account


def open_client(profile: str | None = None) -> RescaleClient:
    """The client for what the settings and the environment say; ``profile`` is a flag's."""
    settings = load_settings({"profile": profile})
    return client_for(settings, account_of(settings), SystemClock())


def account_of(settings: Settings) -> Account:
    """Whose account the settings mean. Raises `BadSettings` where there is no key."""
    return resolve_account(settings.profile, settings.profile_was_chosen)


def client_for(
    settings: Settings,
    account: Account,
    clock: Clock,
    patience: float | None = None,
    unmetered: frozenset[str] = frozenset(),
    opened: Opened = none_opened,
) -> RescaleClient:
    """A client of the account; with ``patience``, one that gives up sooner.

    In ``unmetered`` scopes of requests it waits only when the server says so. ``opened`` is asked for a
    connection to a host and port before one is opened.
    """
    limit = settings.patience if patience is None else patience
    api = ApiSettings(
        base_url=account.base_url,
        api_key=account.api_key,
        connect_timeout=min(settings.connect_timeout, limit),
        read_timeout=min(settings.read_timeout, limit),
        patience=limit,
        unmetered=unmetered,
        address_origin=account.address_origin,
    )
    return RescaleClient(api, clock, opened)
