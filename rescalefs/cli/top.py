"""`rescalefs top`: what the mounts are doing, again and again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import click

from rescalefs.cli.gauges import COUNTERS, Counters, Gauge, gauge
from rescalefs.cli.listing import json_option, print_json
from rescalefs.clock import Clock, SystemClock, never

_HINT = "nothing is mounted; `rescalefs mount ~/Rescale` does that"

_OTHER_VERSION = "it is of another version of rescalefs; unmount it, and mount it again"

Look = Callable[[], Mapping[str, Counters | str]]  # mountpoint -> its counters, or why there are none


@click.command()
@click.option(
    "--every",
    type=click.FloatRange(min=1),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Look as often as this.",
)
@json_option
def top(every: float, as_json: bool) -> None:
    """Watch what the mounts are doing: transfers, cache, drops.

    On a terminal it goes on until Ctrl-C. In a pipe, and with --json, it looks twice, that many seconds
    apart, and tells what happened in between.
    """
    with suppress(KeyboardInterrupt):  # how one leaves it
        looks = watch(look, SystemClock(), every)
        if sys.stdout.isatty() and not as_json:
            _show_on_screen(looks)
        else:
            next(looks)
            _print_once(next(looks), as_json)


def watch(look: Look, clock: Clock, every: float) -> Iterator[list[Gauge]]:
    """Look now, and again every so many seconds; the first look knows no rates yet."""
    before: Mapping[str, Counters | str] = {}
    while True:
        now = look()
        yield [_gauge(path, before.get(path), found) for path, found in now.items()]
        before = now
        clock.wait(never(), every)


def look() -> Mapping[str, Counters | str]:
    """The counters of every mount of ours on this machine."""
    from rescalefs.mount.mountpoint import our_mounts

    return {str(entry.path): _counters(entry.path) for entry in our_mounts()}


def _counters(mountpoint: Path) -> Counters | str:
    from rescalefs.mount import asking

    try:
        counters: Counters = json.loads(asking.read(mountpoint / ".rescalefs" / "counters.json"))
    except (FileNotFoundError, ValueError):
        return _OTHER_VERSION
    except OSError as error:
        return f"it does not answer ({error.strerror})"
    return counters


def _gauge(path: str, before: Counters | str | None, now: Counters | str) -> Gauge:
    if isinstance(now, str):
        return Gauge(path, trouble=now)
    if not now.keys() >= COUNTERS:
        return Gauge(path, trouble=_OTHER_VERSION)
    return gauge(path, None if isinstance(before, str) else before, now)


def _print_once(gauges: list[Gauge], as_json: bool) -> None:
    if as_json:
        print_json([each.row() for each in gauges])
    elif not gauges:
        click.echo(_HINT, err=True)
    else:
        click.echo("\n\n".join("\n".join(each.lines()) for each in gauges))


def _show_on_screen(looks: Iterator[list[Gauge]]) -> None:
    # Imported here: rich takes longer to import than all the rest of the command line.
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    with Live(console=Console(), screen=True, auto_refresh=False) as live:
        for gauges in looks:
            screens = ["\n".join(each.lines()) for each in gauges] or [_HINT]
            page = "\n\n".join((*screens, "Ctrl-C ends"))
            live.update(Text(page, no_wrap=True, overflow="ellipsis"), refresh=True)
