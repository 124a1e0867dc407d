"""Sessions of requests: made alike, kept for the next who needs one."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import requests.adapters

from rescalefs import __version__
from rescalefs.api.bounds import Bounds
from rescalefs.api.sockets import Opened, OpeningPool, OpenSockets, keeping_bounds, none_opened
from rescalefs.api.trust import Truster
from rescalefs.api.way import way_to
from rescalefs.clock import Clock

SMALL_CHUNK = 1 << 14  # bytes; what is given away first of a body, and on the slowest lines
CHUNK = 1 << 18  # bytes; iter_content at this size is as fast as reading the socket (docs/decisions/0005)
LARGE_CHUNK = (
    1 << 20
)  # bytes; 8 % less time and CPU than CHUNK for 1 GiB over the loopback (docs/performance.md)


class Sessions:
    """Lends sessions, each to one thread at a time, and keeps their connections open in between.

    Not thread-locals: FUSE calls us on threads of C, for which Python makes new thread-locals at every call.
    """

    def __init__(self, clock: Clock, opened: Opened = none_opened) -> None:
        """``opened`` is asked for a connection before one is opened."""
        self._clock = clock
        self._lock = threading.Lock()  # guards _idle and _closed
        self._idle: list[Session] = []
        self._closed = False
        self._sockets = OpenSockets(opened)
        self._pools = self._sockets.pools()
        self.truster = Truster()

    @contextmanager
    def lent(self, fresh: bool = False, kept: bool = True) -> Iterator[Session]:
        """A session; a ``fresh`` one has no connection that the server might have closed just now.

        One that is not ``kept`` is closed afterwards.
        """
        with self._lock:
            session = self._idle.pop() if self._idle and not fresh else None
        session = session or self._new()
        try:
            yield session
        finally:
            with self._lock:
                keep = kept and not self._closed
                if keep:
                    self._idle.append(session)
            if not keep:
                session.close()

    def connect(self, url: str, timeout: float) -> None:
        """Open a connection to this address for whoever is lent a session next. Raises what requests and
        urllib3 raise. Nothing happens where a proxy is in between."""
        if way_to(url).proxy is not None:
            return
        session = self._new()
        adapter = session.get_adapter(url)
        assert isinstance(adapter, _Adapter)
        adapter.connect(url, timeout)
        with self._lock:
            keep = not self._closed
            if keep:
                self._idle.append(session)
        if not keep:
            session.close()

    def distrust(self) -> None:
        """Close the idle connections: one died in silence, and what ended it may have ended all."""
        with self._lock:
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()

    def close(self) -> None:
        """Cut the connections that are in use, and close the others. A session lent later is cut off, too."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for session in idle:
            session.close()
        self._sockets.cut()

    def _new(self) -> Session:
        session = Session(Bounds(self._clock))
        session.trust_env = False  # `way` and `trust` find proxies and certificates
        session.headers["User-Agent"] = f"rescalefs/{__version__}"
        session.headers["Accept-Encoding"] = "identity"  # lengths and ranges are of the bytes themselves
        # No cookies: a login of Django's would go before the key, and sessions are lent to anyone.
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            session.mount(scheme, _Adapter(self._pools, session.bounds, self.truster))
        return session


class KeyAuth(requests.auth.AuthBase):
    """Puts the key into the header. As an object, so that `~/.netrc` can't take its place."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Token {self._key}"
        return request

    def __repr__(self) -> str:
        return "KeyAuth()"


def no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """For other hosts. Given explicitly, it keeps `~/.netrc` out as well."""
    request.headers.pop("Authorization", None)
    return request


class Session(requests.Session):
    """Leaves redirects alone. Even unasked, requests reads their bodies and trips over their addresses.

    What its answers may take is in ``bounds``, to be set before each request.
    """

    def __init__(self, bounds: Bounds) -> None:
        super().__init__()
        self.bounds = bounds

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None: for all that requests knows, there are no redirects. `transport` follows them."""


class _Adapter(requests.adapters.HTTPAdapter):
    """Makes connections whose sockets are known, and whose answers keep to ``bounds``."""

    def __init__(self, pools: Mapping[str, type[Any]], bounds: Bounds, truster: Truster) -> None:
        self._pools = pools
        self._bounds = bounds
        self._truster = truster
        super().__init__(pool_connections=4, pool_maxsize=1)

    def connect(self, url: str, timeout: float) -> None:
        """Open a connection as `send` would."""
        request = requests.Request("GET", url).prepare()
        pool = self.get_connection_with_tls_context(request, True)
        assert isinstance(pool, OpeningPool)
        self._bounds.set(timeout, CHUNK)
        pool.open_one(timeout)

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        """What a pool is found by. Other certificates than before mean another pool, and new connections."""
        host: Any
        tls: Any
        host, tls = super().build_connection_pool_key_attributes(request, verify, cert)
        if host["scheme"] == "https":
            tls["ssl_context"] = self._truster.trust().context
        return host, tls

    def cert_verify(self, *args: Any, **options: Any) -> None:
        """Nothing: requests would add its own certificates to those of the pool."""

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """The pool for a request; requests asks here each time, and offers this method for overriding."""
        pool: Any = super().get_connection_with_tls_context(*args, **options)
        pool.bounds = self._bounds
        return pool

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        if proxy.lower().startswith("https:"):
            options["proxy_ssl_context"] = self._truster.trust().context
        manager = super().proxy_manager_for(proxy, **options)
        kinds = manager.pool_classes_by_scheme
        if not proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = self._pools
        elif not all(issubclass(kind, OpeningPool) for kind in kinds.values()):  # managers are kept
            manager.pool_classes_by_scheme = {name: keeping_bounds(kind) for name, kind in kinds.items()}
        return manager
