"""`rescalefs simulator` as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rescalefs.cli.main import main
from rescalefs.simulator import SimulatorSettings


@contextmanager
def serving(*options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and its address, once it serves."""
    command = [sys.executable, "-m", "rescalefs", "simulator", "--port", "0", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def status(url: str, key: str | None = None) -> int:
    headers = {"Authorization": f"Token {key}"} if key else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_its_address_serves_it_and_ends_cleanly(tmp_path: Path, ending: signal.Signals) -> None:
    with serving("--data", str(tmp_path / "data"), "--api-key", "f" * 40) as (process, url):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url)
        assert status(f"{url}/api/v2/users/me/", "f" * 40) == 200
        assert status(f"{url}/api/v2/users/me/") == 401
        process.send_signal(ending)
        _, hint = process.communicate(timeout=60)
    assert process.returncode == 0
    assert (
        hint == f"use it from another shell with: export RESCALE_API_URL={url} RESCALE_API_KEY={'f' * 40}\n"
    )


def test_its_options_reach_it(tmp_path: Path) -> None:
    faults = tmp_path / "faults.json"
    faults.write_text('{"path": "users/me", "effect": {"kind": "status", "status": 503}}')
    with serving("--faults", str(faults), "--api-key", "f" * 40, "--throttle", "user=1") as (_, url):
        answers = [status(f"{url}/api/v2/users/me/", "f" * 40) for _ in range(3)]
    assert 503 in answers
    assert 429 in answers


def test_it_does_not_listen_to_others_unless_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulator", "--host", "0.0.0.0", "--port", "0"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("rescalefs: 0.0.0.0 is not the loopback.")


@pytest.mark.parametrize("wrong", ["user", "user=many", "=1"])
def test_a_limit_without_scope_or_number_is_wrong_usage(
    wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulator", "--throttle", wrong]) == 2
    assert f"{wrong!r} is not like user=7200" in capsys.readouterr().err


def test_the_defaults_in_the_help_are_the_real_ones(capsys: pytest.CaptureFixture[str]) -> None:
    main(["simulator", "--help"])
    shown = re.sub(r"\s+", " ", capsys.readouterr().out)
    settings = SimulatorSettings()
    defaults = {
        "--host": settings.host,
        "--port": settings.port,
        "--jobs-at-once": settings.jobs_at_once,
        "--page-size": settings.page_size,
    }
    for option, value in defaults.items():
        assert re.search(rf"{option} [^-]*\[default: {re.escape(str(value))}\]", shown), option


def test_without_the_extra_it_says_how_to_install_it(tmp_path: Path) -> None:
    # A package that cannot be found stands in for one that is not installed.
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError('gone', name='starlette')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "rescalefs", "simulator"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "rescalefs: the simulator is an extra: pip install 'rescalefs[simulator]'\n"
