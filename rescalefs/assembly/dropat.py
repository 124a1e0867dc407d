"""Which drop a folder is, and whose: by where it lies and which folder it is, never by its name alone.

A path in a mount is looked up in the journal of that mount, a path below a synced folder in that folder's,
and a path in a drop folder in that of its profile. A folder anywhere else may have been submitted with
`rescalefs submit`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from rescalefs.assembly.client import account_of
from rescalefs.assembly.places import key_of
from rescalefs.belonging import Belonging, Key, OtherAccount, Verdict
from rescalefs.clock import SystemClock
from rescalefs.config import Places, load_settings, resolve_account
from rescalefs.errors import BadSettings, UserError
from rescalefs.mirror import Ledger as MirrorLedger
from rescalefs.model import User
from rescalefs.submit import DropReport
from rescalefs.submit.folder import Identity, identity
from rescalefs.submit.journal import Journal
from rescalefs.submit.ledger import Ledger
from rescalefs.submit.machine import Drop
from rescalefs.submit.warden import recorded


@dataclass(frozen=True, slots=True)
class DropFound:
    """A drop, and the profile with which to ask the server about its job."""

    report: DropReport
    profile: str | None
    key: Key  # of that profile
    belonging: Belonging | None = None  # None: its journal has met no account yet

    def check(self, user: User) -> None:
        """Raise `OtherAccount` where the key, which is that of ``user``, is not of the drop's account."""
        if self.belonging is not None and self.belonging.verdict(user, self.key) is not Verdict.SAME:
            now = Belonging.of(user, self.key)
            raise OtherAccount(
                f"{self.report.folder} is a drop of {self.belonging}, and the API key is of {now}",
                "Name the profile of the former with --profile",
            )


@dataclass(frozen=True, slots=True)
class _Archive:
    """A journal, and whose it is by the name of its account's folders (``profile@host``)."""

    journal: Path
    account: str
    folder: Path | None  # the drop folder that it is about; None for what lies elsewhere


def drop_at(path: Path, profile: str | None) -> DropFound:
    """The drop that the folder at ``path`` is. Raises `UserError` where it is none.

    ``profile`` is a flag's. Without it, the profile is that of the drop.
    """
    check_that_it_answers(path)
    real = Path(os.path.realpath(path))
    if not real.is_dir():
        raise UserError(f"{path} is not a folder, so it is no drop. A job can also be named by its id")
    for archive in _archives(real, profile):
        if not archive.journal.is_file():
            continue
        with _opened(archive.journal) as (journal, ledger):
            drop = _among(ledger.drops(), real, archive.folder)
            if drop is not None:
                chosen = profile if profile is not None else _profile_of(archive.account)
                account = account_of(load_settings({"profile": chosen}))
                return DropFound(ledger.report(drop.id), chosen, key_of(account), recorded(journal))
        if archive.folder is not None:
            break  # it lies in this drop folder, so no other journal knows it
    raise UserError(
        f"{path} is not a drop: no journal knows this folder. `rescalefs drops` lists drops; "
        "a job can also be named by its id"
    )


def check_that_it_answers(path: Path) -> None:
    """Raise `UserError` where a path leads into a mount that does not answer: a look into it would wait."""
    if not Path("/proc/self/mountinfo").exists():  # only on Linux is anything mounted
        return
    from rescalefs.mount import asking
    from rescalefs.mount.mountpoint import mounts

    if not any(entry.is_ours for entry in mounts()):
        return
    with suppress(OSError):
        try:
            asking.look(Path(os.path.abspath(path)))  # noqa: PTH100  # resolve() looks at each folder
        except TimeoutError:
            raise UserError(
                f"{path} does not answer. If it is in a mount: unmount that, and mount it again"
            ) from None


def _archives(real: Path, profile: str | None) -> Iterator[_Archive]:
    """The journals that may know the folder: the one of the drop folder that it lies in, or all there are."""
    mounted = _mounted(real)
    if mounted is not None:
        yield mounted
        return
    synced = real.parent.parent / ".rescalefs"
    if real.parent.name == "submit" and (synced / "journal.sqlite").is_file():
        yield _Archive(synced / "journal.sqlite", _synced_account(synced), real.parent)
        return
    settings = load_settings({"profile": profile})
    ours = account_of(settings).name
    usual = Places.of(ours, settings.cache_dir)
    others = usual.journal.parent.parent
    names = [ours, *sorted(each.name for each in others.iterdir())] if others.is_dir() else [ours]
    every = {name: Places.of(name, settings.cache_dir) for name in names}
    for name, places in every.items():
        if places.drops.is_dir() and real.parent.samefile(places.drops):
            yield _Archive(places.journal, name, real.parent)
            return
    for name, places in every.items():
        yield _Archive(places.journal, name, None)


def backing_folder(folder: Path) -> Path:
    """The real path of a folder. Below ``submit/`` of one of our mounts it is that of the backing directory.

    So a drop is the same folder by both paths: the same number, the same locks, and the same drop in the
    journal. Raises `UserError` where the mount does not answer.
    """
    check_that_it_answers(folder)
    real = Path(os.path.realpath(folder))
    mount = _mount_around(real)
    if mount is None or mount / "submit" not in real.parents:
        return real
    return _said_by(mount).folder / real.relative_to(mount / "submit")


def _mounted(real: Path) -> _Archive | None:
    """Where one of our mounts shows the folder: the journal that its daemon names."""
    mount = _mount_around(real)
    if mount is None:
        return None
    if real.parent != mount / "submit":
        raise UserError(f"{real} is not a drop: a drop is a folder right below {mount}/submit")
    said = _said_by(mount)
    return _Archive(said.journal, said.account, said.folder)


def _mount_around(real: Path) -> Path | None:
    """Where the mount that shows the path is, if that mount is one of ours."""
    if not Path("/proc/self/mountinfo").exists():  # only on Linux is anything mounted
        return None
    from rescalefs.mount.mountpoint import mounts

    around = [entry for entry in mounts() if entry.path in (real, *real.parents)]
    if not around or not (entry := max(around, key=lambda each: len(each.path.parts))).is_ours:
        return None
    return entry.path


@dataclass(frozen=True, slots=True)
class _Said:
    """What a mount reports about its drops."""

    journal: Path
    account: str
    folder: Path  # the drop folder


def _said_by(mount: Path) -> _Said:
    from rescalefs.mount import asking

    try:
        text = asking.read(mount / ".rescalefs" / "status").decode(errors="surrogateescape")
    except OSError as error:
        raise UserError(f"{mount} does not answer ({error.strerror}). Mount it again") from error
    said = {name: value for name, _, value in (line.partition(": ") for line in text.splitlines())}
    if "journal" not in said or "drop folder" not in said:
        raise UserError(f"{mount} is mounted by an older rescalefs. Mount it again")
    return _Said(Path(said["journal"]), said.get("account", ""), Path(said["drop folder"]))


def _synced_account(own: Path) -> str:
    ledger = MirrorLedger(own / "mirror.sqlite")
    try:
        return ledger.fact("account") or ""
    finally:
        ledger.close()


def _among(drops: tuple[Drop, ...], real: Path, folder: Path | None) -> Drop | None:
    """The one that the folder is; ``folder`` is the backing directory, should it lie in a drop folder."""
    name = str(real) if folder is None else real.name
    try:
        seen = identity(real if folder is None else folder / real.name)
    except OSError as error:
        raise UserError(f"{real} cannot be looked at: {error.strerror}") from error
    fit = [drop for drop in drops if drop.is_elsewhere == (folder is None) and _is(drop, seen, name)]
    return fit[-1] if fit else None


def _is(drop: Drop, seen: Identity, name: str) -> bool:
    if drop.inode != seen.inode:
        return False
    if drop.born is not None and seen.born is not None:
        return drop.born == seen.born
    return drop.here and drop.folder == name  # a number alone may have been another folder's before


def _profile_of(account: str) -> str | None:
    """The profile that the folders of an account are named after; None where that is no profile of today."""
    name = unquote(account.rpartition("@")[0])
    try:
        return name if resolve_account(name, chosen=True).name == account else None
    except BadSettings:
        return None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[Journal, Ledger]]:
    with closing(Journal(path)) as journal:
        ledger = Ledger(journal, SystemClock())
        ledger.catch_up()
        yield journal, ledger
