"""The simulator in a process of its own, and the truth, read from what it keeps.

Nothing of rescalefs is imported. The data folder has `world.sqlite` (tables ``jobs`` and ``files`` of
JSON documents), and the bytes of each file at ``contents/<first letter of the id>/<id>``.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.ground import Ground, put_to_death, until

KEY = "c" * 40
_CHUNK = 1 << 20
_ENDED = ("Completed", "Failed")


@dataclass(frozen=True, slots=True)
class TrueFile:
    """One file as the simulator holds it."""

    id: str
    path: str  # below outputs/, or its name
    size: int
    where: Path

    def digest(self, start: int = 0, length: int | None = None) -> tuple[int, str]:
        """How many bytes there are from ``start`` on, at most ``length``, and their SHA-512."""
        digest, count = hashlib.sha512(), 0
        with self.where.open("rb") as file:
            file.seek(start)
            while length is None or count < length:
                data = file.read(_CHUNK if length is None else min(_CHUNK, length - count))
                if not data:
                    break
                digest.update(data)
                count += len(data)
        return count, digest.hexdigest()


@dataclass(frozen=True, slots=True)
class TrueJob:
    """One job as the simulator holds it."""

    id: str
    name: str
    statuses: tuple[str, ...]
    reason: str | None
    inputs: tuple[str, ...]  # ids of files
    outputs: tuple[TrueFile, ...]

    @property
    def was_submitted(self) -> bool:
        return bool(self.statuses)

    @property
    def has_ended(self) -> bool:
        return bool(self.statuses) and self.statuses[-1] in _ENDED


class Truth:
    """What the simulator's data folder says. Thread-safe: each look has a connection of its own."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._lock = threading.Lock()  # guards _hashes
        self._hashes: dict[str, str] = {}

    def jobs(self) -> dict[str, TrueJob]:
        """Every job there is, by id."""
        documents, files = self._documents("jobs"), self._documents("files")
        outputs: dict[str, list[TrueFile]] = {}
        for file in files:
            if file.get("job_id") is not None:
                outputs.setdefault(file["job_id"], []).append(self._file(file))
        return {each["id"]: _job(each, outputs.get(each["id"], [])) for each in documents}

    def input_files(self) -> dict[str, tuple[str, TrueFile]]:
        """Files that no job wrote, by id: the name, and the file."""
        found = (each for each in self._documents("files") if each.get("job_id") is None)
        return {each["id"]: (each["name"], self._file(each)) for each in found}

    def sha512(self, file: TrueFile) -> str:
        """Of the whole file; remembered, because a stored file never changes."""
        with self._lock:
            known = self._hashes.get(file.id)
        if known is None:
            known = file.digest()[1]
            with self._lock:
                self._hashes[file.id] = known
        return known

    def _file(self, document: dict[str, Any]) -> TrueFile:
        where = self._data / "contents" / document["id"][0] / document["id"]
        path = document.get("relative_path") or document["name"]
        size = where.stat().st_size if where.exists() else -1
        return TrueFile(document["id"], path, size, where)

    def _documents(self, table: str) -> list[dict[str, Any]]:
        uri = f"file:{self._data / 'world.sqlite'}?mode=ro"
        with contextlib.closing(sqlite3.connect(uri, uri=True, timeout=20)) as connection:
            rows = connection.execute(f"SELECT document FROM {table} ORDER BY number").fetchall()
        return [json.loads(document) for (document,) in rows]


def _job(document: dict[str, Any], outputs: list[TrueFile]) -> TrueJob:
    statuses = document.get("statuses") or []
    analyses = document["definition"]["jobanalyses"]
    inputs = [entry["id"] for analysis in analyses for entry in analysis["inputFiles"]]
    return TrueJob(
        document["id"],
        document["name"],
        tuple(each["status"] for each in statuses),
        statuses[-1].get("reason") if statuses else None,
        tuple(inputs),
        tuple(outputs),
    )


class Server:
    """A simulator that can be killed and comes back on its port; asked directly, past the broken network."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self.data = ground.root / "server"
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.truth = Truth(self.data)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return ("127.0.0.1", self._port)

    def start(self) -> None:
        """Start it, or start it again; return once it answers."""
        out, err = self._ground.place("url"), self._ground.root / "simulator.log"
        words = ["--data", self.data, "--api-key", KEY, "--port", self._port, "--jobs-at-once", 4]
        command = [sys.executable, "-m", "rescalefs", "simulator", *map(str, words)]
        self._process = self._ground.start(command, out, err, {"CHAOS_MUTANT": ""})
        url = until(lambda: out.read_text().strip() if out.exists() else "", 60)
        if not url:
            raise RuntimeError(f"the simulator did not start: {err.read_text()[-1000:]}")
        self._port = int(str(url).rpartition(":")[2])

    def kill(self) -> None:
        """Kill the server, like a crash of the service."""
        if self._process is not None:
            put_to_death(self._process, 20)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """One request of ours; the answer's JSON, None where it has none."""
        host, port = self.address
        request = urllib.request.Request(f"http://{host}:{port}{path}", method=method)
        request.add_header("Authorization", f"Token {KEY}")
        data = None
        if body is not None:
            request.add_header("Content-Type", "application/json")
            data = json.dumps(body).encode()
        with urllib.request.urlopen(request, data, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text.strip() else None

    def plant(self, name: str, files: dict[str, int | str]) -> str:
        """A finished job with these outputs (a size, or text); its id."""
        seeds = [{"path": path, "content": content} for path, content in files.items()]
        (job,) = self.ask("POST", "/simulator/jobs/", {"name": name, "files": seeds})
        return str(job["id"])

    def faults(self, faults: list[dict[str, Any]]) -> None:
        """From now on these, in place of those before."""
        with contextlib.suppress(OSError):  # it may be down, and then it has none
            self.ask("DELETE", "/simulator/faults/")
            if faults:
                self.ask("POST", "/simulator/faults/", faults)

    def requests(self) -> dict[str, int]:
        """How many it got, by route."""
        counts: dict[str, int] = self.ask("GET", "/simulator/requests/")["counts"]
        return counts


def files_below(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file of a real folder, with its path below it."""
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where) / name
            yield str(path.relative_to(folder)), path
