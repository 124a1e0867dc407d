"""The cache that settings and environment mean."""

from __future__ import annotations

from pathlib import Path

from rescalefs.assembly.client import account_of
from rescalefs.assembly.places import places_of
from rescalefs.clock import SystemClock
from rescalefs.config import load_settings
from rescalefs.reading import CacheUpkeep


def open_cache(profile: str | None = None, cache_dir: Path | None = None) -> CacheUpkeep:
    """The bytes kept for an account; both are a flag's. Asks no server."""
    settings = load_settings({"profile": profile, "cache_dir": None if cache_dir is None else str(cache_dir)})
    places = places_of(settings, account_of(settings))
    return CacheUpkeep(places.blocks, settings.cache_size, SystemClock())
