"""What a mixture may say, and what is answered to one that cannot be."""

from pathlib import Path
from typing import Any

import pytest
from vermeil_data import (
    EncodedSamples,
    ImageEncoding,
    Mixture,
    OpenMixture,
    TokenizerSpec,
    open_mixture,
    read_mixture,
    train_tokenizer,
)
from vermeil_data.sample import Sample
from vermeil_data.testing import asked_samples, documents, encoded_samples
from vermeil_errors import InvalidInput, NotFound

YAML = """
# What a small model learns from.
sources: {plays: texts, emoji: emoji, questions: easy-vqa}
tasks:
  - {kind: language-modelling, source: plays, window: 64}
  - {kind: captioning, source: emoji}
  - {kind: text-to-image, source: emoji, style: chat}
  - {kind: vqa, source: questions, name: asked}
temperature: 2
"""
TASK = {"kind": "vqa", "source": "a"}
BYTE = train_tokenizer([], TokenizerSpec("byte"))


def questions(folder: Path, spec: ImageEncoding | None = None, **settings: Any) -> EncodedSamples:
    tokenizer = settings.get("tokenizer", BYTE)
    return encoded_samples(folder, {"train": asked_samples(4)}, tokenizer, spec)


def test_a_mixture_is_read_from_yaml_and_what_is_left_out_is_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "mixture.yaml"
    path.write_text(YAML)
    mixture = read_mixture(path)
    assert [task.name for task in mixture.tasks] == [
        "language-modelling/plays",
        "captioning/emoji",
        "text-to-image/emoji",
        "asked",
    ]
    assert [task.style for task in mixture.tasks] == ["document", "document", "chat", "chat"]
    assert mixture.tasks[0].window == 64
    assert mixture.sources["questions"] == "easy-vqa"
    assert Mixture.from_dict(mixture.to_dict()) == mixture


@pytest.mark.parametrize(("temperature", "expected"), [(1, (0.1, 0.9)), (2, (0.25, 0.75)), (1e9, (0.5, 0.5))])
def test_shares_go_with_sizes_and_the_temperature_evens_them_out(
    temperature: float, expected: tuple[float, float]
) -> None:
    tasks = [TASK, {**TASK, "name": "again"}]
    mixture = Mixture.from_dict({"sources": {"a": "a"}, "tasks": tasks, "temperature": temperature})
    assert mixture.shares([10, 90]) == pytest.approx(expected)


def test_given_weights_are_the_shares_whatever_the_sizes() -> None:
    tasks = [{**TASK, "weight": 1}, {**TASK, "name": "again", "weight": 3}]
    assert Mixture.from_dict({"sources": {"a": "a"}, "tasks": tasks}).shares([10, 90]) == (0.25, 0.75)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "mixture: is no group of fields; write fields such as `name: value`"),
        ({"source": {}}, "source: is unknown; did you mean sources?"),
        ({"sources": {}}, "sources: names no encoded samples; write `name: folder`"),
        ({"sources": ["a"]}, "sources: names no encoded samples; write `name: folder`"),
        ({"sources": {"a": ""}}, "sources.a = '': is no name; write a text that is not empty"),
        ({"sources": {"a": 7}}, "sources.a = 7: is no name; write a text that is not empty"),
        ({"tasks": []}, "tasks: has no tasks; name at least one task and its source"),
        ({"tasks": TASK}, "tasks: is no list; begin every task with a dash"),
        ({"tasks": ["vqa"]}, "tasks[0]: is no group of fields; write fields such as `name: value`"),
        ({"tasks": [{"kind": "vqa"}]}, "tasks[0].source: is missing; write `source:`"),
        ({"tasks": [{"source": "a"}]}, "tasks[0].kind: is missing; write `kind:`"),
        ({"tasks": [{**TASK, "wieght": 1}]}, "tasks[0].wieght: is unknown; did you mean weight?"),
        (
            {"tasks": [{**TASK, "kind": "caption"}]},
            "tasks[0].kind = 'caption': is unknown; did you mean captioning?",
        ),
        ({"tasks": [{**TASK, "kind": ["vqa"]}]}, "tasks[0].kind = ['vqa']: is unknown; did you mean vqa?"),
        (
            {"tasks": [{**TASK, "source": "b"}]},
            "tasks[0].source = 'b': is not a source; name one of a, or add it under sources",
        ),
        ({"tasks": [{**TASK, "weight": 0}]}, "tasks[0].weight = 0: is no share; give a number above 0"),
        ({"tasks": [{**TASK, "weight": True}]}, "tasks[0].weight = True: is no share; give a number above 0"),
        (
            {"tasks": [{**TASK, "weight": 1}, {**TASK, "name": "b"}]},
            "tasks[1].weight: is missing, while other tasks have one; give every task a weight, or none",
        ),
        (
            {"tasks": [TASK, TASK]},
            "tasks[1].name = 'vqa/a': names two tasks; give one of the two another name",
        ),
        ({"tasks": [{**TASK, "name": 3}]}, "tasks[0].name = 3: is no text; leave it out"),
        (
            {"tasks": [{**TASK, "window": 64}]},
            "tasks[0].window = 64: means nothing for vqa: its samples are not cut into windows; leave it out",
        ),
        (
            {"tasks": [{"kind": "language-modelling", "source": "a", "window": 1}]},
            "tasks[0].window = 1: is no number of tokens; give 2 or more",
        ),
        (
            {"tasks": [{**TASK, "style": "chatty"}]},
            "tasks[0].style = 'chatty': is unknown; did you mean chat?",
        ),
        (
            {"tasks": [{"kind": "language-modelling", "source": "a", "style": "chat"}]},
            "tasks[0].style = 'chat': means nothing for language-modelling: nobody is asked; leave it out",
        ),
        (
            {"samples_per_conversation": 0},
            "samples_per_conversation = 0: is no number of samples; give 1 or more",
        ),
        (
            {"samples_per_conversation": 2, "tasks": [{**TASK, "style": "document"}]},
            "samples_per_conversation = 2: means nothing where no task is in chat style; give a task "
            "`style: chat`, or leave it out",
        ),
        ({"temperature": 0}, "temperature = 0: is no temperature; give a number above 0"),
        ({"temperature": "hot"}, "temperature = 'hot': is no temperature; give a number above 0"),
        (
            {"tasks": [{**TASK, "weight": 1}], "temperature": 2},
            "temperature = 2: means nothing where tasks have weights; leave out one of the two",
        ),
        ({"sources": {"a": "a", "b": "b"}}, "sources.b: is read by no task; leave it out"),
    ],
)
def test_a_wrong_mixture_is_refused_with_what_to_write_instead(values: Any, message: str) -> None:
    whole = {"sources": {"a": "a"}, "tasks": [TASK], **values} if isinstance(values, dict) else values
    with pytest.raises(InvalidInput) as error:
        Mixture.from_dict(whole)
    assert str(error.value) == message


def test_a_file_that_is_missing_or_no_yaml_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"mixture\.yaml: no mixture can be read: No such file"):
        read_mixture(tmp_path / "mixture.yaml")
    (tmp_path / "mixture.yaml").write_text("{")
    with pytest.raises(InvalidInput, match=r"mixture\.yaml: is not YAML"):
        read_mixture(tmp_path / "mixture.yaml")


def test_sources_are_opened_from_their_folders(tmp_path: Path) -> None:
    made = questions(tmp_path / "a")
    mixture = Mixture.from_dict({"sources": {"a": "a/encoded"}, "tasks": [TASK]})
    opened = open_mixture(mixture, tmp_path)
    assert opened.sources["a"].folder == made.folder
    assert opened.vocab_size == made.vocab_size
    assert opened.tokenizer.boi_id is not None
    assert (opened.images.height, opened.images.channels) == (8, 3)


def test_a_source_that_is_missing_is_named_with_its_folder(tmp_path: Path) -> None:
    mixture = Mixture.from_dict({"sources": {"a": "nowhere"}, "tasks": [TASK]})
    with pytest.raises(NotFound, match=r"sources\.a = '.*nowhere': holds no encoded samples; encode its"):
        open_mixture(mixture, tmp_path)
    with pytest.raises(NotFound, match=r"sources\.a: was not opened; encode it first"):
        OpenMixture(mixture, {})


def test_sources_of_other_tokenizers_or_forms_are_refused(tmp_path: Path) -> None:
    mixture = Mixture.from_dict(
        {"sources": {"a": "a", "b": "b"}, "tasks": [TASK, {"kind": "vqa", "source": "b"}]}
    )
    mine = questions(tmp_path / "mine")
    bpe = train_tokenizer(documents(20), TokenizerSpec("bpe", 300))
    other = questions(tmp_path / "other", tokenizer=bpe)
    with pytest.raises(InvalidInput, match=r"sources\.b: was encoded by another tokenizer than 'a'; encode"):
        OpenMixture(mixture, {"a": mine, "b": other})
    larger = questions(tmp_path / "larger", ImageEncoding(16, 8))
    with pytest.raises(
        InvalidInput, match=r"sources\.b: has pictures of 16 × 8 × 3, while those of 'a' have 8 × 8 × 3"
    ):
        OpenMixture(mixture, {"a": mine, "b": larger})


def test_a_source_of_texts_may_have_been_given_any_form(tmp_path: Path) -> None:
    texts = encoded_samples(
        tmp_path / "texts", {"train": [Sample.of_text("a")]}, BYTE, ImageEncoding(1, 1, 1)
    )
    tasks = [{"kind": "language-modelling", "source": "t"}, TASK]
    mixture = Mixture.from_dict({"sources": {"t": "t", "a": "a"}, "tasks": tasks})
    opened = OpenMixture(mixture, {"t": texts, "a": questions(tmp_path / "a")})
    assert opened.images.height == 8
