"""Rescale over HTTP: one client, every error from `rescalefs.errors`, pages already joined.

Does: time limits, retries with back-off, rate limits, redirects without the key, JSON to `rescalefs.model`.
Promises: the API key appears in no log, no `repr`, no exception; a request that might create a job is never
sent twice by itself. Does not know: caches, paths, mounts, drops.
"""

from rescalefs.api.bodies import RangeBody, TailBody
from rescalefs.api.client import RescaleClient
from rescalefs.api.settings import ApiSettings
from rescalefs.api.sockets import Opened, none_opened

__all__ = ["ApiSettings", "Opened", "RangeBody", "RescaleClient", "TailBody", "none_opened"]
