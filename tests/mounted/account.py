"""A whole account, mounted as a user would: `rescalefs mount` in a process, on a simulator over HTTP."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from rescalefs.api import ApiSettings, RescaleClient
from rescalefs.clock import SystemClock
from rescalefs.mount.mountpoint import detach, mount_at
from rescalefs.simulator import Simulator, SimulatorSettings
from tests.canary import CANARY

ROOT = Path(__file__).parents[2]
PATIENCE = 40.0  # seconds; only something broken takes as long

# So that what must fail fails soon, and what must settle settles soon.
SETTINGS = {
    "RESCALEFS_CONNECT_TIMEOUT": "2",
    "RESCALEFS_READ_TIMEOUT": "3",
    "RESCALEFS_PATIENCE": "3",
    "RESCALEFS_DEADLINE": "5",
    "RESCALEFS_POLL_EVERY": "1",
    "RESCALEFS_SETTLE_TIME": "0.3",
}


def as_nobody(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as another user, which only root may do, in this folder.

    Name files relative to the folder: the other user need not be able to reach it from `/`. Folders of
    pytest are closed to others, and each other pytest that starts on this machine closes them again.
    """
    command = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False)


class MountedAccount:
    """One simulator, and one mount of it at `root`."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.root = work / "Rescale"
        self._data = work / "server"
        self._simulator = self._serve(0)
        self._port = int(self._simulator.url.rpartition(":")[2])
        kinds = ("CACHE", "CONFIG", "DATA", "STATE")
        homes = {f"XDG_{kind}_HOME": str(work / kind.lower()) for kind in kinds}
        self.environment = {
            **os.environ,
            **homes,
            **SETTINGS,
            "RESCALE_API_URL": self._simulator.url,
            "RESCALE_API_KEY": self._simulator.api_key,
        }
        self._started: list[subprocess.Popen[bytes]] = []

    # The server

    @property
    def simulator(self) -> Simulator:
        return self._simulator

    def stop_server(self) -> None:
        self._simulator.close()

    def start_server(self, api_key: str = CANARY) -> None:
        """Again, on the same port and with the same data."""
        self._simulator = self._serve(self._port, api_key)

    def add_finished_job(self, name: str, files: Mapping[str, bytes]) -> str:
        """Plant a job that has run; return its id."""
        return self._simulator.world.add_finished_job(name, files).id

    def client(self) -> RescaleClient:
        return RescaleClient(ApiSettings(self._simulator.url, self._simulator.api_key), SystemClock())

    def jobs(self) -> list[str]:
        """The names of all jobs at the server."""
        with contextlib.closing(self.client()) as client:
            return [job.name for job in client.jobs()]

    def uploaded_at(self, job_id: str, path: str) -> datetime:
        """When the server says that an output was stored."""
        with contextlib.closing(self.client()) as client:
            (found,) = [file.uploaded for file in client.output_files(job_id) if file.path == path]
        assert found is not None
        return found

    # The mount

    def run(self, *words: str, check: bool = True, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `rescalefs` with these words."""
        done = subprocess.run(
            [sys.executable, "-m", "rescalefs", *words],
            cwd=ROOT,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert not check or done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        return done

    def start(self, *words: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start `rescalefs` with these words, and don't wait for it."""
        process = subprocess.Popen(
            [sys.executable, "-m", "rescalefs", *words], cwd=ROOT, env={**self.environment, **variables}
        )
        self._started.append(process)
        return process

    def mount(self, *flags: str) -> None:
        self.run("mount", str(self.root), *flags)

    def daemon(self) -> int:
        """The pid of what serves the mount."""
        status = (self.root / ".rescalefs" / "status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("process: ")).split()[1])

    @contextlib.contextmanager
    def notify_socket(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """What systemd does: an address for NOTIFY_SOCKET, and a function that returns the next message."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as news:
            name = f"rescalefs-test-{os.getpid()}-{os.urandom(6).hex()}"
            news.bind(f"\0{name}")
            news.settimeout(PATIENCE)
            yield f"@{name}", lambda: news.recv(4096).decode()

    # Waiting

    @staticmethod
    def text(path: Path) -> str:
        """A file's text; empty while it can't be read."""
        try:
            return path.read_text()
        except OSError:
            return ""

    def wait_for(self, condition: Callable[[], Any]) -> None:
        """Return once ``condition()`` is true; what it raises, this raises."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"it never came true:\n{self.last_words()}"
            time.sleep(0.05)

    def wait_for_status(self, drop: Path, words: str) -> None:
        """Return once the drop's status begins with ``words``."""
        try:
            self.wait_for(lambda: self.text(drop / "status").startswith(words))
        except AssertionError as error:
            raise AssertionError(f"{drop.name}: {self.text(drop / 'status')!r}, not {words!r}") from error

    def last_words(self) -> str:
        """The end of the daemons' logs."""
        logs = (self.work / "state").glob("rescalefs/*/mount.log")
        return "\n".join(log.read_text(errors="replace")[-3000:] for log in logs)

    def close(self) -> None:
        """Leave nothing mounted and nothing running."""
        try:
            if mount_at(self.root) is not None:
                self.run("umount", str(self.root), check=False)
            if mount_at(self.root) is not None:
                detach(self.root, lazy=True)
                pytest.fail(f"the mount did not end:\n{self.last_words()}")
            for process in self._started:
                if process.poll() is None:
                    process.kill()
                process.wait()
        finally:
            self._simulator.close()

    def _serve(self, port: int, api_key: str = CANARY) -> Simulator:
        settings = SimulatorSettings(port=port, data=self._data, api_key=api_key, unavailable=("onyx",))
        simulator = Simulator(settings)
        simulator.start()
        return simulator


@pytest.fixture
def account(tmp_path: Path) -> Iterator[MountedAccount]:
    """An account of this test's own, mounted at `.root`."""
    with _mounted(tmp_path) as account:
        yield account


@pytest.fixture(scope="module")
def shared_account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MountedAccount]:
    """An account for all tests of a module that only read."""
    with _mounted(tmp_path_factory.mktemp("account")) as account:
        yield account


@contextlib.contextmanager
def _mounted(work: Path) -> Iterator[MountedAccount]:
    account = MountedAccount(work)
    try:
        account.mount()
        yield account
    finally:
        account.close()


@pytest.fixture
def pi_job() -> Path:
    """A job folder, ready to be dropped, that needs less than a second."""
    return ROOT / "examples" / "pi"
