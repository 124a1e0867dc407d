"""The client's side of sd_notify(3): how a daemon says that it is ready, to systemd or to our own parent."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)

VARIABLE = "NOTIFY_SOCKET"
_PATIENCE = 1.0  # [s]


class Notifier:
    """Sends state to whoever started us and wants to know; to nobody, if nobody asked."""

    def __init__(self, address: str | None) -> None:
        self._address = address

    @classmethod
    def from_environment(cls) -> Notifier:
        """Take the address over, so that no program we start speaks in our name."""
        return cls(os.environ.pop(VARIABLE, None))

    def ready(self, status: str) -> None:
        self._send(f"READY=1\nSTATUS={status}")

    def stopping(self, status: str) -> None:
        self._send(f"STOPPING=1\nSTATUS={status}")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        # A leading @ stands for the zero byte of Linux's abstract names.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
            sender.settimeout(_PATIENCE)  # a listener whose queue is full must not keep a mount from going on
            try:
                sender.sendto(state.encode("utf-8", "surrogateescape"), address)
            except (FileNotFoundError, ConnectionRefusedError):
                # Who started us in the background listened only until we were ready.
                log.debug("nobody listens for %s any more", state.splitlines()[0])
            except OSError as error:
                log.warning("cannot tell %s about %s: %s", self._address, state.splitlines()[0], error)
