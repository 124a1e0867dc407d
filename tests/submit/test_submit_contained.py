"""What one drop raises is shown at that drop; the others go on, and so do the threads."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rescalefs.background import Background
from rescalefs.clock import SystemClock
from rescalefs.submit import Submitter, survey
from rescalefs.submit.farewell import Farewell
from rescalefs.submit.folder import Identity, identity
from rescalefs.submit.journal import JournalFailed, Overtaken
from rescalefs.submit.machine import State
from tests.fakes import FakeClock, HastyClock
from tests.submit.rig import GOOD, FakeRescale, Rig, drop_files, make_settings

ODD = [ValueError("cannot convert float NaN"), RecursionError("too deep"), KeyError("cores"), MemoryError()]
PATIENCE = 20.0


def raising(call: Callable[..., Any], error: Exception, is_odd: Callable[..., bool]) -> Any:
    def method(*arguments: Any, **named: Any) -> Any:
        if is_odd(*arguments):
            raise error
        return call(*arguments, **named)

    return method


def two_drops(rig: Rig) -> None:
    for name in ("odd", "even"):
        drop_files(rig.settings.folder / name, {**GOOD, "name": name}, {f"{name}.dat": name.encode()})


def is_odd_definition(definition: Any) -> bool:
    return bool(definition["name"] == "odd")


@pytest.mark.parametrize("error", ODD, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("request_", ["create_job", "submit_job", "statuses", "output_files", "upload"])
def test_what_one_drops_answer_raises_is_shown_there_and_the_other_drop_completes(
    rig: Rig, rescale: FakeRescale, request_: str, error: Exception
) -> None:
    def is_odd(what: Any, *_: Any) -> bool:
        if request_ == "create_job":
            return is_odd_definition(what)
        if request_ == "upload":
            return bool(what == "odd.dat")
        return is_odd_definition(rescale.on_server[what].definition)

    call = getattr(rescale, request_)
    setattr(rescale, request_, raising(call, error, is_odd))
    two_drops(rig)
    for _ in range(8):
        rig.turn(5.0)
        for job in rescale.on_server.values():
            if [each.status for each in job.statuses] == ["Pending"]:
                rescale.tell(job.id, "Executing", "Completed")
    assert rig.status("even") == "Completed"
    assert any(f"rescalefs failed at this drop ({type(error).__name__}: " in line for line in rig.log("odd"))
    assert rig.status("odd") != "Completed" or request_ == "output_files"
    setattr(rescale, request_, call)
    for _ in range(30):
        rig.turn(10.0)
        for job in rescale.on_server.values():
            if [each.status for each in job.statuses] == ["Pending"]:
                rescale.tell(job.id, "Executing", "Completed")
    assert rig.status("odd") == "Completed"
    assert len(rescale.on_server) == 2


def test_a_traceback_is_logged_once_however_often_it_is_tried(
    rig: Rig, rescale: FakeRescale, caplog: pytest.LogCaptureFixture
) -> None:
    error = ZeroDivisionError("of this test alone")
    rescale.analyses = raising(rescale.analyses, error, lambda: True)  # type: ignore[method-assign]
    drop_files(rig.settings.folder / "wing")
    with caplog.at_level(logging.ERROR):
        rig.turns(50, 30.0)
    assert len(caplog.records) == 1
    assert rig.status().startswith("checking job.json: rescalefs failed at this drop (ZeroDivisionError: of")
    assert len(rig.log()) < 8


def test_a_folder_that_the_disk_does_not_give_keeps_no_other_from_becoming_a_drop(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(path: Path) -> Identity:
        if path.name == "odd":
            raise OSError(5, "Input/output error")
        return identity(path)

    two_drops(rig)
    monkeypatch.setattr(survey, "identity", broken)
    rig.turns(4)
    assert rig.status("even") == "Pending"
    assert rig.ledger.status("odd") is None
    monkeypatch.setattr(survey, "identity", identity)
    rig.turns(4)
    assert rig.status("odd") == "Pending"


def test_a_worker_that_is_first_does_not_end_the_survey(rescale: FakeRescale, tmp_path: Path) -> None:
    def first(point: str, seen: list[str] = []) -> None:  # noqa: B006  # remembers that it happened
        if point in {"before Vanished", "before Moved"} and point not in seen:
            seen.append(point)
            raise Overtaken(point)

    with Rig(make_settings(tmp_path), rescale, FakeClock(), first) as rig:
        folder = drop_files(rig.settings.folder / "wing", None)
        rig.turns(2)
        folder.rename(tmp_path / "outside")
        rig.turns(3)
        assert rig.ledger.status("wing") is None
        (tmp_path / "outside").rename(rig.settings.folder / "wing-2")
        rig.turns(3)
        assert rig.status("wing-2") == "waiting for job.json"
        assert len(rig.ledger.drops()) == 1


@pytest.mark.parametrize("trouble", ["the journal fails", "it is renamed meanwhile"])
def test_an_end_is_told_once_though_that_cannot_be_recorded_at_first(
    rescale: FakeRescale, tmp_path: Path, trouble: str
) -> None:
    failing: list[str] = []

    def point(name: str) -> None:
        if name == "before Announced" and failing:
            raise JournalFailed("disk full") if trouble == "the journal fails" else Overtaken(name)

    with Rig(make_settings(tmp_path), rescale, FakeClock(), point) as rig:
        drop_files(rig.settings.folder / "wing")
        rig.turns(4)
        (job,) = rescale.on_server.values()
        rescale.tell(job.id, "Executing", "Completed")
        rig.turns(4)
        told = tmp_path / "told"
        settings = replace(rig.settings, on_finished=f"echo told >> {told}", notify=False)
        farewell = Farewell(settings, SystemClock(), rig.ledger)
        failing.append("yes")
        for _ in range(3):
            farewell.announce_all(threading.Event())
        assert rig.ledger.unannounced()
        failing.clear()
        farewell.announce_all(threading.Event())
        assert not rig.ledger.unannounced()
        assert told.read_text() == "told\n"


def test_an_announcement_that_raises_keeps_no_other_end_from_being_told(
    rig: Rig, rescale: FakeRescale
) -> None:
    two_drops(rig)
    rig.turns(4)
    for job in rescale.on_server.values():
        rescale.tell(job.id, "Executing", "Completed")
    rig.turns(4)
    assert len(rig.ledger.unannounced()) == 2
    settings = replace(rig.settings, on_finished="echo \0", notify=False)  # ValueError: embedded null byte
    Farewell(settings, SystemClock(), rig.ledger).announce_all(threading.Event())
    assert not rig.ledger.unannounced()
    assert "embedded null byte" in rig.log("odd")[-1]
    assert "embedded null byte" in rig.log("even")[-1]


def test_the_threads_live_on_whatever_the_server_answers(tmp_path: Path) -> None:
    clock = HastyClock(20)  # each error of a drop costs it 2 s and more until the next attempt
    rescale = FakeRescale(clock)
    odd = iter(ODD)

    def point(name: str) -> None:
        if name in {"before analyses", "before upload", "before create_job", "before statuses"}:
            error = next(odd, None)
            if error is not None:
                raise error

    rescale.point = point
    settings = make_settings(tmp_path, settle_time=1.0, rescan=5.0, poll_least=0.4, poll_most=1.0)
    drop_files(settings.folder / "wing")
    background = Background()
    submitter = Submitter(rescale, settings, clock, background)
    submitter.start()
    try:
        wait_until(lambda: bool(rescale.on_server) and submitter.status("wing") == b"Pending\n")
        assert not background.stopping
        assert submitter.drops()[0].state is State.RUNNING
    finally:
        background.close()
        submitter.close()


def wait_until(condition: Callable[[], bool]) -> None:
    clock, step = SystemClock(), threading.Event()
    end = clock.monotonic() + 4 * PATIENCE
    while not condition():
        assert clock.monotonic() < end
        clock.wait(step, 0.05)
