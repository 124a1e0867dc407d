"""`login`, `whoami`, `doctor` and the listings as processes would use them: on a simulator, over HTTP."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rescalefs.cli.main import main
from rescalefs.simulator import Fault, Simulator
from rescalefs.simulator.faults import Status

WRONG_KEY = "0" * 40


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of the test's own, and nothing about Rescale in the environment."""
    for name in [name for name in os.environ if name.startswith(("RESCALE", "XDG_"))]:
        monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.fixture
def profile(home: Path) -> Path:
    return home / ".config" / "rescale" / "apiconfig"


@pytest.fixture
def account(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Simulator:
    """A simulator that the environment leads to."""
    monkeypatch.setenv("RESCALE_API_URL", simulator.url)
    monkeypatch.setenv("RESCALE_API_KEY", simulator.api_key)
    return simulator


def log_in(key: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{key}\n"))
    return main(["login", "--key-stdin", *options])


def test_login_keeps_a_key_that_the_server_knows_for_its_owner_alone(
    simulator: Simulator, profile: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_in(simulator.api_key, monkeypatch, "--url", f"{simulator.url}/api/v2/") == 0
    captured = capsys.readouterr()
    assert str(profile) in captured.out
    assert simulator.api_key not in captured.out + captured.err
    assert stat.S_IMODE(profile.stat().st_mode) == 0o600
    assert profile.read_text() == f"[default]\napibaseurl = {simulator.url}\napikey = {simulator.api_key}\n"
    assert main(["whoami", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["server"] == simulator.url


def test_login_changes_nothing_for_a_key_that_the_server_does_not_know(
    simulator: Simulator, profile: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_in(WRONG_KEY, monkeypatch, "--url", simulator.url) == 1
    assert capsys.readouterr().err.startswith(
        f"rescalefs: {simulator.url} does not know this key; nothing was"
    )
    assert not profile.exists()


def test_a_second_login_keeps_the_address_and_the_other_profiles(
    simulator: Simulator, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile.parent.mkdir(parents=True)
    profile.touch(mode=0o600)
    before = f"[default]\napikey = x\n\n# mine\n[sim]\napibaseurl = {simulator.url}\napikey = old\n"
    profile.write_text(before)
    assert log_in(simulator.api_key, monkeypatch, "--profile", "sim") == 0
    assert profile.read_text() == before.replace("old", simulator.api_key)


def test_an_address_without_scheme_means_https(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Nothing listens there; what counts is where it was looked for.
    monkeypatch.setenv("RESCALEFS_PATIENCE", "0.01")
    assert log_in(WRONG_KEY, monkeypatch, "--url", "127.0.0.1:9") == 1
    assert log_in(WRONG_KEY, monkeypatch, "--url", "http://example.com") == 1
    refused, unsafe = capsys.readouterr().err.splitlines()[-2:]
    assert "not safe" not in refused
    assert "'http://example.com' is not safe" in unsafe


def test_an_empty_key_is_refused_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert log_in("", monkeypatch) == 1
    assert capsys.readouterr().err == "rescalefs: the API key is empty\n"


def test_without_a_terminal_login_wants_to_be_told_where_the_key_comes_from(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("key\n"))
    assert main(["login"]) == 2
    assert "--key-stdin" in capsys.readouterr().err


def test_login_says_that_the_environment_goes_first(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESCALE_API_KEY", "something-else")
    assert log_in(simulator.api_key, monkeypatch, "--url", simulator.url) == 0
    assert "RESCALE_API_KEY is set and goes before the profile" in capsys.readouterr().err


def test_a_key_that_is_typed_does_not_show(simulator: Simulator, home: Path, profile: Path) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "rescalefs", "login", "--url", simulator.url]
    shown = ""
    with subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env={**os.environ, "HOME": str(home)},
    ) as process:
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            while "API key" not in shown:
                more = _next_output(terminal.fileno())
                assert more, shown
                shown += more
            os.write(terminal.fileno(), f"{simulator.api_key}\n".encode())
            while (more := _next_output(terminal.fileno())) != "":
                shown += more
        assert process.wait(60) == 0
    assert simulator.api_key not in shown
    assert simulator.api_key in profile.read_text()


def _next_output(terminal: int) -> str:
    """What a terminal shows next; empty at its end."""
    readable, _, _ = select.select([terminal], [], [], 60)
    assert readable, "the command says nothing and does not end"
    try:
        return os.read(terminal, 4096).decode()
    except OSError:  # Linux tells the end of a terminal in this way
        return ""


def test_whoami_is_a_line_for_each_thing_known(
    account: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["whoami"]) == 0
    lines = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert list(lines) == ["email", "name", "company", "workspace", "server"]
    assert "@" in lines["email"]
    assert lines["server"] == account.url


def test_a_wrong_key_is_one_line_with_a_way_out(
    account: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESCALE_API_KEY", WRONG_KEY)
    assert main(["whoami"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "rescalefs login" in captured.err
    assert WRONG_KEY not in captured.err


def test_the_catalogue_is_listed_from_all_pages(
    account: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["coretypes", "--category", "general", "--sort", "price", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["code"] == "granite"
    assert [row["price"] for row in rows] == sorted(row["price"] for row in rows)
    assert main(["analyses", "miniconda"]) == 0
    assert "4.8.4" in capsys.readouterr().out
    assert main(["projects"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_a_job_is_listed_and_deleted(account: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    from rescalefs.assembly.client import open_client

    client = open_client()
    job = client.create_job(
        {
            "name": "wing 42",
            "jobanalyses": [
                {
                    "analysis": {"code": "miniconda", "version": "4.8.4"},
                    "command": "true",
                    "hardware": {"coreType": "granite", "coresPerSlot": 2},
                }
            ],
        }
    )
    client.close()
    assert main(["jobs"]) == 0
    assert capsys.readouterr().out.split("\t")[0] == job.id
    assert main(["delete", job.id, "--yes"]) == 0
    capsys.readouterr()
    assert main(["jobs"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["statuses", job.id]) == 1


def diagnosis(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Exit code and findings, by what was checked."""
    code = main(["doctor", "--json", *options])
    return code, {finding["check"]: finding for finding in json.loads(capsys.readouterr().out)}


def test_doctor_finds_an_account_in_order(account: Simulator, capsys: pytest.CaptureFixture[str]) -> None:
    _, findings = diagnosis(capsys)
    assert findings["server"]["verdict"] == findings["clock"]["verdict"] == "ok"
    assert set(findings["server"]) == {"check", "verdict", "found", "remedy"}
    assert {"python", "fuse device", "libfuse 2", "fusermount", "cache folder", "mounts"} <= set(findings)


@pytest.mark.fuse
def test_doctor_has_nothing_to_mend_where_mounting_works(
    account: Simulator, capsys: pytest.CaptureFixture[str]
) -> None:
    code, findings = diagnosis(capsys)
    assert code == 0
    assert [each for each in findings.values() if each["verdict"] == "broken"] == []


def test_doctor_sends_who_has_no_key_to_login(capsys: pytest.CaptureFixture[str]) -> None:
    code, findings = diagnosis(capsys)
    assert code == 1
    assert findings["API key"]["remedy"] == "rescalefs login"
    assert "server" not in findings


def test_doctor_tells_a_wrong_key_from_a_server_that_fails(
    account: Simulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESCALE_API_KEY", WRONG_KEY)
    code, findings = diagnosis(capsys)
    assert (code, findings["server"]["remedy"]) == (1, "rescalefs login")
    account.faults.add(Fault(Status(400), times=None))
    code, findings = diagnosis(capsys)
    assert code == 1
    assert "login" not in findings["server"]["remedy"]
    assert "clock" not in findings


def test_doctor_names_a_setting_that_makes_no_sense(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RESCALEFS_CACHE_SIZE", "plenty")
    code, findings = diagnosis(capsys)
    assert code == 1
    assert "cache_size = 'plenty'" in findings["settings"]["found"]


def test_doctor_shows_a_mark_and_a_remedy_for_people(
    profile: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    profile.parent.mkdir(parents=True)
    profile.touch(mode=0o644)
    profile.chmod(0o644)
    monkeypatch.setenv("RESCALEFS_ALLOW_OTHER", "true")
    main(["doctor"])
    printed = capsys.readouterr().out
    assert "✓ python" in printed
    assert "! profile file" in printed
    assert f"to mend it: chmod 600 {profile}" in printed
    assert "✗ API key" in printed
    assert "allow other users" in printed
    assert "allow_other from variable RESCALEFS_ALLOW_OTHER" in printed


def test_login_can_keep_the_key_in_the_keyring(
    simulator: Simulator, profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = tmp_path / "keyring.json"
    kept.write_text("{}")
    environment = {
        **os.environ,
        "PYTHON_KEYRING_BACKEND": "tests.config.keyring_in_file.KeyringInFile",
        "TEST_KEYRING_FILE": str(kept),
    }

    def run(*words: str, said: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "rescalefs", *words],
            input=said,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    done = run("login", "--keyring", "--key-stdin", "--url", simulator.url, said=simulator.api_key)
    assert done.returncode == 0, done.stderr
    assert "the system's keyring" in done.stdout
    assert simulator.api_key in kept.read_text()
    assert simulator.api_key not in profile.read_text() + done.stdout + done.stderr
    assert json.loads(run("whoami", "--json").stdout)["server"] == simulator.url
    kept.unlink()
    locked = run("whoami")
    assert (locked.returncode, locked.stdout) == (1, "")
    assert "keyring does not answer" in locked.stderr
    # The address stays known though the key is not.
    kept.write_text("{}")
    assert run("login", "--key-stdin", said=simulator.api_key).returncode == 0
    assert f"apikey = {simulator.api_key}" in profile.read_text()
