"""`vermeil chat` with pictures: those that are shown, and those that the model draws."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from vermeil_client import Vermeil
from vermeil_client.commands import output, run
from vermeil_client.testing import FakeGateway
from vermeil_media import decode_image, encode_png

CAT = encode_png(np.full((8, 8, 3), 9, np.uint8))
SHOWN = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(CAT).decode()}"}}


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeGateway:
    fake = FakeGateway()
    monkeypatch.setattr(output, "Vermeil", lambda url: Vermeil(url or "http://gateway", http=fake))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").write_bytes(CAT)
    return fake


def test_pictures_go_before_the_question(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["chat", "fake", "what is this?", "--image", "cat.png", "--image", "cat.png"]) == 0
    assert capsys.readouterr().out == "▢▢what is this?\n"
    (turn,) = gateway.requests[0][2]["messages"]
    assert turn["content"] == [SHOWN, SHOWN, {"type": "text", "text": "what is this?"}]


def test_a_picture_may_be_asked_about_without_a_word_and_again(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\nwhich colour?\n\n"))
    assert run(["chat", "fake", "--image", "cat.png"]) == 0
    assert capsys.readouterr().out == "▢\nwhich colour?\n"
    turns = gateway.requests[-1][2]["messages"]
    assert [turn["content"] for turn in turns] == [[SHOWN], "▢", "which colour?"]


def test_a_drawn_picture_becomes_a_file_that_replaces_none(
    gateway: FakeGateway, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 2):
        assert run(["chat", "models/fake/versions/3", "-p", "draw"]) == 0
        assert capsys.readouterr().out == f"draw[fake-3-{number}.png]\n"
    assert decode_image((tmp_path / "fake-3-2.png").read_bytes()).shape == (8, 8, 3)
    assert run(["chat", "fake", "draw", "--json", "--output", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"text": "draw", "finish_reason": "stop", "images": [str(tmp_path / "fake-1.png")]}


def test_the_next_question_sends_the_drawn_picture_back(
    gateway: FakeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("draw\nwhat is it?\n"))
    assert run(["chat", "fake"]) == 0
    answer = gateway.requests[-1][2]["messages"][1]
    assert (answer["role"], answer["content"], len(answer["images"])) == ("assistant", "draw", 1)
    assert answer["images"][0]["offset"] == 4


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--image", "dog.png"], 3, "no picture can be read at dog.png"),
        (["what?", "-p", "what?"], 2, "give one of them"),
        (["draw", "--output", "nowhere"], 2, "--output = 'nowhere': is no folder; make it first"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_is_sent(
    gateway: FakeGateway, arguments: list[str], code: int, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["chat", "fake", *arguments]) == code
    assert words in capsys.readouterr().err
    assert not gateway.requests
