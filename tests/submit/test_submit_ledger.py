"""What is known of all drops, and who is woken by it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from rescalefs.submit.journal import Journal
from rescalefs.submit.ledger import Ledger
from rescalefs.submit.machine import Found
from tests.fakes import FakeClock


def test_news_of_another_process_wake_everyone_and_no_news_nobody(tmp_path: Path) -> None:
    path, clock = tmp_path / "journal.sqlite", FakeClock()
    with closing(Journal(path)) as ours, closing(Journal(path)) as theirs:
        ledger, other = Ledger(ours, clock), Ledger(theirs, clock)
        bell = ledger.bell()
        ledger.catch_up()
        assert not bell.is_set()
        drop = other.begin(Found("wing", 1, None))
        ledger.catch_up()
        assert bell.is_set()
        assert ledger.drop(drop.id) == drop
        bell.clear()
        ledger.catch_up()
        assert not bell.is_set()
