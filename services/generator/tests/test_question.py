"""Asks made ready for a model: limits, defaults, forms of input."""

from typing import Any

import pytest
from vermeil_errors import InvalidInput
from vermeil_generator.ask import Ask, Conversation, PlainText, Sampling, TokenIds, Turn
from vermeil_generator.fakes import FakeGrammars, tiny_tokenizer
from vermeil_generator.output_format import ANY_OBJECT, OutputFormat, Regex
from vermeil_generator.question import Question, prepare
from vermeil_generator.vocabulary import Vocabulary

TOKENIZER = tiny_tokenizer()
CONTEXT = 16
VOCABULARY = TOKENIZER.vocab_size


def asked(input_: Any, output_format: OutputFormat | None = None, **sampling: Any) -> Question:
    ask = Ask("models/tiny", input_, Sampling(**sampling), output_format=output_format)
    return prepare(ask, TOKENIZER, VOCABULARY, CONTEXT, FakeGrammars({ANY_OBJECT: ["{}"]}))


def test_a_text_begins_with_bos_that_is_counted_but_not_told() -> None:
    prompt = asked(PlainText("to be")).prompt
    assert prompt.ids[0] == TOKENIZER.bos_id
    assert TOKENIZER.decode(prompt.ids) == prompt.text == "to be"
    assert prompt.num_hidden == 1
    assert asked(PlainText("")).prompt.ids == (TOKENIZER.bos_id,)


def test_ids_are_taken_as_they_are() -> None:
    ids = tuple(TOKENIZER.encode("to be"))
    prompt = asked(TokenIds(ids)).prompt
    assert (prompt.ids, prompt.num_hidden, prompt.text) == (ids, 0, "to be")


def test_a_conversation_goes_through_the_chat_format() -> None:
    prompt = asked(Conversation((Turn("user", ("to",)),))).prompt
    assert list(prompt.ids) == TOKENIZER.apply_chat_template([{"role": "user", "content": "to"}])


def test_parameters_reach_the_decoder_and_max_tokens_has_a_default() -> None:
    parameters = asked(
        PlainText("to"),
        temperature=0.5,
        top_k=3,
        seed=9,
        logit_bias={2: -1.0},
        frequency_penalty=0.3,
        presence_penalty=-1,
    ).parameters
    assert parameters is not None
    assert (parameters.temperature, parameters.top_k, parameters.seed) == (0.5, 3, 9)
    assert parameters.logit_bias == {2: -1.0}
    assert (parameters.frequency_penalty, parameters.presence_penalty) == (0.3, -1)
    assert parameters.max_tokens == 256
    assert parameters.stop_ids == TOKENIZER.stop_ids
    assert asked(PlainText("to"), max_tokens=0).parameters is None


@pytest.mark.parametrize(
    ("input_", "field"),
    [
        (PlainText("whether " * 40), "prompt"),
        (TokenIds((1,) * CONTEXT), "tokens.ids"),
        (Conversation((Turn("user", ("whether " * 40,)),)), "conversation"),
    ],
)
def test_what_does_not_fit_the_context_is_refused_with_field_value_and_fix(input_: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        asked(input_)
    assert refused.value.violations[0].field == field
    assert f"context of {CONTEXT} tokens" in str(refused.value)
    assert f"shorten it to {CONTEXT - 1} tokens" in str(refused.value)


def test_a_prompt_may_fill_the_context_where_no_token_is_wanted() -> None:
    assert asked(TokenIds((1,) * CONTEXT), max_tokens=0).parameters is None


@pytest.mark.parametrize(
    ("sampling", "field"),
    [
        ({"temperature": 2.1}, "sampling.temperature"),
        ({"temperature": float("nan")}, "sampling.temperature"),
        ({"top_p": 0.0}, "sampling.top_p"),
        ({"top_k": -1}, "sampling.top_k"),
        ({"min_p": 1.5}, "sampling.min_p"),
        ({"repetition_penalty": 0.1}, "sampling.repetition_penalty"),
        ({"frequency_penalty": 2.1}, "sampling.frequency_penalty"),
        ({"presence_penalty": float("nan")}, "sampling.presence_penalty"),
        ({"max_tokens": -1}, "sampling.max_tokens"),
        ({"max_tokens": CONTEXT + 1}, "sampling.max_tokens"),
        ({"stop": ("a",) * 17}, "sampling.stop"),
        ({"stop": ("",)}, "sampling.stop"),
        ({"logit_bias": {3: 101.0}}, "sampling.logit_bias[3]"),
        ({"logit_bias": {VOCABULARY: 1.0}}, "sampling.logit_bias"),
        ({"logit_bias": {-1: 1.0}}, "sampling.logit_bias"),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(sampling: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        asked(PlainText("to"), **sampling)
    assert refused.value.violations[0].field == field


def test_a_format_becomes_a_grammar_or_is_refused() -> None:
    question = asked(PlainText("to"), ANY_OBJECT)
    assert question.grammar is not None
    assert question.grammar.begin().allowed().sum() == 1
    assert asked(PlainText("to")).grammar is None
    with pytest.raises(InvalidInput, match=r"output_format\.regex"):
        asked(PlainText("to"), Regex("x"))


def test_ids_that_the_model_does_not_have_are_refused() -> None:
    for ids in ((VOCABULARY,), (-1,)):
        with pytest.raises(InvalidInput, match=r"tokens\.ids"):
            asked(TokenIds(ids))
    for make in (lambda: TokenIds(()), lambda: Conversation(())):
        with pytest.raises(InvalidInput, match="is empty"):
            make()


@pytest.mark.parametrize(("field", "value"), [("num_choices", 17), ("num_choices", 0), ("num_logprobs", 21)])
def test_counts_out_of_range_are_refused(field: str, value: int) -> None:
    with pytest.raises(InvalidInput, match=field):
        Ask("models/tiny", PlainText("x"), **{field: value})


def test_ids_beyond_the_tokenizer_have_no_text() -> None:
    words = Vocabulary(TOKENIZER)
    stream = words.stream()
    assert (words.text(VOCABULARY + 3), stream.add(VOCABULARY + 3)) == ("", "")
    assert words.text(TOKENIZER.eos_id) == "<eos>"
    assert stream.add(TOKENIZER.encode("to")[0]) == "to"
