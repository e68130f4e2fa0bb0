"""Is a server ready? For health checks of containers: `python -m vermeil_rpc.probe [ADDRESS]`.

Without an address it asks the server of its own container, at VERMEIL_BIND. With VERMEIL_TLS_… set it
asks as a service would, so the certificate has to name what is asked: localhost.
"""

import sys
from urllib.error import URLError
from urllib.request import urlopen

from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import Field
from vermeil_errors import VermeilError
from vermeil_settings import Address, CommonSettings, Tls

from vermeil_rpc.client import connect

WITHIN = 4.0
"""Seconds."""


def is_ready(address: str, tls: Tls | None = None) -> bool:
    """Whether the gRPC server at host:port says SERVING, or the URL answers with success."""
    if address.startswith(("http://", "https://")):
        try:
            with urlopen(address, timeout=WITHIN) as answer:  # noqa: S310  # the scheme was looked at
                return bool(answer.status < 300)
        except (URLError, TimeoutError):
            return False
    with connect(address, tls=tls) as channel:
        try:
            stub = health_pb2_grpc.HealthStub(channel)
            status = stub.Check(health_pb2.HealthCheckRequest(), timeout=WITHIN).status
        except VermeilError as error:
            print(error, file=sys.stderr)  # noqa: T201  # whoever looks at a sick container sees why
            return False
        return bool(status == health_pb2.HealthCheckResponse.SERVING)


class ProbeSettings(CommonSettings):
    """What the server beside this process reads too."""

    # No docstring below: those of a module that runs as a script are not found.
    bind: Address = Field(default="127.0.0.1:7601", description="host:port on which that server listens")

    def own(self) -> str:
        """Where a server that listens there answers to its own container."""
        host, _, port = self.bind.rpartition(":")
        return f"localhost:{port}" if host in ("0.0.0.0", "[::]") else self.bind  # noqa: S104  # asked, not bound


def main(arguments: list[str]) -> int:
    """The exit code."""
    settings = ProbeSettings.load()
    return 0 if is_ready(arguments[0] if arguments else settings.own(), settings.tls) else 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except VermeilError as error:
        sys.exit(f"probe: {error}")
