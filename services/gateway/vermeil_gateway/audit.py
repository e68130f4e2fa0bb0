"""The layer that writes down who changed what, before the answer says that it is done.

Every change and every try of a known caller is told to the registry: what the scopes "submit" and
"admin" are needed for and is not only looking. Who is not known stands in the access log alone, so
that strangers cannot fill the line. What could not be written down is an error in the log; the
answer stands, for what it tells of has happened.
"""

import asyncio
import json
import uuid
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send
from vermeil.registry.v1.audit_event_pb2 import AuditEvent
from vermeil.registry.v1.audit_service_pb2 import RecordAuditEventRequest
from vermeil_errors import VermeilError
from vermeil_telemetry import counter, get_logger

from vermeil_gateway.clients import Clients
from vermeil_gateway.scopes import is_change

_NAMED_BY = ("job", "key")
_MAX_RESOURCE, _MAX_PATH = 256, 200
_unwritten = counter("gateway_changes_unwritten", "Changes that could not be written down")
_logger = get_logger(__name__)


class Audited:
    """Around the layer that knows callers."""

    def __init__(self, app: ASGIApp, clients: Clients) -> None:
        self._app = app
        self._clients = clients

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_change(scope["method"], scope["path"]):
            await self._app(scope, receive, send)
            return
        held: list[Message] = []

        async def write_down_first(message: Message) -> None:
            held.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                await self._write_down(scope, held)
                for each in held:
                    await send(each)

        try:
            await self._app(scope, receive, write_down_first)
        except Exception:
            await self._write_down(scope, [{"type": "http.response.start", "status": 500}])
            raise

    async def _write_down(self, scope: Scope, answer: list[Message]) -> None:
        state = scope["state"]
        if "caller" not in state:
            return
        event = AuditEvent(
            caller=state["caller"],
            action=f"{scope['method']} {getattr(scope.get('route'), 'path', '') or _line(scope['path'])}",
            resource=_resource(answer) or _asked_for(scope),
            status=answer[0]["status"],
            trace_request_id=state["request_id"],
        )
        request = RecordAuditEventRequest(event=event, request_id=uuid.uuid4().hex)
        try:
            # The change has happened: who asked for it may go away, its line is written all the same.
            await asyncio.shield(self._clients.ask_keys(self._clients.audit.RecordAuditEvent, request))
        except VermeilError:
            _unwritten.inc()
            told = {"caller": event.caller, "action": event.action, "resource": event.resource}
            _logger.exception("not written down", **told, status=event.status)


def _resource(answer: list[Message]) -> str:
    """What the answer names: a job that was started, a key that was made."""
    try:
        body: Any = json.loads(b"".join(each.get("body", b"") for each in answer))
    except ValueError:
        return ""
    if not isinstance(body, dict):
        return ""
    named = next((body[each] for each in _NAMED_BY if isinstance(body.get(each), dict)), body)
    name = named.get("name", "")
    return name[:_MAX_RESOURCE] if isinstance(name, str) else ""


def _asked_for(scope: Scope) -> str:
    """What a path names where nothing came of it: /v1/jobs/x/cancel is about jobs/x."""
    names = scope.get("path_params") or {}
    return _line("/".join(scope["path"].split("/")[2:4])) if names else ""


def _line(path: str) -> str:
    """A path that fits into a line of the registry, whatever was sent."""
    return "".join(each if each.isprintable() else "?" for each in path[:_MAX_PATH])
