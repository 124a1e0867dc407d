"""Is the account within reach? Each check asks one thing of the profile, the server or the clock."""

from __future__ import annotations

import os
import stat
from datetime import datetime
from pathlib import Path
from typing import Protocol

from rescalefs.cli.finding import Finding, broken, doubtful, fine
from rescalefs.clock import Clock
from rescalefs.errors import ApiError, Forbidden, Misconfigured, RescaleFSError, Unauthenticated
from rescalefs.model import User

_SKEW_ALLOWED = 60.0  # seconds: past that, times in listings mislead; TLS itself only breaks at days


class Server(Protocol):
    """What is asked of the client."""

    def user(self) -> User: ...

    def server_time(self) -> datetime | None: ...


def profile_file(path: Path) -> Finding:
    """Nobody else may read the file with the key."""
    check = "profile file"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except FileNotFoundError:
        return fine(check, f"{path} does not exist")
    except OSError as error:
        return broken(check, f"{path}: {error.strerror}", f"make it yours: chown {path}")
    if os.name == "posix" and mode & 0o077:
        return doubtful(
            check, f"others may read your API key: {path} has mode {mode:04o}", f"chmod 600 {path}"
        )
    return fine(check, f"{path}, mode {mode:04o}")


def server(client: Server, address: str, clock: Clock) -> Finding:
    """The server answers, and knows the key."""
    check = "server"
    asked = clock.monotonic()
    try:
        user = client.user()
    except (Unauthenticated, Forbidden) as error:
        return broken(check, f"{address} does not take the API key: {error}", "rescalefs login")
    except Misconfigured as error:
        return broken(check, error.why, error.remedy)
    except ApiError as error:
        return broken(check, str(error), "check the network, the proxy variables and the address")
    return fine(check, f"{address} knows {user.email}; answered in {clock.monotonic() - asked:.2f} s")


def clock_skew(client: Server, clock: Clock) -> Finding:
    """This machine's clock and the server's agree."""
    check = "clock"
    try:
        theirs = client.server_time()
    except RescaleFSError as error:
        return doubtful(check, f"the server's time is not known: {error}", "mend the connection first")
    if theirs is None:
        return fine(check, "the server does not tell its time")
    ahead = (clock.now() - theirs).total_seconds()
    if abs(ahead) > _SKEW_ALLOWED:
        found = f"this machine is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the server"
        return doubtful(check, found, "timedatectl set-ntp true, as root")
    return fine(check, f"within {max(1.0, abs(ahead)):.0f} s of the server's")
