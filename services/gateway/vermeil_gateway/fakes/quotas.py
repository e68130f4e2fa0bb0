"""The registry's quotas in memory."""

# ruff: noqa: ARG002, N802 methods and arguments are named by gRPC

from typing import Any

from vermeil.job.v1 import quota_service_pb2 as wire
from vermeil.job.v1.quota_pb2 import Quota
from vermeil.job.v1.quota_service_pb2_grpc import QuotaServiceServicer
from vermeil_errors import InvalidInput


class FakeQuotas(QuotaServiceServicer):
    """Keeps them by owner; nobody is refused anything."""

    def __init__(self) -> None:
        self.quotas: dict[str, Quota] = {}

    async def GetQuota(self, request: wire.GetQuotaRequest, context: Any) -> Any:
        """One owner's quota."""
        quota = self.quotas.get(request.owner, Quota(owner=request.owner, is_default=True))
        return wire.GetQuotaResponse(quota=quota)

    async def ListQuotas(self, request: wire.ListQuotasRequest, context: Any) -> Any:
        """All that were set."""
        return wire.ListQuotasResponse(quotas=self.quotas.values())

    async def SetQuota(self, request: wire.SetQuotaRequest, context: Any) -> Any:
        """Sets it."""
        if min(request.limits.max_running, request.limits.max_waiting) < 0:
            raise InvalidInput("is out of range", field="limits")
        self.quotas[request.owner] = Quota(owner=request.owner, limits=request.limits)
        return wire.SetQuotaResponse(quota=self.quotas[request.owner])

    async def ResetQuota(self, request: wire.ResetQuotaRequest, context: Any) -> Any:
        """Forgets it."""
        self.quotas.pop(request.owner, None)
        return wire.ResetQuotaResponse(quota=Quota(owner=request.owner, is_default=True))
