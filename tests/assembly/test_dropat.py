"""A path is a drop by where it lies and which folder it is, and never by its name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import pytest

from rescalefs.assembly.client import account_of
from rescalefs.assembly.dropat import drop_at
from rescalefs.assembly.places import key_of
from rescalefs.belonging import OtherAccount
from rescalefs.config import Places, load_settings
from rescalefs.errors import UserError
from rescalefs.mirror import Ledger as MirrorLedger
from rescalefs.model import User
from rescalefs.submit import machine
from rescalefs.submit.folder import identity
from rescalefs.submit.journal import Journal
from rescalefs.submit.machine import Drop
from rescalefs.submit.warden import take_over

NOON = datetime(2026, 11, 3, 12, tzinfo=timezone.utc)
ANNA, BEN = User("anna@example.com"), User("ben@example.com")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    for name in ("RESCALE_API_KEY", "RESCALE_API_URL", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("RESCALEFS_CACHE_DIR", str(home / "cache"))
    config = home / ".config" / "rescale" / "apiconfig"
    config.parent.mkdir(parents=True)
    config.write_text(f"[default]\napikey = {'a' * 40}\n[eu]\napikey = {'b' * 40}\n")
    config.chmod(0o600)
    return home


def places(profile: str = "default") -> Places:
    settings = load_settings({"profile": profile})
    return Places.of(account_of(settings).name, settings.cache_dir)


def dropped(folder: Path, journal: Path, job_id: str, name: str | None = None) -> Path:
    """A folder that became a job, as a journal tells it."""
    folder.mkdir(parents=True)
    which = identity(folder)
    with closing(Journal(journal)) as book:
        drop = Drop(f"token of {job_id}")
        for event in (
            machine.Found(name or folder.name, which.inode, which.born),
            machine.Settled("f", "j"),
            machine.Accepted("wing", 0, 0),
            machine.Uploaded("{}"),
            machine.CreateBegun(),
            machine.Created(job_id),
        ):
            drop = book.append(drop, event, NOON)
    return folder


def refused(path: Path, profile: str | None = None) -> str:
    with pytest.raises(UserError) as caught:
        drop_at(path, profile)
    return str(caught.value)


def test_a_folder_of_the_same_name_below_any_submit_is_no_drop(tmp_path: Path) -> None:
    own = dropped(places().drops / "wing", places().journal, "aaa")
    assert drop_at(own, None).report.job_id == "aaa"
    for stranger in (tmp_path / "project" / "submit" / "wing", tmp_path / "wing"):
        stranger.mkdir(parents=True)
        assert "is not a drop: no journal knows this folder" in refused(stranger)


def test_a_path_in_another_profiles_drop_folder_is_that_profiles_drop() -> None:
    dropped(places().drops / "wing", places().journal, "aaa")
    other = dropped(places("eu").drops / "wing", places("eu").journal, "bbb")
    found = drop_at(other, None)
    assert (found.report.job_id, found.profile) == ("bbb", "eu")


def test_a_synced_folders_drop_is_looked_up_in_its_own_journal(tmp_path: Path) -> None:
    dropped(places().drops / "wing", places().journal, "aaa")
    own = tmp_path / "mirror" / ".rescalefs"
    own.mkdir(parents=True)
    with closing(MirrorLedger(own / "mirror.sqlite")) as ledger:
        ledger.note_fact("account", places("eu").journal.parent.name)
    synced = dropped(tmp_path / "mirror" / "submit" / "wing", own / "journal.sqlite", "ccc")
    found = drop_at(synced, None)
    assert (found.report.job_id, found.profile) == ("ccc", "eu")
    (tmp_path / "mirror" / "submit" / "tail").mkdir()
    assert "no journal knows" in refused(tmp_path / "mirror" / "submit" / "tail")


def test_a_link_leads_to_the_drop_that_it_means(tmp_path: Path) -> None:
    dropped(places().drops / "wing", places().journal, "aaa")
    (tmp_path / "here").symlink_to(places().drops / "wing")
    assert drop_at(tmp_path / "here", None).report.job_id == "aaa"


def test_a_drop_that_was_renamed_while_no_daemon_ran_is_found_by_its_identity() -> None:
    dropped(places().drops / "wing", places().journal, "aaa")
    renamed = (places().drops / "wing").rename(places().drops / "wing-old")
    assert drop_at(renamed, None).report.job_id == "aaa"


@pytest.mark.parametrize("where", [lambda _: places().drops, lambda tmp_path: tmp_path / "elsewhere"])
def test_a_new_folder_under_a_drops_path_is_not_that_drop(
    tmp_path: Path, where: Callable[[Path], Path]
) -> None:
    parent = where(tmp_path)
    name = None if parent == places().drops else str(parent / "wing")
    folder = dropped(parent / "wing", places().journal, "aaa", name)
    assert drop_at(folder, None).report.job_id == "aaa"
    folder.rename(tmp_path / "away")
    folder.mkdir()
    assert "no journal knows this folder" in refused(folder)
    shutil.rmtree(folder)
    assert "is not a folder" in refused(folder)


def test_a_folder_that_another_profile_submitted_is_asked_about_with_that_profile(tmp_path: Path) -> None:
    dropped(places().drops / "wing", places().journal, "aaa")
    folder = dropped(tmp_path / "wing", places("eu").journal, "bbb", str(tmp_path / "wing"))
    found = drop_at(folder, None)
    assert (found.report.job_id, found.profile) == ("bbb", "eu")


def test_a_drop_of_another_account_than_the_keys_is_refused() -> None:
    folder = dropped(places().drops / "wing", places().journal, "aaa")
    with closing(Journal(places().journal)) as journal:
        take_over(ANNA, key_of(account_of(load_settings({"profile": "default"}))), journal)
    found = drop_at(folder, None)
    found.check(ANNA)
    with pytest.raises(OtherAccount, match=r"wing is a drop of anna@example.com .* is of ben@"):
        found.check(BEN)
