"""What is met on the way to a server: proxies, certificates, and ports that speak something else."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


def answer(status: str, *headers: str) -> bytes:
    """The whole answer of a proxy that refuses."""
    lines = [f"HTTP/1.1 {status}", *headers, "Content-Length: 0", "", ""]
    return "\r\n".join(lines).encode()


class Proxy:
    """An HTTP proxy on the loopback: it notes each CONNECT, and says ``says``; after a 200 it leads to
    ``target``, whatever was asked for."""

    def __init__(self, says: bytes, target: tuple[str, int] | None, tls: ssl.SSLContext | None) -> None:
        self._says = says
        self._target = target
        self._tls = tls
        self.heads: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []
        self._threads[0].start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()
        for each in self._open:
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(accepted)
            thread = threading.Thread(target=self._serve, args=(accepted,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, accepted: socket.socket) -> None:
        with suppress(OSError):
            if self._tls is not None:
                accepted = self._tls.wrap_socket(accepted, server_side=True)
                self._open.append(accepted)
            head = b""
            while b"\r\n\r\n" not in head:
                piece = accepted.recv(4096)
                if not piece:
                    return
                head += piece
            self.heads.append(head)
            accepted.sendall(self._says)
            if self._target is not None:
                self._tunnel(accepted, socket.create_connection(self._target))
            else:
                accepted.shutdown(socket.SHUT_RDWR)

    def _tunnel(self, one: socket.socket, other: socket.socket) -> None:
        self._open.append(other)
        back = threading.Thread(target=_pass_on, args=(other, one))
        self._threads.append(back)
        back.start()
        _pass_on(one, other)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def proxy(
    says: bytes = ESTABLISHED, target: tuple[str, int] | None = None, tls: ssl.SSLContext | None = None
) -> Iterator[Proxy]:
    with closing(Proxy(says, target, tls)) as running:
        yield running


class Gateway:
    """Leads to ``target`` from a port of its own, as a firewall or NAT does; `forget` is what those do to
    connections that are idle: nothing passes any more, and neither end is told. New ones pass."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()  # guards all below
        self._epoch = 0
        self._threads = [threading.Thread(target=self._accept)]
        self._open: list[socket.socket] = []
        self.accepted = 0
        self.passing = True  # False: new connections are accepted and nothing passes either
        self._threads[0].start()

    def forget(self) -> None:
        """Let nothing pass on the connections that there are."""
        with self._lock:
            self._epoch += 1

    def cut(self) -> None:
        """End the connections that there are, as a change of the network does at best."""
        with self._lock:
            still_open, self._open = self._open, []
        for each in still_open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._threads[0].join()
        self.cut()
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                accepted, _ = self._listener.accept()
            except OSError:
                return
            other = socket.create_connection(self._target)
            with self._lock:
                self.accepted += 1
                epoch = self._epoch if self.passing else -1
                self._open += [accepted, other]
            for pair in ((accepted, other), (other, accepted)):
                thread = threading.Thread(target=self._pump, args=(*pair, epoch))
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, epoch: int) -> None:
        with suppress(OSError), source:
            while data := source.recv(1 << 14):
                with self._lock:
                    passes = epoch == self._epoch
                if passes:
                    sink.sendall(data)
        with self._lock:
            passes = epoch == self._epoch
        if passes:
            with suppress(OSError):
                sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def gateway(target: str) -> Iterator[Gateway]:
    """A gateway to ``target``, host and port."""
    host, _, port = target.partition(":")
    with closing(Gateway((host, int(port)))) as running:
        yield running


@contextmanager
def talker(act: Callable[[socket.socket], None]) -> Iterator[str]:
    """A port at which each connection is handed to ``act``; yields host and port."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def serve(accepted: socket.socket) -> None:
        with accepted, suppress(OSError):
            act(accepted)

    def accept() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=serve, args=(accepted,)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (accepting, *threads):
            thread.join(10)


class Authority:
    """An authority of one's own, as a company has, that signs certificates with openssl."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.file = folder / "authority.pem"
        self._key = folder / "authority.key"
        _openssl(
            *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"),
            *("-subj", "/CN=Company", "-keyout", self._key, "-out", self.file),
        )

    def server(self, name: str) -> ssl.SSLContext:
        """What a server of this name, or with this address, serves with."""
        key, asked, signed = (self._folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
        names = f"subjectAltName={'IP' if name[0].isdigit() else 'DNS'}:{name}"
        _openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"),
            *("-subj", f"/CN={name}", "-addext", names, "-keyout", key, "-out", asked),
        )
        _openssl(
            *("x509", "-req", "-in", asked, "-CA", self.file, "-CAkey", self._key, "-days", "2"),
            *("-copy_extensions", "copy", "-CAcreateserial", "-out", signed),
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(signed, key)
        return context


def _openssl(*words: object) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
