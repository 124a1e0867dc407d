"""Those that read the mount: shell tools, Python programs, listings, fsspec, and readers of live files."""

from __future__ import annotations

import hashlib
import json
import tarfile
import time
from pathlib import Path
from typing import Any

from tests.chaos.ground import Done
from tests.chaos.logbook import FAILED, KILLED, RIGHT, WRONG
from tests.chaos.plan import CALL_LIMIT, WALK_LIMIT
from tests.chaos.scene import Actor, Scene, Worker, pick_range
from tests.chaos.server import TrueFile, TrueJob

LIVE_FILE = "grow.txt"
LIVE_LINES = 400


def live_text() -> bytes:
    """What a job of the storm writes into its `LIVE_FILE`, line by line."""
    return b"".join(b"line %06d of a file that grows\n" % number for number in range(LIVE_LINES))


class Reader(Actor):
    """Shell tools."""

    name = "reader"

    def act(self) -> None:
        job = self.chance.choice(list(self.scene.jobs.values()))
        file = self.chance.choice(job.outputs)
        path = str(self.place.outputs(job) / file.path)
        kinds = (self._cat, self._sum, self._head, self._dd, self._tail, self._copy)
        weights = (4, 2, 3, 4, 3, 1)
        if self.chance.random() < 0.08:
            self.chance.choice((self._tar, self._check))(job)
        else:
            self.chance.choices(kinds, weights)[0](path, file)

    def _cat(self, path: str, file: TrueFile) -> None:
        self.tool("cat", ["cat", path], lambda done: _same(done.out, file, self.scene))

    def _copy(self, path: str, file: TrueFile) -> None:
        copy = self.scene.ground.place("copy")
        try:
            self.tool("cp", ["cp", path, str(copy)], lambda _: _same(copy, file, self.scene))
        finally:
            copy.unlink(missing_ok=True)

    def _sum(self, path: str, file: TrueFile) -> None:
        def judge(done: Done) -> str | None:
            found = done.out.read_text().split()[0]
            right = self.scene.server.truth.sha512(file)
            return None if found == right else f"printed {found}, right is {right}"

        self.tool("sha512sum", ["sha512sum", path], judge)

    def _head(self, path: str, file: TrueFile) -> None:
        _, length = pick_range(self.chance, file.size)
        self._range("head", ["head", "-c", str(length), path], file, 0, length)

    def _tail(self, path: str, file: TrueFile) -> None:
        length = min(file.size, self.chance.choice([1, 1000, 70_000]))
        self._range("tail", ["tail", "-c", str(length), path], file, file.size - length, length)

    def _dd(self, path: str, file: TrueFile) -> None:
        block = self.chance.choice([4096, 65536, 131072])
        skip = self.chance.randrange(file.size // block + 1)
        count = self.chance.randrange(1, 8)
        command = ["dd", f"if={path}", f"bs={block}", f"skip={skip}", f"count={count}", "status=none"]
        self._range("dd", command, file, skip * block, count * block)

    def _range(self, kind: str, command: list[str], file: TrueFile, start: int, length: int) -> None:
        restarts, strict = self.place.restarts, self.place.is_strict

        def judge(done: Done) -> str | None:
            data = done.out.read_bytes()
            count, digest = file.digest(start, length)
            if len(data) != count:
                return f"{len(data)} bytes from {start} on, right are {count}"
            if hashlib.sha512(data).hexdigest() == digest:
                return None
            excused = self.scene.may_be_wrong(file, self.place, restarts, strict)
            return None if excused else f"wrong bytes in {count} from {start} on"

        self.tool(kind, command, judge)

    def _tar(self, job: TrueJob) -> None:
        where = self.place.outputs(job)
        command = ["tar", "-C", str(where.parent), "-cf", "-", "outputs"]
        self.tool("tar", command, lambda done: self._tar_is_wrong(done.out, job))

    def _tar_is_wrong(self, archive: Path, job: TrueJob) -> str | None:
        found: dict[str, str] = {}
        with tarfile.open(archive) as opened:
            for member in opened:
                content = opened.extractfile(member) if member.isfile() else None
                if content is not None:
                    digest = hashlib.sha512()
                    while data := content.read(1 << 20):
                        digest.update(data)
                    found[member.name.partition("/")[2]] = digest.hexdigest()
        return _differs(found, {file.path: self.scene.server.truth.sha512(file) for file in job.outputs})

    def _check(self, job: TrueJob) -> None:
        # `exec`, because its reads are watched: those of a child of the shell would not be seen.
        where = self.place.outputs(job)
        command = ["sh", "-c", f"cd '{where}' && exec sha512sum --strict -c ../SHA512SUMS"]

        def judge(done: Done) -> str | None:
            lines = done.out.read_text().splitlines()
            good = {line.removesuffix(": OK") for line in lines if line.endswith(": OK")}
            return _differs(dict.fromkeys(good, ""), {file.path: "" for file in job.outputs})

        self.tool("sha512sum -c", command, judge)


class Program(Actor):
    """A Python program: ranges, whole files, maps, walks."""

    name = "program"
    kind = "mount"

    def __init__(self, scene: Scene, number: int = 0) -> None:
        super().__init__(scene, number)
        self.worker = Worker(scene, self.kind, self.environment())

    def environment(self) -> dict[str, str]:
        return {}

    def act(self) -> None:
        job = self.chance.choice(list(self.scene.jobs.values()))
        file = self.chance.choice(job.outputs)
        kinds = ("pread", "whole", "sizes", "mapped", "held")
        op = self.chance.choices(kinds, (8, 3, 2, self.maps, 3 * self.maps))[0]
        if op == "sizes":
            self._sizes(job)
        elif op in ("pread", "held"):
            start, length = pick_range(self.chance, file.size)
            self._read(op, job, file, start, length)
        elif file.size:
            self._read(op, job, file, 0, None)

    maps = 2

    def path(self, job: TrueJob, file: TrueFile | None) -> str:
        where = self.place.outputs(job)
        return str(where if file is None else where / file.path)

    def _read(self, op: str, job: TrueJob, file: TrueFile, start: int, length: int | None) -> None:
        restarts, strict = self.place.restarts, self.place.is_strict
        where = {} if length is None else {"offset": start, "length": length}
        answer = self.ask(op, CALL_LIMIT if length else WALK_LIMIT, path=self.path(job, file), **where)
        if answer is None:
            return
        count, digest = file.digest(start, length)
        ranged = length is not None
        wrong = None
        if answer["count"] != count:
            wrong = f"{answer['count']} bytes from {start} on, right are {count}"
        elif answer["sha512"] != digest and not (ranged and self.excused(file, restarts, strict)):
            wrong = f"wrong bytes in {count} from {start} on"
        self._result(op, wrong, f"{self.path(job, file)} ({length or 'all'} bytes)")

    def excused(self, file: TrueFile, restarts: int, strict: bool) -> bool:
        return self.scene.may_be_wrong(file, self.place, restarts, strict)

    def _sizes(self, job: TrueJob) -> None:
        answer = self.ask("sizes", WALK_LIMIT, path=self.path(job, None))
        if answer is not None:
            right = {file.path: str(file.size) for file in job.outputs}
            found = {path: str(size) for path, size in answer["sizes"].items()}
            self._result("sizes", _differs(found, right), self.path(job, None))

    def ask(self, op: str, limit: float, **words: Any) -> dict[str, Any] | None:
        """An answer that is one; errors, deaths and delays are counted here."""
        is_doomed = self.scene.plan.kills and self.chance.random() < 0.01
        kill_after = self.chance.uniform(0, 0.5) if is_doomed else None
        began = time.monotonic()
        answer = self.worker.ask(limit, kill_after, op=op, **words)
        self._took = time.monotonic() - began
        kind, logbook = f"{self.kind} {op}", self.scene.logbook
        if "error" not in answer:
            return answer
        if answer.get("is_stuck"):
            logbook.violation("unkillable", f"{kind} {words} is still there after SIGKILL")
        if answer.get("is_late"):
            logbook.violation("over its limit", f"{kind} {words} after {self._took:.0f} s")
        if answer.get("is_odd"):
            logbook.violation("odd error", f"{kind} {words}: {answer['error']}")
        is_fault = answer.get("is_late") or answer.get("is_odd")
        logbook.did(kind, KILLED if answer.get("was_killed") else WRONG if is_fault else FAILED, self._took)
        return None

    def _result(self, op: str, wrong: str | None, words: str) -> None:
        self.scene.logbook.did(f"{self.kind} {op}", WRONG if wrong else RIGHT, self._took)
        if wrong:
            self.scene.logbook.violation("wrong result", f"{self.kind} {op}: {words}: {wrong}")

    def close(self) -> None:
        self.worker.close()


class FsspecProgram(Program):
    """Reads through fsspec and with the mount's cache. It checks files before it gives a byte of them."""

    name = "fsspec"
    kind = "fsspec"
    maps = 0

    def environment(self) -> dict[str, str]:
        return {"RESCALEFS_VERIFY": "strict"}

    def path(self, job: TrueJob, file: TrueFile | None) -> str:
        where = f"jobs/{job.id}/outputs"
        return where if file is None else f"{where}/{file.path}"

    def excused(self, file: TrueFile, restarts: int, strict: bool) -> bool:
        return False


class Lister(Actor):
    """Listings, small texts, and a program that is refused again and again."""

    name = "lister"

    def act(self) -> None:
        root, job = self.place.path, self.chance.choice(list(self.scene.jobs.values()))
        folder = root / "jobs" / job.id
        acts = (
            lambda: self.listing("ls jobs", ["ls", str(root / "jobs")], self._has_first),
            lambda: self.listing("ls -lR", ["ls", "-lR", str(folder)], lambda _: None),
            lambda: self.listing(
                "find",
                ["find", str(folder / "outputs"), "-type", "f", "-printf", "%s %P\\n"],
                lambda done: self._found(done, job),
            ),
            self._crowd,
            lambda: self.listing("ls views", ["ls", str(root / "by-name")], lambda _: None),
            lambda: self.listing("ls submit", ["ls", "-l", str(root / "submit")], lambda _: None),
            lambda: self.tool("job.json", ["cat", str(folder / "job.json")], lambda done: _json(done, job)),
            lambda: self.tool("status", ["cat", str(folder / "status")], _completed),
            lambda: self.tool("own", ["cat", str(root / ".rescalefs" / "status")], lambda _: None),
            lambda: self.tool("refused", ["touch", str(folder / "mine")], lambda _: "a write was taken"),
        )
        self.chance.choices(acts, (3, 3, 4, 1, 1, 2, 3, 3, 1, 4))[0]()

    def _crowd(self) -> None:
        """A folder of which the list has more than one page."""
        job = self.scene.crowd
        assert job is not None
        where = str(self.place.outputs(job))
        command = ["find", where, "-type", "f", "-printf", "%s %P\\n"]
        self.listing("find in a crowd", command, lambda done: self._found(done, job))

    def listing(self, kind: str, command: list[str], judge: Any) -> None:
        self.tool(kind, command, judge, limit=WALK_LIMIT, stall=None)

    def _has_first(self, done: Done) -> str | None:
        missing = set(self.scene.first) - set(done.out.read_text().split())
        return f"{sorted(missing)} are missing" if missing else None

    def _found(self, done: Done, job: TrueJob) -> str | None:
        lines = (line.partition(" ") for line in done.out.read_text().splitlines())
        found = {path: size for size, _, path in lines}
        return _differs(found, {file.path: str(file.size) for file in job.outputs})


class Follower(Actor):
    """Reads what running jobs write: at any moment it is the beginning of what they will have written."""

    name = "follower"

    def act(self) -> None:
        running = [
            job for job in self.scene.server.truth.jobs().values() if job.statuses[-1:] == ("Executing",)
        ]
        self.scene.stop.wait(0.5)
        if not running:
            return
        job = self.chance.choice(running)
        folder = self.scene.mountpoint / "jobs" / job.id / "live"
        right = live_text()

        def judge(done: Done) -> str | None:
            data = done.out.read_bytes()
            return None if right.startswith(data) else f"{len(data)} bytes are not how the file begins"

        command = ["cat", str(folder / LIVE_FILE)]
        if self.chance.random() < 0.3:
            self.tool("ls live", ["ls", "-l", str(folder)], lambda _: None, limit=WALK_LIMIT, stall=None)
        elif self.chance.random() < 0.3:
            words = f"timeout 4 tail -c +1 -f '{folder / LIVE_FILE}' || test $? = 124"
            self.tool("tail -f live", ["sh", "-c", words], judge)
        else:
            self.tool("cat live", command, judge)


def _same(found: Path, file: TrueFile, scene: Scene) -> str | None:
    digest, count = hashlib.sha512(), 0
    with found.open("rb") as opened:
        while data := opened.read(1 << 20):
            digest.update(data)
            count += len(data)
    if count != file.size:
        return f"{count} bytes, right are {file.size}"
    return None if digest.hexdigest() == scene.server.truth.sha512(file) else f"wrong bytes in {count}"


def _differs(found: dict[str, str], right: dict[str, str]) -> str | None:
    if found == right:
        return None
    missing, more = sorted(right.keys() - found.keys()), sorted(found.keys() - right.keys())
    other = sorted(path for path in right.keys() & found.keys() if right[path] != found[path])
    shown = [f"{path}: {found[path]} for {right[path]}" for path in other[:3]]
    return f"missing {missing[:3]}, too many {more[:3]}, different {shown}"


def _json(done: Done, job: TrueJob) -> str | None:
    try:
        told = json.loads(done.out.read_text())
    except ValueError as error:
        return f"no JSON: {error}"
    return None if told.get("id") == job.id else f"it tells of {told.get('id')}"


def _completed(done: Done) -> str | None:
    text = done.out.read_text()
    return None if text == "Completed\n" else f"{text!r}"
