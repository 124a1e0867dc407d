"""What `rescalefs doctor` says about profiles, servers and clocks."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from rescalefs.cli import account_checks as checks
from rescalefs.cli.finding import Verdict
from rescalefs.errors import ApiError, Unauthenticated, Unreachable
from rescalefs.model import User
from tests.fakes import FakeClock

ADDRESS = "https://platform.example.com"


class FakeServer:
    """Answers after 0.25 s, or fails; its clock is ``ahead`` of ours."""

    def __init__(self, clock: FakeClock, ahead: float | None = 0.0, error: ApiError | None = None) -> None:
        self._clock, self._ahead, self._error = clock, ahead, error

    def user(self) -> User:
        self._answer()
        return User("jane@example.com")

    def server_time(self) -> datetime | None:
        self._answer()
        return None if self._ahead is None else self._clock.now() + timedelta(seconds=self._ahead)

    def _answer(self) -> None:
        self._clock.advance(0.25)
        if self._error is not None:
            raise self._error


def test_a_profile_that_others_can_read_is_doubtful(tmp_path: Path) -> None:
    profile = tmp_path / "apiconfig"
    assert checks.profile_file(profile).verdict is Verdict.FINE
    profile.touch(mode=0o600)
    assert checks.profile_file(profile).verdict is Verdict.FINE
    profile.chmod(0o644)
    finding = checks.profile_file(profile)
    assert (finding.verdict, finding.remedy) == (Verdict.DOUBTFUL, f"chmod 600 {profile}")


def test_a_server_that_answers_is_shown_with_whose_key_it_is_and_how_long_it_took() -> None:
    clock = FakeClock()
    finding = checks.server(FakeServer(clock), ADDRESS, clock)
    assert finding.verdict is Verdict.FINE
    assert finding.found == f"{ADDRESS} knows jane@example.com; answered in 0.25 s"


def test_a_wrong_key_is_mended_by_logging_in_and_no_network_is_not() -> None:
    clock = FakeClock()
    wrong_key = checks.server(FakeServer(clock, error=Unauthenticated("Invalid token.")), ADDRESS, clock)
    no_network = checks.server(FakeServer(clock, error=Unreachable("no route to it")), ADDRESS, clock)
    assert (wrong_key.verdict, wrong_key.remedy) == (Verdict.BROKEN, "rescalefs login")
    assert (no_network.verdict, no_network.found) == (Verdict.BROKEN, "no route to it")
    assert "login" not in no_network.remedy


@pytest.mark.parametrize(
    ("server_ahead", "verdict", "words"),
    [
        (0.0, Verdict.FINE, "within 1 s"),
        (-59.0, Verdict.FINE, "within 59 s"),
        (125.0, Verdict.DOUBTFUL, "125 s behind"),
        (-125.0, Verdict.DOUBTFUL, "125 s ahead of"),
        (None, Verdict.FINE, "does not tell"),
    ],
)
def test_a_clock_that_is_off_by_more_than_a_minute_is_doubtful(
    server_ahead: float | None, verdict: Verdict, words: str
) -> None:
    clock = FakeClock()
    finding = checks.clock_skew(FakeServer(clock, ahead=server_ahead), clock)
    assert finding.verdict is verdict
    assert words in finding.found


def test_a_clock_is_not_blamed_for_a_server_out_of_reach() -> None:
    clock = FakeClock()
    finding = checks.clock_skew(FakeServer(clock, error=Unreachable("no route to it")), clock)
    assert finding.verdict is Verdict.DOUBTFUL
    assert "no route to it" in finding.found
