"""Every command ends at once, in the same words, where a setting of the network keeps it from the server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rescalefs.api.trust import VARIABLES
from rescalefs.cli.main import main
from rescalefs.mount.mountpoint import mount_at
from tests.api.peers import Proxy, answer, proxy
from tests.api.scripted import KEY, refused_url

ROOT = Path(__file__).parents[2]
LIMIT = 60.0  # seconds, for what takes one or two


@pytest.fixture(autouse=True)
def _a_machine_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name in VARIABLES:
            monkeypatch.delenv(name)
    for kind in ("CACHE", "CONFIG", "DATA", "STATE"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RESCALE_API_URL", "https://rescale.test")
    monkeypatch.setenv("RESCALE_API_KEY", KEY)
    folder = tmp_path / "wing"
    folder.mkdir()
    (folder / "job.json").write_text("{}")


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A proxy that wants a password."""
    with proxy(answer("407 Proxy Authentication Required")) as running:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{running.address}")
        yield running


COMMANDS = (
    ("whoami",),
    ("jobs",),
    ("statuses", "aBc"),
    ("coretypes",),
    ("download", "aBc", "--to", "out"),
    ("sync", "out", "--once"),
    ("sync", "out"),
    ("submit", "wing"),
    ("stop", "aBc"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_ends_at_once_with_the_proxy_and_the_variable(
    words: tuple[str, ...],
    refusing: Proxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    said = capfd.readouterr()
    assert f"rescalefs: the proxy http://{refusing.address} (from HTTPS_PROXY) wants a user name" in said.err
    assert len(refusing.heads) <= 3, "each part of the program asked once"


def test_doctor_says_the_same_and_what_to_set(refusing: Proxy, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 1
    said = capfd.readouterr().out
    assert f"the proxy http://{refusing.address} (from HTTPS_PROXY) wants a user name and a password" in said
    assert "to mend it: Set HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT" in said


def test_an_address_in_a_profile_is_named_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RESCALE_API_URL")
    monkeypatch.delenv("RESCALE_API_KEY")
    profile = tmp_path / ".config" / "rescale" / "apiconfig"
    profile.parent.mkdir(parents=True)
    profile.write_text(f"[default]\napibaseurl = https://a..test\napikey = {KEY}\n")
    profile.chmod(0o600)
    assert main(["whoami"]) == 1
    assert capfd.readouterr().err == (
        "rescalefs: a..test cannot be the name of a host. "
        f"Check the address in profile [default] of {profile}\n"
    )


def _mount(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rescalefs", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT, check=False)


@pytest.mark.fuse
@pytest.mark.parametrize("flags", [(), ("--foreground",)], ids=["background", "foreground"])
def test_mount_refuses_where_a_setting_keeps_it_from_the_server(
    refusing: Proxy, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    root = tmp_path / "Rescale"
    done = _mount("mount", str(root), *flags)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"rescalefs: the proxy http://{refusing.address} (from HTTPS_PROXY) wants a user")
    assert mount_at(root) is None


@pytest.mark.fuse
def test_mount_goes_up_where_the_proxy_is_merely_away(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    root = tmp_path / "Rescale"
    away = refused_url()
    monkeypatch.setenv("HTTPS_PROXY", away)
    done = _mount("mount", str(root))
    try:
        assert done.returncode == 0, done.stderr
        assert f"the proxy {away} (from HTTPS_PROXY) is not reached" in done.stderr
        assert (root / "jobs").is_dir()
    finally:
        assert _mount("umount", str(root)).returncode == 0
