"""What keys have done, told to the registry every second, which answers with what all gateways told it.

So quotas outlive this process (it may lose the last second when killed) and hold over several of them,
and a key that is in use ends here a second after it was revoked.
"""

import asyncio
import uuid
from collections.abc import Iterable
from itertools import chain

from vermeil.registry.v1.api_key_service_pb2 import ApiKeyUsageEntry, ReportApiKeyUsageRequest
from vermeil_errors import VermeilError
from vermeil_telemetry import get_logger

from vermeil_gateway.allowance import Allowance
from vermeil_gateway.callers import Callers
from vermeil_gateway.clients import Clients

REPORT_SECONDS = 1.0
MAX_ENTRIES = 250
"""Of one report, a key and a day each, which a slow database writes in time; the registry takes 1,000."""
_logger = get_logger(__name__)


class UsageReports:
    """Tells, in order, each report until it is heard; the registry counts each once."""

    def __init__(self, clients: Clients, callers: Callers) -> None:
        self._clients = clients
        self._callers = callers
        self._reporter, self._sequence = uuid.uuid4().hex, 0
        self._told: list[Allowance] = []
        self._report: ReportApiKeyUsageRequest | None = None
        self._telling: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to tell; needs a running event loop."""
        self._telling = asyncio.create_task(self._tell_often())

    async def stop(self) -> None:
        """Tell what is left."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
        while await self._tell():
            pass

    async def _tell_often(self) -> None:
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            while await self._tell():
                pass

    async def _tell(self) -> bool:
        """Whether something was told; what is not heard is told again as it was."""
        if self._report is None and not self._gather():
            return False
        assert self._report is not None
        try:
            answer = await self._clients.ask_keys(self._clients.keys.ReportApiKeyUsage, self._report)
        except VermeilError as error:
            _logger.warning("the registry does not hear what keys have done", reason=error.reason)
            return False
        for allowance in self._told:
            allowance.reporting = {}
        self._report = None
        for key in answer.keys:
            self._callers.describe(key)
        return True

    def _gather(self) -> bool:
        self._told = []
        room = MAX_ENTRIES
        for allowance in self._callers.allowances():
            days = list(allowance.unreported)[:room]
            if days:
                allowance.reporting = {day: allowance.unreported.pop(day) for day in days}
                self._told.append(allowance)
                room -= len(days)
        if self._told:
            self._sequence += 1
            entries = chain.from_iterable(map(_entries, self._told))
            self._report = ReportApiKeyUsageRequest(
                reporter=self._reporter, sequence=self._sequence, entries=entries
            )
        return bool(self._told)


def _entries(allowance: Allowance) -> Iterable[ApiKeyUsageEntry]:
    for day, used in allowance.reporting.items():
        entry = ApiKeyUsageEntry(name=allowance.key.name, day=day, requests=used.requests, tokens=used.tokens)
        entry.last_used_time.FromDatetime(allowance.last_used)
        yield entry
