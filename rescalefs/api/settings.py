"""Where the server is, whose key is used, and how long to wait."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from rescalefs.errors import BadSettings

_STORED = 10_000_000  # bytes per second: as slowly as a server may store what was sent to it


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """What the client needs to know. All times in seconds."""

    base_url: str  # without /api/v2
    api_key: str = field(repr=False)
    connect_timeout: float = 10.0
    read_timeout: float = 60.0  # between two bytes of an answer
    patience: float = 120.0  # for one call with all its retries
    unreached: float | None = None  # the same as long as there is no connection; None: as long as patience
    upload_answer: float = 600.0  # at most, after the last byte of an upload
    longest_list: int = 1_500_000  # entries; a longer one is an error, so that no answer takes all memory
    pages_at_once: int = 10
    unmetered: frozenset[str] = frozenset()  # scopes of `limits` in which only a 429 makes us wait
    address_origin: str = ""  # the setting that `base_url` comes from, for messages

    def patience_after_upload(self, size: int) -> float:
        """Seconds from the last byte of an upload of ``size`` bytes to its answer.

        The server stores a file before it answers. But where the network swallowed the answer to a small
        one, nothing is gained by ten minutes, in which its drop does not get on.
        """
        return max(self.read_timeout, min(self.upload_answer, self.read_timeout + size / _STORED))

    def __post_init__(self) -> None:
        if "@" in self.base_url:
            raise BadSettings("the API address holds a user name or a password. Use the API key alone")
        if not _has_port(self.base_url):
            raise BadSettings(
                f"the API address {self.base_url!r} names an impossible port: it is a number up to 65535, "
                "as in http://127.0.0.1:8765, or left out"
            )
        if not is_safe_url(self.base_url) or set(self.base_url) & {"?", "#"}:
            raise BadSettings(
                f"the API address {self.base_url!r} is not safe: a key may only travel over https. "
                "Use an address such as https://platform.rescale.com (http works for the loopback alone)"
            )
        if not re.fullmatch("[!-~]+", self.api_key):
            raise BadSettings(
                "the API key is empty, or holds blanks or characters no key has. "
                "Copy it again from your profile page"
            )


def is_safe_url(url: str) -> bool:
    """Whether a key may be sent there: https, or http to this very machine."""
    # Of blanks, backslashes and user names, what parses here and what connects may have views of their own.
    if not re.fullmatch(r"[!-\[\]-~]+", url):
        return False
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or "@" in parts.netloc:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))


def _has_port(url: str) -> bool:
    """Whether what stands for a port can be one; true as well where the address cannot be taken apart."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return True
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False


def host_of(url: str) -> str:
    """The host of an address, without its port; empty where it has none."""
    return urlsplit(url).hostname or ""


def is_loopback(host: str) -> bool:
    """Whether ``host`` can only be this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
