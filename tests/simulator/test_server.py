"""The simulator as a process: what it holds, what it leaves, and what it refuses."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from rescalefs.simulator import CannotServe, Fault, Simulator, SimulatorSettings
from rescalefs.simulator.faults import Cut, Drop, Hang
from tests.consoles import printed
from tests.simulator.conftest import definition

SERVE = """
import sys
from pathlib import Path
from rescalefs.simulator import SimulatorSettings, serve
serve(
    SimulatorSettings(port=0, data=Path(sys.argv[1])),
    lambda simulator: print(simulator.url, simulator.api_key, flush=True),
)
print("ended well", flush=True)
"""


class Service:
    """A simulator in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.output = process.stdout
        self.url, self.api_key = self.output.readline().split()

    def ask(self, method: str, path: str, **more: Any) -> Any:
        headers = {"Authorization": f"Token {self.api_key}"}
        response = requests.request(method, f"{self.url}/api/v2/{path}", headers=headers, timeout=20, **more)
        assert response.ok, response.text
        return response.json() if response.content else None

    def begin(self, command: str) -> str:
        job_id: str = self.ask("POST", "jobs/", json=definition(command))["id"]
        self.ask("POST", f"jobs/{job_id}/submit/")
        return job_id

    def status(self, job_id: str) -> dict[str, str]:
        newest: dict[str, str] = self.ask("GET", f"jobs/{job_id}/statuses/")["results"][0]
        return newest


@contextmanager
def service(data: Path) -> Iterator[Service]:
    process = subprocess.Popen([sys.executable, "-c", SERVE, str(data)], stdout=subprocess.PIPE, text=True)
    with process:
        try:
            yield Service(process)
        finally:
            process.kill()


def until(condition: Callable[[], Any]) -> None:
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it did not happen")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def begin_and_learn_pids(running: Service, folder: Path) -> tuple[str, list[int]]:
    """A job that waits for ever, and a process of it that has left its group."""
    pids = [folder / "inside", folder / "outside"]
    command = (
        f"echo written; (setsid sh -c 'echo $$ > {pids[1]}; exec sleep 1000' &); "
        f"echo $$ > {pids[0]}; sleep 1000; true"
    )
    job_id = running.begin(command)
    until(lambda: all(path.exists() and path.read_text().endswith("\n") for path in pids))
    return job_id, [int(path.read_text()) for path in pids]


def test_a_kill_minus_nine_leaves_no_process_and_no_job_without_an_end(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with service(data) as first:
        job_id, pids = begin_and_learn_pids(first, tmp_path)
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait(30)
    assert all(map(is_alive, pids))  # nobody could end them
    with service(data) as second:
        assert second.api_key == first.api_key
        until(lambda: second.status(job_id)["status"] == "Failed")
        assert second.status(job_id)["statusReason"] == "The simulator ended while the job ran"
        assert not any(map(is_alive, pids))
        (log,) = second.ask("GET", f"jobs/{job_id}/files/")["results"]
        lines = second.ask("GET", f"files/{log['id']}/lines/")["lines"]
        assert printed("".join(lines).encode()) == b"written\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_and_all_it_runs(tmp_path: Path, number: signal.Signals) -> None:
    with service(tmp_path / "data") as running:
        _, (inside, outside) = begin_and_learn_pids(running, tmp_path)
        running.process.send_signal(number)
        assert running.output.read() == "ended well\n"
        assert running.process.wait(30) == 0
        assert not is_alive(inside)
        assert not is_alive(outside)


def test_two_simulators_do_not_share_a_folder(simulator: Simulator) -> None:
    with pytest.raises(CannotServe, match="another simulator uses"):
        Simulator(SimulatorSettings(port=0, data=simulator.data)).start()


def test_a_port_that_is_taken_is_named(simulator: Simulator, tmp_path: Path) -> None:
    port = int(simulator.url.rpartition(":")[2])
    with pytest.raises(CannotServe, match=f"port {port}: Address already in use"):
        Simulator(SimulatorSettings(port=port, data=tmp_path / "other")).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_it_listens_on_nothing_but_the_loopback(tmp_path: Path, host: str) -> None:
    with pytest.raises(CannotServe, match="--allow-remote"):
        Simulator(SimulatorSettings(host=host, port=0, data=tmp_path)).start()


def test_unless_told_to(tmp_path: Path) -> None:
    settings = SimulatorSettings(host="0.0.0.0", port=0, data=tmp_path, allow_remote=True)
    with Simulator(settings) as simulator:
        assert simulator.url.startswith("http://0.0.0.0:")


def test_a_host_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match=r"300\.300\.300\.300"):
        Simulator(SimulatorSettings(host="300.300.300.300", port=0, data=tmp_path)).start()


def test_a_throttle_for_no_scope_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="no throttle scope everything"):
        Simulator(SimulatorSettings(port=0, data=tmp_path, throttles={"everything": 1})).start()


def test_without_a_folder_nothing_is_left_behind() -> None:
    with Simulator(SimulatorSettings(port=0)) as simulator:
        assert (simulator.data / "world.sqlite").exists()
    assert not simulator.data.exists()
    simulator.close()  # a second time: nothing happens


def test_the_key_is_made_up_once_and_only_the_owner_may_read_it(tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        with Simulator(SimulatorSettings(port=0, data=tmp_path)) as simulator:
            keys.append(simulator.api_key)
    assert keys[0] == keys[1]
    assert len(bytes.fromhex(keys[0])) == 20
    assert (tmp_path / "api_key").stat().st_mode & 0o777 == 0o600
    assert keys[0] not in repr(SimulatorSettings(api_key=keys[0]))


def test_a_script_of_faults_is_in_force_from_the_start(tmp_path: Path) -> None:
    script = tmp_path / "faults.json"
    script.write_text(json.dumps([{"effect": {"kind": "status", "status": 502}, "times": None}]))
    with Simulator(SimulatorSettings(port=0, data=tmp_path / "data", faults=script)) as simulator:
        assert requests.get(f"{simulator.url}/api/v2/users/me/", timeout=20).status_code == 502


def connect(simulator: Simulator, path: str) -> socket.socket:
    host, port = simulator.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Token {simulator.api_key}\r\n\r\n"
    connection.sendall(request.encode())
    return connection


def received(connection: socket.socket) -> bytes:
    """All that comes until the other side closes, or resets, the connection."""
    data = b""
    try:
        while chunk := connection.recv(1 << 16):
            data += chunk
    except ConnectionResetError:
        pass
    return data


def test_a_cut_delivers_exactly_so_many_bytes_on_the_wire(simulator: Simulator) -> None:
    job = simulator.world.add_finished_job("big", {"f": 5_000_000})
    (file,) = simulator.world.outputs(job.id)
    simulator.faults.add(Fault(Cut(after=1_234_567), path="contents"))
    with connect(simulator, f"/api/v2/files/{file.id}/contents/") as connection:
        head, _, body = received(connection).partition(b"\r\n\r\n")
    assert b"content-length: 5000000" in head.lower()
    assert body == simulator.world.contents.path(file.id).read_bytes()[:1_234_567]
    until(lambda: simulator.traffic.entries())
    (entry,) = simulator.traffic.entries()
    assert entry.sent == 1_234_567


def test_a_dropped_connection_says_nothing_at_all(simulator: Simulator) -> None:
    simulator.faults.add(Fault(Drop()))
    with connect(simulator, "/api/v2/users/me/") as connection:
        assert received(connection) == b""


def test_closing_ends_requests_that_hang(simulator: Simulator) -> None:
    simulator.faults.add(Fault(Hang()))
    with connect(simulator, "/api/v2/users/me/") as connection:
        until(lambda: not simulator.faults.unused())
        simulator.close()
        assert received(connection) == b""


def test_a_client_that_goes_away_in_mid_file_does_no_harm(simulator: Simulator) -> None:
    job = simulator.world.add_finished_job("big", {"f": 50_000_000})
    (file,) = simulator.world.outputs(job.id)
    open_before = len(list(Path("/proc/self/fd").iterdir()))
    with connect(simulator, f"/api/v2/files/{file.id}/contents/") as connection:
        connection.recv(1000)
    until(lambda: simulator.traffic.entries())
    until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= open_before)
    with connect(simulator, "/api/v2/users/me/") as connection:
        assert connection.recv(12) == b"HTTP/1.1 200"


def test_many_ranges_at_once_join_to_the_file(simulator: Simulator) -> None:
    job = simulator.world.add_finished_job("big", {"f": 8_000_001})
    (file,) = simulator.world.outputs(job.id)
    parts: dict[int, bytes] = {}
    headers = {"Authorization": f"Token {simulator.api_key}"}

    def fetch(start: int) -> None:
        url = f"{simulator.url}/api/v2/files/{file.id}/contents/"
        asked = {**headers, "Range": f"bytes={start}-{start + 999_999}"}
        parts[start] = requests.get(url, headers=asked, timeout=20).content

    threads = [threading.Thread(target=fetch, args=(start,)) for start in range(0, 8_000_001, 1_000_000)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert b"".join(parts[start] for start in sorted(parts)) == (
        simulator.world.contents.path(file.id).read_bytes()
    )
