"""How a command gets its client."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:  # `rescalefs --help` must not import an HTTP client
    from rescalefs.api import RescaleClient
    from rescalefs.assembly.drops import KnownDrops

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _open_client(profile: str | None) -> RescaleClient:
    from rescalefs.assembly.client import open_client

    return open_client(profile)


def _known_drops(profile: str | None) -> KnownDrops:
    from rescalefs.assembly.drops import known_drops

    return known_drops(profile)


@dataclass(frozen=True, slots=True)
class Connection:
    """Opens clients and tells of drops; what `main` is given as its context stands in for it."""

    open_client: Callable[[str | None], RescaleClient] = _open_client
    known_drops: Callable[[str | None], KnownDrops] = _known_drops


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


def with_client_and_drops(command: Callable[..., Any]) -> Callable[..., Any]:
    """The same, and what was dropped as its second argument."""

    @profile_option
    @click.pass_context
    @functools.wraps(command)
    def connected(ctx: click.Context, /, profile: str | None, **arguments: Any) -> Any:
        connection = ctx.find_object(Connection) or Connection()
        with closing(connection.open_client(profile)) as client:
            return command(client, connection.known_drops(profile), **arguments)

    return connected
