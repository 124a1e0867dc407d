"""Which part of a profile's cache belongs to the account of the API key.

A cache folder is named after a profile and a host, and a profile's key may be replaced by one of another
account. What one account listed and read is never shown to a key of another: each account has a share of its
own. The first account has the folder itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
from pathlib import Path

import msgspec

from rescalefs.belonging import Belonging, Key, Verdict
from rescalefs.exclusion import Taken, exclusive
from rescalefs.model import User
from rescalefs.private import make_private

log = logging.getLogger(__name__)

_FILE = "accounts.json"
_LOCK = "accounts.lock"
_PATIENCE = 5.0  # seconds for another process that writes the file, which takes milliseconds
_OFFLINE_SALT = "share"


class _Share(msgspec.Struct, frozen=True):
    """One account, and its folder below the cache folder. That of the first account is empty."""

    folder: str
    belonging: Belonging


def share_of(cache: Path, key: Key, user: User | None) -> str:
    """The folder of the key's account below ``cache``; ``user`` is whose key it is, if the server said so.

    Without ``user``, a key that is new here gets a folder of its own, because it may be anyone's. A disk that
    takes no record costs a second cache, and no error.
    """
    with contextlib.ExitStack() as held:
        try:
            make_private(cache)
            held.enter_context(exclusive(cache / _LOCK, _PATIENCE))
        except (OSError, Taken) as error:
            log.warning("cannot record whose cache %s is: %s", cache, _reason(error))
        shares = _read(cache)
        found = _found(shares, key, user)
        if found is None:
            own = "" if shares is not None and not shares else _own_folder(key)
            if user is None and own:
                return own
            found = _Share(own, Belonging.of(user or User(""), key))
        after = found.belonging.completed(user) if user is not None else found.belonging
        updated = _Share(found.folder, after.with_key(key))
        others = [_without(each, key) for each in shares or () if each.folder != found.folder]
        if [updated, *others] != shares:
            _write(cache, [updated, *others])
    return updated.folder


def owner_of(cache: Path, key: Key) -> Belonging | None:
    """The account that the key was confirmed to be of; None where that is not recorded below ``cache``."""
    share = _found(_read(cache), key, None)
    return None if share is None else share.belonging


def _found(shares: list[_Share] | None, key: Key, user: User | None) -> _Share | None:
    for share in shares or ():
        known = share.belonging
        if known.knows(key) if user is None else known.verdict(user, key) is Verdict.SAME:
            return share
    return None


def _own_folder(key: Key) -> str:
    return f"key-{key.mark(_OFFLINE_SALT)[:16]}"


def _without(share: _Share, key: Key) -> _Share:
    """The share of another account, which the key is not of, whatever was believed."""
    mark = key.mark(share.belonging.salt)
    keys = tuple(each for each in share.belonging.keys if each != mark)
    return _Share(share.folder, msgspec.structs.replace(share.belonging, keys=keys))


def _read(cache: Path) -> list[_Share] | None:
    """The shares that are recorded, the latest first; None where the record cannot be read."""
    try:
        return msgspec.json.decode((cache / _FILE).read_bytes(), type=list[_Share])
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, msgspec.MsgspecError) as error:
        log.warning("%s is damaged (%s); what was cached before is left alone", cache / _FILE, _reason(error))
        return None


def _write(cache: Path, shares: list[_Share]) -> None:
    part = cache / f"{_FILE}.{os.getpid()}.part"
    try:
        with open(part, "wb", opener=_private) as file:
            file.write(msgspec.json.encode(shares))
        part.replace(cache / _FILE)
    except OSError as error:
        log.warning("cannot record whose cache %s is: %s", cache, _reason(error))
        with contextlib.suppress(OSError):
            part.unlink()


def _reason(error: Exception) -> str:
    """In words, without the number and the temporary name that an `OSError` quotes."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
