"""The only importer of prometheus_client: `.rescalefs/metrics`, and the port where Prometheus finds it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rescalefs.assembly.facts import Facts
from rescalefs.background import Background
from rescalefs.containment import contained
from rescalefs.errors import BadSettings

log = logging.getLogger(__name__)

_HOST = "127.0.0.1"  # metrics name the account, and nobody is asked for a key
_LOOK = 0.5  # seconds until the port's thread sees that it is to end


class Metrics(Collector):
    """The daemon's own numbers, with those of its process, in Prometheus' text format."""

    def __init__(self, look: Callable[[], Facts]) -> None:
        self._look = look
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        self._registry.register(self)

    def text(self) -> bytes:
        """All metrics as they are now."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        facts = self._look()
        yield _labelled("info", "Which rescalefs serves which account.", facts.version, facts.account)
        yield from _gauges(facts)
        yield from _counters(facts)

    def listen(self, port: int) -> WSGIServer:
        """A server on ``port`` that does not answer yet; raise `BadSettings` if it cannot be had."""
        try:
            return make_server(_HOST, port, make_wsgi_app(self._registry), handler_class=_QuietHandler)
        except OSError as error:
            raise BadSettings(
                f"metrics_port = {port}: {error.strerror}. Choose another port, or none"
            ) from error


def serve(server: WSGIServer, background: Background) -> None:
    """Answer in the background, until that is closed."""

    def body(stop: threading.Event) -> None:
        server.timeout = _LOOK
        with server:
            while not stop.is_set():
                with contained(log, "a request for metrics"):
                    server.handle_request()

    background.start("metrics", body)


class _QuietHandler(WSGIRequestHandler):
    timeout = 5  # seconds for a request to come in: the next one waits for it

    def log_message(self, *_: object) -> None:
        """Nothing: a line every 15 s would bury the log."""


def _labelled(name: str, documentation: str, version: str, account: str) -> Metric:
    family = GaugeMetricFamily(f"rescalefs_{name}", documentation, labels=("version", "account"))
    family.add_metric((version, account), 1)
    return family


def _gauges(facts: Facts) -> Iterable[Metric]:
    for name, documentation, value in (
        ("start_time_seconds", "When it was started, since the epoch.", facts.started),
        ("server_reachable", "Whether the server was reached when it was asked last.", facts.reachable),
        ("jobs", "Jobs known.", facts.jobs),
        ("connections", "Connections that fetch just now.", facts.connections),
        ("connection_limit", "How many there may be just now.", facts.connection_limit),
        ("cache_used_bytes", "What the cache holds.", facts.cache_used),
        ("cache_limit_bytes", "What the cache may hold.", facts.cache_limit),
    ):
        yield GaugeMetricFamily(f"rescalefs_{name}", documentation, float(value))
    drops = GaugeMetricFamily("rescalefs_drops", "Dropped folders by state.", labels=("state",))
    for state, count in sorted(facts.drops.items()):
        drops.add_metric((state,), count)
    yield drops


def _counters(facts: Facts) -> Iterable[Metric]:
    yield CounterMetricFamily("rescalefs_fetched_bytes", "Bytes of files fetched.", facts.bytes_fetched)
    requests = CounterMetricFamily(
        "rescalefs_requests", "Questions to the server by subject.", labels=("about",)
    )
    for about, count in sorted(facts.requests.items()):
        requests.add_metric((about,), count)
    yield requests
    blocks = CounterMetricFamily(
        "rescalefs_blocks", "Blocks of files by where they came from.", labels=("source",)
    )
    blocks.add_metric(("cache",), facts.blocks_found)
    blocks.add_metric(("server",), facts.blocks_missed)
    yield blocks
