"""Every token is scored once, with the context it is promised, and batches change nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.utils import (  # type: ignore[import-untyped]
    get_rolling_token_windows,
    make_disjoint_window,
)
from vermeil_evaluator.scoring import Document, score_documents, window_sizes, windows
from vermeil_model import TextModel, token_logprobs

LENGTHS = st.integers(3, 40)


def document(num_tokens: int, seed: int = 0) -> Document:
    ids = np.random.default_rng(seed).integers(0, 200, size=num_tokens + 1)
    return Document(f"document/{seed}", ids, num_tokens)


@given(st.integers(0, 300), LENGTHS, st.integers(1, 39))
def test_every_token_is_scored_exactly_once_in_order(num_tokens: int, length: int, step: int) -> None:
    step = min(step, length - 1)
    scored = [
        index for window in windows(num_tokens, length, step) for index in range(window.first, window.end)
    ]
    assert scored == list(range(1, num_tokens + 1))


@given(st.integers(0, 300), LENGTHS, st.integers(1, 39))
def test_no_window_is_longer_than_the_context(num_tokens: int, length: int, step: int) -> None:
    for window in windows(num_tokens, length, min(step, length - 1)):
        assert window.begin < window.first < window.end <= window.begin + length


@given(st.integers(1, 300), LENGTHS)
def test_half_overlap_gives_every_later_token_half_a_context(num_tokens: int, context: int) -> None:
    length, step = window_sizes("half", context)
    assert length == context
    for window in list(windows(num_tokens, length, step))[1:]:
        assert window.first - window.begin >= context - context // 2


@given(st.integers(1, 200), LENGTHS)
def test_rolling_windows_are_those_of_lm_eval(num_tokens: int, context: int) -> None:
    ids = list(range(num_tokens + 1))
    length, step = window_sizes("rolling", context)
    ours = [
        (ids[window.begin : window.first], ids[window.first : window.end])
        for window in windows(num_tokens, length, step)
    ]
    theirs = get_rolling_token_windows(ids[1:], ids[0], max_seq_len=context - 2, context_len=1)
    assert ours == [make_disjoint_window(window) for window in theirs]


def test_a_document_within_the_context_is_scored_in_one_piece(text_model: TextModel) -> None:
    text = document(15)
    (scored,) = score_documents(text_model, [text], length=16, step=8)
    expected = -token_logprobs(text_model, torch.from_numpy(text.ids_N1)[None])[0]
    np.testing.assert_allclose(scored.nats_N, expected.numpy(), atol=1e-5)


def test_a_long_document_is_scored_as_its_windows_one_by_one(text_model: TextModel) -> None:
    text = document(50)
    (scored,) = score_documents(text_model, [text], length=16, step=8)
    for begin, first, end in windows(50, 16, 8):
        alone = -token_logprobs(text_model, torch.from_numpy(text.ids_N1[begin:end])[None])[0].numpy()
        np.testing.assert_allclose(scored.nats_N[first - 1 : end - 1], alone[first - begin - 1 :], atol=1e-5)


@pytest.mark.parametrize("at_once", [(40, 1), (8192, 256)])
def test_batches_and_their_padding_change_nothing(
    text_model: TextModel, monkeypatch: pytest.MonkeyPatch, at_once: tuple[int, int]
) -> None:
    texts = [document(size, seed) for seed, size in enumerate([3, 40, 0, 15, 1, 33, 16, 8])]
    apart = [next(score_documents(text_model, [text], length=16, step=8)) for text in texts]
    monkeypatch.setattr("vermeil_evaluator.scoring._TOKENS_AT_ONCE", at_once[0])
    monkeypatch.setattr("vermeil_evaluator.scoring._WINDOWS_AT_ONCE", at_once[1])
    together = list(score_documents(text_model, iter(texts), length=16, step=8))
    assert [scored.document.id for scored in together] == [text.id for text in texts]
    for one, other in zip(apart, together, strict=True):
        np.testing.assert_allclose(one.nats_N, other.nats_N, atol=1e-5)


def test_the_first_token_is_judged_by_the_bos_before_it(text_model: TextModel) -> None:
    one, other = document(5), document(5)
    other.ids_N1[0] += 1
    first, second = (scored.nats_N for scored in score_documents(text_model, [one, other], length=16, step=8))
    assert len(first) == 5
    assert first[0] != second[0]


def test_work_can_be_stopped_between_batches(text_model: TextModel) -> None:
    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list(score_documents(text_model, [document(5)], length=16, step=8, after_batch=stop))
