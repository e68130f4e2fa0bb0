"""gRPC both ways: a server kit that carries everything but the answers, and client channels."""

from vermeil_rpc.async_client import connect_async
from vermeil_rpc.batching import Batcher
from vermeil_rpc.client import connect
from vermeil_rpc.options import DEFAULT_MAX_MESSAGE_BYTES
from vermeil_rpc.server import RunningServer, run, serve
from vermeil_rpc.service import Service

__all__ = [
    "DEFAULT_MAX_MESSAGE_BYTES",
    "Batcher",
    "RunningServer",
    "Service",
    "connect",
    "connect_async",
    "run",
    "serve",
]
