"""Rescale's own profile file, `apiconfig`: an INI file with a section for each profile.

Place and format are those of Rescale's command line tools [user API notebook, 2023-24; Interlink 4.9].
"""

from __future__ import annotations

import configparser
import hashlib
import logging
import os
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from rescalefs.config import keychain
from rescalefs.config.home import home_needed
from rescalefs.errors import BadSettings
from rescalefs.private import make_private
from rescalefs.surroundings import KEY_VARIABLE

if TYPE_CHECKING:
    from configupdater import ConfigUpdater

log = logging.getLogger(__name__)

# Addresses by platform [Interlink 4.9]; the first is the default.
PLATFORMS = (
    "https://platform.rescale.com",
    "https://eu.rescale.com",
    "https://platform.rescale.jp",
    "https://kr.rescale.com",
    "https://itar.rescale.com",
    "https://itar.rescale-gov.com",
)

URL_VARIABLE = "RESCALE_API_URL"
_KEYRING = "keyring"  # an option of ours in a profile: its key is in the system's keyring


@dataclass(frozen=True, slots=True)
class Account:
    """Whose account: where, and by which key. ``name`` is fit for a folder, and tells nothing secret."""

    name: str
    base_url: str
    api_key: str = field(repr=False)
    address_origin: str = ""  # the setting that names the address, for messages; empty: none does

    @property
    def server(self) -> str:
        """Host, and port where the address has one."""
        return urlsplit(self.base_url).netloc.rpartition("@")[2].lower()

    def key_mark(self, salt: str) -> str:
        """A digest that tells keys apart. A key has 160 random bits, so none can be found from it."""
        content = f"{salt}\n{self.api_key}"
        return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:24]


@home_needed()
def profile_path(home: Path | None = None, platform: str = sys.platform) -> Path:
    """Where the profiles are. On Windows, clients write `config` as well as `.config`."""
    home = home or Path.home()
    dotted = home / ".config" / "rescale" / "apiconfig"
    plain = home / "config" / "rescale" / "apiconfig"
    return plain if platform == "win32" and (plain.exists() or not dotted.exists()) else dotted


def profiles(path: Path) -> tuple[str, ...]:
    """The names of the profiles there are."""
    return tuple(_read(path).sections())


def resolve_account(
    profile: str, chosen: bool, environ: Mapping[str, str] | None = None, path: Path | None = None
) -> Account:
    """Find the key and the address. ``chosen``: somebody asked for this profile by name.

    ``RESCALE_API_KEY`` and ``RESCALE_API_URL`` override the profile's. Raises `BadSettings`.
    """
    environ = os.environ if environ is None else environ
    path = path or profile_path()
    key, url = environ.get(KEY_VARIABLE, "").strip(), environ.get(URL_VARIABLE, "").strip()
    from_profile = _profile(path, profile) if chosen or not key else {}
    name = profile
    address = _address(url or from_profile.get("apibaseurl", ""))
    if not key and _is_in_keyring(from_profile):
        key = keychain.find(_account_name(profile, _address(from_profile.get("apibaseurl", ""))))
    elif not key:
        key = from_profile.get("apikey", "").strip()
    elif key != from_profile.get("apikey", "").strip():
        # Whose account it is, the key alone tells: its drops and jobs must not get among the profile's.
        # A digest of the key tells as much, and can't be turned back.
        name = "env-" + hashlib.sha256(key.encode()).hexdigest()[:8]
    if not key:
        raise BadSettings(
            f"there is no API key: profile [{profile}] in {path} has none, and {KEY_VARIABLE} is not set. "
            "Run `rescalefs login`"
        )
    origin = f"profile [{profile}] of {path}" if from_profile.get("apibaseurl") else ""
    return Account(_account_name(name, address), address, key, URL_VARIABLE if url else origin)


def profile_address(path: Path | None, profile: str) -> str:
    """The address that a profile names, or the first platform's; raise `BadSettings` for no such profile."""
    return _address(_profile(path, profile).get("apibaseurl", "") if path else "")


def _address(url: str) -> str:
    """The server's address; as it stands in scripts and profiles, it may end in `/api/v2/` or `/api/v3/`."""
    given = (url.strip() or PLATFORMS[0]).rstrip("/")
    return given.removesuffix("/api/v2").removesuffix("/api/v3")


def _is_in_keyring(profile: Mapping[str, str]) -> bool:
    return profile.get(_KEYRING, "").strip().lower() in {"true", "yes", "on", "1"}


def _account_name(name: str, url: str) -> str:
    """A folder's name, unlike that of any other profile or host, and without what a URL may hide."""
    try:
        host = urlsplit(url).netloc.rpartition("@")[2]
    except ValueError as error:
        raise BadSettings(
            f"the API address cannot be read ({error}). Use an address such as {PLATFORMS[0]}"
        ) from None
    return f"{quote(name, safe='')}@{quote(host.replace(':', '_'), safe='') or 'nowhere'}"


def write_profile(path: Path, profile: str, base_url: str, api_key: str, in_keyring: bool = False) -> None:
    """Write one profile, leaving all others and all comments; whole or not at all, readable by its owner.

    ``in_keyring``: the key goes into the system's keyring, and the file only says so.
    """
    if not profile.isprintable() or set(profile) & set("[]"):
        raise BadSettings(f"{profile!r} cannot be the name of a profile: leave out brackets and line ends")
    path = path.resolve()  # where it is a link, as those who keep such files in a repository have it
    config = _read_to_write(path)
    if not config.has_section(profile):
        if config.sections():
            config[config.sections()[-1]].add_after.space(1)
        config.add_section(profile)
    config.set(profile, "apibaseurl", base_url)
    if in_keyring:
        keychain.keep(_account_name(profile, _address(base_url)), api_key)
        config.set(profile, _KEYRING, "true")
        config.remove_option(profile, "apikey")
    else:
        config.set(profile, "apikey", api_key)
        config.remove_option(profile, _KEYRING)
    make_private(path.parent)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".apiconfig-")  # 0600 by its own promise
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(str(config))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _profile(path: Path, profile: str) -> dict[str, str]:
    config = _read(path)
    if not config.has_section(profile):
        known = ", ".join(config.sections()) or "none"
        if not path.exists():
            return {}
        raise BadSettings(
            f"there is no profile [{profile}] in {path}; there are: {known}. Run `rescalefs login`"
        )
    found = {name: _unquoted(value or "") for name, value in config[profile].items()}
    # The old name of the address, which public clients still write.
    return {"apibaseurl": found["apiurl"], **found} if "apiurl" in found else found


def _unquoted(value: str) -> str:
    """Without quotes around it: the file is shared with clients that write `apikey = 'abc'`."""
    value = value.strip()
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value


def _read(path: Path) -> configparser.RawConfigParser:
    """The profiles in the file; none where there is no file."""
    config = configparser.RawConfigParser(default_section="")
    _read_into(config, path)
    return config


def _read_to_write(path: Path) -> ConfigUpdater:
    """The file with its comments, to be changed."""
    from configupdater import ConfigUpdater  # imported here: it takes 20 ms, and most only read

    config = ConfigUpdater()
    _read_into(config, path)
    return config


def _read_into(config: ConfigUpdater | configparser.RawConfigParser, path: Path) -> None:
    """Read the file, if there is one; warns when others can read it."""
    try:
        with path.open(encoding="utf-8-sig") as file:  # some editors begin a file with a byte order mark
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if os.name == "posix" and mode & 0o077:
                log.warning(
                    "%s holds API keys and others can read it (mode %04o); run: chmod 600 %s",
                    path,
                    mode,
                    path,
                )
            config.read_file(file)
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        # Their own texts quote the line, and the line may be a key.
        line = getattr(error, "lineno", None)
        where = f"line {line}" if line else getattr(error, "strerror", None) or type(error).__name__
        raise BadSettings(f"{path} cannot be read as profiles ({where})") from None
