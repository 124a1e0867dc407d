"""What this process hands to the programs that it starts, and what it takes from where it was started.

No program is given the key. Nothing is imported, and no program is run, from the folder that a user is in.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from importlib.machinery import PathFinder
from pathlib import Path

KEY_VARIABLE = "RESCALE_API_KEY"

# Variables that hold the path of one file or folder: ours, and those of Python and of its HTTP client.
_PATHS = (
    "HOME",
    "TMPDIR",
    *(f"XDG_{kind}_HOME" for kind in ("CACHE", "CONFIG", "DATA", "STATE")),
    "XDG_RUNTIME_DIR",
    "RESCALEFS_CACHE_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NETRC",
)


def for_children(more: Mapping[str, str]) -> dict[str, str]:
    """The environment of a program that we start: ours without the API key, and ``more``."""
    return {name: value for name, value in {**os.environ, **more}.items() if name != KEY_VARIABLE}


def ourselves(*words: str) -> list[str]:
    """The command line that runs `rescalefs` with these words, by this very Python.

    `python -m` alone looks into the current folder first, and runs a `random.py` that lies there.
    """
    if sys.version_info >= (3, 11):
        return [sys.executable, "-P", "-m", "rescalefs", *words]
    start = "import sys; sys.path[:] = filter(None, sys.path); from rescalefs.__main__ import run; run()"
    return [sys.executable, "-c", start, *words]


def without_the_folder(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """An environment that means the same in every folder: relative paths are made absolute.

    Empty entries of PATH and PYTHONPATH, which stand for the current folder, are left out, and so are the
    relative ones of PATH.
    """
    environ = os.environ if environ is None else environ
    found = dict(environ)
    for name in _PATHS:
        if found.get(name) and not found[name].startswith("~"):
            found[name] = str(Path(found[name]).absolute())
    if "PATH" in found:
        found["PATH"] = os.pathsep.join(_folders_of_programs(found["PATH"]))
    modules = [str(Path(each).absolute()) for each in found.pop("PYTHONPATH", "").split(os.pathsep) if each]
    if modules := [*_home_of_the_package(), *modules]:
        found["PYTHONPATH"] = os.pathsep.join(dict.fromkeys(modules))
    return found


def leave_the_folder() -> None:
    """Go to the root folder, so that a daemon keeps no disk busy. What the environment means stays."""
    settled = without_the_folder()
    for name in os.environ.keys() - settled.keys():
        del os.environ[name]
    os.environ.update(settled)
    os.chdir("/")


def program(name: str) -> str | None:
    """The whole path of a program, never one in the current folder."""
    folders = _folders_of_programs(os.environ.get("PATH", os.defpath))
    return shutil.which(name, path=os.pathsep.join(folders)) if folders else None


def own_programs() -> Path | None:
    """The folder that holds the command `rescalefs`; a virtual environment's is on no daemon's PATH."""
    user = sysconfig.get_path("scripts", f"{os.name}_user")
    for folder in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent), user):
        if (Path(folder) / "rescalefs").is_file():
            return Path(folder)
    return None


def _folders_of_programs(path: str) -> list[str]:
    return [each for each in path.split(os.pathsep) if os.path.isabs(each)]  # noqa: PTH117


def _home_of_the_package() -> list[str]:
    """Where `rescalefs` is imported from, if that is only because it is in the folder we were started in."""
    package = sys.modules["rescalefs"].__file__
    elsewhere = PathFinder.find_spec("rescalefs", sys.path[1:])
    if package is None or (elsewhere is not None and elsewhere.origin is not None):
        return []
    return [str(Path(package).parent.parent.absolute())]
