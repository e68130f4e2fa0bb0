"""Logs, trace context and metrics: configure(service) and little else."""

from typing import Literal, TextIO

from vermeil_telemetry.logs import Logger, bound, configure_logs, get_logger
from vermeil_telemetry.metrics import MetricsServer, counter, gauge, histogram, start_metrics_server
from vermeil_telemetry.trace import (
    begin_request,
    current_request_id,
    current_traceparent,
    new_request_id,
    span,
    start_tracing,
    traceparent,
)

__all__ = [
    "Logger",
    "MetricsServer",
    "begin_request",
    "bound",
    "configure",
    "counter",
    "current_request_id",
    "current_traceparent",
    "gauge",
    "get_logger",
    "histogram",
    "new_request_id",
    "span",
    "start_metrics_server",
    "traceparent",
]


def configure(
    service: str,
    *,
    level: str = "INFO",
    format: Literal["json", "text"] = "json",  # noqa: A002
    stream: TextIO | None = None,
) -> None:
    """Log to `stream` (standard error), and export spans where OTEL_EXPORTER_OTLP_ENDPOINT is set."""
    configure_logs(service, level, format, stream)
    start_tracing(service)
