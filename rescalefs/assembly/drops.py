"""What became of the account's drops, for commands: from the journal, and from a mount where there is one."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

from rescalefs.assembly.client import account_of
from rescalefs.clock import SystemClock
from rescalefs.config import Places, load_settings
from rescalefs.submit import DropReport


@dataclass(frozen=True, slots=True)
class KnownDrops:
    """All drops of an account, in the order in which they were found, and the folder they lie in."""

    reports: tuple[DropReport, ...]
    folder: Path


def known_drops(profile: str | None) -> KnownDrops:
    """Read the journal. A daemon that runs is not disturbed, and none is needed."""
    from rescalefs.submit.journal import Journal
    from rescalefs.submit.ledger import Ledger

    settings = load_settings({"profile": profile})
    places = Places.of(account_of(settings).name, settings.cache_dir)
    if not places.journal.exists():
        return KnownDrops((), places.drops)
    journal = Journal(places.journal)
    try:
        ledger = Ledger(journal, SystemClock())
        ledger.catch_up()
        reports = ledger.reports()
    finally:
        journal.close()
    shown = _shown_folder(places.drops)
    return KnownDrops(tuple(_looked_at(each, places.drops, shown) for each in reports), places.drops)


def _looked_at(report: DropReport, drops: Path, shown: Path | None) -> DropReport:
    """With what only the folder knows, and the daemon: how far the uploads are, and what is waited for."""
    if not report.here or report.state.is_terminal:
        return report
    report = replace(report, has_job_file=(drops / report.folder / "job.json").is_file())
    status = _text(shown / report.folder / "status") if shown is not None else ""
    return replace(report, status=status.rstrip("\n")) if status else report


def _shown_folder(drops: Path) -> Path | None:
    """submit/ of a mount that shows this backing directory."""
    if not Path("/proc/self/mountinfo").exists():  # only on Linux is anything mounted
        return None
    from rescalefs.mount.mountpoint import mounts

    for entry in mounts():
        if entry.is_ours and f"\ndrop folder: {drops}\n" in _text(entry.path / ".rescalefs" / "status"):
            return entry.path / "submit"
    return None


def _text(path: Path) -> str:
    with contextlib.suppress(OSError):
        return path.read_text(encoding="utf-8", errors="replace")
    return ""
