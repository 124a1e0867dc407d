"""Jobs from submit to the end, with real commands, over HTTP."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from rescalefs.simulator import Simulator, SimulatorSettings, life
from rescalefs.simulator.records import JobRecord
from tests.consoles import printed
from tests.simulator.conftest import definition

WAIT_FOR_GO = "echo begun; touch begun; while [ ! -e go ]; do sleep 0.02; done; echo ended"


class Client:
    """A few requests, said shortly."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Token {simulator.api_key}"

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, f"{self.simulator.url}/api/v2/{path}", timeout=20, **more)

    def get(self, path: str) -> Any:
        return self.ask("GET", path).json()

    def upload(self, name: str, content: bytes) -> dict[str, str]:
        response = self.ask("POST", "files/contents/", files={"file": (name, content)})
        return {"id": response.json()["id"]}

    def submit(self, command: str = "true", **more: Any) -> str:
        created = self.ask("POST", "jobs/", json=definition(command, **more))
        assert created.status_code == 201, created.text
        job_id: str = created.json()["id"]
        response = self.ask("POST", f"jobs/{job_id}/submit/")
        assert response.status_code == 200, response.text
        return job_id

    def run(self, command: str = "true", **more: Any) -> JobRecord:
        return self.finished(self.submit(command, **more))

    def until(self, condition: Callable[[], Any]) -> Any:
        for _ in range(2000):
            if found := condition():
                return found
            threading.Event().wait(0.01)
        raise AssertionError("it did not happen")

    def finished(self, job_id: str) -> JobRecord:
        world = self.simulator.world
        self.until(lambda: life.is_finished(world.job(job_id).status))
        self.until(lambda: world.job(job_id).cluster_status in ("", life.CLUSTER_STOPPED))
        return world.job(job_id)

    def outputs(self, job_id: str) -> dict[str, bytes]:
        world = self.simulator.world
        found = world.outputs(job_id)
        return {str(each.relative_path): world.contents.path(each.id).read_bytes() for each in found}

    def printed(self, job_id: str) -> bytes:
        """What its commands printed."""
        return printed(self.outputs(job_id)["process_output.log"])

    def live_folder(self, job_id: str) -> Path:
        return self.until(lambda: self.simulator.scheduler.live_folder(job_id, "1"))  # type: ignore[no-any-return]

    def begun(self, job_id: str) -> Path:
        """The working directory of a job that runs `WAIT_FOR_GO`, once it does."""
        folder = self.live_folder(job_id)
        self.until((folder / "begun").exists)
        log = folder / "process_output.log"  # what it prints gets there by way of a thread
        self.until(lambda: log.exists() and b"]: begun\n" in log.read_bytes())
        return folder


@pytest.fixture
def client(simulator: Simulator) -> Iterator[Client]:
    client = Client(simulator)
    yield client
    client.session.close()


def reason(job: JobRecord) -> str:
    return job.statuses[-1].reason or ""


def ending(job: JobRecord) -> list[tuple[str, str | None]]:
    """The last two statuses with their reasons."""
    return [(each.status, each.reason) for each in job.statuses[-2:]]


def test_a_job_walks_through_all_statuses_and_so_does_its_cluster(client: Client) -> None:
    job = client.run("echo hello")
    walked = [status.status for status in job.statuses]
    assert walked == ["Pending", "Queued", "Started", "Validated", "Executing", "Completed"]
    assert reason(job) == "Completed successfully"
    cluster = [status.status for status in job.cluster_statuses]
    assert cluster == ["Not Started", "Starting", "Started", "Stop Requested", "Stopping", "Stopped"]
    dates = [status.date for status in job.statuses]
    assert dates == sorted(set(dates))
    assert list(client.outputs(job.id)) == ["process_output.log"]
    assert client.printed(job.id) == b"hello\n"
    assert not (client.simulator.data / "scratch" / "jobs" / job.id).exists()


def test_a_command_that_fails_still_completes_and_the_reason_before_it_tells(client: Client) -> None:
    job = client.run("echo before; exit 7")
    assert ending(job) == [("Stopping", "A run failed"), ("Completed", None)]
    assert client.printed(job.id) == b"before\n"


def test_the_log_has_the_services_form(client: Client) -> None:
    job = client.run("printf 'one\\ntwo'; exit 7")
    stamp = r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\]: "
    lines = [
        r"Launching printf 'one\\ntwo'; exit 7, Working dir: /\S+\.  Process output follows:",
        "one",
        "two",
        "Exited with code 7",
        "",
    ]
    log = client.outputs(job.id)["process_output.log"].decode()
    assert re.fullmatch("".join(f"{stamp}{line}\n" for line in lines), log), log


def test_outputs_keep_their_folders_their_bytes_and_their_checksums(client: Client) -> None:
    inputs = [client.upload("range.inp", b"5\n")]
    command = "mkdir -p 0/U; head -c 3000000 /dev/urandom > 0/U/field; python -c 'open(\"range.inp\")'"
    job = client.run(command, analysis={"inputFiles": inputs})
    files = {each["relativePath"]: each for each in client.get(f"jobs/{job.id}/files/")["results"]}
    assert set(files) == {"0/U/field", "process_output.log", "range.inp"}
    assert {path: each["typeId"] for path, each in files.items()}["range.inp"] == 1
    field = files["0/U/field"]
    content = client.ask("GET", f"files/{field['id']}/contents/").content
    assert len(content) == field["decryptedSize"] == 3_000_000
    assert hashlib.sha512(content).hexdigest() == field["fileChecksums"][0]["fileHash"]


def test_the_command_finds_its_environment(client: Client) -> None:
    job = client.run(
        'echo "$ANGLE $RESCALE_JOB_ID $RESCALE_CORES_PER_SLOT"',
        analysis={"envVars": {"ANGLE": "3.5"}, "hardware": {"coreType": "granite", "coresPerSlot": 4}},
    )
    assert client.printed(job.id).decode() == f"3.5 {job.id} 4\n"


def test_the_command_finds_what_real_jobs_find_and_nothing_made_up(client: Client) -> None:
    names = client.printed(client.run("env | cut -d= -f1 | grep ^RESCALE_ | sort").id).decode().split()
    per_slot_and_node = [
        f"{kind}_PER_{unit}" for kind in ("CORES", "GPUS", "THREADS") for unit in ("NODE", "SLOT")
    ]
    others = "API_BASE_URL API_KEY CLUSTER_ID CORE_TYPE IG_RESTART_COUNT INTERCONNECT JOB_ID NODES_PER_SLOT"
    others += " PROVIDER SLOTS_PER_NODE WORK_PATH"
    assert names == sorted(f"RESCALE_{name}" for name in (*per_slot_and_node, *others.split()))


def test_several_analyses_run_one_after_the_other_in_one_folder(client: Client) -> None:
    first, second = definition("echo 1 >> n")["jobanalyses"], definition("echo 2 >> n")["jobanalyses"]
    job = client.run(jobanalyses=[*first, *second])
    assert client.outputs(job.id)["n"] == b"1\n2\n"
    log = client.outputs(job.id)["process_output.log"]
    assert (log.count(b"Launching "), log.count(b"Exited with code 0")) == (2, 2)


def test_an_input_that_cannot_be_unpacked_fails_the_job(client: Client) -> None:
    job = client.run(analysis={"inputFiles": [client.upload("mesh.zip", b"no zip")]})
    assert job.status == life.FAILED
    assert "mesh.zip" in reason(job)
    assert b"mesh.zip" in client.outputs(job.id)["process_output.log"]


def test_a_command_that_cannot_even_be_started_fails_its_job_and_no_other(client: Client) -> None:
    job = client.run(analysis={"envVars": {"TOO_LONG": "x" * 3_000_000}})
    assert job.status == life.FAILED
    assert "Argument list too long" in reason(job)
    assert b"Argument list too long" in client.outputs(job.id)["process_output.log"]
    assert job.runs[0].completed is not None
    assert client.run("true").status == life.COMPLETED


def test_live_files_show_and_grow_while_the_job_runs(client: Client) -> None:
    job_id = client.submit(WAIT_FOR_GO)
    folder = client.begun(job_id)
    run = f"jobs/{job_id}/runs/1"
    listed = client.get(f"{run}/directory-contents/")
    assert [each["path"] for each in listed] == ["begun", "process_output.log"]
    resource = listed[1]["resource"]
    assert resource == f"/api/v2/{run}/tail/process_output.log/"
    assert printed(client.ask("GET", f"{run}/tail/process_output.log").content) == b"begun\n"
    (folder / "log").write_text("".join(f"line {n}\r\n" for n in range(100)))
    tail = client.get(f"{run}/tail/log/?lines=2")
    assert tail == {"fileType": "text", "lines": ["line 98", "line 99"]}
    part = client.ask("GET", f"{run}/tail/log/", headers={"Range": "bytes=5-"})
    assert (part.status_code, part.content[:5]) == (206, b"0\r\nli")
    assert client.ask("GET", f"{run}/tail/../../x/").status_code == 404
    assert client.ask("GET", f"{run}/tail/log/?lines=x").status_code == 400
    assert client.get(f"jobs/{job_id}/files/")["count"] == 0  # nothing is an output yet
    assert client.get(f"{run}/")["dateCompleted"] is None
    assert client.ask("DELETE", f"jobs/{job_id}/").status_code == 400
    (folder / "go").touch()
    job = client.finished(job_id)
    assert client.ask("GET", f"{run}/directory-contents/").status_code == 404
    assert client.printed(job.id) == b"begun\nended\n"


def test_a_snapshot_of_a_running_job_becomes_an_output(client: Client) -> None:
    job_id = client.submit(WAIT_FOR_GO)
    folder = client.begun(job_id)
    answer = client.ask("POST", f"jobs/{job_id}/runs/1/snapshot/").json()
    assert answer["exitcode"] == 0
    (file,) = client.get(f"jobs/{job_id}/files/")["results"]
    assert (file["id"], file["typeId"]) == (answer["lastSnapshotID"], 12)
    (folder / "go").touch()
    client.finished(job_id)
    assert "snapshot-1.tar.gz" in client.outputs(job_id)


def test_a_stopped_job_ends_with_a_reason_and_keeps_what_it_wrote(client: Client) -> None:
    job_id = client.submit(WAIT_FOR_GO)
    client.begun(job_id)
    assert client.ask("POST", f"jobs/{job_id}/stop/").status_code == 202
    job = client.finished(job_id)
    assert ending(job) == [("Stopping", "User Terminated"), ("Completed", None)]
    assert client.printed(job_id) == b"begun\n"
    assert client.outputs(job_id)["process_output.log"].count(b"Exited with code 143") == 1


def test_a_force_stop_kills_what_a_stop_waits_for(client: Client) -> None:
    job_id = client.submit(f"trap '' TERM; {WAIT_FOR_GO}")
    client.begun(job_id)
    client.ask("POST", f"jobs/{job_id}/stop/")
    assert client.ask("POST", f"jobs/{job_id}/force_stop/").status_code == 202
    job = client.finished(job_id)
    assert [status.status for status in job.statuses][-3:] == ["Stopping", "Force Stop", "Completed"]
    assert b"Exited with code 137" in client.outputs(job_id)["process_output.log"]


def test_stopping_its_only_run_ends_the_job_too(client: Client) -> None:
    job_id = client.submit(WAIT_FOR_GO)
    client.begun(job_id)
    assert client.ask("POST", f"jobs/{job_id}/runs/1/stop/").json() == {}
    job = client.finished(job_id)
    assert job.status == life.COMPLETED
    assert job.runs[0].reason == "User Terminated"
    assert ending(job) == [("Stopping", "User Terminated"), ("Completed", None)]


def test_a_design_of_experiments_has_a_run_for_each_case(client: Client) -> None:
    template = client.upload("wing.tpl", b"angle=${angle}\n")
    cases = client.upload("cases.csv", b"angle\n1\n2\n3\n")
    job = client.run(
        "cp wing.cfg result; [ $(cat result) != angle=2 ]",
        caseFile=cases,
        analysis={"templateTasks": [{"processedFilename": "wing.cfg", "templateFile": template}]},
    )
    assert ending(job)[0] == ("Stopping", "A run failed")
    assert [run.reason for run in job.runs] == [None, "Exited with code 1", None]
    runs = client.get(f"jobs/{job.id}/runs/")["results"]
    assert [run["id"] for run in runs] == ["1", "2", "3"]
    assert [run["variables"][0]["displayValue"] for run in runs] == ["1", "2", "3"]
    files = client.get(f"jobs/{job.id}/files/?search=result")["results"]
    assert [file["relativePath"] for file in files] == ["result"] * 3
    assert client.get(f"jobs/{job.id}/")["expectedRuns"] == 3
    (file,) = client.get(f"jobs/{job.id}/runs/2/files/?search=result")["results"]
    assert client.ask("GET", f"files/{file['id']}/contents/").content == b"angle=2\n"


def test_a_job_can_be_deleted_once_its_cluster_is_down(tmp_path: Path) -> None:
    with Simulator(SimulatorSettings(port=0, data=tmp_path, shutdown_delay=0.2)) as simulator:
        client = Client(simulator)
        job_id = client.submit()
        client.until(lambda: simulator.world.job(job_id).status == life.COMPLETED)
        assert simulator.world.job(job_id).cluster_status == life.CLUSTER_STOPPING
        assert client.ask("DELETE", f"jobs/{job_id}/").status_code == 400
        client.finished(job_id)
        assert client.ask("DELETE", f"jobs/{job_id}/").status_code == 204
        client.session.close()


def test_a_command_may_use_the_api_while_it_runs_with_a_key_of_its_own(client: Client) -> None:
    job_id = client.submit(f"env > env; {WAIT_FOR_GO}")
    folder = client.begun(job_id)
    env = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines() if "=" in line)
    key, url = env["RESCALE_API_KEY"], f"{env['RESCALE_API_BASE_URL']}/api/v2/jobs/{env['RESCALE_JOB_ID']}/"
    assert key != client.simulator.api_key
    authorization = {"Authorization": f"Token {key}"}
    assert requests.get(url, headers=authorization, timeout=20).status_code == 200
    assert client.get(f"jobs/{job_id}/instances/")["results"][0]["role"] == "MASTER"
    (folder / "go").touch()
    client.finished(job_id)
    assert requests.get(url, headers=authorization, timeout=20).status_code == 401
    assert client.get(f"jobs/{job_id}/instances/")["count"] == 0
    assert "RESCALE_RUN_ID" not in env


def test_cores_may_be_those_of_several_nodes(client: Client) -> None:
    names = ("CORES_PER_SLOT", "CORES_PER_NODE", "NODES_PER_SLOT", "GPUS_PER_SLOT", "SLOTS_PER_NODE")
    said = " ".join(f"$RESCALE_{name}" for name in names)
    job = client.run(f"echo {said}", analysis={"hardware": {"coreType": "beryl", "coresPerSlot": 64}})
    assert client.printed(job.id) == b"64 32 2 8 1\n"
    refused = definition(analysis={"hardware": {"coreType": "beryl", "coresPerSlot": 33}})
    assert client.ask("POST", "jobs/", json=refused).status_code == 400


def test_a_job_whose_hardware_cannot_be_had_never_runs(tmp_path: Path) -> None:
    with Simulator(SimulatorSettings(port=0, data=tmp_path, unavailable=("onyx",))) as simulator:
        client = Client(simulator)
        job = client.run(analysis={"hardware": {"coreType": "onyx", "coresPerSlot": 1}})
        assert ending(job)[1] == (
            "Completed",
            "Could not allocate compute resources from the compute provider",
        )
        assert client.outputs(job.id) == {}
        assert client.ask("GET", f"jobs/{job.id}/cluster_statuses/").status_code == 404
        client.session.close()


def test_outputs_are_listed_late_when_told_to(tmp_path: Path) -> None:
    with Simulator(SimulatorSettings(port=0, data=tmp_path, outputs_delay=0.5)) as simulator:
        client = Client(simulator)
        job_id = client.run().id
        assert client.get(f"jobs/{job_id}/files/")["count"] == 0
        client.until(lambda: client.get(f"jobs/{job_id}/files/")["count"] == 1)
        client.session.close()


def test_a_design_that_makes_no_sense_is_refused_at_submit(client: Client) -> None:
    created = client.ask("POST", "jobs/", json=definition(caseFile=client.upload("cases.csv", b"x")))
    refused = client.ask("POST", f"jobs/{created.json()['id']}/submit/")
    assert refused.status_code == 400
    assert "caseFile" in refused.json()


def test_a_time_limit_ends_the_command_and_the_reason_tells(tmp_path: Path) -> None:
    settings = SimulatorSettings(port=0, data=tmp_path, command_time_limit=0.1, grace=0.1)
    with Simulator(settings) as simulator:
        client = Client(simulator)
        job = client.run("trap '' TERM; while true; do sleep 0.05; done")
        assert job.status == life.COMPLETED
        assert "time limit of 0.1 s" in (ending(job)[0][1] or "")
        assert client.run(analysis={"hardware": walltime(1e300)}).status == life.COMPLETED
        client.session.close()


def walltime(hours: float) -> dict[str, Any]:
    return {"coreType": "emerald", "coresPerSlot": 1, "walltime": hours}


def test_more_jobs_than_may_run_at_once_wait_and_a_waiting_one_can_be_stopped(tmp_path: Path) -> None:
    with Simulator(SimulatorSettings(port=0, data=tmp_path, jobs_at_once=1)) as simulator:
        client = Client(simulator)
        first = client.submit(WAIT_FOR_GO)
        folder = client.begun(first)
        second, third = client.submit("touch never"), client.submit("echo third")
        client.until(lambda: simulator.world.job(third).status == life.QUEUED)
        client.ask("POST", f"jobs/{second}/stop/")
        stopped = client.finished(second)
        assert ending(stopped) == [("Stopping", "User Terminated"), ("Completed", None)]
        assert client.ask("GET", f"jobs/{second}/cluster_statuses/").status_code == 404  # it never had one
        assert client.outputs(second) == {}
        assert client.ask("DELETE", f"jobs/{second}/").status_code == 204
        (folder / "go").touch()
        assert client.printed(client.finished(third).id) == b"third\n"
        client.session.close()


def test_a_pending_job_stays_so_for_the_delay_and_can_be_stopped(tmp_path: Path) -> None:
    with Simulator(SimulatorSettings(port=0, data=tmp_path, queue_delay=3600)) as simulator:
        client = Client(simulator)
        job_id = client.submit()
        assert simulator.world.job(job_id).status == life.PENDING
        client.ask("POST", f"jobs/{job_id}/stop/")
        assert client.finished(job_id).status == life.COMPLETED
        client.session.close()


def test_a_starting_cluster_takes_its_time_and_can_be_stopped(tmp_path: Path) -> None:
    with Simulator(SimulatorSettings(port=0, data=tmp_path, startup_delay=3600)) as simulator:
        client = Client(simulator)
        job_id = client.submit()
        client.until(lambda: simulator.world.job(job_id).cluster_status == life.CLUSTER_STARTING)
        assert simulator.world.job(job_id).status == life.QUEUED
        client.ask("POST", f"jobs/{job_id}/stop/")
        assert ending(client.finished(job_id))[0] == ("Stopping", "User Terminated")
        client.session.close()


def test_a_simulator_that_is_closed_goes_on_where_it_was(tmp_path: Path) -> None:
    settings = SimulatorSettings(port=0, data=tmp_path, jobs_at_once=1)
    with Simulator(settings) as simulator:
        client = Client(simulator)
        running, waiting = client.submit(WAIT_FOR_GO), client.submit("echo at last")
        client.begun(running)
        client.session.close()
    with Simulator(settings) as simulator:
        client = Client(simulator)
        lost = client.finished(running)
        assert lost.status == life.FAILED
        assert reason(lost) == "The simulator ended while the job ran"
        assert client.printed(running) == b"begun\n"
        assert client.printed(client.finished(waiting).id) == b"at last\n"
        client.session.close()
