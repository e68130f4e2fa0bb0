"""Pictures in conversations: what goes to the generator, and how those of an answer come back."""

import base64
from typing import Any

import pytest
from vermeil_gateway.fakes.generation import GREY
from vermeil_gateway.fakes.pictures import png_of
from vermeil_gateway.openai import chat_images
from vermeil_gateway.testing import Running, events_of


def url_of(file: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(file).decode()}"


def part(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


PICTURE = part(url_of(b"hi"))
SQUARE = url_of(png_of(GREY))


def user(*content: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(content)}


def parts_sent(gateway: Running) -> list[Any]:
    """Parts of all turns of the last request: texts, and files of pictures."""
    turns = gateway.backends.generation.requests[-1].conversation.messages
    return [part.text or part.image.inline for turn in turns for part in turn.parts]


def test_a_picture_is_passed_on_and_the_generator_decides(gateway: Running) -> None:
    gateway.chat(messages=[user({"type": "text", "text": "What?"}, PICTURE)])
    part = gateway.backends.generation.requests[0].conversation.messages[0].parts[1]
    assert (part.image.inline, part.image.media_type) == (b"hi", "image/png")


@pytest.mark.parametrize("prompt", ["draw", "keep"])
def test_pictures_of_an_answer_stand_beside_its_content(gateway: Running, prompt: str) -> None:
    turns = [{"role": "user", "content": prompt}]
    message = gateway.chat(messages=turns, n=2).json()["choices"][1]["message"]
    assert message["content"] == "Hello, world"
    shown = [{"type": "image_url", "image_url": {"url": SQUARE}, "index": 0, "offset": len("Hello")}]
    assert message["images"] == shown
    *chunks, _ = events_of(gateway.chat(messages=turns, stream=True).text)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert [delta["images"] for delta in deltas if "images" in delta] == [shown]
    assert [delta.get("content") for delta in deltas].index("Hello") < deltas.index({"images": shown})
    assert "images" not in gateway.chat().json()["choices"][0]["message"]


def test_an_answer_that_is_sent_back_reads_as_it_was_said(gateway: Running) -> None:
    turns = [{"role": "user", "content": "draw"}]
    message = gateway.chat(messages=turns).json()["choices"][0]["message"]
    gateway.chat(messages=[*turns, message, {"role": "user", "content": "More"}])
    assert parts_sent(gateway) == ["draw", "Hello", png_of(GREY), ", world", "More"]


@pytest.mark.parametrize(
    ("content", "offsets", "expected"),
    [
        ("abc", [None], ["abc", b"0"]),
        ("abc", [3, 0], [b"1", "abc", b"0"]),
        ("abc", [1, 1], ["a", b"0", b"1", "bc"]),
        ("abc", [99], ["abc", b"0"]),
        (None, [None, None], [b"0", b"1"]),
        ("", [0], [b"0"]),
        ([{"type": "text", "text": "abc"}, part(url_of(b"x"))], [0], ["abc", b"x", b"0"]),
    ],
)
def test_pictures_stand_where_they_say_else_at_the_end(
    gateway: Running, content: Any, offsets: list[int | None], expected: list[Any]
) -> None:
    images = [
        part(url_of(str(place).encode())) | ({} if offset is None else {"offset": offset})
        for place, offset in enumerate(offsets)
    ]
    answer = {"role": "assistant", "content": content, "images": images}
    assert gateway.chat(messages=[answer]).status_code == 200
    assert [sent for sent in parts_sent(gateway) if sent] == expected


def test_who_asks_for_text_and_pictures_is_answered(gateway: Running) -> None:
    assert gateway.chat(modalities=["text", "image"]).status_code == 200
    assert gateway.chat(modalities=["audio"]).status_code == 400


@pytest.mark.parametrize(
    ("turn", "status", "param", "words"),
    [
        (
            user(part("http://169.254.169.254/secret")),
            400,
            "messages[0].content[0].image_url.url",
            "nothing is fetched here: it is not a data: URL; send the picture itself, as data:image/png",
        ),
        (
            user(part("https://x.org/cat.png")),
            400,
            "messages[0].content[0].image_url.url",
            "send the picture",
        ),
        (user(part("cat.png")), 400, "messages[0].content[0].image_url.url", "is not a data: URL; send the"),
        (user(part("data:image/png;base64,a")), 400, "messages[0].content[0].image_url.url", "is not base64"),
        (
            user(part(url_of(bytes(2**20 + 1)))),
            413,
            "messages[0].content[0].image_url.url",
            "1,048,577 bytes are more than 1,048,576; send a smaller",
        ),
        (
            {"role": "assistant", "content": "", "images": [part("http://x.org/cat.png")]},
            400,
            "messages[0].images[0].image_url.url",
            "send the picture itself",
        ),
        ({"role": "user", "content": "a", "images": [PICTURE]}, 400, "messages[0]", "send parts of content"),
        ({"role": "assistant"}, 400, "messages[0]", "content: is missing"),
    ],
)
def test_a_picture_that_cannot_be_taken_is_refused_with_what_to_send(
    gateway: Running, turn: dict[str, Any], status: int, param: str, words: str
) -> None:
    answer = gateway.chat(messages=[turn])
    assert answer.status_code == status
    assert answer.json()["error"]["param"] == param
    assert words in answer.json()["error"]["message"]
    assert not gateway.backends.generation.requests


def test_all_pictures_of_a_request_fit_into_one_message_between_services(
    gateway: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = part(url_of(bytes(2**20)))
    assert gateway.chat(messages=[user(full, full, full)]).status_code == 200
    answer = gateway.chat(messages=[user(full, full, full), user(PICTURE)])
    assert answer.status_code == 413
    assert answer.json()["error"]["param"] == "messages"
    assert "3,145,730 bytes together, more than 3,145,728" in answer.json()["error"]["message"]
    monkeypatch.setattr(chat_images, "MAX_TOGETHER", 1)
    assert gateway.chat(messages=[user(PICTURE)]).status_code == 413
