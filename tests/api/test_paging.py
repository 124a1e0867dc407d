"""Lists that come in pages, joined: whole, in order, each item once."""

from __future__ import annotations

import threading
import tracemalloc
from typing import Any

import pytest

from rescalefs.api import ApiSettings, RescaleClient
from rescalefs.errors import NotFound, ServerFailed, UnexpectedAnswer
from tests.api.conftest import MakeClient
from tests.api.scripted import KEY, Answering, Asked, Reply, ScriptedServer, page, reply


def projects(*numbers: int) -> list[dict[str, Any]]:
    return [{"id": f"id{number}", "name": f"project {number}"} for number in numbers]


def in_pages(items: list[dict[str, Any]], length: int) -> Answering:
    """A list in pages of ``length``, whatever length is asked for."""

    def answer(asked: Asked) -> Reply:
        start = (int(asked.query["page"]) - 1) * length
        if start and start >= len(items):
            return reply({"detail": "Invalid page."}, 404)
        return page(items[start : start + length], count=len(items))

    return answer


def ids(client: RescaleClient) -> list[str]:
    return [project.id for project in client.projects()]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 14, 15, 40])
def test_all_pages_are_joined_in_order(server: ScriptedServer, client: RescaleClient, count: int) -> None:
    server.answering = in_pages(projects(*range(count)), length=7)
    assert ids(client) == [f"id{number}" for number in range(count)]
    assert {asked.query["page_size"] for asked in server.asked} == {"1000"}
    assert sorted(int(asked.query["page"]) for asked in server.asked) == list(
        range(1, max(1, -(-count // 7)) + 1)
    )


def test_pages_are_fetched_side_by_side(server: ScriptedServer, connect: MakeClient) -> None:
    together = threading.Barrier(4, timeout=60)
    paged = in_pages(projects(*range(10)), length=2)

    def answer(asked: Asked) -> Reply:
        if asked.query["page"] != "1":
            together.wait()  # passes only if the other four pages are asked for before one is answered
        return paged(asked)

    server.answering = answer
    assert len(ids(connect(server.url, pages_at_once=4))) == 10


def test_a_length_that_is_made_up_takes_no_memory(server: ScriptedServer, client: RescaleClient) -> None:
    claimed = 1_000_000
    server.answering = lambda asked: (
        page(projects(1), count=claimed) if asked.query["page"] == "1" else page([], count=claimed)
    )
    assert ids(client) == ["id1"]
    tracemalloc.start()
    try:
        assert ids(client) == ["id1"]
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


def test_a_list_of_a_million_entries_is_within_the_limit() -> None:
    assert ApiSettings("https://rescale.invalid", KEY).longest_list >= 1_000_000


def test_a_list_without_a_count_is_followed_page_by_page(
    server: ScriptedServer, client: RescaleClient
) -> None:
    server.script(
        page(projects(1, 2), following="https://elsewhere.invalid/api/v2/users/me/projects/?page=2"),
        page(projects(3), following="?page_size=1000&page=3"),
        reply({"results": projects(4)}),  # no `next` at all
    )
    assert ids(client) == ["id1", "id2", "id3", "id4"]
    assert [asked.query["page"] for asked in server.asked] == ["1", "2", "3"]


@pytest.mark.parametrize(
    "following", ["?page=1", "?page=0", "?cursor=abc", "http://[", "?page=" + "9" * 5000]
)
def test_a_next_that_leads_nowhere_is_an_error_and_no_circle(
    server: ScriptedServer, client: RescaleClient, following: str
) -> None:
    server.answering = lambda _: page(projects(1), following=following)
    with pytest.raises(UnexpectedAnswer, match="GET users/me/projects/: what page 1 names"):
        client.projects()
    assert len(server.asked) == 1


def test_a_count_that_cannot_be_is_an_error(server: ScriptedServer, client: RescaleClient) -> None:
    server.script(page(projects(1), count=10**9))
    with pytest.raises(UnexpectedAnswer, match="1000000000 entries"):
        client.projects()


def test_an_item_that_comes_twice_because_pages_shifted_is_listed_once(
    server: ScriptedServer, client: RescaleClient
) -> None:
    # A new first one pushes the last of page 1 to page 2: seen twice, and the count no longer agrees.
    shifted = in_pages(projects(0, 1, 2, 3, 4), length=2)
    server.script(page(projects(1, 2), count=4), page(projects(2, 3), count=5))
    server.answering = shifted
    assert ids(client) == ["id0", "id1", "id2", "id3", "id4"]


def test_an_item_that_was_skipped_because_pages_shifted_is_found(
    server: ScriptedServer, client: RescaleClient
) -> None:
    # The first one goes while page 2 is awaited: what was the first of page 2 is now on page 1.
    server.script(page(projects(1, 2), count=4), page(projects(4), count=3))
    server.answering = in_pages(projects(2, 3, 4), length=2)
    assert ids(client) == ["id2", "id3", "id4"]


def test_a_list_that_never_holds_still_is_given_as_it_was_seen_last(
    server: ScriptedServer, client: RescaleClient
) -> None:
    server.answering = lambda asked: page(projects(1, 2), count=4)
    assert ids(client) == ["id1", "id2"]
    assert len(server.asked) == 4


def test_a_list_that_became_shorter_than_a_page_number_is_no_error(
    server: ScriptedServer, client: RescaleClient
) -> None:
    server.script(page(projects(1, 2), count=3), reply({"detail": "Invalid page."}, 404))
    server.answering = in_pages(projects(1, 2), length=2)
    assert ids(client) == ["id1", "id2"]


def test_a_list_of_something_that_does_not_exist_is_not_found(
    server: ScriptedServer, client: RescaleClient
) -> None:
    server.answering = lambda _: reply({"detail": "Not found."}, 404)
    with pytest.raises(NotFound):
        client.output_files("aBcDeF")


def test_a_page_that_fails_fails_the_list(server: ScriptedServer, connect: MakeClient) -> None:
    paged = in_pages(projects(*range(20)), length=2)
    server.answering = lambda asked: reply(status=503) if asked.query["page"] == "5" else paged(asked)
    with pytest.raises(ServerFailed):
        connect(server.url, patience=1.0).projects()


def test_the_newest_jobs_are_one_request(server: ScriptedServer, client: RescaleClient) -> None:
    jobs = [{"id": f"j{number}", "name": "job"} for number in range(20)]
    server.answering = lambda _: page(jobs, count=500)
    assert [job.id for job in client.newest_jobs(5)] == ["j0", "j1", "j2", "j3", "j4"]
    assert len(server.asked) == 1
    assert server.asked[0].query["page_size"] == "5"


def test_entries_of_a_history_that_say_the_same_are_one_entry_and_the_rest_stays(
    server: ScriptedServer, client: RescaleClient
) -> None:
    entry = {"status": "Queued", "statusDate": "2026-11-24T12:00:00Z", "statusReason": None}
    server.answering = lambda _: page([{**entry, "status": "Started"}, entry, entry], count=3)
    assert [status.status for status in client.statuses("aBcDeF")] == ["Queued", "Started"]
