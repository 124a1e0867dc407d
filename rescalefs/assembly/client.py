"""The client that settings and environment mean."""

from __future__ import annotations

from rescalefs.api import ApiSettings, Opened, RescaleClient, none_opened
from rescalefs.clock import Clock, SystemClock
from rescalefs.config import Account, Settings, load_settings, resolve_account

_UNREACHED = 10.0  # seconds without a connection, after which a command at which a person waits gives up


def open_client(profile: str | None = None) -> RescaleClient:
    """The client of a short command, for what settings and environment say; ``profile`` is a flag's."""
    settings = load_settings({"profile": profile})
    return client_for(settings, account_of(settings), SystemClock(), unreached=_UNREACHED)


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
    unreached: float | None = None,
) -> RescaleClient:
    """A client of the account; with ``patience``, one that gives up sooner.

    With ``unreached`` it gives up after so many seconds where it gets no connection.

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
        unreached=unreached,
    )
    return RescaleClient(api, clock, opened)
