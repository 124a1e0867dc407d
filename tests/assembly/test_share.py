"""What one account listed and read is not shown to a key of another."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from rescalefs.assembly.share import share_of
from rescalefs.belonging import Key
from rescalefs.model import User

ANNA, BEN = User("anna@example.com", workspace_id="w"), User("ben@example.com", workspace_id="w")


def key(secret: str) -> Key:
    return Key("eu.rescale.com", lambda salt: hashlib.sha256(f"{salt}{secret}".encode()).hexdigest())


ANNAS, RENEWED, BENS = key("anna"), key("renewed"), key("ben")


def test_the_first_account_has_the_folder_itself_and_each_other_one_of_its_own(tmp_path: Path) -> None:
    assert share_of(tmp_path, ANNAS, ANNA) == ""
    bens = share_of(tmp_path, BENS, BEN)
    assert bens.startswith("key-")
    assert share_of(tmp_path, ANNAS, ANNA) == ""
    assert share_of(tmp_path, BENS, BEN) == bens


def test_a_renewed_key_has_its_accounts_share(tmp_path: Path) -> None:
    share_of(tmp_path, ANNAS, ANNA)
    assert share_of(tmp_path, RENEWED, ANNA) == ""
    assert share_of(tmp_path, RENEWED, None) == "", "and without a server from then on"


def test_without_a_server_a_new_key_sees_nothing_of_before(tmp_path: Path) -> None:
    share_of(tmp_path, ANNAS, ANNA)
    own = share_of(tmp_path, BENS, None)
    assert own != ""
    assert share_of(tmp_path, BENS, None) == own
    assert share_of(tmp_path, BENS, BEN) == own, "what was kept meanwhile is kept for its account"
    assert share_of(tmp_path, ANNAS, None) == ""


def test_a_cache_of_before_is_the_first_keys(tmp_path: Path) -> None:
    (tmp_path / "listings").mkdir()
    assert share_of(tmp_path, ANNAS, None) == ""
    assert share_of(tmp_path, BENS, None) != ""
    assert share_of(tmp_path, ANNAS, ANNA) == ""
    assert share_of(tmp_path, RENEWED, ANNA) == ""


def test_the_servers_word_goes_before_what_was_believed_of_a_key(tmp_path: Path) -> None:
    share_of(tmp_path, BENS, ANNA)  # two simulators of one key, for one
    bens = share_of(tmp_path, BENS, BEN)
    assert bens != ""
    assert share_of(tmp_path, BENS, None) == bens


def test_a_record_that_cannot_be_read_gives_nobody_what_is_there(tmp_path: Path) -> None:
    share_of(tmp_path, ANNAS, ANNA)
    (tmp_path / "accounts.json").write_bytes(b"[{")
    assert share_of(tmp_path, BENS, BEN) != ""


@pytest.mark.parametrize("user", [ANNA, None])
def test_a_cache_folder_that_cannot_be_made_is_no_error(tmp_path: Path, user: User | None) -> None:
    (tmp_path / "file").write_text("")
    assert share_of(tmp_path / "file" / "cache", ANNAS, user) == ""


def test_the_record_holds_no_key(tmp_path: Path) -> None:
    share_of(tmp_path, ANNAS, ANNA)
    record = tmp_path / "accounts.json"
    assert b"anna@example.com" in record.read_bytes()
    assert b'"anna"' not in record.read_bytes()
    assert record.stat().st_mode & 0o077 == 0


def test_a_disk_that_takes_no_record_is_reported_in_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert share_of(tmp_path / "file" / "cache", ANNAS, ANNA) == ""
    said = [record.getMessage() for record in caplog.records]
    assert said
    assert not any("Errno" in each or ".part" in each for each in said)
