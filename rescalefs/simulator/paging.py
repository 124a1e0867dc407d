"""Lists cut into pages, as Django REST Framework does it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

T = TypeVar("T")


class InvalidPage(LookupError):
    """There is no page of that number."""


@dataclass(frozen=True, slots=True)
class PageSizes:
    """How long pages are where the request does not say, and at most."""

    default: int
    most: int

    def asked_for(self, text: str | None) -> int:
        """The size a request gets: nonsense means the default, too much means the most."""
        if text is None or not text.isdecimal() or int(text) == 0:
            return self.default
        return min(int(text), self.most)


def page_of(
    items: Sequence[T],
    show: Callable[[T], Any],
    query: Mapping[str, str],
    url: str,
    sizes: PageSizes,
) -> dict[str, Any]:
    """The page that ``query`` asks for; ``url`` is the list's own address, without its query.

    Only the items of the page are shown, so a page of ten costs the same in a list of ten thousand.
    """
    size = sizes.asked_for(query.get("page_size"))
    last = max(1, -(-len(items) // size))
    number = _number(query.get("page", "1"), last)
    start = (number - 1) * size
    return {
        "count": len(items),
        "next": _address(url, query, number + 1) if number < last else None,
        "previous": _address(url, query, number - 1) if number > 1 else None,
        "results": [show(item) for item in items[start : start + size]],
    }


def _number(text: str, last: int) -> int:
    if text == "last":
        return last
    if not text.isdecimal() or not 1 <= int(text) <= last:
        raise InvalidPage(text)
    return int(text)


def _address(url: str, query: Mapping[str, str], number: int) -> str:
    kept = {name: value for name, value in query.items() if name != "page"}
    if number > 1:  # the first page's address does not say so
        kept["page"] = str(number)
    return f"{url}?{urlencode(kept)}" if kept else url
