"""The registry's keys in memory, counted as the real ones are."""

# ruff: noqa: ARG002, N802 methods and arguments are named by gRPC

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from vermeil.registry.v1 import api_key_service_pb2 as wire
from vermeil.registry.v1.api_key_pb2 import ApiKey
from vermeil.registry.v1.api_key_service_pb2_grpc import ApiKeyServiceServicer
from vermeil_errors import NotFound, Unauthenticated, Unavailable

_THEN = Timestamp(seconds=1_800_000_000)


class FakeKeys(ApiKeyServiceServicer):
    """Keeps keys by name; `is_away` makes it answer nothing."""

    def __init__(self) -> None:
        self.keys: dict[str, ApiKey] = {}
        self.is_away = False
        self.num_checks = 0
        self._digests: dict[str, bytes] = {}
        self._heard: dict[str, int] = {}

    async def CreateApiKey(self, request: wire.CreateApiKeyRequest, context: Any) -> Any:
        """A key."""
        key = ApiKey(create_time=_THEN)
        key.MergeFrom(request.key)
        key.owner = key.owner or "owners/default"
        self.keys[key.name] = key
        self._digests[key.name] = request.secret_digest
        return wire.CreateApiKeyResponse(key=key)

    async def GetApiKey(self, request: wire.GetApiKeyRequest, context: Any) -> Any:
        """One key."""
        return wire.GetApiKeyResponse(key=self._key(request.name))

    async def ListApiKeys(self, request: wire.ListApiKeysRequest, context: Any) -> Any:
        """All, newest first."""
        return wire.ListApiKeysResponse(keys=list(self.keys.values())[::-1])

    async def RevokeApiKey(self, request: wire.RevokeApiKeyRequest, context: Any) -> Any:
        """Ends it."""
        key = self._key(request.name)
        key.revoke_time.GetCurrentTime()
        return wire.RevokeApiKeyResponse(key=key)

    async def CheckApiKey(self, request: wire.CheckApiKeyRequest, context: Any) -> Any:
        """The key of a secret."""
        self._check_here()
        self.num_checks += 1
        if self._digests.get(request.name) != request.secret_digest:
            raise Unauthenticated("wrong API key")
        return wire.CheckApiKeyResponse(key=self.keys[request.name])

    async def ReportApiKeyUsage(self, request: wire.ReportApiKeyUsageRequest, context: Any) -> Any:
        """Adds up; everything is of today."""
        self._check_here()
        is_new = self._heard.get(request.reporter, 0) < request.sequence
        self._heard[request.reporter] = request.sequence
        for entry in request.entries if is_new else ():
            usage = self.keys[entry.name].usage
            usage.day = entry.day
            usage.requests += entry.requests
            usage.tokens_today += entry.tokens
            usage.tokens_this_month += entry.tokens
            usage.tokens_in_total += entry.tokens
        return wire.ReportApiKeyUsageResponse(keys=[self.keys[entry.name] for entry in request.entries])

    def _check_here(self) -> None:
        if self.is_away:
            raise Unavailable("the registry is away")

    def _key(self, name: str) -> ApiKey:
        if name not in self.keys:
            raise NotFound("no such key", field="name", value=name)
        return self.keys[name]
