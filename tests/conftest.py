"""Fixtures that several rooms share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rescalefs.simulator import Simulator, SimulatorSettings


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    """A simulator of this test's own on a free port: `.url`, `.api_key`, `.world`, `.faults`, `.traffic`."""
    with Simulator(SimulatorSettings(port=0, data=tmp_path / "simulator")) as running:
        yield running


def pytest_xdist_auto_num_workers() -> int:
    """Twice the processors for ``-n auto``: half of the time the tests wait, for a mount or a process."""
    return 2 * (os.cpu_count() or 1)
