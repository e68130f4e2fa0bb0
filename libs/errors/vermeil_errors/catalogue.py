"""The catalogue: from a reason, a gRPC status or a foreign exception to a class of the tree.

It knows the names of gRPC statuses but never imports grpc, so every process can afford it.
"""

import errno
from collections.abc import Mapping, Sequence

from vermeil_errors.tree import (
    AlreadyExists,
    AttemptsExhausted,
    Cancelled,
    Conflict,
    DataCorrupted,
    DeadlineExceeded,
    Internal,
    InvalidInput,
    NotFound,
    OutOfSpace,
    Overloaded,
    PermissionDenied,
    PredecessorFailed,
    QuotaExceeded,
    StaleFence,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    VermeilError,
    Violation,
)

_CLASSES: tuple[type[VermeilError], ...] = (
    InvalidInput,
    NotFound,
    AlreadyExists,
    Conflict,
    StaleFence,
    PredecessorFailed,
    Unauthenticated,
    PermissionDenied,
    TooLarge,
    Overloaded,
    QuotaExceeded,
    OutOfSpace,
    Unavailable,
    Unimplemented,
    DeadlineExceeded,
    Cancelled,
    AttemptsExhausted,
    DataCorrupted,
    Internal,
)
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def catalogue() -> dict[str, type[VermeilError]]:
    """Every concrete class by its reason."""
    return {cls.reason: cls for cls in _CLASSES}


def from_reason(
    reason: str,
    message: str,
    violations: Sequence[Violation] = (),
    metadata: Mapping[str, str] | None = None,
) -> VermeilError:
    """Rebuild an error that crossed a boundary; a reason from a newer peer becomes Internal."""
    cls = catalogue().get(reason, Internal)
    return cls(message, violations=violations, metadata=metadata)


def class_for_grpc_status(name: str) -> type[VermeilError]:
    """The most general class with this status: for peers that send a bare status code."""
    if name == "OUT_OF_RANGE":
        return InvalidInput
    return next((cls for cls in _CLASSES if cls.grpc_status == name), Internal)


def from_exception(error: BaseException) -> VermeilError:
    """The tree's view of any exception; the original stays as its cause."""
    if isinstance(error, VermeilError):
        return error
    translated: VermeilError
    if isinstance(error, OSError) and error.errno in _FULL:
        place = f" while writing {error.filename}" if error.filename else ""
        translated = OutOfSpace(
            f"no space left{place}", fix="free some space or move VERMEIL_HOME, then retry"
        )
    else:
        translated = Internal(f"{type(error).__name__}: {error}")
    translated.__cause__ = error
    return translated
