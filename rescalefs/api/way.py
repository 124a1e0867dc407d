"""Which proxy leads to a server, and which variable of the environment names it.

Decided here alone, and before anything is sent: so the variable that is at fault can be named. A proxy's
password is in no message and in no `repr`.
"""

from __future__ import annotations

import importlib.util
import os
import re
from dataclasses import dataclass, field
from urllib.request import getproxies

import requests.utils
import urllib3.exceptions
from urllib3.util import Url, parse_url

from rescalefs.api.settings import host_of, is_loopback
from rescalefs.errors import Misconfigured

_SOCKS = ("socks4", "socks4a", "socks5", "socks5h")
_KINDS = ("http", "https", *_SOCKS)
_SYSTEM = "the system's proxy settings"  # macOS and Windows have some beside the environment


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that this machine's settings name."""

    url: str = field(repr=False)  # may hold a password
    origin: str  # the variable, such as HTTPS_PROXY
    shown: str  # scheme, host and port
    has_password: bool = False

    def __str__(self) -> str:
        return f"the proxy {self.shown} (from {self.origin})"


@dataclass(frozen=True, slots=True)
class Way:
    """How a server is reached."""

    url: str
    proxy: Proxy | None = None
    address_origin: str = ""  # the setting that holds the address; empty where none does
    is_ours: bool = True  # False: the server redirected us there

    @property
    def host(self) -> str:
        """Host, and port where the address has one, without a user name."""
        return self.url.partition("://")[2].partition("/")[0].rpartition("@")[2]

    @property
    def address(self) -> str:
        """What a person has to check when the address is wrong."""
        if not self.is_ours:
            return "the network: the server redirected there"
        return f"the address in {self.address_origin}" if self.address_origin else "the address"


def way_to(url: str, address_origin: str = "", is_ours: bool = True) -> Way:
    """How to reach ``url``. Raises `Misconfigured` for a proxy that cannot be one.

    This very machine is never reached through a proxy, because over http that would see the key.
    """
    host = host_of(url)
    if is_loopback(host) or requests.utils.should_bypass_proxies(url, None):
        return Way(url, None, address_origin, is_ours)
    found = getproxies()
    for kind in (url.partition(":")[0], "all"):
        if value := found.get(kind, ""):
            return Way(url, _proxy(value.strip(), _variable(kind, value)), address_origin, is_ours)
    return Way(url, None, address_origin, is_ours)


def _variable(kind: str, value: str) -> str:
    """The variable that holds the proxy: in small letters it goes before the other, as in curl."""
    names = [name for name in os.environ if name.lower() == f"{kind}_proxy" and os.environ[name] == value]
    return min(names, key=str.swapcase, default=_SYSTEM)


def _proxy(value: str, origin: str) -> Proxy:
    """What a variable says. Without a scheme it is an HTTP proxy, as in every other program."""
    full = value if "://" in value else f"http://{value}"
    kind, parts = full.partition("://")[0].lower(), _parsed(full)
    is_kind = re.fullmatch(r"[a-z][a-z0-9+.-]*", kind) is not None  # else it may be half a password
    if is_kind and kind not in _KINDS:
        advice = "socks5h" if kind.startswith("socks") else "http"
        raise Misconfigured(
            f"the proxy in {origin} cannot be used: there is no kind of proxy called {kind}",
            f"Write {advice}:// in place of {kind}://",
        )
    if not is_kind or parts is None or not parts.host:
        raise Misconfigured(
            f"the proxy in {origin} cannot be used: it is no address",
            "Write it as http://HOST:PORT, and characters such as @, # and / in a user name or a password as "
            "%40, %23 and %2F",
        )
    if kind in _SOCKS and importlib.util.find_spec("socks") is None:
        raise Misconfigured(
            f"the proxy in {origin} cannot be used: SOCKS needs a package that is not installed",
            "Install it: pip install 'rescalefs[socks]'",
        )
    return Proxy(full, origin, f"{kind}://{parts.netloc}", has_password=parts.auth is not None)


def _parsed(url: str) -> Url | None:
    """The parts of an address; None for what is none, also where a part of a password passes for the host."""
    try:
        parts = parse_url(url)
    except (urllib3.exceptions.LocationParseError, ValueError):
        return None
    behind = (parts.path, parts.query, parts.fragment)
    return None if any("@" in (part or "") for part in behind) else parts
