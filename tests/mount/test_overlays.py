from __future__ import annotations

from rescalefs.mount.overlays import Kind, Overlays
from tests.fakes import FakeClock
from tests.mount.trees import FixedViews


class Busy:
    """Which drops are being written."""

    def __init__(self) -> None:
        self.drops: set[str] = set()

    def __call__(self, drop: str) -> bool:
        return drop in self.drops


VIEWS = FixedViews({"wing": b"Completed\n"}, {"wing": b"a log\n"}, {"wing": "aBc"})


def names(overlays: Overlays, drop: str) -> list[str]:
    return [overlay.name for overlay in overlays.of(drop)]


def test_our_names_are_where_something_is_told_and_nowhere_else() -> None:
    overlays = Overlays(VIEWS, Busy(), FakeClock(), quiet=2)
    assert names(overlays, "wing") == ["status", "status.log", "job"]
    assert names(overlays, "tail") == []
    for path in ("status", "wing", "wing/x", "wing/mesh/status", "", "wing/"):
        assert overlays.find(path) is None
    job = overlays.find("wing/job")
    assert job is not None
    assert (job.kind, job.content) == (Kind.LINK, b"../../jobs/aBc")


def test_inodes_differ_and_stay() -> None:
    one, two = (Overlays(VIEWS, Busy(), FakeClock(), quiet=2).of("wing") for _ in range(2))
    assert len({overlay.inode for overlay in one}) == 3
    assert [overlay.inode for overlay in one] == [overlay.inode for overlay in two]


def test_the_time_moves_when_the_text_does() -> None:
    clock, views = FakeClock(), FixedViews({"wing": b"waiting\n"})
    overlays = Overlays(views, Busy(), clock, quiet=2)

    def changed() -> int:
        found = overlays.find("wing/status")
        assert found is not None
        return found.changed_ns

    first = changed()
    clock.advance(10)
    assert changed() == first
    views.statuses["wing"] = b"uploading\n"
    assert changed() == first + 10 * 10**9


def test_a_drop_being_made_shows_none_until_it_was_left_alone() -> None:
    clock, busy = FakeClock(), Busy()
    overlays = Overlays(VIEWS, busy, clock, quiet=2)
    overlays.made("wing")
    assert names(overlays, "wing") == []
    clock.advance(1.5)
    overlays.touched("wing/mesh/a")
    clock.advance(1.5)
    assert names(overlays, "wing") == []
    busy.drops.add("wing")  # one large file for an hour
    clock.advance(3600)
    assert names(overlays, "wing") == []
    busy.drops.clear()
    assert names(overlays, "wing") == ["status", "status.log", "job"]
    overlays.touched("wing/mesh/a")
    assert names(overlays, "wing") == ["status", "status.log", "job"]


def test_a_drop_renamed_while_it_is_made_is_still_being_made() -> None:
    clock = FakeClock()
    overlays = Overlays(VIEWS, Busy(), clock, quiet=2)
    overlays.made("new folder")
    overlays.renamed("new folder", "wing")
    assert names(overlays, "wing") == []
    clock.advance(2.1)
    assert names(overlays, "wing") != []


def test_a_name_that_was_removed_stays_away_for_a_moment() -> None:
    clock = FakeClock()
    overlays = Overlays(VIEWS, Busy(), clock, quiet=2)
    overlays.removed("wing/job")
    assert names(overlays, "wing") == ["status", "status.log"]
    clock.advance(2.1)
    assert names(overlays, "wing") == ["status", "status.log", "job"]


def test_a_drop_that_is_gone_is_forgotten() -> None:
    overlays = Overlays(VIEWS, Busy(), FakeClock(), quiet=2)
    overlays.made("wing")
    overlays.removed("wing/job")
    overlays.forget("wing")
    assert names(overlays, "wing") == ["status", "status.log", "job"]
