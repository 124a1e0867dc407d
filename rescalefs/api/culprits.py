"""Pure: who or what keeps us from a server, and what a person has to set, from a library's error.

Each message begins with the culprit: the proxy, the certificates, the address or the server. What no retry
can mend is `Misconfigured`; what may pass by itself is left to `failures`.
"""

from __future__ import annotations

import http.client
import re
import ssl
from collections.abc import Iterator
from typing import NamedTuple

import requests
import urllib3

from rescalefs.api.way import Proxy, Way
from rescalefs.errors import Misconfigured

TUNNEL_REFUSED = re.compile(r"Tunnel connection failed: (\d{3})\s*([^'\")]*)")  # http.client's words
_PASSING_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})  # of a proxy: the server is merely away
_NOT_TLS = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG")
_TLS_ALERT = "\x15\x03"  # how TLS says no to what is not TLS
# X509_V_ERR_* of OpenSSL's x509_vfy.h
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAME = frozenset({62, 63, 64})  # of a host, an e-mail address, an IP address


NO_ADDRESS = (requests.exceptions.InvalidURL, urllib3.exceptions.LocationValueError, UnicodeError)
"""What requests and urllib3 raise for an address that can lead nowhere, such as one with a label too long."""

_SOCKS_REFUSAL = re.compile("(?i)authentication failed|authentication methods|not allowed by ruleset")


class Told(NamedTuple):
    """One line for a person."""

    why: str
    remedy: str


def misconfiguration(error: Exception, way: Way, trusted: str) -> Misconfigured | None:
    """What a person has to mend, if the error shows something.

    ``trusted`` names where the certificates in use come from.
    """
    causes = list(causes_of(error))
    insecure = next((each for each in causes if isinstance(each, ssl.SSLError)), None)
    if insecure is None or is_a_broken_line(insecure):
        told = _of_tunnel(causes, way) or _of_socks(causes, way) or _of_address(causes, way)
        return Misconfigured(*told) if told is not None else None
    if way.proxy is not None and any(_is_of_proxy(each) for each in causes):
        return Misconfigured(*_of_proxys_tls(insecure, way.proxy))
    return Misconfigured(*_of_tls(insecure, way, trusted))


def is_a_broken_line(error: ssl.SSLError) -> bool:
    """Whether TLS only met what plain TCP would have met, too: an end, or bits that flipped on the way."""
    return isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)) or (
        "BAD_RECORD_MAC" in _sign(error)
    )


def causes_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was made of, outermost first: causes, arguments, and the `reason` of urllib3's.

    Not contexts: what our caller was just handling, an earlier refusal say, is one and tells nothing of this.
    """
    seen: set[int] = set()
    queue = [error]
    while queue:
        each = queue.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            queue += [getattr(each, "reason", None), each.__cause__]
            queue += [arg for arg in each.args if isinstance(arg, BaseException)]


def _is_of_proxy(error: BaseException) -> bool:
    return isinstance(error, (requests.exceptions.ProxyError, urllib3.exceptions.ProxyError))


def _of_tunnel(causes: list[BaseException], way: Way) -> Told | None:
    """An HTTP proxy answered, and did not let us through."""
    found = next((match for each in causes if (match := TUNNEL_REFUSED.search(str(each)))), None)
    proxy = way.proxy
    if found is None or proxy is None or int(found[1]) in _PASSING_STATUSES:
        return None
    if found[1] != "407":
        return Told(
            f"{proxy} lets no connection through to {way.host} ({found[1]} {found[2].strip()[:80]})",
            f"Ask who runs the proxy, or add {way.host} to NO_PROXY if it can be reached without the proxy",
        )
    if proxy.has_password:
        return Told(
            f"{proxy} does not take the user name and the password that {proxy.origin} holds (407)",
            f"Correct {proxy.origin}. For a proxy that takes Kerberos or NTLM alone, run a helper such as px",
        )
    return Told(
        f"{proxy} wants a user name and a password (407)",
        f"Set {proxy.origin} to http://USER:PASSWORD@HOST:PORT, or add {way.host} to NO_PROXY if it can be "
        "reached without the proxy",
    )


def _of_socks(causes: list[BaseException], way: Way) -> Told | None:
    """A SOCKS proxy answered no. Its errors are known by their words: their package may be missing."""
    found = next((match for each in causes if (match := _SOCKS_REFUSAL.search(str(each)))), None)
    if found is None or way.proxy is None or not way.proxy.shown.startswith("socks"):
        return None
    return Told(
        f"{way.proxy} refuses us ({found[0]})",
        f"Set {way.proxy.origin} to socks5h://USER:PASSWORD@HOST:PORT, or ask who runs the proxy",
    )


def _of_proxys_tls(error: ssl.SSLError, proxy: Proxy) -> Told:
    if _is_not_tls(error):
        return Told(f"{proxy} does not speak TLS", f"Write http:// in place of https:// in {proxy.origin}")
    return Told(
        f"{proxy} cannot be reached securely ({_why(error)})",
        f"Write http:// in place of https:// in {proxy.origin}, or add the proxy's certificate to those of "
        "the system",
    )


def _of_tls(error: ssl.SSLError, way: Way, trusted: str) -> Told:
    host = f"{way.host}, through {way.proxy}," if way.proxy else way.host
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_certificate(error, way, host, trusted)
    if _is_not_tls(error):
        return Told(f"{host} does not speak TLS, which https:// stands for", f"Check {way.address}")
    if any(sign in _sign(error) for sign in ("CERTIFICATE_REQUIRED", "BAD_CERTIFICATE")):
        return Told(
            f"{host} wants a certificate of the client, and rescalefs has none to send",
            "Ask who runs the server, or the network, for a way without",
        )
    return Told(
        f"{host} cannot be reached securely ({_why(error)})",
        f"Check {way.address}, and what is in between",
    )


def _of_certificate(error: ssl.SSLCertVerificationError, way: Way, host: str, trusted: str) -> Told:
    if error.verify_code in _OTHER_NAME:
        return Told(f"{host} has a certificate for another name ({_why(error)})", f"Check {way.address}")
    if error.verify_code in (_EXPIRED, _NOT_YET_VALID):
        return Told(
            f"{host} has a certificate that is not valid today ({_why(error)})",
            "Check this machine's clock; if it is right, the owner of the server, or of a proxy in between, "
            "has to renew the certificate",
        )
    return Told(
        f"{host} has a certificate that is not trusted here ({_why(error)}); trusted is {trusted}",
        "If your company inspects connections, add its certificate to those of the system, or set "
        f"REQUESTS_CA_BUNDLE to a file that holds it; else check {way.address}",
    )


def _of_address(causes: list[BaseException], way: Way) -> Told | None:
    """The address is none, or it says http and TLS is spoken there."""
    is_none = any(isinstance(each, NO_ADDRESS) for each in causes)
    if is_none and way.is_ours and way.url:
        return Told(f"{way.host} cannot be the name of a host", f"Check {way.address}")
    if any(isinstance(each, http.client.BadStatusLine) and _TLS_ALERT in str(each) for each in causes):
        return Told(f"{way.host} speaks TLS", f"Write https:// in place of http:// in {way.address}")
    return None


def _sign(error: ssl.SSLError) -> str:
    """OpenSSL's own name of what went wrong, where the error has one."""
    return getattr(error, "reason", None) or ""


def _is_not_tls(error: ssl.SSLError) -> bool:
    return any(sign in _sign(error) for sign in _NOT_TLS)


def _why(error: ssl.SSLError) -> str:
    verified = getattr(error, "verify_message", "")
    return verified or _sign(error).replace("_", " ").lower() or error.strerror or "unknown TLS error"
