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
    """Half again the processors for ``-n auto``: the tests wait at times, for a mount or a process.

    Each worker compiles all tests anew, which takes some 8 seconds of a processor.
    """
    return max(1, (os.cpu_count() or 1) * 3 // 2)
