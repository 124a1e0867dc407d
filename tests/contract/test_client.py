"""Every method of our client, over HTTP, against the simulator, which writes the wire format on its own."""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from rescalefs.api import ApiSettings, RescaleClient
from rescalefs.clock import SystemClock
from rescalefs.errors import (
    ApiError,
    InvalidRequest,
    NotFound,
    Throttled,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
)
from rescalefs.model import FileType, LiveFile, RemoteFile, is_terminal
from rescalefs.outcome import console_end
from rescalefs.simulator import Fault, SeedFile, Simulator, SimulatorSettings
from rescalefs.simulator.faults import (
    Cut,
    Drop,
    IgnoreRange,
    Redirect,
    Short,
    Status,
    WrongContentRange,
)
from tests.consoles import printed

PATIENCE = 60.0  # s for a job to get somewhere: only a broken simulator takes as long
CONTENTS = bytes(range(256)) * 4096  # 1 MiB: several chunks
BASE = datetime(2026, 11, 1, tzinfo=timezone.utc)


@pytest.fixture
def client(simulator: Simulator) -> Iterator[RescaleClient]:
    with closing(_client(simulator)) as connected:
        yield connected


def _client(simulator: Simulator, **settings: Any) -> RescaleClient:
    return RescaleClient(ApiSettings(simulator.url, simulator.api_key, **settings), SystemClock())


def job_of(command: str, **analysis: Any) -> dict[str, Any]:
    """What is sent to create a job."""
    return {
        "name": "a job",
        "jobanalyses": [
            {
                "analysis": {"code": "user_included", "version": "0"},
                "command": command,
                "hardware": {"coreType": "granite", "coresPerSlot": 2},
                **analysis,
            }
        ],
    }


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Ask again and again, with a pause in between."""
    clock, pause = SystemClock(), threading.Event()
    end = clock.monotonic() + PATIENCE
    while not holds():
        assert clock.monotonic() < end, what
        clock.wait(pause, 0.02)


def status_of(client: RescaleClient, job_id: str) -> str:
    history = client.statuses(job_id)
    return history[-1].status if history else ""


def run_to_the_end(client: RescaleClient, definition: dict[str, Any]) -> str:
    job = client.create_job(definition)
    client.submit_job(job.id)
    wait_until(lambda: is_terminal(status_of(client, job.id)), "the job does not end")
    return job.id


def planted(simulator: Simulator, content: bytes = CONTENTS) -> RemoteFile:
    """An output of a finished job, as the client lists it."""
    job = simulator.world.add_finished_job("planted", {"out/data.bin": content})
    with closing(_client(simulator)) as client:
        (file,) = client.output_files(job.id)
    return file


def fetched(client: RescaleClient, file: RemoteFile, start: int, stop: int) -> bytes:
    with client.open_range(file, start, stop) as body:
        return b"".join(body)


# -- the account and the catalogue


@pytest.mark.parametrize("how", ["refused", "empty"])
def test_prices_that_an_administrator_hides_are_none(tmp_path: Path, how: str) -> None:
    with (
        Simulator(SimulatorSettings(port=0, data=tmp_path, hide_prices=how)) as simulator,
        closing(_client(simulator)) as client,
    ):
        assert client.prices() == ()
        assert client.core_types()


def test_the_key_says_whose_it_is_and_a_wrong_one_is_refused(
    simulator: Simulator, client: RescaleClient
) -> None:
    client.connect()
    user = client.user()
    assert "@" in user.email
    assert all((user.full_name, user.company, user.workspace))
    stranger = RescaleClient(ApiSettings(simulator.url, "0" * 40), SystemClock())
    with closing(stranger), pytest.raises(Unauthenticated, match="rescalefs login"):
        stranger.user()


def test_a_client_goes_on_with_another_key(simulator: Simulator) -> None:
    with closing(RescaleClient(ApiSettings(simulator.url, "0" * 40), SystemClock())) as client:
        with pytest.raises(Unauthenticated):
            client.user()
        client.take_key(simulator.api_key)
        assert "@" in client.user().email


def test_the_servers_clock_is_ours(client: RescaleClient) -> None:
    theirs = client.server_time()
    assert theirs is not None
    assert abs(SystemClock().now() - theirs) < timedelta(minutes=1)


def test_the_catalogue_is_whole(client: RescaleClient) -> None:
    core_types = {each.code: each for each in client.core_types()}
    assert 1 not in core_types["granite"].cores
    assert "general" in core_types["granite"].categories
    assert any(each.is_deprecated for each in core_types.values())
    analyses = {each.code: each for each in client.analyses()}
    assert "4.8.4" in [version.code for version in analyses["miniconda"].versions]
    assert "0" in [version.code for version in analyses["user_included"].versions]
    assert len(client.projects()) == 2


def test_prices_lead_to_the_cheapest_as_the_notebook_finds_it(client: RescaleClient) -> None:
    general = {each.code for each in client.core_types() if "general" in each.categories}
    cheapest = min(
        (
            price
            for price in client.prices()
            if price.plan.endswith("on-demand")
            and price.os == "linux"
            and price.is_active
            and price.core_type in general
        ),
        key=lambda price: price.amount,
    )
    assert cheapest.core_type == "granite"
    assert cheapest.currency


# -- jobs


def test_jobs_come_newest_first_from_all_pages_and_each_once(
    simulator: Simulator, client: RescaleClient
) -> None:
    count = 2345  # three pages of the thousand that is asked for
    for number in range(count):
        simulator.world.add_finished_job(f"job {number}", inserted=BASE + timedelta(seconds=number))
    listed = client.jobs()
    assert [job.name for job in listed] == [f"job {number}" for number in reversed(range(count))]
    assert client.jobs(state="completed") == listed
    pages = [entry for entry in simulator.traffic.entries() if entry.path == "/api/v2/jobs/"]
    assert len(pages) == 2 * 3
    assert [job.id for job in client.newest_jobs(5)] == [job.id for job in listed[:5]]


def test_a_job_goes_from_its_definition_to_verified_outputs(client: RescaleClient) -> None:
    content = b"1 2 3\n" * 1000
    progress: list[int] = []
    given = client.upload("numbers.txt", io.BytesIO(content), len(content), progress=progress.append)
    assert (given.name, given.size, given.type_id) == ("numbers.txt", len(content), FileType.INPUT)
    assert given.sha512 == hashlib.sha512(content).hexdigest()
    assert progress[-1] == len(content)
    assert progress == sorted(progress)
    assert client.file(given.id) == given

    command = 'mkdir -p deep && wc -c < numbers.txt > deep/count.txt && echo "word is $WORD"'
    definition = job_of(command, inputFiles=[{"id": given.id}], envVars={"WORD": "hello"})
    job_id = run_to_the_end(client, definition)

    detail = client.job(job_id)
    assert detail.job.name == "a job"
    assert [each.id for each in detail.inputs] == [given.id]
    assert detail.env_vars == {"WORD": "hello"}
    assert json.loads(detail.document)["jobanalyses"][0]["command"] == command
    assert b"ncryptionKey" not in detail.document

    history = client.statuses(job_id)
    assert [each.status for each in history] == [
        "Pending",
        "Queued",
        "Started",
        "Validated",
        "Executing",
        "Completed",
    ]
    assert [each.date for each in history] == sorted(each.date for each in history)
    assert next(job for job in client.jobs() if job.id == job_id).is_finished
    cluster = [each.status for each in client.cluster_statuses(job_id)]
    assert cluster[:2] == ["Not Started", "Starting"]

    outputs = {each.path: each for each in client.output_files(job_id)}
    count = outputs["deep/count.txt"]
    assert fetched(client, count, 0, count.size or 0) == f"{len(content)}\n".encode()
    log = client.output_files(job_id, search="process_output")
    assert [each.path for each in log] == ["process_output.log"]
    assert "word is hello\n" in "".join(client.lines(log[0].id))
    assert console_end(client.end_of(log[0], 200)).exit_codes == (0,)
    for each in outputs.values():
        assert hashlib.sha512(fetched(client, each, 0, each.size or 0)).hexdigest() == each.sha512

    (run,) = client.runs(job_id)
    assert run.id == "1"
    assert run.started is not None
    assert run.completed is not None
    assert {each.id for each in client.run_files(job_id, run.id)} == {each.id for each in outputs.values()}


def test_a_job_that_has_run_is_neither_changed_nor_run_again(client: RescaleClient) -> None:
    job_id = run_to_the_end(client, job_of("true"))
    before = client.statuses(job_id)
    client.update_job(job_id, {"name": "another"})
    client.submit_job(job_id)
    assert client.job(job_id).job.name == "a job"
    assert client.statuses(job_id) == before


def test_a_saved_job_is_changed_and_then_deleted(client: RescaleClient) -> None:
    job = client.create_job(job_of("true"))
    assert client.statuses(job.id) == ()
    client.update_job(job.id, {"name": "renamed"})
    assert client.job(job.id).job.name == "renamed"
    client.delete_job(job.id)
    with pytest.raises(NotFound):
        client.job(job.id)


def test_inputs_go_with_their_job_if_that_is_asked_for(client: RescaleClient) -> None:
    kept, gone = (client.upload(name, io.BytesIO(b"x"), 1) for name in ("kept", "gone"))
    client.delete_job(client.create_job(job_of("true", inputFiles=[{"id": kept.id}])).id)
    client.delete_job(client.create_job(job_of("true", inputFiles=[{"id": gone.id}])).id, with_inputs=True)
    assert client.file(kept.id) == kept
    with pytest.raises(NotFound):
        client.file(gone.id)
    client.delete_file(kept.id)
    with pytest.raises(NotFound):
        client.file(kept.id)


def test_a_wrong_definition_is_refused_with_the_field_that_is_wrong(client: RescaleClient) -> None:
    definition = job_of("true", hardware={"coreType": "granite", "coresPerSlot": 1})
    with pytest.raises(InvalidRequest) as refused:
        client.create_job(definition)
    assert refused.value.problems
    assert all(problem.startswith("jobanalyses[0].hardware") for problem in refused.value.problems)
    assert client.jobs() == ()


def test_an_empty_file_is_uploaded_and_a_type_is_kept(client: RescaleClient) -> None:
    file = client.upload("empty", io.BytesIO(), 0, type_id=FileType.TEMPLATE)
    assert (file.size, file.type_id) == (0, FileType.TEMPLATE)
    assert fetched(client, file, 0, 10) == b""


# -- while it runs


def test_a_running_job_is_watched_and_then_stopped(client: RescaleClient) -> None:
    # The file gets its name when it has its content, and the job goes on until it is stopped.
    command = "echo one; echo two; mkdir 'a b'; echo 7 > written; mv written 'a b/no. #1'; sleep 1000"
    job = client.create_job(job_of(command))
    client.submit_job(job.id)
    log, odd = LiveFile(job.id, "1", "process_output.log"), LiveFile(job.id, "1", "a b/no. #1")

    def is_there() -> bool:
        try:
            return odd.path in client.directory_contents(job.id, "1")
        except ApiError:
            return False  # not yet running

    wait_until(is_there, "the job's files do not show")
    wait_until(lambda: len(client.tail(job.id, "1", log.path, 10)) >= 3, "nothing is printed")
    assert client.tail(job.id, "1", log.path, 1)[0].endswith("]: two")
    with client.open_tail(log, 0) as body:
        whole = b"".join(body)
    assert printed(whole) == b"one\ntwo\n"
    with client.open_tail(log, 4) as body:
        rest = b"".join(body)
        assert rest == whole[body.start :]
    with client.open_tail(odd, 0) as body:
        assert b"".join(body) == b"7\n"
    with pytest.raises(NotFound):
        client.tail(job.id, "1", "no such file", 1)
    client.stop_job(job.id)
    wait_until(lambda: is_terminal(status_of(client, job.id)), "the job does not stop")
    with pytest.raises(ApiError):
        client.directory_contents(job.id, "1")


# -- files as they are listed


def test_files_are_listed_as_what_they_are(simulator: Simulator, client: RescaleClient) -> None:
    job = simulator.world.add_finished_job(
        "odd ones",
        [
            SeedFile("a/b/c.txt", b"abc"),
            SeedFile(None, b"x", name="without a path"),
            SeedFile("deleted", b"x", is_deleted=True),
            SeedFile("unfinished", b"x", is_uploaded=False),
            SeedFile("without checksum", b"x", has_checksum=False),
            SeedFile("../../etc/passwd", b"x"),
        ],
    )
    found = {file.path: file for file in client.output_files(job.id)}
    assert set(found) == {
        "a/b/c.txt",
        "without a path",
        "unfinished",
        "without checksum",
        "../../etc/passwd",  # handed on as it is: the tree makes names safe
    }
    assert not found["unfinished"].is_uploaded
    assert found["without checksum"].sha512 is None
    assert found["a/b/c.txt"].sha512 == hashlib.sha512(b"abc").hexdigest()
    assert found["a/b/c.txt"].name == "c.txt"


def test_a_job_of_several_runs_tells_the_files_of_each(simulator: Simulator, client: RescaleClient) -> None:
    seeds = [SeedFile("same name", str(run).encode(), run_id=str(run)) for run in (1, 2, 3)]
    job = simulator.world.add_finished_job("cases", seeds)
    assert [run.id for run in client.runs(job.id)] == ["1", "2", "3"]
    for run in client.runs(job.id):
        (file,) = client.run_files(job.id, run.id)
        assert fetched(client, file, 0, 1) == run.id.encode()
    assert len(client.output_files(job.id)) == 3


# -- ranges, and what goes wrong with them


@pytest.mark.parametrize(
    ("start", "stop"),
    [(0, 1), (0, len(CONTENTS)), (1000, 300_000), (len(CONTENTS) - 1, len(CONTENTS)), (5, 2 * len(CONTENTS))],
)
@pytest.mark.parametrize("ignored", [False, True])
def test_a_range_is_the_same_slice_of_the_file_even_from_a_server_that_ignores_it(
    simulator: Simulator, client: RescaleClient, start: int, stop: int, ignored: bool
) -> None:
    file = planted(simulator)
    if ignored:
        simulator.faults.add(Fault(IgnoreRange()))
    with client.open_range(file, start, stop) as body:
        assert (body.start, body.stop, body.total) == (start, min(stop, len(CONTENTS)), len(CONTENTS))
        assert b"".join(body) == CONTENTS[start:stop]
    assert simulator.faults.unused() == []


def test_a_range_past_the_end_is_empty(simulator: Simulator, client: RescaleClient) -> None:
    file = planted(simulator, b"short")
    with client.open_range(file, 5, 10) as body:
        assert (list(body), body.total) == ([], 5)


def test_a_wrong_range_is_not_taken_for_the_right_one(simulator: Simulator, client: RescaleClient) -> None:
    file = planted(simulator)
    simulator.faults.add(Fault(WrongContentRange()))
    with pytest.raises(UnexpectedAnswer, match=r"asked for bytes 10 to 19"), client.open_range(file, 10, 20):
        pass


@pytest.mark.parametrize("fault", [Cut(after=300_000), Short(by=len(CONTENTS) - 300_000)])
def test_a_transfer_that_breaks_gives_what_came_and_then_says_so(
    simulator: Simulator, client: RescaleClient, fault: Any
) -> None:
    file = planted(simulator)
    simulator.faults.add(Fault(fault, path="contents"))
    chunks: list[bytes] = []
    with (
        client.open_range(file, 0, len(CONTENTS)) as body,
        pytest.raises(Unreachable, match=f"files/{file.id}/contents/"),
    ):
        chunks.extend(body)  # keeps what came before the error
    came = b"".join(chunks)
    assert 0 < len(came) <= 300_000
    rest = fetched(client, file, len(came), len(CONTENTS))
    assert came + rest == CONTENTS
    assert simulator.faults.unused() == []


def test_another_host_that_contents_are_said_to_be_on_gets_no_key(
    simulator: Simulator, client: RescaleClient
) -> None:
    file = planted(simulator)
    # The same simulator by another name, to us another host. It refuses, which shows that it got no key.
    elsewhere = simulator.url.replace("127.0.0.1", "localhost")
    simulator.faults.add(Fault(Redirect(to=elsewhere), path="contents"))
    with pytest.raises(Unauthenticated, match="not provided"):
        fetched(client, file, 0, 10)


# -- what the network and the service do to requests


@pytest.mark.parametrize("fault", [Drop(), Drop(acted=True), Status(503), Status(504, html=True)])
def test_what_may_be_asked_again_succeeds_in_spite_of_a_fault(
    simulator: Simulator, client: RescaleClient, fault: Any
) -> None:
    simulator.faults.add(Fault(fault))
    assert "@" in client.user().email
    assert simulator.faults.unused() == []


@pytest.mark.parametrize("fault", [Drop(acted=True), Status(503, acted=True), Status(504, acted=True)])
def test_a_job_whose_creation_was_lost_exists_once(
    simulator: Simulator, client: RescaleClient, fault: Any
) -> None:
    simulator.faults.add(Fault(fault, method="POST", path="jobs/$"))
    with pytest.raises(ApiError):
        client.create_job(job_of("true"))
    assert [job.name for job in client.newest_jobs(10)] == ["a job"]


def test_a_submission_whose_answer_was_lost_is_one_submission(
    simulator: Simulator, client: RescaleClient
) -> None:
    job = client.create_job(job_of("true"))
    simulator.faults.add(Fault(Drop(acted=True), method="POST", path="submit"))
    client.submit_job(job.id)
    wait_until(lambda: is_terminal(status_of(client, job.id)), "the job does not end")
    assert [each.status for each in client.statuses(job.id)].count("Executing") == 1


def test_a_429_that_asks_for_more_than_our_patience_says_how_long(simulator: Simulator) -> None:
    simulator.faults.add(Fault(Status(429, retry_after=500.0), path="users/me"))
    with closing(_client(simulator, patience=5.0)) as client, pytest.raises(Throttled) as throttled:
        client.user()
    assert throttled.value.retry_after == 500.0


# -- none is forgotten


def test_every_method_of_the_client_is_used_here() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    methods = [
        name for name, _ in inspect.getmembers(RescaleClient, inspect.isfunction) if not name.startswith("_")
    ]
    assert [name for name in methods if f"client.{name}(" not in source and name != "close"] == []


def test_tags_are_put_on_a_job_and_taken_off(client: RescaleClient) -> None:
    job = client.create_job(job_of("true") | {"tags": ["ignored"]}).id
    assert client.tags(job) == ()
    for name in ("good", "with / and ü", "good"):
        client.add_tag(job, name)
    client.remove_tag(job, "good")
    assert client.tags(job) == ("with / and ü",)
    with pytest.raises(NotFound):
        client.add_tag("nope", "good")


def test_a_running_job_has_a_machine_to_log_in_to(client: RescaleClient) -> None:
    job = client.create_job(job_of("sleep 60")).id
    assert client.machines(job) == ()
    client.submit_job(job)
    wait_until(lambda: bool(client.machines(job)), "its cluster runs")
    (machine,) = client.machines(job)
    assert (machine.address, machine.port, machine.role) == ("127.0.0.1", 22, "MASTER")
    client.stop_job(job)
