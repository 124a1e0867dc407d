"""Many drops at once: all end, in turn, with few requests."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

from rescalefs.submit import spec
from rescalefs.submit.folder import look
from rescalefs.submit.limits import Limits
from tests.fakes import FakeClock
from tests.submit.rig import CATALOGUE, GOOD, FakeRescale, Rig, drop_files, make_settings

MANY = 200


def test_200_drops_at_once_all_end_with_few_requests_in_a_fair_order(tmp_path: Path) -> None:
    clock = FakeClock()
    rescale = FakeRescale(clock)
    order: list[str] = []
    settings = make_settings(tmp_path)
    for number in range(MANY):
        name = f"wing-{number:03}"
        drop_files(
            settings.folder / name,
            {**GOOD, "name": name},
            {"a.dat": name.encode(), "b.dat": f"{name} b".encode()},
        )
    with Rig(settings, rescale, clock) as rig:

        def end_it(name: str) -> None:
            if name == "after submit_job":
                job = next(job for job in rescale.on_server.values() if len(job.statuses) == 1)
                rescale.tell(job.id, "Completed")
                order.append(job.definition["name"])

        rescale.point = end_it
        while rig.ledger.open_drops() or not rig.ledger.drops():
            rig.turn(5.0)
            assert clock.monotonic() < 3600.0
        assert sorted(order) == sorted(set(order))
        assert len(order) == len(rescale.on_server) == MANY
        assert {drop.status for drop in rig.ledger.drops()} == {"Completed"}
        assert not rig.worker._desk._trays, "nothing is kept of those that are done"
    for job_id, job in rescale.on_server.items():
        name = job.definition["name"]
        assert rescale.inputs(job_id) == {"a.dat": name.encode(), "b.dat": f"{name} b".encode()}
    # No drop has its second file sent before every drop had its first.
    sent = [data.split()[0] for _, data in rescale.files.values()]
    assert len(set(sent[:MANY])) == MANY
    # Two uploads, create, submit, its statuses before and after, and its outputs; the catalogue is shared.
    assert len(rescale.requests) <= 8 * MANY + 20


def test_each_of_very_many_files_takes_little_memory(tmp_path: Path) -> None:
    """100,000 files are to fit into 200 MiB, of which the process itself takes 50."""
    many = 3000
    drop_files(tmp_path, GOOD, {f"case-{number:06}.dat": b"%d" % number for number in range(many)})
    spec.read(GOOD, look(tmp_path, 100_000), "wing", CATALOGUE, Limits())  # imports what it needs
    tracemalloc.start()
    try:
        wanted = spec.read(GOOD, look(tmp_path, 100_000), "wing", CATALOGUE, Limits())
        assert isinstance(wanted, spec.JobSpec)
        again = look(tmp_path, 100_000)  # before the job is created
        filled = wanted.filled([f"{number:06}" for number in range(many)], "token")
        definition = json.dumps(filled, ensure_ascii=False)
        assert definition.count('{"id": ') == len(again.entries) == many
        assert tracemalloc.get_traced_memory()[1] < 1500 * many
    finally:
        tracemalloc.stop()
