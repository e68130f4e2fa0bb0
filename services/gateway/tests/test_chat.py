"""/v1/chat/completions: what goes to the generator and what comes back."""

from typing import Any

import pytest
from vermeil.content.v1.content_pb2 import Role
from vermeil_errors import InvalidInput, Overloaded
from vermeil_gateway.testing import Running, events_of


def test_a_conversation_is_answered_in_openai_s_shape(gateway: Running) -> None:
    body = gateway.chat().json()
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["model"] == "vermeil-nano@3"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Hello, world", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ]
    counts = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    assert body["usage"] == {**counts, "prompt_tokens_details": {"cached_tokens": 2}}


def test_every_parameter_reaches_the_generator(gateway: Running) -> None:
    answer = gateway.chat(
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "!"}]},
            {"role": "assistant", "content": "Yes?", "refusal": None, "tool_calls": []},
            {"role": "user", "content": "Go on."},
        ],
        max_completion_tokens=7,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.1,
        repetition_penalty=1.1,
        seed=-5,
        n=2,
        stop=["\n", "END"],
        logit_bias={"17": -100},
        logprobs=True,
        top_logprobs=3,
        user="someone",
    )
    assert answer.status_code == 200
    (request,) = gateway.backends.generation.requests
    sampling = request.sampling
    assert request.model == "models/vermeil-nano"
    assert [turn.role for turn in request.conversation.messages] == [
        Role.ROLE_SYSTEM,
        Role.ROLE_USER,
        Role.ROLE_ASSISTANT,
        Role.ROLE_USER,
    ]
    assert [part.text for part in request.conversation.messages[1].parts] == ["Hi", "!"]
    assert (sampling.max_tokens, sampling.seed, sampling.top_k) == (7, -5, 40)
    assert (sampling.temperature, sampling.top_p, sampling.min_p) == (0.5, 0.9, 0.1)
    assert sampling.repetition_penalty == 1.1
    assert dict(sampling.logit_bias) == {17: -100}
    assert list(sampling.stop) == ["\n", "END"]
    assert (request.num_choices, request.num_logprobs, request.echo) == (2, 3, False)


def test_what_was_not_said_is_left_to_the_generator(gateway: Running) -> None:
    gateway.chat(temperature=None, stop=None, n=None)
    (request,) = gateway.backends.generation.requests
    unset = ("temperature", "top_p", "top_k", "min_p", "seed", "max_tokens", "repetition_penalty")
    assert not any(request.sampling.HasField(name) for name in unset)
    assert not request.HasField("num_logprobs")


def test_several_choices_come_in_order(gateway: Running) -> None:
    choices = gateway.chat(n=3).json()["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    assert {choice["message"]["content"] for choice in choices} == {"Hello, world"}


def test_logprobs_come_with_their_bytes(gateway: Running) -> None:
    gateway.backends.generation.words = ("é", "\ufffd")
    try:
        body = gateway.chat(logprobs=True, top_logprobs=1).json()
    finally:
        gateway.backends.generation.words = ("Hello", ",", " world")
    first, second = body["choices"][0]["logprobs"]["content"]
    assert first["token"] == "é"
    assert first["bytes"] == [195, 169]
    assert first["top_logprobs"] == [{"token": "<0>", "logprob": -0.1, "bytes": [60, 48, 62]}]
    assert second["bytes"] is None


def test_a_stream_tells_role_words_reason_and_end(gateway: Running) -> None:
    answer = gateway.chat(stream=True)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *chunks, last = events_of(answer.text)
    assert last == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content", "") for delta in deltas) == "Hello, world"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert all("usage" not in chunk for chunk in chunks)


def test_a_stream_ends_with_usage_if_asked(gateway: Running) -> None:
    answer = gateway.chat(stream=True, stream_options={"include_usage": True}, n=2)
    *chunks, usage, _ = events_of(answer.text)
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 6
    assert all(chunk["usage"] is None for chunk in chunks)
    assert {chunk["choices"][0]["index"] for chunk in chunks} == {0, 1}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("functions", [{"type": "x"}]),
        ("audio", [{"type": "x"}]),
        ("ignore_eos", True),
        ("min_tokens", 5),
        ("stop_token_ids", [7]),
        ("priority", -1),
    ],
)
def test_what_openai_or_vllm_has_and_we_do_not_is_refused_by_name(
    gateway: Running, field: str, value: object
) -> None:
    answer = gateway.chat(**{field: value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["param"] == field
    assert "is not supported" in error["message"]
    assert not gateway.backends.generation.requests


def test_values_that_change_nothing_are_accepted(gateway: Running) -> None:
    neutral = {
        "tools": None,
        "tool_choice": "none",
        "response_format": {"type": "text"},
        "modalities": ["text"],
        "store": False,
        "metadata": {"a": "b"},
        "service_tier": "auto",
        "ignore_eos": False,
        "length_penalty": 1.0,
        "min_tokens": 0,
        "skip_special_tokens": True,
        "stop_token_ids": [],
        "top_k": -1,
    }
    assert gateway.chat(**neutral).status_code == 200


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("max_tokenz", 3, "max_tokenz"),
        ("temperature", 2.5, "temperature"),
        ("temperature", "hot", "temperature"),
        ("temperature", True, "temperature"),
        ("top_p", 0, "top_p"),
        ("n", 10_000, "n"),
        ("frequency_penalty", 2.1, "frequency_penalty"),
        ("presence_penalty", -3, "presence_penalty"),
        ("n", 1.5, "n"),
        ("stop", 3, "stop"),
        ("stop", ["a"] * 17, "stop"),
        ("stop", [""], "stop[0]"),
        ("seed", 2**63, "seed"),
        ("logit_bias", {"a": 1}, "logit_bias"),
        ("logit_bias", {"3": 101}, "logit_bias.3"),
        ("messages", [], "messages"),
        ("messages", [{"role": "robot", "content": "x"}], "messages[0].role"),
        ("messages", [{"role": "tool", "content": "x", "tool_call_id": "1"}], "messages[0].tool_call_id"),
        ("messages", [{"role": "function", "content": "x", "name": "f"}], "messages[0].role"),
        ("messages", [{"role": "user", "content": "x", "name": 7}], "messages[0].name"),
        ("messages", [{"role": "user", "content": 3}], "messages[0].content"),
        ("messages", [{"role": "user", "content": "x", "mood": "good"}], "messages[0].mood"),
        ("model", "", "model"),
    ],
)
def test_a_wrong_value_is_refused_by_name(gateway: Running, field: str, value: Any, named: str) -> None:
    answer = gateway.chat(**{field: value})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert error["code"] == "INVALID_INPUT"
    assert named in [violation["field"] for violation in error["violations"]]


def test_a_refusal_says_what_was_sent_and_what_would_do(gateway: Running) -> None:
    message = gateway.chat(n=10_000).json()["error"]["message"]
    assert message == "n: input should be less than or equal to 16, not 10000"
    long = gateway.chat(seed="x" * 1000).json()["error"]["message"]
    assert "seed" in long
    assert len(long) < 200


@pytest.mark.parametrize(
    ("fields", "part"),
    [
        ({"top_logprobs": 2}, "top_logprobs: only with logprobs"),
        ({"stream_options": {"include_usage": True}}, "stream_options: only with stream"),
        ({"max_tokens": 3, "max_completion_tokens": 4}, "differs from max_completion_tokens"),
        ({"max_tokens": 0}, "must be 1 or more"),
    ],
)
def test_fields_that_disagree_are_refused(gateway: Running, fields: dict[str, Any], part: str) -> None:
    answer = gateway.chat(**fields)
    assert answer.status_code == 400
    assert part in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["vermeil-nano", "vermeil-nano@3", "models/vermeil-nano/versions/3"])
def test_a_model_answers_to_all_its_names(gateway: Running, name: str) -> None:
    assert gateway.chat(model=name).json()["model"] == "vermeil-nano@3"


@pytest.mark.parametrize(
    "name", ["gpt-4", "../secret", "vermeil-nano@0", "Models/x", "models/vermeil-nano/versions/x"]
)
def test_an_unknown_model_is_not_found(gateway: Running, name: str) -> None:
    answer = gateway.chat(model=name)
    assert answer.status_code == 404
    assert answer.json()["error"]["param"] == "model"


def test_the_generator_s_refusal_arrives_with_its_status_and_fields(gateway: Running) -> None:
    gateway.backends.generation.refusal = InvalidInput.for_field(
        "sampling.max_tokens", 900, "too many", "less"
    )
    for stream in (False, True):
        answer = gateway.chat(stream=stream)
        assert answer.status_code == 400
        assert answer.json()["error"]["param"] == "max_tokens"
        assert "sampling." not in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("field", "named"),
    [
        ("conversation.messages[1].parts[0].image", "messages[1].content[0].image"),
        ("conversation", "messages"),
        ("tokens.ids", "prompt"),
        ("num_choices", "n"),
        ("num_logprobs", "logprobs"),
        ("sampling.logit_bias", "logit_bias"),
    ],
)
def test_the_generator_s_fields_are_named_as_the_caller_wrote_them(
    gateway: Running, field: str, named: str
) -> None:
    gateway.backends.generation.refusal = InvalidInput.for_field(field, 1, "is wrong")
    assert gateway.chat().json()["error"]["param"] == named


def test_an_overloaded_generator_says_when_to_come_again(gateway: Running) -> None:
    gateway.backends.generation.refusal = Overloaded("all slots are taken")
    answer = gateway.chat()
    assert answer.status_code == 429
    assert answer.json()["error"]["type"] == "rate_limit_error"
    assert answer.headers["retry-after"] == "1"


def test_an_error_in_the_middle_of_a_stream_is_its_last_event(gateway: Running) -> None:
    turns = [{"role": "user", "content": "fail"}]
    *chunks, last = events_of(gateway.chat(messages=turns, stream=True).text)
    assert chunks
    assert set(last) == {"error"}
    assert last["error"]["message"] == "the fake was asked to fail"
