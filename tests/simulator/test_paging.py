"""Pages of lists."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.simulator.paging import InvalidPage, PageSizes, page_of

SIZES = PageSizes(default=10, most=1000)
URL = "http://simulator/api/v2/jobs/"


def page(items: list[int], **query: str) -> dict[str, Any]:
    return page_of(items, lambda each: each, query, URL, SIZES)


@given(count=st.integers(0, 60), size=st.integers(1, 20))
def test_following_next_gives_every_item_once_and_in_order(count: int, size: int) -> None:
    found = []
    query = {"page_size": str(size), "state": "completed"}
    while True:
        answer = page(list(range(count)), **query)
        found += answer["results"]
        assert answer["count"] == count
        if answer["next"] is None:
            break
        query = dict(parse_qsl(urlsplit(answer["next"]).query))
        assert query["state"] == "completed"  # what was asked for is kept
    assert found == list(range(count))


def test_following_previous_leads_back_to_an_address_without_a_page() -> None:
    assert page(list(range(30)), page="3")["previous"] == f"{URL}?page=2"
    assert page(list(range(30)), page="2")["previous"] == URL
    assert page(list(range(30)))["previous"] is None


@pytest.mark.parametrize("number", ["0", "4", "-1", "x", "1.5", ""])
def test_a_page_that_is_not_there_is_refused(number: str) -> None:
    with pytest.raises(InvalidPage):
        page(list(range(30)), page=number)


def test_the_last_page_can_be_asked_for_by_that_word() -> None:
    assert page(list(range(25)), page="last")["results"] == [20, 21, 22, 23, 24]


@pytest.mark.parametrize(("asked", "given"), [(None, 10), ("0", 10), ("many", 10), ("7", 7), ("9999", 1000)])
def test_nonsense_sizes_mean_the_default_and_large_ones_the_most(asked: str | None, given: int) -> None:
    assert SIZES.asked_for(asked) == given


def test_an_empty_list_has_one_page() -> None:
    assert page([]) == {"count": 0, "next": None, "previous": None, "results": []}
