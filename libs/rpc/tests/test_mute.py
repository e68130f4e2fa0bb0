"""A connection that takes everything and says nothing is given up, and a new one found."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest
from vermeil.encoder.v1.encoder_service_pb2 import EncodeRequest, EncodeResponse
from vermeil.encoder.v1.encoder_service_pb2_grpc import (
    EncoderServiceServicer,
    EncoderServiceStub,
    add_EncoderServiceServicer_to_server,
)
from vermeil_errors import DeadlineExceeded
from vermeil_rpc import Service, connect
from vermeil_rpc.testing import running


class Relay:
    """Passes bytes on to a server until it is muted; connections made later pass theirs again."""

    def __init__(self, upstream: str) -> None:
        host, _, port = upstream.rpartition(":")
        self._upstream = (host, int(port))
        self._mute: set[socket.socket] = set()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def mute(self) -> None:
        """Let nothing through any more on the connections there are."""
        self._mute |= self._open

    def close(self) -> None:
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._upstream)
                self._open |= {near, far}
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=ends, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if source not in self._mute:
                    target.sendall(data)


class _Encoder(EncoderServiceServicer):
    async def Encode(self, request: EncodeRequest, context: object) -> EncodeResponse:  # type: ignore[override]  # noqa: N802
        return EncodeResponse()


def _service() -> Service:
    return Service("vermeil.encoder.v1.EncoderService", add_EncoderServiceServicer_to_server, _Encoder())


@pytest.fixture
def relay() -> Iterator[Relay]:
    with running([_service()]) as server:
        relay = Relay(server.address)
        yield relay
        relay.close()


@pytest.mark.slow
def test_short_calls_on_a_mute_connection_come_through_again_soon(relay: Relay) -> None:
    with connect(relay.address) as channel:
        stub = EncoderServiceStub(channel)
        stub.Encode(EncodeRequest(), timeout=60)
        relay.mute()
        with pytest.raises(DeadlineExceeded):
            stub.Encode(EncodeRequest(), timeout=1)
        time.sleep(25)  # nobody calls: it has to be found out without
        stub.Encode(EncodeRequest(), timeout=60, wait_for_ready=True)
