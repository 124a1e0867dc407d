"""`mount`, `umount` and `status`: the life of a mount, from the command line."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rescalefs import logs, surroundings
from rescalefs.cli.listing import print_json
from rescalefs.config import SETTINGS, Places, Settings, load_settings, resolve_account


class _Mountpoint(click.Path):
    """A path that click does not look at: a look at a dead mount fails, and one at a silent mount waits."""

    def convert(self, value: Any, _param: click.Parameter | None, _ctx: click.Context | None) -> Any:
        return self.coerce_path_result(value)


_MOUNTPOINT = _Mountpoint(path_type=Path)


def settings_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """A flag for each setting that has one; None where it was not given."""
    for setting in reversed([setting for setting in SETTINGS if setting.has_flag]):
        kind: dict[str, Any] = {"metavar": setting.name.rsplit("_", 1)[-1].upper()}
        if setting.default in ("true", "false"):
            kind = {"is_flag": True, "flag_value": "true"}
        command = click.option(setting.flag, setting.name, default=None, help=setting.summary, **kind)(
            command
        )
    return command


@click.command()
@click.argument("mountpoint", type=_MOUNTPOINT)
@click.option("-f", "--foreground", is_flag=True, help="Stay, and log to standard error; for systemd.")
@settings_flags
def mount(mountpoint: Path, foreground: bool, **flags: str | None) -> None:
    """Mount the account on the folder MOUNTPOINT, and return once it answers.

    The folder is made if it is missing. `rescalefs umount MOUNTPOINT` ends it. Every flag can also be set in
    config.toml or as RESCALEFS_<NAME>; see docs/configuration.md.
    """
    settings = load_settings(flags)
    if foreground:
        later = os.environ.pop(logs.VARIABLE, "")
        with logs.written() as log:
            _serve(mountpoint, settings, lambda: log.go_on_in(Path(later)) if later else None)
        return
    from rescalefs.mount import mount_background
    from rescalefs.mount.mountpoint import absolute

    place = absolute(mountpoint)
    # The flags as they came: settings from elsewhere, the daemon finds for itself.
    given = [_flag(name, value, settings) for name, value in flags.items() if value is not None]
    command = surroundings.ourselves("mount", "--foreground", *given, "--", str(place))
    account = resolve_account(settings.profile, settings.profile_was_chosen)
    log_file = Places.of(account.name, settings.cache_dir).log
    mount_background(command, place, log_file)
    click.echo(f"mounted on {mountpoint}; its log is {log_file}", err=True)
    told = _read_status(place)
    if "trouble" in told:
        click.echo(f"rescalefs: {place}: {told['trouble']}", err=True)
        return
    server, actor = told.get("server", ""), told.get("drops are submitted by", "")
    if not server.endswith("(reached)"):
        click.echo(f"rescalefs: {server}; until it is back, what is known from before is shown", err=True)
    if actor.startswith("nobody: ") and not settings.read_only:
        click.echo(f"rescalefs: drops are submitted by {actor}", err=True)


def _flag(name: str, value: str, settings: Settings) -> str:
    setting = next(setting for setting in SETTINGS if setting.name == name)
    if setting.is_path:
        value = str(getattr(settings, name))  # absolute: the daemon is in another folder
    return setting.flag if setting.default in ("true", "false") else f"{setting.flag}={value}"


def _serve(mountpoint: Path, settings: Settings, on_ready: Callable[[], None]) -> None:
    from rescalefs.assembly.daemon import Daemon
    from rescalefs.background import Ending
    from rescalefs.mount import MountSettings, check_fuse, mount_foreground
    from rescalefs.mount.mountpoint import absolute

    logging.getLogger("rescalefs").setLevel(min(logging.INFO, logging.getLogger().level))
    check_fuse(settings.allow_other)
    ending = Ending()
    mountpoint = absolute(mountpoint)
    surroundings.leave_the_folder()
    daemon = Daemon(settings, mountpoint, on_crash=ending.ask)
    os.environ.pop(surroundings.KEY_VARIABLE, None)  # no program is to inherit it, libfuse's own included
    if settings.profile_was_chosen:
        os.environ["RESCALEFS_PROFILE"] = settings.profile  # for `rescalefs` in the command on_finished
    try:
        # What is there now stays. Looked through for cycles again and again, it takes half the time in which
        # 10,000 files are listed for the first time.
        gc.freeze()
        mount_foreground(
            mountpoint,
            daemon.filesystem,
            MountSettings(
                allow_other=settings.allow_other, read_only=settings.read_only, inode32=settings.inode32
            ),
            on_start=daemon.start,
            on_ready=on_ready,
            on_stop=daemon.stop,
            ending=ending,
        )
    finally:
        daemon.stop()
        daemon.close()


@click.command()
@click.argument("mountpoint", type=_MOUNTPOINT)
def umount(mountpoint: Path) -> None:
    """End the mount on MOUNTPOINT, and return once its daemon has ended, too."""
    from rescalefs.mount import umount as end

    end(mountpoint)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def status(as_json: bool) -> None:
    """Show what is mounted, how it is doing, and what is dropped.

    Mounts of other users of this machine are left out.
    """
    from rescalefs.mount.mountpoint import our_mounts

    found = [_read_status(entry.path) for entry in our_mounts()]
    if as_json:
        print_json(found)
    elif not found:
        click.echo("nothing is mounted; `rescalefs mount ~/Rescale` does that", err=True)
    else:
        click.echo("\n\n".join("\n".join(f"{key}: {value}" for key, value in each.items()) for each in found))


def _read_status(mountpoint: Path) -> dict[str, str]:
    from rescalefs.mount import asking

    try:
        text = asking.read(mountpoint / ".rescalefs" / "status").decode(errors="replace")
    except OSError as error:
        return {"mounted on": str(mountpoint), "trouble": f"it does not answer ({error.strerror})"}
    lines = (line.partition(": ") for line in text.splitlines())
    return {name: value for name, separator, value in lines if separator}
