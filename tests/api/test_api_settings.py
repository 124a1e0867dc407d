"""Where a key may travel, and what a key looks like."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescalefs.api import ApiSettings
from rescalefs.api.settings import is_safe_url
from rescalefs.errors import BadSettings
from tests.api.scripted import KEY


@pytest.mark.parametrize(
    "url",
    [
        "https://platform.rescale.com",
        "https://platform.rescale.com:8443/below/",
        "HTTPS://platform.rescale.com",
        "http://localhost:8765",
        "http://LOCALHOST",
        "http://127.0.0.1:8765",
        "http://127.8.9.10",
        "http://[::1]:8765",
    ],
)
def test_https_and_this_very_machine_are_safe(url: str) -> None:
    assert ApiSettings(url, KEY).base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "platform.rescale.com",
        "http://platform.rescale.com",
        "http://localhost.evil.com",
        "http://127.0.0.1.evil.com",
        "http://127.0.0.1@evil.com",
        "http://localhost:80@evil.com",
        "http://evil.com\\@127.0.0.1",
        "http://evil.com\\@localhost/",
        "http://evil.com#@127.0.0.1",
        "http://evil.com?@127.0.0.1",
        "http://evil.com/http://127.0.0.1",
        "http://0.0.0.0",
        "http://10.0.0.1",
        "http://[::1",
        "http://127.0.0.1:http",
        "http://127.0.0.1:99999",
        "https://",
        "https:///jobs",
        "https://host name",
        "https://host\n.evil.com",
        "https://name:password@platform.rescale.com",
        "https://platform.rescale.com?x=1",
        "https://platform.rescale.com/#part",
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "//127.0.0.1",
    ],
)
def test_anything_else_is_refused_with_an_example_of_what_is_right(url: str) -> None:
    with pytest.raises(BadSettings, match=r"API address") as refusal:
        ApiSettings(url, KEY)
    assert "password@" not in str(refusal.value)
    assert KEY not in str(refusal.value)


@pytest.mark.parametrize("port", ["99999", "0", "http", "-1"])
def test_a_port_that_cannot_be_is_named_as_what_is_wrong(port: str) -> None:
    with pytest.raises(BadSettings, match="a number up to 65535"):
        ApiSettings(f"http://127.0.0.1:{port}", KEY)


@given(st.text())
def test_no_address_is_too_odd_to_be_judged(url: str) -> None:
    assert is_safe_url(url) in (True, False)


@pytest.mark.parametrize("key", ["", " ", f"{KEY}\n", f"{KEY[:20]} {KEY[20:]}", "\x7f", "schlüssel", "€"])
def test_a_key_that_no_header_could_carry_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(BadSettings, match="the API key") as refusal:
        ApiSettings("https://platform.rescale.com", key)
    assert len(key.strip()) < 2 or key.strip() not in str(refusal.value)


def test_the_key_is_not_in_the_settings_repr() -> None:
    assert KEY not in repr(ApiSettings("https://platform.rescale.com", KEY))
