"""The steps of a user's notebook for the real service, in order, against a simulator in a process of its own.

Written with plain `requests`, as a user would: it shares no code with our client. The real notebook's
habits are kept where they matter to a server: paths without their last slash, statuses it sorts for
itself, ranges that end past the end of the file, `deleteInputFiles=True` with a capital T.
"""

from __future__ import annotations

import configparser
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import requests

SERVE = """
import sys
from pathlib import Path
from rescalefs.simulator import SimulatorSettings, serve
serve(
    SimulatorSettings(port=0, data=Path(sys.argv[1])),
    lambda simulator: print(simulator.url, simulator.api_key, flush=True),
)
"""

CALCULATE_PI = """
import struct, sys
start, stop = (int(word) for word in open(sys.argv[1]).read().split())
total = 0.0
for k in range(start, stop):
    total += (-1) ** k / (2 * k + 1)
print(f"summed {stop - start} terms")
open("pi_estimate.res", "w").write(f"{4 * total}\\n")
open("pi_estimate.bin", "wb").write(struct.pack("<d", 4 * total))
"""

BIG = 64 << 20  # bytes of random data; base64 makes a third more of it
PATIENCE = 60.0


@pytest.fixture
def profile(tmp_path: Path) -> Iterator[Path]:
    """A profile file as Rescale's own tools write it, for a simulator that is running."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
    )
    with process:
        try:
            assert process.stdout is not None
            url, api_key = process.stdout.readline().split()
            path = tmp_path / "apiconfig"
            path.write_text(f"[default]\napibaseurl = {url}\napikey = {api_key}\n")
            yield path
        finally:
            process.terminate()
            assert process.wait(30) == 0


class Notebook:
    """What the notebook's first cells define."""

    def __init__(self, profile: Path) -> None:
        config = configparser.ConfigParser()
        config.read(profile)
        self.base = config["default"]["apibaseurl"] + "/api/v2"
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Token {config['default']['apikey']}"

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        return self.session.request(method, f"{self.base}/{path}", timeout=30, **more)

    def get(self, path: str, **params: Any) -> Any:
        response = self.call("GET", path, params=params)
        assert response.status_code == 200, response.text
        return response.json()

    def everything(self, path: str, **params: Any) -> list[dict[str, Any]]:
        page = self.get(path, **params)
        found: list[dict[str, Any]] = page["results"]
        while page["next"]:
            page = self.session.get(page["next"], timeout=30).json()
            found += page["results"]
        assert len(found) == page["count"]
        return found

    def create(self, command: str, cores: int, inputs: tuple[str, ...] = ()) -> requests.Response:
        definition = {
            "name": "pi",
            "jobanalyses": [
                {
                    "analysis": {"code": "miniconda", "version": "4.8.4"},
                    "command": command,
                    "hardware": {"coreType": "granite", "coresPerSlot": cores},
                    "inputFiles": [{"id": each} for each in inputs],
                }
            ],
            "project_id": None,  # misspelt, and ignored
        }
        return self.call("POST", "jobs/", json=definition)

    def finish(self, job_id: str) -> list[str]:
        """Poll until the job has completed; return its statuses, oldest first."""
        for _ in range(int(PATIENCE / 0.05)):
            statuses = self.get(f"jobs/{job_id}/statuses/")["results"]
            statuses.sort(key=lambda each: str(each["statusDate"]))
            if statuses[-1]["status"] == "Completed":
                return [each["status"] for each in statuses]
            Event().wait(0.05)  # a poll of another process: there is nothing else to wait for
        raise AssertionError(f"job {job_id} did not complete: {statuses}")

    def upload(self, name: str, content: bytes) -> str:
        response = self.call("POST", "files/contents/", files={"file": (name, content)})
        assert response.status_code == 201
        return str(response.json()["id"])

    def download(self, file_id: str) -> bytes:
        response = self.call("GET", f"files/{file_id}/contents")
        assert response.status_code == 200
        return response.content

    def download_in_parts(self, file: dict[str, Any], threads: int) -> bytes:
        """One range for each thread; the last one asks for a byte more than there is."""
        size = file["decryptedSize"]
        part = size // threads + 1
        bounds = [
            (start, start + part if start + part < size else size + 1) for start in range(0, size, part)
        ]

        def fetch(bound: tuple[int, int]) -> bytes:
            response = self.call(
                "GET",
                f"files/{file['id']}/contents",
                headers={"Range": f"bytes={bound[0]}-{bound[1] - 1}"},
            )
            assert response.status_code == 206
            return response.content

        with ThreadPoolExecutor(threads) as pool:
            return b"".join(pool.map(fetch, bounds))


def test_every_step_of_the_notebook_works_in_order(profile: Path) -> None:
    notebook = Notebook(profile)  # 1
    user_checks(notebook)  # 2, 3
    catalogue(notebook)  # 4 to 8
    first_job = projects_and_a_refused_job(notebook)  # 9 to 13
    a_job_without_inputs(notebook, first_job)  # 14 to 17
    second_inputs = a_finished_job_stays_finished(notebook, first_job)  # 18 to 20
    a_job_with_inputs(notebook, second_inputs)  # 21 to 25
    a_large_file(notebook)  # 26, 27
    notebook.session.close()


def user_checks(notebook: Notebook) -> None:
    anonymous = requests.get(f"{notebook.base}/users/me/", timeout=30)
    assert anonymous.status_code == 401
    assert notebook.call("GET", "users/me/").status_code == 200


def catalogue(notebook: Notebook) -> None:
    first_page = notebook.get("coretypes/")
    assert first_page["count"] > len(first_page["results"])
    core_types = notebook.everything("coretypes/")
    general = {each["code"] for each in core_types if "general" in each["categoryCodes"]}
    assert {"granite", "emerald", "onyx", "standard-plus"} <= general
    prices = [
        price
        for price in notebook.get("billing/computeprices/")
        if price["planType"].endswith("on-demand")
        and price["os"] == "linux"
        and price["isActive"]
        and price["coreType"] in general
    ]
    cheapest = min(prices, key=lambda price: Decimal(price["value"]["amount"]))
    assert cheapest["coreType"] == "granite"
    analyses = notebook.everything("analyses/")
    versions = {each["code"]: [v["versionCode"] for v in each["versions"]] for each in analyses}
    assert "4.8.4" in versions["miniconda"]
    assert versions["user_included"] == ["0"]


def projects_and_a_refused_job(notebook: Notebook) -> str:
    assert len(notebook.everything("users/me/projects/")) == 2
    refused = notebook.create("python calculate_pi.py range.inp", cores=1)
    assert refused.status_code == 400
    assert "coresPerSlot" in refused.json()["jobanalyses"][0]["hardware"]
    created = notebook.create("python calculate_pi.py range.inp", cores=2)
    assert created.status_code == 201
    job_id = str(created.json()["id"])
    detail = notebook.get(f"jobs/{job_id}")
    assert detail["jobanalyses"][0]["hardware"]["coreType"] == "granite"
    return job_id


def a_job_without_inputs(notebook: Notebook, job_id: str) -> None:
    assert notebook.call("POST", f"jobs/{job_id}/submit/").status_code == 200
    walked = notebook.finish(job_id)
    assert walked == ["Pending", "Queued", "Started", "Validated", "Executing", "Stopping", "Completed"]
    year = str(datetime.now(timezone.utc).year)
    completed = notebook.everything("jobs/", state="completed")
    assert [job["id"] for job in completed if job["dateInserted"].startswith(year)] == [job_id]
    (log,) = notebook.everything(f"jobs/{job_id}/files/", search="output")
    assert log["name"] == "process_output.log"
    lines = notebook.get(f"files/{log['id']}/lines")["lines"]
    assert "No such file" in "".join(lines)  # there were no inputs, and still it completed


def a_finished_job_stays_finished(notebook: Notebook, job_id: str) -> tuple[str, str]:
    inputs = (
        notebook.upload("calculate_pi.py", CALCULATE_PI.encode()),
        notebook.upload("range.inp", b"0 20000\n"),
    )
    changes = {"jobanalyses": [{"inputFiles": [{"id": each} for each in inputs]}]}
    assert notebook.call("PATCH", f"jobs/{job_id}", json=changes).status_code == 200
    assert notebook.call("POST", f"jobs/{job_id}/submit/").status_code == 200
    assert notebook.get(f"jobs/{job_id}")["jobanalyses"][0]["inputFiles"] == []
    assert notebook.get(f"jobs/{job_id}/statuses/")["count"] == 7
    assert notebook.call("DELETE", f"jobs/{job_id}/").status_code == 204
    assert notebook.call("GET", f"jobs/{job_id}/").status_code == 404
    return inputs


def a_job_with_inputs(notebook: Notebook, inputs: tuple[str, str]) -> None:
    job_id = notebook.create("python calculate_pi.py range.inp", 2, inputs).json()["id"]
    assert notebook.call("POST", f"jobs/{job_id}/submit/").status_code == 200
    notebook.finish(job_id)
    cluster = [each["status"] for each in notebook.everything(f"jobs/{job_id}/cluster_statuses/")]
    assert cluster[-3:] == ["Started", "Starting", "Not Started"]  # newest first
    files = {each["relativePath"]: each for each in notebook.everything(f"jobs/{job_id}/files/")}
    expected = {"process_output.log", "pi_estimate.res", "pi_estimate.bin", "calculate_pi.py", "range.inp"}
    assert set(files) == expected
    for file in files.values():
        content = notebook.download(file["id"])
        checksums = {each["hashFunction"]: each["fileHash"] for each in file["fileChecksums"]}
        assert hashlib.sha512(content).hexdigest() == checksums["sha512"]
        assert len(content) == file["decryptedSize"]
    assert abs(float(notebook.download(files["pi_estimate.res"]["id"])) - 3.14159) < 1e-3
    deleted = notebook.call("DELETE", f"jobs/{job_id}/", params={"deleteInputFiles": True})
    assert deleted.status_code == 204
    assert notebook.call("GET", f"files/{inputs[0]}/").status_code == 404


def a_large_file(notebook: Notebook) -> None:
    job_id = notebook.create(f"openssl rand -base64 -out random.txt {BIG}", 2).json()["id"]
    assert notebook.call("POST", f"jobs/{job_id}/submit/").status_code == 200
    notebook.finish(job_id)
    (file,) = notebook.everything(f"jobs/{job_id}/files/", search="random")
    assert file["decryptedSize"] > BIG
    told = file["fileChecksums"][0]["fileHash"]
    parted, whole = notebook.download_in_parts(file, threads=10), notebook.download_in_parts(file, threads=1)
    for content in (parted, whole, notebook.download(file["id"])):
        assert hashlib.sha512(content).hexdigest() == told
