"""Is a server ready? For health checks of containers: `python -m vermeil_rpc.probe ADDRESS`."""

import sys
from urllib.error import URLError
from urllib.request import urlopen

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

WITHIN = 4.0
"""Seconds."""


def is_ready(address: str) -> bool:
    """Whether the gRPC server at host:port says SERVING, or the URL answers with success."""
    if address.startswith(("http://", "https://")):
        try:
            with urlopen(address, timeout=WITHIN) as answer:  # noqa: S310  # the scheme was looked at
                return bool(answer.status < 300)
        except (URLError, TimeoutError):
            return False
    with grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)]) as channel:
        try:
            stub = health_pb2_grpc.HealthStub(channel)
            status = stub.Check(health_pb2.HealthCheckRequest(), timeout=WITHIN).status
        except grpc.RpcError:
            return False
        return bool(status == health_pb2.HealthCheckResponse.SERVING)


if __name__ == "__main__":
    sys.exit(0 if is_ready(sys.argv[1]) else 1)
