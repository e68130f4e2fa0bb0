"""What tests rely on: servers answer, come back on the same port, and none outlives who started it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from vermeil_testing import Server, ceph, free_port, postgres, rabbitmq, redis
from vermeil_testing.programs import find
from vermeil_testing.server import stands_still


@pytest.fixture(params=[postgres, redis, rabbitmq, ceph])
def server(request: pytest.FixtureRequest) -> Server:
    make: Callable[[], Server] = request.param
    return make()


def test_a_server_comes_back_where_it_was(server: Server) -> None:
    address = server.address
    server.restart()
    assert server.answers()
    assert server.address == address


def test_a_frozen_server_stands_still_until_it_is_woken(server: Server) -> None:
    server.signal(signal.SIGSTOP)
    try:
        assert stands_still(server.groups())
    finally:
        server.signal(signal.SIGCONT)
    assert server.answers()
    assert not stands_still([os.getpgrp()])


def test_a_free_port_is_there_for_a_server_and_for_nobody_who_takes_any_port() -> None:
    port = free_port()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    with socket.socket() as stranger, pytest.raises(OSError, match="in use"):
        stranger.bind(("127.0.0.1", port))
    with socket.create_server(("127.0.0.1", port)) as server:  # sets SO_REUSEADDR
        assert server.getsockname()[1] == port


def test_a_database_keeps_its_rows_when_the_server_is_killed() -> None:
    url = postgres().new_database()
    postgres().restart()
    name = url.rpartition("/")[2]
    assert name in postgres().sql("SELECT datname FROM pg_database").split()


def test_a_missing_server_is_a_skip_that_names_its_package_and_in_ci_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="apt-get install nonsense-server"):
        find("nonsense", "nonsense-server")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="apt-get install nonsense-server"):
        find("nonsense", "nonsense-server")


def test_a_server_dies_with_who_started_it_even_when_that_is_killed() -> None:
    redis()
    program = "import time, vermeil_testing as t; print(t.redis()._process.pid, flush=True); time.sleep(60)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        os.kill(pid, 0)
        owner.send_signal(signal.SIGKILL)
    end = time.monotonic() + 60
    while _is_running(pid):
        assert time.monotonic() < end, f"process {pid} stayed behind"
        time.sleep(0.05)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
