"""Another account's key judges no drop and acts on none."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from rescalefs.background import Background
from rescalefs.belonging import Key, OtherAccount
from rescalefs.clock import SystemClock
from rescalefs.errors import Forbidden, Unauthenticated, Unreachable
from rescalefs.model import User
from rescalefs.submit import machine
from rescalefs.submit.journal import Journal
from rescalefs.submit.machine import Drop
from rescalefs.submit.oneshot import submit_folder
from rescalefs.submit.settings import SubmitSettings
from rescalefs.submit.submitter import Submitter
from rescalefs.submit.warden import Warden, recorded, take_over
from tests.fakes import FakeClock
from tests.submit.rig import ANNA, BEN, FakeRescale, drop_files, make_settings, only

PATIENCE = 30.0
SUBMITTED = (b"submitted\n", b"Pending\n")  # the second after the first look, which may come at once


def key(secret: str) -> Key:
    return Key("eu.rescale.com", lambda salt: hashlib.sha256(f"{salt}{secret}".encode()).hexdigest())


ANNAS, BENS = key("anna"), key("ben")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite")
    yield journal
    journal.close()


class Unsure(FakeRescale):
    """Does not say whose key it is until it is ``told`` to."""

    told = False
    error: Exception = Unreachable("no connection")

    def user(self) -> User:
        if not self.told:
            raise self.error
        return super().user()


def test_the_first_account_that_is_met_gets_the_journal(journal: Journal, clock: FakeClock) -> None:
    Warden(FakeRescale(clock), ANNAS, journal, clock).confirm()
    kept = recorded(journal)
    assert kept is not None
    assert kept.email == "anna@example.com"
    assert kept.knows(ANNAS)


def test_no_request_of_the_room_reaches_the_server_for_another_account(
    journal: Journal, clock: FakeClock
) -> None:
    take_over(ANNA, ANNAS, journal)
    rescale = FakeRescale(clock, account=BEN)
    service = Warden(rescale, BENS, journal, clock).service
    for act in (
        service.jobs,
        service.core_types,
        lambda: service.stop_job("abc"),
        lambda: service.statuses("x"),
    ):
        with pytest.raises(OtherAccount, match=r"belong to anna@.*is of ben@.*--same-account"):
            act()
    assert rescale.requests == ["user"]


def test_a_renewed_key_of_the_account_goes_on_and_is_remembered(journal: Journal, clock: FakeClock) -> None:
    take_over(ANNA, ANNAS, journal)
    renewed = key("renewed")
    service = Warden(FakeRescale(clock), renewed, journal, clock).service
    assert service.jobs() == ()
    kept = recorded(journal)
    assert kept is not None
    assert kept.knows(renewed)


@pytest.mark.parametrize("error", [Unreachable("no connection"), Unauthenticated("401"), Forbidden("403")])
def test_as_long_as_the_server_does_not_say_whose_key_it_is_nothing_is_asked_of_it(
    journal: Journal, clock: FakeClock, error: Exception
) -> None:
    rescale = Unsure(clock)
    rescale.error = error
    warden = Warden(rescale, ANNAS, journal, clock)
    with pytest.raises(type(error)):
        warden.service.jobs()
    assert rescale.requests == []
    assert recorded(journal) is None
    rescale.told = True
    assert warden.service.jobs() == ()
    assert rescale.requests == ["user", "jobs"]


def test_many_threads_share_one_question(journal: Journal) -> None:
    clock = SystemClock()
    asked, answer = threading.Event(), threading.Event()

    class Slow(FakeRescale):
        def user(self) -> User:
            asked.set()
            answer.wait(PATIENCE)
            return super().user()

    rescale = Slow(clock)
    warden = Warden(rescale, ANNAS, journal, clock)
    threads = Background()
    for number in range(8):
        threads.start(f"asker-{number}", lambda _: warden.confirm())
    assert asked.wait(PATIENCE)
    answer.set()
    threads.close()
    assert rescale.requests == ["user"]


def test_a_person_may_say_that_it_is_one_account_while_a_daemon_refuses(
    journal: Journal, clock: FakeClock
) -> None:
    take_over(ANNA, ANNAS, journal)
    warden = Warden(FakeRescale(clock, account=BEN), BENS, journal, clock)
    with pytest.raises(OtherAccount):
        warden.confirm()
    take_over(BEN, BENS, journal)
    clock.wait(threading.Event(), 60.0)
    warden.confirm()
    assert warden.refusal == ""


def test_a_journal_that_cannot_be_read_as_whose_it_is_refuses_until_a_person_says_so(
    journal: Journal, clock: FakeClock
) -> None:
    journal.note("account", "{")
    with pytest.raises(OtherAccount, match="belong to an account that cannot be read"):
        Warden(FakeRescale(clock), ANNAS, journal, clock).confirm()
    take_over(ANNA, ANNAS, journal)
    Warden(FakeRescale(clock), ANNAS, journal, clock).confirm()


def test_a_journal_without_any_drop_goes_to_another_account(journal: Journal, clock: FakeClock) -> None:
    take_over(ANNA, ANNAS, journal)
    Warden(FakeRescale(clock, account=BEN), BENS, journal, clock, is_unused=lambda: True).confirm()
    kept = recorded(journal)
    assert kept is not None
    assert kept.email == "ben@example.com"


def quick(tmp_path: Path, whose: Key) -> SubmitSettings:
    return replace(
        make_settings(tmp_path), settle_time=0.02, poll_least=0.02, poll_most=0.1, rescan=0.2, key=whose
    )


@contextmanager
def daemon(rescale: FakeRescale, settings: SubmitSettings) -> Iterator[Submitter]:
    threads = Background()
    submitter = Submitter(rescale, settings, SystemClock(), threads)
    submitter.start()
    try:
        yield submitter
    finally:
        threads.close()
        submitter.close()


def until(submitter: Submitter, condition: object) -> None:
    """Wait by the ledger's bell until the condition, a callable, is true."""
    bell, clock = submitter._ledger.bell(), SystemClock()
    end = clock.monotonic() + PATIENCE
    assert callable(condition)
    while not condition():
        assert clock.monotonic() < end, submitter.drops()
        bell.wait(0.1)
        bell.clear()


def test_a_mount_with_another_accounts_key_leaves_running_drops_as_they_are(tmp_path: Path) -> None:
    clock = SystemClock()
    annas = FakeRescale(clock)
    annas.account = ANNA
    drop_files(tmp_path / "submit" / "wing")
    with daemon(annas, quick(tmp_path, ANNAS)) as submitter:
        until(submitter, lambda: submitter.status("wing") in SUBMITTED)
        job = only(annas.on_server.values())
        annas.tell(job.id, "Executing")
        until(submitter, lambda: submitter.status("wing") == b"Executing\n")
    bens = FakeRescale(clock, account=BEN)  # it knows no such job
    with daemon(bens, quick(tmp_path, BENS)) as submitter:
        until(submitter, lambda: submitter.actor.startswith("nobody: these drops belong to anna@example.com"))
        assert not submitter.takes_drops
        status = submitter.status("wing") or b""
        assert status.startswith(b"Executing (these drops belong to anna@example.com in workspace Wings")
        assert bens.requests == ["user"]
        annas.tell(job.id, "Completed")
        with daemon(
            annas, quick(tmp_path, key("renewed"))
        ) as right:  # at the same time: nothing keeps it away
            until(right, lambda: right.status("wing") == b"Completed\n")
    assert len(annas.on_server) == 1
    assert bens.on_server == {}


def test_a_drop_made_while_the_key_is_new_and_the_server_silent_waits_for_its_account(tmp_path: Path) -> None:
    clock = SystemClock()
    settings = quick(tmp_path, ANNAS)
    with daemon(FakeRescale(clock), settings) as submitter:
        until(submitter, lambda: submitter.takes_drops)
        until(submitter, lambda: _bound(tmp_path))
    silent = Unsure(clock, account=BEN)
    with daemon(silent, quick(tmp_path, BENS)) as submitter:
        assert not submitter.takes_drops
        assert "has not said yet whose it is" in submitter.actor


def _bound(tmp_path: Path) -> bool:
    journal = Journal(make_settings(tmp_path).journal)
    try:
        return recorded(journal) is not None
    finally:
        journal.close()


def test_a_journal_of_before_goes_on_and_belongs_to_the_first_account_then(tmp_path: Path) -> None:
    rescale = FakeRescale(SystemClock())
    folder = drop_files(tmp_path / "submit" / "wing")
    journal = Journal(make_settings(tmp_path).journal)
    found = machine.Found("wing", folder.stat().st_ino)
    drop = journal.append(Drop("token"), found, SystemClock().now())
    journal.close()
    with daemon(rescale, quick(tmp_path, ANNAS)) as submitter:
        until(submitter, lambda: submitter.status("wing") in SUBMITTED)
    assert rescale.tokens() == [drop.id]
    assert _bound(tmp_path)


def test_submit_of_a_folder_refuses_another_accounts_journal(tmp_path: Path, clock: FakeClock) -> None:
    drop_files(tmp_path / "wing")
    drop_files(tmp_path / "tail")
    threads = Background()
    try:
        submit_folder(tmp_path / "wing", FakeRescale(clock), quick(tmp_path, ANNAS), clock, threads)
        bens = FakeRescale(clock, account=BEN)
        with pytest.raises(OtherAccount, match="--same-account"):
            submit_folder(tmp_path / "tail", bens, quick(tmp_path, BENS), clock, threads)
    finally:
        threads.close()
    assert bens.requests == ["user"]
