"""Where things of an account are kept, by its API key."""

from __future__ import annotations

from rescalefs.assembly.share import owner_of, share_of
from rescalefs.belonging import Belonging, Key
from rescalefs.config import Account, Places, Settings
from rescalefs.model import User


def key_of(account: Account) -> Key:
    """The account's API key, as far as what is kept on disk may know it."""
    return Key(account.server, account.key_mark)


def places_of(settings: Settings, account: Account, user: User | None = None) -> Places:
    """The places of the account; ``user`` is whose key it is, where the server was asked.

    The cache is that of the key's account. Drops and journal are the profile's, whatever its key: they say
    for themselves whose they are, and refuse other accounts.
    """
    usual = Places.of(account.name, settings.cache_dir)
    return Places.of(account.name, settings.cache_dir, share_of(usual.blocks.parent, key_of(account), user))


def recorded_owner(settings: Settings, account: Account) -> Belonging | None:
    """Whose key the account's is, as the cache folder has recorded it; None where it has not."""
    usual = Places.of(account.name, settings.cache_dir)
    return owner_of(usual.blocks.parent, key_of(account))
