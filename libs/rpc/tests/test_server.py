"""A server's life: health, reflection, listening, hooks, drain, signals."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from time import monotonic
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from vermeil.encoder.v1.encoder_service_pb2 import EncodeRequest, EncodeResponse
from vermeil.encoder.v1.encoder_service_pb2_grpc import EncoderServiceStub
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest, GenerateResponse
from vermeil.generation.v1.generation_service_pb2_grpc import GenerationServiceStub
from vermeil_errors import Conflict, InvalidInput, Unavailable
from vermeil_rpc import Service, connect, connect_async, serve
from vermeil_rpc.testing import local_settings, running
from vermeil_testing import free_port

Make = Callable[..., Service]
OnLoop = Callable[[Coroutine[Any, Any, Any]], Any]
ENCODER = "vermeil.encoder.v1.EncoderService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def _health(address: str, service: str = ENCODER) -> int:
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        status: int = health_pb2_grpc.HealthStub(channel).Check(request).status
        return status


def _eventually(condition: Callable[[], bool], within: float = 60) -> None:
    end = monotonic() + within
    while not condition():
        assert monotonic() < end


def test_health_needs_neither_deadline_nor_token_and_names_each_service(encoder: Make) -> None:
    from pydantic import SecretStr

    with running([encoder()], settings=local_settings(service_token=SecretStr("s3cret"))) as server:
        assert _health(server.address) == SERVING
        assert _health(server.address, "") == SERVING
        with pytest.raises(grpc.RpcError) as caught:
            _health(server.address, "nobody")
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_health_follows_the_readiness_probe(encoder: Make) -> None:
    ready = False

    async def probe() -> bool:
        return ready

    with running([encoder(ready=probe)]) as server:
        assert _health(server.address) == NOT_SERVING
        assert _health(server.address, "") == NOT_SERVING
        ready = True
        _eventually(lambda: _health(server.address) == SERVING)
        ready = False
        _eventually(lambda: _health(server.address) == NOT_SERVING)


def test_a_probe_that_raises_means_not_serving(encoder: Make) -> None:
    async def probe() -> bool:
        raise OSError("the database is gone")

    with running([encoder(ready=probe)]) as server:
        assert _health(server.address) == NOT_SERVING


def test_reflection_lists_the_services(encoder: Make) -> None:
    with running([encoder()]) as server, grpc.insecure_channel(server.address) as channel:
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        answer = next(
            iter(reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([ask])))
        )
    names = {service.name for service in answer.list_services_response.service}
    assert {ENCODER, "grpc.health.v1.Health"} <= names


def test_a_port_in_use_is_a_clear_conflict(encoder: Make) -> None:
    with (
        running([encoder()]) as server,
        pytest.raises(Conflict, match="another process listens there; stop it"),
    ):
        asyncio.run(_serve_briefly(server.address))


@pytest.mark.parametrize(
    ("bind", "problem"),
    [
        ("192.0.2.1:0", "cannot listen there"),
        ("no.such.host.invalid:0", "cannot listen there"),
        ("7601", "is not host:port"),
        ("localhost:99999", "is not host:port"),
        ("unix:/no/such/folder/s", "its folder does not exist"),
    ],
)
def test_a_wrong_address_is_refused_and_named(bind: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=f"{bind}.*{problem}.*set VERMEIL_BIND"):
        asyncio.run(_serve_briefly(bind))


async def _serve_briefly(bind: str) -> None:
    async with await serve([], bind, local_settings()):
        pass


def test_a_unix_socket_works_like_a_port(encoder: Make, tmp_path: Path, on_loop: OnLoop) -> None:
    async def scenario() -> None:
        bind = f"unix:{tmp_path}/s"
        async with await serve([encoder()], bind, local_settings()), connect_async(bind) as channel:
            await EncoderServiceStub(channel).Encode(EncodeRequest(), timeout=30)

    on_loop(scenario())


def test_hooks_run_in_order_around_the_calls(encoder: Make, on_loop: OnLoop) -> None:
    order: list[str] = []

    def note(what: str) -> Callable[[], Coroutine[Any, Any, None]]:
        async def hook() -> None:
            order.append(what)

        return hook

    async def answer(_request: EncodeRequest, _context: Any) -> EncodeResponse:
        order.append("call")
        return EncodeResponse()

    async def scenario() -> None:
        service = encoder(answer, start=note("start"), drain=note("drain"), stop=note("stop"))
        async with running([service]) as server, connect_async(server.address) as channel:
            await EncoderServiceStub(channel).Encode(EncodeRequest(), timeout=30)

    on_loop(scenario())
    assert order == ["start", "call", "drain", "stop"]


def test_draining_lets_the_call_under_way_finish_and_takes_no_other(encoder: Make, on_loop: OnLoop) -> None:
    async def scenario() -> None:
        entered, release = asyncio.Event(), asyncio.Event()

        async def slow_at_first(_request: EncodeRequest, _context: Any) -> EncodeResponse:
            if not entered.is_set():
                entered.set()
                await release.wait()
            return EncodeResponse()

        async def ask(channel: Any) -> EncodeResponse:
            answer: EncodeResponse = await EncoderServiceStub(channel).Encode(EncodeRequest(), timeout=30)
            return answer

        async def keep_asking(channel: Any) -> None:
            while True:
                await ask(channel)

        async with (
            running([encoder(slow_at_first)], settings=local_settings(rpc_grace_seconds=60)) as server,
            connect_async(server.address) as channel,
            connect_async(server.address) as late,
        ):
            under_way = asyncio.create_task(ask(channel))
            await entered.wait()
            draining = asyncio.create_task(server.server.drain())
            with pytest.raises(Unavailable):
                await keep_asking(late)
            release.set()
            assert await under_way == EncodeResponse()
            await draining

    on_loop(scenario())


def test_health_says_not_serving_while_draining(generator: Make, on_loop: OnLoop) -> None:
    async def scenario() -> None:
        async with (
            running([generator(_endless)], settings=local_settings(rpc_grace_seconds=60)) as server,
            grpc.aio.insecure_channel(server.address) as channel,
        ):
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
            statuses = []
            async for each in watch:
                statuses.append(each.status)
                if len(statuses) == 1:
                    draining = asyncio.create_task(server.server.drain())
                else:
                    break
            watch.cancel()
            await draining
            assert statuses == [SERVING, NOT_SERVING]

    on_loop(scenario())


async def _endless(_request: GenerateRequest, _context: Any) -> AsyncIterator[GenerateResponse]:
    while True:
        yield GenerateResponse()
        await asyncio.sleep(0.01)


def test_a_stream_without_end_is_cut_when_the_grace_is_over(generator: Make, on_loop: OnLoop) -> None:
    async def scenario() -> None:
        settings = local_settings(rpc_grace_seconds=0.3)
        async with (
            running([generator(_endless)], settings=settings) as server,
            connect_async(server.address) as channel,
        ):
            call = GenerationServiceStub(channel).Generate(GenerateRequest(), timeout=3600)
            async for _ in call:
                break
            started = monotonic()
            await server.server.drain()
            assert monotonic() - started > 0.2

    on_loop(scenario())


def test_a_restarted_server_is_found_again_by_the_same_channel(encoder: Make) -> None:
    bind = f"127.0.0.1:{free_port()}"
    with connect(bind) as channel:
        stub = EncoderServiceStub(channel)
        for _ in range(2):
            with running([encoder()], bind=bind):
                stub.Encode(EncodeRequest(), timeout=60, wait_for_ready=True)
            with pytest.raises(Unavailable):
                stub.Encode(EncodeRequest(), timeout=60)


def test_a_failing_start_hook_stops_what_had_started_and_reaches_the_caller(
    encoder: Make, generator: Make
) -> None:
    stopped: list[str] = []

    async def broken() -> None:
        raise Conflict("two servers on one home")

    async def stop() -> None:
        stopped.append("first")

    async def never() -> None:
        stopped.append("second")

    services = [encoder(stop=stop), generator(_endless, start=broken, stop=never)]
    with pytest.raises(Conflict, match="two servers"), running(services):
        pass
    assert stopped == ["first"]


PROGRAM = """
import asyncio, sys
from vermeil_rpc import Service, run
from vermeil_rpc.testing import local_settings
from vermeil_telemetry import configure
configure("test", stream=sys.stdout)
async def drain():
    await asyncio.sleep(float(sys.argv[1]))
service = Service("test.Nothing", lambda servicer, server: None, None, drain=drain)
run(lambda: [service], "127.0.0.1:0", local_settings())
print("ended in order")
"""


def _program(seconds_to_drain: float) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-W", "error", "-c", PROGRAM, str(seconds_to_drain)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert "serving" in _line(process)
    return process


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_and_ends_the_process_in_order(signal_number: int) -> None:
    process = _program(seconds_to_drain=0)
    process.send_signal(signal_number)
    rest, _ = process.communicate(timeout=60)
    assert "draining" in rest
    assert rest.endswith("ended in order\n")
    assert process.returncode == 0


def test_a_second_signal_ends_a_long_drain_at_once() -> None:
    process = _program(seconds_to_drain=600)
    process.send_signal(signal.SIGINT)
    assert "draining" in _line(process)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert "ended in order" not in rest
    assert process.returncode == -signal.SIGINT


BUILDS_FOR_GOOD = """
import time
from vermeil_rpc import run
from vermeil_rpc.testing import local_settings
def build():
    print("building", flush=True)
    time.sleep(600)
run(build, "127.0.0.1:0", local_settings())
"""


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_who_still_waits_for_what_it_needs_ends_when_told_to(signal_number: int) -> None:
    process = subprocess.Popen([sys.executable, "-c", BUILDS_FOR_GOOD], stdout=subprocess.PIPE, text=True)
    assert "building" in _line(process)
    process.send_signal(signal_number)
    process.communicate(timeout=60)
    assert process.returncode == -signal_number
