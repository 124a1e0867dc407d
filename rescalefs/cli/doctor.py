"""`rescalefs doctor`: is everything fit, and if not, what to do."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rescalefs.cli import account_checks, machine_checks
from rescalefs.cli.connection import profile_option
from rescalefs.cli.finding import Finding, Verdict, broken, fine
from rescalefs.cli.listing import json_option, print_json
from rescalefs.clock import SystemClock
from rescalefs.errors import BadSettings

if TYPE_CHECKING:
    from rescalefs.config import Settings

_PATIENCE = 15.0  # seconds for a request with its retries: who asks whether things work wants to know soon
_COLOURS = {Verdict.FINE: "green", Verdict.DOUBTFUL: "yellow", Verdict.BROKEN: "red"}


@click.command()
@profile_option
@click.option("--allow-other", is_flag=True, help="Also check what `rescalefs mount --allow-other` needs.")
@json_option
def doctor(profile: str | None, allow_other: bool, as_json: bool) -> int:
    """Check this machine and the account, and say how to mend things.

    ✓ is fine, ! works less well, ✗ is broken. The exit code is 1 if something that is needed is broken.
    """
    findings = []
    for finding in _examine(profile, allow_other):
        findings.append(finding)
        if not as_json:
            _show(finding)
    if as_json:
        print_json([{**dataclasses.asdict(each), "verdict": each.verdict.value} for each in findings])
    return int(any(each.verdict is Verdict.BROKEN for each in findings))


def _examine(profile: str | None, allow_other: bool) -> Iterator[Finding]:
    """One finding after the other, as they are made; last what a daemon that hangs makes slow."""
    yield machine_checks.python_version()
    yield machine_checks.fuse_device()
    yield machine_checks.libfuse()
    yield machine_checks.fusermount()
    if sys.platform == "linux":
        yield machine_checks.mappings()
    yield from machine_checks.inotify()
    yield from _examine_account(profile, allow_other)
    yield from _examine_mounts()


def _examine_account(profile: str | None, allow_other: bool) -> Iterator[Finding]:
    from rescalefs.config import load_settings, profile_path

    try:
        settings = load_settings({"profile": profile, "allow_other": allow_other or None})
    except BadSettings as error:
        yield broken("settings", str(error), "see docs/configuration.md")
        return
    yield fine("settings", _origins(settings))
    if settings.allow_other:
        yield machine_checks.allow_other()
    yield machine_checks.inode_numbers(settings.inode32)
    yield machine_checks.cache_folder(settings.cache_dir, settings.cache_size)
    yield account_checks.profile_file(profile_path())
    yield from _examine_server(settings)


def _examine_server(settings: Settings) -> Iterator[Finding]:
    from rescalefs.assembly.client import account_of, client_for

    clock = SystemClock()
    try:
        account = account_of(settings)
        client = client_for(settings, account, clock, _PATIENCE)
    except BadSettings as error:
        yield broken("API key", str(error), "rescalefs login")
        return
    with closing(client):
        answer = account_checks.server(client, account.base_url, clock)
        yield answer
        if answer.verdict is Verdict.FINE:
            yield account_checks.clock_skew(client, clock)


def _examine_mounts() -> Iterator[Finding]:
    from rescalefs.mount.mountpoint import condition_of, our_mounts

    if Path("/proc/self/mountinfo").exists():
        ours = [entry.path for entry in our_mounts()]
        yield machine_checks.mounts(ours, condition_of)


def _origins(settings: Settings) -> str:
    """The settings that somebody set, and where."""
    chosen = [f"{name} from {origin}" for name, origin in settings.origins.items() if origin != "default"]
    return ", ".join(chosen) or "all at their defaults"


def _show(finding: Finding) -> None:
    mark = click.style(finding.verdict.mark, fg=_COLOURS[finding.verdict], bold=True)
    click.echo(f"{mark} {finding.check:<18} {finding.found}")
    if finding.remedy:
        click.echo(f"  {'':<18} to mend it: {finding.remedy}")
