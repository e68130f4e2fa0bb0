"""The registry's line of changes in memory."""

# ruff: noqa: ARG002, N802 methods and arguments are named by gRPC

from typing import Any

from vermeil.registry.v1 import audit_service_pb2 as wire
from vermeil.registry.v1.audit_event_pb2 import AuditEvent
from vermeil.registry.v1.audit_service_pb2_grpc import AuditServiceServicer
from vermeil_errors import Unavailable


class FakeAudit(AuditServiceServicer):
    """Keeps events; `is_away` makes it write nothing down."""

    def __init__(self) -> None:
        self.events: list[AuditEvent] = []
        self.is_away = False

    async def RecordAuditEvent(self, request: wire.RecordAuditEventRequest, context: Any) -> Any:
        """Adds it."""
        if self.is_away:
            raise Unavailable("the registry is away")
        self.events.append(request.event)
        return wire.RecordAuditEventResponse(event=request.event)

    async def ListAuditEvents(self, request: wire.ListAuditEventsRequest, context: Any) -> Any:
        """All that are asked for, newest first."""
        found = [
            event
            for event in reversed(self.events)
            if request.caller in ("", event.caller) and request.resource in ("", event.resource)
        ]
        return wire.ListAuditEventsResponse(events=found)
