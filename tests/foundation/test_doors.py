"""Rooms whose names are imported once they are asked for."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from rescalefs import mirror, reading, tree

_DOWNLOADING = """
import sys
import rescalefs.cli.download, rescalefs.assembly.download, rescalefs.assembly.client
from rescalefs.mirror import Ledger, Shelf, Transfers, choose, fetch_all
print(*sys.modules)
"""


@pytest.mark.parametrize("room", [mirror, reading, tree])
def test_every_name_that_a_door_shows_is_there(room: ModuleType) -> None:
    for name in room.__all__:
        assert getattr(room, name) is not None


def test_a_name_that_a_door_does_not_have_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match=r"module 'rescalefs\.tree' has no attribute 'Leaf'"):
        tree.Leaf  # type: ignore[attr-defined]  # noqa: B018


def test_a_download_waits_for_no_import_of_what_it_does_not_need() -> None:
    done = subprocess.run([sys.executable, "-c", _DOWNLOADING], check=True, capture_output=True, text=True)
    imported = set(done.stdout.split())
    for unneeded in ("diskcache", "pyrate_limiter", "rich", "sqlalchemy", "fuse", "watchdog", "difflib"):
        assert unneeded not in imported
    assert "rescalefs.tree.catalog" not in imported
