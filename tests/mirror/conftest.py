"""Fixtures of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from rescalefs.simulator import Simulator
from tests.mirror.account import Account


@pytest.fixture
def account(simulator: Simulator, tmp_path: Path) -> Account:
    """An account of this test's own."""
    return Account(simulator, tmp_path)
