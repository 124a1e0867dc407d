"""What one drop, job or answer raises ends with it: the other drops go on, and it is tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import FakeClock
from tests.submit.rig import GOOD, FakeRescale, Rig, drop_files, make_settings

REQUESTS = (
    "before analyses",
    "before core_types",
    "before upload",
    "after upload",
    "before create_job",
    "after create_job",
    "before submit_job",
    "after submit_job",
    "before statuses",
    "before newest_jobs",
    "before output_files",
)


@pytest.mark.parametrize("request_name", REQUESTS)
def test_an_answer_that_raises_what_nobody_foresaw_holds_up_its_drop_alone(
    tmp_path: Path, request_name: str
) -> None:
    clock = FakeClock()
    rescale = FakeRescale(clock)
    raised: list[str] = []

    def point(name: str) -> None:
        if name == request_name and len(raised) < 3:
            raised.append(name)
            raise OverflowError("date value out of range")
        if name == "after submit_job":
            for job in rescale.on_server.values():
                if len(job.statuses) == 1:
                    rescale.tell(job.id, "Completed")

    rescale.point = point
    settings = make_settings(tmp_path)
    for number in range(4):
        drop_files(settings.folder / f"wing-{number}", {**GOOD, "name": f"wing-{number}"})
    with Rig(settings, rescale, clock) as rig:
        while rig.ledger.open_drops() or not rig.ledger.drops():
            rig.turn(5.0)
            for job in rescale.on_server.values():  # its own answer was the one that got lost
                if [each.status for each in job.statuses] == ["Pending"]:
                    rescale.tell(job.id, "Completed")
            assert clock.monotonic() < 7200.0
        assert raised
        assert {drop.status for drop in rig.ledger.drops()} == {"Completed"}
    assert sorted(job.definition["name"] for job in rescale.on_server.values()) == [
        f"wing-{number}" for number in range(4)
    ]


def test_a_drop_that_cannot_be_judged_says_why_and_the_others_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rescalefs.submit import examining, worker

    right = examining.examine

    def strange(folder: Path, *args: object, **options: object) -> object:
        if folder.name == "odd":
            raise ArithmeticError("no price")
        return right(folder, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(worker, "examine", strange)
    clock = FakeClock()
    rescale = FakeRescale(clock)
    settings = make_settings(tmp_path)
    for name in ("odd", "good"):
        drop_files(settings.folder / name)
    with Rig(settings, rescale, clock) as rig:
        rig.turns(6)
        assert "ArithmeticError: no price" in rig.status("odd")
        assert "trying again in" in rig.status("odd")
        assert len(rescale.on_server) == 1
        monkeypatch.setattr(worker, "examine", right)
        rig.turns(10, seconds=60.0)
    assert len(rescale.on_server) == 2
