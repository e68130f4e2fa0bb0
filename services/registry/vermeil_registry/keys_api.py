"""ApiKeyService: message in, call of the keys, message out."""

# ruff: noqa: N802, ARG002

from dataclasses import asdict
from datetime import datetime
from typing import Any

import grpc
from vermeil.registry.v1 import api_key_pb2
from vermeil.registry.v1 import api_key_service_pb2 as wire
from vermeil.registry.v1.api_key_service_pb2_grpc import ApiKeyServiceServicer
from vermeil_jobs import messages
from vermeil_jobs.client import DEFAULT_PAGE_SIZE

from vermeil_registry.keys import Entry, Key, Keys, Limits, NewKey, owner_or_default
from vermeil_registry.threads import Threads

Context = grpc.aio.ServicerContext[Any, Any]


class ApiKeyServicer(ApiKeyServiceServicer):
    """Answers for vermeil.registry.v1.ApiKeyService."""

    def __init__(self, keys: Keys, threads: Threads) -> None:
        self._keys = keys
        self._run = threads.run

    async def CreateApiKey(
        self, request: wire.CreateApiKeyRequest, context: Context
    ) -> wire.CreateApiKeyResponse:
        """Add a key."""
        new = _new(request.key)
        key = await self._run(self._keys.create, new, request.secret_digest, request.request_id)
        return wire.CreateApiKeyResponse(key=_key(key))

    async def GetApiKey(self, request: wire.GetApiKeyRequest, context: Context) -> wire.GetApiKeyResponse:
        """One key."""
        return wire.GetApiKeyResponse(key=_key(await self._run(self._keys.get, request.name)))

    async def ListApiKeys(
        self, request: wire.ListApiKeysRequest, context: Context
    ) -> wire.ListApiKeysResponse:
        """A page of keys."""
        size = request.page_size or DEFAULT_PAGE_SIZE
        keys, token = await self._run(self._keys.list_keys, size, request.page_token)
        return wire.ListApiKeysResponse(keys=map(_key, keys), next_page_token=token)

    async def RevokeApiKey(
        self, request: wire.RevokeApiKeyRequest, context: Context
    ) -> wire.RevokeApiKeyResponse:
        """End a key."""
        return wire.RevokeApiKeyResponse(key=_key(await self._run(self._keys.revoke, request.name)))

    async def CheckApiKey(
        self, request: wire.CheckApiKeyRequest, context: Context
    ) -> wire.CheckApiKeyResponse:
        """Whose secret this is."""
        key = await self._run(self._keys.check, request.name, request.secret_digest)
        return wire.CheckApiKeyResponse(key=_key(key))

    async def ReportApiKeyUsage(
        self, request: wire.ReportApiKeyUsageRequest, context: Context
    ) -> wire.ReportApiKeyUsageResponse:
        """Count what keys have done."""
        entries = [
            Entry(
                each.name,
                each.day,
                each.requests,
                each.tokens,
                messages.time_from_message(each.last_used_time),
            )
            for each in request.entries
        ]
        keys = await self._run(self._keys.report, request.reporter, request.sequence, entries)
        return wire.ReportApiKeyUsageResponse(keys=map(_key, keys))


def _new(message: api_key_pb2.ApiKey) -> NewKey:
    limits = message.limits
    return NewKey(
        name=message.name,
        display_name=message.display_name,
        owner=owner_or_default(message.owner),
        scopes=tuple(message.scopes),
        expire_time=_time(message, "expire_time"),
        limits=Limits(
            requests_per_minute=limits.requests_per_minute,
            tokens_per_minute=limits.tokens_per_minute,
            tokens_per_day=limits.tokens_per_day,
            tokens_per_month=limits.tokens_per_month,
            tokens_in_total=limits.tokens_in_total,
        ),
    )


def _time(message: api_key_pb2.ApiKey, name: Any) -> datetime | None:
    if not message.HasField(name):
        return None
    return messages.time_from_message(getattr(message, name), f"key.{name}")


def _key(key: Key) -> api_key_pb2.ApiKey:
    times = {
        "create_time": key.create_time,
        "expire_time": key.new.expire_time,
        "revoke_time": key.revoke_time,
        "last_used_time": key.last_used_time,
    }
    return api_key_pb2.ApiKey(
        name=key.new.name,
        display_name=key.new.display_name,
        owner=key.new.owner,
        scopes=key.new.scopes,
        limits=api_key_pb2.ApiKeyLimits(**asdict(key.new.limits)),
        usage=api_key_pb2.ApiKeyUsage(**asdict(key.usage)),
        **{name: messages.time_to_message(time) for name, time in times.items() if time is not None},
    )
