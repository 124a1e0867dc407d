"""Rescale's own profile file."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from rescalefs.config import profile_path, profiles, resolve_account, write_profile
from rescalefs.errors import BadSettings

KEY = "0123456789" * 4
OTHER = "f" * 40


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rescale" / "apiconfig"


def test_the_file_is_where_rescales_own_tools_have_it() -> None:
    home = Path("/home/me")
    assert profile_path(home, "linux") == home / ".config" / "rescale" / "apiconfig"
    assert profile_path(home, "darwin") == home / ".config" / "rescale" / "apiconfig"
    assert profile_path(home, "win32") == home / "config" / "rescale" / "apiconfig"


def test_on_windows_the_folder_with_a_dot_counts_where_it_alone_is_there(tmp_path: Path) -> None:
    dotted, plain = (tmp_path / name / "rescale" / "apiconfig" for name in (".config", "config"))
    dotted.parent.mkdir(parents=True)
    dotted.touch()
    assert profile_path(tmp_path, "win32") == dotted
    plain.parent.mkdir(parents=True)
    plain.touch()
    assert profile_path(tmp_path, "win32") == plain


@pytest.mark.parametrize(
    "lines",
    [
        "apibaseurl = 'https://eu.rescale.com'\napikey = '{key}'",
        'apibaseurl = "https://eu.rescale.com/api/v2/"\napikey = "{key}"',
        "apibaseurl = https://eu.rescale.com/api/v3/\napikey = {key}",
        "apiurl = https://eu.rescale.com/api/v2\napikey={key}",
        "apiurl = https://platform.rescale.com\napibaseurl = https://eu.rescale.com\napikey = {key}",
    ],
)
def test_profiles_as_other_clients_write_them_are_understood(path: Path, lines: str) -> None:
    path.parent.mkdir()
    path.write_text(f"[default]\n{lines.format(key=KEY)}\n")
    path.chmod(0o600)
    account = resolve_account("default", chosen=False, environ={}, path=path)
    assert (account.base_url, account.api_key) == ("https://eu.rescale.com", KEY)


def test_what_is_written_is_read_again_and_only_its_owner_can(path: Path) -> None:
    write_profile(path, "default", "https://eu.rescale.com", KEY)
    account = resolve_account("default", chosen=False, environ={}, path=path)
    assert (account.base_url, account.api_key) == ("https://eu.rescale.com", KEY)
    assert account.name == "default@eu.rescale.com"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [each.name for each in path.parent.iterdir()] == ["apiconfig"]


def test_other_profiles_and_comments_stay_when_one_is_written(path: Path) -> None:
    path.parent.mkdir()
    before = f"# from the docs\n[default]\napikey = {OTHER}\nextra = 50%\n"
    path.write_text(before)
    path.chmod(0o600)
    write_profile(path, "us", "https://platform.rescale.com", KEY)
    assert path.read_text().startswith(before)
    assert profiles(path) == ("default", "us")
    write_profile(path, "default", "https://eu.rescale.com", KEY)
    assert path.read_text().startswith(f"# from the docs\n[default]\napikey = {KEY}\nextra = 50%\n")
    assert resolve_account("us", chosen=True, environ={}, path=path).api_key == KEY


def test_the_environment_overrides_the_profile(path: Path) -> None:
    write_profile(path, "default", "https://eu.rescale.com", KEY)
    environ = {"RESCALE_API_KEY": OTHER, "RESCALE_API_URL": "http://127.0.0.1:8765/api/v2/"}
    account = resolve_account("default", chosen=False, environ=environ, path=path)
    assert (account.base_url, account.api_key) == ("http://127.0.0.1:8765", OTHER)
    assert account.name.startswith("env-")
    assert account.name.endswith("@127.0.0.1_8765")
    assert OTHER not in account.name
    asked_for = resolve_account("default", chosen=True, environ={"RESCALE_API_KEY": OTHER}, path=path)
    assert asked_for.api_key == OTHER
    assert re.fullmatch(r"env-[0-9a-f]{8}@eu\.rescale\.com", asked_for.name)
    same = resolve_account("default", chosen=True, environ={"RESCALE_API_KEY": KEY}, path=path)
    assert same.name == "default@eu.rescale.com"


@pytest.mark.parametrize("profile", ["../../else", "a/b", "..", "x\0y", "Ünder wind"])
def test_an_account_is_one_folder_and_stays_where_it_is_put(path: Path, profile: str, tmp_path: Path) -> None:
    environ = {"RESCALE_API_KEY": KEY, "RESCALE_API_URL": "https://me:hidden@eu.rescale.com:8443"}
    name = resolve_account(profile, chosen=True, environ=environ, path=path).name
    assert (tmp_path / name).resolve().parent == tmp_path.resolve()
    assert name.endswith("@eu.rescale.com_8443")
    assert "hidden" not in name
    (tmp_path / name).mkdir()


def test_two_profiles_never_share_a_folder(path: Path) -> None:
    profiles_of_one_host = ("a/b", "a_b", "a%2Fb", "a b", "A_B")
    for profile in profiles_of_one_host:
        write_profile(path, profile, "https://eu.rescale.com", KEY)
    names = {
        resolve_account(profile, chosen=True, environ={}, path=path).name for profile in profiles_of_one_host
    }
    assert len(names) == 5


def test_an_address_that_cannot_be_read_is_an_error_for_people(path: Path) -> None:
    with pytest.raises(BadSettings, match=r"https://platform\.rescale\.com"):
        resolve_account("default", False, {"RESCALE_API_KEY": KEY, "RESCALE_API_URL": "http://["}, path)


def test_a_linked_profile_file_stays_a_link(path: Path, tmp_path: Path) -> None:
    dotfile = tmp_path / "dotfiles" / "apiconfig"
    write_profile(dotfile, "default", "https://eu.rescale.com", OTHER)
    path.parent.mkdir()
    path.symlink_to(dotfile)
    write_profile(path, "default", "https://eu.rescale.com", KEY)
    assert path.is_symlink()
    assert f"apikey = {KEY}\n" in dotfile.read_text()


@pytest.mark.parametrize("profile", ["a]\n[default", "[x]", "a\rb"])
def test_a_profiles_name_cannot_write_other_lines(path: Path, profile: str) -> None:
    with pytest.raises(BadSettings, match="name of a profile"):
        write_profile(path, profile, "https://eu.rescale.com", KEY)
    assert not path.exists()


def test_a_file_of_another_systems_editor_is_read(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"\xef\xbb\xbf[default]\r\nApiKey = " + KEY.encode() + b"\r\n")
    path.chmod(0o600)
    assert resolve_account("default", chosen=False, environ={}, path=path).api_key == KEY


def test_the_key_is_in_no_repr(path: Path) -> None:
    write_profile(path, "default", "https://eu.rescale.com", KEY)
    assert KEY not in repr(resolve_account("default", chosen=False, environ={}, path=path))


def test_a_missing_key_or_profile_says_what_to_do(path: Path) -> None:
    with pytest.raises(BadSettings, match="rescalefs login"):
        resolve_account("default", chosen=False, environ={}, path=path)
    write_profile(path, "default", "https://eu.rescale.com", KEY)
    with pytest.raises(BadSettings, match=r"no profile \[us\].*there are: default"):
        resolve_account("us", chosen=True, environ={}, path=path)


def test_a_file_that_others_can_read_is_warned_about(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_profile(path, "default", "https://eu.rescale.com", KEY)
    path.chmod(0o644)
    resolve_account("default", chosen=False, environ={}, path=path)
    assert f"chmod 600 {path}" in caplog.text
    assert KEY not in caplog.text


@pytest.mark.parametrize("content", [b"apikey = 0123456789\n", b"[a]\n[a]\n", b"\xff"])
def test_rubbish_is_an_error_that_names_the_file(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(BadSettings, match="apiconfig cannot be read") as failure:
        resolve_account("default", chosen=False, environ={}, path=path)
    assert "0123456789" not in str(failure.value)
