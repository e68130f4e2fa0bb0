"""Nonsense finds what stumbles, is the same for the same seed, and never blames a server that refuses."""

from collections.abc import Callable
from random import Random
from typing import Any

import grpc
from vermeil.encoder.v1.encoder_service_pb2 import EncodeRequest, EncodeResponse
from vermeil.generation.v1.generation_service_pb2 import GenerateRequest
from vermeil_errors import InvalidInput
from vermeil_rpc import Service
from vermeil_rpc.fuzzing import call_with_nonsense, fill
from vermeil_rpc.testing import running

ENCODER = "vermeil.encoder.v1.EncoderService"


def test_bytes_that_are_no_message_are_the_caller_s_mistake(encoder: Callable[..., Service]) -> None:
    with running([encoder()]) as server, grpc.insecure_channel(server.address) as channel:
        call = channel.unary_unary(f"/{ENCODER}/Encode", None, None)
        for body in (b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"):
            try:
                call(body, timeout=60)
            except grpc.RpcError as error:
                refused: Any = error
            assert refused.code() == grpc.StatusCode.INVALID_ARGUMENT
            assert f"the request's {len(body)} bytes are no message of this method" in refused.details()
        assert call_with_nonsense(channel, ENCODER, only=["Encode"]) == []


def test_a_method_that_stumbles_is_found_and_one_that_refuses_is_not(encoder: Callable[..., Service]) -> None:
    async def answer(request: EncodeRequest, _context: Any) -> EncodeResponse:
        if request.texts:
            raise ZeroDivisionError
        raise InvalidInput("no")

    with running([encoder(answer)]) as server, grpc.insecure_channel(server.address) as channel:
        found = call_with_nonsense(channel, ENCODER, only=["Encode"])
    assert found
    assert {each.code for each in found} == {grpc.StatusCode.INTERNAL}
    assert all(EncodeRequest.FromString(each.body).texts for each in found)


def test_the_same_seed_gives_the_same_nonsense_and_others_give_all_fields() -> None:
    def filled(seed: int) -> GenerateRequest:
        message = GenerateRequest()
        fill(message, Random(seed))
        return message

    assert filled(1).SerializeToString(deterministic=True) == filled(1).SerializeToString(deterministic=True)
    seen = {field.name for seed in range(60) for field, _ in filled(seed).ListFields()}
    assert seen == {field.name for field in GenerateRequest.DESCRIPTOR.fields}
