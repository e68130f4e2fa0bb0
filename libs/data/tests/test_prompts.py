"""What a model is asked after training begins as what it learned from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, models
from vermeil_data import EncodedSamples, MixtureTask, PromptSpeller, TextTokenizer
from vermeil_data.mixed_tasks import task_samples
from vermeil_data.spelling import Marks, Pieces
from vermeil_errors import InvalidInput

from .mixtures import CAPTIONING, DRAWING, VQA
from .mixtures import sources as make_sources


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, EncodedSamples]:
    return make_sources(tmp_path_factory.mktemp("sources"))


def learned_from(source: EncodedSamples, task: MixtureTask, number: int) -> tuple[list[str], str]:
    """A sample of training piece by piece, pictures as "[picture]"; and its text."""
    arrays, tokenizer = source.samples("train"), source.tokenizer
    marks = Marks.of(tokenizer, chat=True)
    found = task_samples(arrays, task, marks, (96, 4), (0, 0))
    pieces: Pieces = found.pieces(np.array([number]))
    told, text = [], ""
    for mark, begin, length, picture in zip(
        pieces.mark_P, pieces.begin_P, pieces.length_P, pieces.picture_P, strict=True
    ):
        if picture >= 0:
            told.append("[picture]")
        elif mark >= 0:
            told.append(tokenizer.decode([int(mark)], skip_special=False))
        else:
            told.append(tokenizer.decode(arrays.ids_T[begin : begin + length].tolist()))
            text = text or told[-1]
    return told, text


def shown(tokenizer: TextTokenizer, prompt: Sequence[list[int] | str]) -> str:
    return "".join(
        run if isinstance(run, str) else tokenizer.decode(run, skip_special=False) for run in prompt
    )


@pytest.mark.parametrize("style", ["document", "chat"])
@pytest.mark.parametrize("asked", [CAPTIONING, VQA, DRAWING])
@pytest.mark.parametrize("number", [0, 7])
def test_a_prompt_is_all_that_stood_before_the_answer(
    sources: dict[str, EncodedSamples], asked: dict[str, Any], style: str, number: int
) -> None:
    source, kind = sources[asked["source"]], asked["kind"]
    told, text = learned_from(source, MixtureTask(**asked, style=style), number)  # type: ignore[arg-type]
    speller = PromptSpeller(source.tokenizer, {kind: style})  # type: ignore[dict-item]
    given = {"captioning": {"pictures": ["[picture]"]}, "text-to-image": {"text": text}}
    about = given.get(kind, {"pictures": ["[picture]"], "text": text})
    prompt = shown(source.tokenizer, speller.prompt(kind, **about))  # type: ignore[arg-type]
    answers = [place for place, piece in enumerate(told) if not (piece.startswith("<") or piece == text)]
    # Of a question the answer is the second text; a picture to be drawn is the last picture.
    last = answers[-1] if kind != "captioning" else told.index(text)
    assert prompt == "".join(told[:last])
    assert "".join(told).startswith(prompt)


def test_tasks_that_are_not_named_are_spelled_as_mixtures_spell_them(
    sources: dict[str, EncodedSamples],
) -> None:
    speller = PromptSpeller(sources["captions"].tokenizer, {"text-to-image": "chat"})
    assert [speller.style(kind) for kind in ("captioning", "vqa", "text-to-image")] == [
        "document",
        "chat",
        "chat",
    ]


def test_prompts_that_cannot_be_spelled_are_refused(
    sources: dict[str, EncodedSamples], tmp_path: Path
) -> None:
    speller = PromptSpeller(sources["captions"].tokenizer)
    with pytest.raises(InvalidInput, match="pictures = 1: mean nothing for text-to-image; leave them out"):
        speller.prompt("text-to-image", pictures=["a"])
    bare = TextTokenizer(
        Tokenizer(models.WordLevel({"a": 0, "[END]": 1}, unk_token="a")), "other", {"eos": "[END]"}
    )
    with pytest.raises(InvalidInput, match="has no marks for pictures"):
        PromptSpeller(bare).prompt("captioning", pictures=["a"])
