"""Whatever the server answers and job.json holds: at most one job of a drop, and a reason for each state."""

from __future__ import annotations

import copy
import json
from contextlib import closing
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given

from rescalefs.simulator import Simulator
from rescalefs.submit import spec
from rescalefs.submit.catalogue import Catalogue
from rescalefs.submit.folder import look
from rescalefs.submit.jobfile import NotJson, parse
from rescalefs.submit.limits import Limits
from rescalefs.submit.machine import State
from rescalefs.submit.spec import TOKEN
from tests.fakes import FakeClock
from tests.fuzz.conftest import OddServer
from tests.fuzz.examples import SEEDS, examples
from tests.fuzz.mutations import encoded, mutated, odd_bytes
from tests.fuzz.test_fuzz_tree import client_of
from tests.submit.rig import CATALOGUE, GOOD, FakeRescale, Rig, drop_files, make_settings

SHORT = {"command": "true", "software": "miniconda", "coretype": "cheapest", "cores": 2, "hours": 1}
HELD: dict[str, Any] = {**copy.deepcopy(GOOD), "hold": True}
HELD["jobanalyses"][0]["inputFiles"] = ["solve.py"]
_GOING_ON = (State.CHECKING, State.UPLOADING, State.CREATING, State.IN_DOUBT, State.WAITING)


def jobs_of(simulator: Simulator, drop_id: str) -> list[str]:
    """The jobs that were made with a drop's token."""
    made = []
    for job in simulator.world.jobs():
        analyses = job.definition.get("jobanalyses") or [{}]
        if (analyses[0].get("envVars") or {}).get(TOKEN) == drop_id:
            made.append(job.id)
    return made


@given(SEEDS)
@examples(5)
def test_a_drop_becomes_one_job_or_says_why_not_whatever_is_answered(
    account: Simulator, odd: OddServer, seed: int
) -> None:
    clock = FakeClock()
    with (
        TemporaryDirectory() as folder,
        closing(client_of(odd, clock)) as client,
        Rig(make_settings(Path(folder)), client, clock) as rig,  # type: ignore[arg-type]  # the real client
    ):
        drop_files(rig.settings.folder / "wing", HELD)
        odd.forget()
        with odd.being(seed):
            rig.turns(6, seconds=20.0)
            assert rig.status()
        (drop,) = rig.ledger.drops()
        assert len(jobs_of(account, drop.id)) <= 1
        for _ in range(60):
            odd.forget()
            rig.turn(60.0)
            (drop,) = rig.ledger.drops()
            if drop.state not in _GOING_ON:
                break
        assert drop.state not in _GOING_ON, rig.log()
        made = jobs_of(account, drop.id)
        assert len(made) <= 1
        assert drop.state is not State.SAVED or drop.job_id is not None
        if drop.state is State.REJECTED:
            assert drop.problems


@given(SEEDS)
@examples(150)
def test_an_odd_job_json_is_read_or_refused_with_reasons(seed: int) -> None:
    random = Random(seed)
    document: Any = copy.deepcopy(random.choice([HELD, SHORT, GOOD]))
    data = encoded(mutated(document, random))
    if random.random() < 0.2:
        data = odd_bytes(data, random)
    with TemporaryDirectory() as folder:
        path = drop_files(Path(folder) / "wing", data)
        try:
            asked = parse(data)
        except NotJson:
            return
        outcome = spec.read(asked, look(path, 1000), "wing", CATALOGUE, Limits())
        if isinstance(outcome, spec.Rejection):
            assert all(str(each).encode() for each in outcome.problems)
        elif isinstance(outcome, spec.JobSpec):
            ids = [f"id{number}" for number in range(len(outcome.parcels))]
            filled = outcome.filled(ids, "token")
            assert filled["jobanalyses"][0]["envVars"][TOKEN] == "token"
            json.dumps(filled, allow_nan=False).encode()


@given(SEEDS)
@examples(20)
def test_a_drop_of_an_odd_job_json_ends_as_one_job_or_says_why_not(seed: int) -> None:
    random, clock = Random(seed), FakeClock()
    rescale = FakeRescale(clock)
    data = encoded(mutated(copy.deepcopy(random.choice([HELD, SHORT, GOOD])), random))
    with TemporaryDirectory() as folder, Rig(make_settings(Path(folder)), rescale, clock) as rig:
        drop_files(rig.settings.folder / "wing", data)
        rig.turns(6, seconds=10.0)
        (drop,) = rig.ledger.drops()
        assert drop.state not in (State.CHECKING, State.UPLOADING, State.CREATING), rig.log()
        assert len(rescale.on_server) == (drop.job_id is not None)
        assert "failed at this drop" not in rig.status()


@given(SEEDS)
@examples(60)
def test_an_odd_catalogue_judges_a_good_drop_or_says_why_not(seed: int) -> None:
    """The client leaves out what makes no sense; what is left may still be strange."""
    random = Random(seed)
    shown = Catalogue(
        tuple(random.sample(CATALOGUE.analyses, random.randrange(4))),
        tuple(random.sample(CATALOGUE.core_types, random.randrange(5))),
        tuple(random.sample(CATALOGUE.projects or (), random.randrange(3))),
        tuple(random.sample(CATALOGUE.prices, random.randrange(7))),
    )
    with TemporaryDirectory() as folder:
        path = drop_files(Path(folder) / "wing", SHORT)
        outcome = spec.read(dict(SHORT), look(path, 1000), "wing", shown, Limits())
        assert isinstance(outcome, (spec.JobSpec, spec.Rejection))
