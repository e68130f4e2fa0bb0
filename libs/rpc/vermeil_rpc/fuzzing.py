"""For tests: every method of a service called with what nobody meant, the same for the same seed.

Three kinds of nonsense: bytes that are no message, messages that were bent or cut on their way, and messages
of the right type with anything at all in their fields. Whatever comes, a server answers with a status that
says who is to blame; what is not so is a finding.
"""

from collections.abc import Sequence
from random import Random
from typing import Any, NamedTuple

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

UNCLEAN = frozenset(
    {
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
        grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)
"""Answers that blame the server, or nobody."""
TEXTS = (
    "",
    "a",
    "../../etc/passwd",
    "'; DROP TABLE jobs; --",
    "<script>alert(1)</script>",
    "\x00",
    "\ufeff\u202e😀",
    "%s%n{0}",
    "file:///",
    "jobs/../models/x",
    "x" * 5000,
    "[" * 2000,
)
_NUMBERS = (0, 1, 2, 5, -1, 2**31 - 1, -(2**31), 2**32 - 1, 2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1)
_FLOATS = (0.0, -0.0, 0.5, 1.0, -1.0, 1e-300, 3e38, float("inf"), float("-inf"), float("nan"))
_RANGES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_DEEPEST = 5


class Finding(NamedTuple):
    """An answer that blames the server."""

    method: str
    """Such as "/vermeil.job.v1.JobService/GetJob"."""
    body: bytes
    """What was sent."""
    code: grpc.StatusCode
    """What came back."""
    details: str
    """And what it said."""


def call_with_nonsense(
    channel: grpc.Channel,
    service: str,
    *,
    texts: Sequence[str] = (),
    times: int = 30,
    seed: int = 0,
    timeout: float = 60.0,
    only: Sequence[str] = (),
) -> list[Finding]:
    """Call every method of a service, or `only` some, each so many times; tell what had no good answer.

    `texts` are names and the like that the server knows, so that some calls come further than its checks.
    """
    descriptor = Default().FindServiceByName(service)
    found = []
    for method in descriptor.methods:
        if only and method.name not in only:
            continue
        random = Random(f"{seed} {method.full_name}")  # noqa: S311 nobody's secret
        for _ in range(times):
            body = _nonsense(method.input_type, random, [*TEXTS, *texts])
            found += _findings(channel, f"/{service}/{method.name}", method, body, timeout)
    return found


def fill(message: Message, random: Random, texts: Sequence[str] = TEXTS, depth: int = 0) -> None:
    """Put anything into few, some or most of a message's fields."""
    share = random.choice((0.15, 0.4, 0.7))
    for field in message.DESCRIPTOR.fields:
        if depth < _DEEPEST and random.random() < share:
            _fill_field(message, field, random, texts, depth)


def _nonsense(type_: Descriptor, random: Random, texts: Sequence[str]) -> bytes:
    kind = random.random()
    if kind < 0.1:
        return random.randbytes(random.randint(1, 200))
    message = GetMessageClass(type_)()
    fill(message, random, texts)
    body = bytearray(message.SerializeToString())
    if kind < 0.25 and body:
        for _ in range(random.randint(1, 5)):
            body[random.randrange(len(body))] = random.randrange(256)
        del body[len(body) - random.choice((0, 0, 1, 7)) :]
    return bytes(body)


def _findings(
    channel: grpc.Channel, path: str, method: MethodDescriptor, body: bytes, timeout: float
) -> list[Finding]:
    """One call; of a stream the first answer is enough."""
    answers: Any = None
    try:
        if method.server_streaming:
            answers = channel.unary_stream(path, None, None)(body, timeout=timeout)
            next(iter(answers), None)
        else:
            channel.unary_unary(path, None, None)(body, timeout=timeout)
    except grpc.RpcError as error:
        status: Any = error
        if status.code() in UNCLEAN or "Traceback" in (status.details() or ""):
            return [Finding(path, body, status.code(), status.details() or "")]
    finally:
        if answers is not None:
            answers.cancel()
    return []


def _fill_field(message: Message, field: Any, random: Random, texts: Sequence[str], depth: int) -> None:
    value: Any = getattr(message, field.name)
    if not field.is_repeated:
        if field.message_type is None:
            setattr(message, field.name, _scalar(field, random, texts))
            return
        value.SetInParent()
        fill(value, random, texts, depth + 1)
        return
    is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
    for _ in range(random.choice((0, 1, 1, 2, 40))):
        if is_map:
            key, inner = (field.message_type.fields_by_name[each] for each in ("key", "value"))
            at = _scalar(key, random, texts)
            if inner.message_type is None:
                value[at] = _scalar(inner, random, texts)
            else:
                fill(value[at], random, texts, depth + 1)
        elif field.message_type is None:
            value.append(_scalar(field, random, texts))
        else:
            fill(value.add(), random, texts, depth + 2)


def _scalar(field: Any, random: Random, texts: Sequence[str]) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_BOOL:
            return random.random() < 0.5
        case FieldDescriptor.CPPTYPE_STRING:
            text = random.choice(texts)
            return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
        case FieldDescriptor.CPPTYPE_ENUM:
            return random.choice([*(value.number for value in field.enum_type.values), 999, -1])
        case FieldDescriptor.CPPTYPE_FLOAT | FieldDescriptor.CPPTYPE_DOUBLE:
            return random.choice(_FLOATS)
    low, high = _RANGES[field.cpp_type]
    return random.choice([each for each in _NUMBERS if low <= each <= high])
