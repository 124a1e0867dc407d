"""What a failed attempt means: statuses and library errors become ours."""

from __future__ import annotations

import http.client
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3

from rescalefs.api.bounds import TooMuch
from rescalefs.api.culprits import NO_ADDRESS, TUNNEL_REFUSED, causes_of, misconfiguration
from rescalefs.api.retry import Failure
from rescalefs.api.way import Way
from rescalefs.containment import log_once, shortened
from rescalefs.errors import (
    ApiError,
    Forbidden,
    InvalidRequest,
    NotFound,
    ServerFailed,
    Throttled,
    TimedOut,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
)

log = logging.getLogger(__name__)

# What requests and urllib3 raise while they send and receive; some of it is urllib3's own, some the socket's.
BROKEN = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)


class AttemptFailed(Exception):
    """Carries a `Failure` to where retries are decided."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure.error))
        self.failure = failure


@contextmanager
def understanding(what: str) -> Iterator[None]:
    """The one way out for what reading an answer raises: an `ApiError`, or an `AttemptFailed` with one.

    What comes from outside can be wrong in ways that neither we nor the libraries foresaw.
    """
    try:
        yield
    except (ApiError, AttemptFailed):
        raise
    except BROKEN as error:
        raise AttemptFailed(failure_of(error, what)) from error
    except Exception as error:
        reason = f"{what}: the server's answer cannot be understood"
        if isinstance(error, (ValueError, RecursionError)):  # it is odd, in a way that was foreseen
            reason = f"{reason}: {shortened(error)}"
        else:
            log_once(log, "an answer that cannot be understood", error, what)
            reason = f"{reason} ({type(error).__name__})"
        raise AttemptFailed(Failure(UnexpectedAnswer(reason), passing=False, acted=True)) from error


def error_for(status: int, what: str, said: tuple[str, ...], retry_after: float | None) -> ApiError:
    message = f"{what}: {status}" + (f", {'; '.join(line.rstrip('.') for line in said)}" if said else "")
    if status == 401:
        return Unauthenticated(f"{message}. Check the API key with `rescalefs login`")
    if status == 403:
        return Forbidden(message)
    if status == 404:
        return NotFound(message)
    if status == 429:
        return Throttled(message, retry_after)
    if status >= 500 or status == 408:
        return ServerFailed(message)
    if status >= 400:
        return InvalidRequest(message, said)
    return UnexpectedAnswer(message)


def failure_of(error: Exception, what: str, way: Way | None = None, trusted: str = "") -> Failure:
    """What a library's error means. Their texts are not passed on whole: they name memory addresses, and a
    proxy's with its password.

    ``way``: how the server was to be reached, where the error came before an answer.
    """
    told = misconfiguration(error, way or Way(""), trusted)
    if told is not None:
        return Failure(told, passing=False, acted=True)
    if any(isinstance(each, TooMuch) for each in causes_of(error)):
        too_much = UnexpectedAnswer(f"{what}: the server's answer is larger than any should be")
        return Failure(too_much, passing=False, acted=True)
    if isinstance(error, (*NO_ADDRESS, requests.exceptions.InvalidHeader)):
        return Failure(UnexpectedAnswer(f"{what}: {_innermost(error)}"), passing=False, acted=False)
    if _is_before_sending(error):
        reason = f"{what}: {_culprit(error, way)} ({_innermost(error)})"
        return Failure(Unreachable(reason), passing=True, acted=False)
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        host = way.host if way is not None else "the server"
        late = TimedOut(f"{what}: no answer from {host} within the time limit")
        return Failure(late, passing=True, acted=True)
    return Failure(
        Unreachable(f"{what}: the connection broke ({_innermost(error)})"), passing=True, acted=True
    )


def _culprit(error: Exception, way: Way | None) -> str:
    """Who does not answer: the proxy, the server behind it, or the server."""
    if way is None or way.proxy is None:
        return f"the server at {way.host} is not reached" if way is not None else "the server is not reached"
    if TUNNEL_REFUSED.search(str(error)):
        return f"{way.proxy} does not reach the server"
    return f"{way.proxy} is not reached"


def _is_before_sending(error: Exception) -> bool:
    """Whether it failed while connecting, so that the server can't have acted."""
    if isinstance(error, (requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    return any(isinstance(each, urllib3.exceptions.NewConnectionError) for each in causes_of(error))


def _innermost(error: Exception) -> str:
    """The most telling text: that of the operating system or of TLS, if there is one."""
    for each in causes_of(error):
        if refused := TUNNEL_REFUSED.search(str(each)):
            return f"{refused[1]} {refused[2].strip()[:80]}"
        if isinstance(each, urllib3.exceptions.IncompleteRead):
            return f"it ended after {each.partial} bytes, {each.expected} were still to come"
        if isinstance(each, http.client.RemoteDisconnected):
            return "the server closed it without an answer"
        if isinstance(each, OSError) and not isinstance(each, requests.RequestException) and each.strerror:
            return each.strerror
    return type(error).__name__
