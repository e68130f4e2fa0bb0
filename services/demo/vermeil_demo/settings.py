"""What the demo reads from the environment."""

import ipaddress
from typing import Self

from pydantic import Field, SecretStr
from vermeil_client import ClientSettings
from vermeil_errors import InvalidInput
from vermeil_settings import Address, LogFormat, LogLevel


class DemoSettings(ClientSettings):
    """Where the demo listens, who may enter; where the gateway is, the SDK's settings say."""

    demo_bind: Address = "127.0.0.1:7860"
    """Where the page is answered; port 0 lets the system choose."""
    demo_password: SecretStr | None = None
    """Asked of whoever opens the page, who signs in as `vermeil`; without it the page opens on this machine
    only."""
    log_level: LogLevel = "INFO"
    """Least severe level that is written."""
    log_format: LogFormat = "json"
    """One JSON object a line, or text for people."""
    metrics_port: int | None = Field(default=None, ge=1, le=65535)
    """Port on which Prometheus may scrape this process; nothing listens when unset."""

    @property
    def host_and_port(self) -> tuple[str, int]:
        """The two halves of the address."""
        host, _, port = self.demo_bind.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the page."""
        host, _ = self.host_and_port
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def require_password_outside(self) -> Self:
        """Refuse to lend the gateway's key to a whole network."""
        if self.demo_bind.startswith("unix:"):
            raise InvalidInput.for_field(
                "VERMEIL_DEMO_BIND", self.demo_bind, "is no address for a browser", "write host:port"
            )
        if self.demo_password is None and not self.is_local:
            raise InvalidInput.for_field(
                "VERMEIL_DEMO_PASSWORD",
                None,
                f"is empty, and VERMEIL_DEMO_BIND = {self.demo_bind} is open to the network",
                "set a password, or bind to 127.0.0.1",
            )
        return self
