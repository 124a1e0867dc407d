"""Which certificates are trusted: those that a variable names, or else those of the system and of certifi.

A variable replaces all others, as it does in curl and in OpenSSL. A company that inspects connections puts
its certificate into the system's store, so programs find it there without a variable.
"""

from __future__ import annotations

import os
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import certifi
from urllib3.util.ssl_ import create_urllib3_context

from rescalefs.errors import Misconfigured

VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Those that name certificates; the first one that is set counts."""

# Where systems keep them in one file: Debian; Fedora and RHEL; SUSE; Alpine, Arch, BSD and macOS. Python's
# OpenSSL may have been built for another system (uv, conda); then the folder it looks into does not exist.
_SYSTEM_FILES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


@dataclass(frozen=True, slots=True)
class Trust:
    """The certificates in use, and where they come from."""

    context: ssl.SSLContext
    origin: str


class Truster:
    """Loads the certificates once, and again when the variable or its file changes. Thread-safe."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ
        self._lock = threading.Lock()  # guards _loaded
        self._loaded: tuple[object, Trust] | None = None

    def trust(self) -> Trust:
        """What is trusted now. Raises `Misconfigured` for a variable that names no certificates."""
        variable, path = self._named()
        version = (variable, path, _version(path))
        with self._lock:
            loaded = self._loaded
        if loaded is not None and loaded[0] == version:
            return loaded[1]
        trust = _of_variable(variable, path) if variable else _of_system()
        with self._lock:
            self._loaded = (version, trust)
        return trust

    @property
    def origin(self) -> str:
        """Where the certificates that are in use come from, in words."""
        with self._lock:
            return self._loaded[1].origin if self._loaded is not None else "what the system trusts"

    def forget(self) -> None:
        """Load them again next time, because the system's may have changed since."""
        with self._lock:
            self._loaded = None

    def _named(self) -> tuple[str, Path]:
        for variable in VARIABLES:
            if path := self._environ.get(variable):
                return variable, Path(path)
        return "", Path()


def _version(path: Path) -> object:
    try:
        look = path.stat()
    except OSError:
        return None
    return look.st_ino, look.st_mtime_ns, look.st_size


def _new_context() -> ssl.SSLContext:
    """Checks certificates as curl and browsers do.

    Since Python 3.13 the default is stricter (RFC 5280), and refuses the authorities of many companies, which
    lack a key usage or a key identifier.
    """
    context = create_urllib3_context()
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


def _of_variable(variable: str, path: Path) -> Trust:
    context = _new_context()
    try:
        if path.is_dir():
            context.load_verify_locations(capath=str(path))
        else:
            path.open("rb").close()  # what OpenSSL says of a file that it may not read names no reason
            context.load_verify_locations(cafile=str(path))
    except ssl.SSLError as error:
        raise Misconfigured(
            f"{variable} names {path}, which holds no certificates in PEM form",
            f"Correct {variable}, or unset it: then those of the system are used",
        ) from error
    except OSError as error:
        raise Misconfigured(
            f"{variable} names {path}, which cannot be read ({error.strerror})",
            f"Correct {variable}, or unset it: then the certificates of the system are used",
        ) from error
    return Trust(context, f"{path}, which {variable} names")


def _of_system() -> Trust:
    """Those of the system, and certifi's: a system may have none, and an old one lacks new authorities."""
    context = _new_context()
    context.load_default_certs()
    for file in () if context.cert_store_stats()["x509"] else _SYSTEM_FILES:
        try:
            context.load_verify_locations(cafile=file)
        except OSError:  # also what OpenSSL finds wrong with it: an SSLError is one
            continue
        break
    context.load_verify_locations(cafile=certifi.where())
    return Trust(context, "what the system trusts")
