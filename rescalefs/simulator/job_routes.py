"""Endpoints below `jobs/`."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Any

from starlette.responses import Response

from rescalefs.simulator import documents, life
from rescalefs.simulator.call import Call, Endpoint, Refused, answer, empty
from rescalefs.simulator.cases import plan_runs
from rescalefs.simulator.definition import Invalid, check_policies, check_project, checked
from rescalefs.simulator.delivery import deliver
from rescalefs.simulator.records import FileRecord, JobRecord, RunRecord
from rescalefs.simulator.scheduler import Scheduler
from rescalefs.simulator.settings import SimulatorSettings
from rescalefs.simulator.tags import tag_names, tags_changed
from rescalefs.simulator.workdir import find_live, live_files
from rescalefs.simulator.world import NoSuchRecord, World

SUPPORT_DESK = "support@simulator.example"
NOT_RUNNING = "The run is not running."
SUBMITTED_BEFORE = "This job has been submitted and can no longer be changed or submitted."


class JobRoutes:
    """Jobs, their histories, runs, outputs and live files."""

    def __init__(self, world: World, scheduler: Scheduler, settings: SimulatorSettings) -> None:
        self._world = world
        self._scheduler = scheduler
        self._settings = settings

    def table(self) -> dict[str, dict[str, Endpoint]]:
        """Path pattern -> method -> endpoint."""
        run = "jobs/{job_id}/runs/{run_id}/"
        return {
            "jobs/": {"GET": self.list_all, "POST": self.create},
            "jobs/{job_id}/": {
                "GET": self.one,
                "PATCH": self.change,
                "PUT": self.change,
                "DELETE": self.delete,
            },
            "jobs/{job_id}/submit/": {"POST": self.submit},
            "jobs/{job_id}/stop/": {"POST": self.stop},
            "jobs/{job_id}/force_stop/": {"POST": self.force_stop},  # so asked for by public clients
            "jobs/{job_id}/instances/": {"GET": self.instances},
            "jobs/{job_id}/statuses/": {"GET": self.statuses},
            "jobs/{job_id}/cluster_statuses/": {"GET": self.cluster_statuses},
            "jobs/{job_id}/files/": {"GET": self.files},
            "jobs/{job_id}/share/": {"POST": self.share},
            "jobs/{job_id}/tags/": {"GET": self.tags, "POST": self.tags, "DELETE": self.tags},
            "jobs/{job_id}/runs/": {"GET": self.runs},
            run: {"GET": self.run},
            f"{run}files/": {"GET": self.run_files},
            f"{run}directory-contents/": {"GET": self.directory_contents},
            f"{run}tail/{{path:path}}/": {"GET": self.tail},
            f"{run}stop/": {"POST": self.stop_run},
            f"{run}snapshot/": {"POST": self.snapshot},
        }

    # --- the job itself

    def list_all(self, call: Call) -> Response:
        """Newest first; `?state=completed` or `not_completed`, and `?job_status=EXECUTING`, keep some."""
        jobs = self._world.jobs(call.lag)
        state, status = call.query.get("state"), call.query.get("job_status")
        if state is not None:
            jobs = [job for job in jobs if _is_of_state(job, state)]
        if status is not None:
            jobs = [job for job in jobs if _spelt_alike(job.status, status)]
        return call.page(jobs, lambda job: self.summary(job, call))

    def summary(self, job: JobRecord, call: Call) -> dict[str, Any]:
        """The job as lists show it."""
        storage = sum(file.size for file in self._world.outputs(job.id))
        return documents.job_summary(job, storage, with_reason="/api/v3/" in call.url)

    def create(self, call: Call) -> Response:
        """A saved job; submitting is another request."""
        definition = checked(call.fields, self._has_file)
        project_id = check_project(call.fields.get("projectId"))
        check_policies(definition, project_id, self._settings)
        job = self._world.create_job(call.fields["name"], definition, project_id)
        return answer(self._detail(job, call), 201)

    def one(self, call: Call) -> Response:
        """All about one job."""
        return answer(self._detail(self._job(call), call))

    def change(self, call: Call) -> Response:
        """A saved job can be changed; on any other only the project can, and the rest is accepted in vain."""
        job = self._job(call)
        if self._settings.refuse_resubmit and job.status != life.SAVED:
            raise Refused(400, SUBMITTED_BEFORE)
        changes: dict[str, Any] = {}
        if "projectId" in call.fields:
            changes["project_id"] = check_project(call.fields["projectId"])
        if job.status == life.SAVED:
            kept = {} if call.method == "PUT" else {"name": job.name, **job.definition}
            wanted = {**kept, **call.fields}
            changes["definition"] = checked(wanted, self._has_file) | {"tags": job.definition["tags"]}
            changes["name"] = wanted["name"]
        return answer(self._detail(self._world.change_job(job.id, **changes) if changes else job, call))

    def delete(self, call: Call) -> Response:
        """Drops the job and its outputs; `?deleteInputFiles=true` its input files as well.

        400 while the job or its cluster runs (a notebook of Rescale's, 2023).
        """
        with_inputs = call.query.get("deleteInputFiles", "").lower() in ("true", "1")
        if not self._world.remove_job(call.parts["job_id"], with_inputs):
            raise Refused(400, "A job whose cluster is running cannot be deleted. Stop it first.")
        return empty(204)

    def submit(self, call: Call) -> Response:
        """Starts a saved job. On any other: 200, and nothing happens; or 400, as was announced."""
        job = self._job(call)
        if self._settings.refuse_resubmit and job.status != life.SAVED:
            raise Refused(400, SUBMITTED_BEFORE)
        if job.status == life.SAVED:
            self._scheduler.submit(job.id, plan_runs(job.definition, self._text))
        return empty(200)

    def stop(self, call: Call) -> Response:
        """The job ends soon. On one that does not run: 202 as well, and nothing happens."""
        self._scheduler.stop(self._job(call).id)
        return empty(202)

    def force_stop(self, call: Call) -> Response:
        """The job is killed: in the web interface, a second button that appears once it was stopped."""
        self._scheduler.force_stop(self._job(call).id)
        return empty(202)

    def instances(self, call: Call) -> Response:
        """The machines of its cluster."""
        return call.page(documents.instances(self._job(call)), dict)

    def statuses(self, call: Call) -> Response:
        """The job's history, newest first."""
        return call.page(self._job(call).statuses[::-1], documents.status)

    def cluster_statuses(self, call: Call) -> Response:
        """The cluster's history, newest first; 404 until there is a cluster."""
        job = self._job(call)
        if not job.cluster_statuses:
            raise NoSuchRecord(job.id)
        return call.page(job.cluster_statuses[::-1], documents.cluster_status)

    def files(self, call: Call) -> Response:
        """Output files of all runs; `?search=part` of the name."""
        job = self._job(call)
        return self._files_page(self._listed(job, self._world.outputs(job.id)), call)

    def share(self, call: Call) -> Response:
        """Lets somebody else see the job."""
        job = self._job(call)
        email = call.fields.get("email")
        if not isinstance(email, str) or "@" not in email:
            raise Invalid({"email": ["Enter a valid email address."]})
        if email not in job.shared_with:
            self._world.change_job(job.id, shared_with=(*job.shared_with, email))
        return answer({"recipient": email, "supportDesk": SUPPORT_DESK})

    def tags(self, call: Call) -> Response:
        """Words that people put on the job."""
        job = self._job(call)

        def keep(names: list[str]) -> None:
            self._world.change_job(job.id, definition={**job.definition, "tags": names})

        return tags_changed(call, tag_names(job.definition.get("tags") or []), keep)

    # --- its runs

    def runs(self, call: Call) -> Response:
        """All runs."""
        job = self._job(call)
        return call.page(job.runs, lambda run: self._shown_run(job, run))

    def run(self, call: Call) -> Response:
        """One run."""
        return answer(self._shown_run(*self._run(call)))

    def run_files(self, call: Call) -> Response:
        """Output files of one run, once it has completed."""
        job, run = self._run(call)
        return self._files_page(self._listed(job, self._world.outputs(job.id, run.id)), call)

    def directory_contents(self, call: Call) -> Response:
        """A bare list of what is in the working directory, while it runs."""
        folder = self._live_folder(call)
        prefix = f"/api/v2/jobs/{call.parts['job_id']}/runs/{call.parts['run_id']}/tail/"
        names = [
            os.fsencode(path.relative_to(folder)).decode("utf-8", "replace") for path in live_files(folder)
        ]
        return answer([{"path": name, "resource": f"{prefix}{name}/"} for name in names])

    def tail(self, call: Call) -> Response:
        """The whole of a live file as bytes, or with `?lines=N` its last lines."""
        path = find_live(self._live_folder(call), call.parts["path"])
        if path is None:
            raise NoSuchRecord(call.parts["path"])
        if "lines" not in call.query:
            return deliver(path, call.headers.get("range"), is_head=call.method == "HEAD")
        count = call.query["lines"]
        if not count.isdecimal():
            raise Invalid({"lines": ["A valid integer is required."]})
        return answer({"fileType": "text", "lines": _last_lines(path, int(count))})

    def stop_run(self, call: Call) -> Response:
        """One run ends soon; its files so far become outputs."""
        job, run = self._run(call)
        self._scheduler.stop_run(job.id, run.id)
        return answer({})

    def snapshot(self, call: Call) -> Response:
        """An archive of the working directory becomes an output file."""
        job, run = self._run(call)
        if self._scheduler.live_folder(job.id, run.id) is None:
            raise Refused(400, NOT_RUNNING)
        file = self._scheduler.snapshot(job.id, run.id)
        return answer({"data": file.name, "exitcode": 0, "lastSnapshotID": file.id, "reason": ""})

    # --- inside

    def _job(self, call: Call) -> JobRecord:
        return self._world.job(call.parts["job_id"], call.lag)

    def _run(self, call: Call) -> tuple[JobRecord, RunRecord]:
        job = self._job(call)
        run = job.run(call.parts["run_id"])
        if run is None:
            raise NoSuchRecord(call.parts["run_id"])
        return job, run

    def _live_folder(self, call: Call) -> Path:
        job, run = self._run(call)
        folder = self._scheduler.live_folder(job.id, run.id)
        if folder is None:
            raise Refused(404, NOT_RUNNING)
        return folder

    def _detail(self, job: JobRecord, call: Call) -> dict[str, Any]:
        return documents.job_detail(job, self._world.find_file, call.api)

    def _files_page(self, files: list[FileRecord], call: Call) -> Response:
        part = call.query.get("search", "").lower()
        found = [file for file in files if part in file.name.lower()]
        return call.page(found, lambda file: self._shown(file, call))

    def _listed(self, job: JobRecord, files: list[FileRecord]) -> list[FileRecord]:
        """Outputs may be listed some seconds after a job's end alone."""
        delay = self._settings.outputs_delay
        over = self._world.ended_for(job) if delay else None
        return files if over is None or over >= delay else []

    def _shown(self, file: FileRecord, call: Call) -> dict[str, Any]:
        return documents.file(file, self._world.owner, call.api)

    def _shown_run(self, job: JobRecord, run: RunRecord) -> dict[str, Any]:
        files = self._world.outputs(job.id, run.id)
        return documents.run(run, job.runs.index(run), files, is_case=len(job.runs) > 1)

    def _has_file(self, file_id: str) -> bool:
        return self._world.find_file(file_id) is not None

    def _text(self, file_id: str) -> str:
        return self._world.contents.path(self._world.file(file_id).id).read_text(errors="replace")


def _is_of_state(job: JobRecord, state: str) -> bool:
    if _spelt_alike(state, "not completed"):
        return not life.is_finished(job.status)
    if _spelt_alike(state, "completed"):
        return life.is_finished(job.status)
    return _spelt_alike(job.status, state)


def _spelt_alike(one: str, other: str) -> bool:
    return one.replace("_", " ").lower() == other.replace("_", " ").lower()


def _last_lines(path: Path, count: int) -> list[str]:
    """The last lines, without their ends; memory holds no more than these."""
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        return [line.rstrip("\r\n") for line in deque(file, maxlen=count)]
