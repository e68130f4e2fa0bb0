"""What every model promises a task, the fake as well as a network in a folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from vermeil_data import TextTokenizer
from vermeil_errors import InvalidInput, VermeilError
from vermeil_evaluator.models.fake import FakeModel
from vermeil_evaluator.models.model import Model
from vermeil_evaluator.models.opening import folder_digest, open_model
from vermeil_evaluator.requests import (
    Answer,
    Continuation,
    Embed,
    GenerateUntil,
    Loglikelihood,
    Request,
    TokenLikelihoods,
)
from vermeil_model import load_checkpoint, token_logprobs

TEXTS = ["", "a", "the quick brown fox", "größer 漢字 and more than sixteen bytes of it " * 3, "fox"]


@pytest.fixture(params=["fake", "folder", "fused"])
def model(request: pytest.FixtureRequest, model_folder: Path, fused_folder: Path) -> Model:
    folders = {"folder": model_folder, "fused": fused_folder}
    return FakeModel() if request.param == "fake" else open_model(folders[request.param])


def ask(model: Model, requests: Sequence[Request]) -> list[Answer]:
    return [answer for batch in model.answer(iter(requests), lambda: None) for answer in batch]


def test_every_request_gets_its_answer_in_order(model: Model) -> None:
    requests: list[Request] = []
    requests += [Loglikelihood(text) for text in TEXTS * 3]
    requests += [GenerateUntil(text or "a", max_tokens=4) for text in TEXTS] + [Loglikelihood("end")]
    answers = ask(model, requests)
    assert len(answers) == len(requests)
    for request, answer in zip(requests, answers, strict=True):
        if isinstance(request, Loglikelihood):
            assert isinstance(answer, TokenLikelihoods)
            assert model.decode(answer.ids_N.tolist()) == request.text
            assert (answer.nats_N > 0).all()
        else:
            assert isinstance(answer, Continuation)


def test_the_same_requests_get_the_same_answers(model: Model) -> None:
    requests: list[Request] = [
        Loglikelihood(TEXTS[2]),
        GenerateUntil("fox", max_tokens=5, temperature=0.9, seed=3),
    ]
    first, second = ask(model, requests), ask(model, requests)
    assert (likelihoods(first[0]) == likelihoods(second[0])).all()
    assert first[1] == second[1]


def test_what_is_judged_after_a_context_is_the_text_alone(model: Model) -> None:
    (answer,) = ask(model, [Loglikelihood(" fox", "the quick")])
    assert len(likelihoods(answer)) == 4


def test_ids_stand_for_their_text(model: Model) -> None:
    tokenizer_of = TextTokenizer.load if not isinstance(model, FakeModel) else None
    bos = 0 if tokenizer_of is None else 256
    ids = (bos, *b"fox jumps")
    (answer,) = ask(model, [Loglikelihood("", ids=ids)])
    assert isinstance(answer, TokenLikelihoods)
    assert model.decode(answer.ids_N.tolist()) == "fox jumps"


def test_work_can_be_stopped_between_batches(model: Model) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(model.answer(iter([GenerateUntil("a")] * 9), stop))


def test_a_stop_string_ends_an_answer_and_is_not_part_of_it(model: Model) -> None:
    (whole,) = ask(model, [GenerateUntil("the quick brown", max_tokens=8)])
    assert isinstance(whole, Continuation)
    stop = whole.text[1:3]
    if not stop.strip():
        return
    (cut,) = ask(model, [GenerateUntil("the quick brown", stop=(stop, "never"), max_tokens=8)])
    assert isinstance(cut, Continuation)
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.finish_reason == "stop"


def test_a_context_changes_what_the_network_thinks_of_a_text(model_folder: Path) -> None:
    network, tokenizer = load_checkpoint(model_folder), TextTokenizer.load(model_folder)
    ids = torch.tensor([tokenizer.encode("Is it? yes", add_bos=True)])
    expected = -token_logprobs(network, ids)[0, -4:].numpy()
    (answer,) = ask(open_model(model_folder), [Loglikelihood(" yes", "Is it?")])
    np.testing.assert_allclose(likelihoods(answer), expected, atol=1e-5)


def test_a_context_that_is_too_long_loses_its_beginning(model_folder: Path) -> None:
    network, tokenizer = load_checkpoint(model_folder), TextTokenizer.load(model_folder)
    context = "a very long story that nobody reads to its end"
    ids = tokenizer.encode(context + " yes", add_bos=True)[-16:]
    expected = -token_logprobs(network, torch.tensor([ids]))[0, -4:].numpy()
    (answer,) = ask(open_model(model_folder), [Loglikelihood(" yes", context)])
    np.testing.assert_allclose(likelihoods(answer), expected, atol=1e-5)


def test_a_greedy_continuation_is_the_likeliest_text(model_folder: Path) -> None:
    network, tokenizer = load_checkpoint(model_folder), TextTokenizer.load(model_folder)
    ids = tokenizer.encode("fox", add_bos=True)
    for _ in range(5):
        ids.append(int(network(torch.tensor([ids])).logits[0, -1].argmax()))
    prompts: list[Request] = [GenerateUntil(text, max_tokens=5) for text in ("the", "fox", "a" * 40)]
    answer = ask(open_model(model_folder), prompts)[1]
    assert isinstance(answer, Continuation)
    if answer.finish_reason == "length":
        assert answer.text == tokenizer.decode(ids[4:])


def test_a_digest_is_of_the_files_and_not_of_their_place(model_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in model_folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert folder_digest(copy) == folder_digest(model_folder) == open_model(copy).digest
    (copy / "config.json").write_text((copy / "config.json").read_text() + " ")
    assert folder_digest(copy) != folder_digest(model_folder)


def test_what_a_model_cannot_do_is_refused(model_folder: Path) -> None:
    with pytest.raises(InvalidInput, match="does not answer Embed"):
        ask(open_model(model_folder), [Embed("fox")])


def test_an_answer_may_be_as_long_as_the_context_leaves_room_for(model_folder: Path) -> None:
    for length in (1, 16, 99):
        (answer,) = ask(open_model(model_folder), [GenerateUntil("the fox jumps", max_tokens=length)])
        assert isinstance(answer, Continuation)
        assert answer.num_tokens <= min(length, 16)


def test_nothing_is_loaded_before_something_is_asked(model_folder: Path) -> None:
    (model_folder / "model.safetensors").unlink()
    model = open_model(model_folder, "sha256:known")
    assert ask(model, []) == []
    with pytest.raises(VermeilError):
        ask(model, [Loglikelihood("fox")])


def likelihoods(answer: Answer) -> "np.typing.NDArray[np.float32]":
    assert isinstance(answer, TokenLikelihoods)
    return answer.nats_N
