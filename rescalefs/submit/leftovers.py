"""Pure: what lies in a drop and is not sent -> each with the reason, and in a few lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rescalefs.submit.listing import Kind, Listing
from rescalefs.submit.parcels import Parcel
from rescalefs.submit.problems import listed, printable

NOT_NAMED = "inputFiles does not name it"


@dataclass(frozen=True, slots=True)
class LeftBehind:
    """A file or folder that is not sent, and why."""

    path: str
    why: str


def left_behind(listing: Listing, parcels: Iterable[Parcel]) -> tuple[LeftBehind, ...]:
    """All such, by path. A folder of which nothing is sent stands for all in it."""
    sent = {member.path for parcel in parcels for member in parcel.members}
    touched: set[str] = set()  # folders of which something is sent
    for path in sent:
        above = path.rpartition("/")[0]
        while above and above not in touched:
            touched.add(above)
            above = above.rpartition("/")[0]
    found = [LeftBehind(each.path, each.remains.whose) for each in listing.left_out]
    whole: set[str] = set()  # folders of which nothing is sent
    for each in listing.entries:  # a folder comes before all in it
        if each.path in sent or each.path in touched:
            continue
        if each.kind is Kind.FOLDER:
            whole.add(each.path)
        if each.path.rpartition("/")[0] not in whole:
            found.append(LeftBehind(each.path, NOT_NAMED))
    return tuple(sorted(found, key=lambda each: each.path))


def left_out_lines(left: Sequence[LeftBehind]) -> tuple[str, ...]:
    """One line for each reason."""
    reasons = dict.fromkeys(each.why for each in left)
    return tuple(
        printable(f"left out, as {why}: {listed(each.path for each in left if each.why == why)}")
        for why in reasons
    )
