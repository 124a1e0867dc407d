"""Pure: which account something on this machine belongs to, and whether an API key is of that account.

An account is an e-mail address in a workspace, as `users/me/` gives them. A field that the server leaves out
proves nothing. Then the key decides, because a key never passes to another account.
"""

from __future__ import annotations

import enum
import secrets
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from rescalefs.errors import UserError
from rescalefs.model import User

_MOST_KEYS = 16  # that are remembered: renewed keys of one account, on all machines that share a folder


@dataclass(frozen=True, slots=True)
class Key:
    """An API key, as far as others may know it."""

    server: str = ""  # host, and port where the address has one
    mark: Callable[[str], str] = lambda _salt: ""
    """A digest of the key with a salt: it tells keys apart, and gives none away. Empty: not known."""


class OtherAccount(UserError):
    """The API key is of another account than what it would be used for. ``why`` leaves out what to do."""

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(f"{why}. {remedy}" if remedy else why)
        self.why = why


class Verdict(enum.Enum):
    """What a key's account is to one that is recorded."""

    SAME = "same"
    OTHER = "other"
    UNKNOWN = "unknown"  # the server tells too little, and the key is new


class Belonging(msgspec.Struct, frozen=True):
    """The account that something belongs to, and the keys that were confirmed to be of it."""

    server: str = ""
    email: str = ""
    workspace_id: str = ""
    workspace: str = ""  # its name: for messages alone, because it can be changed
    salt: str = ""
    keys: tuple[str, ...] = ()  # marks, the oldest first

    @classmethod
    def of(cls, user: User, key: Key) -> Belonging:
        """The record of an account that is met for the first time."""
        salt = secrets.token_hex(8)
        return cls(key.server, user.email, user.workspace_id, user.workspace, salt).with_key(key)

    @classmethod
    def parsed(cls, text: str | bytes) -> Belonging:
        """The record from its text. Raises `msgspec.MsgspecError` (a ValueError)."""
        return msgspec.json.decode(text, type=cls)

    def text(self) -> str:
        """The record as JSON."""
        return msgspec.json.encode(self).decode()

    def knows(self, key: Key) -> bool:
        """Whether this key was confirmed to be of the account."""
        found = key.mark(self.salt)
        return found != "" and found in self.keys

    def verdict(self, user: User, key: Key) -> Verdict:
        """Whether the key that belongs to ``user`` is of this account.

        The case of an e-mail address does not count. A colleague has the same workspace and another address.
        """
        emails = _compared(self.email.strip().casefold(), user.email.strip().casefold())
        workspaces = _compared(self.workspace_id, user.workspace_id)
        servers = _compared(self.server, key.server)
        if False in (servers, emails, workspaces):
            return Verdict.OTHER
        if emails or self.knows(key):
            return Verdict.SAME
        return Verdict.UNKNOWN

    def with_key(self, key: Key) -> Belonging:
        """The record with one more key."""
        new = key.mark(self.salt)
        if not new or new in self.keys:
            return self
        return msgspec.structs.replace(self, keys=(*self.keys, new)[-_MOST_KEYS:])

    def completed(self, user: User) -> Belonging:
        """The record with what the server tells of the same account now, and did not before."""
        return msgspec.structs.replace(
            self,
            email=self.email or user.email,
            workspace_id=self.workspace_id or user.workspace_id,
            workspace=user.workspace or self.workspace,
        )

    def __str__(self) -> str:
        """``anna@example.com in workspace Wings (aBcD) at eu.rescale.com``."""
        who = self.email or "an account without an e-mail address"
        mark = f"({self.workspace_id})" if self.workspace_id else ""
        where = " ".join(part for part in (self.workspace, mark) if part)
        return f"{who}{' in workspace ' * bool(where)}{where}{' at ' * bool(self.server)}{self.server}"


def _compared(known: str, now: str) -> bool | None:
    """Whether they are equal; None where one of them is not known."""
    return known == now if known and now else None
