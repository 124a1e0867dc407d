"""Small clients in the manner of public ones, which people run against the real service every day."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from rescalefs.simulator import Simulator, SimulatorSettings

ANALYSIS = {
    "analysis": {"code": "user_included", "version": "0"},
    "hardware": {"coreType": "granite", "coresPerSlot": 2},
}


class Script:
    """What the scripts have in common: a session with the key, and words for the API's root."""

    def __init__(self, simulator: Simulator) -> None:
        self._api = f"{simulator.url}/api/v2/"
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Token {simulator.api_key}"

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, self._api + path, timeout=20, **more)

    def ids(self, query: str) -> set[str]:
        return {job["id"] for job in self.ask("GET", f"jobs/?{query}").json()["results"]}

    def run(self, command: str) -> str:
        job = {"name": "script", "jobanalyses": [{**ANALYSIS, "command": command}]}
        job_id: str = self.ask("POST", "jobs/", json=job).json()["id"]
        assert self.ask("POST", f"jobs/{job_id}/submit/").status_code == 200
        return job_id

    def until(self, condition: Callable[[], Any]) -> None:
        for _ in range(2000):
            if condition():
                return
            threading.Event().wait(0.01)
        raise AssertionError("it did not happen")


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Script]:
    settings = SimulatorSettings(port=0, data=tmp_path_factory.mktemp("server"), shutdown_delay=0.3)
    with Simulator(settings) as simulator:
        script = Script(simulator)
        yield script
        script.session.close()


def test_a_script_polls_by_the_words_of_a_query(script: Script, tmp_path: Path) -> None:
    job = script.run(f"while [ ! -e {tmp_path}/go ]; do sleep 0.01; done")
    script.until(lambda: job in script.ids("job_status=EXECUTING"))
    assert job in script.ids("state=not_completed")
    assert job not in script.ids("state=completed")
    (tmp_path / "go").touch()
    script.until(lambda: job in script.ids("state=completed"))
    assert job not in script.ids("job_status=EXECUTING")


def test_a_plugin_takes_for_a_success_what_completed_successfully_and_no_other(script: Script) -> None:
    def ended(job: str) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = script.ask("GET", f"jobs/{job}/statuses/").json()["results"]
        return entries if entries[0]["status"] == "Completed" else []

    good, bad = script.run("true"), script.run("exit 3")
    script.until(lambda: ended(good) and ended(bad))
    assert ended(good)[0]["statusReason"] == "Completed successfully"
    assert ended(bad)[0]["statusReason"] != "Completed successfully"
    assert ("Stopping", "A run failed") in [(each["status"], each["statusReason"]) for each in ended(bad)]


def test_a_script_deletes_a_job_once_its_cluster_has_stopped(script: Script) -> None:
    job = script.run("true")
    script.until(lambda: job in script.ids("state=completed"))
    assert script.ask("DELETE", f"jobs/{job}/").status_code == 400

    def has_stopped() -> bool:
        newest = script.ask("GET", f"jobs/{job}/cluster_statuses/").json()["results"][0]
        return bool(newest["status"] == "Stopped")

    script.until(has_stopped)
    assert script.ask("DELETE", f"jobs/{job}/?deleteInputFiles=true").status_code == 204
    assert script.ask("GET", f"jobs/{job}/").status_code == 404


def test_a_script_uploads_a_file_and_tags_its_job(script: Script) -> None:
    uploaded = script.ask("POST", "files/contents/", files={"file": ("mesh.msh", b"1 2 3\n")}).json()
    analysis = {**ANALYSIS, "command": "cat mesh.msh", "inputFiles": [{"id": uploaded["id"]}]}
    sent = {"name": "tagged", "jobanalyses": [analysis], "tags": ["ignored"]}
    job = script.ask("POST", "jobs/", json=sent).json()["id"]
    for tag in ("wing", "downloaded"):
        assert script.ask("POST", f"jobs/{job}/tags/", json={"name": tag}).status_code in (200, 201)
    script.ask("DELETE", f"jobs/{job}/tags/", json={"name": "wing"})
    assert [each["name"] for each in script.ask("GET", f"jobs/{job}/tags/").json()] == ["downloaded"]


def test_a_script_that_streams_an_upload_without_a_length_is_refused(script: Script) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    refused = script.ask("POST", "files/contents/", data=iter([b"--b\r\n"]), headers=headers)
    assert refused.status_code == 411
