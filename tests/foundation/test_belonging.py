"""Whose something is, by what the server tells of a key's account."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest

from rescalefs.belonging import Belonging, Key, Verdict
from rescalefs.model import User

ANNA = User("anna@example.com", workspace="Wings", workspace_id="aBcD")


def key(secret: str, server: str = "eu.rescale.com") -> Key:
    return Key(server, lambda salt: hashlib.sha256(f"{salt}{secret}".encode()).hexdigest())


OLD, NEW = key("old"), key("new")


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (ANNA, Verdict.SAME),
        (dataclasses.replace(ANNA, email="Anna@Example.COM"), Verdict.SAME),
        (dataclasses.replace(ANNA, workspace="Wings and tails"), Verdict.SAME),
        (dataclasses.replace(ANNA, workspace_id=""), Verdict.SAME),
        (dataclasses.replace(ANNA, email="ben@example.com"), Verdict.OTHER),
        (dataclasses.replace(ANNA, workspace_id="eFgH"), Verdict.OTHER),
        (dataclasses.replace(ANNA, email=""), Verdict.UNKNOWN),
        (User(""), Verdict.UNKNOWN),
    ],
)
def test_a_new_key_is_of_the_account_when_address_and_workspace_say_so(now: User, verdict: Verdict) -> None:
    assert Belonging.of(ANNA, OLD).verdict(now, NEW) is verdict


@pytest.mark.parametrize("now", [User(""), dataclasses.replace(ANNA, email="")])
def test_a_known_key_stays_its_accounts_when_the_server_tells_less(now: User) -> None:
    assert Belonging.of(ANNA, OLD).verdict(now, OLD) is Verdict.SAME


def test_a_known_key_is_no_proof_against_what_the_server_says() -> None:
    assert Belonging.of(ANNA, OLD).verdict(User("ben@example.com"), OLD) is Verdict.OTHER


def test_the_address_and_workspace_of_another_platform_are_another_account() -> None:
    assert Belonging.of(ANNA, OLD).verdict(ANNA, key("old", "kr.rescale.com")) is Verdict.OTHER


def test_an_account_that_the_server_never_named_is_told_by_its_key_alone() -> None:
    unnamed = Belonging.of(User(""), OLD)
    assert unnamed.verdict(User(""), OLD) is Verdict.SAME
    assert unnamed.verdict(User(""), NEW) is Verdict.UNKNOWN


def test_what_is_kept_survives_its_text_and_holds_no_key() -> None:
    kept = Belonging.of(ANNA, OLD).with_key(NEW)
    assert Belonging.parsed(kept.text()) == kept
    assert kept.knows(OLD)
    assert kept.knows(NEW)
    assert "old" not in kept.text()


def test_a_field_that_the_server_tells_later_is_added_and_the_salt_stays() -> None:
    first = Belonging.of(dataclasses.replace(ANNA, workspace_id=""), OLD)
    later = first.completed(ANNA)
    assert (later.email, later.workspace_id, later.salt) == (ANNA.email, "aBcD", first.salt)


def test_an_account_in_words() -> None:
    assert str(Belonging.of(ANNA, OLD)) == "anna@example.com in workspace Wings (aBcD) at eu.rescale.com"
    assert str(Belonging.of(User(""), key("x", ""))) == "an account without an e-mail address"
