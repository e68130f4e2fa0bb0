"""Conversations of the page ↔ of the gateway."""

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from vermeil_demo.clients import Gateway
from vermeil_demo.conversation import answer, paced, turns_of
from vermeil_demo.examples import EXAMPLES
from vermeil_demo.fakes import FakeVermeil
from vermeil_demo.files import kept, sendable
from vermeil_demo.problems import sentence
from vermeil_errors import InvalidInput
from vermeil_media import decode_image, encode_png, inspect_image


def all_of(looks: AsyncIterable[Any]) -> list[Any]:
    """Every look at an answer that grows."""

    async def gathered() -> list[Any]:
        return [look async for look in looks]

    return asyncio.run(gathered())


async def each(values: Iterable[Any]) -> AsyncGenerator[Any, None]:
    for value in values:
        yield value


SAID = {"role": "user", "content": [{"type": "text", "text": "Hi"}]}
HELLO = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}


def test_an_answer_grows_word_by_word_to_what_was_said(gateway: Gateway) -> None:
    *_, last = all_of(answer(gateway.streams, {"text": "one two three", "files": []}, [], "nano"))
    assert last == [{"role": "assistant", "content": ["one two three"]}]


def test_the_model_is_told_the_whole_conversation(gateway: Gateway, fake: FakeVermeil) -> None:
    all_of(answer(gateway.streams, {"text": "And you?"}, [SAID, HELLO], "nano", temperature=0.5))
    _, _, body = fake.requests[-1]
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert body["messages"][1]["content"] == "Hello"
    assert body["temperature"] == 0.5


def test_a_picture_that_was_brought_is_sent(gateway: Gateway) -> None:
    *_, last = all_of(answer(gateway.streams, {"text": "What?", "files": [EXAMPLES[0]]}, [], "nano"))
    assert last[0]["content"] == ["▢What?"]


def test_a_picture_in_an_answer_stands_where_the_model_put_it(gateway: Gateway) -> None:
    *_, (message,) = all_of(answer(gateway.streams, {"text": "draw"}, [], "nano"))
    text, picture = message["content"]
    assert text == "draw"
    assert inspect_image(Path(picture["path"]).read_bytes()).width == 8


def test_a_picture_of_an_answer_goes_back_with_its_place() -> None:
    path = kept(encode_png(np.zeros((8, 8, 3), np.uint8)))
    file = {"type": "file", "file": {"path": path}}
    text = {"type": "text", "text": "Look: "}
    (turn,) = turns_of([{"role": "assistant", "content": [text, file]}])
    (image,) = turn["images"]
    assert (turn["content"], image["offset"], image["index"]) == ("Look: ", 6, 0)
    assert base64.b64decode(image["image_url"]["url"].partition(",")[2]).startswith(b"\x89PNG")


def test_why_there_was_no_answer_is_said_in_its_place_and_never_told_to_a_model(
    gateway: Gateway, fake: FakeVermeil
) -> None:
    fake.unreachable = True
    ((message,),) = all_of(answer(gateway.streams, {"text": "Hi"}, [], "nano"))
    assert "vermeil up" in message["content"]
    assert "Traceback" not in message["content"]
    assert turns_of([SAID, message, HELLO]) == [{"role": "assistant", "content": "Hello"}]


def test_where_in_a_request_something_was_wrong_is_for_programs_only() -> None:
    of_request = InvalidInput("messages[2].content[0].image: this model reads text only; send text parts")
    assert sentence(of_request) == "This model reads text only; send text parts."
    of_dial = InvalidInput.for_field("Steps", "ten", "is not a whole number", "write one")
    assert sentence(of_dial) == "Steps = 'ten': is not a whole number; write one."


def test_text_and_pictures_of_one_turn_that_the_page_shows_apart_stay_one_turn() -> None:
    file = {"type": "file", "file": {"path": EXAMPLES[0]}}
    (turn,) = turns_of([{"role": "user", "content": [file]}, SAID])
    assert [part["type"] for part in turn["content"]] == ["image_url", "text"]


def test_a_large_picture_is_made_small_enough_and_keeps_its_shape(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 1800, 3), np.uint8)
    (tmp_path / "large.png").write_bytes(encode_png(noise))
    sent = sendable(tmp_path / "large.png")
    assert len(sent) < 2**20
    assert decode_image(sent).shape == (224, 448, 3)


def test_a_file_that_is_no_picture_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "letter.png").write_text("Dear reader")
    with pytest.raises(InvalidInput, match="PNG, JPEG"):
        sendable(tmp_path / "letter.png")


def test_a_quick_answer_is_shown_at_a_pace_that_eyes_can_follow_and_to_its_end() -> None:
    ticks = count(0, 0.005)
    looks = all_of(paced(each(range(100)), clock=lambda: next(ticks)))
    assert looks[0] == 0
    assert looks[-1] == 99
    assert len(looks) < 25
