"""AuditService: message in, call of the audit, message out."""

# ruff: noqa: N802, ARG002

from dataclasses import asdict
from typing import Any

import grpc
from vermeil.registry.v1 import audit_service_pb2 as wire
from vermeil.registry.v1.audit_event_pb2 import AuditEvent
from vermeil.registry.v1.audit_service_pb2_grpc import AuditServiceServicer
from vermeil_jobs import messages
from vermeil_jobs.client import DEFAULT_PAGE_SIZE

from vermeil_registry.audit import Audit, Event, NewEvent
from vermeil_registry.threads import Threads

Context = grpc.aio.ServicerContext[Any, Any]


class AuditServicer(AuditServiceServicer):
    """Answers for vermeil.registry.v1.AuditService."""

    def __init__(self, audit: Audit, threads: Threads) -> None:
        self._audit = audit
        self._run = threads.run

    async def RecordAuditEvent(
        self, request: wire.RecordAuditEventRequest, context: Context
    ) -> wire.RecordAuditEventResponse:
        """Write it down."""
        told = request.event
        new = NewEvent(told.caller, told.action, told.resource, told.status, told.trace_request_id)
        event = await self._run(self._audit.record, new, request.request_id)
        return wire.RecordAuditEventResponse(event=_event(event))

    async def ListAuditEvents(
        self, request: wire.ListAuditEventsRequest, context: Context
    ) -> wire.ListAuditEventsResponse:
        """A page of events."""
        events, token = await self._run(
            self._audit.list_events,
            request.page_size or DEFAULT_PAGE_SIZE,
            request.page_token,
            caller=request.caller,
            resource=request.resource,
        )
        return wire.ListAuditEventsResponse(events=map(_event, events), next_page_token=token)


def _event(event: Event) -> AuditEvent:
    return AuditEvent(time=messages.time_to_message(event.time), **asdict(event.new))
