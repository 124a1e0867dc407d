"""What is in force: settings from defaults, file, environment and flags; whose account; where things are.

Promises: a wrong value is an error that names it, where it came from and what would be right, and all wrong
values are named at once; a profile is written as Rescale's own tools read it, readable by its owner alone.
Knows no other room: `rescalefs.assembly` makes each room's settings from these.
"""

from rescalefs.config.places import Places
from rescalefs.config.profiles import (
    PLATFORMS,
    Account,
    profile_path,
    profiles,
    resolve_account,
    write_profile,
)
from rescalefs.config.settings import SETTINGS, Setting, Settings, load_settings
from rescalefs.config.values import as_text

__all__ = [
    "PLATFORMS",
    "SETTINGS",
    "Account",
    "Places",
    "Setting",
    "Settings",
    "as_text",
    "load_settings",
    "profile_path",
    "profiles",
    "resolve_account",
    "write_profile",
]
