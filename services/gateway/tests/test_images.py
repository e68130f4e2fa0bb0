"""/v1/images: drawing as OpenAI's clients ask for it, streams, URLs."""

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from vermeil_errors import Overloaded
from vermeil_gateway.fakes.pictures import png_of
from vermeil_gateway.testing import Running, events_of, running_gateway


def draw(gateway: Running, **fields: Any) -> httpx.Response:
    body = {"model": "vermeil-pictures", "prompt": "7", **fields}
    return gateway.http.post("/v1/images/generations", json=body)


def test_pictures_come_as_base64_with_their_seeds(gateway: Running) -> None:
    body = draw(gateway, n=3, seed=250).json()
    assert [base64.b64decode(each["b64_json"]) for each in body["data"]] == list(map(png_of, (250, 251, 252)))
    assert [each["seed"] for each in body["data"]] == [250, 251, 252]
    assert (body["model"], body["size"], body["output_format"]) == ("vermeil-pictures@1", "8x8", "png")
    assert body["usage"] == {
        "input_tokens": 1,
        "input_tokens_details": {"text_tokens": 1, "image_tokens": 0},
        "output_tokens": 12,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": 12},
        "total_tokens": 13,
    }


def test_all_fields_reach_the_generator(gateway: Running) -> None:
    fields = {"steps": 9, "guidance": 2.5, "solver": "heun", "seed": 3, "n": 2, "size": "8x8"}
    assert draw(gateway, **fields, stream=True, partial_images=2).status_code == 200
    (asked,) = gateway.backends.generation.image_requests
    assert (asked.model, asked.prompt, asked.num_images) == ("models/vermeil-pictures", "7", 2)
    sampling = asked.sampling
    assert (sampling.steps, sampling.guidance, sampling.solver, sampling.seed) == (9, 2.5, "heun", 3)
    assert (asked.width, asked.height, asked.num_previews, asked.as_artifacts) == (8, 8, 2, False)


def test_what_is_not_said_is_left_to_the_generator(gateway: Running) -> None:
    neutral = {"quality": "auto", "background": "auto", "output_format": "png", "user": "me", "size": "auto"}
    assert draw(gateway, **neutral, style=None).status_code == 200
    (asked,) = gateway.backends.generation.image_requests
    assert not asked.sampling.ListFields()
    assert (asked.num_images, asked.width, asked.height) == (1, 0, 0)


def test_a_stream_tells_progress_previews_and_pictures(gateway: Running) -> None:
    answer = draw(gateway, n=2, stream=True, partial_images=1, progress=True, seed=1)
    assert answer.headers["content-type"].startswith("text/event-stream")
    names = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event")]
    events = events_of(answer.text)
    assert names == [event["type"] for event in events]
    progress = [event for event in events if event["type"] == "image_generation.progress"]
    assert [event["steps_done"] for event in progress] == [0, 2, 4, 6, 8]
    assert {event["steps_total"] for event in progress} == {8}
    partial = [event for event in events if event["type"] == "image_generation.partial_image"]
    assert [(event["image_index"], event["partial_image_index"]) for event in partial] == [(0, 0), (1, 0)]
    done = [event for event in events if event["type"] == "image_generation.completed"]
    assert [base64.b64decode(event["b64_json"]) for event in done] == [png_of(1), png_of(2)]
    assert sum(event["usage"]["output_tokens"] for event in done) == 8


def test_progress_is_told_only_where_it_was_asked_for(gateway: Running) -> None:
    types = {event["type"] for event in events_of(draw(gateway, stream=True).text)}
    assert types == {"image_generation.completed"}


def test_a_picture_is_fetched_by_its_url_and_may_be_kept(gateway: Running) -> None:
    body = draw(gateway, response_format="url", n=2, seed=9).json()
    answers = [gateway.http.get(each["url"]) for each in body["data"]]
    assert [answer.content for answer in answers] == [png_of(9), png_of(10)]
    assert answers[0].headers["content-type"] == "image/png"
    assert "immutable" in answers[0].headers["cache-control"]
    assert answers[0].headers["x-content-type-options"] == "nosniff"


def test_large_pictures_travel_by_the_store_and_come_as_base64_all_the_same(gateway: Running) -> None:
    generation = gateway.backends.generation
    whole = generation.GenerateImages

    async def kept(request: Any, context: Any) -> Any:
        request.as_artifacts = True
        async for message in whole(request, context):
            yield message

    generation.GenerateImages = kept  # type: ignore[method-assign]
    try:
        body = draw(gateway, seed=5).json()
    finally:
        del generation.GenerateImages  # type: ignore[method-assign]
    assert base64.b64decode(body["data"][0]["b64_json"]) == png_of(5)


def test_only_pictures_are_shown(gateway: Running, tmp_path: Path) -> None:
    (tmp_path / "image.png").write_bytes(b"weights")
    model = gateway.backends.store.publish(tmp_path, kind="model")
    hidden = model.digest.removeprefix("sha256:")
    for number in (hidden, "0" * 64, "x", "..%2f..%2fetc", "0" * 63, "A" * 64):
        answer = gateway.http.get(f"/v1/images/{number}")
        assert answer.status_code == 404, number
        assert answer.json()["error"]["code"] == "NOT_FOUND"


def test_a_picture_that_was_cleared_away_is_said_to_be_so() -> None:
    with running_gateway() as gateway:
        url = draw(gateway, response_format="url", seed=11).json()["data"][0]["url"]
        assert gateway.http.get(url).status_code == 200
        gateway.backends.store.collect([], older_than=timedelta(0))
        answer = gateway.http.get(url)
        assert answer.status_code == 404
        assert "it may have been cleared away; draw it again" in answer.json()["error"]["message"]
        again = draw(gateway, response_format="url", seed=11).json()["data"][0]["url"]
        assert again == url
        assert gateway.http.get(url).status_code == 200


def test_a_key_opens_pictures_too() -> None:
    with running_gateway(api_keys=("alpha",)) as gateway:
        key = {"authorization": "Bearer alpha"}
        wanted = {"model": "vermeil-pictures", "prompt": "7", "response_format": "url"}
        assert gateway.http.post("/v1/images/generations", json=wanted).status_code == 401
        answer = gateway.http.post("/v1/images/generations", json=wanted, headers=key)
        url = answer.json()["data"][0]["url"]
        assert gateway.http.get(url).status_code == 401
        assert gateway.http.get(url, headers=key).status_code == 200


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"n": 0}, "n"),
        ({"n": 65}, "n"),
        ({"steps": 0}, "steps"),
        ({"steps": 1001}, "steps"),
        ({"guidance": 31}, "guidance"),
        ({"solver": "ddim"}, "solver"),
        ({"seed": -1}, "seed"),
        ({"size": "big"}, "size"),
        ({"size": "1024x1024"}, "size"),
        ({"prompt": None}, "prompt"),
        ({"prompt": ["7"]}, "prompt"),
        ({"response_format": "file"}, "response_format"),
        ({"output_format": "webp"}, "output_format"),
        ({"background": "transparent"}, "background"),
        ({"style": "vivid"}, "style"),
        ({"negative_prompt": "x"}, "negative_prompt"),
        ({"model": "nobody"}, "model"),
        ({"model": "vermeil-nano"}, "model"),
        ({"stream": True, "partial_images": 9}, "partial_images"),
    ],
)
def test_a_wrong_value_is_refused_by_name(gateway: Running, fields: dict[str, Any], named: str) -> None:
    answer = draw(gateway, **fields)
    assert answer.status_code in {400, 404}
    assert named in [violation["field"] for violation in answer.json()["error"]["violations"]]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"partial_images": 1}, "partial_images: only with stream = true"),
        ({"progress": True}, "progress: only with stream = true"),
        ({"stream": True, "response_format": "url"}, "response_format: a stream carries b64_json only"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(
    gateway: Running, fields: dict[str, Any], words: str
) -> None:
    answer = draw(gateway, **fields)
    assert answer.status_code == 400
    assert words in answer.json()["error"]["message"]


def test_a_full_generator_is_told_as_such_before_the_stream_begins(gateway: Running) -> None:
    gateway.backends.generation.refusal = Overloaded("256 pictures wait", fix="try again shortly")
    for stream in (False, True):
        answer = draw(gateway, stream=stream)
        assert answer.status_code == Overloaded.http_status
        assert answer.headers["retry-after"]


def test_an_error_while_drawing_ends_the_stream_with_it(gateway: Running) -> None:
    *_, last = events_of(draw(gateway, prompt="fail", stream=True).text)
    assert last["error"]["message"] == "the fake was asked to fail"
