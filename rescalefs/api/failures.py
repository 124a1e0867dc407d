"""What a failed attempt means: statuses and library errors become ours."""

from __future__ import annotations

import http.client
import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import requests
import urllib3

from rescalefs.api.bounds import TooMuch
from rescalefs.api.retry import Failure
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


def failure_of(error: Exception, what: str) -> Failure:
    """What a library's error means. Their texts are not passed on whole: they name memory addresses."""
    insecure = next((each for each in _causes(error) if isinstance(each, ssl.SSLError)), None)
    if insecure is not None and not _is_a_broken_line(insecure):
        why = getattr(insecure, "verify_message", "") or _innermost(error)
        reason = f"{what}: no secure connection ({why}). Check the address and the CA bundle"
        return Failure(Unreachable(reason), passing=False, acted=True)
    if any(isinstance(each, TooMuch) for each in _causes(error)):
        too_much = UnexpectedAnswer(f"{what}: the server's answer is larger than any should be")
        return Failure(too_much, passing=False, acted=True)
    if isinstance(error, (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader)):
        return Failure(UnexpectedAnswer(f"{what}: {_innermost(error)}"), passing=False, acted=False)
    if _is_before_sending(error):
        return Failure(
            Unreachable(f"{what}: the server is not reached ({_innermost(error)})"), passing=True, acted=False
        )
    if isinstance(error, requests.exceptions.Timeout) or "timed out" in str(error):
        return Failure(TimedOut(f"{what}: no answer within the time limit"), passing=True, acted=True)
    return Failure(
        Unreachable(f"{what}: the connection broke ({_innermost(error)})"), passing=True, acted=True
    )


def _is_a_broken_line(error: ssl.SSLError) -> bool:
    """Whether TLS only met what plain TCP would have met, too: an end, or bits that flipped on the way."""
    return isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)) or (
        "BAD_RECORD_MAC" in (error.reason or "")
    )


def _is_before_sending(error: Exception) -> bool:
    """Whether it failed while connecting, so that the server can't have acted."""
    if isinstance(error, (requests.exceptions.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    return any(isinstance(each, urllib3.exceptions.NewConnectionError) for each in _causes(error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was made of, outermost first: causes, arguments, and the `reason` of urllib3's.

    Not contexts: what our caller was just handling, an earlier refusal say, is one and tells nothing of this.
    """
    seen: set[int] = set()
    queue = [error]
    while queue:
        each = queue.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            queue += [getattr(each, "reason", None), each.__cause__]
            queue += [arg for arg in each.args if isinstance(arg, BaseException)]


def _innermost(error: Exception) -> str:
    """The most telling text: that of the operating system or of TLS, if there is one."""
    for each in _causes(error):
        if isinstance(each, urllib3.exceptions.IncompleteRead):
            return f"it ended after {each.partial} bytes, {each.expected} were still to come"
        if isinstance(each, http.client.RemoteDisconnected):
            return "the server closed it without an answer"
        if isinstance(each, OSError) and not isinstance(each, requests.RequestException) and each.strerror:
            return each.strerror
    return type(error).__name__
