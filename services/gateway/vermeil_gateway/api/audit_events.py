"""/v1/audit-events: who changed what, for those who may know."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from vermeil.registry.v1.audit_service_pb2 import ListAuditEventsRequest, ListAuditEventsResponse

from vermeil_gateway.api.shared import PageSize, PageToken, WithClients, documented, shown

router = APIRouter(tags=["Audit"])


@router.get("/v1/audit-events", **documented(ListAuditEventsResponse))
async def list_audit_events(
    clients: WithClients,
    page_size: PageSize = 0,
    page_token: PageToken = "",
    caller: Annotated[str, Query(max_length=128, description="Only of this caller.")] = "",
    resource: Annotated[str, Query(max_length=256, description="Only about this resource.")] = "",
) -> JSONResponse:
    """Changes and tries of known callers, newest first: who, what, when, how it ended."""
    request = ListAuditEventsRequest(
        page_size=page_size, page_token=page_token, caller=caller, resource=resource
    )
    return shown(await clients.call(clients.audit.ListAuditEvents, request))
