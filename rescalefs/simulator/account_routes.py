"""Endpoints about the account, and what can be bought."""

from __future__ import annotations

from starlette.responses import Response

from rescalefs.simulator import documents
from rescalefs.simulator.call import Call, Endpoint, Refused, answer
from rescalefs.simulator.catalogue import (
    PROJECTS,
    analysis_documents,
    core_type_documents,
    price_documents,
)
from rescalefs.simulator.definition import check_project
from rescalefs.simulator.settings import SimulatorSettings
from rescalefs.simulator.world import NoSuchRecord, World


class AccountRoutes:
    """Who one is, and the catalogue."""

    def __init__(self, world: World, settings: SimulatorSettings) -> None:
        self._world = world
        self._settings = settings
        self._core_types = core_type_documents()
        if settings.hide_prices is not None:
            for each in self._core_types:
                del each["price"], each["lowPriorityPrice"]
        self._analyses = analysis_documents()
        self._prices = price_documents()

    def table(self) -> dict[str, dict[str, Endpoint]]:
        """Path pattern -> method -> endpoint."""
        return {
            "": {"GET": self.root},
            "users/me/": {"GET": self.user},
            "users/me/projects/": {"GET": lambda call: call.page(PROJECTS, dict)},
            "coretypes/": {"GET": self.core_types},
            "analyses/": {"GET": lambda call: call.page(self._analyses, dict)},
            "billing/computeprices/": {"GET": self.prices},
            "tasks/{token}/": {"GET": self.task},
            "organizations/{company}/jobs/{job_id}/project-assignment/": {"POST": self.assign_project},
        }

    def root(self, call: Call) -> Response:
        """Where the API begins: clients check their key here."""
        names = ("jobs", "files", "analyses", "coretypes")
        return answer({name: f"{call.api}{name}/" for name in names})

    def user(self, _: Call) -> Response:
        """Whose key it is."""
        hours = self._settings.max_job_hours
        return answer(documents.user(self._world.owner, self._world.workspace_id, hours))

    def prices(self, _: Call) -> Response:
        """A bare list; an administrator can hide prices from members."""
        if self._settings.hide_prices == "refused":
            raise Refused(403, "You do not have permission to perform this action.")
        return answer([] if self._settings.hide_prices else self._prices)

    def core_types(self, call: Call) -> Response:
        """`?isActive=true` leaves out what can't be bought any more."""
        active = call.query.get("isActive", "").lower()
        found = [each for each in self._core_types if active not in ("true", "1") or each["isActive"]]
        return call.page(found, dict)

    def task(self, call: Call) -> Response:
        """Nothing here takes so long that it would be a task: no token is known."""
        raise NoSuchRecord(call.parts["token"])

    def assign_project(self, call: Call) -> Response:
        """Books a job on a project."""
        if call.parts["company"] != documents.COMPANY["code"]:
            raise Refused(404, "Not found.")
        job_id = call.parts["job_id"]
        project_id = check_project(call.fields.get("projectId"))
        self._world.change_job(job_id, project_id=project_id)
        return answer({"jobId": job_id, "projectId": project_id})
