"""What each endpoint answers, without a socket."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rescalefs.simulator.contents import CHUNK
from rescalefs.simulator.seed import SeedFile
from rescalefs.simulator.settings import SimulatorSettings
from tests.simulator.conftest import Api, definition

PATHS = (
    "",
    "users/me/",
    "users/me/projects/",
    "coretypes/",
    "analyses/",
    "billing/computeprices/",
    "jobs/",
    "files/",
    "/api/v3/ping/",
    "/api/v3/users/me/",
    "/api/v3/jobs/",
)


@pytest.mark.parametrize("path", PATHS)
def test_every_list_needs_the_key(api: Api, path: str) -> None:
    assert api.ask("GET", path).status == 200
    missing = api.ask("GET", path, key=None)
    assert missing.status == 401
    assert missing.json == {"detail": "Authentication credentials were not provided."}
    wrong = api.ask("GET", path, key="f" * 40)
    assert wrong.status == 401
    assert wrong.json == {"detail": "Invalid token."}


def test_a_bearer_is_let_in_as_well(api: Api) -> None:
    from tests.simulator.conftest import KEY

    assert api.ask("GET", "users/me", key=None, headers={"Authorization": f"Bearer {KEY}"}).status == 200


def test_the_control_endpoints_need_the_key_too(api: Api) -> None:
    assert api.ask("POST", "/simulator/jobs/", {}, key=None).status == 401


def test_the_last_slash_may_be_left_out(api: Api) -> None:
    created = api.ask("POST", "jobs", definition())
    assert created.status == 201
    assert api.get(f"jobs/{created.json['id']}")["name"] == "wing"


def test_a_path_that_is_no_endpoint_is_answered_in_html(api: Api) -> None:
    answer = api.ask("GET", "nonsense/", key=None)
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html")


def test_a_method_that_an_endpoint_lacks_is_405(api: Api) -> None:
    answer = api.ask("DELETE", "jobs/")
    assert answer.status == 405
    assert answer.json == {"detail": 'Method "DELETE" not allowed.'}
    assert answer.headers["allow"] == "GET, POST"


def test_a_body_that_is_no_json_is_400(api: Api) -> None:
    assert "JSON parse error" in api.ask("POST", "jobs/", body=b"{").json["detail"]
    assert api.ask("POST", "jobs/", []).status == 400


@pytest.mark.parametrize(
    "path", ["jobs/nobody/", "jobs/nobody/statuses/", "jobs/nobody/runs/1/", "files/nobody/", "tasks/x/"]
)
def test_what_is_not_there_is_404(api: Api, path: str) -> None:
    answer = api.ask("GET", path)
    assert answer.status == 404
    assert answer.json == {"detail": "Not found."}


def test_the_catalogue_takes_three_pages_and_prices_are_a_bare_list(api: Api) -> None:
    first = api.get("coretypes/")
    assert first["count"] > 20
    assert len(first["results"]) == 10
    assert first["next"] == "http://simulator/api/v2/coretypes/?page=2"
    assert api.ask("GET", "coretypes/?page=4").status == 404
    active = api.get("coretypes/?isActive=true&page_size=100")["results"]
    assert len(active) < first["count"]
    assert not any(each["isDeprecated"] for each in active)
    assert isinstance(api.get("billing/computeprices/"), list)


def test_a_created_job_shows_what_was_sent_and_the_defaults(api: Api) -> None:
    sent = definition("make", analysis={"envVars": {"RESCALEFS_DROP": "1"}}, projectId="wGtPc")
    job = api.ask("POST", "jobs/", sent).json
    assert job["jobanalyses"][0]["envVars"] == {"RESCALEFS_DROP": "1"}
    assert job["jobanalyses"][0]["hardware"]["coreSummary"]["numberOfNodes"] == 1
    assert job["projectId"] == "wGtPc"
    assert job["expectedRuns"] == 1
    (summary,) = api.get("jobs/")["results"]
    assert summary["jobStatus"]["content"] == ""
    assert summary["id"] == job["id"]


def test_jobs_come_newest_first_and_by_state(api: Api) -> None:
    done = [api.world.add_finished_job(f"job-{n}").id for n in range(3)]
    saved = api.ask("POST", "jobs/", definition()).json["id"]
    assert [job["id"] for job in api.get("jobs/")["results"]] == [saved, *reversed(done)]
    assert [job["id"] for job in api.get("jobs/?state=completed")["results"]] == done[::-1]
    assert api.get("jobs/?state=failed")["count"] == 0


def test_submitting_makes_a_job_pending_once(api: Api) -> None:
    job = api.ask("POST", "jobs/", definition()).json["id"]
    for _ in range(2):
        answer = api.ask("POST", f"jobs/{job}/submit/")
        assert (answer.status, answer.body) == (200, b"")
    statuses = api.get(f"jobs/{job}/statuses/")["results"]
    assert [each["status"] for each in statuses] == ["Pending"]
    assert statuses[0]["statusDate"].endswith("+00:00")
    assert api.ask("GET", f"jobs/{job}/cluster_statuses/").status == 404  # it has no cluster yet


def test_a_submitted_job_is_neither_submitted_nor_changed_again_where_that_is_refused(tmp_path: Path) -> None:
    api = Api(tmp_path, settings=SimulatorSettings(refuse_resubmit=True))
    job = api.ask("POST", "jobs/", definition()).json["id"]
    assert api.ask("PATCH", f"jobs/{job}/", {"name": "other"}).status == 200
    answers = [api.ask("POST", f"jobs/{job}/submit/").status for _ in range(2)]
    assert answers == [200, 400]
    assert api.ask("PATCH", f"jobs/{job}/", {"name": "third"}).status == 400


def test_the_list_of_jobs_can_be_asked_for_some_of_them(api: Api) -> None:
    done, stopped = api.world.add_finished_job("done").id, api.world.add_finished_job("b", stopping="x").id
    saved, pending = (api.ask("POST", "jobs/", definition()).json["id"] for _ in range(2))
    api.ask("POST", f"jobs/{pending}/submit/")

    def ids(query: str) -> set[str]:
        return {each["id"] for each in api.get(f"jobs/?{query}")["results"]}

    assert ids("state=completed") == {done, stopped}
    assert ids("state=not_completed") == {saved, pending}
    assert ids("job_status=PENDING") == {pending}
    assert ids("job_status=WAITING_FOR_CLUSTER") == set()


def test_version_3_alone_lists_reasons(api: Api) -> None:
    api.world.add_finished_job("done")
    assert "statusReason" not in api.get("jobs/")["results"][0]["jobStatus"]
    status = api.get("/api/v3/jobs/")["results"][0]["jobStatus"]
    assert status["statusReason"] == "Completed successfully"


def test_an_administrator_hides_prices(tmp_path: Path) -> None:
    refusing = Api(tmp_path / "1", settings=SimulatorSettings(hide_prices="refused"))
    assert refusing.ask("GET", "billing/computeprices/").status == 403
    silent = Api(tmp_path / "2", settings=SimulatorSettings(hide_prices="empty"))
    assert silent.get("billing/computeprices/") == []
    assert "price" not in silent.get("coretypes/")["results"][0]


def test_an_administrator_wants_projects_and_limits_the_walltime(tmp_path: Path) -> None:
    api = Api(tmp_path, settings=SimulatorSettings(require_project=True, max_job_hours=2))
    assert api.get("users/me/")["maxJobHours"] == 2
    project = {"projectId": "wGtPc"}
    hardware = {"coreType": "emerald", "coresPerSlot": 1, "walltime": 3}
    too_long = api.ask("POST", "jobs/", definition(analysis={"hardware": hardware}) | project)
    assert (too_long.status, list(too_long.json)) == (400, ["jobanalyses"])
    assert list(api.ask("POST", "jobs/", definition()).json) == ["projectId"]
    assert api.ask("POST", "jobs/", definition() | project).status == 201


def test_an_upload_in_chunks_is_refused(api: Api) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=b", "Transfer-Encoding": "chunked"}
    assert api.ask("POST", "files/contents/", headers=headers, body=b"--b").status == 411


def test_a_finished_job_is_submitted_and_changed_in_vain(api: Api) -> None:
    job = api.world.add_finished_job("done").id
    assert api.ask("POST", f"jobs/{job}/submit/").status == 200
    assert api.ask("PATCH", f"jobs/{job}/", {"name": "other"}).json["name"] == "done"
    assert api.ask("PATCH", f"jobs/{job}/", {"projectId": "hXqBd"}).json["projectId"] == "hXqBd"
    assert api.ask("POST", f"jobs/{job}/stop/").status == 202
    assert api.world.job(job).status == "Completed"


def test_a_saved_job_can_be_changed_and_is_checked_again(api: Api) -> None:
    job = api.ask("POST", "jobs/", definition()).json["id"]
    assert api.ask("PATCH", f"jobs/{job}/", {"name": "other"}).json["name"] == "other"
    assert api.ask("PUT", f"jobs/{job}/", {"name": "other"}).status == 400
    replaced = api.ask("PUT", f"jobs/{job}/", definition("make")).json
    assert replaced["jobanalyses"][0]["command"] == "make"


def test_an_active_job_cannot_be_deleted_and_a_finished_one_goes_with_its_files(api: Api) -> None:
    active = api.ask("POST", "jobs/", definition()).json["id"]
    api.ask("POST", f"jobs/{active}/submit/")
    assert api.ask("DELETE", f"jobs/{active}/").status == 400
    done = api.world.add_finished_job("done", {"a": b"1"}).id
    (file,) = api.world.outputs(done)
    assert api.ask("DELETE", f"jobs/{done}/").status == 204
    assert api.ask("GET", f"files/{file.id}/").status == 404
    assert not api.world.contents.path(file.id).exists()


def test_sharing_and_projects(api: Api) -> None:
    job = api.world.add_finished_job("done").id
    assert api.ask("POST", f"jobs/{job}/share/", {"email": "x"}).status == 400
    shared = api.ask("POST", f"jobs/{job}/share/", {"email": "a@b.c", "message": ""})
    assert shared.json["recipient"] == "a@b.c"
    path = f"organizations/simulator/jobs/{job}/project-assignment/"
    assert api.ask("POST", path, {"projectId": "wGtPc"}).status == 200
    assert api.ask("POST", path.replace("simulator", "other"), {}).status == 404
    assert api.get(f"jobs/{job}/")["sharedWith"] == ["a@b.c"]


def test_output_files_show_all_that_clients_read(api: Api) -> None:
    job = api.world.add_finished_job("done", {"a/b.txt": b"x" * 5, "c.log": b""})
    files = api.get(f"jobs/{job.id}/files/")["results"]
    assert [each["relativePath"] for each in files] == ["a/b.txt", "c.log"]
    assert files[0]["name"] == "b.txt"
    assert files[0]["decryptedSize"] == 5
    assert len(files[0]["fileChecksums"][0]["fileHash"]) == 128
    assert files[0]["encodedEncryptionKey"]
    assert files[0]["path"].endswith(f"job_{job.id}/run1/a/b.txt")
    assert api.get(f"jobs/{job.id}/files/?search=LOG")["count"] == 1
    assert api.get(f"jobs/{job.id}/runs/1/files/")["count"] == 2
    assert api.get(f"jobs/{job.id}/runs/1/")["outputFileCount"] == 2
    assert api.get("files/?search=b.t&owner=1")["count"] == 1


def test_planted_files_may_be_hostile_and_dishonest(api: Api) -> None:
    hostile = ["..", "/abs", "a\nb", "a", "a/b", "a", "", "x" * 300]
    seeds = [SeedFile(path, b"1") for path in hostile]
    seeds += [
        SeedFile("wrong", b"1", claimed_sha512="0" * 128, claimed_size=9),
        SeedFile("none", b"1", has_checksum=False),
        SeedFile(None, b"1", name="nameless"),
        SeedFile("partial", b"1", is_uploaded=False),
        SeedFile("gone", b"1", is_deleted=True),
    ]
    job = api.world.add_finished_job("hostile", seeds)
    files = api.get(f"jobs/{job.id}/files/?page_size=100")["results"]
    assert [each.get("relativePath") for each in files[:8]] == hostile
    by_path = {each.get("relativePath"): each for each in files}
    assert by_path["wrong"]["fileChecksums"][0]["fileHash"] == "0" * 128
    assert by_path["wrong"]["decryptedSize"] == 9
    assert by_path["none"]["fileChecksums"] == []
    assert by_path[None]["name"] == "nameless"
    for path in ("partial", "gone"):
        assert api.ask("GET", f"files/{by_path[path]['id']}/contents/").status == 404


def test_contents_come_whole_or_in_ranges(api: Api) -> None:
    job = api.world.add_finished_job("done", {"big": 2 * CHUNK + 5})
    (file,) = api.world.outputs(job.id)
    stored = api.world.contents.path(file.id).read_bytes()
    whole = api.ask("GET", f"files/{file.id}/contents/")
    assert (whole.status, whole.body) == (200, stored)
    part = api.ask("GET", f"files/{file.id}/contents", headers={"Range": f"bytes=5-{CHUNK + 5}"})
    assert (part.status, part.body) == (206, stored[5 : CHUNK + 6])
    assert part.headers["content-range"] == f"bytes 5-{CHUNK + 5}/{len(stored)}"
    beyond = api.ask("GET", f"files/{file.id}/contents/", headers={"Range": f"bytes={len(stored)}-"})
    assert beyond.status == 416
    assert beyond.headers["content-range"] == f"bytes */{len(stored)}"
    head = api.ask("HEAD", f"files/{file.id}/contents/")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["content-length"] == str(len(stored))


def test_lines_keep_their_ends_and_split_nowhere_else(api: Api) -> None:
    job = api.world.add_finished_job("done", {"t": b"a\n\x0cb\r\nc", "e": b"", "n": b"x\n"})
    lines = [api.get(f"files/{each.id}/lines/")["lines"] for each in api.world.outputs(job.id)]
    assert lines == [["a\n", "\x0cb\r\n", "c"], [], ["x\n"]]


def test_a_file_can_be_renamed_and_deleted(api: Api) -> None:
    job = api.world.add_finished_job("done", {"t": b"a"})
    (file,) = api.world.outputs(job.id)
    changed = api.ask("PATCH", f"files/{file.id}/", {"name": "u", "typeId": 2}).json
    assert (changed["name"], changed["typeId"]) == ("u", 2)
    assert api.ask("PATCH", f"files/{file.id}/", {"typeId": [99]}).status == 400
    assert api.ask("PATCH", f"files/{file.id}/", {"name": ""}).status == 400
    assert api.ask("DELETE", f"files/{file.id}/").status == 204
    assert api.get(f"jobs/{job.id}/files/")["count"] == 0


def test_the_working_directory_shows_only_while_the_job_runs(api: Api) -> None:
    job = api.world.add_finished_job("done")
    for path in ("directory-contents/", "tail/process_output.log/"):
        assert api.ask("GET", f"jobs/{job.id}/runs/1/{path}").status == 404
    assert api.ask("POST", f"jobs/{job.id}/runs/1/snapshot/").status == 400
    assert api.ask("POST", f"jobs/{job.id}/runs/1/stop/").json == {}


def test_requests_are_counted_by_route_with_the_bytes_sent(api: Api) -> None:
    job = api.world.add_finished_job("done", {"a": b"12345"})
    (file,) = api.world.outputs(job.id)
    api.ask("GET", f"files/{file.id}/contents", headers={"Range": "bytes=1-3"})
    log = api.ask("GET", "/simulator/requests/").json
    route = "GET /api/v2/files/{file_id}/contents/"
    assert log["counts"] == {route: 1}
    assert log["bytes"] == {route: 3}
    assert log["requests"][0]["range"] == "bytes=1-3"
    assert api.ask("DELETE", "/simulator/requests/").status == 204
    assert api.traffic.counts() == {"DELETE /simulator/requests/": 1}


def test_jobs_can_be_planted_over_http(api: Api) -> None:
    files = [{"path": "a", "content": "text"}, {"path": "b", "content": 100, "has_checksum": False}]
    planted = api.ask("POST", "/simulator/jobs/", {"name": "n", "count": 3, "files": files})
    assert [job["name"] for job in planted.json] == ["n-1", "n-2", "n-3"]
    shown = api.get(f"jobs/{planted.json[0]['id']}/files/")["results"]
    assert [each["decryptedSize"] for each in shown] == [4, 100]
    assert api.ask("POST", "/simulator/jobs/", {"files": [{"colour": 1}]}).status == 400


def test_a_throttle_tells_when_to_come_back(tmp_path: Path) -> None:
    api = Api(tmp_path, {"jobs-usage": 2})
    for _ in range(2):
        assert api.ask("GET", "jobs/").status == 200
    api.clock.advance(600)
    denied = api.ask("GET", "jobs/")
    assert denied.status == 429
    assert denied.headers["retry-after"] == "3000"
    assert denied.headers["x-ratelimit-limit"] == "2"
    assert api.ask("GET", "users/me/").status == 200  # another scope
    api.clock.advance(3000)
    assert api.ask("GET", "jobs/").status == 200
    api.world.close()


def test_every_answer_but_contents_is_json_or_empty(api: Api) -> None:
    for path in PATHS:
        json.loads(api.ask("GET", path).body)
