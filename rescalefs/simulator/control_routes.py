"""Endpoints below `/simulator/`, which the real service lacks: what tests and demos set up, and look at."""

from __future__ import annotations

from dataclasses import asdict

from starlette.responses import Response

from rescalefs.simulator.call import Call, Endpoint, Refused, answer, empty
from rescalefs.simulator.documents import job_summary
from rescalefs.simulator.faults import FaultScript, faults_from
from rescalefs.simulator.seed import seed_from_json
from rescalefs.simulator.traffic import TrafficLog
from rescalefs.simulator.world import World


class ControlRoutes:
    """Faults, traffic, and jobs out of nothing."""

    def __init__(self, world: World, faults: FaultScript, traffic: TrafficLog) -> None:
        self._world = world
        self._faults = faults
        self._traffic = traffic

    def table(self) -> dict[str, dict[str, Endpoint]]:
        """Path pattern -> method -> endpoint."""
        return {
            "faults/": {"GET": self.faults, "POST": self.add_faults, "DELETE": self.clear_faults},
            "requests/": {"GET": self.requests, "DELETE": self.clear_requests},
            "jobs/": {"POST": self.add_jobs},
        }

    def faults(self, _: Call) -> Response:
        """All faults, and how often each was used."""
        return answer(self._faults.report())

    def add_faults(self, call: Call) -> Response:
        """One fault, or a list of them."""
        try:
            self._faults.add(*faults_from(call.body))
        except ValueError as error:
            raise Refused(400, str(error)) from error
        return answer(self._faults.report(), 201)

    def clear_faults(self, _: Call) -> Response:
        """Nothing goes wrong any more."""
        self._faults.clear()
        return empty(204)

    def requests(self, _: Call) -> Response:
        """Counts and bytes per route, and the newest requests one by one."""
        return answer(
            {
                "counts": self._traffic.counts(),
                "bytes": self._traffic.bytes_sent(),
                "requests": [asdict(entry) for entry in self._traffic.entries()],
            }
        )

    def clear_requests(self, _: Call) -> Response:
        """Count from nought."""
        self._traffic.clear()
        return empty(204)

    def add_jobs(self, call: Call) -> Response:
        """Finished jobs: ``name``, ``files`` (fields of `SeedFile`), ``status``, and how many (``count``)."""
        fields = call.fields
        try:
            seeds = [seed_from_json(file) for file in fields.get("files", [])]
            count = int(fields.get("count", 1))
        except (TypeError, ValueError) as error:
            raise Refused(400, str(error)) from error
        name, status = str(fields.get("name", "seeded")), str(fields.get("status", "Completed"))
        jobs = [
            self._world.add_finished_job(
                name if count == 1 else f"{name}-{number}",
                seeds,
                job_id=fields.get("id"),
                status=status,
                reason=fields.get("reason"),
                stopping=fields.get("stopping"),
            )
            for number in range(1, count + 1)
        ]
        return answer([job_summary(job, 0) for job in jobs], 201)
