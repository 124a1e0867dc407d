"""The fault script, and what each fault does to an answer."""

from __future__ import annotations

from pathlib import Path

import pytest

from rescalefs.simulator import CannotServe
from rescalefs.simulator.faults import (
    AnyEffect,
    Bandwidth,
    Corrupt,
    Cut,
    Drop,
    Fault,
    FaultScript,
    Hang,
    IgnoreRange,
    Lag,
    Latency,
    Redirect,
    Short,
    Status,
    WrongContentRange,
    faults_from,
    read_script,
)
from tests.simulator.asgi import Answer
from tests.simulator.conftest import Api, definition

CONTENT = bytes(range(200))


def fetch(api: Api, effect: AnyEffect, range_header: str | None = "bytes=50-149") -> Answer:
    """Fetch a range of a file while ``effect`` is in force."""
    job = api.world.add_finished_job("done", {"f": CONTENT})
    (file,) = api.world.outputs(job.id)
    api.faults.add(Fault(effect, path="/contents/$"))
    headers = {"Range": range_header} if range_header else {}
    answer = api.ask("GET", f"files/{file.id}/contents/", headers=headers)
    assert api.faults.unused() == []
    return answer


def test_latency_and_bandwidth_change_nothing_but_the_time(api: Api) -> None:
    assert fetch(api, Latency(0.001)).body == CONTENT[50:150]
    assert fetch(api, Bandwidth(1e6)).body == CONTENT[50:150]


def test_a_cut_sends_so_many_bytes_and_closes(api: Api) -> None:
    answer = fetch(api, Cut(after=30))
    assert (answer.status, answer.body) == (206, CONTENT[50:80])
    assert answer.headers["content-length"] == "100"
    assert api.severed == [False]


def test_a_corrupt_byte_is_counted_from_the_start_of_the_file(api: Api) -> None:
    body = fetch(api, Corrupt(at=60)).body
    assert body[10] == CONTENT[60] ^ 0xFF
    assert body[:10] + body[11:] == CONTENT[50:60] + CONTENT[61:150]


def test_a_corrupt_byte_waits_for_a_range_that_has_it() -> None:
    script = FaultScript([Fault(Corrupt(at=60))])
    assert script.take("GET", "/x", "bytes=0-59") == []
    assert script.take("GET", "/x", "bytes=61-") == []
    assert script.take("GET", "/x", "bytes=60-60") == [Corrupt(at=60)]
    assert script.take("GET", "/x", None) == []  # used up


def test_a_short_body_agrees_with_its_length_but_not_with_its_range(api: Api) -> None:
    answer = fetch(api, Short(by=1))
    assert answer.body == CONTENT[50:149]
    assert answer.headers["content-length"] == "99"
    assert answer.headers["content-range"] == "bytes 50-149/200"


def test_an_ignored_range_gets_the_whole_file(api: Api) -> None:
    answer = fetch(api, IgnoreRange())
    assert (answer.status, answer.body) == (200, CONTENT)
    assert "content-range" not in answer.headers


def test_a_wrong_content_range_tells_of_other_bytes(api: Api) -> None:
    answer = fetch(api, WrongContentRange(shift=5))
    assert answer.headers["content-range"] == "bytes 55-154/200"
    assert answer.body == CONTENT[50:150]


def test_a_status_takes_the_place_of_the_answer(api: Api) -> None:
    throttled = fetch(api, Status(429, retry_after=7))
    assert (throttled.status, throttled.headers["retry-after"]) == (429, "7")
    assert "detail" in throttled.json
    gateway = fetch(api, Status(504, html=True))
    assert gateway.headers["content-type"].startswith("text/html")


def test_retry_after_may_be_any_text(api: Api) -> None:
    odd = fetch(api, Status(429, retry_after="Thu, 32 Foo 2026 25:61:61 GMT"))
    assert odd.headers["retry-after"] == "Thu, 32 Foo 2026 25:61:61 GMT"


def test_a_lagging_answer_does_not_know_young_jobs(api: Api) -> None:
    job = api.world.add_finished_job("young", {"f": CONTENT})
    api.faults.add(Fault(Lag(3600), path="/jobs/", times=2))
    assert api.ask("GET", f"jobs/{job.id}/").status == 404
    assert api.ask("GET", "jobs/").json["results"] == []
    assert api.ask("GET", f"jobs/{job.id}/").status == 200
    assert [each["id"] for each in api.ask("GET", "jobs/").json["results"]] == [job.id]


def test_a_redirect_keeps_path_and_query(api: Api) -> None:
    answer = fetch(api, Redirect("http://storage.example"), None)
    assert answer.status == 302
    assert answer.headers["location"].startswith("http://storage.example/api/v2/files/")


def test_a_hang_never_answers(api: Api) -> None:
    assert fetch(api, Hang()).status == 0


@pytest.mark.parametrize(("effect", "status"), [(Status(503, acted=True), 503), (Drop(acted=True), 0)])
def test_an_answer_can_be_lost_after_the_deed_is_done(api: Api, effect: AnyEffect, status: int) -> None:
    api.faults.add(Fault(effect, method="POST", path="/jobs/$"))
    assert api.ask("POST", "jobs/", definition()).status == status
    assert [job.name for job in api.world.jobs()] == ["wing"]


@pytest.mark.parametrize(("effect", "status"), [(Status(503), 503), (Drop(), 0)])
def test_or_before(api: Api, effect: AnyEffect, status: int) -> None:
    api.faults.add(Fault(effect, method="POST", path="/jobs/$"))
    assert api.ask("POST", "jobs/", definition()).status == status
    assert api.world.jobs() == []


def test_faults_apply_together(api: Api) -> None:
    api.faults.add(Fault(Corrupt(at=50), path="contents"))
    assert fetch(api, Cut(after=2)).body == bytes([CONTENT[50] ^ 0xFF, CONTENT[51]])


def test_a_fault_waits_as_told_and_ends_as_told() -> None:
    script = FaultScript([Fault(Hang(), path="^/a", method="get", skip=1, times=2)])
    taken = [script.take("GET", "/a/b", None) for _ in range(5)]
    assert taken == [[], [Hang()], [Hang()], [], []]
    assert script.take("POST", "/a/b", None) == []
    assert script.take("GET", "/b/a", None) == []


def test_a_fault_without_an_end_goes_on() -> None:
    script = FaultScript([Fault(Hang(), times=None)])
    assert all(script.take("GET", "/", None) for _ in range(10))


def test_faults_come_go_and_are_counted_over_http(api: Api) -> None:
    script = [
        {"effect": {"kind": "status", "status": 500}, "path": "users"},
        {"effect": {"kind": "hang"}, "path": "never"},
    ]
    assert api.ask("POST", "/simulator/faults/", script).status == 201
    assert api.ask("GET", "users/me/").status == 500
    assert api.ask("GET", "users/me/").status == 200
    assert [fault["used"] for fault in api.ask("GET", "/simulator/faults/").json] == [1, 0]
    assert api.faults.unused() == [Fault(Hang(), path="never")]
    assert api.ask("DELETE", "/simulator/faults/").status == 204
    assert api.faults.report() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"effect": {"kind": "explode"}},
        {"effect": {"kind": "cut"}},
        {"effect": {"kind": "hang", "colour": 1}},
        {"effect": {"kind": "hang"}, "path": "("},
        {"effect": {"kind": "hang"}, "when": "now"},
        {},
        3,
    ],
)
def test_a_script_that_makes_no_sense_is_refused(api: Api, wrong: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - msgspec's words are its own
        faults_from(wrong)
    assert api.ask("POST", "/simulator/faults/", wrong).status == 400


def test_a_script_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text('[{"effect": {"kind": "latency", "seconds": 1}}]')
    assert read_script(path) == [Fault(Latency(1))]
    path.write_text("{")
    with pytest.raises(CannotServe, match=r"faults\.json"):
        read_script(path)
