"""The jobs and files of one account. Knows no network, no thread and no process."""

from __future__ import annotations

import secrets
import string
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from rescalefs.clock import Clock
from rescalefs.simulator import life, records
from rescalefs.simulator.contents import Contents, Digest
from rescalefs.simulator.definition import input_ids, plain_definition
from rescalefs.simulator.records import FileRecord, JobRecord, RunRecord, StatusRecord
from rescalefs.simulator.seed import SeedFile, Seeds, seed_files
from rescalefs.simulator.store import Store

OWNER = "user@simulator.example"
TICK = timedelta(microseconds=1)


class NoSuchRecord(LookupError):
    """There is no job or file of that id."""


class World:
    """What the account holds, now and after a restart.

    Records are frozen: a change makes a new version, which is kept on disk before the method returns.
    Every time it stamps is later than all it stamped before. Thread-safe.
    """

    def __init__(self, data: Path, clock: Clock, owner: str = OWNER) -> None:
        self.owner = owner
        self.contents = Contents(data / "contents")
        self._clock = clock
        self._store = Store(data / "world.sqlite")
        try:
            self._load()
        except BaseException:
            self._store.close()
            raise

    def _load(self) -> None:
        # Two data folders are two accounts, and one keeps its account under any key and address.
        self.workspace_id = self._store.fact("workspace", new=lambda: secrets.token_hex(4))
        self._lock = threading.Lock()  # guards all below
        self._jobs: dict[str, JobRecord] = {job.id: job for job in self._store.load(JobRecord)}
        self._files: dict[str, FileRecord] = {file.id: file for file in self._store.load(FileRecord)}
        self._outputs: dict[str, dict[str, None]] = {}  # job id -> ids of its output files
        self._taken_ids = {each.lower() for each in (*self._jobs, *self._files)}
        self._last_number = 0
        self._last_stamp = datetime(2000, 1, 1, tzinfo=timezone.utc)
        for file in self._files.values():
            self._index(file)
        for job in self._jobs.values():
            self._note_times(job)
        self.contents.sweep(self._files.__contains__)

    def close(self) -> None:
        """Let go of the files."""
        self._store.close()

    # --- what there is

    def jobs(self, lag: float = 0.0) -> list[JobRecord]:
        """All jobs, newest first, but those that are younger than ``lag`` [s]."""
        with self._lock:
            found = [job for job in self._jobs.values() if not self._is_younger(job, lag)]
        return sorted(found, key=lambda job: (job.inserted, job.number), reverse=True)

    def job(self, job_id: str, lag: float = 0.0) -> JobRecord:
        """The job of that id; NoSuchRecord if there is none, or it is younger than ``lag`` [s]."""
        with self._lock:
            found = self._jobs.get(job_id)
        if found is None or self._is_younger(found, lag):
            raise NoSuchRecord(job_id)
        return found

    def files(self) -> list[FileRecord]:
        """All files, newest first."""
        with self._lock:
            return list(reversed(self._files.values()))

    def file(self, file_id: str) -> FileRecord:
        """The file of that id; NoSuchRecord if there is none."""
        with self._lock:
            found = self._files.get(file_id)
        if found is None:
            raise NoSuchRecord(file_id)
        return found

    def find_file(self, file_id: str) -> FileRecord | None:
        """The file of that id, if there is one."""
        with self._lock:
            return self._files.get(file_id)

    def outputs(self, job_id: str, run_id: str | None = None) -> list[FileRecord]:
        """The output files of a job, or of one of its runs, in the order they were collected."""
        with self._lock:
            found = [self._files[file_id] for file_id in self._outputs.get(job_id, ())]
        return [file for file in found if run_id is None or file.run_id == run_id]

    # --- files

    def new_file_id(self) -> str:
        """An id that no job and no file has, even ignoring case."""
        with self._lock:
            return self._new_id()

    def add_file(
        self,
        file_id: str,
        name: str,
        digest: Digest,
        type_id: int = records.INPUT,
        output_of: tuple[str, str, str] | None = None,  # job id, run id, relative path
    ) -> FileRecord:
        """A file whose bytes are in `contents` already."""
        return self.add_files([(file_id, name, digest, type_id, output_of)])[0]

    def add_files(
        self, arrived: Iterable[tuple[str, str, Digest, int, tuple[str, str, str] | None]]
    ) -> list[FileRecord]:
        """Several at once, all or none; the fields are those of `add_file`."""
        files = []
        for file_id, name, digest, type_id, output_of in arrived:
            job_id, run_id, relative_path = output_of or (None, None, None)
            with self._lock:
                number, stamp = self._new_number(), self._stamp()
            record = FileRecord(
                id=file_id,
                number=number,
                name=name,
                type_id=type_id,
                size=digest.size,
                sha512=digest.sha512,
                uploaded=stamp,
                secret=secrets.token_urlsafe(32),
                relative_path=relative_path,
                job_id=job_id,
                run_id=run_id,
            )
            files.append(record)
        self._publish(files)
        return files

    def change_file(self, file_id: str, **changes: Any) -> FileRecord:
        """Give fields of a file new values."""
        with self._lock:
            file = self._files.get(file_id)
            if file is None:
                raise NoSuchRecord(file_id)
            changed = replace(file, version=file.version + 1, **changes)
            self._files[file_id] = changed
        self._store.change([changed])
        return changed

    def remove_files(self, file_ids: Iterable[str]) -> None:
        """Drop the files and their bytes; ids that are gone already don't matter."""
        with self._lock:
            gone = [file for file_id in file_ids if (file := self._files.pop(file_id, None)) is not None]
            for file in gone:
                if file.job_id is not None:
                    self._outputs.get(file.job_id, {}).pop(file.id, None)
        self._store.remove(gone)
        for file in gone:
            self.contents.remove(file.id)

    # --- jobs

    def create_job(
        self, name: str, definition: dict[str, Any], project_id: str | None = None, job_id: str | None = None
    ) -> JobRecord:
        """A saved job. The definition must have been checked."""
        with self._lock:
            job = JobRecord(
                id=job_id or self._new_id(),
                number=self._new_number(),
                name=name,
                owner=self.owner,
                inserted=self._stamp(),
                definition=definition,
                project_id=project_id,
            )
        return self._add_job(job)

    def change_job(self, job_id: str, **changes: Any) -> JobRecord:
        """Give fields of a job new values."""
        changed = self._evolve(job_id, lambda job, _: replace(job, **changes))
        return changed or self.job(job_id)

    def remove_job(self, job_id: str, with_inputs: bool = False) -> bool:
        """Drop a job and its outputs, and its input files if told to.

        False for a job that is active, or has ended and its cluster is not down yet.
        """
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                raise NoSuchRecord(job_id)
            if life.is_active(job.status) or self._has_cluster(job):
                return False
            del self._jobs[job_id]
            doomed = list(self._outputs.pop(job_id, {}))
        self._store.remove([job])
        self.remove_files(doomed + (input_ids(job.definition) if with_inputs else []))
        return True

    def submit(self, job_id: str, runs: Iterable[Mapping[str, str]]) -> bool:
        """Make a saved job pending, with a run for each set of variables; False if it has left that state."""
        planned = tuple(RunRecord(id=str(n), variables=dict(each)) for n, each in enumerate(runs, 1))

        def change(job: JobRecord, now: datetime) -> JobRecord | None:
            if job.status != life.SAVED:
                return None
            return replace(
                job,
                runs=planned,
                statuses=(StatusRecord(life.PENDING, now),),
            )

        return self._evolve(job_id, change) is not None

    def advance(
        self, job_id: str, status: str, reason: str | None = None, cluster: Iterable[str] = ()
    ) -> bool:
        """Let a job go to a status, and its cluster to the ones after it; False if that may not follow."""

        def change(job: JobRecord, now: datetime) -> JobRecord | None:
            if not life.may_follow(job.status, status):
                return None
            clusters = tuple(StatusRecord(each, self._stamp()) for each in cluster)
            return replace(
                job,
                statuses=(*job.statuses, StatusRecord(status, now, reason)),
                cluster_statuses=(*job.cluster_statuses, *clusters),
            )

        return self._evolve(job_id, change) is not None

    def stop(self, job_id: str, reason: str) -> bool:
        """Let an active job begin to stop; False if it is not active, or stops already."""

        def change(job: JobRecord, now: datetime) -> JobRecord | None:
            if not life.may_follow(job.status, life.STOPPING):
                return None
            stopping = StatusRecord(life.STOPPING, now, reason)
            return replace(job, statuses=(*job.statuses, stopping), stop_reason=reason)

        return self._evolve(job_id, change) is not None

    def advance_cluster(self, job_id: str, status: str) -> None:
        """Note a status of the job's cluster; nothing happens when the job is gone."""

        def change(job: JobRecord, now: datetime) -> JobRecord:
            return replace(job, cluster_statuses=(*job.cluster_statuses, StatusRecord(status, now)))

        with suppress(NoSuchRecord):  # deleted while its cluster was shutting down
            self._evolve(job_id, change)

    def begin_run(self, job_id: str, run_id: str) -> None:
        """A run's commands start now."""
        self._change_run(job_id, run_id, lambda run, now: replace(run, started=now))

    def end_run(self, job_id: str, run_id: str, reason: str | None = None) -> None:
        """A run has ended, and its outputs are here."""
        self._change_run(job_id, run_id, lambda run, now: replace(run, completed=now, reason=reason))

    # --- planting

    def add_finished_job(
        self,
        name: str,
        files: Seeds = (),
        *,
        job_id: str | None = None,
        status: str = life.COMPLETED,
        reason: str | None = None,
        stopping: str | None = None,
        inserted: datetime | None = None,
        project_id: str | None = None,
        command: str = "true",
    ) -> JobRecord:
        """A job that seems to have run, and left these outputs. Any ``status`` goes, unknown ones too.

        ``reason`` is that of its last status; ``stopping`` that of a `Stopping` before it, if there was one.
        """
        seeds = seed_files(files)
        if status == life.COMPLETED and reason is None and stopping is None:
            reason = life.WELL
        ending = ((life.STOPPING, stopping), (status, reason))[stopping is None :]
        job = self._seeded_job(name, ending, job_id, inserted, project_id, command, seeds)
        self._add_job(job)
        self._publish([self._seeded_file(job.id, seed) for seed in seeds])
        return job

    def _seeded_job(
        self,
        name: str,
        ending: Iterable[tuple[str, str | None]],
        job_id: str | None,
        inserted: datetime | None,
        project_id: str | None,
        command: str,
        seeds: tuple[SeedFile, ...],
    ) -> JobRecord:
        walk = (life.PENDING, life.QUEUED, life.STARTED, life.VALIDATED, life.EXECUTING)
        cluster = (
            life.CLUSTER_NOT_STARTED,
            life.CLUSTER_STARTING,
            life.CLUSTER_STARTED,
            life.CLUSTER_STOP_REQUESTED,
            life.CLUSTER_STOPPING,
            life.CLUSTER_STOPPED,
        )
        with self._lock:
            begun = self._stamp()
            statuses = [StatusRecord(each, self._stamp()) for each in walk]
            statuses += [StatusRecord(status, self._stamp(), reason) for status, reason in ending]
            run_ids = sorted({seed.run_id for seed in seeds} | {"1"}, key=lambda each: (len(each), each))
            return JobRecord(
                id=job_id or self._new_id(),
                number=self._new_number(),
                name=name,
                owner=self.owner,
                inserted=inserted or begun,
                definition=plain_definition(command),
                project_id=project_id,
                statuses=tuple(statuses),
                cluster_statuses=tuple(StatusRecord(each, self._stamp()) for each in cluster),
                runs=tuple(RunRecord(id=each, started=begun, completed=self._stamp()) for each in run_ids),
            )

    def _seeded_file(self, job_id: str, seed: SeedFile) -> FileRecord:
        with self._lock:
            file_id, number, stamp = self._new_id(), self._new_number(), self._stamp()
        digest = self.contents.write(file_id, seed.chunks())
        return FileRecord(
            id=file_id,
            number=number,
            name=seed.shown_name,
            type_id=seed.type_id,
            size=digest.size if seed.claimed_size is None else seed.claimed_size,
            sha512=(seed.claimed_sha512 or digest.sha512) if seed.has_checksum else None,
            uploaded=stamp,
            is_uploaded=seed.is_uploaded,
            is_deleted=seed.is_deleted,
            secret=secrets.token_urlsafe(32),
            relative_path=seed.path,
            job_id=job_id,
            run_id=seed.run_id,
        )

    # --- inside

    def _evolve(
        self, job_id: str, change: Callable[[JobRecord, datetime], JobRecord | None]
    ) -> JobRecord | None:
        """The one way a job changes: a new version, kept before this returns; None if ``change`` says so."""
        with self._lock:
            job = self._jobs.get(job_id)
            if job is None:
                raise NoSuchRecord(job_id)
            changed = change(job, self._stamp())
            if changed is None:
                return None
            changed = replace(changed, version=job.version + 1)
            self._jobs[job_id] = changed
        self._store.change([changed])
        return changed

    def _change_run(
        self, job_id: str, run_id: str, change: Callable[[RunRecord, datetime], RunRecord]
    ) -> None:
        self._evolve(
            job_id,
            lambda job, now: replace(
                job, runs=tuple(change(run, now) if run.id == run_id else run for run in job.runs)
            ),
        )

    def _add_job(self, job: JobRecord) -> JobRecord:
        self._store.add([job])  # before anyone can see it, so that nobody can remove it before it is there
        with self._lock:
            self._jobs[job.id] = job
        return job

    def _publish(self, files: list[FileRecord]) -> None:
        self._store.add(files)
        with self._lock:
            for file in files:
                self._files[file.id] = file
                self._index(file)

    def _index(self, file: FileRecord) -> None:
        if file.job_id is not None:
            self._outputs.setdefault(file.job_id, {})[file.id] = None
        self._last_number = max(self._last_number, file.number)
        self._last_stamp = max(self._last_stamp, file.uploaded)

    def _note_times(self, job: JobRecord) -> None:
        self._last_number = max(self._last_number, job.number)
        for status in (*job.statuses, *job.cluster_statuses):
            self._last_stamp = max(self._last_stamp, status.date)

    def ended_for(self, job: JobRecord) -> float | None:
        """For how many seconds the job has been over; None if it is not."""
        if not job.statuses or not life.is_finished(job.status):
            return None
        return (self._clock.now() - job.statuses[-1].date).total_seconds()

    @staticmethod
    def _has_cluster(job: JobRecord) -> bool:
        return job.cluster_status not in ("", life.CLUSTER_STOPPED)

    def _is_younger(self, job: JobRecord, lag: float) -> bool:
        return lag > 0 and self._clock.now() - job.inserted < timedelta(seconds=lag)

    def _stamp(self) -> datetime:
        self._last_stamp = max(self._clock.now(), self._last_stamp + TICK)
        return self._last_stamp

    def _new_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def _new_id(self) -> str:
        while True:
            found = "".join(secrets.choice(string.ascii_letters) for _ in range(6))
            if found.lower() not in self._taken_ids:
                self._taken_ids.add(found.lower())
                return found
