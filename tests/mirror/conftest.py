"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rescalefs.simulator import Simulator
from tests.mirror.account import Account
from tests.mirror.rounds import close_ledgers


@pytest.fixture
def account(simulator: Simulator, tmp_path: Path) -> Account:
    """An account of this test's own."""
    return Account(simulator, tmp_path)


@pytest.fixture(autouse=True)
def _ledgers_closed() -> Iterator[None]:
    """Python 3.13 reports a database that is collected before it is closed."""
    yield
    close_ledgers()
