"""`rescalefs top`: rates from two looks, and what people see of them."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

import pytest

from rescalefs.cli.gauges import Counters, bytes_text, gauge
from rescalefs.cli.top import watch
from tests.fakes import FakeClock

MOUNTPOINT = "/home/jane/Rescale"


def counters(age: float, **changes: Any) -> Counters:
    """What a daemon tells of itself."""
    return {
        "version": "0.1.0",
        "account": "default@platform.rescale.com",
        "server": "https://platform.rescale.com",
        "started": 1.8e9,
        "age": age,
        "reachable": True,
        "trouble": None,
        "jobs": 1234,
        "requests": {"jobs": 2, "contents": 10},
        "bytes_fetched": 10 << 20,
        "blocks_found": 30,
        "blocks_missed": 10,
        "connections": 3,
        "connection_limit": 8,
        "cache_used": 5 << 30,
        "cache_limit": 20 << 30,
        "drops": {"uploading": 1, "completed": 14},
        "under_way": {"wing-42": "uploading 3 of 7 files, 41 %"},
        **changes,
    }


def test_rates_are_of_the_daemons_own_clock() -> None:
    later = counters(
        14.0,
        bytes_fetched=30 << 20,
        requests={"jobs": 4, "contents": 18},
        blocks_found=39,
        blocks_missed=11,
    )
    found = gauge(MOUNTPOINT, counters(10.0), later)
    assert (found.rate, found.requests, found.found) == (5 << 20, 2.5, 0.9)
    assert found.row()["bytes_per_second"] == 5 << 20
    assert found.row()["jobs"] == 1234


@pytest.mark.parametrize("before", [None, counters(14.0), counters(5000.0)])
def test_one_look_the_same_answer_and_another_daemon_make_no_rates(before: Counters | None) -> None:
    found = gauge(MOUNTPOINT, before, counters(14.0))
    assert (found.rate, found.requests, found.found) == (None, None, None)
    assert "/s" not in "".join(found.lines())


def test_people_see_a_line_for_each_thing_they_ask_about() -> None:
    later = counters(7200.0, bytes_fetched=94 << 20, blocks_found=31)
    assert list(gauge(MOUNTPOINT, counters(7198.0), later).lines()) == [
        "/home/jane/Rescale   default@platform.rescale.com   up 2 h",
        "  server    https://platform.rescale.com, reached",
        "  fetching  42.0 MiB/s   3 of 8 connections   0.0 requests/s",
        "  cache     [#####...............]  5.0 GiB of 20.0 GiB   100% of blocks found in it",
        "  jobs      1,234",
        "  drops     14 completed, 1 uploading",
        "            wing-42  uploading 3 of 7 files, 41 %",
    ]


def test_a_server_that_is_away_is_told_with_the_reason() -> None:
    away = counters(1.0, reachable=False, trouble="GET jobs/: no connection")
    assert "not reached: GET jobs/: no connection" in "".join(gauge(MOUNTPOINT, None, away).lines())
    ill = counters(1.0, trouble="GET jobs/: 503")
    assert "in trouble: GET jobs/: 503" in "".join(gauge(MOUNTPOINT, None, ill).lines())


def test_of_many_drops_the_first_are_shown() -> None:
    many = {f"wing-{number:03}": "Executing" for number in range(200)}
    lines = list(gauge(MOUNTPOINT, None, counters(1.0, drops={"running": 200}, under_way=many)).lines())
    assert len(lines) == 17
    assert lines[-1].strip() == "and 190 more; `rescalefs drops` lists them"


def test_a_name_cannot_move_the_cursor() -> None:
    lines = gauge(MOUNTPOINT, None, counters(1.0, under_way={"a\x1b[2J": "b\x1b[2J"})).lines()
    assert "\x1b" not in "".join(lines)


def test_mounts_come_go_and_fall_silent_between_two_looks() -> None:
    answers: list[Mapping[str, Counters | str]] = [
        {"/a": counters(1.0), "/b": "it does not answer"},
        {"/a": counters(3.0, bytes_fetched=12 << 20), "/b": counters(9.0), "/c": counters(1.0)},
        {"/a": "it does not answer"},
    ]
    clock = FakeClock()
    first, second, third = islice(watch(lambda: answers.pop(0), clock, 2.0), 3)
    assert [(each.path, each.rate, each.trouble) for each in first] == [
        ("/a", None, ""),
        ("/b", None, "it does not answer"),
    ]
    assert [(each.path, each.rate) for each in second] == [("/a", 1 << 20), ("/b", None), ("/c", None)]
    assert list(third[0].lines()) == ["/a   it does not answer"]
    assert third[0].row()["trouble"] == "it does not answer"
    assert clock.waits == [2.0, 2.0]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (3 << 40, "3.0 TiB")]
)
def test_sizes_are_told_as_du_tells_them(size: int, text: str) -> None:
    assert bytes_text(size) == text


def test_a_daemon_of_another_version_is_told_as_that() -> None:
    lacking = {name: value for name, value in counters(1.0).items() if name != "cache_used"}
    answers: list[Mapping[str, Counters | str]] = [{"/a": lacking}]
    (shown,) = next(watch(lambda: answers.pop(0), FakeClock(), 2.0))
    assert "of another version" in shown.trouble
