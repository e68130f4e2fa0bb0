"""Text of an answer: whole characters, nothing from a stop string on, tokens in step with text."""

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vermeil_data import Detokenizer, TextTokenizer, TokenizerSpec, train_tokenizer
from vermeil_generator.answer_text import AnswerText
from vermeil_generator.piece import ToldToken

BYTES = train_tokenizer(["x"], TokenizerSpec("byte"))


class Words:
    """A stream whose ids are indices of words."""

    def __init__(self, words: list[str], tail: str = "") -> None:
        self._words = words
        self._tail = tail

    def add(self, token_id: int) -> str:
        return self._words[token_id]

    def finish(self) -> str:
        return self._tail


def played(
    words: list[str], stop: list[str], offset: int = 0
) -> tuple[list[str], list[list[int]], AnswerText]:
    """Texts and told ids, piece by piece."""
    answer = AnswerText(Words(words), stop, offset)
    texts, told = [], []
    for token_id, word in enumerate(words):
        if answer.is_stopped:
            break
        shown = answer.add(token_id, ToldToken(token_id, word, -1.0, (), answer.offset))
        texts.append(shown.text)
        told.append([token.id for token in shown.tokens])
    last = answer.finish()
    return [*texts, last.text], [*told, [token.id for token in last.tokens]], answer


def test_without_stop_strings_every_word_is_shown_at_once() -> None:
    texts, told, answer = played(["one", " two"], [])
    assert texts == ["one", " two", ""]
    assert told == [[0], [1], []]
    assert not answer.is_stopped


@pytest.mark.parametrize(
    ("words", "stop", "shown"),
    [
        (["ab", "cd", "ef"], ["cd"], "ab"),
        (["ab", "c", "d", "ef"], ["cd"], "ab"),
        (["abc", "def"], ["cd"], "ab"),
        (["a", "a", "a", "b", "c"], ["aab"], "a"),
        (["x", "END", "y"], ["EN", "END"], "x"),
        (["xy", "z"], ["yz", "xyz"], ""),
        (["stop"], ["stop"], ""),
        (["é", "€", "x"], ["€"], "é"),
        (["one\n", "\ntwo"], ["\n\n"], "one"),
    ],
)
def test_a_stop_string_ends_the_text_before_it_wherever_tokens_meet(
    words: list[str], stop: list[str], shown: str
) -> None:
    texts, _, answer = played(words, stop)
    assert "".join(texts) == shown
    assert answer.is_stopped


def test_what_may_begin_a_stop_string_is_held_back_and_then_shown() -> None:
    texts, told, answer = played(["Hel", "lo E", "N", "d", "!"], ["END"])
    assert texts == ["Hel", "lo ", "", "ENd", "!", ""]
    assert told == [[0], [1], [], [2, 3], [4], []]
    assert not answer.is_stopped


def test_what_is_held_back_at_the_end_is_shown() -> None:
    texts, told, _ = played(["a", "EN"], ["END"])
    assert texts == ["a", "", "EN"]
    assert told == [[0], [], [1]]


def test_tokens_after_the_cut_are_not_told() -> None:
    texts, told, _ = played(["ab", "cS", "TO", "P"], ["STOP"])
    assert "".join(texts) == "abc"
    assert list(chain(*told)) == [0, 1]


def test_the_end_of_a_text_may_complete_a_stop_string() -> None:
    answer = AnswerText(Words(["ab"], tail="\ufffd"), ["b\ufffd"], 0)
    assert answer.add(0).text == "a"
    assert answer.finish().text == ""
    assert answer.is_stopped


def test_a_token_without_text_is_told_with_the_end() -> None:
    texts, told, _ = played(["ab", ""], [])
    assert texts == ["ab", "", ""]
    assert told == [[0], [], [1]]


def test_offsets_count_from_the_start_of_the_prompt() -> None:
    _, _, answer = played(["ab", "c"], [], offset=10)
    assert answer.offset == 13


@given(st.text(max_size=20), st.lists(st.text(min_size=1, max_size=3), max_size=3), st.data())
def test_however_a_text_is_cut_into_tokens_the_shown_text_is_the_same(
    text: str, stop: list[str], data: st.DataObject
) -> None:
    words, rest = [], text
    while rest:
        length = data.draw(st.integers(1, len(rest)))
        words.append(rest[:length])
        rest = rest[length:]
    cuts = [place for each in stop if (place := text.find(each)) >= 0]
    texts, told, answer = played(words, stop)
    shown = "".join(texts)
    if not cuts:
        assert shown == text
        assert list(chain(*told)) == list(range(len(words)))
    else:
        assert answer.is_stopped
        assert text.startswith(shown)
        assert not any(each in shown for each in stop)


@given(st.text(alphabet="aé€😀 ", max_size=12))
def test_half_a_character_never_appears(text: str) -> None:
    answer = AnswerText(stream(BYTES), [], 0)
    pieces = [answer.add(token_id).text for token_id in BYTES.encode(text)]
    assert "\ufffd" not in "".join(pieces)
    assert "".join(pieces) + answer.finish().text == text


def test_a_character_that_never_ends_is_shown_as_a_replacement() -> None:
    answer = AnswerText(stream(BYTES), [], 0)
    half = BYTES.encode("€")[:2]
    assert [answer.add(token_id).text for token_id in half] == ["", ""]
    assert answer.finish().text == "\ufffd"


def stream(tokenizer: TextTokenizer) -> Detokenizer:
    return tokenizer.detokenizer()
