"""Where the file system's numbers do not tell folders apart, no drop becomes a second job."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.background import Background
from rescalefs.errors import UserError
from rescalefs.submit.advice import what_to_do
from rescalefs.submit.folder import identity, keeps_identities
from rescalefs.submit.machine import Drop, State
from rescalefs.submit.oneshot import submit_folder
from rescalefs.submit.recognition import Asks, Same, Seen, recognise
from tests.fakes import FakeClock
from tests.submit.renumbering import renumbered
from tests.submit.rig import GOOD, FakeRescale, Rig, drop_files, make_settings

WING = Drop("w", 9, State.COMPLETED, "wing", 7, None, True, job_file="70-100-5", job_id="abc")
TAIL = Drop("t", 9, State.COMPLETED, "tail", 8, None, True, job_file="80-100-6", job_id="def")
NEW = replace(WING, state=State.REJECTED, job_id=None)
GONE = replace(WING, here=False)
BORN = replace(WING, born=1000)


def seen(name: str = "wing", inode: int = 70, born: int | None = None, mark: str = "1-100-5") -> Seen:
    return Seen(name, inode, born, mark)


OTHER = "1-200-9"  # the mark of another job.json
TOUCHED = "1-100-9"


@pytest.mark.parametrize(
    ("folder", "drop", "expected"),
    [
        # With the name, at the place.
        (seen(inode=7), WING, Same),
        (seen(inode=7, mark=OTHER), WING, Same),  # edited: `status.log` says so, and no job is made
        (seen(), WING, Same),  # numbered anew
        (seen(mark=OTHER), WING, Asks),  # numbered anew and edited, or a new one
        (seen(mark=""), WING, Asks),
        (seen(mark=OTHER), NEW, Same),  # there is no job yet: it is looked at afresh
        (seen(born=1000, mark=OTHER), BORN, Same),
        (seen(born=2000, mark=OTHER), BORN, None),
        (seen(inode=7, born=2000, mark=OTHER), BORN, None),  # a number that was used again
        (seen(born=2000), BORN, Asks),  # a copy with its times, or a file system that invents times of birth
        # Under another name, while the old name is gone.
        (seen("wing-old", inode=7), WING, Same),
        (seen("wing-old", inode=7, mark=OTHER), WING, Asks),
        (seen("wing-old", inode=7, mark=OTHER), NEW, Same),
        (seen("wing-old"), WING, Asks),
        (seen("wing-old", mark=TOUCHED), WING, None),  # a copy of what is gone
        (seen("wing-old", born=1000), BORN, Same),
        (seen("wing-old", born=2000), BORN, None),
        # After it was seen to be gone.
        (seen(inode=7), GONE, Same),
        (seen(), GONE, Asks),
        (seen(mark=OTHER), GONE, None),
        (seen(mark=TOUCHED), GONE, None),
        (seen(inode=7, mark=OTHER), GONE, None),
        (seen("elsewhere", mark=OTHER), GONE, None),
    ],
)
def test_what_can_be_seen_adds_up(folder: Seen, drop: Drop, expected: type | None) -> None:
    found = recognise(folder, [drop], {folder.name})
    assert (type(found) if found is not None else None) is expected
    assert found is None or found.drop == drop


def test_a_copy_beside_its_original_is_a_new_drop_also_with_its_times() -> None:
    assert recognise(seen("wing-2"), [WING], {"wing", "wing-2"}) is None


def test_numbers_that_two_drops_exchanged_mislead_nobody() -> None:
    wing, tail = seen("wing", inode=8), seen("tail", inode=7, mark="2-100-6")
    assert recognise(wing, [WING, TAIL], {"wing", "tail"}) == Same(WING)
    assert recognise(tail, [WING, TAIL], {"wing", "tail"}) == Same(TAIL)


def test_a_drop_that_took_the_place_of_another_is_told_by_number_and_birth_together() -> None:
    wing, tail = replace(WING, born=1000), replace(TAIL, born=2000)
    away, there = Seen("x", 7, 1000, WING.job_file), Seen("wing", 8, 2000, TAIL.job_file)
    assert recognise(away, [wing, tail], {"x", "wing"}) == Same(wing)
    assert recognise(there, [wing, tail], {"x", "wing"}) == Same(tail)


def test_the_numbers_of_a_file_system_that_gives_all_the_same_mislead_nobody() -> None:
    drops = [replace(WING, inode=1), replace(TAIL, inode=1)]
    assert recognise(seen("tail", inode=1, mark="2-100-6"), drops, {"wing", "tail"}) == Same(drops[1])
    assert recognise(seen("third", inode=1, mark=OTHER), drops, {"wing", "tail", "third"}) is None


@given(
    numbers=st.lists(st.integers(1, 6), min_size=4, max_size=4),
    renamed=st.sets(st.integers(0, 3), max_size=4),
)
def test_no_untouched_drop_with_a_job_ever_counts_as_new(numbers: list[int], renamed: set[int]) -> None:
    """Whatever numbers it gets, and whether it is renamed meanwhile."""
    drops = [
        replace(WING, id=f"d{each}", folder=f"wing-{each}", inode=each + 1, job_file=f"9-100-{each}")
        for each in range(4)
    ]
    names = [f"old-{each}" if each in renamed else f"wing-{each}" for each in range(4)]
    for each, (name, number) in enumerate(zip(names, numbers, strict=True)):
        found = recognise(Seen(name, number, None, f"5-100-{each}"), drops, set(names))
        assert found is not None
        assert found.drop.id == f"d{each}" or isinstance(found, Asks)


# On a real file system that numbers its folders anew at each mount.


def test_this_file_system_tells_folders_apart(tmp_path: Path) -> None:
    assert keeps_identities(tmp_path)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "aaa").mkdir(parents=True)  # looked up before the drops, by choice
    (source / "submit").mkdir()
    return source


class Life:
    """Daemons, one after the other, on a drop folder that is numbered anew for each."""

    def __init__(self, source: Path, rescale: FakeRescale, clock: FakeClock) -> None:
        self._source = source
        self._mountpoint = source.parent / "mounted"
        self.settings = replace(make_settings(source.parent), folder=self._mountpoint / "submit")
        self.folder = source / "submit"
        self._rescale = rescale
        self._clock = clock
        self._mounts = 0

    def run(self, turns: int = 4, act: object = None) -> Rig:
        """Mount, run a daemon, do ``act`` in its midst, and unmount."""
        self._mounts += 1
        for number in range(5 * self._mounts):
            (self._source / "aaa" / str(number)).touch()
        before = tuple(f"aaa/{number}" for number in range(5 * self._mounts))
        with renumbered(self._source, self._mountpoint, before):
            with Rig(self.settings, self._rescale, self._clock) as rig:
                rig.turns(turns)
                if callable(act):
                    act(self.settings.folder)
                    rig.turns(turns)
            self.number = identity(self.settings.folder)
        return rig


@pytest.fixture
def life(source: Path, rescale: FakeRescale, clock: FakeClock) -> Life:
    return Life(source, rescale, clock)


fuse = pytest.mark.fuse


@fuse
def test_a_drop_with_its_job_is_not_submitted_again_after_a_restart(life: Life, rescale: FakeRescale) -> None:
    drop_files(life.folder / "wing")
    drop_files(life.folder / "tail", {**GOOD, "name": "tail"})
    first = life.run()
    assert len(rescale.on_server) == 2
    numbers = life.number
    for job in rescale.on_server.values():
        rescale.tell(job.id, "Executing", "Completed")
    again = life.run(6)
    assert life.number.inode != numbers.inode, "the numbers are others"
    assert life.number.born is None
    assert len(rescale.on_server) == 2
    assert [again.status("wing"), again.status("tail")] == ["Completed", "Completed"]
    assert [drop.id for drop in again.ledger.drops()] == [drop.id for drop in first.ledger.drops()]


@fuse
def test_an_edited_drop_after_a_restart_asks_and_a_touch_submits_it(life: Life, rescale: FakeRescale) -> None:
    drop_files(life.folder / "wing")
    life.run()
    drop_files(life.folder / "wing", {**GOOD, "name": "other"})
    rig = life.run()
    job = next(iter(rescale.on_server))
    question = f"is it new, or is it drop wing, which has job {job}? See status.log"
    assert rig.status() == f"waiting for a word of yours: {question}"
    assert any("touch job.json" in line for line in rig.log())
    report = next(each for each in rig.ledger.reports() if each.is_doubtful)
    assert "touch job.json" in what_to_do(report)
    assert len(rescale.on_server) == 1
    life.run()  # asked still
    assert len(rescale.on_server) == 1
    life.run(act=lambda folder: os.utime(folder / "wing" / "job.json"))
    assert len(rescale.on_server) == 2


@fuse
def test_an_edited_drop_after_a_restart_is_the_old_one_when_a_person_says_so(
    life: Life, rescale: FakeRescale
) -> None:
    drop_files(life.folder / "wing")
    life.run()
    drop_files(life.folder / "wing", {**GOOD, "name": "other"})
    job = next(iter(rescale.on_server))
    rescale.tell(job, "Executing")
    rig = life.run(act=lambda folder: (folder / "wing" / "control").write_text("same\n"))
    assert rig.status() == "Executing"
    rig = life.run()
    assert rig.status() == "Executing"
    assert len(rescale.on_server) == 1
    assert len([drop for drop in rig.ledger.drops() if drop.here]) == 1


@fuse
def test_copies_and_new_folders_are_submitted_there_too(life: Life, rescale: FakeRescale) -> None:
    drop_files(life.folder / "wing")
    life.run()
    shutil.copytree(life.folder / "wing", life.folder / "wing-2")  # with its times
    life.run()
    assert len(rescale.on_server) == 2

    def replaced(folder: Path) -> None:
        shutil.rmtree(folder / "wing")

    life.run(act=replaced)
    drop_files(life.folder / "wing", {**GOOD, "name": "another"})
    life.run()
    assert len(rescale.on_server) == 3


@fuse
def test_the_same_folder_that_comes_back_after_a_restart_asks(life: Life, rescale: FakeRescale) -> None:
    folder = drop_files(life.folder / "wing")
    away = life.folder.parent / "away"
    life.run()
    life.run(act=lambda _: folder.rename(away))
    shutil.copytree(away, life.folder / "wing")
    rig = life.run()
    assert rig.status().startswith("waiting for a word of yours")
    assert len(rescale.on_server) == 1


@fuse
def test_a_drop_renamed_while_no_daemon_runs_is_asked_about(life: Life, rescale: FakeRescale) -> None:
    folder = drop_files(life.folder / "wing")
    life.run()
    folder.rename(life.folder / "wing-old")
    rig = life.run()
    assert rig.status("wing-old").startswith("waiting for a word of yours")
    assert len(rescale.on_server) == 1


@fuse
def test_a_drop_renamed_while_the_daemon_runs_stays_itself(life: Life, rescale: FakeRescale) -> None:
    drop_files(life.folder / "wing")
    rig = life.run(act=lambda folder: (folder / "wing").rename(folder / "wing-old"))
    assert "is called wing-old now" in " ".join(rig.log("wing-old"))
    assert len(rescale.on_server) == 1


@fuse
def test_submit_of_a_folder_makes_no_second_job_after_a_mount(
    source: Path, rescale: FakeRescale, clock: FakeClock
) -> None:
    drop_files(source / "wing")
    settings = make_settings(source.parent)
    mountpoint = source.parent / "mounted"

    def submitted() -> str | None:
        threads = Background()
        try:
            return submit_folder(mountpoint / "wing", rescale, settings, clock, threads).job_id
        finally:
            threads.close()

    with renumbered(source, mountpoint):
        first = submitted()
    with renumbered(source, mountpoint, ("aaa", "submit")):
        assert submitted() == first
    drop_files(source / "wing", {**GOOD, "name": "other"})
    with renumbered(source, mountpoint), pytest.raises(UserError, match="copy it under another name"):
        submitted()
    assert len(rescale.on_server) == 1
