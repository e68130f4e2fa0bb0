"""The one exception tree of Vermeil, drawn under VermeilError.

Names say what happened to the caller, so none ends in Error but the base.
"""

# ruff: noqa: N818

import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


@dataclass(frozen=True)
class Violation:
    """One field of a request that breaks a rule."""

    field: str
    """Path of the field as the caller wrote it: `model.num_heads`, `parts[2].text`."""
    description: str
    """What is wrong with it, and what to write instead."""


class VermeilError(Exception):
    """Base of all errors a caller may see; the class says how each boundary shows it.

    VermeilError
    ├── InvalidInput          the request is wrong as written
    ├── NotFound              the named thing does not exist
    ├── AlreadyExists         the name is taken by something else
    ├── Conflict              the present state does not allow it
    │   ├── StaleFence        somebody newer holds the lease
    │   └── PredecessorFailed what has to succeed first has failed
    ├── Unauthenticated       who are you?
    ├── PermissionDenied      you may not
    ├── TooLarge              more bytes than the limit
    ├── Overloaded            no free slot now; try again           (retryable)
    ├── QuotaExceeded         what the caller was granted is used up
    ├── OutOfSpace            the disk or the store is full
    ├── Unavailable           the other side cannot be reached      (retryable)
    ├── Unimplemented         the other side's version does not know the call
    ├── DeadlineExceeded      the time given has passed
    ├── Cancelled             the caller or the owner stopped it
    ├── AttemptsExhausted     tried as often as allowed, in vain
    ├── DataCorrupted         stored bytes are not what was written
    └── Internal              our own mistake; its text stays inside
    """

    reason: ClassVar[str] = "INTERNAL"
    """Stable machine-readable name, unique in the tree."""
    grpc_status: ClassVar[str] = "INTERNAL"
    """Name of the gRPC status code."""
    http_status: ClassVar[int] = 500
    """HTTP status code."""
    exit_code: ClassVar[int] = 1
    """Exit code of a command that ends with this error."""
    retryable: ClassVar[bool] = False
    """True when the same request may succeed a moment later."""
    public: ClassVar[bool] = True
    """False when the message must not leave the process."""

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        value: object = None,
        fix: str | None = None,
        violations: Sequence[Violation] = (),
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.value = value
        self.fix = fix
        self.metadata = dict(metadata or {})
        if not violations and field is not None:
            violations = (Violation(field, _sentence(message, None, value, fix)),)
        self.violations = tuple(violations)

    def __str__(self) -> str:
        return _sentence(self.message, self.field, self.value, self.fix)

    @property
    def public_message(self) -> str:
        """What a caller outside this process may read."""
        return str(self) if self.public else "internal error"


def _sentence(message: str, field: str | None, value: object, fix: str | None) -> str:
    subject = field or ""
    if value is not None:
        shown = _SHORT.repr(value)
        subject = f"{subject} = {shown}" if subject else shown
    sentence = f"{subject}: {message}" if subject else message
    return f"{sentence}; {fix}" if fix else sentence


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 120


class InvalidInput(VermeilError):
    """The request is wrong as written; sending it again will not help."""

    reason = "INVALID_INPUT"
    grpc_status = "INVALID_ARGUMENT"
    http_status = 400
    exit_code = 2

    @classmethod
    def for_field(cls, field: str, value: object, problem: str, fix: str | None = None) -> Self:
        """Name the field, its value, what is wrong with it and what to write instead."""
        return cls(problem, field=field, value=value, fix=fix)


class NotFound(VermeilError):
    """The named thing does not exist."""

    reason = "NOT_FOUND"
    grpc_status = "NOT_FOUND"
    http_status = 404
    exit_code = 3


class AlreadyExists(VermeilError):
    """The name is taken by something else."""

    reason = "ALREADY_EXISTS"
    grpc_status = "ALREADY_EXISTS"
    http_status = 409
    exit_code = 4


class Conflict(VermeilError):
    """The present state of the thing does not allow this."""

    reason = "CONFLICT"
    grpc_status = "FAILED_PRECONDITION"
    http_status = 409
    exit_code = 5


class StaleFence(Conflict):
    """A newer holder of the lease exists: this writer must stop."""

    reason = "STALE_FENCE"
    grpc_status = "ABORTED"


class PredecessorFailed(Conflict):
    """A job never began: one that has to succeed before it has failed."""

    reason = "PREDECESSOR_FAILED"
    exit_code = 15


class Unauthenticated(VermeilError):
    """No credentials, or wrong ones."""

    reason = "UNAUTHENTICATED"
    grpc_status = "UNAUTHENTICATED"
    http_status = 401
    exit_code = 6


class PermissionDenied(VermeilError):
    """Known caller, forbidden act."""

    reason = "PERMISSION_DENIED"
    grpc_status = "PERMISSION_DENIED"
    http_status = 403
    exit_code = 7


class TooLarge(VermeilError):
    """More bytes than the limit allows."""

    reason = "TOO_LARGE"
    grpc_status = "RESOURCE_EXHAUSTED"
    http_status = 413
    exit_code = 8


class Overloaded(VermeilError):
    """No free slot now; the same request may pass a moment later."""

    reason = "OVERLOADED"
    grpc_status = "RESOURCE_EXHAUSTED"
    http_status = 429
    exit_code = 9
    retryable = True


class QuotaExceeded(VermeilError):
    """What the caller was granted is used up; waiting a moment will not help."""

    reason = "QUOTA_EXCEEDED"
    grpc_status = "RESOURCE_EXHAUSTED"
    http_status = 429
    exit_code = 14


class OutOfSpace(VermeilError):
    """The disk or the store is full."""

    reason = "OUT_OF_SPACE"
    grpc_status = "RESOURCE_EXHAUSTED"
    http_status = 507
    exit_code = 10


class Unavailable(VermeilError):
    """The other side cannot be reached, or is going away."""

    reason = "UNAVAILABLE"
    grpc_status = "UNAVAILABLE"
    http_status = 503
    exit_code = 11
    retryable = True


class Unimplemented(VermeilError):
    """This version of the service does not know the call: it is older, or newer, than who asks."""

    reason = "UNIMPLEMENTED"
    grpc_status = "UNIMPLEMENTED"
    http_status = 501
    exit_code = 17


class DeadlineExceeded(VermeilError):
    """The time given for the call has passed."""

    reason = "DEADLINE_EXCEEDED"
    grpc_status = "DEADLINE_EXCEEDED"
    http_status = 504
    exit_code = 12


class Cancelled(VermeilError):
    """Stopped by the caller or by the owner."""

    reason = "CANCELLED"
    grpc_status = "CANCELLED"
    http_status = 499
    exit_code = 130


class AttemptsExhausted(VermeilError):
    """A job was tried as often as it may be, and no attempt came to a good end."""

    reason = "ATTEMPTS_EXHAUSTED"
    grpc_status = "ABORTED"
    http_status = 500
    exit_code = 16


class DataCorrupted(VermeilError):
    """Stored bytes are not what was written."""

    reason = "DATA_CORRUPTED"
    grpc_status = "DATA_LOSS"
    http_status = 500
    exit_code = 13


class Internal(VermeilError):
    """Our own mistake: logged with its traceback, shown to nobody."""

    reason = "INTERNAL"
    grpc_status = "INTERNAL"
    http_status = 500
    exit_code = 1
    public = False
