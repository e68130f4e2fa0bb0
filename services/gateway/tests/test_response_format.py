"""Forms of answers: what is asked of the generator, and what is refused by name."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from vermeil.generation.v1.generation_pb2 import OutputFormat
from vermeil_errors import InvalidInput
from vermeil_gateway.testing import Running

SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"const": "✓"}}}
NAMED = {"type": "json_schema", "json_schema": {"name": "thing", "strict": True, "schema": SCHEMA}}


def sent(gateway: Running) -> OutputFormat | None:
    (request,) = gateway.backends.generation.requests
    return request.output_format if request.HasField("output_format") else None


@pytest.fixture(params=["chat", "complete"])
def ask(request: pytest.FixtureRequest, gateway: Running) -> Callable[..., httpx.Response]:
    asking: Callable[..., httpx.Response] = getattr(gateway, request.param)
    return asking


def test_a_schema_goes_along_in_its_own_order(gateway: Running, ask: Callable[..., httpx.Response]) -> None:
    assert ask(response_format=NAMED).status_code == 200
    output_format = sent(gateway)
    assert output_format is not None
    assert output_format.json_schema == json.dumps(SCHEMA, ensure_ascii=False)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"response_format": {"type": "json_object"}}, OutputFormat(json_object=True)),
        ({"structured_outputs": {"regex": "[0-9]+"}}, OutputFormat(regex="[0-9]+")),
        (
            {"structured_outputs": {"regex": "a"}, "response_format": {"type": "text"}},
            OutputFormat(regex="a"),
        ),
        ({"response_format": {"type": "text"}}, None),
        ({"response_format": None, "structured_outputs": None}, None),
    ],
)
def test_other_forms_go_along_too(
    gateway: Running,
    ask: Callable[..., httpx.Response],
    fields: dict[str, Any],
    expected: OutputFormat | None,
) -> None:
    assert ask(**fields).status_code == 200
    assert sent(gateway) == expected


@pytest.mark.parametrize(
    ("fields", "named", "part"),
    [
        ({"response_format": {"type": "yaml"}}, "response_format.type", "yaml"),
        ({"response_format": {"type": "json_schema"}}, "response_format", "goes with type json_schema"),
        ({"response_format": {**NAMED, "type": "text"}}, "response_format", "goes with type json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}},
            "response_format.json_schema.name",
            "a b",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": []}}},
            "response_format.json_schema.schema",
            "dictionary",
        ),
        ({"structured_outputs": {"choice": ["a"]}}, "structured_outputs.choice", "send regex"),
        ({"structured_outputs": {"regex": ""}}, "structured_outputs.regex", "at least 1"),
        ({"guided_regex": "a"}, "guided_regex", "not a field"),
        ({"structured_outputs": {"regex": "a"}, "response_format": NAMED}, "", "set one of them"),
    ],
)
def test_a_wrong_form_is_refused_by_name(
    gateway: Running, fields: dict[str, Any], named: str, part: str
) -> None:
    answer = gateway.chat(**fields)
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert named in [violation["field"] for violation in error["violations"]]
    assert part in error["message"]
    assert not gateway.backends.generation.requests


def test_the_generator_s_refusal_of_a_schema_names_the_field_that_was_sent(gateway: Running) -> None:
    for field, named in (
        ("output_format.json_schema.properties.a.typ", "response_format.json_schema.schema.properties.a.typ"),
        ("output_format.regex", "structured_outputs.regex"),
    ):
        gateway.backends.generation.refusal = InvalidInput.for_field(field, 1, "is wrong", "mend it")
        error = gateway.chat().json()["error"]
        assert error["param"] == named
        assert "output_format" not in error["message"]


def test_penalties_go_along(gateway: Running, ask: Callable[..., httpx.Response]) -> None:
    assert ask(frequency_penalty=0.5, presence_penalty=-1).status_code == 200
    (request,) = gateway.backends.generation.requests
    assert (request.sampling.frequency_penalty, request.sampling.presence_penalty) == (0.5, -1)
