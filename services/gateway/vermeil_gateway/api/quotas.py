"""/v1/quotas: how many jobs an owner may have at once; everyone may look who may read, admins set them."""

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from vermeil.job.v1.quota_pb2 import Quota
from vermeil.job.v1.quota_service_pb2 import (
    GetQuotaRequest,
    ListQuotasRequest,
    ListQuotasResponse,
    ResetQuotaRequest,
    SetQuotaRequest,
)
from vermeil_errors import InvalidInput

from vermeil_gateway.api.shared import PageSize, PageToken, WithClients, documented, read, shown

router = APIRouter(tags=["Quotas"])


@router.get("/v1/quotas", **documented(ListQuotasResponse))
async def list_quotas(
    clients: WithClients, page_size: PageSize = 0, page_token: PageToken = ""
) -> JSONResponse:
    """Quotas of all owners who have jobs that are not over, or limits of their own, by name."""
    request = ListQuotasRequest(page_size=page_size, page_token=page_token)
    return shown(await clients.call(clients.quotas.ListQuotas, request))


@router.get("/v1/quotas/{owner}", **documented(Quota))
async def get_quota(owner: str, clients: WithClients) -> JSONResponse:
    """One owner's quota, with how many jobs it has running and waiting."""
    request = GetQuotaRequest(owner=f"owners/{owner}")
    return shown((await clients.call(clients.quotas.GetQuota, request)).quota)


@router.post("/v1/quotas/{owner}", **documented(Quota, SetQuotaRequest))
async def set_quota(owner: str, request: Request, clients: WithClients) -> JSONResponse:
    """Give an owner limits of its own, both of them; what runs and waits beyond them stays."""
    message = await read(request, SetQuotaRequest())
    if message.owner not in ("", f"owners/{owner}"):
        raise InvalidInput.for_field("owner", message.owner, f"the path names owners/{owner}", "leave it out")
    message.owner = f"owners/{owner}"
    return shown((await clients.call(clients.quotas.SetQuota, message)).quota)


@router.post("/v1/quotas/{owner}/reset", **documented(Quota))
async def reset_quota(owner: str, clients: WithClients) -> JSONResponse:
    """Take an owner's own limits away: the defaults hold again."""
    request = ResetQuotaRequest(owner=f"owners/{owner}")
    return shown((await clients.call(clients.quotas.ResetQuota, request)).quota)
