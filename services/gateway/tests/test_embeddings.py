"""/v1/embeddings as OpenAI's clients call it."""

import asyncio
import json
from types import SimpleNamespace
from typing import Any, cast

import openai
import pytest
from vermeil.encoder.v1.encoder_pb2 import Embedding
from vermeil.encoder.v1.encoder_service_pb2 import EncodeRequest, EncodeResponse
from vermeil_gateway.api.embeddings import _answer
from vermeil_gateway.clients import Clients
from vermeil_gateway.openai.embedding_request import EmbeddingRequest
from vermeil_gateway.spent import Spent
from vermeil_gateway.testing import Running

MODEL = "vermeil-pairs"


@pytest.mark.parametrize("encoding_format", ["float", "base64", openai.omit])
def test_the_official_client_reads_vectors_however_they_are_written(
    gateway: Running, encoding_format: Any
) -> None:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any") as client:
        answer = client.embeddings.create(model=MODEL, input=["ab", "abc"], encoding_format=encoding_format)
    vectors = [each.embedding for each in answer.data]
    if encoding_format != "base64":
        assert vectors == [[2, 0.5, 0], [3, 0.5, 0]]
    assert [each.index for each in answer.data] == [0, 1]
    assert (answer.usage.prompt_tokens, answer.usage.total_tokens) == (5, 5)
    assert answer.model == MODEL


def test_one_text_is_a_list_of_one(gateway: Running) -> None:
    answer = gateway.http.post("/v1/embeddings", json={"model": MODEL, "input": "ab"}).json()
    assert answer["object"] == "list"
    assert answer["data"] == [{"object": "embedding", "index": 0, "embedding": [2, 0.5, 0]}]


def test_many_texts_are_asked_for_in_several_calls_and_come_in_order(gateway: Running) -> None:
    texts = ["x" * (1 + number % 7) for number in range(700)] + ["y" * 600_000, "z"]
    answer = gateway.http.post("/v1/embeddings", json={"model": MODEL, "input": texts}).json()
    assert [each["embedding"][0] for each in answer["data"]] == [len(text) for text in texts]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": ""}, "input[0]"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [1, 2]}, "input"),
        ({"input": [["a"]]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"input": ["a"] * 300 + ["too long"]}, "input[300]"),
        ({"input": "a", "dimensions": 2}, "dimensions"),
        ({"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ({"input": "a", "color": 1}, "color"),
    ],
)
def test_what_is_wrong_is_refused_by_the_caller_s_word(
    gateway: Running, fields: dict[str, Any], param: str
) -> None:
    answer = gateway.http.post("/v1/embeddings", json={"model": MODEL, **fields})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_the_width_of_the_model_may_be_named(gateway: Running) -> None:
    body = {"model": MODEL, "input": "a", "dimensions": 3}
    assert gateway.http.post("/v1/embeddings", json=body).status_code == 200


@pytest.mark.parametrize("encoding_format", ["float", "base64"])
def test_others_go_on_between_any_two_vectors_of_a_large_answer(encoding_format: str) -> None:
    class AtOnce:
        text_encoder = SimpleNamespace(Encode=None)

        async def compute(self, _: None, asked: EncodeRequest) -> EncodeResponse:
            vectors = [Embedding(values=bytes(4096)) for _ in asked.texts]
            return EncodeResponse(embeddings=vectors, num_tokens=[1] * len(vectors))

    async def live() -> None:
        num_turns = 0

        async def others() -> None:
            nonlocal num_turns
            while True:
                num_turns += 1
                await asyncio.sleep(0)

        turning = asyncio.create_task(others())
        body = EmbeddingRequest.model_validate(
            {"model": MODEL, "input": ["a"] * 300, "encoding_format": encoding_format}
        )
        pieces = await _answer(cast("Clients", AtOnce()), body, Spent())
        turning.cancel()
        assert num_turns >= 300
        assert max(map(len, pieces)) < 16_384
        assert [each["index"] for each in json.loads(b"".join(pieces))["data"]] == list(range(300))

    asyncio.run(live())
