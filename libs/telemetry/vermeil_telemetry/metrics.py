"""Prometheus metrics by name: asking twice for one name gives the same metric.

Counting costs well under a microsecond and is always on; nothing listens until a port is given.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, start_http_server
from vermeil_errors import Conflict

from vermeil_telemetry.gpus import Gpus, find_gpus

_PREFIX = "vermeil"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_known: dict[str, Any] = {}
_lock = Lock()


def counter(name: str, help: str, labels: Sequence[str] = ()) -> Counter:  # noqa: A002
    """A number that only grows, shown as vermeil_<name>_total."""
    with _lock:
        if name not in _known:
            _known[name] = Counter(name, help, labels, namespace=_PREFIX)
        return _known[name]  # type: ignore[no-any-return]


def gauge(name: str, help: str, labels: Sequence[str] = ()) -> Gauge:  # noqa: A002
    """A number that goes up and down, shown as vermeil_<name>."""
    with _lock:
        if name not in _known:
            _known[name] = Gauge(name, help, labels, namespace=_PREFIX)
        return _known[name]  # type: ignore[no-any-return]


def histogram(
    name: str,
    help: str,  # noqa: A002
    labels: Sequence[str] = (),
    buckets: Sequence[float] = _SECONDS,
) -> Histogram:
    """A distribution, shown as vermeil_<name>; the default buckets suit seconds."""
    with _lock:
        if name not in _known:
            _known[name] = Histogram(name, help, labels, namespace=_PREFIX, buckets=buckets)
        return _known[name]  # type: ignore[no-any-return]


@dataclass(frozen=True)
class MetricsServer:
    """A running /metrics endpoint."""

    port: int
    """Where it listens."""
    _server: WSGIServer
    _thread: Thread
    _gpus: Gpus | None

    def stop(self) -> None:
        """Stop listening."""
        if self._gpus:
            REGISTRY.unregister(self._gpus)
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def start_metrics_server(port: int | None) -> MetricsServer | None:
    """Let Prometheus scrape this process from elsewhere; nothing without a port. Port 0 takes a free one.

    A port that cannot be had is a Conflict. Where the machine has GPUs, what they do is told as well.
    """
    if port is None:
        return None
    try:
        server, thread = start_http_server(port)
    except OSError as error:
        raise Conflict(
            f"cannot listen there: {error.strerror or error}",
            field="metrics_port",
            value=port,
            fix="stop who listens there, or set VERMEIL_METRICS_PORT to another port",
        ) from error
    gpus = find_gpus()
    if gpus:
        REGISTRY.register(gpus)
    return MetricsServer(server.server_port, server, thread, gpus)
