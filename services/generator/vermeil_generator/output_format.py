"""What an answer must look like, checked as far as that goes without a model.

Keywords that nobody knows are refused rather than ignored: a misspelt one would bind nothing. What the
grammar's compiler cannot do with known ones it says itself.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import ClassVar

from vermeil_errors import InvalidInput

from vermeil_generator.endless import Schema, endless_part

MAX_BYTES = 32_768
"""Of a schema or an expression."""
MAX_PARTS = 512
"""Schemas in a schema, itself counted."""
MAX_DEPTH = 32
"""Of schemas in one another."""
_SHOWN = 60
"""Characters of a wrong schema that errors repeat."""


def _keywords(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_HOLDS_SCHEMA = _keywords(
    "additionalItems additionalProperties contains contentSchema else if items not propertyNames then"
    " unevaluatedItems unevaluatedProperties"
)
_HOLDS_NAMED_SCHEMAS = _keywords("$defs definitions dependentSchemas patternProperties properties")
_HOLDS_SCHEMAS = _keywords("allOf anyOf items oneOf prefixItems")
_HOLDS_VALUES = _keywords(
    "$anchor $comment $id $ref $schema const contentEncoding contentMediaType default dependentRequired"
    " deprecated description discriminator enum examples exclusiveMaximum exclusiveMinimum format maxContains"
    " maxItems maxLength maxProperties maximum minContains minItems minLength minProperties minimum"
    " multipleOf pattern readOnly required title type uniqueItems writeOnly"
)
_KEYWORDS = _HOLDS_SCHEMA | _HOLDS_NAMED_SCHEMAS | _HOLDS_SCHEMAS | _HOLDS_VALUES


@dataclass(frozen=True)
class JsonSchema:
    """JSON that a schema describes."""

    text: str
    """The schema, as JSON; properties come in its order."""
    field: ClassVar[str] = "output_format.json_schema"
    """How errors call it."""

    def __post_init__(self) -> None:
        _check_size(self.field, self.text)
        parts = list(islice(self._schemas(), MAX_PARTS + 1))
        if len(parts) > MAX_PARTS:
            raise InvalidInput.for_field(
                self.field, f"more than {MAX_PARTS} schemas in one", "is too large", "ask for less at once"
            )
        if path := endless_part(parts):
            raise InvalidInput(
                "cannot be met: it requires itself, so no answer would end",
                field=path,
                fix="make what leads back to it optional, or allow something else there",
            )

    @cached_property
    def schema(self) -> Schema:
        """The schema itself."""
        try:
            schema = json.loads(self.text, parse_constant=_refuse_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidInput.for_field(
                self.field, _shown(self.text), f"is not JSON: {error}", "send a JSON Schema"
            ) from error
        if not isinstance(schema, dict):
            raise InvalidInput.for_field(
                self.field, _shown(self.text), "is not an object", 'send a schema such as {"type": "object"}'
            )
        return schema

    @property
    def literals(self) -> str:
        """Every name and value that it spells out, as JSON."""
        spelled: list[object] = []
        for _, schema in self._schemas():
            for key in ("properties", "required", "const", "enum"):
                if key in schema:
                    value = schema[key]
                    spelled.append(list(value) if isinstance(value, dict) and key == "properties" else value)
        return json.dumps(spelled, ensure_ascii=False)

    def _schemas(self) -> Iterator[tuple[str, Schema]]:
        return _walk(self.schema, self.field, depth=1)


@dataclass(frozen=True)
class Regex:
    """Text that a regular expression describes from its first character to its last."""

    pattern: str
    """In Rust's syntax, which has neither look-around nor references back."""
    field: ClassVar[str] = "output_format.regex"
    """How errors call it."""

    def __post_init__(self) -> None:
        _check_size(self.field, self.pattern)
        if not self.pattern:
            raise InvalidInput("is empty", field=self.field, fix="send a regular expression")


@dataclass(frozen=True)
class Tool:
    """Something that the model may ask the caller to run."""

    name: str
    description: str
    parameters: JsonSchema
    """Of its arguments."""


@dataclass(frozen=True)
class ToolCalls:
    """A call of a tool or, where none is required, a text that does not begin as a call does."""

    tools: tuple[Tool, ...]
    """Those that may be called; at least one."""
    required: bool
    """Whether one must be called."""
    otherwise: JsonSchema | None = None
    """What a text must look like; None leaves that open."""
    field: ClassVar[str] = "tools"
    """How errors call it."""

    @property
    def text(self) -> str:
        """What errors repeat of it."""
        return ", ".join(tool.name for tool in self.tools)

    @property
    def literals(self) -> str:
        """Every name and value that it spells out, as JSON."""
        schemas = [tool.parameters for tool in self.tools] + ([self.otherwise] if self.otherwise else [])
        return json.dumps([tool.name for tool in self.tools]) + "".join(each.literals for each in schemas)


OutputFormat = JsonSchema | Regex | ToolCalls


def _walk(schema: object, path: str, depth: int) -> Iterator[tuple[str, Schema]]:
    """A schema and those in it, each with its path; what is no schema is left to the compiler."""
    if not isinstance(schema, dict):
        return
    if depth > MAX_DEPTH:
        raise InvalidInput.for_field(
            path, f"schema {depth} levels deep", "is too deep", f"nest at most {MAX_DEPTH}, or use $ref"
        )
    yield path, schema
    for key, value in schema.items():
        if key not in _KEYWORDS and not key.startswith("x-"):
            raise InvalidInput.for_field(
                f"{path}.{key}", value, "is no keyword of JSON Schema", "correct it or leave it out"
            )
        inside: Sequence[tuple[str, object]] = ()
        if key in _HOLDS_SCHEMAS and isinstance(value, list):
            inside = [(f"[{place}]", each) for place, each in enumerate(value)]
        elif key in _HOLDS_NAMED_SCHEMAS and isinstance(value, dict):
            inside = [(f".{name}", each) for name, each in value.items()]
        elif key in _HOLDS_SCHEMA:
            inside = [("", value)]
        for name, each in inside:
            yield from _walk(each, f"{path}.{key}{name}", depth + 1)


def _check_size(field: str, text: str) -> None:
    size = len(text.encode())
    if size > MAX_BYTES:
        raise InvalidInput.for_field(
            field, f"{size:,} bytes", f"is larger than {MAX_BYTES:,} bytes", "ask for less at once"
        )


def _refuse_constant(name: str) -> object:
    msg = f"{name} is no JSON"
    raise ValueError(msg)


def _shown(text: str) -> str:
    """Enough of it to be recognised."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


ANY_OBJECT = JsonSchema('{"type": "object"}')
"""JSON whatever it holds."""
