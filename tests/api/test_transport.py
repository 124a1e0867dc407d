"""What happens on the way: retries, limits, redirects, secrets, and a server that is not there."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import subprocess
import threading
import traceback
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from rescalefs.api import ApiSettings, RescaleClient, limits
from rescalefs.clock import SystemClock
from rescalefs.errors import (
    ApiError,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServerFailed,
    Stopping,
    Throttled,
    TimedOut,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
)
from rescalefs.model import RemoteFile
from tests.api.conftest import MakeClient
from tests.api.scripted import KEY, Asked, Reply, ScriptedServer, page, ranged, refused_url, reply, scripted
from tests.fakes import FakeClock

USER = {"email": "me@example.com"}
JOB = {"id": "aBc", "name": "wing"}
CONTENT = bytes(range(256)) * 8
FILE = RemoteFile("aBcDeF", "x.bin", "x.bin", len(CONTENT))


# -- what every request carries


def test_every_request_carries_the_key_and_asks_for_plain_bytes(
    server: ScriptedServer, client: RescaleClient
) -> None:
    server.script(reply(USER))
    assert client.user().email == "me@example.com"
    (asked,) = server.asked
    assert asked.path == "/api/v2/users/me/"
    assert asked.headers["Authorization"] == f"Token {KEY}"
    assert asked.headers["Accept-Encoding"] == "identity"
    assert asked.headers["User-Agent"].startswith("rescalefs/")


def test_a_netrc_of_the_user_does_not_take_the_keys_place(
    server: ScriptedServer, client: RescaleClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    server.script(reply(USER))
    client.user()
    assert server.asked[0].headers["Authorization"] == f"Token {KEY}"


def test_a_proxy_never_hears_what_is_for_this_machine(
    server: ScriptedServer, client: RescaleClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with scripted() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        client.user()
        assert len(server.asked) == 1
        assert proxy.asked == []


def test_cookies_are_not_kept(server: ScriptedServer, client: RescaleClient) -> None:
    server.script(reply(USER, Set_Cookie="sessionid=somebody; Path=/"))
    client.user()
    client.user()
    assert "Cookie" not in server.asked[1].headers


def test_a_connection_made_beforehand_serves_the_next_request(
    server: ScriptedServer, client: RescaleClient
) -> None:
    client.connect()
    client.user()
    client.user()
    assert server.connections == 1


def test_a_connection_that_somebody_else_opened_serves_the_first_request(
    server: ScriptedServer, clock: FakeClock
) -> None:
    port = urlsplit(server.url).port
    assert port is not None
    opened = [socket.create_connection(("127.0.0.1", port))]
    used = opened[0].getsockname()[1]

    def take(host: str, at: int) -> socket.socket | None:
        assert (host, at) == ("127.0.0.1", port)
        return opened.pop() if opened else None

    with closing(RescaleClient(ApiSettings(server.url, KEY), clock, take)) as client:
        client.connect()
        client.user()
        assert server.asked[0].connection == used
        assert server.connections == 1


def test_a_server_that_is_not_there_is_no_matter_to_who_connects_beforehand(connect: MakeClient) -> None:
    connect(refused_url()).connect()


def test_one_connection_serves_one_request_after_another(
    server: ScriptedServer, client: RescaleClient
) -> None:
    for _ in range(3):
        client.user()
    assert len({asked.connection for asked in server.asked}) == 1


# -- retries


@pytest.mark.parametrize(
    "bad",
    [
        reply(status=500),
        Reply(502, b"<h1>Bad Gateway</h1>", {"Content-Type": "text/html"}),
        reply(status=503),
        reply(status=504),
        reply(status=408),
        reply(status=429),
        Reply(drop=True),
        Reply(body=b'{"email": "me"}', cut=5),
    ],
)
def test_a_get_is_asked_again_until_it_succeeds(
    server: ScriptedServer, client: RescaleClient, clock: FakeClock, bad: Reply
) -> None:
    server.script(bad, bad, reply(USER))
    assert client.user().email == "me@example.com"
    assert len(server.asked) == 3
    first, second = clock.waits
    assert 0.125 <= first < 0.25 <= second < 0.5


def test_a_request_that_was_given_up_keeps_no_place_in_the_line(
    server: ScriptedServer, connect: MakeClient, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(limits._PER_HOUR, "user", 130)  # one in 33 s
    client = connect(server.url, patience=5.0)
    with pytest.raises(Throttled, match="the requests of this hour are used up"):  # noqa: PT012
        for _ in range(200):
            client.user()
    clock.advance(34.0)
    client.user()


def test_it_is_given_up_before_patience_ends(
    server: ScriptedServer, connect: MakeClient, clock: FakeClock
) -> None:
    server.answering = lambda _: reply({"detail": "Overloaded."}, 503)
    with pytest.raises(ServerFailed, match=r"GET users/me/: 503, Overloaded"):
        connect(server.url, patience=30.0).user()
    assert 15 < clock.monotonic() <= 30
    assert len(server.asked) == len(clock.waits) + 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, InvalidRequest), (401, Unauthenticated), (403, Forbidden), (404, NotFound), (405, InvalidRequest)],
)
def test_what_will_not_change_is_not_asked_again(
    server: ScriptedServer, client: RescaleClient, status: int, kind: type[ApiError]
) -> None:
    server.script(reply({"detail": "No."}, status))
    with pytest.raises(kind, match=rf"GET users/me/: {status}, No"):
        client.user()
    assert len(server.asked) == 1


def test_a_refused_request_tells_what_is_wrong_with_each_field(
    server: ScriptedServer, client: RescaleClient
) -> None:
    server.script(reply({"name": ["Required."], "jobanalyses": [{"command": ["Empty."]}]}, 400))
    with pytest.raises(InvalidRequest) as refusal:
        client.create_job({})
    assert refusal.value.problems == ("name: Required.", "jobanalyses[0].command: Empty.")
    assert "name: Required; jobanalyses[0].command: Empty" in str(refusal.value)


def test_a_missing_key_is_said_with_what_to_do(server: ScriptedServer, client: RescaleClient) -> None:
    server.script(reply({"detail": "Invalid token."}, 401))
    with pytest.raises(Unauthenticated, match=r"Invalid token\. Check the API key with `rescalefs login`"):
        client.user()


def test_a_web_page_in_place_of_an_answer_is_not_shown(server: ScriptedServer, connect: MakeClient) -> None:
    server.answering = lambda _: Reply(500, b"<html><h1>Oops</h1>", {"Content-Type": "text/html"})
    with pytest.raises(ServerFailed) as failure:
        connect(server.url, patience=0.0).user()
    assert str(failure.value) == "GET users/me/: 500"
    server.answering = lambda _: Reply(200, b"<html>log in", {"Content-Type": "text/html"})
    with pytest.raises(UnexpectedAnswer, match="GET users/me/: "):
        connect(server.url).user()


# -- what must not be sent twice


@pytest.mark.parametrize("bad", [Reply(drop=True), reply(status=500), reply(status=504), Reply(cut=1)])
def test_a_job_that_may_have_been_created_is_not_created_again(
    server: ScriptedServer, client: RescaleClient, bad: Reply
) -> None:
    server.script(bad)
    with pytest.raises((Unreachable, ServerFailed)):
        client.create_job(JOB)
    assert len(server.asked) == 1


def test_a_job_that_was_refused_for_its_time_is_created_later(
    server: ScriptedServer, client: RescaleClient, clock: FakeClock
) -> None:
    server.script(reply({"detail": "Throttled."}, 429, Retry_After="7"), reply(JOB, 201))
    assert client.create_job(JOB).id == "aBc"
    assert len(server.asked) == 2
    assert clock.monotonic() >= 7


def test_a_job_that_cannot_have_arrived_is_sent_again(connect: MakeClient, clock: FakeClock) -> None:
    with pytest.raises(
        Unreachable, match=r"POST jobs/: the server at \S+ is not reached \(Connection refused\)"
    ):
        connect(refused_url()).create_job(JOB)
    assert len(clock.waits) > 5


def test_a_create_goes_out_on_a_connection_of_its_own(server: ScriptedServer, client: RescaleClient) -> None:
    server.script(reply(USER), reply(JOB, 201), reply(USER))
    client.user()
    client.create_job(JOB)
    client.user()
    first, created, last = (asked.connection for asked in server.asked)
    assert first == last != created


def test_an_earlier_refusal_in_the_callers_hands_does_not_make_a_lost_answer_look_unsent(
    server: ScriptedServer, client: RescaleClient, connect: MakeClient
) -> None:
    server.script(Reply(drop=True))
    elsewhere = connect(refused_url(), patience=0.0)
    with pytest.raises(Unreachable):
        elsewhere.user()
    with pytest.raises(Unreachable, match="the connection broke"):
        client.create_job(JOB)
    assert len(server.asked) == 1


def test_submitting_stopping_and_deleting_are_safe_to_repeat_and_are(
    server: ScriptedServer, client: RescaleClient
) -> None:
    for act in (client.submit_job, client.stop_job, client.delete_job):
        server.script(Reply(drop=True), Reply(204, b""))
        act("aBc")
    assert [asked.target for asked in server.asked] == [
        f"/api/v2/jobs/aBc/{rest}" for rest in ("submit/", "submit/", "stop/", "stop/", "", "")
    ]


# -- throttling


def test_429_holds_its_whole_scope_and_no_other(
    server: ScriptedServer, connect: MakeClient, clock: FakeClock
) -> None:
    impatient = connect(server.url, patience=5.0)
    server.script(reply({"detail": "Throttled."}, 429, Retry_After="40"))
    with pytest.raises(Throttled, match=r"GET jobs/aBc/: 429, Throttled") as refusal:
        impatient.job("aBc")
    assert refusal.value.retry_after == 40.0
    with pytest.raises(Throttled, match=r"GET jobs/x/statuses/: .* again in 40 s"):
        impatient.statuses("x")
    assert len(server.asked) == 1
    impatient.user()
    clock.advance(40.0)
    server.script(reply(JOB))
    assert impatient.job("aBc").job.id == "aBc"


def test_who_asks_in_a_closed_scope_waits_until_it_opens(
    server: ScriptedServer, connect: MakeClient, clock: FakeClock
) -> None:
    patient = connect(server.url, patience=60.0)
    server.script(reply(status=429, Retry_After="40"), reply(JOB))
    assert patient.job("aBc").job.id == "aBc"
    assert 40 <= clock.monotonic() < 41


def test_a_date_in_retry_after_is_understood(
    server: ScriptedServer, client: RescaleClient, clock: FakeClock
) -> None:
    when = format_datetime(clock.now() + timedelta(seconds=30), usegmt=True)
    server.script(reply(status=503, Retry_After=when), reply(USER))
    client.user()
    assert 30 <= clock.monotonic() < 31


def test_a_date_in_retry_after_counts_from_the_date_of_the_answer(
    server: ScriptedServer, client: RescaleClient, clock: FakeClock
) -> None:
    there = clock.now() + timedelta(hours=-7)  # this machine's clock is wrong, or was set meanwhile
    dates = [format_datetime(there + timedelta(seconds=each), usegmt=True) for each in (0, 30)]
    server.script(reply(status=503, Date=dates[0], Retry_After=dates[1]), reply(USER))
    client.user()
    assert 29 <= clock.monotonic() < 31


# -- redirects


def redirect(to: str, status: int = 302) -> Reply:
    return Reply(status, b"", {"Location": to})


def test_another_host_gets_the_range_and_not_the_key(server: ScriptedServer, client: RescaleClient) -> None:
    with scripted() as storage:
        storage.answering = ranged(CONTENT)
        server.answering = lambda _: redirect(f"{storage.url}/bucket/x?signature=abc%2Fd")
        for start, stop in ((0, 10), (100, 900)):
            with client.open_range(FILE, start, stop) as body:
                assert b"".join(body) == CONTENT[start:stop]
        assert len({asked.connection for asked in server.asked}) == 1
        for asked in storage.asked:
            assert "Authorization" not in asked.headers
            assert asked.target == "/bucket/x?signature=abc%2Fd"
        assert [asked.headers["Range"] for asked in storage.asked] == ["bytes=0-9", "bytes=100-899"]


def test_a_netrc_does_not_speak_to_another_host_either(
    server: ScriptedServer, client: RescaleClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password other\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    with scripted() as storage:
        server.script(redirect(f"{storage.url}/x"))
        storage.script(reply(USER))
        client.user()
        assert "Authorization" not in storage.asked[0].headers


def test_our_own_server_gets_the_key_after_a_redirect_too(
    server: ScriptedServer, client: RescaleClient
) -> None:
    server.script(redirect("/api/v2/users/you/", 307), reply(USER))
    client.user()
    assert [asked.headers["Authorization"] for asked in server.asked] == [f"Token {KEY}"] * 2


@pytest.mark.parametrize(
    "target",
    [
        "http://storage.invalid/x",
        "http://localhost.evil.invalid/x",
        "http://127.0.0.1@evil.invalid/x",
        "ftp://127.0.0.1/x",
        "http://[::1",
        "//storage.invalid/x",
    ],
)
def test_no_redirect_leads_to_plain_http_on_another_machine(
    server: ScriptedServer, client: RescaleClient, target: str
) -> None:
    server.script(redirect(target))
    with pytest.raises(UnexpectedAnswer, match="which is not https"):
        client.user()
    assert len(server.asked) == 1


def test_redirects_in_a_circle_come_to_an_end(server: ScriptedServer, client: RescaleClient) -> None:
    server.answering = lambda asked: redirect(asked.path)
    with pytest.raises(UnexpectedAnswer, match="more than 5 redirects"):
        client.user()
    assert len(server.asked) == 6


def test_a_redirect_of_a_post_is_not_followed(server: ScriptedServer, client: RescaleClient) -> None:
    server.script(redirect("/elsewhere/"))
    with pytest.raises(UnexpectedAnswer, match="POST jobs/: 302"):
        client.create_job(JOB)
    assert len(server.asked) == 1


# -- the key stays secret

ECHOES: list[Callable[[], Reply]] = [
    lambda: reply({"detail": f"Invalid token {KEY}."}, 401),
    lambda: reply({"detail": "x" * 280 + KEY}, 400),  # cut to length in the middle of it
    lambda: reply({KEY: [KEY]}, 400),
    lambda: Reply(500, f"GET with {KEY}".encode(), {"Content-Type": "text/plain"}),
    lambda: redirect(f"http://evil.invalid/?{KEY}"),
    lambda: Reply(200, f'{{"email": {KEY}'.encode()),
    lambda: Reply(200, f'{{"email": ["{KEY}"]}}'.encode()),
    lambda: Reply(206, b"", {"Content-Range": f"bytes {KEY}"}),
    lambda: Reply(drop=True),
]


@pytest.mark.parametrize("echo", ECHOES)
def test_the_key_is_in_no_error_and_in_no_log_even_if_the_server_says_it(
    server: ScriptedServer, connect: MakeClient, caplog: pytest.LogCaptureFixture, echo: Callable[[], Reply]
) -> None:
    caplog.set_level(logging.DEBUG)
    client = connect(server.url, patience=1.0)
    server.answering = lambda _: echo()

    def open_range() -> None:
        with client.open_range(FILE, 0, 10):
            pass

    asking: list[Callable[[], object]] = [client.user, lambda: client.create_job(JOB), open_range]
    for error in map(error_of, asking):
        shown = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
        assert not pieces_of_the_key(shown)
    assert not pieces_of_the_key(caplog.text)
    assert not pieces_of_the_key(repr(client) + repr(vars(client)))


def error_of(ask: Callable[[], object]) -> ApiError:
    """What asking raises; an empty one if all went well, as a range after an answer that fits does."""
    try:
        ask()
    except ApiError as error:
        return error
    return ApiError()


def pieces_of_the_key(text: str) -> list[str]:
    return [piece for start in range(0, 40, 5) if (piece := KEY[start : start + 10]) in text]


# -- no server


def test_a_host_that_does_not_exist_is_said_so(connect: MakeClient) -> None:
    with pytest.raises(
        Unreachable, match=r"GET users/me/: the server at nonexistent.invalid is not reached \(.*[a-z].*\)"
    ):
        connect("https://nonexistent.invalid", patience=0.0).user()


def test_a_short_command_gives_up_sooner_without_a_connection_than_with_a_server_that_is_busy(
    server: ScriptedServer, connect: MakeClient, clock: FakeClock
) -> None:
    with pytest.raises(Unreachable):
        connect(refused_url(), patience=100.0, unreached=10.0).user()
    assert 2 < clock.monotonic() <= 10
    server.answering = lambda _: reply({}, 503)
    began = clock.monotonic()
    with pytest.raises(ServerFailed):
        connect(server.url, patience=100.0, unreached=10.0).user()
    assert clock.monotonic() - began > 60


def test_a_server_that_is_known_to_be_gone_is_asked_once_and_recovers_by_itself(
    connect: MakeClient, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    with scripted() as server:
        client = connect(server.url, patience=20.0)
        client.user()
        server.answering = lambda _: Reply(drop=True)
        with pytest.raises(Unreachable):
            client.user()
        assert len(clock.waits) > 3
        assert caplog.messages[-1].endswith("/api/v2/ is not reached")
        before, waited = len(server.asked), len(clock.waits)
        with pytest.raises(Unreachable):
            client.user()
        assert len(server.asked) == before + 1
        server.answering = lambda _: reply(USER)
        client.user()
        assert caplog.messages[-1].endswith("/api/v2/ is reached again")
        server.script(Reply(drop=True))  # now a single failure is tried again
        client.user()
        assert len(clock.waits) == waited + 1


def test_repeated_failures_climb_from_debug_to_warning(
    server: ScriptedServer, client: RescaleClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "rescalefs")
    server.script(*[reply(status=503)] * 4, reply(USER))
    client.user()
    levels = [record.levelno for record in caplog.records if "asking again" in record.message]
    assert levels == [logging.DEBUG] * 2 + [logging.WARNING] * 2


def test_a_server_that_never_answers_is_a_timeout(server: ScriptedServer, connect: MakeClient) -> None:
    ended = threading.Event()
    server.answering = lambda _: Reply(cut=0, hang=ended)
    try:
        with pytest.raises(TimedOut, match=r"GET users/me/: no answer from .+ within the time limit"):
            connect(server.url, read_timeout=0.05, patience=0.0).user()
    finally:
        ended.set()


def test_an_answer_that_trickles_in_ends_with_patience(
    server: ScriptedServer, connect: MakeClient, clock: FakeClock
) -> None:
    def slow(_: Asked) -> Reply:
        clock.advance(1000.0)
        return reply(USER)

    server.answering = slow
    with pytest.raises(TimedOut, match=r"no answer from .+ within the time limit"):
        connect(server.url).user()


# -- bodies that do not come as they should


def read(client: RescaleClient, start: int, stop: int) -> bytes:
    with client.open_range(FILE, start, stop) as body:
        return b"".join(body)


def test_a_body_that_stops_coming_is_a_timeout_after_what_came(
    server: ScriptedServer, connect: MakeClient
) -> None:
    ended = threading.Event()
    headers = {"Content-Range": f"bytes 0-99/{len(CONTENT)}"}
    server.script(Reply(206, CONTENT[:100], headers, cut=60, hang=ended))
    try:
        with pytest.raises(TimedOut, match="GET files/aBcDeF/contents/"):
            # Without patience: a busy machine may need as long for the answer itself, and would ask again.
            read(connect(server.url, read_timeout=0.05, patience=0.0), 0, 100)
    finally:
        ended.set()
    assert len(server.asked) == 1  # the reader resumes where it broke; nothing is repeated here


def test_a_body_that_is_cut_is_unreachable_and_is_not_repeated(
    server: ScriptedServer, client: RescaleClient
) -> None:
    headers = {"Content-Range": f"bytes 0-99/{len(CONTENT)}"}
    server.script(Reply(206, CONTENT[:100], headers, cut=60))
    with pytest.raises(Unreachable, match="GET files/aBcDeF/contents/"):
        read(client, 0, 100)
    assert len(server.asked) == 1


def test_who_leaves_early_leaves_a_client_that_works(server: ScriptedServer, client: RescaleClient) -> None:
    server.answering = ranged(CONTENT)
    with client.open_range(FILE, 0, len(CONTENT)) as body:
        assert (body.start, body.stop, body.total) == (0, len(CONTENT), len(CONTENT))
    with client.open_range(FILE, 0, len(CONTENT)) as body:
        next(iter(body))
    assert read(client, 5, 50) == CONTENT[5:50]
    assert read(client, 50, 500) == CONTENT[50:500]


# -- TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate that nobody signed, and its key, in one file; for 127.0.0.1."""
    file = tmp_path / "self-signed.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
            *("-keyout", str(file), "-out", str(tmp_path / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    file.write_text(file.read_text() + (tmp_path / "cert.pem").read_text())
    return file


def test_a_certificate_that_nobody_signed_is_refused_with_what_to_do(
    connect: MakeClient, certificate: Path, clock: FakeClock
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with scripted(tls) as server:
        with pytest.raises(
            Unreachable, match=r"not trusted here \(self.signed certificate\).*set REQUESTS_CA_BUNDLE"
        ):
            connect(server.url).user()
        assert clock.waits == []  # it does not get better by asking again
        assert server.asked == []


def test_a_bundle_of_the_users_own_is_believed(
    connect: MakeClient, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.with_name("cert.pem")))
    with scripted(tls) as server:
        server.script(reply(USER))
        assert connect(server.url).user().email == "me@example.com"


# -- the end


def test_close_ends_a_wait_between_two_attempts(server: ScriptedServer, connect: MakeClient) -> None:
    server.answering = lambda _: reply(status=503, Retry_After="1000")
    patient = connect(server.url, SystemClock(), patience=3600.0)
    errors = in_thread(patient.user, until=lambda: len(server.asked) == 1, then=patient.close)
    assert [type(each) for each in errors] == [Stopping]
    assert len(server.asked) == 1


def test_close_ends_a_wait_for_an_answer(server: ScriptedServer, connect: MakeClient) -> None:
    ended = threading.Event()
    server.answering = lambda _: Reply(cut=0, hang=ended)
    patient = connect(server.url, SystemClock())
    try:
        (error,) = in_thread(patient.user, until=lambda: len(server.asked) == 1, then=patient.close)
    finally:
        ended.set()
    assert isinstance(error, Unreachable)


def test_close_ends_a_listing_of_many_pages(server: ScriptedServer, connect: MakeClient) -> None:
    ended = threading.Event()
    arrived = threading.Semaphore(0)

    def answering(asked: Asked) -> Reply:
        if asked.query["page"] == "1":
            return page([{"id": "a", "name": "a"}], count=50)
        arrived.release()
        return Reply(cut=0, hang=ended)

    server.answering = answering
    patient = connect(server.url, SystemClock(), pages_at_once=2)
    try:
        (error,) = in_thread(patient.jobs, until=lambda: arrived.acquire(timeout=1), then=patient.close)
    finally:
        ended.set()
    assert isinstance(error, Unreachable)


def test_what_is_asked_after_the_end_is_an_error_at_once(
    server: ScriptedServer, client: RescaleClient
) -> None:
    client.close()
    with pytest.raises(Unreachable, match="stopping"):
        client.jobs()
    client.close()
    assert server.asked == []


def in_thread(
    act: Callable[[], object], until: Callable[[], bool], then: Callable[[], None]
) -> list[BaseException]:
    """Let ``act`` run until something is so, do something then, and return what ``act`` raised."""
    errors: list[BaseException] = []

    def body() -> None:
        try:
            act()
        except BaseException as error:  # noqa: BLE001  # whatever it is, the test looks at it
            errors.append(error)

    thread = threading.Thread(target=body)
    thread.start()
    pause = threading.Event()
    while not until():
        pause.wait(0.001)
    then()
    thread.join(30)
    assert not thread.is_alive()
    return errors


# -- the server's clock


@pytest.mark.parametrize("text", ["Tue, 24 Nov 2026 12:00:00 GMT", "Tue, 24 Nov 2026 12:00:00 -0000"])
def test_the_servers_clock_is_in_its_date_header(
    server: ScriptedServer, client: RescaleClient, text: str
) -> None:
    server.script(reply(USER, Date=text), reply(USER, Date="noon"))
    assert client.server_time() == datetime(2026, 11, 24, 12, tzinfo=timezone.utc)
    assert client.server_time() is None


def test_ids_that_are_no_ids_do_not_become_other_paths(server: ScriptedServer, client: RescaleClient) -> None:
    for odd in ("", ".", "..", "..."):
        with pytest.raises(NotFound):
            client.delete_job(odd)
    server.script(reply(JOB))
    with pytest.raises(UnexpectedAnswer, match="another job"):
        client.job("../users/me?x#y")
    (asked,) = server.asked
    assert asked.target == "/api/v2/jobs/..%2Fusers%2Fme%3Fx%23y/"
    assert re.fullmatch(r"[!-~]+", asked.target)


def test_a_connection_made_beforehand_goes_by_the_same_certificates(
    connect: MakeClient, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.with_name("cert.pem")))
    with scripted(tls) as server:
        server.script(reply(USER))
        client = connect(server.url)
        client.connect()
        client.user()
        assert server.connections == 1
