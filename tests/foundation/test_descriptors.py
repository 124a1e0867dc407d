from __future__ import annotations

import errno
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from rescalefs.descriptors import Descriptors, Share


def test_a_share_counts_what_is_open() -> None:
    share = Share(2)
    for _ in range(3):
        share.opened()
    share.closed()
    assert share.count == 2


@pytest.mark.parametrize("limit", [64, 256, 1024, 65_536])
def test_more_than_half_is_left_for_all_else(limit: int) -> None:
    made = Descriptors(limit)
    assert 0 < made.blocks.most + made.live.most < limit // 2
    assert made.live.most > 0


def test_where_none_is_left_some_are_closed_and_it_is_tried_again() -> None:
    made = Descriptors(256)
    closed: list[str] = []
    made.reclaim_with(lambda: closed.append("a block"))

    def act() -> int:
        if not closed:
            raise OSError(errno.EMFILE, "too many")
        return 5

    assert made.retried(act) == 5


def test_where_nothing_can_be_closed_the_error_stays_what_it_is() -> None:
    made = Descriptors(256)

    def act() -> int:
        raise OSError(errno.ENFILE, "too many")

    with pytest.raises(OSError) as caught:  # noqa: PT011  (the number says it)
        made.retried(act)
    assert caught.value.errno == errno.ENFILE


def test_another_error_closes_nothing() -> None:
    made = Descriptors(256)
    made.reclaim_with(lambda: pytest.fail("why?"))
    with pytest.raises(FileNotFoundError):
        made.retried(lambda: Path("/nothing/there").stat())


@pytest.mark.parametrize(("hard", "found"), [(512, 512), (256, 256)])
def test_the_limit_is_raised_as_far_as_the_user_may(hard: int, found: int) -> None:
    program = (
        "from rescalefs.descriptors import Descriptors; import resource\n"
        "print(Descriptors.of_this_process(raised=False).limit)\n"
        "print(Descriptors.of_this_process(raised=True).limit)\n"
        "print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    told = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (128, hard)),
    )
    assert told.stdout.split() == [b"128", b"%d" % found, b"%d" % found]
