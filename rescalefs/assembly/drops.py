"""What became of the account's drops, for commands: from the journal, and from a mount where there is one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from rescalefs.assembly.client import account_of, client_for
from rescalefs.assembly.places import key_of
from rescalefs.belonging import Belonging, Key, OtherAccount, Verdict
from rescalefs.clock import SystemClock
from rescalefs.config import Places, load_settings
from rescalefs.model import User
from rescalefs.submit import DropReport
from rescalefs.submit.journal import Journal
from rescalefs.submit.ledger import Ledger
from rescalefs.submit.warden import REMEDY, recorded, refusal, take_over


@dataclass(frozen=True, slots=True)
class KnownDrops:
    """All drops of a profile, in the order in which they were found, and the folder they lie in."""

    reports: tuple[DropReport, ...]
    folder: Path
    belonging: Belonging | None = None  # whose they are; None: no account was met yet
    key: Key = field(default_factory=Key)  # of the profile

    @property
    def is_doubtful(self) -> bool:
        """Whether the key is another one than those that were confirmed to be of the drops' account."""
        return self.belonging is not None and not self.belonging.knows(self.key)

    def check(self, user: User) -> None:
        """Raise `OtherAccount` where the key, which is that of ``user``, is not of the drops' account."""
        if self.belonging is not None and self.belonging.verdict(user, self.key) is not Verdict.SAME:
            raise OtherAccount(refusal(self.belonging, Belonging.of(user, self.key)), REMEDY)


def known_drops(profile: str | None) -> KnownDrops:
    """Read the journal. A daemon that runs is not disturbed, and none is needed."""
    settings = load_settings({"profile": profile})
    account = account_of(settings)
    places = Places.of(account.name, settings.cache_dir)
    if not places.journal.exists():
        return KnownDrops((), places.drops, None, key_of(account))
    with closing(Journal(places.journal)) as journal:
        ledger = Ledger(journal, SystemClock())
        ledger.catch_up()
        reports, belonging = ledger.reports(), recorded(journal)
    looked_at = tuple(_looked_at(reports, places.drops))
    return KnownDrops(looked_at, places.drops, belonging, key_of(account))


def same_account(profile: str | None) -> tuple[Belonging | None, Belonging]:
    """Have the drops of a profile belong to the account of its key; return whose they were, and are.

    Asks the server. A daemon that refuses goes on within a minute.
    """
    settings = load_settings({"profile": profile})
    account = account_of(settings)
    with closing(client_for(settings, account, SystemClock())) as client:
        user = client.user()
    with closing(Journal(Places.of(account.name, settings.cache_dir).journal)) as journal:
        before = recorded(journal)
        return before, take_over(user, key_of(account), journal)


def _looked_at(reports: Iterable[DropReport], drops: Path) -> Iterator[DropReport]:
    """With what only the folder knows, and the daemon: how far the uploads are, and what is waited for."""
    reports = tuple(reports)
    wanted = [report.folder for report in reports if _is_under_way(report)]
    shown = _shown_folder(drops) if wanted else None
    texts = _texts(shown / folder / "status" for folder in wanted) if shown is not None else ()
    statuses = dict(zip(wanted, texts, strict=False))
    for report in reports:
        if not _is_under_way(report):
            yield report
            continue
        has_job_file = (drops / report.folder / "job.json").is_file()
        status = statuses.get(report.folder, "").rstrip("\n") or report.status
        yield replace(report, has_job_file=has_job_file, status=status)


def _is_under_way(report: DropReport) -> bool:
    return report.here and not report.state.is_terminal


def _shown_folder(drops: Path) -> Path | None:
    """submit/ of a mount that shows this backing directory."""
    if not Path("/proc/self/mountinfo").exists():  # only on Linux is anything mounted
        return None
    from rescalefs.mount.mountpoint import our_mounts

    for entry in our_mounts():
        (status,) = _texts([entry.path / ".rescalefs" / "status"])
        if f"\ndrop folder: {drops}\n" in status:
            return entry.path / "submit"
    return None


def _texts(paths: Iterable[Path]) -> list[str]:
    """What these files of a mount hold; "" where that is not known."""
    from rescalefs.mount import asking

    answers = asking.read_all(tuple(paths))
    return ["" if isinstance(each, OSError) else each.decode(errors="replace") for each in answers]
