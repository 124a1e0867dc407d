"""`rescalefs cache info|clear|verify`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rescalefs.cli.connection import profile_option
from rescalefs.cli.listing import json_option, print_record

if TYPE_CHECKING:  # `rescalefs --help` must not import the cache's library
    from rescalefs.reading import CacheUpkeep


def _with_cache(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give ``command`` the cache as its first argument, by its new ``--profile`` and ``--cache-dir``."""

    @profile_option
    @click.option(
        "--cache-dir",
        metavar="DIR",
        type=click.Path(path_type=Path),
        help="Where the cache is, if not in the usual place.",
    )
    @functools.wraps(command)
    def with_cache(profile: str | None, cache_dir: Path | None, **arguments: Any) -> Any:
        from rescalefs.assembly.cache import open_cache

        return command(open_cache(profile, cache_dir), **arguments)

    return with_cache


@click.group()
def cache() -> None:
    """Show, verify or clear the cache of remote files.

    Nothing in the cache is needed: what is not there is fetched again. All of this works while the account
    is mounted.
    """


@cache.command()
@_with_cache
@json_option
def info(cache: CacheUpkeep, as_json: bool) -> None:
    """Show where the cache is and how full.

    Sizes are bytes. `files` have some block in the cache; of `verified` ones, the SHA-512 agreed, and every
    block that is fetched again is held against that: their digests are the `records`.
    """
    print_record(cache.info()._asdict(), as_json)


@cache.command()
@_with_cache
@json_option
def clear(cache: CacheUpkeep, as_json: bool) -> None:
    """Remove the bytes of all remote files from the cache.

    Files that are being read go on. What is listed in folders stays known. It says how much there was.
    """
    before = cache.clear()
    print_record({"removed_blocks": before.blocks, "removed_bytes": before.used}, as_json)


@cache.command()
@_with_cache
@json_option
def verify(cache: CacheUpkeep, as_json: bool) -> int:
    """Hold every byte in the cache against its digest, and remove what is damaged.

    It looks at all `blocks` and `records` that `rescalefs cache info` counts. The exit code is 1 if anything
    was damaged. Reading does the same with all that it gives out; this finds out how the disk is doing.
    """
    verdict = cache.verify()
    print_record(verdict._asdict(), as_json)
    return 1 if verdict.bad else 0
