"""People and faults in any order: one job for each drop, of the bytes it was taken with, and all end.

Hypothesis drives the rig's parts one act at a time. What a person does, and what fails, may also strike
within an act: between any two writes of the journal and any two requests.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tarfile
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from rescalefs.errors import (
    Forbidden,
    InvalidRequest,
    NotFound,
    RescaleFSError,
    ServerFailed,
    Throttled,
    TimedOut,
    UnexpectedAnswer,
    Unreachable,
)
from rescalefs.submit.folder import Identity, identity
from rescalefs.submit.journal import JournalFailed
from rescalefs.submit.machine import ENDED, CreateBegun, Drop, Event, Settled, State
from rescalefs.submit.spec import TOKEN
from tests.fakes import FakeClock
from tests.submit.rig import GOOD, CutJournal, FakeRescale, PowerCut, Rig, ServerJob, make_settings

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # a power cut in the rig loses no page
NAMES = ("a.dat", "b.dat", "sub/c.dat")
ERRORS: dict[str, Callable[[], Exception]] = {
    "network": lambda: Unreachable("no connection"),
    "time": lambda: TimedOut("no answer within 60 s"),
    "5xx": lambda: ServerFailed("502 Bad Gateway"),
    "429": lambda: Throttled("429 Too Many Requests", 30.0),
}
READS = {"statuses", "job", "jobs", "newest_jobs", "output_files", "file"}
READ_ERRORS: dict[
    str, Callable[[], Exception]
] = {  # what a replica that lags, or a proxy, may say of what is there
    **ERRORS,
    "404": lambda: NotFound("404 Not Found"),
    "404 again": lambda: NotFound("404 Not Found"),
    "403": lambda: Forbidden("403 Forbidden"),
    "400": lambda: InvalidRequest("400 Bad Request"),
    "no JSON": lambda: UnexpectedAnswer("no JSON"),
}
BEFORE_A_JOB = {State.WAITING, State.CHECKING, State.REJECTED, State.UPLOADING, State.CREATING}

which = st.integers(0, 5)  # of the folders there are
files = st.sampled_from(NAMES)
kinds = st.sampled_from(["good", "good", "good", "bad", "hold", "names what is missing"])
human_acts = st.sampled_from(["write", "remove", "rename", "copy", "delete", "move out", "edit job"])


@dataclass(eq=False)
class Folder:
    """What a person dropped, as that person knows it."""

    path: Path
    files: dict[str, bytes]
    identity: Identity
    is_deleted: bool = False

    def is_in(self, drops: Path) -> bool:
        return not self.is_deleted and self.path.parent == drops


class SeenJournal(CutJournal):
    """Tells who may take what, before the power may go."""

    watch: Callable[[Drop, Event], None]

    def append(self, drop: Drop, event: Event, at: datetime) -> Drop:
        self.watch(drop, event)
        return super().append(drop, event, at)


class SeenRig(Rig):
    journal_type = SeenJournal


class DropFolder(RuleBasedStateMachine):
    """A drop folder, a person, a server with a web interface, and a daemon that dies and comes back."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(prefix="machine-", dir=MEMORY))
        self.clock = FakeClock()
        self.rescale = FakeRescale(self.clock, point=self.point, lags=self.lag)
        self.settings = make_settings(self.root, trust_upload=0.0)
        self.outside = self.root / "elsewhere"
        self.outside.mkdir()
        self.folders: list[Folder] = []
        self.behind: list[float] = []  # seconds, of the replicas that answer the next reads
        self.strikes: list[tuple[int, Callable[[str], None]]] = []  # after so many points
        self.taken: dict[str, tuple[str, dict[str, bytes]]] = {}  # by token: the job's name, its inputs
        self.promised: dict[str, tuple[str, dict[str, bytes]]] = {}  # the same, once creation was begun
        self.submitted: set[str] = set()  # ids of jobs that ever left their saved state
        self.checked: set[str] = set()
        self.count = 0
        self.rig = self.new_rig()

    # The daemon.

    def new_rig(self) -> Rig:
        rig = SeenRig(self.settings, self.rescale, self.clock, self.point)
        assert isinstance(rig.journal, SeenJournal)
        rig.journal.watch = self.watch
        return rig

    def watch(self, drop: Drop, event: Event) -> None:
        """Note what the folder holds when it is taken, and that creation may begin from now on."""
        if isinstance(event, Settled):
            seen = Identity(drop.inode, drop.born)
            (folder,) = [each for each in self.folders if each.identity == seen]
            inputs = dict(folder.files)
            self.taken[drop.id] = (json.loads(inputs.pop("job.json"))["name"], inputs)
        if isinstance(event, CreateBegun):
            self.promised[drop.id] = self.taken[drop.id]

    def point(self, name: str) -> None:
        due = [strike for left, strike in self.strikes if left == 0]
        self.strikes = [(left - 1, strike) for left, strike in self.strikes if left > 0]
        for strike in due:
            strike(name)

    def lag(self) -> float:
        return self.behind.pop(0) if self.behind else 0.0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The daemon does something; what may come of it is what its threads live with."""
        try:
            yield
        except PowerCut:
            self.rig.journal.close()
            self.clock.advance(60.0)
            self.rig = self.new_rig()
        except RescaleFSError:
            pass  # the surveying thread says so, and looks again

    @rule(seconds=st.sampled_from([0.1, 2.5, 2.5, 40.0]))
    def survey(self, seconds: float) -> None:
        with self.running():
            self.rig.survey.everything()
        self.clock.advance(seconds)

    @rule()
    def survey_hints(self) -> None:
        with self.running():
            self.rig.survey.hinted(frozenset(each.path.name for each in self.present()))

    @rule(acts=st.integers(1, 4))
    def work(self, acts: int) -> None:
        with self.running():
            for _ in range(acts):
                self.rig.worker.serve_one(self.rig.ledger.open_drops())

    @rule()
    def carry(self) -> None:
        with self.running():
            self.rig.carrier.carry_one()

    @rule()
    def poll(self) -> None:
        with self.running():
            self.rig.poll()

    @rule(turns=st.integers(1, 5))
    def turn(self, turns: int) -> None:
        for _ in range(turns):
            with self.running():
                self.rig.turn(2.5)

    @rule()
    def restart(self) -> None:
        self.rig.journal.close()
        self.rig = self.new_rig()

    # What strikes within an act.

    @rule(after=st.integers(0, 25))
    def power_goes(self, after: int) -> None:
        def cut(name: str) -> None:
            raise PowerCut(name)

        self.strikes.append((after, cut))

    @rule(after=st.integers(0, 25), error=st.sampled_from(sorted(READ_ERRORS)))
    def something_fails(self, after: int, error: str) -> None:
        """A request that is lost, or its answer; a write of the journal, or that it is told to have been."""

        def fail(name: str) -> None:
            _, what = name.split()
            if what.islower():  # a request
                raise (READ_ERRORS if what in READS else ERRORS).get(error, ERRORS["5xx"])()
            raise JournalFailed("cannot write journal.db: database or disk is full")

        self.strikes.append((after, fail))

    @rule(behind=st.lists(st.sampled_from([0.0, 5.0, 20.0, 60.0]), min_size=1, max_size=12))
    def replicas_lag(self, behind: list[float]) -> None:
        """The next reads are answered by replicas that are so many seconds behind."""
        self.behind = behind

    @rule(after=st.integers(0, 25), act=human_acts, which=which)
    def a_person_interferes(self, after: int, act: str, which: int) -> None:
        self.strikes.append((after, lambda _: self.person(act, which)))

    @rule(refuse=st.sampled_from(["create", "submit", "nothing"]))
    def server_refuses(self, refuse: str) -> None:
        self.rescale.refuse_create = ("jobanalyses: no",) if refuse == "create" else ()
        self.rescale.refuse_submit = ("hardware: no",) if refuse == "submit" else ()

    # The person.

    def present(self) -> list[Folder]:
        return [each for each in self.folders if each.is_in(self.settings.folder)]

    def fresh(self) -> int:
        self.count += 1
        return self.count

    def job(self, kind: str) -> bytes:
        job = {**GOOD, "name": f"job-{self.fresh()}"}
        if kind == "bad":
            job["jobanalyses"] = [{**GOOD["jobanalyses"][0], "command": 7}]
        if kind == "hold":
            job["hold"] = True
        if kind == "names what is missing":
            job["jobanalyses"] = [{**GOOD["jobanalyses"][0], "inputFiles": ["missing.dat"]}]
        if kind == "whole":  # what lies there is all, and be it nothing
            job["jobanalyses"] = [{**GOOD["jobanalyses"][0], "inputFiles": ["."]}]
        return json.dumps(job).encode()

    def put(self, folder: Folder, name: str, data: bytes) -> None:
        """Write a file; with a time of its own, since here all happens within one tick of the kernel's."""
        path = folder.path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        stamp = 10**18 + self.fresh() * 10**6
        os.utime(path, ns=(stamp, stamp))
        folder.files[name] = data

    def person(self, act: str, which: int) -> None:
        here = self.present()
        if not here:
            return
        folder = here[which % len(here)]
        target = self.settings.folder / f"wing-{self.fresh()}"
        if act == "write":
            self.put(folder, NAMES[which % len(NAMES)], b"%d" % self.fresh())
        elif act == "remove":
            for name in [name for name in folder.files if name != "job.json"][:1]:
                (folder.path / name).unlink()
                del folder.files[name]
        elif act == "rename":
            folder.path = folder.path.rename(target)
        elif act == "move out":
            folder.path = folder.path.rename(self.outside / target.name)
        elif act == "copy":
            shutil.copytree(folder.path, target)
            self.folders.append(Folder(target, dict(folder.files), identity(target)))
        elif act == "delete":
            shutil.rmtree(folder.path)
            folder.is_deleted = True
        else:
            self.put(folder, "job.json", self.job("good"))

    @initialize(kind=kinds)
    def first_drop(self, kind: str) -> None:
        self.drop(kind, ["a.dat", "sub/c.dat"])

    @rule(kind=kinds, names=st.lists(files, unique=True, max_size=3))
    def drop(self, kind: str, names: list[str]) -> None:
        path = self.settings.folder / f"wing-{self.fresh()}"
        path.mkdir()
        folder = Folder(path, {}, identity(path))
        self.folders.append(folder)
        for name in names:
            self.put(folder, name, f"{path.name} {name}".encode())
        self.put(folder, "job.json", self.job(kind))

    @rule(act=human_acts, which=which)
    def a_person_acts(self, act: str, which: int) -> None:
        self.person(act, which)

    @rule(which=which, kind=kinds)
    def edit_job(self, which: int, kind: str) -> None:
        if here := self.present():
            self.put(here[which % len(here)], "job.json", self.job(kind))

    @rule()
    def move_in_again(self) -> None:
        for folder in self.folders:
            if not folder.is_deleted and not folder.is_in(self.settings.folder):
                folder.path = folder.path.rename(self.settings.folder / folder.path.name)
                return

    @precondition(lambda self: not self.strikes)
    @rule()
    def restore_from_a_backup(self) -> None:
        """The daemon knew the folder as it was; it is down while all of it is replaced by a copy."""
        self.rig.survey.everything()
        backup = self.root / "backup"
        shutil.copytree(self.settings.folder, backup)
        shutil.rmtree(self.settings.folder)
        backup.rename(self.settings.folder)
        for folder in self.present():
            folder.identity = identity(folder.path)
        self.restart()

    # The web interface.

    def some_job(self, which: int) -> ServerJob | None:
        jobs = list(self.rescale.on_server.values())
        return jobs[which % len(jobs)] if jobs else None

    @rule(which=which, status=st.sampled_from(["Executing", "Completed", "Failed", "Force Stopped"]))
    def job_gets_on(self, which: int, status: str) -> None:
        job = self.some_job(which)
        if job is not None and job.statuses and not is_over(job):
            self.rescale.tell(job.id, status)

    @rule(which=which)
    def job_goes_on_after_its_end(self, which: int) -> None:
        job = self.some_job(which)
        if job is not None and job.statuses and is_over(job):
            self.rescale.tell(job.id, "Executing")

    @rule(which=which)
    def job_is_deleted(self, which: int) -> None:
        if job := self.some_job(which):
            del self.rescale.on_server[job.id]

    @rule(which=which)
    def job_is_submitted(self, which: int) -> None:
        job = self.some_job(which)
        if job is not None and not job.statuses:
            self.rescale.tell(job.id, "Pending")

    # What holds at any moment.

    @invariant()
    def no_drop_has_two_jobs(self) -> None:
        assert max(Counter(self.rescale.tokens()).values(), default=0) <= 1

    @invariant()
    def no_folder_is_two_drops(self) -> None:
        seen = Counter((drop.inode, drop.born) for drop in self.rig.ledger.drops())
        assert max(seen.values(), default=0) <= 1

    @invariant()
    def a_job_has_the_bytes_that_the_folder_had_when_it_was_taken(self) -> None:
        for job in self.rescale.on_server.values():
            if job.id not in self.checked:
                self.checked.add(job.id)
                name, inputs = self.promised[token(job)]
                assert job.definition["name"] == name
                assert unpacked(self.rescale.inputs(job.id)) == inputs

    @invariant()
    def nothing_dropped_is_changed_or_deleted(self) -> None:
        for folder in self.folders:
            if not folder.is_deleted:
                on_disk = {
                    str(path.relative_to(folder.path)): path.read_bytes()
                    for path in folder.path.rglob("*")
                    if path.is_file()
                }
                assert on_disk == folder.files

    def teardown(self) -> None:
        try:
            if self.folders:
                self.all_end_once_the_faults_do()
        finally:
            self.rig.journal.close()
            shutil.rmtree(self.root)

    def all_end_once_the_faults_do(self) -> None:
        self.strikes.clear()
        self.behind.clear()
        self.server_refuses("nothing")
        self.restart()
        self.rig.turns(3)
        for folder in self.present():
            drop = self.rig.ledger.at(folder.path.name)
            assert drop is not None
            if (
                drop.state in {State.WAITING, State.REJECTED}
                or drop.hold
                or not folder.files.keys() - {"job.json"}
            ):
                self.put(folder, "job.json", self.job("whole"))
        for _ in range(60):
            if not self.unfinished():
                break
            self.rig.turn(10.0)
            for job in self.rescale.on_server.values():
                if job.statuses and not is_over(job):
                    self.rescale.tell(job.id, "Completed")
        assert not self.unfinished()
        self.rig.turns(20, 30.0)  # an end may be taken back for ten minutes
        for drop in self.rig.ledger.drops():
            self.says_what_its_job_says(drop)
        self.no_drop_has_two_jobs()
        self.no_folder_is_two_drops()
        self.a_job_has_the_bytes_that_the_folder_had_when_it_was_taken()
        self.nothing_dropped_is_changed_or_deleted()
        for folder in self.present():
            drop = self.rig.ledger.at(folder.path.name)
            assert drop is not None
            assert (drop.inode, drop.born) == (folder.identity.inode, folder.identity.born)
            assert drop.job_id is not None
            assert drop.state is not State.DELETED or drop.job_id not in self.rescale.on_server

    def says_what_its_job_says(self, drop: Drop) -> None:
        job = self.rescale.on_server.get(drop.job_id or "")
        if job is not None and job.statuses:
            assert drop.status == job.statuses[-1].status
            assert drop.state in ENDED

    def unfinished(self) -> list[Drop]:
        """Drops that have yet to end. One whose folder is gone ends only if its job was submitted."""
        return [drop for drop in self.rig.ledger.open_drops() if drop.here or self.runs(drop)]

    def runs(self, drop: Drop) -> bool:
        jobs = [job for job in self.rescale.on_server.values() if token(job) == drop.id]
        return any(job.statuses for job in jobs) and drop.state is not State.REJECTED


def token(job: ServerJob) -> str:
    return str(job.definition["jobanalyses"][0]["envVars"][TOKEN])


def is_over(job: ServerJob) -> bool:
    return job.statuses[-1].status in {"Completed", "Failed"}


def unpacked(inputs: dict[str, bytes]) -> dict[str, bytes]:
    """What the cluster gets."""
    found: dict[str, bytes] = {}
    for name, data in inputs.items():
        if name.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                members: dict[str, Any] = {each.name: archive.extractfile(each) for each in archive}
                found.update({path: body.read() for path, body in members.items() if body is not None})
        else:
            found[name] = data
    return found


def test_whatever_people_and_faults_do_each_drop_ends_in_one_job() -> None:
    """RESCALEFS_TEST_EXAMPLES=3000 goes other ways than the usual ones, which are the same each time."""
    examples = os.environ.get("RESCALEFS_TEST_EXAMPLES")
    run_state_machine_as_test(
        DropFolder,
        settings=settings(
            max_examples=int(examples or 30),
            stateful_step_count=25,
            deadline=None,
            derandomize=examples is None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
