"""Answers held to a format, over real gRPC and by real networks: valid, and in any company."""

import asyncio
import json
import re
import threading
from typing import Any

import jsonschema
import pytest
from vermeil.generation.v1.generation_pb2 import FinishReason, OutputFormat, Sampling
from vermeil.generation.v1.generation_service_pb2 import GenerateResponse
from vermeil_errors import InvalidInput
from vermeil_generator.fakes import tiny_tokenizer
from vermeil_generator.grammar import Grammar, GuidanceGrammars
from vermeil_generator.output_format import OutputFormat as Format
from vermeil_generator.output_format import Regex
from vermeil_generator.testing import FUSED_MODEL, House, run, running, text_of

BOI = tiny_tokenizer().boi_id
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["ring", "dot"]},
        "size": {"type": "integer", "minimum": 0, "maximum": 99},
        "on": {"type": "boolean"},
    },
    "required": ["kind", "size", "on"],
    "additionalProperties": False,
}
JSON = OutputFormat(json_schema=json.dumps(SCHEMA))
CODE = OutputFormat(regex="[a-f]{2}-[0-9]{3}")


def asked_of(house: House, *requests: dict[str, Any]) -> list[list[GenerateResponse]]:
    """The answers of each request, all asked at once."""

    async def ask() -> list[list[GenerateResponse]]:
        async with running(house, generator_slots=4) as generator:
            return list(await asyncio.gather(*(generator.ask(**request) for request in requests)))

    answers: list[list[GenerateResponse]] = run(ask())
    return answers


def asking(prompt: str, output_format: OutputFormat | None = None, **sampling: Any) -> dict[str, Any]:
    return {"prompt": prompt, "output_format": output_format, "sampling": Sampling(**sampling)}


@pytest.mark.parametrize(
    "sampling", [{"temperature": 0}, {"seed": 3}, {"seed": 4, "temperature": 2, "top_p": 0.9}]
)
@pytest.mark.parametrize("model", ["models/tiny", FUSED_MODEL])
def test_each_of_several_answers_is_valid(house: House, model: str, sampling: dict[str, Any]) -> None:
    request = asking("to be", JSON, max_tokens=100, **sampling) | {"model": model, "num_choices": 4}
    (pieces,) = asked_of(house, request)
    for choice in range(4):
        jsonschema.validate(json.loads(text_of(pieces, choice)), SCHEMA)
    reasons = [piece.finish_reason for piece in pieces if piece.finish_reason]
    assert reasons == [FinishReason.FINISH_REASON_STOP] * 4


def test_formats_that_take_long_to_compile_hold_up_nobody_else(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()

    class Slow(GuidanceGrammars):
        def compile(self, format_: Format) -> Grammar:
            if format_ == Regex("[a-z]+") and not self.knows(format_):
                gate.wait()
                raise InvalidInput("cannot be met", field="output_format")
            return super().compile(format_)

    monkeypatch.setattr("vermeil_generator.loaded_text.GuidanceGrammars", Slow)

    async def ask() -> list[list[GenerateResponse]]:
        async with running(house) as generator:
            known = asking("to be", CODE, temperature=0, max_tokens=3)
            await generator.ask(**known)
            request = asking("to be", OutputFormat(regex="[a-z]+"))
            slow = [asyncio.create_task(generator.ask(**request)) for _ in range(40)]
            try:
                while await generator.num_active() < len(slow):
                    await asyncio.sleep(0.01)
                others = (asking("to be", temperature=0, max_tokens=3), known)
                return [await generator.ask(**other) for other in others]
            finally:
                gate.set()
                await asyncio.gather(*slow, return_exceptions=True)

    assert [pieces[-1].usage.completion_tokens for pieces in run(ask())] == [3, 3]


def test_greedy_answers_of_others_stay_the_same_and_formats_do_not_mix(house: House) -> None:
    free = [asking(f"be {n}", temperature=0, max_tokens=30) for n in range(4)]
    held = [
        asking(f"be {n}", format_, temperature=0, max_tokens=60)
        for n, format_ in enumerate((JSON, CODE, JSON))
    ]
    alone = [text_of(asked_of(house, one)[0]) for one in free]
    together = [text_of(pieces) for pieces in asked_of(house, *held, *free)]
    assert together[3:] == alone
    jsonschema.validate(json.loads(together[0]), SCHEMA)
    assert re.fullmatch(CODE.regex, together[1])
    jsonschema.validate(json.loads(together[2]), SCHEMA)


def test_an_answer_that_ends_within_its_format_says_length(house: House) -> None:
    (pieces,) = asked_of(house, asking("to be", JSON, temperature=0, max_tokens=5))
    assert pieces[-1].finish_reason == FinishReason.FINISH_REASON_LENGTH
    assert text_of(pieces).startswith('{"')


def test_any_object_is_json_and_log_probabilities_are_still_the_models_own(house: House) -> None:
    request = asking("to be", OutputFormat(json_object=True), seed=1, max_tokens=200) | {"num_logprobs": 2}
    (pieces,) = asked_of(house, request)
    if pieces[-1].finish_reason == FinishReason.FINISH_REASON_STOP:
        assert isinstance(json.loads(text_of(pieces)), dict)
    first = pieces[0].tokens[0]
    assert first.text.startswith("{")
    assert first.logprob < first.top[0].logprob  # The model would have said something else.


def test_no_picture_is_drawn_within_a_format(house: House) -> None:
    assert BOI is not None
    request = asking("draw", CODE, temperature=0, max_tokens=40, logit_bias={BOI: 100.0})
    (pieces,) = asked_of(house, request | {"model": FUSED_MODEL})
    assert re.fullmatch(CODE.regex, text_of(pieces))
    assert not any(piece.delta.HasField("image") for piece in pieces)


def test_a_format_that_cannot_be_met_is_refused_before_anything_is_said(house: House) -> None:
    for output_format, field in (
        (OutputFormat(regex="("), "output_format.regex"),
        (OutputFormat(json_schema='{"enum": []}'), "output_format.json_schema"),
        (OutputFormat(json_schema='{"typ": 1}'), "output_format.json_schema.typ"),
    ):
        with pytest.raises(InvalidInput) as refused:
            asked_of(house, asking("to be", output_format))
        assert refused.value.violations[0].field == field


def test_penalties_keep_a_greedy_answer_from_repeating_itself(house: House) -> None:
    """A schema of one letter leaves the choice between going on and ending."""
    letters = OutputFormat(regex="[a-z]{12}")
    (plain,), (varied,) = (
        asked_of(house, asking("to be", letters, temperature=0, max_tokens=40, **penalty))
        for penalty in ({}, {"frequency_penalty": 2.0, "presence_penalty": 2.0})
    )
    assert len(set(text_of(varied))) > len(set(text_of(plain)))
