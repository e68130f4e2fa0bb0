"""/v1/completions: prompts of every form, echo, logprobs, streams."""

from typing import Any

import pytest
from vermeil_gateway.testing import Running, events_of


def test_a_text_is_continued_in_openai_s_shape(gateway: Running) -> None:
    body = gateway.complete().json()
    assert body["object"] == "text_completion"
    assert body["choices"] == [
        {"index": 0, "text": "Hello, world", "logprobs": None, "finish_reason": "stop"}
    ]
    (request,) = gateway.backends.generation.requests
    assert request.prompt == "Once"
    assert request.sampling.max_tokens == 16


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Once", ["Once"]),
        ("", [""]),
        (["a", "b"], ["a", "b"]),
        ([5, 6], [[5, 6]]),
        ([[5, 6], [7]], [[5, 6], [7]]),
    ],
)
def test_a_prompt_may_be_text_or_ids_one_or_many(gateway: Running, prompt: Any, expected: list[Any]) -> None:
    assert gateway.complete(prompt=prompt).status_code == 200
    asked = sorted(gateway.backends.generation.requests, key=str)
    given = [list(each.tokens.ids) if each.WhichOneof("input") == "tokens" else each.prompt for each in asked]
    assert sorted(given, key=str) == sorted(expected, key=str)


def test_many_prompts_answer_in_their_order(gateway: Running) -> None:
    prompts = [f"p{number}" for number in range(30)]
    body = gateway.complete(prompt=prompts, n=2, echo=True).json()
    assert [choice["index"] for choice in body["choices"]] == list(range(60))
    assert [choice["text"] for choice in body["choices"]] == [
        f"{prompt}Hello, world" for prompt in prompts for _ in range(2)
    ]
    counts = {"prompt_tokens": 150, "completion_tokens": 180, "total_tokens": 330}
    assert body["usage"] == {**counts, "prompt_tokens_details": {"cached_tokens": 60}}


def test_many_prompts_stream_into_one(gateway: Running) -> None:
    *chunks, _ = events_of(gateway.complete(prompt=["a", "b"], stream=True).text)
    texts = {0: "", 1: ""}
    for chunk in chunks:
        (choice,) = chunk["choices"]
        texts[choice["index"]] += choice["text"]
    assert texts == {0: "Hello, world", 1: "Hello, world"}


def test_an_error_of_one_prompt_is_the_error_of_all(gateway: Running) -> None:
    answer = gateway.complete(prompt=["a", "fail", "c"])
    assert answer.status_code == 400
    assert answer.json()["error"]["message"] == "the fake was asked to fail"


def test_echo_with_logprobs_covers_prompt_and_answer(gateway: Running) -> None:
    body = gateway.complete(echo=True, logprobs=1, max_tokens=0).json()
    told = body["choices"][0]["logprobs"]
    assert told["tokens"] == ["Once", "Hello", ",", " world"]
    assert told["token_logprobs"] == [None, -0.5, -0.5, -0.5]
    assert told["top_logprobs"][0] is None
    assert told["top_logprobs"][1] == {"<0>": -0.1, "Hello": -0.5}
    assert told["text_offset"] == [0, 4, 9, 10]
    (request,) = gateway.backends.generation.requests
    assert request.echo
    assert request.sampling.HasField("max_tokens")
    assert request.sampling.max_tokens == 0


def test_logprobs_0_tells_of_the_chosen_tokens_only(gateway: Running) -> None:
    told = gateway.complete(logprobs=0).json()["choices"][0]["logprobs"]
    assert told["top_logprobs"] == [{"Hello": -0.5}, {",": -0.5}, {" world": -0.5}]


def test_a_stream_ends_with_usage_if_asked(gateway: Running) -> None:
    *_, usage, done = events_of(
        gateway.complete(stream=True, stream_options={"include_usage": True}, prompt=["a", "b"]).text
    )
    assert usage["usage"]["total_tokens"] == 16
    assert done == "[DONE]"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"suffix": "x"}, "suffix"),
        ({"presence_penalty": 2.5}, "presence_penalty"),
        ({"prompt": []}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": ["a", 5]}, "prompt[1]"),
        ({"prompt": [3, -1]}, "prompt[0][1]"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 21}, "logprobs"),
        ({"prompts": ["a"]}, "prompts"),
        ({"messages": []}, "messages"),
    ],
)
def test_a_wrong_value_is_refused_by_name(gateway: Running, fields: dict[str, Any], named: str) -> None:
    answer = gateway.complete(**fields)
    assert answer.status_code == 400
    assert named in [violation["field"] for violation in answer.json()["error"]["violations"]]


def test_best_of_may_only_repeat_n(gateway: Running) -> None:
    assert gateway.complete(n=2, best_of=2).status_code == 200
    assert "best_of" in gateway.complete(n=1, best_of=2).json()["error"]["message"]


def test_a_picture_in_a_completion_comes_beside_its_text(gateway: Running) -> None:
    (choice,) = gateway.complete(prompt="draw").json()["choices"]
    assert choice["text"] == "Hello, world"
    assert [(image["index"], image["offset"]) for image in choice["images"]] == [(0, 5)]
    *chunks, _ = events_of(gateway.complete(prompt="draw", stream=True).text)
    shown = [chunk["choices"][0] for chunk in chunks if "images" in chunk["choices"][0]]
    assert [image for each in shown for image in each["images"]] == choice["images"]
