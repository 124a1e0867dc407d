"""Fixtures that several rooms share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rescalefs.simulator import Simulator, SimulatorSettings


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    """A simulator of this test's own on a free port: `.url`, `.api_key`, `.world`, `.faults`, `.traffic`."""
    with Simulator(SimulatorSettings(port=0, data=tmp_path / "simulator")) as running:
        yield running
