"""Pure: error -> errno, one table. docs/semantics.md says the same in words."""

from __future__ import annotations

import errno

from rescalefs import errors

_ERRNOS: dict[type[errors.RescaleFSError], int] = {
    errors.RescaleFSError: errno.EIO,
    errors.Unauthenticated: errno.EACCES,
    errors.Forbidden: errno.EACCES,
    errors.NotFound: errno.ENOENT,
    errors.InvalidRequest: errno.EIO,
    errors.Throttled: errno.EIO,
    errors.HeldBack: errno.EIO,
    errors.ServerFailed: errno.EIO,
    errors.Unreachable: errno.EIO,
    errors.Misconfigured: errno.EIO,
    errors.Stopping: errno.EIO,
    errors.TimedOut: errno.ETIMEDOUT,
    errors.UnexpectedAnswer: errno.EIO,
    errors.WrongBytes: errno.EIO,
    errors.FileChanged: errno.ESTALE,
    errors.NotYetUploaded: errno.EAGAIN,
    errors.SizeUnknown: errno.EAGAIN,
    errors.OtherProcess: errno.EIO,
    errors.NoDescriptors: errno.EMFILE,
    errors.NoSuchPath: errno.ENOENT,
    errors.NotADirectory: errno.ENOTDIR,
    errors.IsADirectory: errno.EISDIR,
    errors.ReadOnly: errno.EROFS,
    errors.BadSettings: errno.EIO,
    errors.BadFlags: errno.EIO,
    errors.CannotMount: errno.EIO,
}


def errno_for(error: BaseException) -> int:
    """What the kernel is told. Always positive: an error never looks like an empty success.

    Of our own errors the most specific class in the table counts. An `OSError` keeps its errno when it has
    one (`requests.ConnectionError` is an OSError without); whatever nobody foresaw is EIO.
    """
    if isinstance(error, errors.RescaleFSError):
        return next(_ERRNOS[kind] for kind in type(error).__mro__ if kind in _ERRNOS)
    if isinstance(error, OSError) and isinstance(error.errno, int) and error.errno > 0:
        return error.errno
    return errno.EIO
