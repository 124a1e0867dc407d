"""When copies of what a job wrote while it ran are removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from rescalefs.mirror import Selection
from rescalefs.model import Run
from tests.fakes import Fault
from tests.mirror.rounds import Rounds, never, output, rounds
from tests.mirror.test_mirror_live import Tail
from tests.tree.account import FakeService, minutes

LOG, FIELDS = b"line 0\nline 1\n", b"fields"


def run_and_end(here: Rounds, run: str = "") -> None:
    """Have job a write two files, and end with them as its outputs."""
    service = here.service
    service.add("a", status="Executing")
    service.working["a/2" if run else "a"] = ("log", "deep/fields")
    here.round()
    assert here.copies() == {f"{run}live/log", f"{run}live/deep/fields"}
    service.working.clear()
    service.add("a")
    files = (output("log", LOG), output("deep/fields", FIELDS))
    service.files["a"] = files
    if run:
        service.run_outputs["a", "2"] = files


@pytest.mark.parametrize("run", ["", "runs/2/"])
def test_copies_go_once_the_outputs_are_here(tmp_path: Path, run: str) -> None:
    service = FakeService()
    if run:
        service.all_runs["a"] = (Run("1", minutes(1), minutes(2)), Run("2", minutes(2)))
    contents = {"log": LOG, "deep/fields": FIELDS}
    with rounds(tmp_path / "to", contents, Tail(never()), Selection(live=True), service) as here:
        run_and_end(here, run)
        assert here.round()["fail"] == 0
        assert len(here.of("remove")) == 2
        assert here.copies() == set()
        assert here.outputs() == contents


def test_a_copy_stays_while_its_output_fails_and_goes_in_the_round_that_brings_it(tmp_path: Path) -> None:
    contents = {"log": LOG, "deep/fields": b"wrong!"}
    with rounds(tmp_path / "to", contents, Tail(never()), Selection(live=True)) as here:
        run_and_end(here)
        assert here.round()["fail"] == 1
        assert here.copies() == {"live/deep/fields"}
        here.source.contents["deep/fields"] = FIELDS
        here.round()
        assert here.of("remove") == ["jobs/a/live/deep/fields"]
        assert here.copies() == set()
        assert here.outputs() == {"log": LOG, "deep/fields": FIELDS}


@pytest.mark.parametrize(
    "selection", [Selection(live=True, max_size=10), Selection(live=True, include=("*",))]
)
def test_a_copy_stays_whose_output_is_left_out_or_does_not_exist(
    tmp_path: Path, selection: Selection
) -> None:
    contents = {"log": LOG, "deep/fields": FIELDS}
    with rounds(tmp_path / "to", contents, Tail(never()), selection) as here:
        run_and_end(here)
        if selection.max_size is None:  # the server does not list it
            here.service.files["a"] = (output("deep/fields", FIELDS),)
        for _ in range(3):
            here.clock.advance(3600)
            here.round()
        assert here.copies() == {"live/log"}
        assert here.outputs() == {"deep/fields": FIELDS}


def test_a_copy_stays_while_the_connection_to_its_output_breaks(tmp_path: Path) -> None:
    contents = {"log": LOG, "deep/fields": FIELDS}
    with rounds(tmp_path / "to", contents, Tail(never()), Selection(live=True), connections=1) as here:
        run_and_end(here)
        here.source.misbehave(*(Fault(error=PermissionError(13, "not for you")) for _ in range(2)))
        assert here.round()["fail"] == 2
        assert here.copies() == {"live/log", "live/deep/fields"}
        here.round()
        assert here.copies() == set()
