"""`rescalefs login` and `whoami`."""

from __future__ import annotations

import os
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import click

from rescalefs.cli.connection import profile_option, with_client
from rescalefs.cli.listing import json_option, print_record
from rescalefs.clock import SystemClock
from rescalefs.errors import BadSettings, RescaleFSError, Unauthenticated

if TYPE_CHECKING:
    from rescalefs.api import RescaleClient
    from rescalefs.model import User

_KEY_VARIABLE = "RESCALE_API_KEY"
_PATIENCE = 10.0  # seconds: somebody waits at the terminal, and has perhaps mistyped the address


@click.command()
@profile_option
@click.option("--url", metavar="URL", help="The platform's address, such as https://eu.rescale.com.")
@click.option("--key-stdin", is_flag=True, help="Read the key from standard input instead of asking for it.")
@click.option("--keyring", is_flag=True, help="Keep the key in the system's keyring, not in the file.")
def login(profile: str | None, url: str | None, key_stdin: bool, keyring: bool) -> None:
    """Check an API key and keep it in a profile.

    The key comes from your profile page on Rescale, under API. It is checked with the server and then kept
    where Rescale's own tools look for it: in ~/.config/rescale/apiconfig, readable by you alone. With
    --keyring it is kept in the system's keyring, where Rescale's own tools do not find it. Without --url,
    the address is the one that the profile has already, or that of North America.
    """
    # Imported here, as in every command: `rescalefs --help` has no use for them.
    from rescalefs.assembly.client import client_for
    from rescalefs.config import Account, load_settings, profile_path, write_profile

    settings = load_settings({"profile": profile})
    path = profile_path()
    address = _address(url) if url else _known_address(settings.profile)
    key = _ask_for_key(address, key_stdin)
    account = Account(settings.profile, address, key, "--url" if url else "")
    patience = min(settings.patience, _PATIENCE)
    with closing(client_for(settings, account, SystemClock(), patience)) as client:
        try:
            user = client.user()
        except Unauthenticated:
            raise Unauthenticated(
                f"{address} does not know this key; nothing was changed. "
                "Copy the whole key again, and check that it is of this platform (--url)"
            ) from None
    write_profile(path, settings.profile, address, key, in_keyring=keyring)
    place = f"the system's keyring (as {path} says)" if keyring else str(path)
    click.echo(f"{user.email} at {address}: the key is kept in {place}, profile [{settings.profile}]")
    _say_whose_drops(settings.profile, user)
    if os.environ.get(_KEY_VARIABLE):
        click.echo(f"rescalefs: {_KEY_VARIABLE} is set and goes before the profile", err=True)


def _say_whose_drops(profile: str, user: User) -> None:
    """The profile may have been another account's until now: then its drops stay that one's."""
    from rescalefs.assembly.drops import known_drops

    try:
        known_drops(profile).check(user)
    except RescaleFSError as error:
        click.echo(f"rescalefs: {error}", err=True)


@click.command()
@with_client
@json_option
def whoami(client: RescaleClient, as_json: bool) -> None:
    """Show whose key it is.

    A line for each: email, name, company, workspace, server.
    """
    user = client.user()
    record = {
        "email": user.email,
        "name": user.full_name,
        "company": user.company,
        "workspace": user.workspace,
        "server": client.base_url,
    }
    print_record(record, as_json)


def _address(url: str) -> str:
    """The address of a platform, as people write it: with or without https:// and /api/v2."""
    full = url.strip() if "://" in url else f"https://{url.strip()}"
    return full.rstrip("/").removesuffix("/api/v2")


def _known_address(profile: str) -> str:
    """What the profile says already, or else the first platform."""
    from rescalefs.config.profiles import profile_address, profile_path

    with suppress(BadSettings):  # no such profile yet: that is what login is for
        return profile_address(profile_path(), profile)
    return profile_address(None, profile)


def _ask_for_key(address: str, from_stdin: bool) -> str:
    if not from_stdin and not sys.stdin.isatty():
        raise click.UsageError(
            "Standard input is no terminal to type a key at; pass --key-stdin to read it from there."
        )
    key: str = (
        sys.stdin.readline()
        if from_stdin
        else click.prompt(f"API key for {address}", hide_input=True, err=True)
    )
    if not key.strip():
        raise BadSettings("the API key is empty")
    return key.strip()
