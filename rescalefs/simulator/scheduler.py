"""Takes submitted jobs through their lives: queue, cluster, commands, outputs."""

from __future__ import annotations

import hmac
import logging
import os
import queue
import secrets
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
from rescalefs.simulator.console import Console, exit_code
from rescalefs.simulator.definition import input_ids
from rescalefs.simulator.environment import job_environment
from rescalefs.simulator.records import SNAPSHOT, FileRecord, JobRecord, RunRecord
from rescalefs.simulator.running import MARK, Leash, kill_marked, provide_python, run_command
from rescalefs.simulator.settings import SimulatorSettings
from rescalefs.simulator.timeline import Timeline
from rescalefs.simulator.workdir import LOG, LayoutFailed, Stored, commands, lay_out, outputs, pack
from rescalefs.simulator.world import NoSuchRecord, World

log = logging.getLogger(__name__)

LOST = "The simulator ended while the job ran"
SECONDS_PER_HOUR = 3600


@dataclass(slots=True)
class Hold:
    """What an active job can be stopped by."""

    leashes: dict[str, Leash]  # by run id
    api_key: str = field(default_factory=lambda: secrets.token_hex(20))  # for its commands, while it runs
    stopping: threading.Event = field(default_factory=threading.Event)


class Scheduler:
    """Runs ``jobs_at_once`` jobs, each in a scratch folder of its own; the others are Queued.

    Killed at any point, the next scheduler on the same data kills what is left of the commands, collects what
    they wrote, and ends the jobs with a reason; jobs that had not begun are queued again.
    """

    def __init__(
        self,
        world: World,
        settings: SimulatorSettings,
        scratch: Path,
        mark: str,
        clock: Clock,
        url: str = "",
    ) -> None:
        """``url`` is where commands find the API."""
        self._url = url
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

    def is_key(self, key: str) -> bool:
        """Whether it is the key of a job that runs: its commands may use the API."""
        with self._lock:
            keys = [hold.api_key for hold in self._holds.values()]
        return any(hmac.compare_digest(key.encode(), each.encode()) for each in keys)

    def stop(self, job_id: str) -> None:
        """Let an active job end soon; on any other, do nothing."""
        if not self._world.stop(job_id, life.USER_TERMINATED):
            return
        with self._lock:
            hold = self._holds.get(job_id)
            is_unstarted = job_id in self._unstarted
            self._unstarted.discard(job_id)
        if is_unstarted:
            self._timeline.after(0, lambda: self._finish(job_id, life.USER_TERMINATED))
        elif hold is not None:
            for leash in hold.leashes.values():
                self._pull(leash, life.USER_TERMINATED)
            hold.stopping.set()

    def force_stop(self, job_id: str) -> None:
        """Kill the commands of an active job, which need not have been stopped before."""
        self.stop(job_id)
        if not self._world.advance(job_id, life.FORCE_STOP, life.USER_TERMINATED):
            return
        with self._lock:
            hold = self._holds.get(job_id)
        for leash in hold.leashes.values() if hold is not None else ():
            leash.kill(life.USER_TERMINATED)

    def stop_run(self, job_id: str, run_id: str) -> None:
        """Let one run of an active job end soon, or not begin; its outputs so far are kept."""
        with self._lock:
            hold = self._holds.get(job_id)
            leash = hold.leashes.get(run_id) if hold is not None else None
        if leash is not None:
            self._pull(leash, life.USER_TERMINATED)

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
        wanted = {each["hardware"]["coreType"] for each in job.definition["jobanalyses"]}
        if wanted.intersection(self._settings.unavailable):
            self._finish(job_id, life.NO_CAPACITY)
            return
        self._world.advance_cluster(job_id, life.CLUSTER_NOT_STARTED)
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
            self._finish(job_id, self._world.job(job_id).stop_reason or reason or life.WELL, is_lost=is_lost)

    def _run_all(self, job: JobRecord, hold: Hold) -> str | None:
        """Run all runs; return why one did not end well."""
        for status in (life.STARTED, life.VALIDATED, life.EXECUTING):
            if self._is_halted() or not self._world.advance(job.id, status):
                return None  # it was stopped
        reasons = [self._run_one(job, run, hold) for run in job.runs]
        return next((reason for reason in reasons if reason is not None), None)

    def _run_one(self, job: JobRecord, run: RunRecord, hold: Hold) -> str | None:
        if self._is_halted():
            return None
        folder = self._folder(job.id, run.id)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / LOG).touch()
        console = Console(folder / LOG, self._clock)
        self._world.begin_run(job.id, run.id)
        leash = hold.leashes[run.id]
        code = 0
        try:
            for analysis in job.definition["jobanalyses"]:
                lay_out(folder, analysis, run.variables, self._find)
                code = self._run_analysis(job, run, analysis, hold, console) or code
        except (LayoutFailed, OSError) as error:
            with suppress(OSError):  # if even that fails, statusReason tells
                console.line(str(error))
            self._close_run(job, run, str(error))
            raise
        self._close_run(job, run, leash.reason or (f"Exited with code {code}" if code else None))
        return leash.reason or (life.RUN_FAILED if code else None)

    def _run_analysis(
        self, job: JobRecord, run: RunRecord, analysis: dict[str, Any], hold: Hold, console: Console
    ) -> int:
        """Run its commands; return the first exit code that is not 0."""
        folder, leash = self._folder(job.id, run.id), hold.leashes[run.id]
        limit = self._time_limit(analysis)
        alarm = None
        if limit is not None:
            alarm = self._timeline.after(
                limit, lambda: self._pull(leash, f"The time limit of {limit:g} s was exceeded")
            )
        env = self._environment(job, analysis, folder, hold)
        env[MARK] = f"{self._mark}/{job.id}/{run.id}/"
        console.launch(analysis["command"], folder)
        code = 0
        for command in commands(analysis):
            status = run_command(command, folder, env, console.take, leash)
            code = code or exit_code(status or 0)
        console.exited(code)
        if alarm is not None:
            alarm.cancel()
        kill_marked(env[MARK])
        return code

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
        self, job: JobRecord, analysis: dict[str, Any], folder: Path, hold: Hold
    ) -> dict[str, str]:
        return {
            "PATH": f"{self._scratch / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "RESCALE_API_BASE_URL": self._url,
            "RESCALE_API_KEY": hold.api_key,
            "RESCALE_JOB_ID": job.id,
            "RESCALE_CLUSTER_ID": f"cluster-{job.id}",
            "RESCALE_WORK_PATH": str(folder),
            **job_environment(analysis["hardware"]),
            **analysis["envVars"],
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
        """End a job: well, or through Stopping, which holds the reason; the cluster follows."""
        status = self._world.job(job_id).status
        why: str | None = reason
        if is_lost and life.may_follow(status, life.FAILED):
            last = life.FAILED
        else:
            has_reason = reason in (life.WELL, life.NO_CAPACITY)
            if not has_reason:
                self._world.advance(job_id, life.STOPPING, reason)  # nothing happens where it is stopping
            last, why = life.COMPLETED, reason if has_reason else None
        shutil.rmtree(self._scratch / "jobs" / job_id, ignore_errors=True)
        has_cluster = bool(self._world.job(job_id).cluster_statuses)
        down = (life.CLUSTER_STOP_REQUESTED, life.CLUSTER_STOPPING) if has_cluster else ()
        if has_cluster and not self._settings.shutdown_delay:
            down = (*down, life.CLUSTER_STOPPED)  # at once, so that the job can be deleted at once
        self._world.advance(job_id, last, why, down)
        with self._lock:
            self._holds.pop(job_id, None)
        if has_cluster and self._settings.shutdown_delay:
            self._timeline.after(
                self._settings.shutdown_delay,
                lambda: self._world.advance_cluster(job_id, life.CLUSTER_STOPPED),
            )

    def _is_halted(self) -> bool:
        with self._lock:
            return self._is_closing

    def _find(self, file_id: str) -> Stored:
        return Stored(self._world.file(file_id).name, self._world.contents.path(file_id))

    def _folder(self, job_id: str, run_id: str) -> Path:
        return self._scratch / "jobs" / job_id / f"run{run_id}"
