"""How a command gets its client."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:  # `rescalefs --help` must not import an HTTP client
    from rescalefs.api import RescaleClient
    from rescalefs.assembly.dropat import DropFound
    from rescalefs.assembly.drops import KnownDrops
    from rescalefs.model import Outcome

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _open_client(profile: str | None) -> RescaleClient:
    from rescalefs.assembly.client import open_client
    from rescalefs.cli.waiting import watched

    return watched(open_client(profile))


def _known_drops(profile: str | None) -> KnownDrops:
    from rescalefs.assembly.drops import known_drops

    return known_drops(profile)


def _drop_at(path: Path, profile: str | None) -> DropFound:
    from rescalefs.assembly.dropat import drop_at

    return drop_at(path, profile)


def _known_outcomes(profile: str | None) -> Mapping[str, Outcome]:
    from rescalefs.assembly.outcomes import known_outcomes

    return known_outcomes(profile)


@dataclass(frozen=True, slots=True)
class Connection:
    """Opens clients and tells of drops; what `main` is given as its context stands in for it."""

    open_client: Callable[[str | None], RescaleClient] = _open_client
    known_drops: Callable[[str | None], KnownDrops] = _known_drops
    drop_at: Callable[[Path, str | None], DropFound] = _drop_at
    known_outcomes: Callable[[str | None], Mapping[str, Outcome]] = _known_outcomes


def profile_option(command: _Command) -> _Command:
    """The ``--profile`` of everything that talks to Rescale; None leaves the choice to the settings."""
    text = "Which profile of Rescale's apiconfig file to use."
    return click.option("--profile", metavar="NAME", help=text)(command)


def with_client(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``command`` a client as its first argument, by its new ``--profile``, and close it at the end."""

    @profile_option
    @click.pass_context
    @functools.wraps(command)
    def connected(ctx: click.Context, /, profile: str | None, **arguments: Any) -> Any:
        connection = ctx.find_object(Connection) or Connection()
        with closing(connection.open_client(profile)) as client:
            return command(client, **arguments)

    return connected


def with_connection(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``command`` the connection as its first argument, and its new ``--profile`` as its second."""

    @profile_option
    @click.pass_context
    @functools.wraps(command)
    def connected(ctx: click.Context, /, profile: str | None, **arguments: Any) -> Any:
        return command(ctx.find_object(Connection) or Connection(), profile, **arguments)

    return connected
