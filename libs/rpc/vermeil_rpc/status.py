"""Errors of the tree as google.rpc.Status on the wire, and back.

Both directions are here and nowhere else. Texts are clipped, because gRPC carries them in trailers
of at most 8 KiB; bare statuses of peers outside our kit are understood too.
"""

import re
from collections.abc import Iterable
from typing import Any, TypeVar

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from vermeil_errors import (
    DeadlineExceeded,
    TooLarge,
    Unavailable,
    Unimplemented,
    VermeilError,
    Violation,
    class_for_grpc_status,
    from_reason,
)
from vermeil_settings import TLS_CA, TLS_CERTIFICATE, TLS_KEY

DOMAIN = "vermeil"
"""ErrorInfo.domain of every error of ours."""
DETAILS_KEY = "grpc-status-details-bin"
"""Trailer that carries the google.rpc.Status."""

Detail = TypeVar("Detail", error_details_pb2.ErrorInfo, error_details_pb2.BadRequest)

UPDATE = "update the older side"
"""What helps a call that the other side does not know."""

_ETC = "…".encode()
_MAX_TEXT = 1000
_MAX_DETAIL = 200
_MAX_DETAILS = 12
_TOO_LARGE = re.compile(r"(\w+) message larger than max \((\d+) vs\. (\d+)\)")


def encode(error: VermeilError, request_id: str) -> status_pb2.Status:
    """The wire form of `error`: what it says in public, its reason, its violations."""
    message = error.public_message
    if not error.public:
        message = f"{message}; request {request_id} has the details in the log"
    info = error_details_pb2.ErrorInfo(
        reason=error.reason, domain=DOMAIN, metadata={"request_id": request_id}
    )
    if error.public:
        for key, value in list(error.metadata.items())[:_MAX_DETAILS]:
            info.metadata[key] = _clip(value, _MAX_DETAIL)
    code = grpc.StatusCode[error.grpc_status].value[0]
    status = status_pb2.Status(code=code, message=_clip(message, _MAX_TEXT))
    status.details.add().Pack(info)
    if error.violations:
        bad = error_details_pb2.BadRequest()
        for violation in error.violations[:_MAX_DETAILS]:
            bad.field_violations.add(
                field=_clip(violation.field, _MAX_DETAIL),
                description=_clip(violation.description, _MAX_DETAIL),
            )
        status.details.add().Pack(bad)
    return status


def decode(error: grpc.RpcError, address: str, name: str = "") -> VermeilError:
    """The error of the tree behind a failed call to `address`, which it does not tell where it has a name."""
    status = _rich_status(error)
    if status is None:
        return _from_bare_code(error, address, name)
    info = _unpack(status.details, error_details_pb2.ErrorInfo())
    bad = _unpack(status.details, error_details_pb2.BadRequest())
    violations = [Violation(each.field, each.description) for each in bad.field_violations]
    if info.domain != DOMAIN:
        return class_for_grpc_status(error.code().name)(status.message, violations=violations)
    return from_reason(info.reason, status.message, violations, dict(info.metadata))


def _from_bare_code(error: grpc.RpcError, address: str, name: str) -> VermeilError:
    code, text = error.code(), error.details() or ""
    too_large = _TOO_LARGE.search(text)
    if too_large:
        direction, size, limit = too_large[1].lower(), int(too_large[2]), int(too_large[3])
        fix = "send an artifact reference instead of bytes, or ask for fewer items at once"
        return TooLarge(f"a {direction} message of {size:,} bytes is over the limit of {limit:,}", fix=fix)
    match code:
        case grpc.StatusCode.UNAVAILABLE if name:
            return Unavailable(f"{name} cannot be reached", fix="try again shortly")
        case grpc.StatusCode.UNAVAILABLE:
            return Unavailable(f"{address} cannot be reached: {text}", fix=_fix_of_unavailable(text))
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return DeadlineExceeded(f"{name or address} did not answer within the time given")
        case grpc.StatusCode.UNIMPLEMENTED:
            return Unimplemented(f"{name or address} does not know this call: {text}", fix=UPDATE)
    return class_for_grpc_status(code.name)(text or code.name)


def _fix_of_unavailable(text: str) -> str:
    if "WRONG_VERSION_NUMBER" in text:
        return f"it does not speak TLS: set {TLS_CA}, {TLS_CERTIFICATE} and {TLS_KEY} there too"
    if "CERTIFICATE_VERIFY_FAILED" in text or "Hostname Verification" in text:
        return f"its {TLS_CERTIFICATE} has to be signed by {TLS_CA} of this side, for this address"
    if "ocket closed" in text or "onnection reset" in text:
        # What a server that asked for TLS, or for a certificate, leaves of a call without.
        return (
            f"check that the service runs and, if it speaks TLS, that {TLS_CA}, {TLS_CERTIFICATE} "
            f"and {TLS_KEY} are set on this side"
        )
    return "check that the service runs and that its address is right"


def _rich_status(error: grpc.RpcError) -> status_pb2.Status | None:
    trailers: Any = error.trailing_metadata()
    for key, value in trailers or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            return status_pb2.Status.FromString(value)
    return None


def _unpack(details: Iterable[any_pb2.Any], into: Detail) -> Detail:
    for detail in details:
        if detail.Unpack(into):
            break
    return into


def _clip(text: str, limit: int) -> str:
    """At most so many bytes; half a surrogate pair, which no message carries, as its escape."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - len(_ETC)].decode("utf-8", "ignore") + _ETC.decode()
