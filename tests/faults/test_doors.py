"""Doors between processes: how they end."""

import gc
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The modules beside this file, which are a script's."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    yield
    sys.modules.pop("proxy", None)


@pytest.mark.usefixtures("scripts")
@pytest.mark.parametrize("mode", ["open", "mute", "slow", "refuse"])
def test_who_is_still_connected_at_the_end_is_cut_off_and_nothing_is_left_of_the_thread(mode: str) -> None:
    from proxy import Mode, Proxy, Wires

    wires = Wires()
    with socket.create_server(("127.0.0.1", 0)) as upstream:
        upstream.settimeout(60)
        door = Proxy(wires, f"127.0.0.1:{upstream.getsockname()[1]}")
        host, port = door.address.split(":")
        with socket.create_connection((host, int(port)), timeout=60) as near:
            near.sendall(b"?")
            far, _ = upstream.accept()
            with far:
                far.settimeout(60)
                assert far.recv(1) == b"?"
                door.set(Mode(mode))
                wires.close()
                with pytest.raises(ConnectionResetError):
                    near.recv(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((host, int(port)), timeout=60)
    del door, wires
    gc.collect()  # a connection that outlived its loop would complain here
