"""API keys in the system's keyring. The only importer of keyring, which is an extra."""

from __future__ import annotations

from types import ModuleType

from rescalefs.errors import BadSettings

_SERVICE = "rescalefs"  # what the keyring shows of us; the user name in it is <profile>@<host>


def keep(name: str, api_key: str) -> None:
    """Store a key under ``name``; raise `BadSettings` where the keyring does not take it."""
    keyring = _keyring(name)
    try:
        keyring.set_password(_SERVICE, name, api_key)
    except Exception as error:  # noqa: BLE001  (each backend raises what its system raises)
        raise _refused(name, error) from None


def find(name: str) -> str:
    """The key kept under ``name``; raise `BadSettings` where there is none."""
    keyring = _keyring(name)
    try:
        found = keyring.get_password(_SERVICE, name)
    except Exception as error:  # noqa: BLE001  (each backend raises what its system raises)
        raise _refused(name, error) from None
    if not found:
        raise BadSettings(
            f"the keyring has no API key for {name}, though the profile says so. "
            "Run `rescalefs login --keyring` again"
        )
    return str(found)


def _keyring(name: str) -> ModuleType:
    try:
        import keyring  # imported here: it is an extra, and takes 50 ms
    except ModuleNotFoundError:
        raise BadSettings(
            f"the API key for {name} belongs into the system's keyring, which needs a package: "
            "pip install 'rescalefs[keyring]'"
        ) from None
    return keyring


def _refused(name: str, error: Exception) -> BadSettings:
    # Not the error's own text: a backend may quote what it was given.
    return BadSettings(
        f"the system's keyring does not answer for {name} ({type(error).__name__}). Unlock it, choose "
        "another one (PYTHON_KEYRING_BACKEND), or keep the key in the profile file: `rescalefs login`"
    )
