"""The nouns."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone

import pytest

from rescalefs.model import Job, RemoteFile, is_terminal


@pytest.mark.parametrize(
    "status", ["Completed", "Failed", "Stopped", "Force Stop", "FORCE_STOP", "force_stopped", " Terminated "]
)
def test_a_job_has_ended_whatever_the_spelling(status: str) -> None:
    assert is_terminal(status)
    assert Job("aabbcc", "wing", status).is_finished


@pytest.mark.parametrize("status", ["", "Pending", "Executing", "Stopping", "Waiting for Queue", "Dreaming"])
def test_unknown_words_and_running_ones_are_not_terminal(status: str) -> None:
    assert not is_terminal(status)


def test_other_bytes_mean_another_version() -> None:
    file = RemoteFile("XkpTse", "out.log", "out.log", 10, sha512="ab" * 64)
    assert file.version == replace(file, name="renamed.log").version
    assert file.version != replace(file, sha512="cd" * 64).version
    unsigned = replace(file, sha512=None, uploaded=datetime(2026, 11, 24, tzinfo=timezone.utc))
    assert unsigned.version != replace(unsigned, size=11).version
    assert unsigned.version != replace(unsigned, uploaded=None).version
