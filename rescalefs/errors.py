"""The errors that cross rooms, as one tree.

    RescaleFSError
    ├── ApiError                 the server, or the way to it
    │   ├── Unauthenticated      401: no key, or a wrong one
    │   ├── Forbidden            403: the key may not do this
    │   ├── NotFound             404: no such job, file, run
    │   ├── InvalidRequest       400 and other 4xx: what was sent is wrong; `problems` says where
    │   ├── Throttled            429, and waiting as told did not end it
    │   │   └── HeldBack         a program that walks over everything has had its part
    │   ├── ServerFailed         5xx, again and again
    │   ├── Unreachable          no connection: DNS, refused, TLS, cut
    │   │   ├── Misconfigured    a setting keeps us from the server: no retry mends it
    │   │   └── Stopping         it was cut by us, because we end
    │   ├── TimedOut             connected, but no answer within the limit
    │   └── UnexpectedAnswer     an answer that is not what the API promises
    ├── ContentError             the bytes of a remote file
    │   ├── WrongBytes           they do not match the checksum, after fetching them twice
    │   ├── FileChanged          another version than the one that was opened
    │   ├── NotYetUploaded       listed, but the server does not have all of it yet
    │   └── SizeUnknown          listed, but the server does not tell how large it is
    ├── OtherProcess             it belongs to the process that this one was forked from
    ├── NoDescriptors            this process, or the machine, has as many files open as it may have
    ├── PathError                what the caller asked of the tree
    │   ├── NoSuchPath
    │   ├── NotADirectory
    │   ├── IsADirectory
    │   └── ReadOnly             everything outside submit/
    └── UserError                a person can mend it: configuration, arguments, the machine
        ├── BadSettings          a setting, profile or flag is wrong or missing
        │   └── BadFlags         and it is all on the command line
        └── CannotMount          the mountpoint or FUSE itself is not fit

A message says what failed, on what, and what to do; never the API key. Errors are translated twice
only: into this tree in `api/transport.py`, and out of it at the doors (`mount/errnos.py`, `cli/`).
"""

from __future__ import annotations


class RescaleFSError(Exception):
    """Anything that goes wrong in a way we foresaw."""


class ApiError(RescaleFSError):
    """The server refused, failed, or could not be reached."""


class Unauthenticated(ApiError):
    """401: there was no API key, or the server does not know it."""


class Forbidden(ApiError):
    """403: the key is known and may not do this."""


class NotFound(ApiError):
    """404: the server has no such thing (any more)."""


class InvalidRequest(ApiError):
    """The server found fault with what was sent.

    ``problems`` are lines of ``field: message``, flattened from the answer, in its order.
    """

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class Throttled(ApiError):
    """429, and it stayed so for as long as we were willing to wait.

    ``retry_after`` is the wait the server asked for last, in seconds.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class HeldBack(Throttled):
    """A program that walks over everything has used up its part; other programs can ask."""


class ServerFailed(ApiError):
    """5xx, also when asked again."""


class Unreachable(ApiError):
    """No connection to the server, or it broke and could not be had again."""


class Misconfigured(Unreachable):
    """A proxy, certificates or an address keep us from the server, until a person changes a setting.

    The message names the setting. To try again is of no use. ``why`` leaves out the ``remedy``.
    """

    def __init__(self, why: str, remedy: str = "") -> None:
        super().__init__(f"{why}. {remedy}" if remedy else why)
        self.why = why
        self.remedy = remedy


class Stopping(Unreachable):
    """The client was closed: nothing is wrong with the server, so that nothing has to be reported."""


class TimedOut(ApiError):
    """The server did not answer within the time limit."""


class UnexpectedAnswer(ApiError):
    """The server answered something the API does not promise."""


class ContentError(RescaleFSError):
    """The bytes of a remote file cannot be given."""


class WrongBytes(ContentError):
    """The bytes do not match the server's checksum, and did not when fetched afresh."""


class FileChanged(ContentError):
    """The server now has another version of the file than the one that was opened."""


class NotYetUploaded(ContentError):
    """The file is listed, but the server does not have its content yet."""


class SizeUnknown(ContentError):
    """The server does not tell how large the file is, and 0 would pass for an empty file."""


class OtherProcess(RescaleFSError):
    """It was made before a fork, and its threads and connections are the parent's."""


class NoDescriptors(RescaleFSError):
    """This process, or this machine, has as many files open as it may have."""


class PathError(RescaleFSError):
    """The path, or what was asked of it, does not fit the tree."""


class NoSuchPath(PathError):
    """Nothing is there."""


class NotADirectory(PathError):
    """Something is there, and it has no entries."""


class IsADirectory(PathError):
    """Something is there, and it has no bytes."""


class ReadOnly(PathError):
    """Only submit/ takes writes."""


class UserError(RescaleFSError):
    """Something that a person has to mend, on this machine."""


class BadSettings(UserError):
    """A setting, a profile or a flag is missing or makes no sense."""


class BadFlags(BadSettings):
    """All that makes no sense is on the command line: wrong usage."""


class CannotMount(UserError):
    """The mountpoint is not fit, or FUSE is not there."""
