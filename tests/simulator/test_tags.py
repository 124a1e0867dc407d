"""Tags, and what else public clients ask for beside the documented API."""

from __future__ import annotations

import pytest

from tests.simulator.conftest import Api, definition


@pytest.mark.parametrize("root", ["/api/v2/", "/api/v3/"])
def test_tags_are_put_on_jobs_and_files_and_taken_off(api: Api, root: str) -> None:
    job = api.world.add_finished_job("wing", {"log": b"x"})
    (file,) = api.world.outputs(job.id)
    for path in (f"{root}jobs/{job.id}/tags/", f"{root}files/{file.id}/tags/"):
        assert api.get(path) == []
        for name in ("Downloaded", "good", "good"):
            added = api.ask("POST", path, {"name": name})
            assert (added.status, added.json) == (201, {"name": name, "normalizedName": name.lower()})
        assert api.ask("DELETE", path, {"name": "Downloaded"}).status == 204
        assert [each["name"] for each in api.get(path)] == ["good"]
        assert api.ask("POST", path, {}).status == 400
    assert api.get("jobs/")["results"][0]["tags"] == ["good"]
    assert api.get(f"files/{file.id}/")["userTags"] == ["good"]
    assert api.ask("GET", f"{root}jobs/nobody/tags/").status == 404


def test_tags_in_a_new_job_are_ignored_and_those_put_on_it_outlive_a_change(api: Api) -> None:
    job = api.ask("POST", "jobs/", definition(tags=["good", {"name": "better"}])).json["id"]
    assert api.get(f"jobs/{job}/tags/") == []
    api.ask("POST", f"jobs/{job}/tags/", {"name": "best"})
    api.ask("PATCH", f"jobs/{job}/", {"name": "other", "tags": ["good"]})
    assert api.get(f"jobs/{job}/tags/") == [{"name": "best", "normalizedName": "best"}]


def test_v3_answers_as_v2_does_under_its_own_addresses(api: Api) -> None:
    job = api.world.add_finished_job("wing", {f"{n}.dat": b"x" for n in range(12)})
    (file, *_) = api.world.outputs(job.id)
    for path in (
        f"jobs/{job.id}/files/",
        f"jobs/{job.id}/runs/1/",
        f"files/{file.id}/",
        "coretypes/",
        "files/",
    ):
        newer, older = api.get(f"/api/v3/{path}"), api.get(path)
        assert newer.keys() == older.keys()
        assert newer.get("next") in (None, (older.get("next") or "").replace("/v2/", "/v3/"))
    assert api.ask("DELETE", f"/api/v3/jobs/{job.id}/").status == 204


def test_a_job_may_be_stopped_by_force(api: Api) -> None:
    job = api.ask("POST", "jobs/", definition()).json["id"]
    assert api.ask("POST", f"jobs/{job}/force_stop/").status == 202
