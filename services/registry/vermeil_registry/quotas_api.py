"""QuotaService: message in, ledger call, message out."""

# ruff: noqa: N802, ARG002

from dataclasses import asdict
from typing import Any

import grpc
from vermeil.job.v1 import quota_pb2
from vermeil.job.v1 import quota_service_pb2 as wire
from vermeil.job.v1.quota_service_pb2_grpc import QuotaServiceServicer
from vermeil_jobs import Ledger, Limits, Quota
from vermeil_jobs.client import DEFAULT_PAGE_SIZE

from vermeil_registry.threads import Threads

Context = grpc.aio.ServicerContext[Any, Any]


class QuotaServicer(QuotaServiceServicer):
    """Answers for vermeil.job.v1.QuotaService."""

    def __init__(self, ledger: Ledger, threads: Threads) -> None:
        self._ledger = ledger
        self._run = threads.run

    async def GetQuota(self, request: wire.GetQuotaRequest, context: Context) -> wire.GetQuotaResponse:
        """One owner's quota."""
        quota = await self._run(self._ledger.quota, request.owner)
        return wire.GetQuotaResponse(quota=_quota(quota))

    async def ListQuotas(self, request: wire.ListQuotasRequest, context: Context) -> wire.ListQuotasResponse:
        """A page of quotas."""
        quotas, token = await self._run(
            self._ledger.list_quotas,
            page_size=request.page_size or DEFAULT_PAGE_SIZE,
            page_token=request.page_token,
        )
        return wire.ListQuotasResponse(quotas=map(_quota, quotas), next_page_token=token)

    async def SetQuota(self, request: wire.SetQuotaRequest, context: Context) -> wire.SetQuotaResponse:
        """Give an owner limits of its own."""
        limits = Limits(request.limits.max_running, request.limits.max_waiting)
        quota = await self._run(self._ledger.set_quota, request.owner, limits)
        return wire.SetQuotaResponse(quota=_quota(quota))

    async def ResetQuota(self, request: wire.ResetQuotaRequest, context: Context) -> wire.ResetQuotaResponse:
        """Take them away."""
        quota = await self._run(self._ledger.set_quota, request.owner, None)
        return wire.ResetQuotaResponse(quota=_quota(quota))


def _quota(quota: Quota) -> quota_pb2.Quota:
    return quota_pb2.Quota(
        owner=quota.owner,
        limits=quota_pb2.QuotaLimits(**asdict(quota.limits)),
        is_default=quota.is_default,
        num_running=quota.num_running,
        num_waiting=quota.num_waiting,
    )
