"""Fixtures that several rooms share."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from rescalefs.simulator import Simulator, SimulatorSettings
from tests.canary import CANARY, leaks

# Some images of containers set it. Each of the many processes that tests start then compiles all of rescalefs
# anew, which takes a third of its start, and each worker compiles all tests: 4 of 7.5 s of a processor.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# The same examples each time, however slow the machine is at that moment. `make fuzz` tries others.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("suite")


def pytest_configure() -> None:
    """Let the programs that tests start have SIGINT, SIGQUIT and SIGHUP as a terminal's programs have them.

    A shell has what it starts in the background ignore the first two, `nohup` the third, and children inherit
    that. What this process ignores, it still does, but by a handler, which its children don't inherit.
    """
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[Simulator]:
    """A simulator of this test's own on a free port: `.url`, `.api_key`, `.world`, `.faults`, `.traffic`."""
    settings = SimulatorSettings(port=0, data=tmp_path / "simulator", api_key=CANARY)
    with Simulator(settings) as running:
        yield running


@pytest.fixture
def folder_of_programs(tmp_path: Path) -> Iterator[Path]:
    """A folder whose programs may be run, also where the folder for temporary files is mounted noexec."""
    for parent in (tmp_path, Path(__file__).parents[1]):
        with tempfile.TemporaryDirectory(prefix=".programs-", dir=parent) as folder:
            probe = Path(folder, "probe")
            probe.touch(mode=0o755)
            if os.access(probe, os.X_OK):
                yield Path(folder)
                return
    pytest.fail("there is no folder here from which programs may be run")


@pytest.fixture(scope="session", autouse=True)
def no_key_in_what_tests_leave(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """At the end of the session, search all that its tests left for the API key of their accounts."""
    folder = tmp_path_factory.getbasetemp()
    yield
    found = leaks(folder)
    assert not found, f"the API key is in {', '.join(found)}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose captured logs and output hold the API key."""
    report = yield
    if report.when == "teardown" and any(CANARY in text for _, text in report.sections):
        report.outcome = "failed"
        report.longrepr = "the API key is in what the test printed or logged"
    return report


def pytest_xdist_auto_num_workers() -> int:
    """Twice the processors for ``-n auto``: half of their time tests wait, for a mount, a process or a disk.

    Each worker collects all tests, which takes 3 seconds of a processor, and 7 in a fresh clone.
    """
    return 2 * (os.cpu_count() or 1)
