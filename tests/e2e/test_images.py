"""Handwritten digits go in, drawn ones come out: by the commands, by HTTP, by the official client."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from vermeil_local.testing import Installation, small_image_recipe
from vermeil_media import decode_image


@pytest.fixture(scope="module")
def model(vermeil: Installation) -> str:
    vermeil.command("ingest", "digits:")
    with vermeil.client() as client:
        recipe = small_image_recipe("digits", "doodles", 20)
        job = client.wait(client.train(recipe, request_id="doodles-model").name)
    assert job.result["model_version"] == "models/doodles/versions/1"
    return "doodles"


@pytest.fixture
def client(vermeil: Installation) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{vermeil.url}/v1", api_key="none") as client:
        yield client


def test_the_official_openai_client_gets_pictures_of_a_class(client: openai.OpenAI, model: str) -> None:
    asked = {"model": model, "prompt": "7", "n": 2, "size": "8x8", "extra_body": {"seed": 1, "steps": 4}}
    answer = client.images.generate(**asked)
    pictures = [decode_image(base64.b64decode(each.b64_json or "")) for each in answer.data or []]
    assert [picture.shape for picture in pictures] == [(8, 8, 3)] * 2
    again = client.images.generate(**{**asked, "n": 1})
    assert again.data is not None
    assert again.data[0].b64_json == answer.data[0].b64_json


def test_the_official_openai_client_watches_a_picture_being_drawn(client: openai.OpenAI, model: str) -> None:
    stream = client.images.generate(model=model, prompt="3", stream=True, partial_images=2)
    events = list(stream)
    assert [event.type.rpartition(".")[2] for event in events] == ["partial_image"] * 2 + ["completed"]
    assert decode_image(base64.b64decode(events[-1].b64_json)).shape == (8, 8, 3)


def test_a_picture_is_fetched_by_its_url(vermeil: Installation, client: openai.OpenAI, model: str) -> None:
    answer = client.images.generate(model=model, prompt="3", response_format="url")
    assert answer.data is not None
    url = answer.data[0].url or ""
    assert url.startswith(f"{vermeil.url}/v1/images/")
    assert decode_image(httpx.get(url, timeout=60).content).shape == (8, 8, 3)


def test_the_command_writes_a_row_for_each_class(vermeil: Installation, model: str, tmp_path: Path) -> None:
    grid = tmp_path / "grid.png"
    told = vermeil.command("images", model, "3", "1", "4", "--n", "5", "--output", str(grid), "--json")
    assert [each["prompt"] for each in json.loads(told.stdout)["pictures"]] == ["3"] * 5 + ["1"] * 5 + [
        "4"
    ] * 5
    height, width, _ = decode_image(grid.read_bytes()).shape
    assert width / height == pytest.approx(5 / 3, rel=0.05)


def test_an_unknown_class_lists_those_there_are(vermeil: Installation, model: str) -> None:
    refused = vermeil.command("images", model, "eleven", check=False)
    assert refused.returncode == 2
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in refused.stderr


def test_a_model_says_what_it_answers_with(client: openai.OpenAI, vermeil: Installation, model: str) -> None:
    assert client.models.retrieve(model).model_extra["output_modalities"] == ["image"]  # type: ignore[index]
    refused = vermeil.command("chat", model, "-p", "hello", check=False)
    assert refused.returncode == 2
    assert "draws pictures" in refused.stderr
