"""`process_output.log` as the service writes it: every line with its time, every analysis with its exit code.

The form is that of logs which Rescale published with its simulation monitor (2022-23):

    [2023-01-31T01:02:03Z]: Launching ./run.sh, Working dir: /enc/.../work.  Process output follows:
    [2023-01-31T01:02:04Z]: what the command prints
    [2023-01-31T01:02:05Z]: Exited with code 0
    [2023-01-31T01:02:05Z]:
"""

from __future__ import annotations

from datetime import timezone
from pathlib import Path

from rescalefs.clock import Clock


class Console:
    """Writes one run's log. What is taken is in the file when the method returns. For one thread."""

    def __init__(self, log: Path, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._is_within_line = False

    def launch(self, command: str, folder: Path) -> None:
        """An analysis begins."""
        self.line(f"Launching {command}, Working dir: {folder}.  Process output follows:")

    def exited(self, code: int) -> None:
        """An analysis has ended with this exit code."""
        self.line(f"Exited with code {code}")
        self.line("")

    def line(self, text: str) -> None:
        """A line of the service's own, after the end of a line that a command left open."""
        if self._is_within_line:
            self.take(b"\n")
        self.take(f"{text}\n".encode("utf-8", "surrogateescape"))

    def take(self, printed: bytes) -> None:
        """What a command printed just now, which may be part of a line, and need not be text."""
        if not printed:
            return
        stamp = f"[{self._clock.now().astimezone(timezone.utc):%Y-%m-%dT%H:%M:%SZ}]: ".encode()
        begun = b"" if self._is_within_line else stamp
        self._is_within_line = not printed.endswith(b"\n")
        body = printed if self._is_within_line else printed[:-1]
        body = body.replace(b"\n", b"\n" + stamp)
        with self._log.open("ab") as log:
            log.write(begun + body + (b"" if self._is_within_line else b"\n"))


def exit_code(status: int) -> int:
    """A process' exit status as a shell has it: 143 where a signal, here 15, ended it."""
    return status if status >= 0 else 128 - status
