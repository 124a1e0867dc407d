"""`rescalepy`, a public client that nobody here wrote, works on the simulator as it comes from PyPI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests
import rescalepy
from requests.adapters import HTTPAdapter

from rescalefs.simulator import Simulator
from tests.consoles import printed

REAL = "https://platform.rescale.com"

# It never closes the files it uploads, and asks the key ring for nothing.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def client(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> rescalepy.Client:
    """The client as it is; what it sends to the real service's address arrives at the simulator."""
    send = HTTPAdapter.send

    def redirected(self: HTTPAdapter, request: requests.PreparedRequest, **more: Any) -> requests.Response:
        assert request.url is not None
        assert request.url.startswith((REAL, simulator.url)), "it must not reach out of this machine"
        request.url = request.url.replace(REAL, simulator.url)
        return send(self, request, **more)

    monkeypatch.setattr(HTTPAdapter, "send", redirected)
    return rescalepy.Client(api_token=simulator.api_key)


def test_a_wrong_key_is_noticed(client: rescalepy.Client) -> None:
    with pytest.raises(ValueError, match="API token"):
        rescalepy.Client(api_token="0" * 40)


def test_it_reads_the_catalogue_over_all_pages(client: rescalepy.Client) -> None:
    assert client.get_latest_software_version("miniconda") == "4.8.4"
    assert len(client.list_analyses()) > 20
    assert client.get_cheapest_core() == "topaz"


def test_it_creates_submits_waits_for_and_downloads_a_job(
    client: rescalepy.Client, simulator: Simulator, tmp_path: Path
) -> None:
    script = tmp_path / "square.py"
    script.write_text(
        "import pathlib\npathlib.Path('out').mkdir()\nopen('out/n.txt', 'w').write(str(12**2))\n"
    )
    folder = tmp_path / "mesh"
    folder.mkdir()
    (folder / "points.txt").write_text("0 0 0\n")

    job_id = client.create_job(
        name="square",
        software_code="user_included",
        input_files=[script, folder],
        command="python square.py && cat mesh/points.txt",
        project_id="wGtPc",
    )
    assert client.submit_job(job_id)
    client.wait_for_job(job_id, interval=0.02)

    assert client.get_job_details(job_id)["projectId"] == "wGtPc"
    assert simulator.world.job(job_id).statuses[-1].reason == "Completed successfully"
    assert [run["id"] for run in client.list_job_results(job_id)] == ["1"]
    results = tmp_path / "results"
    client.download_all_results(job_id, results)
    assert (results / "out" / "n.txt").read_text() == "144"
    assert printed((results / "process_output.log").read_bytes()) == b"0 0 0\n"
    assert (results / "mesh" / "points.txt").read_text() == "0 0 0\n"


def test_the_type_that_it_sends_in_an_odd_place_is_read(
    client: rescalepy.Client, simulator: Simulator, tmp_path: Path
) -> None:
    template = tmp_path / "wing.tpl"
    template.write_text("angle = {angle}\n")
    uploaded = client.upload(template, type_id=2)
    assert simulator.world.file(uploaded.id).type_id == 2
