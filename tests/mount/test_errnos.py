from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest
import requests

from rescalefs import errors
from rescalefs.mount import errnos
from rescalefs.mount.errnos import errno_for


def tree(kind: type[errors.RescaleFSError]) -> Iterator[type[errors.RescaleFSError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from tree(child)


@pytest.mark.parametrize("kind", list(tree(errors.RescaleFSError)), ids=lambda kind: kind.__name__)
def test_every_error_has_an_errno(kind: type[errors.RescaleFSError]) -> None:
    assert errno_for(kind("why")) in errno.errorcode
    assert kind in errnos._ERRNOS or kind.__subclasses__(), "a leaf of the tree that nobody decided about"


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (errors.Unauthenticated("x"), errno.EACCES),
        (errors.Forbidden("x"), errno.EACCES),
        (errors.NotFound("x"), errno.ENOENT),
        (errors.TimedOut("x"), errno.ETIMEDOUT),
        (errors.FileChanged("x"), errno.ESTALE),
        (errors.NotYetUploaded("x"), errno.EAGAIN),
        (errors.WrongBytes("x"), errno.EIO),
        (errors.Unreachable("x"), errno.EIO),
        (errors.ReadOnly("x"), errno.EROFS),
        (errors.NoDescriptors("x"), errno.EMFILE),
        (errors.NoSuchPath("x"), errno.ENOENT),
        (OSError(errno.ENOSPC, "full"), errno.ENOSPC),
        (OSError("without a number"), errno.EIO),
        (OSError(-1, "negative"), errno.EIO),
        (OSError(0, "no error"), errno.EIO),
        (requests.ConnectionError("an OSError without errno"), errno.EIO),
        (ValueError("a mistake of ours"), errno.EIO),
        (KeyboardInterrupt(), errno.EIO),
    ],
)
def test_an_error_becomes_this_errno(error: BaseException, number: int) -> None:
    assert errno_for(error) == number


def test_an_error_that_only_one_room_knows_is_judged_by_its_family() -> None:
    class Vanished(errors.NotFound):
        pass

    assert errno_for(Vanished("x")) == errno.ENOENT
