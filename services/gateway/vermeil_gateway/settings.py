"""What the gateway reads from the environment."""

import ipaddress
from typing import Self

from pydantic import Field
from vermeil_errors import InvalidInput
from vermeil_settings import Address, ArtifactSettings, CommaSeparated


class GatewaySettings(ArtifactSettings):
    """Where the gateway listens, who may enter, and how long things may take."""

    http_bind: Address = "127.0.0.1:8080"
    """Where HTTP is answered; port 0 lets the system choose."""
    api_keys: CommaSeparated = Field(default=(), repr=False)
    """The operator's keys, for everything and without limits; without any the gateway opens only on this
    machine's own addresses. Others are made by `vermeil keys create`."""
    gateway_cors_origins: CommaSeparated = ()
    """Origins of web pages that may call from a browser: https://example.org, …, or *; none by default."""
    gateway_max_body_bytes: int = Field(default=8 * 2**20, ge=1024)
    """Largest request body, in bytes."""
    gateway_max_requests: int = Field(default=512, ge=1)
    """Requests to models under way at the same time, and as many of all others; more are refused with 429 and
    a time to come again."""
    gateway_max_held_bytes: int = Field(default=256 * 2**20, ge=1024)
    """Bytes of the bodies of all requests under way; more are refused in the same way."""
    gateway_body_timeout: float = Field(default=30.0, gt=0)
    """Seconds a client may take to send its body."""
    gateway_call_timeout: float = Field(default=30.0, gt=0)
    """Seconds that a plain call to another service may take."""
    gateway_generation_timeout: float = Field(default=600.0, gt=0)
    """Seconds that an answer of a model may take, from request to last token."""
    gateway_prompts_at_once: int = Field(default=8, ge=1)
    """Prompts of one request that are worked on at the same time."""
    gateway_key_cache_seconds: float = Field(default=10.0, ge=0)
    """Seconds for which a key of the registry that is not in use is not looked up again."""
    gateway_drain_timeout: float = Field(default=10.0, ge=0)
    """Seconds that requests under way get to end when the gateway is told to stop; new ones are refused with
    503 meanwhile."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the gateway."""
        if self.http_bind.startswith("unix:"):
            return True
        host = self.http_bind.rpartition(":")[0].strip("[]")
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def require_keys_outside(self) -> Self:
        """Refuse to stand open to a network without a key."""
        if not self.api_keys and not self.is_local:
            raise InvalidInput.for_field(
                "VERMEIL_API_KEYS",
                None,
                f"is empty, and VERMEIL_HTTP_BIND = {self.http_bind} is open to the network",
                "set a key, or bind to 127.0.0.1",
            )
        return self
