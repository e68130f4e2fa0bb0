"""Messages of the contract as JSON and back, and their schema for the OpenAPI page.

The JSON mapping of protobuf with the field names of the .proto files: 64-bit integers are strings,
enums their names, times RFC 3339. Specs of jobs travel as Any, so every domain is imported here.
"""

import difflib
import re
from collections.abc import Mapping
from typing import Any, TypeVar, cast

import vermeil.encoder.v1.encoder_pb2
import vermeil.evaluation.v1.evaluation_pb2
import vermeil.ingest.v1.ingest_pb2
import vermeil.training.v1.recipe_pb2  # noqa: F401
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.message import Message
from vermeil_errors import InvalidInput, Violation

Json = dict[str, Any]
AnyMessage = TypeVar("AnyMessage", bound=Message)

_MAX_DEPTH = 6
_NESTED = re.compile(r"Failed to parse (?P<field>[\w\[\]]+) field: (?P<problem>.*?)\.?$", re.DOTALL)
_NO_FIELD = re.compile(r'has no field named "(?P<field>[^"]*)"(?:.*"\[(?P<known>[^"]*)\]")?', re.DOTALL)
_SURROGATE = re.compile("surrogate", re.IGNORECASE)
_HALF_PAIR = "a text holds half a surrogate pair; send valid Unicode"
_PLACE = re.compile(r' at "?(?P<place>\w+(\.[\w\[\]]+)*)"?\.*(\s|$)')


def to_json(message: Message) -> Json:
    """The message as plain values; fields that are not set show their default."""
    shown: Json = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return shown


def from_json(body: Json, message: AnyMessage) -> AnyMessage:
    """Fill `message`; an unknown field or a wrong type is refused by name."""
    try:
        ParseDict(body, message)
    except ParseError as error:
        raise _invalid(str(error), message.DESCRIPTOR.name) from error
    except SystemError as error:  # all that protobuf says of a field whose name is no UTF-8
        raise InvalidInput(
            "the name of a field holds half a surrogate pair", fix="send valid Unicode"
        ) from error
    return message


def schema(message: type[Message]) -> Json:
    """The OpenAPI schema of a message."""
    return _message_schema(cast(Descriptor, message.DESCRIPTOR), _MAX_DEPTH)


def _message_schema(descriptor: Descriptor, depth: int) -> Json:
    if well_known := _WELL_KNOWN.get(descriptor.full_name):
        return dict(well_known)
    if depth == 0:
        return {"type": "object", "title": descriptor.name}
    properties = {field.name: _field_schema(field, depth) for field in descriptor.fields}
    return {
        "type": "object",
        "title": descriptor.name,
        "properties": properties,
        "additionalProperties": False,
    }


def _field_schema(field: FieldDescriptor, depth: int) -> Json:
    if field.message_type and field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        return {"type": "object", "additionalProperties": _single_schema(value, depth)}
    if field.is_repeated:
        return {"type": "array", "items": _single_schema(field, depth)}
    return _single_schema(field, depth)


def _single_schema(field: FieldDescriptor, depth: int) -> Json:
    if field.message_type:
        return _message_schema(field.message_type, depth - 1)
    if field.enum_type:
        return {"type": "string", "enum": [value.name for value in field.enum_type.values]}
    return dict(_SCALARS[field.cpp_type])


_SCALARS: Mapping[int, Json] = {
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "format": "uint32"},
    FieldDescriptor.CPPTYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,18}$"},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "string", "format": "uint64", "pattern": "^[0-9]{1,18}$"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
}

_WELL_KNOWN: Mapping[str, Json] = {
    "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "examples": ["10s"]},
}


def _invalid(text: str, message: str) -> InvalidInput:
    """protobuf names the fields on the way down, and most often the whole path at the end."""
    path: list[str] = []
    while nested := _NESTED.match(text):
        path.append(nested["field"])
        text = nested["problem"]
    field = ".".join(path)
    if place := _PLACE.search(text):
        field = max(field, place["place"].removeprefix(message).removeprefix("."), key=len)
        text = text[: place.start()] + text[place.end() :]
    if unknown := _NO_FIELD.search(text):
        name = ".".join(filter(None, (field, unknown["field"])))
        return InvalidInput.for_field(name, None, "is not a field of this request", _nearest(unknown))
    problem = _HALF_PAIR if _SURROGATE.search(text) else text[:1].lower() + text[1:].rstrip(".")
    return InvalidInput(f"{field}: {problem}" if field else problem, violations=[Violation(field, problem)])


def _nearest(unknown: "re.Match[str]") -> str:
    """The field that was probably meant; protobuf lists the known ones in camelCase."""
    known = re.findall(r"'(\w+)'", unknown["known"] or "")
    names = [re.sub("([A-Z])", lambda capital: f"_{capital[0].lower()}", name) for name in known]
    near = difflib.get_close_matches(unknown["field"], names, n=1)
    return f"did you mean {near[0]}?" if near else "GET /docs lists them"
