"""What keys have done is told whole, whatever piled up while the registry was away."""

import asyncio
from collections import Counter
from datetime import date, timedelta
from types import SimpleNamespace
from typing import cast

from vermeil.registry.v1.api_key_pb2 import ApiKey
from vermeil.registry.v1.api_key_service_pb2 import ReportApiKeyUsageRequest, ReportApiKeyUsageResponse
from vermeil_gateway.allowance import Allowance, Used
from vermeil_gateway.callers import Callers
from vermeil_gateway.clients import Clients
from vermeil_gateway.usage_reports import UsageReports


class Registry:
    """Hears reports of up to 1,000 entries, as the real one does."""

    keys = SimpleNamespace(ReportApiKeyUsage=None)

    def __init__(self) -> None:
        self.heard: Counter[tuple[str, str]] = Counter()

    async def ask_keys(self, _: None, report: ReportApiKeyUsageRequest) -> ReportApiKeyUsageResponse:
        assert len(report.entries) <= 1000
        for entry in report.entries:
            self.heard[entry.name, entry.day] += entry.tokens
        return ReportApiKeyUsageResponse()


def test_days_of_many_keys_are_told_in_parts_each_once() -> None:
    allowances = [Allowance(ApiKey(name=f"keys/{number}")) for number in range(300)]
    days = [(date(2026, 11, 1) + timedelta(number)).isoformat() for number in range(5)]
    for allowance in allowances:
        allowance.unreported.update({day: Used(1, 7) for day in days})
    registry = Registry()
    callers = SimpleNamespace(allowances=lambda: allowances)
    asyncio.run(UsageReports(cast("Clients", registry), cast("Callers", callers)).stop())
    assert registry.heard == {(each.key.name, day): 7 for each in allowances for day in days}
    assert all(each.is_settled for each in allowances)
