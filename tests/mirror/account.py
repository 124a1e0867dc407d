"""A simulator over HTTP, and `rescalefs` in real processes beside it, without FUSE."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

from rescalefs.api import ApiSettings, RescaleClient
from rescalefs.cli.main import main
from rescalefs.clock import SystemClock
from rescalefs.simulator import Simulator

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds; only something broken takes as long


class Account:
    """One account, and a folder to sync it to."""

    def __init__(self, simulator: Simulator, work: Path) -> None:
        self.simulator = simulator
        self.folder = work / "account"
        kinds = ("CACHE", "CONFIG", "DATA", "STATE")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RESCALE")},
            **{f"XDG_{kind}_HOME": str(work / kind.lower()) for kind in kinds},
            "RESCALE_API_URL": simulator.url,
            "RESCALE_API_KEY": simulator.api_key,
            "RESCALEFS_POLL_EVERY": "0.5",
            "RESCALEFS_SETTLE_TIME": "0.2",
            "RESCALEFS_PATIENCE": "5",
        }

    def add_job(self, name: str, files: Mapping[str, bytes]) -> str:
        """Plant a job that has run; return its id."""
        return self.simulator.world.add_finished_job(name, files).id

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "rescalefs", *words]

    def run(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        """Run `rescalefs` with these words, in this process: another one takes a second to begin."""
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2))
        with (
            mock.patch.dict(os.environ, self.environment, clear=True),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            code = main(list(words))
        out.flush()
        err.flush()
        done = subprocess.CompletedProcess(words, code, out.buffer.getvalue(), err.buffer.getvalue())
        assert not check or done.returncode == 0, done.stderr.decode()
        return done

    def sync(self, *words: str, check: bool = True) -> dict[str, Any]:
        """One round; return what it says it did."""
        done = self.run("sync", str(self.folder), "--once", "--json", *words, check=check)
        record: dict[str, Any] = json.loads(done.stdout)
        return record

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self.command(*words),
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def content_requests(self) -> int:
        """How many requests for contents the server has seen."""
        return sum(
            entry.method == "GET" and "/contents/" in entry.path for entry in self.simulator.traffic.entries()
        )

    def client(self) -> contextlib.closing[RescaleClient]:
        settings = ApiSettings(self.simulator.url, self.simulator.api_key)
        return contextlib.closing(RescaleClient(settings, SystemClock()))

    def outputs(self, job_id: str) -> dict[str, bytes]:
        """What is below outputs/ in the folder, by path."""
        top = self.folder / "jobs" / job_id / "outputs"
        return {
            path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()
        }
