"""`rescalefs simulator`: a Rescale of your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rescalefs import logs
from rescalefs.errors import UserError

if TYPE_CHECKING:
    from rescalefs.simulator import Simulator

_EXTRA = frozenset({"starlette", "uvicorn", "python_multipart"})


def _limits(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, int]:
    """``user=7200`` and the like, as a mapping."""
    limits = {}
    for value in values:
        scope, _, limit = value.partition("=")
        if not (scope and limit.isdecimal()):
            raise click.BadParameter(f"{value!r} is not like user=7200", ctx, param)
        limits[scope] = int(limit)
    return limits


# No option has a default of its own: what is not given is left to SimulatorSettings.
@click.command()
@click.option("--host", metavar="ADDRESS", help="Listen on this address.  [default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65535), help="Listen on this port; 0 takes a free one.  [default: 8765]"
)
@click.option("--allow-remote", is_flag=True, default=None, help="Let ADDRESS be one that others can reach.")
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep files and jobs in this folder.  [default: a temporary one, gone at the end]",
)
@click.option("--api-key", metavar="KEY", help="Take this key.  [default: one made up, kept with the data]")
@click.option(
    "--faults",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Misbehave as this JSON file says.",
)
@click.option(
    "--queue-delay", type=click.FloatRange(min=0), metavar="SECONDS", help="Let jobs wait in the queue."
)
@click.option(
    "--startup-delay",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Let clusters take time to start.",
)
@click.option(
    "--shutdown-delay",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Let clusters outlive their jobs.",
)
@click.option(
    "--outputs-delay",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="List outputs so long after a job's end only.",
)
@click.option(
    "--refuse-resubmit",
    is_flag=True,
    default=None,
    help="Answer 400 where a job that was submitted is submitted or changed.",
)
@click.option(
    "--hide-prices",
    type=click.Choice(["refused", "empty"]),
    help="Hide prices, as an administrator can: by 403, or an empty list.",
)
@click.option("--require-project", is_flag=True, default=None, help="Refuse jobs without a project.")
@click.option(
    "--max-job-hours",
    type=click.FloatRange(min=0, min_open=True),
    metavar="HOURS",
    help="Refuse a longer walltime.",
)
@click.option(
    "--unavailable", multiple=True, metavar="CORETYPE", help="Never run jobs on this core type; repeatable."
)
@click.option(
    "--jobs-at-once", type=click.IntRange(min=1), metavar="N", help="Run so many; others queue.  [default: 2]"
)
@click.option(
    "--command-time-limit",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="End commands after this.",
)
@click.option(
    "--page-size", type=click.IntRange(min=1), metavar="N", help="Entries in a page.  [default: 10]"
)
@click.option(
    "--throttle",
    "throttles",
    multiple=True,
    callback=_limits,
    metavar="SCOPE=N",
    help="Allow N requests an hour in a scope; repeatable.",
)
def simulator(**options: Any) -> None:
    """Serve a Rescale of your own, on this machine.

    It answers as the API does and runs the commands of jobs for real, as you. Once it serves, it prints its
    address, and on standard error the variables with which `rescalefs` and other clients find it.
    Ctrl-C ends it.
    """
    try:
        from rescalefs.simulator import CannotServe, SimulatorSettings, serve
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        raise UserError("the simulator is an extra: pip install 'rescalefs[simulator]'") from error
    given = {name: value for name, value in options.items() if value is not None}
    try:
        with logs.written():
            serve(SimulatorSettings(**given), _announce)
    except CannotServe as error:
        raise UserError(str(error)) from error


def _announce(running: Simulator) -> None:
    variables = f"RESCALE_API_URL={running.url} RESCALE_API_KEY={running.api_key}"
    click.echo(f"use it from another shell with: export {variables}", err=True)
    click.echo(running.url)  # the last thing said, and flushed: who waits for it may go on
