"""Structured logs: our loggers and everybody else's leave through one handler, one line each.

Loggers work before `configure`, through the standard library's defaults, so libraries may log
without asking who runs them. Values under names that look like secrets are never written.
"""

import json
import logging
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Literal, TextIO, cast

import structlog

Logger = structlog.stdlib.BoundLogger
"""logger.info("model loaded", model=name, seconds=1.2)"""

_CHATTY = ("asyncio", "botocore", "celery", "grpc", "httpcore", "httpx", "kombu", "urllib3", "uvicorn.access")
_SECRETS = frozenset({"api_key", "authorization", "password", "secret", "secret_key", "token"})

_Event = MutableMapping[str, Any]


def get_logger(name: str) -> Logger:
    """A logger named like the module that uses it."""
    logger = structlog.wrap_logger(
        logging.getLogger(name),
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    return cast(Logger, logger)


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """Put `fields` on every line logged inside, also in awaited calls and `asyncio.to_thread`."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def configure_logs(service: str, level: str, style: Literal["json", "text"], stream: TextIO | None) -> None:
    """Send every log line of the process to `stream`; calling again replaces the earlier choice.

    Without one it goes to whatever is standard error then, which others (pytest) replace and close.
    """
    handler = _Handler(stream)
    handler.setFormatter(_formatter(service, style, colors=handler.stream.isatty()))
    root = logging.getLogger()
    for old in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _CHATTY:
        logging.getLogger(name).setLevel(
            max(root.level, logging.WARNING) if root.level > logging.DEBUG else 0
        )


class _Handler(logging.StreamHandler[TextIO]):
    """Marks our handler, so that configuring twice does not write twice."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__(stream or sys.stderr)
        self._follows_standard_error = stream is None

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        if self._follows_standard_error:
            self.stream = sys.stderr
        super().emit(record)


def _formatter(service: str, style: str, *, colors: bool) -> logging.Formatter:
    def add_service(_logger: object, _method: str, event: _Event) -> _Event:
        event["service"] = service
        return event

    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        add_service,
        _hide_secrets,
    ]
    last: list[structlog.typing.Processor]
    if style == "json":
        last = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(_to_json)]
    else:
        last = [structlog.dev.ConsoleRenderer(colors=colors, timestamp_key="time")]
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return structlog.stdlib.ProcessorFormatter(
        processors=[*shared, remove, *last], foreign_pre_chain=[structlog.stdlib.ExtraAdder()]
    )


def _hide_secrets(_logger: object, _method: str, event: _Event) -> _Event:
    for name in _SECRETS.intersection(event):
        event[name] = "***"
    return event


def _to_json(event: object, **_options: object) -> str:
    return json.dumps(event, ensure_ascii=False, default=str)
