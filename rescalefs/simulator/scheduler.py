"""Takes submitted jobs through their lives: queue, cluster, commands, outputs."""

from __future__ import annotations

import logging
import os
import queue
import shutil
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rescalefs.background import Background
from rescalefs.clock import Clock
from rescalefs.containment import contained
from rescalefs.simulator import life
from rescalefs.simulator.definition import input_ids
from rescalefs.simulator.records import SNAPSHOT, FileRecord, JobRecord, RunRecord
from rescalefs.simulator.running import MARK, Leash, exit_reason, kill_marked, provide_python, run_command
from rescalefs.simulator.settings import SimulatorSettings
from rescalefs.simulator.timeline import Timeline
from rescalefs.simulator.workdir import LOG, LayoutFailed, Stored, commands, lay_out, outputs, pack
from rescalefs.simulator.world import NoSuchRecord, World

log = logging.getLogger(__name__)

WELL = "Completed successfully"
STOPPED_BY_USER = "Stopped by the user"
LOST = "The simulator ended while the job ran"
SECONDS_PER_HOUR = 3600


@dataclass(slots=True)
class Hold:
    """What an active job can be stopped by."""

    leashes: dict[str, Leash]  # by run id
    stopping: threading.Event = field(default_factory=threading.Event)


class Scheduler:
    """Runs ``jobs_at_once`` jobs, each in a scratch folder of its own; the others are Queued.

    Killed at any point, the next scheduler on the same data kills what is left of the commands, collects what
    they wrote, and ends the jobs with a reason; jobs that had not begun are queued again.
    """

    def __init__(
        self, world: World, settings: SimulatorSettings, scratch: Path, mark: str, clock: Clock
    ) -> None:
        self._world = world
        self._settings = settings
        self._scratch = scratch
        self._mark = mark
        self._clock = clock
        self._timeline = Timeline(clock)
        self._ready: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # guards all below
        self._holds: dict[str, Hold] = {}  # of active jobs
        self._unstarted: set[str] = set()  # active jobs that no worker has taken yet
        self._is_closing = False
        self._snapshots = 0

    def start(self, background: Background) -> None:
        """Pick up what a predecessor left, and start the threads."""
        kill_marked(self._mark)
        provide_python(self._scratch / "bin")
        for job in reversed(self._world.jobs()):
            self._pick_up(job)
        background.start("simulator-timeline", self._timeline.run)
        for number in range(self._settings.jobs_at_once):
            background.start(f"simulator-worker-{number}", self._work)

    def halt(self) -> None:
        """Kill all commands and let the threads end; the jobs are left as they are, for the next start."""
        with self._lock:
            self._is_closing = True
            holds = list(self._holds.values())
        for hold in holds:
            for leash in hold.leashes.values():
                leash.kill(LOST)
            hold.stopping.set()
        for _ in range(self._settings.jobs_at_once):
            self._ready.put(None)
        self._timeline.wake()

    # --- what clients ask

    def submit(self, job_id: str, runs: list[dict[str, str]]) -> None:
        """Start the life of a saved job; on any other, do nothing."""
        if self._world.submit(job_id, runs):
            self._expect(self._world.job(job_id))

    def stop(self, job_id: str) -> None:
        """Let an active job end soon; on any other, do nothing."""
        if not self._world.stop(job_id, STOPPED_BY_USER):
            return
        with self._lock:
            hold = self._holds.get(job_id)
            is_unstarted = job_id in self._unstarted
            self._unstarted.discard(job_id)
        if is_unstarted:
            self._timeline.after(0, lambda: self._finish(job_id, STOPPED_BY_USER))
        elif hold is not None:
            for leash in hold.leashes.values():
                self._pull(leash, STOPPED_BY_USER)
            hold.stopping.set()

    def stop_run(self, job_id: str, run_id: str) -> None:
        """Let one run of an active job end soon, or not begin; its outputs so far are kept."""
        with self._lock:
            hold = self._holds.get(job_id)
            leash = hold.leashes.get(run_id) if hold is not None else None
        if leash is not None:
            self._pull(leash, STOPPED_BY_USER)

    def live_folder(self, job_id: str, run_id: str) -> Path | None:
        """The working directory of a run, while it runs."""
        try:
            run = self._world.job(job_id).run(run_id)
        except NoSuchRecord:
            return None
        if run is None or run.started is None or run.completed is not None:
            return None
        with self._lock:
            is_held = job_id in self._holds
        return self._folder(job_id, run_id) if is_held else None

    def snapshot(self, job_id: str, run_id: str) -> FileRecord:
        """Store an archive of a working directory, as it is now, among the run's outputs."""
        with self._lock:
            self._snapshots += 1
            name = f"snapshot-{self._snapshots}.tar.gz"
        file_id = self._world.new_file_id()
        packed = self._scratch / f"{file_id}-{name}"
        pack(self._folder(job_id, run_id), packed)
        digest = self._world.contents.link(file_id, packed)
        packed.unlink()
        return self._world.add_file(file_id, name, digest, SNAPSHOT, (job_id, run_id, name))

    # --- from submitted to taken

    def _expect(self, job: JobRecord) -> None:
        with self._lock:
            self._holds[job.id] = Hold({run.id: Leash() for run in job.runs})
            self._unstarted.add(job.id)
        self._timeline.after(self._settings.queue_delay, lambda: self._enqueue(job.id))

    def _enqueue(self, job_id: str) -> None:
        with self._lock:
            if job_id not in self._unstarted:
                return  # stopped meanwhile, and perhaps deleted
        self._world.advance(job_id, life.QUEUED)
        self._ready.put(lambda: self._run_job(job_id))

    def _pick_up(self, job: JobRecord) -> None:
        if job.status in (life.PENDING, life.QUEUED):
            self._expect(job)
        elif not life.is_active(job.status):
            if job.cluster_statuses and job.cluster_status != life.CLUSTER_STOPPED:
                self._world.advance_cluster(job.id, life.CLUSTER_STOPPED)
        else:
            self._ready.put(lambda: self._salvage(job))

    def _salvage(self, job: JobRecord) -> None:
        for run in job.runs:
            if run.started is not None and run.completed is None:
                self._collect(job, run)
                self._world.end_run(job.id, run.id, LOST)
        self._finish(job.id, job.stop_reason or LOST, is_lost=job.stop_reason is None)

    def _pull(self, leash: Leash, reason: str) -> None:
        leash.pull(reason)
        self._timeline.after(self._settings.grace, lambda: leash.kill(reason))

    # --- in a worker

    def _work(self, stop: threading.Event) -> None:
        while not stop.is_set():
            task = self._ready.get()
            if task is None:
                return
            with contained(log, "a job of the simulator"):
                task()

    def _run_job(self, job_id: str) -> None:
        with self._lock:
            if job_id not in self._unstarted or self._is_closing:
                return  # stopped meanwhile
            self._unstarted.discard(job_id)
            hold = self._holds[job_id]
        job = self._world.job(job_id)
        self._world.advance_cluster(job_id, life.CLUSTER_STARTING)
        self._clock.wait(hold.stopping, self._settings.startup_delay)
        self._world.advance_cluster(job_id, life.CLUSTER_STARTED)
        reason: str | None = None
        is_lost = False
        try:
            reason = self._run_all(job, hold)
        except LayoutFailed as error:
            reason, is_lost = str(error), True
        except OSError as error:  # no space left, too large an environment: not the other jobs' trouble
            log.exception("job %s failed on the cluster's own account", job_id)
            reason, is_lost = f"The cluster failed: {error}", True
        if not self._is_halted():
            self._finish(job_id, self._world.job(job_id).stop_reason or reason or WELL, is_lost=is_lost)

    def _run_all(self, job: JobRecord, hold: Hold) -> str | None:
        """Run all runs; return why one did not end well."""
        for status in (life.STARTED, life.VALIDATED, life.EXECUTING):
            if self._is_halted() or not self._world.advance(job.id, status):
                return None  # it was stopped
        reasons = [self._run_one(job, run, hold.leashes[run.id]) for run in job.runs]
        found = [reason for reason in reasons if reason is not None]
        if len(job.runs) > 1 and found:
            return f"{len(found)} of {len(job.runs)} runs did not end well: {found[0]}"
        return found[0] if found else None

    def _run_one(self, job: JobRecord, run: RunRecord, leash: Leash) -> str | None:
        if self._is_halted():
            return None
        folder = self._folder(job.id, run.id)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / LOG).touch()
        self._world.begin_run(job.id, run.id)
        reason: str | None = None
        try:
            for analysis in job.definition["jobanalyses"]:
                lay_out(folder, analysis, run.variables, self._find)
                reason = self._run_analysis(job, run, analysis, leash) or reason
        except (LayoutFailed, OSError) as error:
            with (
                suppress(OSError),
                (folder / LOG).open("a") as output,
            ):  # if even that fails, statusReason tells
                output.write(f"{error}\n")
            self._close_run(job, run, str(error))
            raise
        reason = leash.reason or reason
        self._close_run(job, run, reason)
        return reason

    def _run_analysis(
        self, job: JobRecord, run: RunRecord, analysis: dict[str, Any], leash: Leash
    ) -> str | None:
        folder = self._folder(job.id, run.id)
        limit = self._time_limit(analysis)
        alarm = None
        if limit is not None:
            alarm = self._timeline.after(
                limit, lambda: self._pull(leash, f"The time limit of {limit:g} s was exceeded")
            )
        env = self._environment(job, run, analysis, folder)
        reason: str | None = None
        for command in commands(analysis):
            status = run_command(command, folder, env, folder / LOG, leash)
            reason = reason or (exit_reason(status) if status is not None else None)
        if alarm is not None:
            alarm.cancel()
        kill_marked(env[MARK])
        return reason

    def _close_run(self, job: JobRecord, run: RunRecord, reason: str | None) -> None:
        if self._is_halted():
            return  # the next start collects
        self._collect(job, run)
        self._world.end_run(job.id, run.id, reason)

    def _time_limit(self, analysis: dict[str, Any]) -> float | None:
        walltime = analysis["hardware"]["walltime"]
        limits = [self._settings.command_time_limit, walltime and walltime * SECONDS_PER_HOUR]
        return min((limit for limit in limits if limit is not None), default=None)

    def _environment(
        self, job: JobRecord, run: RunRecord, analysis: dict[str, Any], folder: Path
    ) -> dict[str, str]:
        hardware = analysis["hardware"]
        return {
            "PATH": f"{self._scratch / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "RESCALE_JOB_ID": job.id,
            "RESCALE_RUN_ID": run.id,
            "RESCALE_CORES_PER_SLOT": str(hardware["coresPerSlot"]),
            "RESCALE_CORE_TYPE": hardware["coreType"],
            **analysis["envVars"],
            MARK: f"{self._mark}/{job.id}/{run.id}/",
        }

    # --- the end

    def _collect(self, job: JobRecord, run: RunRecord) -> None:
        """Store what a run left in its folder; done again after a crash, it replaces what was stored."""
        stale = [file.id for file in self._world.outputs(job.id, run.id) if file.type_id != SNAPSHOT]
        self._world.remove_files(stale)
        inputs = [self._world.find_file(file_id) for file_id in input_ids(job.definition)]
        names = [file.name for file in inputs if file is not None]
        arrived = []
        for output in outputs(self._folder(job.id, run.id), names):
            file_id = self._world.new_file_id()
            digest = self._world.contents.link(file_id, output.path)
            place = (job.id, run.id, output.relative_path)
            arrived.append((file_id, Path(output.relative_path).name, digest, output.type_id, place))
        self._world.add_files(arrived)

    def _finish(self, job_id: str, reason: str, *, is_lost: bool = False) -> None:
        job = self._world.job(job_id)
        if job.status == life.STOPPING:
            self._world.advance(job_id, life.FORCE_STOP, reason)
        if is_lost and life.may_follow(self._world.job(job_id).status, life.FAILED):
            self._world.advance(job_id, life.FAILED, reason)
        else:
            self._world.advance(job_id, life.COMPLETED, reason)
        with self._lock:
            self._holds.pop(job_id, None)
        shutil.rmtree(self._scratch / "jobs" / job_id, ignore_errors=True)
        self._shut_cluster_down(job)

    def _shut_cluster_down(self, job: JobRecord) -> None:
        """The client may delete the job meanwhile, now that it has ended."""
        if job.cluster_status == life.CLUSTER_NOT_STARTED:
            self._world.advance_cluster(job.id, life.CLUSTER_STOPPED)
            return
        self._world.advance_cluster(job.id, life.CLUSTER_STOP_REQUESTED)
        self._world.advance_cluster(job.id, life.CLUSTER_STOPPING)
        self._timeline.after(
            self._settings.shutdown_delay,
            lambda: self._world.advance_cluster(job.id, life.CLUSTER_STOPPED),
        )

    def _is_halted(self) -> bool:
        with self._lock:
            return self._is_closing

    def _find(self, file_id: str) -> Stored:
        return Stored(self._world.file(file_id).name, self._world.contents.path(file_id))

    def _folder(self, job_id: str, run_id: str) -> Path:
        return self._scratch / "jobs" / job_id / f"run{run_id}"
