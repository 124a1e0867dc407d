from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes import FakeClock
from tests.submit.rig import FakeRescale, Rig, make_settings


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def rescale(clock: FakeClock) -> FakeRescale:
    return FakeRescale(clock)


@pytest.fixture
def rig(tmp_path: Path, rescale: FakeRescale, clock: FakeClock) -> Iterator[Rig]:
    with Rig(make_settings(tmp_path), rescale, clock) as rig:
        yield rig
