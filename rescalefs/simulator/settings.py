"""What can be set about a simulator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_PORT = 8765


class CannotServe(Exception):
    """The simulator cannot start: the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """How one simulator behaves; the defaults are those of a fast and friendly service."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT  # 0: any free one
    allow_remote: bool = False  # whether `host` may be something other than the loopback
    data: Path | None = None  # None: a temporary folder, gone when the simulator ends
    api_key: str | None = field(default=None, repr=False)  # None: the one kept in `data`, made up at first
    queue_delay: float = 0.0  # seconds a job stays Pending
    startup_delay: float = 0.0  # seconds its cluster takes from Starting to Started
    shutdown_delay: float = 0.0  # seconds its cluster outlives it
    outputs_delay: float = 0.0  # seconds after a job's end in which its outputs are not listed yet
    refuse_resubmit: bool = False  # 400 for a submit or change of a job that was submitted
    hide_prices: str | None = None  # `refused`: 403, `empty`: an empty list; None: prices are shown
    require_project: bool = False  # a job without a project is refused
    max_job_hours: float | None = None  # a longer walltime is refused
    unavailable: tuple[str, ...] = ()  # core types that cannot be had: jobs on them never run
    page_size: int = 10  # where the request does not say
    max_page_size: int = 1000  # more is cut to this
    jobs_at_once: int = 2  # further jobs stay Queued
    command_time_limit: float | None = None  # seconds for one command, on top of the job's own walltime
    grace: float = 5.0  # seconds between SIGTERM and SIGKILL when a command is stopped
    faults: Path | None = None  # a fault script, as docs/simulator.md describes
    throttles: Mapping[str, int] = field(default_factory=dict)  # scope -> requests per hour; empty: no limits
