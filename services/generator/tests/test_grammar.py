"""Grammars over a vocabulary: what a guide promises, of llguidance and of the fake beside it."""

import json
import random
import re
from collections.abc import Sequence
from time import thread_time
from typing import Any

import jsonschema
import pytest
import torch
from vermeil_data import TextTokenizer, TokenizerSpec, train_tokenizer
from vermeil_errors import InvalidInput, Overloaded
from vermeil_generator import grammar
from vermeil_generator.fakes import FakeGrammars, tiny_tokenizer
from vermeil_generator.grammar import Grammars, GuidanceGrammars
from vermeil_generator.output_format import ANY_OBJECT, JsonSchema, OutputFormat, Regex

TOKENIZER = tiny_tokenizer()
PADDED = TOKENIZER.vocab_size + 20
WORDS = Regex("yes|no|yesterday|✓")
CHOICES = JsonSchema('{"enum": ["a", "bé"]}')
TEXTS = {WORDS: ("yes", "no", "yesterday", "✓"), CHOICES: ('"a"', '"bé"')}


@pytest.fixture(scope="module")
def guidance() -> GuidanceGrammars:
    return GuidanceGrammars(TOKENIZER, PADDED)


@pytest.fixture(params=["llguidance", "fake"])
def grammars(request: pytest.FixtureRequest, guidance: GuidanceGrammars) -> Grammars:
    return guidance if request.param == "llguidance" else FakeGrammars(TEXTS, TOKENIZER, PADDED)


def schema(**keywords: Any) -> JsonSchema:
    return JsonSchema(json.dumps(keywords))


def written(
    grammars: Grammars,
    format_: OutputFormat,
    seed: int,
    tokenizer: TextTokenizer = TOKENIZER,
    most: int = 400,
) -> str | None:
    """An answer of tokens chosen blindly among those allowed; None if it has not ended after the most."""
    guide, choice, said = grammars.compile(format_).begin(), random.Random(seed), []
    for _ in range(400):
        token = choice.choice(guide.allowed().nonzero()[:, 0].tolist())
        assert guide.error is None
        if token in tokenizer.stop_ids:
            return tokenizer.decode(said)
        said.append(token)
        guide.take(token)
    return None


@pytest.mark.parametrize("format_", TEXTS, ids=["regex", "schema"])
def test_blind_choices_among_allowed_tokens_give_every_text_of_the_format_and_no_other(
    grammars: Grammars, format_: OutputFormat
) -> None:
    assert {written(grammars, format_, seed) for seed in range(60)} == set(TEXTS[format_])


def test_marks_and_ids_without_text_are_never_allowed(grammars: Grammars) -> None:
    guide = grammars.compile(WORDS).begin()
    allowed = guide.allowed()
    assert (allowed.shape, allowed.dtype) == ((PADDED,), torch.bool)
    assert allowed.any()
    assert not allowed[[*TOKENIZER.special_ids, *range(TOKENIZER.vocab_size, PADDED)]].any()


def test_an_answer_may_end_only_where_it_is_whole(grammars: Grammars) -> None:
    guide, stop = grammars.compile(WORDS).begin(), list(TOKENIZER.stop_ids)
    for token in TOKENIZER.encode("yes"):
        assert not guide.allowed()[stop].any()
        guide.take(token)
    assert guide.allowed()[stop].all()
    assert guide.allowed()[TOKENIZER.encode("t")].all()
    for token in TOKENIZER.encode("terday"):
        guide.take(token)
    assert guide.allowed().nonzero()[:, 0].tolist() == sorted(stop)


def test_answers_to_one_question_do_not_hinder_one_another(grammars: Grammars) -> None:
    compiled = grammars.compile(WORDS)
    first, second = compiled.begin(), compiled.begin()
    first.take(TOKENIZER.encode("n")[0])
    assert torch.equal(second.allowed(), compiled.begin().allowed())
    assert not torch.equal(first.allowed(), second.allowed())


def test_a_format_that_cannot_be_met_is_refused_by_name(grammars: Grammars) -> None:
    for format_ in (Regex("[^\\x00-\\x{10FFFF}]"), schema(enum=[])):
        with pytest.raises(InvalidInput, match="cannot be met") as refused:
            grammars.compile(format_)
        assert refused.value.violations[0].field == format_.field


PERSON: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1, "maxLength": 8},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["a", "ß", None, 2]}, "minItems": 1, "maxItems": 3},
        "at": {"type": "string", "format": "date"},
        "home": {"$ref": "#/$defs/place"},
    },
    "required": ["name", "age", "tags", "at", "home"],
    "additionalProperties": False,
    "$defs": {
        "place": {
            "type": "object",
            "title": "Place",
            "properties": {"zip": {"type": "string", "pattern": "^[0-9]{5}$"}, "warm": {"type": "boolean"}},
            "required": ["zip"],
            "additionalProperties": False,
        }
    },
}


@pytest.mark.parametrize("kind", ["bpe", "byte", "character"])
def test_every_answer_that_ends_is_valid_by_jsonschema(kind: Any) -> None:
    text = json.dumps(PERSON, ensure_ascii=False) + "0123456789{}[]\\_ABCxyz"
    tokenizer = train_tokenizer([text], TokenizerSpec(kind))
    grammars = GuidanceGrammars(tokenizer, tokenizer.vocab_size)
    for seed in range(25):
        answer = written(grammars, schema(**PERSON), seed, tokenizer)
        assert answer is not None
        value = json.loads(answer)
        jsonschema.validate(value, PERSON, format_checker=jsonschema.FormatChecker())
        assert list(value) == PERSON["required"]


def test_any_object_is_an_object_and_a_schema_may_hold_itself(guidance: GuidanceGrammars) -> None:
    tree = {
        "type": "object",
        "properties": {"left": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}},
        "required": ["left"],
        "additionalProperties": False,
    }
    for format_, described in ((ANY_OBJECT, {"type": "object"}), (schema(**tree), tree)):
        answers = [written(guidance, format_, seed) for seed in range(12)]
        whole = [json.loads(answer) for answer in answers if answer is not None]
        assert len(whole) >= 3
        for value in whole:
            jsonschema.validate(value, described)


@pytest.mark.parametrize("pattern", ["[0-9]{3}/(ja|nein)", r"(\w+ ){2}\d", "a[^b]{4}", "é*ü?✓", '"\\\\?/'])
def test_every_answer_matches_the_expression_as_python_reads_it(
    guidance: GuidanceGrammars, pattern: str
) -> None:
    answers = [written(guidance, Regex(pattern), seed) for seed in range(10)]
    ended = [answer for answer in answers if answer is not None]
    assert len(ended) >= 5
    for answer in ended:
        assert re.fullmatch(pattern, answer), answer


@pytest.mark.parametrize(
    ("format_", "field", "said"),
    [
        (lambda: Regex("(a"), "regex", "unclosed group"),
        (lambda: Regex("(?=a)b"), "regex", "look-around"),
        (lambda: Regex(""), "regex", "is empty"),
        (lambda: Regex("a" * 40_000), "regex", "40,000 bytes"),
        (lambda: JsonSchema("[1]"), "json_schema", "is not an object"),
        (lambda: JsonSchema("{"), "json_schema", "is not JSON"),
        (lambda: JsonSchema('{"const": NaN}'), "json_schema", "NaN is no JSON"),
        (lambda: JsonSchema('{"items":' * 3000 + "{}" + "}" * 3000), "json_schema", "is not JSON"),
        (lambda: schema(type="string", description="x" * 40_000), "json_schema", "larger than"),
        (lambda: schema(anyOf=[{"type": "null"}] * 600), "json_schema", "more than 512 schemas"),
        (lambda: schema(properties={"a": {"maxLenght": 3}}), "json_schema.properties.a.maxLenght", "3"),
        (lambda: schema(type="number", nullable=True), "json_schema.nullable", "True"),
        (lambda: schema(type="frob"), "json_schema", "Invalid type: frob"),
        (lambda: schema(type="array", uniqueItems=True), "json_schema", "uniqueItems"),
        (lambda: schema(type="string", minLength=5, maxLength=3), "json_schema", "minLength"),
        (lambda: schema(**{"$ref": "http://127.0.0.1/x"}), "json_schema", "does not fetch"),
        (lambda: schema(**{"$ref": "#"}), "json_schema", "cannot be met"),
        (lambda: schema(oneOf=[{"minimum": 1}, {"maximum": 5}]), "json_schema", "use anyOf"),
        (
            lambda: schema(**{"type": "string", "x-guidance": {"lenient": True}, "not": {}}),
            "json_schema",
            "not",
        ),
    ],
)
def test_a_wrong_format_is_refused_with_field_and_reason(
    guidance: GuidanceGrammars, format_: Any, field: str, said: str
) -> None:
    with pytest.raises(InvalidInput, match=re.escape(said)) as refused:
        guidance.compile(format_())
    assert refused.value.violations[0].field == f"output_format.{field}"


NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}}, "required": ["next"]}
NODES = {"type": "array", "items": {"$ref": "#/$defs/nodes"}, "minItems": 1}


@pytest.mark.parametrize(
    ("keywords", "path"),
    [
        ({"$ref": "#/$defs/node", "$defs": {"node": NODE}}, ".$defs.node"),
        ({"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}], "$defs": {"node": NODE}}, ".$defs.node"),
        ({"$ref": "#/$defs/nodes", "$defs": {"nodes": NODES}}, ".$defs.nodes"),
        ({"allOf": [{"$ref": "#/allOf/1"}, {"$ref": "#/allOf/0"}]}, ""),
        ({"anyOf": [{"$ref": "#"}, {"type": "array", "prefixItems": [{"$ref": "#"}], "minItems": 1}]}, ""),
    ],
)
def test_a_schema_that_requires_itself_is_refused_where_it_does(keywords: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput, match="requires itself") as refused:
        schema(**keywords)
    assert refused.value.violations[0].field == f"output_format.json_schema{path}"


@pytest.mark.parametrize(
    "keywords",
    [
        {"$ref": "#/$defs/node", "$defs": {"node": NODE | {"required": []}}},
        {"$ref": "#/$defs/node", "$defs": {"node": NODE | {"type": ["object", "null"]}}},
        {"$ref": "#/$defs/nodes", "$defs": {"nodes": NODES | {"minItems": 0}}},
        {"oneOf": [{"const": 1}, {"type": "array", "items": {"$ref": "#"}, "minItems": 1}]},
        {"$ref": "#/$defs/a~1%62", "$defs": {"a/b": {"type": "string"}}},
    ],
)
def test_a_schema_that_may_hold_itself_and_need_not_is_taken(keywords: dict[str, Any]) -> None:
    assert schema(**keywords).schema == keywords


def test_a_schema_deeper_than_allowed_is_refused_where_it_becomes_so() -> None:
    with pytest.raises(InvalidInput, match="33 levels deep"):
        JsonSchema('{"items":' * 40 + "{}" + "}" * 40)


def test_compiling_is_bounded_whatever_is_asked_for(
    guidance: GuidanceGrammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar, "CPU_SECONDS", 1)
    endless = schema(type="string", allOf=[{"pattern": f"a.*{number}"} for number in range(30)])
    with pytest.raises(InvalidInput, match=r"takes more than 1 seconds|not compiled after"):
        guidance.compile(endless)


def test_a_step_is_bounded_whatever_is_asked_for(guidance: GuidanceGrammars) -> None:
    """What a grammar forces is not looked for: `(a{1000}){1000}` once took 7 seconds a step."""
    costly: Sequence[OutputFormat] = [
        Regex("(a{1000}){1000}"),
        Regex("(.*a.*b.*c.*d){20}"),
        Regex("(a|b)*a(a|b){20}"),
        schema(type="array", minItems=10**9),
        schema(properties={f"p{n}": {"type": "string"} for n in range(500)}, additionalProperties=False),
    ]
    for format_ in costly:
        guide, began = guidance.compile(format_).begin(), thread_time()
        for _ in range(20):
            guide.take(int(guide.allowed().nonzero()[0, 0]))
        assert thread_time() - began < 60
        assert guide.error is None


def test_characters_that_a_model_lacks_never_lead_to_a_dead_end() -> None:
    letters = train_tokenizer(["to be or not 0123456789"], TokenizerSpec("character"))
    grammars = GuidanceGrammars(letters, letters.vocab_size)
    assert {written(grammars, Regex("to(x|b)[x0]"), seed, letters) for seed in range(5)} == {"tob0"}
    with pytest.raises(InvalidInput, match="cannot be met"):
        grammars.compile(Regex("tox"))
    with pytest.raises(InvalidInput, match="characters that this model cannot write"):
        grammars.compile(ANY_OBJECT)


def test_a_guide_that_is_lost_ends_its_answer_and_says_why() -> None:
    lacking = train_tokenizer(['{}[]":, 0123456789truefalsn'], TokenizerSpec("character"))
    grammars = GuidanceGrammars(lacking, lacking.vocab_size)
    guide = grammars.compile(schema(type="string", pattern="^ux$")).begin()
    for letter in '"u':
        (token,) = lacking.encode(letter)
        assert guide.allowed()[token]
        guide.take(token)
    assert guide.allowed().nonzero()[:, 0].tolist() == sorted(lacking.stop_ids)
    assert "could not be followed to its end" in str(guide.error)


def test_who_finds_others_compiling_for_long_is_told_to_come_again(
    guidance: GuidanceGrammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = guidance.compile(WORDS)
    monkeypatch.setattr(grammar, "PATIENCE_SECONDS", 0.01)
    with guidance._compiling:
        assert guidance.compile(WORDS) is known
        with pytest.raises(Overloaded, match="other grammars"):
            guidance.compile(Regex("something new"))


def test_the_grammars_used_last_stay_compiled_and_no_more(
    guidance: GuidanceGrammars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grammar, "KEPT", 2)
    monkeypatch.setattr(guidance, "_compiled", {})
    often, once = (guidance.compile(Regex(pattern)) for pattern in ("a", "b"))
    for pattern in ("c", "d"):
        assert guidance.compile(Regex("a")) is often
        guidance.compile(Regex(pattern))
    assert [guidance.knows(Regex(pattern)) for pattern in "abcd"] == [True, False, False, True]
    assert guidance.compile(Regex("b")) is not once
