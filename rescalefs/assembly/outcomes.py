"""How jobs ended, as far as this machine knows without a request, for commands that list jobs."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from rescalefs.assembly.client import account_of
from rescalefs.assembly.drops import known_drops
from rescalefs.assembly.places import places_of
from rescalefs.config import load_settings
from rescalefs.errors import RescaleFSError
from rescalefs.model import Outcome
from rescalefs.tree.catalog import stored_jobs

log = logging.getLogger(__name__)


def known_outcomes(profile: str | None) -> Mapping[str, Outcome]:
    """By job: what a mount or a sync of the account learnt, and the journal of its drops.

    Outcomes never change, so what was stored some time ago is as good. What cannot be read is not known.
    """
    found: dict[str, Outcome] = {}
    try:
        settings = load_settings({"profile": profile})
        places = places_of(settings, account_of(settings))
        stored = stored_jobs(places.listings)
        found.update((job.id, job.outcome) for job in stored if job.outcome is not None)
        for drop in known_drops(profile).reports:
            if drop.job_id is not None and drop.outcome is not None:
                found[drop.job_id] = drop.outcome
    except (RescaleFSError, OSError) as error:
        log.info("how jobs ended is not known: %s", error)
    return found
