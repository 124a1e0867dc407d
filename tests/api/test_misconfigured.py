"""What no retry can mend: told at once, with the culprit and the setting, and never with a password."""

from __future__ import annotations

import http.client
import importlib.util
import socket
import ssl
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from rescalefs.api.culprits import misconfiguration
from rescalefs.api.trust import VARIABLES
from rescalefs.api.way import Proxy, Way, way_to
from rescalefs.errors import ApiError, Misconfigured, Unreachable
from rescalefs.model import RemoteFile
from tests.api.conftest import MakeClient
from tests.api.peers import Authority, answer, proxy, talker
from tests.api.scripted import Reply, ScriptedServer, refused_url, reply, scripted
from tests.fakes import FakeClock

USER = {"email": "me@example.com"}
ELSEWHERE = "https://rescale.test"  # is resolved by proxies alone
SECRET = "pa55word"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(autouse=True)
def _only_certificates_of_the_test(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def tls_server(authority: Authority) -> Iterator[ScriptedServer]:
    with scripted(authority.server("127.0.0.1")) as server:
        server.answering = lambda _: reply(USER)
        yield server


def refusal(connect: MakeClient, url: str, clock: FakeClock) -> Misconfigured:
    """What a request to ``url`` ends with: at once, and without the password."""
    before = list(clock.waits)
    with pytest.raises(Misconfigured) as caught:
        connect(url, address_origin="profile [default]").user()
    assert clock.waits == before, "nothing was tried again"
    assert caught.value.remedy
    assert SECRET not in "".join((str(caught.value), repr(caught.value)))
    return caught.value


# -- proxies


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("socks://127.0.0.1:1080", "there is no kind of proxy called socks. Write socks5h:// in place of"),
        ("ftp://127.0.0.1:21", "there is no kind of proxy called ftp. Write http:// in place of ftp://"),
        ("http://", "it is no address"),
        ("http://proxy:port", "it is no address"),
        (
            f"http://me:{SECRET}#1@proxy:3128",
            "it is no address. Write it as http://HOST:PORT, and characters",
        ),
        (f"http://me:1#{SECRET}@proxy:3128", "it is no address"),
        (f"me:{SECRET}://@proxy:3128", "it is no address"),
    ],
)
def test_a_proxy_that_cannot_be_one_is_told_with_its_variable(
    connect: MakeClient,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    value: str,
    told: str,
) -> None:
    monkeypatch.setenv(variable, value)
    error = str(refusal(connect, ELSEWHERE, clock))
    assert error.startswith(f"the proxy in {variable} cannot be used: {told}")


def test_socks_without_its_package_is_told_with_what_to_install(
    connect: MakeClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", f"socks5h://me:{SECRET}@127.0.0.1:1080")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'rescalefs[socks]'" in refusal(connect, ELSEWHERE, clock).remedy


def test_a_proxy_that_wants_a_password_is_told_at_once(
    connect: MakeClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = answer("407 Proxy Authentication Required", "Proxy-Authenticate: Basic realm=x")
    with proxy(says) as asked:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{asked.address}")
        error = refusal(connect, ELSEWHERE, clock)
        assert str(error).startswith(
            f"the proxy http://{asked.address} (from HTTPS_PROXY) wants a user name and a password (407). "
            "Set HTTPS_PROXY to http://USER:PASSWORD@HOST:PORT"
        )
        monkeypatch.setenv("https_proxy", f"http://me:{SECRET}@{asked.address}")
        error = refusal(connect, ELSEWHERE, clock)
        assert f"{asked.address} (from https_proxy) does not take the user name and the password" in str(
            error
        )
        assert len(asked.heads) == 2
        assert b"Proxy-Authorization: Basic" in asked.heads[1]


def test_a_proxy_that_forbids_the_server_is_told_at_once(
    connect: MakeClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy(answer("403 Blocked by policy")) as asked:
        monkeypatch.setenv("ALL_PROXY", asked.address)  # without a scheme it is an HTTP proxy
        error = str(refusal(connect, ELSEWHERE, clock))
    assert f"http://{asked.address} (from ALL_PROXY) lets no connection through to rescale.test" in error
    assert "(403 Blocked by policy)" in error
    assert "NO_PROXY" in error


@pytest.mark.parametrize("status", ["502 Bad Gateway", "503 Service Unavailable", "504 Gateway Timeout"])
def test_a_proxy_that_does_not_reach_the_server_is_asked_again(
    connect: MakeClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    with proxy(answer(status)) as asked:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{asked.address}")
        with pytest.raises(Unreachable, match=rf"does not reach the server \({status}\)") as caught:
            connect(ELSEWHERE, patience=2.0).user()
    assert not isinstance(caught.value, Misconfigured)
    assert clock.waits


def test_a_proxy_that_is_away_is_named_and_asked_again(
    connect: MakeClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", refused_url())
    with pytest.raises(
        Unreachable, match=r"the proxy http://.* \(from HTTPS_PROXY\) is not reached"
    ) as caught:
        connect(ELSEWHERE, patience=2.0).user()
    assert not isinstance(caught.value, Misconfigured)
    assert clock.waits


def test_a_proxy_that_speaks_no_tls_is_told_with_how_to_write_it(
    connect: MakeClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with talker(lambda peer: peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as address:
        monkeypatch.setenv("HTTPS_PROXY", f"https://{address}")
        error = str(refusal(connect, ELSEWHERE, clock))
    assert f"the proxy https://{address} (from HTTPS_PROXY) does not speak TLS. Write http://" in error


def test_a_server_is_reached_through_a_proxy_with_a_password(
    connect: MakeClient, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    with (
        scripted(authority.server("rescale.test")) as server,
        proxy(target=("127.0.0.1", int(server.address.partition(":")[2]))) as asked,
    ):
        server.answering = lambda _: reply(USER)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:{SECRET}@{asked.address}")
        client = connect(ELSEWHERE)
        client.connect()
        assert client.user().email == "me@example.com"
        assert asked.heads[0].startswith(b"CONNECT rescale.test:443 ")
        client.close()


def test_a_server_is_reached_through_a_proxy_that_is_itself_reached_by_tls(
    connect: MakeClient, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    with (
        scripted(authority.server("rescale.test")) as server,
        proxy(
            target=("127.0.0.1", int(server.address.partition(":")[2])), tls=authority.server("127.0.0.1")
        ) as asked,
    ):
        server.answering = lambda _: reply(USER)
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.file))
        monkeypatch.setenv("HTTPS_PROXY", f"https://{asked.address}")
        client = connect(ELSEWHERE)
        assert client.user().email == "me@example.com"
        client.close()


def _socks_server(method: int, outcome: int) -> object:
    """What a SOCKS5 proxy does with one connection (RFC 1928): it chooses a method, and says the outcome."""

    def act(peer: socket.socket) -> None:
        count = peer.recv(2)[1]
        peer.recv(count)
        peer.sendall(bytes([5, method]))
        if method == 2:
            peer.recv(512)
            peer.sendall(bytes([1, 1]))  # RFC 1929: not 0 is a failure
        elif method == 0:
            peer.recv(512)
            peer.sendall(struct.pack("!BBBBIH", 5, outcome, 0, 1, 0, 0))

    return act


@pytest.mark.parametrize(
    ("method", "outcome", "told"),
    [
        (255, 0, "authentication methods"),
        (2, 0, "authentication failed"),
        (0, 2, "not allowed by ruleset"),
    ],
)
def test_a_socks_proxy_that_refuses_us_is_told_at_once(
    connect: MakeClient,
    clock: FakeClock,
    monkeypatch: pytest.MonkeyPatch,
    method: int,
    outcome: int,
    told: str,
) -> None:
    with talker(_socks_server(method, outcome)) as address:  # type: ignore[arg-type]
        monkeypatch.setenv("ALL_PROXY", f"socks5h://me:{SECRET}@{address}")
        error = str(refusal(connect, ELSEWHERE, clock))
    assert f"the proxy socks5h://{address} (from ALL_PROXY) refuses us" in error
    assert told in error


def test_a_socks_proxy_that_does_not_reach_the_server_is_asked_again(
    connect: MakeClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    with talker(_socks_server(0, 4)) as address:  # type: ignore[arg-type]  # 4: host unreachable
        monkeypatch.setenv("ALL_PROXY", f"socks5h://{address}")
        with pytest.raises(Unreachable) as caught:
            connect(ELSEWHERE, patience=2.0).user()
    assert not isinstance(caught.value, Misconfigured)
    assert clock.waits


def test_what_no_proxy_names_is_reached_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks://nonsense")
    monkeypatch.setenv("NO_PROXY", "rescale.test")
    assert way_to(ELSEWHERE).proxy is None
    assert way_to("https://127.0.0.1:1").proxy is None


def test_the_variable_in_small_letters_goes_before_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://one:1")
    monkeypatch.setenv("https_proxy", "http://two:2")
    monkeypatch.setenv("ALL_PROXY", "http://three:3")
    assert str(way_to(ELSEWHERE).proxy) == "the proxy http://two:2 (from https_proxy)"
    monkeypatch.setenv("https_proxy", "http://one:1")  # the same in both: it is the one that counted
    assert str(way_to(ELSEWHERE).proxy) == "the proxy http://one:1 (from https_proxy)"


# -- certificates


@pytest.mark.parametrize("variable", VARIABLES[:3])
def test_a_bundle_that_is_not_there_is_told_with_its_variable(
    connect: MakeClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    missing = tmp_path / "missing.pem"
    monkeypatch.setenv(variable, str(missing))
    error = str(refusal(connect, "https://127.0.0.1:1", clock))
    assert error.startswith(f"{variable} names {missing}, which cannot be read (No such file or directory)")
    assert f"Correct {variable}, or unset it" in error


@pytest.mark.parametrize("content", [b"", b"no certificate", b"\x00\xff" * 50])
def test_a_bundle_without_certificates_is_told_with_its_variable(
    connect: MakeClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "ca.pem"
    file.write_bytes(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(file))
    error = str(refusal(connect, "https://127.0.0.1:1", clock))
    assert error.startswith(f"REQUESTS_CA_BUNDLE names {file}, which holds no certificates in PEM form")


def test_bundles_do_not_matter_to_what_is_not_tls(
    server: ScriptedServer, connect: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere")
    server.script(reply(USER))
    connect(server.url).user()


@pytest.mark.parametrize("variable", VARIABLES[:3])
def test_each_variable_that_names_certificates_is_believed(
    connect: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    authority: Authority,
    tls_server: ScriptedServer,
    variable: str,
) -> None:
    for later in VARIABLES[VARIABLES.index(variable) + 1 : 3]:
        monkeypatch.setenv(later, "/nowhere")  # the first one counts
    monkeypatch.setenv(variable, str(authority.file))
    assert connect(tls_server.url).user().email == "me@example.com"


def test_a_folder_of_certificates_is_believed(
    connect: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    authority: Authority,
    tls_server: ScriptedServer,
    tmp_path: Path,
) -> None:
    hashed = subprocess.run(
        ["openssl", "x509", "-noout", "-hash", "-in", authority.file],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    (tmp_path / f"{hashed}.0").write_bytes(authority.file.read_bytes())
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    assert connect(tls_server.url).user().email == "me@example.com"


def test_certificates_of_the_system_are_believed_without_a_variable(
    connect: MakeClient, monkeypatch: pytest.MonkeyPatch, authority: Authority, tls_server: ScriptedServer
) -> None:
    """A system whose one file of certificates holds that of the company."""
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: None)
    monkeypatch.setattr("rescalefs.api.trust._SYSTEM_FILES", ("/nowhere", str(authority.file)))
    assert connect(tls_server.url).user().email == "me@example.com"


def test_a_certificate_that_is_not_trusted_is_told_with_what_to_do(
    connect: MakeClient, clock: FakeClock, tls_server: ScriptedServer
) -> None:
    error = str(refusal(connect, tls_server.url, clock))
    assert f"{tls_server.address} has a certificate that is not trusted here" in error
    assert "trusted is what the system trusts. If your company inspects connections" in error
    assert error.endswith("else check the address in profile [default]")
    assert tls_server.asked == []


def test_a_bundle_that_is_mended_is_taken_without_a_new_client(
    connect: MakeClient,
    monkeypatch: pytest.MonkeyPatch,
    authority: Authority,
    tls_server: ScriptedServer,
    tmp_path: Path,
) -> None:
    bundle = tmp_path / "bundle.pem"
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    client = connect(tls_server.url)
    with pytest.raises(Misconfigured):
        client.user()
    bundle.write_bytes(authority.file.read_bytes())
    assert client.user().email == "me@example.com"


def test_a_certificate_for_another_name_is_told(
    connect: MakeClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with scripted(authority.server("rescale.test")) as server:
        error = str(refusal(connect, server.url, clock))
    assert f"{server.address} has a certificate for another name" in error
    assert error.endswith("Check the address in profile [default]")


def test_the_proxy_is_named_where_it_may_have_put_its_certificate_in_between(
    connect: MakeClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, tls_server: ScriptedServer
) -> None:
    with proxy(target=("127.0.0.1", int(tls_server.address.partition(":")[2]))) as asked:
        monkeypatch.setenv("HTTPS_PROXY", f"http://{asked.address}")
        error = str(refusal(connect, ELSEWHERE, clock))
    assert error.startswith(
        f"rescale.test, through the proxy http://{asked.address} (from HTTPS_PROXY), has a"
    )


@pytest.mark.parametrize("code", [9, 10])
def test_a_certificate_out_of_date_points_to_the_clock(code: int) -> None:
    expired = ssl.SSLCertVerificationError(1, "certificate verify failed")
    expired.verify_code, expired.verify_message = code, "certificate has expired"
    found = misconfiguration(requests.exceptions.SSLError(expired), Way(ELSEWHERE), "")
    assert found is not None
    assert "rescale.test has a certificate that is not valid today (certificate has expired)" in str(found)
    assert "this machine's clock" in found.remedy


def test_a_server_that_wants_a_certificate_of_ours_is_told(
    connect: MakeClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch, authority: Authority
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    strict = authority.server("127.0.0.1")
    strict.verify_mode = ssl.CERT_REQUIRED
    strict.maximum_version = ssl.TLSVersion.TLSv1_2  # in 1.3 the refusal may be lost in a reset
    with scripted(strict) as server:
        error = str(refusal(connect, server.url, clock))
    assert "cannot be reached securely" in error or "wants a certificate of the client" in error


# -- addresses


def test_a_port_that_speaks_no_tls_is_told(
    server: ScriptedServer, connect: MakeClient, clock: FakeClock
) -> None:
    error = str(refusal(connect, server.url.replace("http:", "https:"), clock))
    assert error == (
        f"{server.address} does not speak TLS, which https:// stands for. "
        "Check the address in profile [default]"
    )


def test_a_port_that_speaks_tls_is_told(connect: MakeClient, clock: FakeClock) -> None:
    def refuse(peer: socket.socket) -> None:
        peer.recv(4096)
        peer.sendall(b"\x15\x03\x01\x00\x02\x02\x46\r\n")  # an alert: protocol version

    with talker(refuse) as address:
        error = str(refusal(connect, f"http://{address}", clock))
    assert (
        error
        == f"{address} speaks TLS. Write https:// in place of http:// in the address in profile [default]"
    )


@pytest.mark.parametrize("host", ["a" * 70 + ".test", "a..b.test", ".test"])
def test_a_name_that_no_host_can_have_is_told(connect: MakeClient, clock: FakeClock, host: str) -> None:
    error = str(refusal(connect, f"https://{host}", clock))
    assert error == f"{host} cannot be the name of a host. Check the address in profile [default]"


def test_the_host_of_the_content_is_named_where_that_is_not_trusted(
    server: ScriptedServer, connect: MakeClient, clock: FakeClock, tls_server: ScriptedServer
) -> None:
    server.script(Reply(302, b"", {"Location": f"{tls_server.url}/content"}))
    client = connect(server.url, address_origin="profile [default]")
    with (
        pytest.raises(Misconfigured, match=f"^{tls_server.address} has a certificate that is not") as caught,
        client.open_range(RemoteFile("aBc", "x", "x", 10), 0, 10),
    ):
        raise AssertionError("it was opened")
    assert "profile" not in str(caught.value), "that is not where this address comes from"
    assert clock.waits == []


def test_an_answer_that_is_no_http_is_asked_for_again(connect: MakeClient, clock: FakeClock) -> None:
    with (
        talker(lambda peer: peer.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")) as address,
        pytest.raises(ApiError) as caught,
    ):
        connect(f"http://{address}", patience=2.0).user()
    assert not isinstance(caught.value, Misconfigured)
    assert clock.waits


def test_a_proxys_password_is_in_no_repr() -> None:
    hidden = Proxy(f"http://me:{SECRET}@proxy:1", "ALL_PROXY", "http://proxy:1", has_password=True)
    assert SECRET not in f"{hidden!r}{hidden}{Way(ELSEWHERE, hidden)!r}"
    assert urlsplit(hidden.url).password == SECRET
    assert misconfiguration(http.client.BadStatusLine("x"), Way(ELSEWHERE, hidden), "") is None
