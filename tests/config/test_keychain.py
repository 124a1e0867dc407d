"""API keys in the system's keyring."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keyring
import pytest

from rescalefs.config import resolve_account, write_profile
from rescalefs.errors import BadSettings
from tests.config.keyring_in_file import FILE, KeyringInFile

KEY = "0123456789" * 4
OTHER = "f" * 40
EU = "https://eu.rescale.com"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rescale" / "apiconfig"


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file behind the keyring."""
    file = tmp_path / "keyring.json"
    file.write_text("{}")
    monkeypatch.setenv(FILE, str(file))
    before = keyring.get_keyring()
    monkeypatch.setattr(keyring.core, "_keyring_backend", KeyringInFile())  # type: ignore[no-untyped-call]  # keyring's own constructor
    assert keyring.get_keyring() is not before
    return file


def test_a_key_in_the_keyring_is_found_and_is_in_no_file_of_ours(path: Path, kept: Path) -> None:
    write_profile(path, "default", EU, KEY, in_keyring=True)
    assert resolve_account("default", chosen=False, environ={}, path=path).api_key == KEY
    assert json.loads(kept.read_text()) == {"rescalefs/default@eu.rescale.com": KEY}
    assert KEY not in path.read_text()
    assert path.read_text() == f"[default]\napibaseurl = {EU}\nkeyring = true\n"


def test_profiles_have_a_key_each(path: Path, kept: Path) -> None:
    write_profile(path, "default", EU, KEY, in_keyring=True)
    write_profile(path, "us", "https://platform.rescale.com", OTHER, in_keyring=True)
    assert resolve_account("default", chosen=True, environ={}, path=path).api_key == KEY
    assert resolve_account("us", chosen=True, environ={}, path=path).api_key == OTHER
    assert len(json.loads(kept.read_text())) == 2


def test_a_login_moves_the_key_from_the_file_to_the_keyring_and_back(path: Path, kept: Path) -> None:
    write_profile(path, "default", EU, OTHER)
    write_profile(path, "default", EU, KEY, in_keyring=True)
    assert OTHER not in path.read_text()
    write_profile(path, "default", EU, OTHER)
    assert "keyring" not in path.read_text()
    assert resolve_account("default", chosen=False, environ={}, path=path).api_key == OTHER
    assert kept.exists()


def test_the_variable_goes_before_the_keyring(path: Path, kept: Path) -> None:
    write_profile(path, "default", EU, KEY, in_keyring=True)
    kept.unlink()  # locked: it is not even asked
    account = resolve_account("default", chosen=False, environ={"RESCALE_API_KEY": OTHER}, path=path)
    assert account.api_key == OTHER


def test_a_locked_keyring_is_told_without_its_words_and_changes_nothing(path: Path, kept: Path) -> None:
    write_profile(path, "default", EU, KEY)
    before = path.read_text()
    kept.unlink()
    with pytest.raises(BadSettings, match="keyring does not answer for default@eu") as caught:
        write_profile(path, "default", EU, OTHER, in_keyring=True)
    assert "hunter2" not in str(caught.value)
    assert OTHER not in str(caught.value)
    assert path.read_text() == before


def test_a_keyring_without_the_key_says_how_to_put_it_there(path: Path, kept: Path) -> None:
    write_profile(path, "default", EU, KEY, in_keyring=True)
    kept.write_text("{}")
    with pytest.raises(BadSettings, match="login --keyring"):
        resolve_account("default", chosen=False, environ={}, path=path)


def test_without_the_package_it_is_named(path: Path, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_profile(path, "default", EU, KEY, in_keyring=True)
    monkeypatch.setitem(sys.modules, "keyring", None)
    with pytest.raises(BadSettings, match=r"pip install 'rescalefs\[keyring\]'"):
        resolve_account("default", chosen=False, environ={}, path=path)
    assert kept.exists()
