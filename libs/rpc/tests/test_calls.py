"""What a call goes through, seen from both clients: errors, deadlines, tokens, limits, trace."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import replace
from time import monotonic
from typing import Any
from weakref import ReferenceType, ref

import grpc
import pytest
from vermeil.encoder.v1.encoder_pb2 import Tokens
from vermeil.encoder.v1.encoder_service_pb2 import EncodeRequest, EncodeResponse
from vermeil.encoder.v1.encoder_service_pb2_grpc import EncoderServiceServicer, EncoderServiceStub
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest, GenerateResponse
from vermeil.generation.v1.generation_service_pb2_grpc import GenerationServiceServicer, GenerationServiceStub
from vermeil_errors import (
    DeadlineExceeded,
    Internal,
    InvalidInput,
    NotFound,
    Overloaded,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    VermeilError,
)
from vermeil_rpc import Service, connect, connect_async
from vermeil_rpc.testing import local_settings, running
from vermeil_telemetry import bound, current_request_id, current_traceparent, traceparent

Make = Callable[..., Service]
OnLoop = Callable[[Coroutine[Any, Any, Any]], Any]


def _encode(
    address: str, *, timeout: float | None = 60, token: str | None = None, text: str = ""
) -> EncodeResponse:
    with connect(address, token=token) as channel:
        return EncoderServiceStub(channel).Encode(EncodeRequest(texts=[text]), timeout=timeout)


async def _encode_async(
    address: str, *, timeout: float | None = 60, token: str | None = None
) -> EncodeResponse:
    async with connect_async(address, token=token) as channel:
        return await EncoderServiceStub(channel).Encode(EncodeRequest(), timeout=timeout)


def _fails_with(error: Exception) -> Callable[..., Any]:
    async def answer(_request: EncodeRequest, _context: Any) -> EncodeResponse:
        raise error

    return answer


def test_an_answer_comes_back_to_both_clients(encoder: Make, on_loop: OnLoop) -> None:
    async def answer(request: EncodeRequest, _context: Any) -> EncodeResponse:
        return EncodeResponse(tokens=[Tokens(ids=[1, 2, 3])])

    with running([encoder(answer)]) as server:
        assert list(_encode(server.address).tokens[0].ids) == [1, 2, 3]
        assert list(on_loop(_encode_async(server.address)).tokens[0].ids) == [1, 2, 3]


def test_an_error_keeps_its_class_and_its_violations(encoder: Make, on_loop: OnLoop) -> None:
    error = InvalidInput.for_field("texts[0]", "x", "is too short", "write more")
    with running([encoder(_fails_with(error))]) as server:
        with pytest.raises(InvalidInput, match="is too short; write more") as caught:
            _encode(server.address)
        with pytest.raises(InvalidInput, match="is too short; write more"):
            on_loop(_encode_async(server.address))
    assert caught.value.violations == error.violations


def test_a_foreign_client_sees_a_standard_rich_status(encoder: Make) -> None:
    with (
        running([encoder(_fails_with(NotFound("models/x does not exist")))]) as server,
        grpc.insecure_channel(server.address) as channel,
        pytest.raises(grpc.RpcError) as caught,
    ):
        EncoderServiceStub(channel).Encode(EncodeRequest(), timeout=30)
    call: Any = caught.value
    assert call.code() == grpc.StatusCode.NOT_FOUND
    assert call.details() == "models/x does not exist"
    assert "grpc-status-details-bin" in dict(call.trailing_metadata())


def test_a_mistake_of_ours_leaks_nothing_and_is_logged(
    encoder: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.ERROR),
        running([encoder(_fails_with(KeyError("hunter2")))]) as server,
        pytest.raises(Internal) as caught,
        bound(request_id="request-77"),
    ):
        _encode(server.address)
    assert "hunter2" not in str(caught.value)
    assert "request-77" in str(caught.value)
    (record,) = [record for record in caplog.records if record.name.startswith("vermeil_rpc")]
    event: Any = record.msg
    assert isinstance(event["exc_info"], KeyError)


def test_what_a_failed_call_worked_on_is_let_go_of_at_once(encoder: Make) -> None:
    class Weights:
        """What can be watched."""

    held: list[ReferenceType[Weights]] = []

    async def answer(_request: EncodeRequest, _context: Any) -> EncodeResponse:
        weights, error = Weights(), Overloaded("too many")
        held.append(ref(weights))
        raise error  # and so its traceback holds the frame that holds it

    gc.disable()
    try:
        with running([encoder(answer)]) as server, pytest.raises(Overloaded):
            _encode(server.address)
        assert [weights() for weights in held] == [None]
    finally:
        gc.enable()


def test_a_method_that_nobody_wrote_stays_unimplemented(
    encoder: Make, caplog: pytest.LogCaptureFixture
) -> None:
    service = replace(encoder(), servicer=EncoderServiceServicer())
    with caplog.at_level(logging.ERROR), running([service]) as server:
        with pytest.raises(Unimplemented, match="EncoderService does not know Encode; update"):
            _encode(server.address)
        with grpc.insecure_channel(server.address) as foreign, pytest.raises(grpc.RpcError) as caught:
            EncoderServiceStub(foreign).Encode(EncodeRequest(), timeout=30)
    call: Any = caught.value
    assert call.code() == grpc.StatusCode.UNIMPLEMENTED
    assert not [record for record in caplog.records if record.name.startswith("vermeil_rpc")]


def test_a_stream_that_nobody_wrote_stays_unimplemented(generator: Make) -> None:
    service = replace(generator(_pieces_then(None)), servicer=GenerationServiceServicer())
    with (
        running([service]) as server,
        connect(server.address) as channel,
        pytest.raises(Unimplemented, match="does not know Generate;"),
    ):
        list(GenerationServiceStub(channel).Generate(GenerateRequest(), timeout=30))


def test_work_that_raises_not_implemented_is_a_mistake_of_ours(encoder: Make) -> None:
    error = NotImplementedError("aten::secret has no kernel here")
    with running([encoder(_fails_with(error))]) as server, pytest.raises(Internal) as caught:
        _encode(server.address)
    assert "secret" not in str(caught.value)


def test_a_call_without_a_deadline_is_refused_and_told_how_to_mend_it(encoder: Make, on_loop: OnLoop) -> None:
    with running([encoder()]) as server:
        with pytest.raises(InvalidInput, match="no deadline; pass timeout=SECONDS"):
            _encode(server.address, timeout=None)
        with pytest.raises(InvalidInput, match="no deadline; pass timeout=SECONDS"):
            on_loop(_encode_async(server.address, timeout=None))


def test_a_deadline_ends_the_call_on_both_sides(encoder: Make, on_loop: OnLoop) -> None:
    async def scenario() -> None:
        entered, ended = asyncio.Event(), asyncio.Event()

        async def sleep(_request: EncodeRequest, _context: Any) -> EncodeResponse:
            entered.set()
            try:
                await asyncio.sleep(3600)
            finally:
                ended.set()
            return EncodeResponse()

        async with running([encoder(sleep)]) as server:
            while not entered.is_set():  # time may be over before the call has come there
                with pytest.raises(DeadlineExceeded, match="within the time given"):
                    await _encode_async(server.address, timeout=0.1)
            await ended.wait()

    on_loop(scenario())


@pytest.mark.parametrize(
    ("token", "problem"), [(None, "carries no service token"), ("wrong", "token is wrong")]
)
def test_a_server_with_a_token_refuses_strangers(encoder: Make, token: str | None, problem: str) -> None:
    with running([encoder()], settings=_with_token("s3cret")) as server:
        with pytest.raises(Unauthenticated, match=problem):
            _encode(server.address, token=token)
        _encode(server.address, token="s3cret")


def test_an_asynchronous_client_carries_the_token_too(encoder: Make, on_loop: OnLoop) -> None:
    with running([encoder()], settings=_with_token("s3cret")) as server:
        on_loop(_encode_async(server.address, token="s3cret"))


def _with_token(token: str) -> Any:
    from pydantic import SecretStr

    return local_settings(service_token=SecretStr(token))


def test_a_request_over_the_limit_names_both_sizes(encoder: Make) -> None:
    with (
        running([encoder()], settings=local_settings(rpc_max_message_bytes=10_000)) as server,
        pytest.raises(TooLarge, match=r"20,\d\d\d bytes is over the limit of 10,000; send an artifact"),
    ):
        _encode(server.address, text="x" * 20_000)


def test_an_answer_over_the_limit_names_both_sizes(encoder: Make) -> None:
    async def answer(_request: EncodeRequest, _context: Any) -> EncodeResponse:
        return EncodeResponse(tokens=[Tokens(ids=range(10_000))])

    with (
        running([encoder(answer)]) as server,
        connect(server.address, max_message_bytes=5000) as channel,
        pytest.raises(TooLarge, match=r"a received message of .* is over the limit of 5,000"),
    ):
        EncoderServiceStub(channel).Encode(EncodeRequest(), timeout=30)
    with (
        running([encoder(answer)], settings=local_settings(rpc_max_message_bytes=5000)) as server,
        pytest.raises(TooLarge, match=r"a sent message of .* is over the limit of 5,000"),
    ):
        _encode(server.address)


def test_calls_beyond_the_limit_are_told_to_come_again(encoder: Make, on_loop: OnLoop) -> None:
    async def scenario() -> None:
        entered, release = asyncio.Semaphore(0), asyncio.Event()

        async def wait(_request: EncodeRequest, _context: Any) -> EncodeResponse:
            entered.release()
            await release.wait()
            return EncodeResponse()

        async with (
            running([encoder(wait)], settings=local_settings(rpc_max_concurrent=2)) as server,
            connect_async(server.address) as channel,
        ):
            stub = EncoderServiceStub(channel)
            held = [
                asyncio.ensure_future(_awaited(stub.Encode(EncodeRequest(), timeout=30))) for _ in range(2)
            ]
            for _ in held:
                await entered.acquire()
            with pytest.raises(Overloaded, match="2 calls are under way"):
                await stub.Encode(EncodeRequest(), timeout=30)
            release.set()
            await asyncio.gather(*held)
            await stub.Encode(EncodeRequest(), timeout=30)

    on_loop(scenario())


async def _awaited(call: Any) -> Any:
    return await call


def test_trace_and_request_id_travel_to_the_handler(encoder: Make, on_loop: OnLoop) -> None:
    seen: list[tuple[str, str]] = []

    async def answer(_request: EncodeRequest, _context: Any) -> EncodeResponse:
        seen.append((current_traceparent(), current_request_id()))
        return EncodeResponse()

    async def call_async(address: str) -> None:
        with traceparent(header), bound(request_id="r2"):
            await _encode_async(address)

    header = "00-" + "a" * 32 + "-" + "b" * 16 + "-00"
    with running([encoder(answer)]) as server:
        with traceparent(header), bound(request_id="r1"):
            _encode(server.address)
        on_loop(call_async(server.address))
    assert seen == [(header, "r1"), (header, "r2")]


def test_calls_are_counted_by_method_and_outcome(encoder: Make) -> None:
    from prometheus_client import REGISTRY

    def count(code: str) -> float:
        labels = {"method": "/vermeil.encoder.v1.EncoderService/Encode", "code": code}
        return REGISTRY.get_sample_value("vermeil_rpc_server_seconds_count", labels) or 0

    before = count("OK"), count("NOT_FOUND")
    with running([encoder()]) as server:
        _encode(server.address)
    with running([encoder(_fails_with(NotFound("gone")))]) as server, pytest.raises(NotFound):
        _encode(server.address)
    assert (count("OK"), count("NOT_FOUND")) == (before[0] + 1, before[1] + 1)


def test_nobody_there_is_unavailable_and_names_the_address(on_loop: OnLoop) -> None:
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 cannot be reached"):
        _encode("127.0.0.1:1")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 cannot be reached"):
        on_loop(_encode_async("127.0.0.1:1"))


def test_a_call_that_meets_an_unavailable_server_is_tried_again(encoder: Make) -> None:
    attempts = 0

    async def third_time_lucky(_request: EncodeRequest, _context: Any) -> EncodeResponse:
        nonlocal attempts
        attempts += 1
        if attempts < 3:
            raise Unavailable("warming up")
        return EncodeResponse()

    with running([encoder(third_time_lucky)]) as server:
        _encode(server.address)
    assert attempts == 3


def test_servers_behind_one_name_take_turns(encoder: Make) -> None:
    calls = [0, 0]

    def counting(number: int) -> Any:
        async def answer(_request: EncodeRequest, _context: Any) -> EncodeResponse:
            calls[number] += 1
            return EncodeResponse()

        return answer

    with (
        running([encoder(counting(0))]) as one,
        running([encoder(counting(1))]) as other,
        connect(f"ipv4:{one.address},{other.address}") as channel,
    ):
        stub = EncoderServiceStub(channel)
        end = monotonic() + 60
        while min(calls) == 0 and monotonic() < end:  # the second is connected to a moment later
            stub.Encode(EncodeRequest(), timeout=30)
        before = list(calls)
        for _ in range(10):
            stub.Encode(EncodeRequest(), timeout=30)
    assert [after - so_far for after, so_far in zip(calls, before, strict=True)] == [5, 5]


def test_a_future_fails_with_an_error_of_the_tree(encoder: Make) -> None:
    with running([encoder(_fails_with(NotFound("gone")))]) as server, connect(server.address) as channel:
        future = EncoderServiceStub(channel).Encode.future(EncodeRequest(), timeout=30)
        with pytest.raises(NotFound):
            future.result()
        assert isinstance(future.exception(), NotFound)


def _pieces_then(error: VermeilError | None) -> Callable[..., Any]:
    async def answer(_request: GenerateRequest, _context: Any) -> AsyncIterator[GenerateResponse]:
        for choice in range(3):
            yield GenerateResponse(choice=choice)
        if error:
            raise error

    return answer


def test_a_stream_that_breaks_gives_its_pieces_and_then_the_error(generator: Make, on_loop: OnLoop) -> None:
    def read(address: str, pieces: list[int]) -> None:
        with connect(address) as channel:
            for each in GenerationServiceStub(channel).Generate(GenerateRequest(), timeout=30):
                pieces.append(each.choice)

    async def read_async(address: str, pieces: list[int]) -> None:
        async with connect_async(address) as channel:
            async for each in GenerationServiceStub(channel).Generate(GenerateRequest(), timeout=30):
                pieces.append(each.choice)

    with running([generator(_pieces_then(NotFound("the model went away")))]) as server:
        pieces: list[int] = []
        with pytest.raises(NotFound, match="went away"):
            read(server.address, pieces)
        assert pieces == [0, 1, 2]
        pieces.clear()
        with pytest.raises(NotFound, match="went away"):
            on_loop(read_async(server.address, pieces))
        assert pieces == [0, 1, 2]


def test_streams_need_a_deadline_and_a_token_as_well(generator: Make) -> None:
    with running([generator(_pieces_then(None))], settings=_with_token("s3cret")) as server:
        with connect(server.address) as channel, pytest.raises(Unauthenticated):
            list(GenerationServiceStub(channel).Generate(GenerateRequest(), timeout=30))
        with (
            connect(server.address, token="s3cret") as channel,
            pytest.raises(InvalidInput, match="no deadline"),
        ):
            list(GenerationServiceStub(channel).Generate(GenerateRequest()))
        with connect(server.address, token="s3cret") as channel:
            assert len(list(GenerationServiceStub(channel).Generate(GenerateRequest(), timeout=30))) == 3
