"""Who calls: the operator's keys of the settings, or keys of the registry, kept for a while.

A key that was seen keeps opening while the registry is away.
"""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from vermeil.registry.v1.api_key_pb2 import ApiKey
from vermeil.registry.v1.api_key_service_pb2 import CheckApiKeyRequest
from vermeil_errors import (
    DeadlineExceeded,
    Overloaded,
    PermissionDenied,
    Unauthenticated,
    Unavailable,
)

from vermeil_gateway.allowance import Allowance
from vermeil_gateway.clients import Clients
from vermeil_gateway.key_secrets import Secret
from vermeil_gateway.scopes import ALL, INFERENCE_PATHS, Scope, allowing
from vermeil_gateway.settings import GatewaySettings

MAX_KNOWN = 10_000
MAX_LOOKUPS = 64


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    name: str
    """ "keys/{key}", "operator" for a key of the settings, "anyone" where no key is needed."""
    owner: str = "owners/default"
    """Who answers for what it begins."""
    scopes: frozenset[Scope] = ALL
    allowance: Allowance | None = None
    """None for no bounds."""

    def enter(self, method: str, path: str) -> None:
        """Let a request begin.

        Raises:
            PermissionDenied: The key is for other things.
            Overloaded: Too many came within a minute.
            QuotaExceeded: The key's tokens are used up.
        """
        needed = allowing(method, path)
        if not needed & self.scopes:
            raise PermissionDenied(
                f"{self.name} may {_listed(self.scopes)}, and {method} {path} needs {_listed(needed)}",
                fix="use a key that may",
            )
        if self.allowance is not None:
            self.allowance.admit(computes=path in INFERENCE_PATHS)


@dataclass
class _Known:
    digest: bytes
    allowance: Allowance
    checked: float


class Callers:
    """Tells who calls, and the registry what each has done."""

    def __init__(
        self, clients: Clients, settings: GatewaySettings, *, clock: Callable[[], float] = monotonic
    ) -> None:
        self._clients = clients
        self._operator = [_digest(key.encode()) for key in settings.api_keys]
        self._cache_seconds = settings.gateway_key_cache_seconds
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._lookups: dict[Secret, asyncio.Task[_Known]] = {}

    @property
    def is_open(self) -> bool:
        """Whether everyone may enter."""
        return not self._operator

    async def caller(self, authorization: str) -> Caller:
        """Who sent this header.

        Raises:
            Unauthenticated: Nobody we know, or not any more.
            Unavailable: The registry, which would know, is away.
        """
        scheme, _, text = authorization.partition(" ")
        key = text.strip() if scheme.lower() == "bearer" else ""
        if secret := Secret.of(key):
            known = await self._find(secret)
            _check_not_over(known.allowance.key)
            may = frozenset(scope for scope in ALL if scope in known.allowance.key.scopes)
            return Caller(secret.name, known.allowance.key.owner, may, known.allowance)
        if self.is_open:
            return Caller("anyone")
        given = _digest(key.encode("latin-1"))
        if any(hmac.compare_digest(given, each) for each in self._operator) and key:
            return Caller("operator")
        problem = "wrong API key" if authorization else "no API key"
        raise Unauthenticated(
            problem,
            fix="send Authorization: Bearer and a key of `vermeil keys create` or VERMEIL_API_KEYS",
        )

    def allowances(self) -> list[Allowance]:
        """Of all keys that are known here."""
        return [known.allowance for known in self._known.values()]

    def describe(self, key: ApiKey) -> None:
        """Take over what the registry says of a key by now."""
        if known := self._known.pop(key.name, None):
            self._known[key.name] = known
            known.checked = self._clock()
            known.allowance.describe(key)

    async def _find(self, secret: Secret) -> _Known:
        known = self._known.get(secret.name)
        if known is not None:
            if not hmac.compare_digest(known.digest, secret.digest):
                raise Unauthenticated("wrong API key")
            if self._clock() - known.checked < self._cache_seconds:
                return known
        lookup = self._lookups.get(secret)
        if lookup is None:
            if len(self._lookups) >= MAX_LOOKUPS:
                raise Overloaded("too many unknown API keys at once")
            lookup = self._lookups[secret] = asyncio.create_task(self._look_up(secret))
            lookup.add_done_callback(lambda done: self._looked_up(secret, done))
        return await asyncio.shield(lookup)

    def _looked_up(self, secret: Secret, done: asyncio.Task[_Known]) -> None:
        del self._lookups[secret]
        if not done.cancelled():
            done.exception()  # is raised where it is awaited, if anybody still waits

    async def _look_up(self, secret: Secret) -> _Known:
        request = CheckApiKeyRequest(name=secret.name, secret_digest=secret.digest)
        try:
            key = (await self._clients.ask_keys(self._clients.keys.CheckApiKey, request)).key
        except (Unavailable, DeadlineExceeded) as error:
            known = self._known.get(secret.name)
            if known is None:
                raise Unavailable("API keys cannot be checked now") from error
            known.checked = self._clock()
            return known
        if secret.name not in self._known:
            self._forget_one()
            self._known[secret.name] = _Known(secret.digest, Allowance(key), 0.0)
        self.describe(key)
        return self._known[secret.name]

    def _forget_one(self) -> None:
        if len(self._known) >= MAX_KNOWN:
            settled = (name for name, known in self._known.items() if known.allowance.is_settled)
            if (oldest := next(settled, None)) is not None:
                del self._known[oldest]


def _check_not_over(key: ApiKey) -> None:
    if key.HasField("revoke_time"):
        raise Unauthenticated(f"{key.name} was revoked", fix="ask for another key")
    if key.HasField("expire_time"):
        end = key.expire_time.ToDatetime(UTC)
        if end <= datetime.now(UTC):
            raise Unauthenticated(
                f"{key.name} expired at {end.isoformat(timespec='seconds')}", fix="ask for another key"
            )


def _listed(scopes: Iterable[Scope]) -> str:
    return " or ".join(sorted(scopes)) or "nothing"


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
