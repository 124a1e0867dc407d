"""The settings: one table of what there is, and how a value is found for each."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, cast

import platformdirs

from rescalefs.config import values
from rescalefs.config.home import home_needed
from rescalefs.errors import BadFlags, BadSettings
from rescalefs.model import FileType

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

log = logging.getLogger(__name__)

_PREFIX = "RESCALEFS_"
# What jobs find in their environment, and what the command `on_finished` does.
_JOBS = frozenset({"RESCALEFS_DROP", "RESCALEFS_SIMULATOR"})
_HOOKS = frozenset(  # what a command of on_finished gets; a `rescalefs` that it starts finds them, too
    f"RESCALEFS_{name}" for name in ("JOB", "FOLDER", "NAME", "STATUS", "OUTCOME", "ENDING", "EXIT_CODE")
)
_OTHERS = _JOBS | _HOOKS


@dataclass(frozen=True, slots=True)
class Setting:
    """One thing that can be set: in config.toml by its name, by a variable, and mostly by a flag."""

    name: str
    parse: Callable[[str], Any]
    default: str
    summary: str
    has_flag: bool = True

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"{_PREFIX}{self.name.upper()}"

    @property
    def flag(self) -> str:
        """The flag of `rescalefs mount`."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def is_path(self) -> bool:
        """Whether its value names a place, so that a relative one has to be made absolute."""
        return self.parse is values.path


@home_needed()
def _default_cache() -> str:
    return str(platformdirs.user_cache_path("rescalefs", appauthor=False))


SETTINGS: tuple[Setting, ...] = (
    Setting("profile", values.word, "default", "Which profile of Rescale's apiconfig file to use."),
    Setting("cache_dir", values.path, "", "Where bytes and listings are kept between reads."),
    Setting(
        "cache_size",
        values.size,
        "20G",
        "How large the cache may become; what was used least recently goes first.",
    ),
    Setting(
        "connections",
        values.connections,
        "auto",
        "How many connections fetch at once; auto finds the number that helps.",
    ),
    Setting(
        "verify",
        values.one_of("eof", "strict", "off"),
        "eof",
        "When SHA-512 is checked: with the last byte, before the first one, or never.",
    ),
    Setting(
        "read_only", values.truth, "false", "Mount without the drop folder's writes; nothing is submitted."
    ),
    Setting(
        "allow_other",
        values.truth,
        "false",
        "Let other users of this machine in (needs user_allow_other in /etc/fuse.conf).",
    ),
    Setting(
        "xattrs",
        values.truth,
        "false",
        "Tell what files.tsv tells as extended attributes, too; `ls -l` then asks twice for each file.",
    ),
    Setting(
        "inode32",
        values.truth,
        "false",
        "Give inode numbers below 2^32, for 32-bit programs that fail with EOVERFLOW.",
    ),
    Setting(
        "split_types",
        values.file_types,
        "none",
        "Kinds of files that get folders of their own in each job, such as snapshot,checkpoint.",
    ),
    Setting(
        "hide_types",
        values.file_types,
        "none",
        "Kinds of files that are not shown, such as temporary; files.tsv still lists them.",
    ),
    Setting(
        "metrics_port",
        values.port,
        "none",
        "Serve metrics for Prometheus on this port, to this machine alone.",
    ),
    Setting(
        "max_cost",
        values.amount,
        "none",
        "Refuse what is dropped when its hardware may cost more than this.",
    ),
    Setting("connect_timeout", values.seconds, "10", "Seconds for a connection to be made.", has_flag=False),
    Setting("read_timeout", values.seconds, "60", "Seconds between two bytes of an answer.", has_flag=False),
    Setting(
        "patience", values.seconds, "60", "Seconds for one request with all its retries.", has_flag=False
    ),
    Setting(
        "deadline", values.seconds, "60", "Seconds that one read may wait without progress.", has_flag=False
    ),
    Setting("poll_every", values.seconds, "20", "Seconds between two looks for new jobs.", has_flag=False),
    Setting(
        "settle_time",
        values.seconds,
        "2",
        "Seconds without a change before a dropped folder counts as complete.",
        has_flag=False,
    ),
    Setting(
        "on_finished",
        values.command,
        "off",
        "A shell command to run for each dropped job that has ended.",
        has_flag=False,
    ),
    Setting("on_finished_limit", values.seconds, "60", "Seconds that this command may take.", has_flag=False),
    Setting(
        "notify", values.truth, "true", "Tell of ended jobs on the desktop, with notify-send.", has_flag=False
    ),
)


@dataclass(frozen=True)
class Settings:
    """What is in force. Sizes in bytes, times in seconds."""

    profile: str
    cache_dir: Path
    cache_size: int
    connections: int | Literal["auto"]
    verify: Literal["eof", "strict", "off"]
    read_only: bool
    allow_other: bool
    xattrs: bool
    inode32: bool
    split_types: frozenset[FileType]
    hide_types: frozenset[FileType]
    metrics_port: int | None
    max_cost: Decimal | None  # in the currency of the prices
    connect_timeout: float
    read_timeout: float
    patience: float
    deadline: float
    poll_every: float
    settle_time: float
    on_finished: str  # empty for none
    on_finished_limit: float
    notify: bool
    origins: Mapping[str, str] = field(default_factory=dict)  # setting -> where its value comes from

    @property
    def profile_was_chosen(self) -> bool:
        """Whether somebody asked for this profile, so that a key in the environment is not meant."""
        return self.origins.get("profile", "default") != "default"


@home_needed()
def default_config_file() -> Path:
    """Where config.toml is looked for."""
    return platformdirs.user_config_path("rescalefs", appauthor=False) / "config.toml"


def load_settings(
    flags: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    config_file: Path | None = None,
) -> Settings:
    """Find a value for each setting: flags before environment before file before defaults.

    ``flags`` that are None were not given. Raises `BadSettings` with everything that is wrong, as `BadFlags`
    if that is all in ``flags``.
    """
    environ = os.environ if environ is None else environ
    file = default_config_file() if config_file is None else config_file
    problems: list[str] = []
    from_file = _read_file(file, problems)
    elsewhere = bool(problems)
    _warn_of_unknown(environ)
    found: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for setting in SETTINGS:
        text, origin = _find(setting, flags or {}, environ, from_file, file)
        origins[setting.name] = origin
        try:
            found[setting.name] = setting.parse(text)
        except ValueError as error:
            problems.append(f"{setting.name} = {text!r} ({origin}) {error}")
            elsewhere = elsewhere or (flags or {}).get(setting.name) is None
    if problems:
        raise (BadSettings if elsewhere else BadFlags)("; ".join(problems))
    return Settings(**found, origins=origins)


def _warn_of_unknown(environ: Mapping[str, str]) -> None:
    """Not an error, as it is in the file: the environment is shared, also with other versions of us."""
    known = [setting.variable for setting in SETTINGS]
    for name in sorted(name for name in environ if name.startswith(_PREFIX)):
        if name not in known and name not in _OTHERS:
            import difflib  # here, as hardly anybody needs it: 3 ms

            alike = difflib.get_close_matches(name, known, 1)
            log.warning("%s sets nothing%s", name, f"; did you mean {alike[0]}?" if alike else "")


def _find(
    setting: Setting,
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    from_file: Mapping[str, str],
    file: Path,
) -> tuple[str, str]:
    """The value as text, and where it comes from."""
    flag = flags.get(setting.name)
    if flag is not None:
        return str(flag), f"flag {setting.flag}"
    if setting.variable in environ:
        return environ[setting.variable], f"variable {setting.variable}"
    if setting.name in from_file:
        return from_file[setting.name], str(file)
    return setting.default or _default_cache(), "default"


def _read_file(file: Path, problems: list[str]) -> dict[str, str]:
    """The file's values as text; what is wrong with the file itself goes to ``problems``."""
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        problems.append(f"{file} cannot be read: {error}")
        return {}
    known = {setting.name for setting in SETTINGS}
    for name in (setting.name for setting in SETTINGS if setting.is_path):
        if (
            isinstance(document.get(name), str)
            and not document[name].startswith("~")
            and document[name].strip()
        ):
            document[name] = str(file.parent / document[name])  # not the folder that one happens to be in
    problems += [
        f"{file}: there is no setting {name!r}; there are {', '.join(sorted(known))}"
        for name in sorted(document.keys() - known)
    ]
    return {
        name: str(value).lower() if isinstance(value, bool) else str(cast("object", value))
        for name, value in document.items()
        if name in known
    }
